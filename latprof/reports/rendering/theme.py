"""The colours of a report, light and dark: one place for the page, plotly and matplotlib.

The series colours derive from Okabe and Ito's palette for colour-blind readers, darkened on the
light ground and lightened on the dark one until each stands out by at least 3:1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Roles and their colours on a light ground.
LIGHT: Mapping[str, str] = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "ink": "#1a2027",
    "muted": "#59636e",
    "line": "#d5dae0",
    "grid": "#e6e9ed",
    "link": "#005a9c",
    "floor": "#c2410c",
    "mark": "#e9f1f8",
    "ok": "#0b6b4f",
    "warn": "#8a5a00",
    "fail": "#b3261e",
    "series-1": "#0068a8",
    "series-2": "#c9500a",
    "series-3": "#00805e",
    "series-4": "#a8407f",
    "series-5": "#8a6d00",
    "series-6": "#2f8fc7",
    "series-7": "#6b5bb5",
    "series-8": "#6b7280",
}

#: The same roles on a dark ground.
DARK: Mapping[str, str] = {
    "page": "#0f1318",
    "card": "#171c23",
    "ink": "#e6e9ed",
    "muted": "#a2acb8",
    "line": "#343c47",
    "grid": "#28303a",
    "link": "#7cc0f4",
    "floor": "#ff9a5c",
    "mark": "#20303f",
    "ok": "#4fd1a5",
    "warn": "#f2c14e",
    "fail": "#ff8a80",
    "series-1": "#5db4ee",
    "series-2": "#f58e52",
    "series-3": "#35c79b",
    "series-4": "#e690c2",
    "series-5": "#e3c144",
    "series-6": "#9ad3f5",
    "series-7": "#b0a3f0",
    "series-8": "#a2acb8",
}

#: Roles of the series, in the order they are given out.
SERIES = tuple(f"series-{number}" for number in range(1, 9))


#: Marks that tell clouds of points apart without their colour: plotly's name, matplotlib's.
SYMBOLS = (
    ("circle", "o"),
    ("square", "s"),
    ("diamond", "D"),
    ("triangle-up", "^"),
    ("triangle-down", "v"),
    ("cross", "P"),
    ("x", "X"),
    ("star", "*"),
)


def series_color(index: int) -> str:
    """Role of the ``index``-th series; it starts again after the last."""
    return SERIES[index % len(SERIES)]


def css_variables(palette: Mapping[str, str]) -> str:
    """The palette as declarations of CSS custom properties."""
    return "".join(f"--{role}:{color};" for role, color in palette.items())
