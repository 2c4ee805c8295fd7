"""The page that sets targets side by side: the same networks on several runtimes or devices."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np

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
from latprof.reports.rendering.wording import UNKNOWN, count, moment, ms, ms_column, number, percent

if TYPE_CHECKING:
    from latprof.measurement.across.side_by_side import Floats, SideBySide


def build_side_by_side_report(data: SideBySide) -> Report:
    """Compute everything that the page shows, independent of its rendering."""
    written = moment(dt.datetime.now(dt.UTC).timestamp())
    return Report(
        title="Targets side by side",
        subtitle=", ".join(data.names),
        facts=tuple(
            (name, target.describe()) for name, target in zip(data.names, data.targets, strict=True)
        ),
        tiles=_tiles(data),
        sections=(_speed_section(data), _order_section(data), _networks_section(data)),
        footer=(
            f"Written by latprof {__version__} on {written}. This page needs no network; every "
            "figure comes from the samples in the stores."
        ),
    )


def _tiles(data: SideBySide) -> tuple[Tile, ...]:
    tiles = [
        Tile("Targets", str(len(data.targets))),
        Tile("Networks", f"{len(data.networks):,}", detail="measured on all of them"),
    ]
    least = _least_alike(data)
    if least is not None:
        i, j, value = least
        names = f"{data.names[i]} and {data.names[j]}"
        tiles.append(Tile("Least rank correlation", number(value, 3), detail=names))
    known = [
        (floor.relative, name)
        for floor, name in zip(data.noise_floors, data.names, strict=True)
        if floor is not None
    ]
    if known:
        worst, name = max(known)
        tiles.append(Tile("Largest spread of repeats", percent(worst), detail=f"CV, {name}"))
    return tuple(tiles)


def _least_alike(data: SideBySide) -> tuple[int, int, float] | None:
    values = data.spearman
    pairs = [
        (float(values[i, j]), i, j)
        for i in range(len(values))
        for j in range(i)
        if np.isfinite(values[i, j])
    ]
    if not pairs:
        return None
    value, i, j = min(pairs)
    return j, i, value


def _speed_section(data: SideBySide) -> Section:
    order = np.argsort(data.relative)
    fastest, slowest = data.names[order[0]], data.names[order[-1]]
    means = data.latency_ms.mean(axis=0)
    lead = (
        f"The networks take least on {fastest}; on {slowest} they take "
        f"{number(data.relative[order[-1]])} times as long (geometric mean)."
    )
    rows = tuple(
        (
            data.names[i],
            ms(means[i]),
            f"{ms(data.latency_ms[:, i].min())} to {ms(data.latency_ms[:, i].max())}",
            number(data.relative[i]),
            _spread(data, i),
            f"{data.measured[i]:,}",
        )
        for i in order.tolist()
    )
    columns = (
        Column("Target", numeric=False),
        Column("Mean (ms)"),
        Column("From, to (ms)"),
        Column("Times the fastest"),
        Column("CV of repeats"),
        Column("Networks measured"),
    )
    names = tuple(data.names[i] for i in order)
    values = [float(means[i]) for i in order]
    figure = Figure(
        slug="mean-latency",
        title="Mean latency of the networks",
        alt="; ".join(f"{n}: {ms(v)} ms" for n, v in zip(names, values, strict=True)),
        x=Axis("Latency (ms)", limits=(0.0, 1.15 * max(values))),
        y=Axis("", "category", categories=names),
        series=(
            Series("Mean", "bars", values, names, labels=[ms(v) for v in values], in_legend=False),
        ),
        wide=True,
        height_px=120 + 40 * len(names),
    )
    return Section(
        "speed",
        "How fast, and how well it repeats",
        lead,
        figures=(figure,),
        tables=(Table("Targets, the fastest first", columns, rows),),
        paragraphs=(
            (
                "CV of repeats is the standard deviation of one measurement over its mean, from "
                "networks measured again in a later pass, or from the spread of the visits."
            ),
        ),
    )


def _spread(data: SideBySide, target: int) -> str:
    floor = data.noise_floors[target]
    if floor is None:
        return UNKNOWN
    how = "measured again" if floor.method == "repeats" else "by visits"
    return f"{percent(floor.relative)} ({floor.pairs} {how})"


def _order_section(data: SideBySide) -> Section:
    least = _least_alike(data)
    if least is None:
        return Section(
            "order",
            "Do they rank networks alike?",
            f"{count(len(data.networks), 'common network')}: too few for a rank correlation.",
        )
    i, j, value = least
    lead = (
        f"{data.names[i]} and {data.names[j]} agree least: Spearman's correlation of their "
        f"latencies is {number(value, 3)} over {count(len(data.networks), 'network')}."
    )
    return Section(
        "order",
        "Do they rank networks alike?",
        lead,
        figures=(_against_first(data),),
        tables=(
            _matrix("Spearman's rank correlation", data, data.spearman),
            _matrix("Kendall's tau-b", data, data.kendall),
        ),
    )


def _matrix(caption: str, data: SideBySide, values: Floats) -> Table:
    columns = (Column("", numeric=False), *(Column(name) for name in data.names))
    rows = tuple(
        (name, *(number(value, 3) for value in row))
        for name, row in zip(data.names, values.tolist(), strict=True)
    )
    return Table(caption, columns, rows)


def _against_first(data: SideBySide) -> Figure:
    """Every target's latency against the fastest one's, each over its own mean."""
    first = int(np.argmin(data.relative))
    scaled = data.latency_ms / data.latency_ms.mean(axis=0)
    others = [i for i in range(len(data.names)) if i != first]
    series = tuple(
        Series(
            data.names[i],
            "points",
            scaled[:, first].tolist(),
            scaled[:, i].tolist(),
            f"series-{position % 8 + 1}",
            hover=data.networks,
        )
        for position, i in enumerate(others)
    )
    return Figure(
        slug="against-the-fastest",
        title=f"Each network on the targets, against {data.names[first]}",
        alt="Latency over its mean on every other target against that on the fastest one.",
        x=Axis(f"Over its mean on {data.names[first]}"),
        y=Axis("Over its mean on the target"),
        series=series,
        square=True,
        wide=True,
        height_px=520,
    )


def _networks_section(data: SideBySide) -> Section:
    order = np.argsort(data.latency_ms[:, int(np.argmin(data.relative))])
    columns = [ms_column(column) for column in data.latency_ms[order].T]
    rows = tuple(
        (data.networks[network], *(column[position] for column in columns))
        for position, network in enumerate(order.tolist())
    )
    heads = (Column("Network", numeric=False), *(Column(f"{name} (ms)") for name in data.names))
    return Section(
        "networks",
        "Every network",
        f"{count(len(rows), 'network')} with their milliseconds on each target.",
        tables=(Table("Latency (ms), the fastest first", heads, rows, folded=True),),
    )
