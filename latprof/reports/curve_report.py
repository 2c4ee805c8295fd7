"""The page about one model's predicted latency at several sizes."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.common.short_reprs import whole_percent
from latprof.reports.rendering.content import (
    Axis,
    Column,
    Coordinate,
    Figure,
    Report,
    Section,
    Series,
    Table,
    Tile,
)
from latprof.reports.rendering.wording import UNKNOWN, count, moment, ms, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from latprof.predictors.pack.answering import Answer
    from latprof.predictors.pack.curve import Curve, CurvePoint

#: More sizes than this stand on an axis of numbers, where their names would not fit.
_MOST_NAMES = 16

#: A value with the ends of its interval.
Bounded = tuple[float, float, float]


def build_curve_report(curve: Curve) -> Report:
    """Compute everything that the page shows, independent of its rendering."""
    answers = [answer for _, answer in curve.answered]
    target = answers[0].target
    written = moment(dt.datetime.now(dt.UTC).timestamp())
    return Report(
        title=f"{curve.name}: predicted latency by {' and '.join(curve.axes)}",
        subtitle="an unknown target" if target is None else target.describe(),
        facts=(
            ("Model", curve.name),
            ("Target", UNKNOWN if target is None else target.spelling),
            ("Answered from", " and ".join(sorted({answer.how for answer in answers}))),
            ("Least coverage", whole_percent(min(answer.coverage for answer in answers))),
        ),
        tiles=_tiles(curve),
        sections=(_section(curve),),
        footer=(
            f"Written by latprof {__version__} on {written}. This page needs no network; nothing "
            "was run for it: every figure is a prediction."
        ),
    )


def _tiles(curve: Curve) -> tuple[Tile, ...]:
    fastest, answer = min(curve.answered, key=lambda pair: pair[1].latency_ms)
    tiles = [Tile("Least latency", ms(answer.latency_ms), "ms", _setting(curve, fastest))]
    if curve.batch_axis:
        most, rate = max(_rates(curve), key=lambda pair: pair[1])
        tiles.append(Tile("Most throughput", _rate(rate), "items/s", _setting(curve, most)))
    else:
        slowest, answer = max(curve.answered, key=lambda pair: pair[1].latency_ms)
        tiles.append(Tile("Most latency", ms(answer.latency_ms), "ms", _setting(curve, slowest)))
    return tuple(tiles)


def _rates(curve: Curve) -> list[tuple[CurvePoint, float]]:
    rates = [(point, curve.throughput(point)) for point, _ in curve.answered]
    return [(point, rate) for point, rate in rates if rate is not None]


def _setting(curve: Curve, point: CurvePoint) -> str:
    return ", ".join(f"{n} {size}" for n, size in zip(curve.axes, point.sizes, strict=True))


def _rate(value: float) -> str:
    return number(value, 0 if value >= 100 else 1)


def _section(curve: Curve) -> Section:
    first, last = curve.answered[0], curve.answered[-1]
    lead = (
        f"{count(len(curve.answered), 'size')} predicted: {_setting(curve, first[0])} takes "
        f"{ms(first[1].latency_ms)} ms a run, {_setting(curve, last[0])} "
        f"{ms(last[1].latency_ms)} ms."
    )
    guesses = [point for point, answer in curve.answered if answer.is_guess]
    warning = (
        f"{count(len(guesses), 'answer is a guess', 'answers are guesses')}: much of the latency "
        "is from kernels outside of what the pack's measurements cover."
    )
    figures = [_curves(curve, "latency", "Latency of a run", "Latency (ms)", _latency)]
    if curve.batch_axis:
        figures.append(
            _curves(
                curve,
                "throughput",
                "Throughput",
                "Items a second",
                lambda point, answer: _throughput(curve, point, answer),
            )
        )
    return Section(
        "sizes",
        f"Latency by {' and '.join(curve.axes)}",
        lead,
        figures=tuple(figures),
        tables=(_table(curve),),
        paragraphs=("Bars are the intervals of the answers; a guess by operators has none.",),
        warnings=(warning,) if guesses else (),
    )


def _latency(_point: CurvePoint, answer: Answer) -> Bounded:
    return answer.latency_ms, answer.low_ms, answer.high_ms


def _throughput(curve: Curve, point: CurvePoint, answer: Answer) -> Bounded:
    items = 1000 * (curve.batch_of(point) or 0)
    return items / answer.latency_ms, items / answer.high_ms, items / answer.low_ms


def _curves(
    curve: Curve,
    slug: str,
    title: str,
    label: str,
    values: Callable[[CurvePoint, Answer], Bounded],
) -> Figure:
    """One curve over the last axis for each size along the other."""
    sizes = sorted({point.sizes[-1] for point, _ in curve.answered})
    named = len(sizes) <= _MOST_NAMES
    series: list[Series] = []
    for position, other in enumerate(dict.fromkeys(p.sizes[:-1] for p, _ in curve.answered)):
        own = [(point, answer) for point, answer in curve.answered if point.sizes[:-1] == other]
        found = [values(point, answer) for point, answer in own]
        x: list[Coordinate] = [str(p.sizes[-1]) if named else p.sizes[-1] for p, _ in own]
        y = [value for value, _, _ in found]
        name = f"{curve.axes[0]} {other[0]}" if other else "predicted"
        color = f"series-{position % 8 + 1}"
        series += [
            Series(
                name,
                "points",
                x,
                y,
                color,
                hover=[_setting(curve, point) for point, _ in own],
                low=[low if math.isfinite(low) else value for value, low, _ in found],
                high=[high if math.isfinite(high) else value for value, _, high in found],
            ),
            Series(name, "line", x, y, color, in_legend=False),
        ]
    every = [values(point, answer) for point, answer in curve.answered]
    across = Axis(
        curve.axes[-1].capitalize(),
        "category" if named else "linear",
        categories=tuple(map(str, sizes)) if named else (),
    )
    told = zip(curve.answered, every, strict=True)
    alt = "; ".join(f"{_setting(curve, point)}: {ms(value)}" for (point, _), (value, *_) in told)
    return Figure(
        slug=slug,
        title=title,
        alt=f"{label} by {' and '.join(curve.axes)}. {alt}.",
        x=across,
        y=Axis.of_intervals(label, every),
        series=tuple(series),
        wide=True,
    )


def _table(curve: Curve) -> Table:
    columns = (
        *(Column(axis.capitalize()) for axis in curve.axes),
        Column("Latency (ms)"),
        Column("Interval (ms)"),
        *((Column("Items a second"),) if curve.batch_axis else ()),
        Column("Coverage"),
        Column("", numeric=False),
    )
    return Table("Every size", columns, tuple(_row(curve, point) for point in curve.points))


def _row(curve: Curve, point: CurvePoint) -> tuple[str, ...]:
    sizes = tuple(map(str, point.sizes))
    rate = curve.throughput(point)
    rates = ((UNKNOWN if rate is None else _rate(rate)),) if curve.batch_axis else ()
    if point.answer is None:
        failed = "" if point.failure is None else point.failure.message
        return (*sizes, UNKNOWN, UNKNOWN, *rates, UNKNOWN, failed)
    answer = point.answer
    known = math.isfinite(answer.low_ms) and math.isfinite(answer.high_ms)
    return (
        *sizes,
        f"{'~ ' if answer.is_guess else ''}{ms(answer.latency_ms)}",
        f"{ms(answer.low_ms)} to {ms(answer.high_ms)}" if known else UNKNOWN,
        *rates,
        whole_percent(answer.coverage),
        "a guess" if answer.is_guess else "",
    )
