"""Axes to draw on: the caller's, new ones, or a file's."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.common.files import check_output, write_atomically
from latprof.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PICTURES = (".png", ".svg", ".pdf")
#: So many names fit beside an axis; inches of a figure, and of each name in it.
_MOST_NAMES = 60
_WIDTH, _HEIGHT, _ROW = 6.4, 4.8, 0.2


def axes_of(ax: Axes | None, names: int = 0) -> Axes:
    """The axes that are given, or those of a new figure of pyplot, high enough for so many names.

    Raises MissingDependencyError without matplotlib.
    """
    require("report", "a plot", "matplotlib")
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    size = (_WIDTH, max(_HEIGHT, 1 + _ROW * min(names, _MOST_NAMES)))
    found: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return found


def drawn_text(text: str) -> str:
    """A name as matplotlib draws it: ``$`` begins no formula, and no character is a command."""
    found = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(found).replace("$", r"\$")


def errors_of(
    values: Sequence[float], ends: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Lengths below and above values, as matplotlib has them; 0 where no interval is known."""
    pairs = list(zip(values, ends, strict=True))
    below = [value - low for value, (low, _) in pairs]
    above = [high - value for value, (_, high) in pairs]
    return [_length(each) for each in below], [_length(each) for each in above]


def _length(value: float) -> float:
    return max(value, 0.0) if math.isfinite(value) else 0.0


def draw_intervals(
    ax: Axes | None,
    names: Sequence[str],
    values: Sequence[float],
    ends: Sequence[tuple[float, float]],
    label: str,
    **style: Any,
) -> Axes:
    """Draw values with their intervals, one below the other; return the axes.

    Parameters
    ----------
    ax : Axes, optional
    names : sequence of str
    values : sequence of float
    ends : sequence of (low, high)
        NaN where no interval is known.
    label : str
        Of the axis of values, with its unit.
    **style
        Of matplotlib's ``errorbar``.
    """
    ax = axes_of(ax, len(names))
    rows = range(len(names))
    look: dict[str, Any] = {"fmt": "o", "capsize": 3, **style}
    ax.errorbar(values, rows, xerr=errors_of(values, ends), **look)
    ax.set_xlabel(label)
    if len(names) <= _MOST_NAMES:
        ax.set_yticks([*rows], [*map(drawn_text, names)])
    ax.set_ylim(len(names) - 0.5, -0.5)
    return ax


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise UsageError, OutputPathError or MissingDependencyError where no picture can be written.

    A picture's name ends in .png, .svg or .pdf.
    """
    if Path(path).suffix.lower() not in _PICTURES:
        raise UsageError(
            "not a picture's name", field="output", expected=" or ".join(_PICTURES), got=str(path)
        )
    require("report", "a picture", "matplotlib")
    check_output(path)


def write_picture(
    draw: Callable[[Axes], object], path: str | os.PathLike[str], size: tuple[float, float]
) -> Path:
    """Draw on axes of so many inches, and write them to a file by its suffix."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure.subplots())
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # of letters that the font lacks, and names without end
        warnings.filterwarnings("ignore", message="Glyph .* missing from|constrained_layout not")
        figure.savefig(buffer, format=Path(path).suffix.lower()[1:], dpi=150)
    return write_atomically(path, buffer.getvalue())
