"""Figures as pictures, drawn by matplotlib without a display: PNG files, and SVG for the page.

Plotly makes pictures only with a browser beside it, and matplotlib none that can be zoomed into: a
figure is described once (:mod:`latprof.reports.rendering.content`), and each draws it.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from latprof.reports.rendering.theme import DARK, LIGHT, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import matplotlib.axes
    import matplotlib.figure

    from latprof.reports.rendering.content import Axis, Figure, Series

_PX_PER_INCH = 100
_SMALL_DPI = 110
_WIDE_PX, _NARROW_PX = 1000, 620

_STYLE: Mapping[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a "$" in a name is a "$"
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "latprof",
    "legend.frameon": False,
}


def to_png(figure: Figure) -> bytes:
    """Return one figure as a PNG picture, light theme, 150 dots an inch, with its title."""
    with _drawn(figure, title=True) as canvas:
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", dpi=150, metadata={"Software": "latprof"})
        return buffer.getvalue()


def to_small_picture(figure: Figure) -> tuple[str, bytes]:
    """Return one figure in few bytes, with its media type: light theme, no title."""
    with _drawn(figure, title=False) as canvas:
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="webp", dpi=_SMALL_DPI, pil_kwargs={"quality": 70})
        return "image/webp", buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Return one figure as an SVG document that follows the reader's light or dark theme."""
    with _drawn(figure, title=False) as canvas:
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "latprof"})
    return _follow_theme(buffer.getvalue())


def _follow_theme(svg: str) -> str:
    """Turn the light palette's colours into custom properties with a dark variant."""
    roles = {color.lower(): role for role, color in reversed(list(LIGHT.items()))}
    style = re.compile("|".join(map(re.escape, roles)), re.IGNORECASE)
    body = style.sub(lambda found: f"var(--{roles[found.group().lower()]})", svg)
    light = "".join(f"--{role}:{color};" for role, color in LIGHT.items())
    dark = "".join(f"--{role}:{color};" for role, color in DARK.items())
    sheet = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    start = body.index(">", body.index("<svg")) + 1
    return body[body.index("<svg") : start] + sheet + body[start:]


