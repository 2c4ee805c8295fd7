"""The page about one network at several batch sizes, numbers of threads and of streams."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.reports.rendering.content import (
    Axis,
    Column,
    Figure,
    Report,
    Section,
    Series,
    Table,
    Tile,
)
from latprof.reports.rendering.wording import count, moment, ms, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from latprof.profilers.sessions.streams import StreamFigures
    from latprof.profilers.sweeping import Sweep, SweepPoint


def build_sweep_report(sweep: Sweep) -> Report:
    """Compute everything that the page shows, independent of its rendering."""
    measured = [point for point in sweep.points if point.failure is None]
    written = moment(dt.datetime.now(dt.UTC).timestamp())
    streams = (_streams_section(sweep),) if sweep.streams else ()
    return Report(
        title=f"{sweep.name}: latency and throughput",
        subtitle=sweep.describe_target(),
        facts=(
            ("Network", sweep.name),
            ("Target", measured[0].target.spelling),
            ("Cores", str(sweep.cores)),
            ("Host", sweep.host.describe()),
        ),
        tiles=_tiles(measured, sweep.streams),
        sections=(_points_section(sweep, measured), *streams),
        footer=(
            f"Written by latprof {__version__} on {written}. This page needs no network; every "
            "figure comes from the runs of this sweep."
        ),
    )


def _tiles(measured: Sequence[SweepPoint], streams: Sequence[StreamFigures]) -> tuple[Tile, ...]:
    fastest = min(measured, key=lambda point: point.latency_ms)
    most = max(measured, key=lambda point: point.throughput)
    tiles = [
        Tile("Least latency", ms(fastest.latency_ms), "ms", _setting(fastest)),
        Tile("Most throughput, one session", _rate(most.throughput), "items/s", _setting(most)),
    ]
    if streams:
        best = max(streams, key=lambda each: each.throughput)
        detail = f"{count(best.streams, 'stream')}, {_setting(best)}"
        tiles.append(Tile("Most throughput, streams", _rate(best.throughput), "items/s", detail))
    return tuple(tiles)


def _setting(point: SweepPoint | StreamFigures) -> str:
    return f"batch {point.batch_size}, {count(point.threads, 'thread')}"


def _rate(value: float) -> str:
    return number(value, 0 if value >= 100 else 1)


def _points_section(sweep: Sweep, measured: Sequence[SweepPoint]) -> Section:
    first, best = measured[0], max(measured, key=lambda point: point.throughput)
    lead = (
        f"{count(len(measured), 'setting')} in one paired campaign: {_setting(first)} takes "
        f"{ms(first.latency_ms)} ms a run; most items a second come at {_setting(best)}: "
        f"{_rate(best.throughput)}, {best.throughput / first.throughput:.2f} times as many."
    )
    warnings = () if sweep.host.quiet else (f"The host was not quiet: {sweep.host.describe()}.",)
    return Section(
        "points",
        "Batch sizes and threads",
        lead,
        figures=(
            _curves(
                measured,
                "latency",
                "Latency of a run",
                "Latency (ms)",
                lambda point: (point.latency_ms, point.low_ms, point.high_ms),
            ),
            _curves(
                measured,
                "throughput",
                "Throughput of one session",
                "Items a second",
                lambda point: (
                    point.throughput,
                    1000 * point.batch_size / point.high_ms,
                    1000 * point.batch_size / point.low_ms,
                ),
            ),
        ),
        tables=(_points_table(sweep),),
        paragraphs=(
            (
                "Latencies are paired: ratios to a reference network in the same process, times "
                "what that takes on a quiet host with as many threads. Bars are 90 % intervals."
            ),
        ),
        warnings=warnings,
    )


def _curves(
    measured: Sequence[SweepPoint],
    slug: str,
    title: str,
    label: str,
    values: Callable[[SweepPoint], tuple[float, float, float]],
) -> Figure:
    batches = tuple(str(b) for b in sorted({point.batch_size for point in measured}))
    series = []
    for position, threads in enumerate(sorted({point.threads for point in measured})):
        own = [point for point in measured if point.threads == threads]
        found = [values(point) for point in own]
        color = f"series-{position % 8 + 1}"
        names = [str(point.batch_size) for point in own]
        name = count(threads, "thread")
        series += [
            Series(
                name,
                "points",
                names,
                [value for value, _, _ in found],
                color,
                hover=[f"{name}, batch {b}" for b in names],
                low=[low if math.isfinite(low) else value for value, low, _ in found],
                high=[high if math.isfinite(high) else value for value, _, high in found],
            ),
            Series(name, "line", names, [v for v, _, _ in found], color, in_legend=False),
        ]
    alt = "; ".join(f"{_setting(point)}: {ms(values(point)[0])}" for point in measured)
    return Figure(
        slug=slug,
        title=title,
        alt=f"{label} by batch size. {alt}.",
        x=Axis("Batch size", "category", categories=batches),
        y=Axis.of_intervals(label, [values(point) for point in measured]),
        series=tuple(series),
        wide=True,
    )


def _points_table(sweep: Sweep) -> Table:
    rows = tuple(
        (
            str(point.batch_size),
            str(point.threads),
            ms(point.latency_ms),
            f"{ms(point.low_ms)} to {ms(point.high_ms)}",
            _rate(point.throughput),
            ms(point.latency_ms / point.batch_size),
            "" if point.failure is None else point.failure.message,
        )
        for point in sweep.points
    )
    columns = (
        Column("Batch size"),
        Column("Threads"),
        Column("Latency (ms)"),
        Column("90 % interval (ms)"),
        Column("Items a second"),
        Column("An item (ms)"),
        Column("Failure", numeric=False),
    )
    return Table("Every setting", columns, rows)


def _streams_section(sweep: Sweep) -> Section:
    best = max(sweep.streams, key=lambda each: each.throughput)
    lead = (
        f"Concurrent sessions, each in a process of its own, on {count(sweep.cores, 'core')}: most "
        f"items a second come from {count(best.streams, 'stream')} ({_setting(best)}): "
        f"{_rate(best.throughput)}."
    )
    crowded = any(each.oversubscribed for each in sweep.streams)
    return Section(
        "streams",
        "Concurrent sessions",
        lead,
        figures=(_streams_figure(sweep),),
        tables=(_streams_table(sweep),),
        paragraphs=(
            (
                "Throughput is by the clock of this host, the median of the rounds in which the "
                "numbers of streams took turns; it is not paired with a reference. Bars are the "
                "lowest and the highest round."
            ),
            *(("A * marks more threads than cores: the streams take turns.",) if crowded else ()),
        ),
    )


def _streams_figure(sweep: Sweep) -> Figure:
    numbers = tuple(str(n) for n in sorted({each.streams for each in sweep.streams}))
    series = []
    settings = dict.fromkeys((each.threads, each.batch_size) for each in sweep.streams)
    for position, setting in enumerate(settings):
        own = [each for each in sweep.streams if (each.threads, each.batch_size) == setting]
        color = f"series-{position % 8 + 1}"
        names = [str(each.streams) for each in own]
        values = [each.throughput for each in own]
        series += [
            Series(
                _setting(own[0]),
                "points",
                names,
                values,
                color,
                hover=[f"{_setting(each)}, {count(each.streams, 'stream')}" for each in own],
                low=[each.lowest for each in own],
                high=[each.highest for each in own],
            ),
            Series(_setting(own[0]), "line", names, values, color, in_legend=False),
        ]
    alt = "; ".join(
        f"{_setting(e)}, {count(e.streams, 'stream')}: {_rate(e.throughput)}" for e in sweep.streams
    )
    return Figure(
        slug="streams",
        title="Throughput of concurrent sessions",
        alt=f"Items a second by the number of streams. {alt}.",
        x=Axis("Streams", "category", categories=numbers),
        y=Axis("Items a second", limits=(0.0, 1.08 * max(each.highest for each in sweep.streams))),
        series=tuple(series),
        wide=True,
    )


def _streams_table(sweep: Sweep) -> Table:
    rows = tuple(
        (
            f"{each.streams}{'*' if each.oversubscribed else ''}",
            str(each.threads),
            str(each.batch_size),
            _rate(each.throughput),
            f"{_rate(each.lowest)} to {_rate(each.highest)}",
            number(each.speedup),
            each.latency.describe(),
        )
        for each in sweep.streams
    )
    columns = (
        Column("Streams"),
        Column("Threads"),
        Column("Batch size"),
        Column("Items a second"),
        Column("Of the rounds"),
        Column("Times one stream"),
        Column("Latency of a run (ms)", numeric=False),
    )
    return Table("Every number of streams", columns, rows)
