"""Drawings of networks as SVG: a row of boxes, block after block, as papers draw them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.reports.rendering.content import Box, Drawing

_PER_ROW = 26
_BOX_PX = 30
_GAP_PX = 13
_TALLEST_PX = 190
_LABELS_PX = 46
_LEGEND_PX = 34
_MARGIN_PX = 30


def to_svg(drawing: Drawing, palette: Mapping[str, str] | None = None) -> str:
    """Render a drawing.

    Parameters
    ----------
    drawing : Drawing
    palette : mapping of str to str, optional
        Colours of the roles, for a file of its own; without it they are the page's CSS variables.
    """
    rows = [drawing.boxes[i : i + _PER_ROW] for i in range(0, len(drawing.boxes), _PER_ROW)]
    widest = max((len(row) for row in rows), default=1)
    width = 2 * _MARGIN_PX + widest * (_BOX_PX + _GAP_PX) - _GAP_PX
    row_px = _TALLEST_PX + _LABELS_PX
    height = _LEGEND_PX + len(rows) * row_px + _MARGIN_PX
    painter = _Painter(palette)
    parts = _legend(painter, drawing)
    shape = ""
    for number, row in enumerate(rows):
        middle = _LEGEND_PX + number * row_px + _TALLEST_PX / 2
        drawn, shape = _row(painter, row, middle, shape, last=number == len(rows) - 1)
        parts += drawn
    ground = ""
    if palette is not None:
        ground = f'<rect width="{width}" height="{height}" fill="{palette["card"]}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(drawing.alt)}" width="{width}" height="{height}" '
        f'style="min-width:{min(width, 760)}px" '
        f'font-family="system-ui, sans-serif">{ground}{"".join(parts)}</svg>'
    )


class _Painter:
    """Elements in the colours of a palette, or of the page."""

    def __init__(self, palette: Mapping[str, str] | None) -> None:
        self._palette = palette

    def color(self, role: str) -> str:
        return f"var(--{role})" if self._palette is None else self._palette[role]

    def text(self, x: float, y: float, words: str, *, role: str = "ink", more: str = "") -> str:
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{self.color(role)}" {more}>'
            f"{escape(words)}</text>"
        )


def _legend(painter: _Painter, drawing: Drawing) -> list[str]:
    parts, x = [], float(_MARGIN_PX)
    for name, role in drawing.legend:
        parts.append(
            f'<rect x="{x:.1f}" y="7" width="12" height="12" rx="2" fill="{painter.color(role)}"/>'
        )
        parts.append(painter.text(x + 17, 17, name))
        x += 17 + 6.4 * len(name) + 18
    return parts


def _row(
    painter: _Painter, boxes: tuple[Box, ...], middle: float, shape: str, *, last: bool
) -> tuple[list[str], str]:
    """One row of boxes around a line at height ``middle``; also the last shape."""
    line = painter.color("muted")
    end = _MARGIN_PX + len(boxes) * (_BOX_PX + _GAP_PX) - (_GAP_PX if last else 0)
    wire = f'x1="{_MARGIN_PX}" y1="{middle}" x2="{end}" y2="{middle}" stroke="{line}"'
    parts = [f'<line {wire} stroke-width="1.5"/>']
    low = False
    for index, box in enumerate(boxes):
        x = _MARGIN_PX + index * (_BOX_PX + _GAP_PX)
        parts.append(_box(painter, box, x, middle))
        if box.shape != shape:
            shape = box.shape
            # Labels are wider than boxes: neighbours stand on two lines.
            y = middle + _TALLEST_PX / 2 + (30 if low else 14)
            low = not low
            parts.append(painter.text(x + _BOX_PX / 2, y, shape, role="muted", more=_CENTRED))
        else:
            low = False
    return parts, shape


_CENTRED = 'text-anchor="middle"'


def _box(painter: _Painter, box: Box, x: float, middle: float) -> str:
    size = 24 + (_TALLEST_PX - 30) * min(max(box.height, 0.0), 1.0)
    top = middle - size / 2
    title = f"<title>{escape(box.title)}</title>"
    if box.skipped:
        frame = (
            f'<rect x="{x}" y="{middle - 12:.1f}" width="{_BOX_PX}" height="24" rx="4" '
            f'fill="{painter.color("card")}" stroke="{painter.color("muted")}" '
            'stroke-dasharray="3 3"/>'
        )
        return f"<g>{title}{frame}</g>"
    frame = (
        f'<rect x="{x}" y="{top:.1f}" width="{_BOX_PX}" height="{size:.1f}" rx="4" '
        f'fill="{painter.color(box.color)}"/>'
    )
    centre = x + _BOX_PX / 2 + 4
    turned = f'{_CENTRED} font-weight="600" transform="rotate(-90 {centre:.1f} {middle:.1f})"'
    return (
        f"<g>{title}{frame}{painter.text(centre, middle, box.label, role='card', more=turned)}</g>"
    )