@contextmanager
def _drawn(figure: Figure, *, title: bool) -> Iterator[matplotlib.figure.Figure]:
    """Draw a figure on a canvas of its own, without pyplot's global state."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    width = _WIDE_PX if figure.wide else _NARROW_PX
    height = figure.height_px + (30 if title else 0)
    with mpl.rc_context({**_STYLE, **_colors()}), warnings.catch_warnings():
        # A name may hold characters that the font lacks; they show as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # Very long names leave no room to arrange; the picture is drawn all the same.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        canvas = Canvas(figsize=(width / _PX_PER_INCH, height / _PX_PER_INCH), layout="constrained")
        axes = canvas.add_subplot()
        _draw(axes, figure)
        if title:
            canvas.suptitle(figure.title, x=0.012, ha="left", fontsize=13, fontweight="bold")
        yield canvas


def _colors() -> dict[str, str]:
    return {
        "figure.facecolor": LIGHT["card"],
        "axes.facecolor": LIGHT["card"],
        "savefig.facecolor": LIGHT["card"],
        "text.color": LIGHT["ink"],
        "axes.labelcolor": LIGHT["ink"],
        "axes.edgecolor": LIGHT["line"],
        "xtick.color": LIGHT["line"],
        "ytick.color": LIGHT["line"],
        "xtick.labelcolor": LIGHT["ink"],
        "ytick.labelcolor": LIGHT["ink"],
        "grid.color": LIGHT["grid"],
    }


def _draw(axes: matplotlib.axes.Axes, figure: Figure) -> None:
    heaps: dict[str, list[float]] = {}
    for series in figure.series:
        _draw_series(axes, figure, series, heaps)
    for band in figure.bands:
        span = axes.axvspan if band.direction == "vertical" else axes.axhspan
        color = LIGHT[band.color]
        span(band.low, band.high, color=color, alpha=0.18, lw=0, label=band.name, zorder=0.5)
    _draw_rules(axes, figure)
    _dress(axes.xaxis, figure.x)
    _dress(axes.yaxis, figure.y)
    if figure.y.scale == "category":
        axes.set_ylim(len(figure.y.categories) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    if figure.x.scale == "category":
        axes.set_xlim(-0.6, len(figure.x.categories) - 0.4)
        if len(figure.x.categories) > 8:
            axes.tick_params(axis="x", labelrotation=45)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
    if figure.square:
        axes.set_aspect("equal", adjustable="box")
    _legend(axes, figure)


def _draw_series(
    axes: matplotlib.axes.Axes, figure: Figure, series: Series, heaps: dict[str, list[float]]
) -> None:
    color, label = LIGHT[series.color], series.name if series.in_legend else None
    x, y = _places(figure.x, series.x), _places(figure.y, series.y)
    if series.kind == "points":
        few = len(x) <= 300
        mark = SYMBOLS[figure.series.index(series) % len(SYMBOLS)][1]
        axes.scatter(
            x,
            y,
            marker=mark,
            s=34 if few else 14,
            color=color,
            alpha=0.75,
            label=label,
            edgecolors=LIGHT["card"],
            linewidths=0.5 if few else 0,
        )
        if len(series.low):
            axes.errorbar(x, y, _whiskers(series, y), fmt="none", ecolor=color, capsize=3, lw=1.2)
    elif series.kind == "line":
        axes.plot(x, y, color=color, lw=1.8, label=label)
    elif series.kind == "steps":
        axes.step(x, y, where="post", color=color, lw=1.8, label=label)
    elif figure.y.scale == "category":
        bars = axes.barh(
            y,
            x,
            height=0.7,
            color=color,
            label=label,
            xerr=_whiskers(series, x),
            error_kw={"ecolor": LIGHT["ink"], "capsize": 3, "lw": 1.2},
        )
        if series.labels:
            axes.bar_label(bars, series.labels, padding=4)
    else:
        width = series.width or 0.75
        base = _base(heaps, x, y) if figure.stacked else 0.0
        axes.bar(
            x,
            y,
            width=width,
            bottom=base,
            color=color,
            label=label,
            edgecolor=LIGHT["card"],
            linewidth=0.6,
        )


def _base(heaps: dict[str, list[float]], x: list[float], y: list[float]) -> list[float]:
    """Where each bar of a pile starts: positive parts pile upwards, negative ones downwards."""
    starts = []
    for place, value in zip(x, y, strict=True):
        heap = heaps.setdefault(f"{place}", [0.0, 0.0])
        side = 0 if value >= 0 else 1
        starts.append(heap[side])
        heap[side] += value
    return starts


def _places(axis: Axis, values: Any) -> list[float]:
    """Coordinates as numbers; a category's is its index."""
    if axis.scale != "category":
        return [float(value) for value in values]
    index = {name: place for place, name in enumerate(axis.categories)}
    return [float(index[value]) for value in values]


def _whiskers(series: Series, ends: list[float]) -> list[list[float]] | None:
    if not len(series.low):
        return None
    below = [max(end - low, 0.0) for end, low in zip(ends, series.low, strict=True)]
    above = [max(high - end, 0.0) for end, high in zip(ends, series.high, strict=True)]
    return [below, above]


def _draw_rules(axes: matplotlib.axes.Axes, figure: Figure) -> None:
    for rule in figure.rules:
        style: dict[str, Any] = {
            "color": LIGHT[rule.color],
            "lw": 1.3,
            "ls": (0, (5, 3)),
            "label": rule.name,
        }
        if rule.direction == "vertical":
            axes.axvline(rule.at, **style)
        elif rule.direction == "horizontal":
            axes.axhline(rule.at, **style)
        else:
            axes.axline((0.0, 0.0), slope=1.0, **style)
    if figure.note:
        axes.text(
            0.03,
            0.97,
            figure.note,
            transform=axes.transAxes,
            va="top",
            ha="left",
            bbox={
                "facecolor": LIGHT["card"],
                "edgecolor": LIGHT["line"],
                "boxstyle": "round,pad=0.5",
            },
        )


def _dress(axis: Any, described: Axis) -> None:
    """Label, scale, limits and grid of one axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    axis.set_label_text(described.label)
    if described.scale == "category":
        axis.set_major_locator(FixedLocator(range(len(described.categories))))
        axis.set_ticklabels(described.categories)
        return
    axis.grid(visible=True)
    limit = axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim
    if described.scale == "log":
        (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    if described.limits:
        limit(*described.limits)
    if described.ticks:
        axis.set_major_locator(FixedLocator(described.ticks))


def _legend(axes: matplotlib.axes.Axes, figure: Figure) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        longest = max(map(len, labels)) + 12
        columns = max(1, min(len(handles), (130 if figure.wide else 75) // longest))
        axes.legend(
            handles,
            labels,
            loc="lower left",
            bbox_to_anchor=(0, 1.01),
            borderaxespad=0,
            ncols=columns,
        )
