"""Figures as plotly specifications: plain JSON whose colours are roles, themed in the browser.

The page's script replaces every colour role (``"@ink"``) by the value that the page's style sheet
has for it, so one specification serves the light and the dark theme.
"""

from __future__ import annotations

import html
import json
import math
from typing import TYPE_CHECKING, Any

from latprof.reports.rendering.theme import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latprof.reports.rendering.content import Axis, Band, Coordinate, Figure, Rule, Series

Spec = dict[str, Any]

_SQUARE_TICKS = 9
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
#: Characters that could end a script element or a line of JavaScript, as JSON escapes.
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def plotly_javascript() -> str:
    """The source of plotly.js, to be inlined once a page."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source


def specification(figure: Figure) -> Spec:
    """Return ``{"data": ..., "layout": ...}`` for plotly.js, colours as roles."""
    return {
        "data": [_trace(figure, series) for series in figure.series],
        "layout": _layout(figure),
    }


def to_json(value: Any) -> str:
    """JSON that is safe inside a ``<script>`` element, whatever strings it holds."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def themed(value: Any, palette: Mapping[str, str]) -> Any:
    """Replace colour roles by a palette's colours, as the page's script does."""
    if isinstance(value, dict):
        return {
            key: palette[part[1:]]
            if key.lower().endswith("color") and isinstance(part, str) and part[:1] == "@"
            else themed(part, palette)
            for key, part in value.items()
        }
    return [themed(part, palette) for part in value] if isinstance(value, list) else value


def _text(value: str) -> str:
    """Text for plotly, which reads a few HTML tags and entities in labels."""
    return html.escape(value, quote=False)


def _values(values: Sequence[Coordinate]) -> list[Coordinate | None]:
    """Coordinates as JSON values: names escaped, what is not finite as a gap."""
    return [
        _text(v) if isinstance(v, str) else (_rounded(v) if math.isfinite(v) else None)
        for v in values
    ]


def _rounded(value: float) -> float:
    """Seven significant figures: more only makes the page longer."""
    return float(f"{value:.7g}")


def _lies(figure: Figure) -> bool:
    return figure.y.scale == "category"


def _trace(figure: Figure, series: Series) -> Spec:
    trace: Spec = {
        "name": _text(series.name),
        "x": _values(series.x),
        "y": _values(series.y),
        "showlegend": series.in_legend,
        "hovertemplate": _hover_template(figure, series),
    }
    if series.hover:
        trace["customdata"] = [_text(name) for name in series.hover]
    if series.kind == "bars":
        trace |= _bar(figure, series)
    elif series.kind == "points":
        few = len(series.x) <= 300
        symbol = SYMBOLS[figure.series.index(series) % len(SYMBOLS)][0]
        marker: Spec = {"color": f"@{series.color}", "size": 8 if few else 5.5, "opacity": 0.8}
        marker["symbol"] = symbol
        marker["line"] = {"color": "@card", "width": 0.6 if few else 0}
        trace |= {"type": "scatter", "mode": "markers", "marker": marker}
        trace |= _intervals(figure, series)
    else:
        line: Spec = {"color": f"@{series.color}", "width": 2.2}
        if series.kind == "steps":
            line["shape"] = "hv"
        trace |= {"type": "scatter", "mode": "lines", "line": line}
    return trace


def _bar(figure: Figure, series: Series) -> Spec:
    bar: Spec = {
        "type": "bar",
        "orientation": "h" if _lies(figure) else "v",
        "marker": {"color": f"@{series.color}", "line": {"color": "@card", "width": 0.8}},
    }
    if series.labels:
        bar |= {"text": [_text(label) for label in series.labels], "textposition": "outside"}
        bar |= {"cliponaxis": False, "textangle": 0}
    if series.width is not None:
        bar["width"] = series.width
    return bar | _intervals(figure, series)


def _intervals(figure: Figure, series: Series) -> Spec:
    """Whiskers along the axis of numbers, where a series has intervals."""
    if not (len(series.low) and len(series.high)):
        return {}
    axis, ends = ("error_x", series.x) if _lies(figure) else ("error_y", series.y)
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [_rounded(h - float(v)) for h, v in zip(series.high, ends, strict=True)],
        "arrayminus": [_rounded(float(v) - w) for w, v in zip(series.low, ends, strict=True)],
        "color": "@ink",
        "thickness": 1.4,
        "width": 4,
    }
    return {axis: whiskers}


