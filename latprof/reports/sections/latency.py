"""The headline figures, and the measured latencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latprof.reports.rendering.arrays import above_zero, floats, histogram
from latprof.reports.rendering.content import (
    Axis,
    Column,
    Figure,
    Rule,
    Section,
    Series,
    Table,
    Tile,
)
from latprof.reports.rendering.wording import (
    UNKNOWN,
    count,
    distinct,
    ms,
    ms_column,
    number,
    percent,
    short,
)
from latprof.reports.sections.predictor import floor_of

if TYPE_CHECKING:
    import pandas as pd

    from latprof.reports.data import ReportData

_LISTED = 30
_ENDS = 8
#: Up to this many networks are drawn one by one, with their intervals.
_DRAWN_SINGLY = 24


def headline_tiles(data: ReportData) -> tuple[Tile, ...]:
    """The figures that a reader looks for first."""
    measured = data.measured
    latency = floats(measured["latency_ms"])
    again = len(data.repeated)
    tiles = [
        Tile(
            "Networks measured",
            f"{len(measured):,}",
            detail=f"{again:,} of them again" if again else "none of them again",
        )
    ]
    if len(measured):
        span = f"{ms(latency.min())} to {ms(latency.max())} ms"
        tiles.append(Tile("Mean latency", ms(data.mean_ms), "ms", span))
    floor = floor_of(data)
    if floor is not None:
        how = "repeats" if floor.method == "repeats" else "spread of visits"
        tiles.append(
            Tile(
                "Noise floor",
                number(floor.percent),
                "%",
                f"{ms(floor.rmse_ms)} ms, {how}, {count(floor.pairs, 'network')}",
            )
        )
    metrics = data.pack.metrics if data.pack is not None else None
    if metrics is not None and data.pack is not None:
        rows = count(metrics.rows, "held-out network")
        tiles += [
            Tile(
                f"RMSE, {data.pack.predictor.name}",
                number(metrics.rmse_percent),
                "%",
                f"{ms(metrics.rmse_ms)} ms, {rows}",
            ),
            Tile("Within 5 %", number(metrics.within_5_percent, 1), "%", f"of {rows}"),
            Tile(
                "Spearman's rho",
                number(metrics.spearman, 4),
                detail=f"Kendall's tau {number(metrics.kendall, 3)}",
            ),
        ]
    return tuple(tiles)


def latency_section(data: ReportData) -> Section:
    """How the latencies are distributed, and the networks by name."""
    title, measured = "Measured latency", data.measured
    if measured.empty:
        return Section(
            "latency",
            title,
            "No network has a latency yet: every visit failed.",
            missing=("See the failures below, then run latprof collect again.",),
        )
    latency = floats(measured["latency_ms"])
    lead = f"The only network measured takes {ms(latency[0])} ms."
    if len(latency) > 1:
        low, middle, high = np.percentile(latency, [5, 50, 95])
        lead = (
            f"{count(len(latency), 'network')} take {ms(latency.min())} to {ms(latency.max())} ms; "
            f"half of them less than {ms(middle)} ms, nine in ten between {ms(low)} and "
            f"{ms(high)} ms."
        )
    interval = (floats(measured["high_ms"]) - floats(measured["low_ms"])) / latency
    known = interval[np.isfinite(interval)]
    if len(known):
        half = percent(float(np.median(known)) / 2)
        lead += f" The median of their 90 % intervals is ±{half}."
    many = len(latency) > _DRAWN_SINGLY
    return Section(
        "latency",
        title,
        lead,
        figures=(_distribution(measured) if many else _one_by_one(measured),),
        tables=_network_tables(measured),
    )


def _distribution(measured: pd.DataFrame) -> Figure:
    latency = floats(measured["latency_ms"])
    mean = float(latency.mean())
    bars = histogram(latency, "Measured networks", "series-1")
    return Figure(
        slug="latency-distribution",
        title="Distribution of the measured latency",
        alt=f"Histogram of {len(latency)} latencies with mean {ms(mean)} ms.",
        x=Axis("Latency (ms)"),
        y=Axis("Networks", limits=above_zero(bars)),
        series=(bars,),
        rules=(Rule("vertical", f"Mean {ms(mean)} ms", mean, "ink"),),
        wide=True,
        height_px=340,
    )


def _one_by_one(measured: pd.DataFrame) -> Figure:
    rows = measured.sort_values("latency_ms", kind="stable")
    names = distinct([short(str(name), 36) for name in rows["name"]])
    latency = floats(rows["latency_ms"])
    low, high = floats(rows["low_ms"]), floats(rows["high_ms"])
    low, high = np.where(np.isfinite(low), low, latency), np.where(np.isfinite(high), high, latency)
    return Figure(
        slug="latency-by-network",
        title="Latency of each network",
        alt=f"Bars of latency for {len(names)} networks with 90 % intervals.",
        x=Axis("Latency (ms), with its 90 % interval", limits=(0.0, float(high.max()) * 1.08)),
        y=Axis("", "category", categories=tuple(names)),
        series=(
            Series(
                "Latency",
                "bars",
                latency.tolist(),
                names,
                hover=[f"{ms(a)} to {ms(b)} ms" for a, b in zip(low, high, strict=True)],
                low=low.tolist(),
                high=high.tolist(),
                in_legend=False,
            ),
        ),
        wide=True,
        height_px=120 + 30 * len(names),
    )


def _network_tables(measured: pd.DataFrame) -> tuple[Table, ...]:
    rows = measured.sort_values("latency_ms", kind="stable")
    models, searched = rows[rows["kind"] == "model"], rows[rows["kind"] != "model"]
    tables = []
    if len(models):
        shown = models.head(_LISTED * 10)
        tables.append(_network_table(f"{count(len(models), 'model')}, fastest first", shown))
    if 0 < len(searched) <= _LISTED:
        caption = f"{count(len(searched), 'architecture')}, fastest first"
        tables.append(_network_table(caption, searched, folded=len(searched) > 10))
    elif len(searched):
        fastest, slowest = searched.head(_ENDS), searched.tail(_ENDS)
        tables.append(_network_table(f"The {_ENDS} fastest architectures", fastest, folded=True))
        tables.append(_network_table(f"The {_ENDS} slowest architectures", slowest, folded=True))
    return tuple(tables)


def _network_table(caption: str, rows: pd.DataFrame, *, folded: bool = False) -> Table:
    return Table(
        caption,
        (
            Column("Network", numeric=False),
            Column("Latency (ms)"),
            Column("90 % interval (ms)"),
            Column("Ratio to reference"),
            Column("Raw median (ms)"),
            Column("Visits"),
        ),
        tuple(
            (
                name,
                latency,
                low if low == UNKNOWN else f"{low} to {high}",
                number(float(ratio), 4),
                raw,
                f"{int(visits)}",
            )
            for name, latency, low, high, ratio, raw, visits in zip(
                distinct([*rows["name"].astype(str)]),
                *(ms_column(rows[c]) for c in ("latency_ms", "low_ms", "high_ms")),
                rows["ratio"],
                ms_column(rows["raw_median_ms"]),
                rows["visits"],
                strict=True,
            )
        ),
        folded=folded,
    )
