"""The records that every section fills and every renderer reads: figures, tables, sections.

Nothing here knows HTML, plotly or matplotlib. Colours are roles, resolved by
:mod:`latprof.reports.rendering.theme`: ``"series-1"`` to ``"series-8"``, ``"floor"``, ``"ink"``,
``"muted"``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A coordinate: a number on a linear or logarithmic axis, a name on one of categories.
Coordinate: TypeAlias = float | str


@dataclass(frozen=True)
class Axis:
    """One axis; ``label`` carries the unit. ``categories`` are in order, first at the left or top.

    ``ticks`` says where numbers stand; without it the renderer decides.
    """

    label: str
    scale: Literal["linear", "log", "category"] = "linear"
    limits: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()

    @classmethod
    def of_intervals(cls, label: str, values: Sequence[tuple[float, float, float]]) -> Axis:
        """From 0 to all values (value, low, high), and to intervals that are not much larger."""
        largest = max(value for value, _, _ in values)
        highest = max((high for _, _, high in values if math.isfinite(high)), default=largest)
        return cls(label, limits=(0.0, 1.08 * max(largest, min(highest, 1.6 * largest))))


@dataclass(frozen=True)
class Series:
    """One set of marks under one name in the legend.

    ``"bars"`` are vertical when y is numeric and horizontal when it is categorical; when both axes
    are numeric they are ``width`` wide around x. ``"steps"`` is a cumulative curve. ``hover``
    names the points, ``labels`` are written at the ends of bars. ``low`` and ``high`` are ends of
    intervals of bars and points along the axis of numbers.
    """

    name: str
    kind: Literal["points", "line", "bars", "steps"]
    x: Sequence[Coordinate]
    y: Sequence[Coordinate]
    color: str = "series-1"
    hover: Sequence[str] = ()
    labels: Sequence[str] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    width: float | None = None
    in_legend: bool = True


@dataclass(frozen=True)
class Rule:
    """A straight line across the figure: at x (``"vertical"``), at y, or along x = y."""

    direction: Literal["vertical", "horizontal", "diagonal"]
    name: str
    at: float = 0.0
    color: str = "muted"


@dataclass(frozen=True)
class Band:
    """A shaded range of x (``"vertical"``) or of y (``"horizontal"``)."""

    direction: Literal["vertical", "horizontal"]
    name: str
    low: float
    high: float
    color: str = "floor"


@dataclass(frozen=True)
class Figure:
    """What one figure shows.

    ``slug`` names its PNG file and its place in the page, ``alt`` says what it shows to who cannot
    see it, ``note`` is a short text inside the plot. ``stacked`` piles bars of equal x.
    ``square`` gives both axes the same scale. ``wide`` asks for a row of its own.
    """

    slug: str
    title: str
    alt: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    rules: tuple[Rule, ...] = ()
    bands: tuple[Band, ...] = ()
    note: str = ""
    stacked: bool = False
    square: bool = False
    wide: bool = False
    height_px: int = 400


@dataclass(frozen=True)
class Box:
    """One block of a drawn network.

    ``label`` is written inside the block, ``title`` is shown on hover, ``shape`` is the output's
    and is written where it changes. ``height`` is from 0 to 1. ``skipped`` is a block that passes
    its input on.
    """

    label: str
    title: str
    shape: str
    height: float
    color: str
    skipped: bool = False


@dataclass(frozen=True)
class Drawing:
    """A network, block after block; ``legend`` names the colours."""

    slug: str
    title: str
    alt: str
    boxes: tuple[Box, ...]
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Column:
    """One column of a table; the header carries the unit, numbers stand at the right."""

    header: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table of ready texts. The first column heads its row. ``marks`` names rows to stress.

    A ``folded`` table opens on demand; ``half`` ones stand side by side where there is room.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: frozenset[int] = frozenset()
    folded: bool = False
    half: bool = False


@dataclass(frozen=True)
class Tile:
    """One headline figure: a value, its unit, what it is, and what to hold it against."""

    label: str
    value: str
    unit: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Section:
    """One section of the report.

    ``lead`` says in a sentence with figures what the section shows. ``missing`` names the
    command that brings each part without data. ``warnings`` are what a reader must know first.
    """

    slug: str
    title: str
    lead: str
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    paragraphs: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Report(ShortRepr):
    """A whole report: who measured what where, the headline figures, and the sections."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    footer: str

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure, in the order of the page."""
        return tuple(figure for section in self.sections for figure in section.figures)

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """Every drawing, in the order of the page."""
        return tuple(drawing for section in self.sections for drawing in section.drawings)