def _hover_template(figure: Figure, series: Series) -> str:
    x = "%{x}" if figure.x.scale == "category" else "%{x:.4~g}"
    y = "%{y}" if figure.y.scale == "category" else "%{y:.4~g}"
    name = "<b>%{customdata}</b><br>" if series.hover else ""
    labels = [
        f"{_text(axis.label)}: {value}" if axis.label else value
        for axis, value in ((figure.x, x), (figure.y, y))
    ]
    return f"{name}{'<br>'.join(labels)}<extra>{_text(series.name)}</extra>"


def _axis(axis: Axis) -> Spec:
    spec: Spec = {
        "title": {"text": _text(axis.label), "standoff": 12},
        "gridcolor": "@grid",
        "linecolor": "@line",
        "tickcolor": "@line",
        "zerolinecolor": "@line",
        "automargin": True,
        "ticks": "outside",
        "ticklen": 4,
    }
    if axis.scale == "category":
        spec |= {
            "type": "category",
            "range": [-0.6, len(axis.categories) - 0.4],
            "categoryorder": "array",
            "categoryarray": [_text(name) for name in axis.categories],
            "showgrid": False,
        }
    elif axis.scale == "log":
        spec |= {"type": "log"}
        if axis.limits:
            spec["range"] = [_rounded(math.log10(limit)) for limit in axis.limits]
    elif axis.limits:
        spec["range"] = [_rounded(limit) for limit in axis.limits]
    if axis.ticks:
        spec |= {"tickvals": axis.ticks, "ticktext": [f"{tick:g}" for tick in axis.ticks]}
    return spec


def _layout(figure: Figure) -> Spec:
    x, y = _axis(figure.x), _axis(figure.y)
    if _lies(figure):
        y |= {"range": y["range"][::-1], "ticks": "", "ticklabelstandoff": 8}
    if figure.x.scale == "category":
        x |= {"tickangle": -45 if len(figure.x.categories) > 8 else 0}
    if figure.square:
        x |= {"constrain": "domain", "nticks": _SQUARE_TICKS}
        y |= {"scaleanchor": "x", "scaleratio": 1, "constrain": "domain"}
        y["nticks"] = _SQUARE_TICKS
    marks = (*figure.rules, *figure.bands, *(s for s in figure.series if s.in_legend))
    layout: Spec = {
        "xaxis": x,
        "yaxis": y,
        "barmode": "relative" if figure.stacked else "overlay",
        "bargap": 0.25,
        "font": {"family": _FONT, "size": 13, "color": "@ink"},
        "paper_bgcolor": "@card",
        "plot_bgcolor": "@card",
        # Two rows of legend need room below the toolbar.
        "margin": {"l": 60, "r": 16, "t": (54 if len(marks) < 8 else 76) if marks else 30, "b": 46},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "showlegend": bool(marks),
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink"}},
        "shapes": [*map(_band, figure.bands), *(_rule(figure, rule) for rule in figure.rules)],
        "height": figure.height_px,
        "dragmode": "zoom",
    }
    if figure.note:
        layout["annotations"] = [_note(figure.note)]
    return layout


def _note(note: str) -> Spec:
    return {
        "text": "<br>".join(map(_text, note.splitlines())),
        "xref": "x domain",
        "yref": "y domain",
        "x": 0.02,
        "y": 0.98,
        "xanchor": "left",
        "yanchor": "top",
        "align": "left",
        "showarrow": False,
        "bgcolor": "@card",
        "bordercolor": "@line",
        "borderpad": 6,
        "font": {"color": "@ink", "size": 13},
    }


def _band(band: Band) -> Spec:
    spec: Spec = {"type": "rect", "layer": "below", "opacity": 0.18, "line": {"width": 0}}
    spec |= {"fillcolor": f"@{band.color}", "name": _text(band.name), "showlegend": True}
    if band.direction == "vertical":
        return spec | {"x0": band.low, "x1": band.high, "yref": "paper", "y0": 0, "y1": 1}
    return spec | {"y0": band.low, "y1": band.high, "xref": "paper", "x0": 0, "x1": 1}


def _rule(figure: Figure, rule: Rule) -> Spec:
    spec: Spec = {
        "type": "line",
        "line": {"color": f"@{rule.color}", "width": 2, "dash": "dash"},
        "name": _text(rule.name),
        "showlegend": True,
    }
    if rule.direction == "vertical":
        return spec | {"x0": rule.at, "x1": rule.at, "yref": "paper", "y0": 0, "y1": 1}
    if rule.direction == "horizontal":
        return spec | {"y0": rule.at, "y1": rule.at, "xref": "paper", "x0": 0, "x1": 1}
    low, high = figure.x.limits or (0.0, 1.0)
    return spec | {"x0": low, "y0": low, "x1": high, "y1": high}
