"""Where the time goes: by block of the search space, and by kind of kernel."""

from __future__ import annotations

import dataclasses
import graphlib
import itertools
from typing import TYPE_CHECKING

import pandas as pd

from latprof.measurement.statistics import reconcile
from latprof.reports.rendering.arrays import floats
from latprof.reports.rendering.content import Axis, Column, Figure, Section, Series, Table
from latprof.reports.rendering.theme import series_color
from latprof.reports.rendering.wording import count, distinct, ms, number, percent, short

if TYPE_CHECKING:
    from latprof.reports.data import ReportData

_MOST_STACKED = 8
_OTHERS = "others"
#: Networks from which the line between kernel sums and latencies is worth stating.
_FEWEST_FOR_A_LINE = 10


def breakdown_sections(data: ReportData) -> tuple[Section, ...]:
    """The section by block, and the one by kernel kind."""
    return (_by_block(data), _by_kernel_kind(data))


# By block ------------------------------------------------------------------------------------


def _by_block(data: ReportData) -> Section:
    title = "Where the time goes, by block"
    named = data.kernels[data.kernels["block"].fillna("").astype(str) != ""]
    costs = _from_block_costs(data.block_costs, title) if len(data.block_costs) else None
    if len(named):
        measured = _from_kernels(named, title)
        if costs is None:
            return measured
        # Measured times say where the time goes, the fitted table what another choice would cost.
        return dataclasses.replace(
            measured,
            figures=(*measured.figures, *costs.figures[1:]),
            tables=(*measured.tables, *costs.tables),
        )
    if costs is not None:
        return costs
    missing = "Collect with --ops for the time of each kernel"
    if data.has_architectures:
        missing += (
            ", or give a pack with an additive predictor: latprof train STORE --predictor "
            "lookup-table -o cpu.pack"
        )
    lead = "Nothing here says how the time divides into blocks."
    return Section("blocks", title, lead, missing=(f"{missing}.",))


def _from_block_costs(costs: pd.DataFrame, title: str) -> Section:
    table = costs.assign(
        latency_ms=floats(costs["latency_ms"]),
        count=floats(costs["count"]),
        block=costs["block"].astype(str),
        choice=costs["choice"].astype(str),
    )
    blocks = list(dict.fromkeys(table["block"]))
    choices = _cheapest_first(table)
    seen = table.groupby("block")["count"].transform("sum")
    table["share_ms"] = table["latency_ms"] * table["count"] / seen.where(seen > 0, 1)
    mean = table.groupby("block")["share_ms"].sum().reindex(blocks)
    order = mean.sort_values(ascending=False)
    lead = (
        f"In the average sampled network {short(str(order.index[0]), 36)} takes most time, "
        f"{ms(float(order.iloc[0]))} of the {ms(float(mean.sum()))} ms in {len(blocks)} blocks; "
        "costs are those of a lookup table fitted to the measurements."
    )
    stacked = _stacked_blocks(
        table.pivot_table(index="block", columns="choice", values="share_ms", aggfunc="sum"),
        blocks,
        choices,
        "candidate",
    )
    return Section(
        "blocks",
        title,
        lead,
        figures=(stacked, _candidate_costs(table, blocks, choices)),
        tables=(_cost_table(table, blocks, choices),),
    )


def _cheapest_first(table: pd.DataFrame) -> list[str]:
    """The choices by their mean rank within a block, cheapest first.

    What only one block offers (the stem, the head) comes last, where piles fold into "others".
    """
    rank = table.groupby("block")["latency_ms"].rank(pct=True)
    offered = table.groupby("choice")["block"].nunique()
    order = rank.groupby(table["choice"]).mean().to_frame("rank").assign(once=offered == 1)
    return [str(choice) for choice in order.sort_values(["once", "rank"], kind="stable").index]


def _from_kernels(kernels: pd.DataFrame, title: str) -> Section:
    table = kernels.assign(latency_ms=floats(kernels["latency_ms"]))
    networks = table["subject"].nunique()
    blocks = _in_running_order(table)
    total = table.pivot_table(index="block", columns="kind", values="latency_ms", aggfunc="sum")
    total = total / networks
    order = total.sum(axis=1).sort_values(ascending=False)
    kinds = list(total.sum().sort_values(ascending=False).index.astype(str))
    lead = (
        f"Over {count(networks, 'profiled network')}, {short(str(order.index[0]), 36)} takes most "
        f"time: {ms(float(order.iloc[0]))} of {ms(float(order.sum()))} ms a network, by the "
        "runtime's own clock for each kernel."
    )
    return Section(
        "blocks",
        title,
        lead,
        figures=(_stacked_blocks(total, blocks, kinds, "kernel kind"),),
        tables=(_block_table(total, blocks),),
    )


def _in_running_order(kernels: pd.DataFrame) -> list[str]:
    """Blocks in an order that holds in every network, though none may have all of them."""
    follows: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for _, network in kernels.sort_values("position", kind="stable").groupby("subject", sort=False):
        names = list(dict.fromkeys(network["block"].astype(str)))
        follows.add(names[0])
        for before, after in itertools.pairwise(names):
            follows.add(after, before)
    try:
        return list(follows.static_order())
    except graphlib.CycleError:  # networks of different spaces: there is no such order
        return list(dict.fromkeys(kernels["block"].astype(str)))


def _stacked_blocks(shares: pd.DataFrame, blocks: list[str], parts: list[str], part: str) -> Figure:
    """Bars of ms over the blocks, one part of the pile for each column of ``shares``."""
    shares = shares.reindex(index=blocks, columns=parts).fillna(0.0)
    if len(parts) > _MOST_STACKED:
        kept = parts[: _MOST_STACKED - 1]
        shares = shares[kept].assign(**{_OTHERS: shares[parts[_MOST_STACKED - 1 :]].sum(axis=1)})
        parts = [*kept, _OTHERS]
    labels = _labels(blocks)
    return Figure(
        slug="time-by-block",
        title=f"Mean time in each block, by {part}",
        alt=f"Stacked bars of milliseconds for {len(blocks)} blocks, divided by {part}.",
        x=Axis("Block", "category", categories=labels),
        y=Axis("Mean time in a network (ms)"),
        series=tuple(
            Series(short(name, 32), "bars", labels, shares[name].tolist(), series_color(index))
            for index, name in enumerate(parts)
        ),
        stacked=True,
        wide=True,
        height_px=420,
    )


def _candidate_costs(table: pd.DataFrame, blocks: list[str], choices: list[str]) -> Figure:
    labels = _labels(blocks)
    place = dict(zip(blocks, labels, strict=True))
    kept = choices if len(choices) <= _MOST_STACKED else choices[: _MOST_STACKED - 1]
    shown = table.assign(part=table["choice"].where(table["choice"].isin(kept), _OTHERS))
    parts = [*kept, _OTHERS] if len(kept) < len(choices) else kept
    series = []
    for index, part in enumerate(parts):
        rows = shown[shown["part"] == part]
        hover = [
            f"{short(str(key), 70)}, in {networks:,.0f} networks"
            for key, networks in zip(rows["key"], rows["count"], strict=True)
        ]
        x = [place[block] for block in rows["block"]]
        y = rows["latency_ms"].tolist()
        series.append(Series(short(part, 32), "points", x, y, series_color(index), hover=hover))
    return Figure(
        slug="candidate-costs",
        title="Cost of each candidate at each block",
        alt=f"Points of milliseconds for {len(choices)} candidates at {len(blocks)} blocks.",
        x=Axis("Block", "category", categories=labels),
        y=Axis("Cost of the candidate (ms)"),
        series=tuple(series),
        wide=True,
        height_px=420,
    )


def _labels(blocks: list[str]) -> tuple[str, ...]:
    """Names of blocks, short enough for an axis, each one once."""
    return tuple(distinct([short(block, 24) for block in blocks]))


def _cost_table(table: pd.DataFrame, blocks: list[str], choices: list[str]) -> Table:
    costs = table.pivot_table(index="block", columns="choice", values="latency_ms", aggfunc="mean")
    costs = costs.reindex(index=blocks, columns=choices)
    return Table(
        "The lookup table: cost of each candidate (ms)",
        (Column("Block", numeric=False), *(Column(f"{choice} (ms)") for choice in choices)),
        tuple((b, *(number(v, 3) for v in floats(costs.loc[b]))) for b in blocks),
        folded=True,
    )


def _block_table(total: pd.DataFrame, blocks: list[str]) -> Table:
    sums = total.sum(axis=1).reindex(blocks)
    whole = float(sums.sum()) or 1.0
    return Table(
        "Time of each block",
        (Column("Block", numeric=False), Column("Mean (ms)"), Column("Share (%)")),
        tuple((str(b), ms(float(v)), number(100 * float(v) / whole, 1)) for b, v in sums.items()),
        folded=True,
    )


# By kernel kind ------------------------------------------------------------------------------


def _by_kernel_kind(data: ReportData) -> Section:
    title = "Where the time goes, by kernel kind"
    if data.kernels.empty:
        return Section(
            "kernels",
            title,
            "No kernel was timed.",
            missing=("Collect with latprof collect --ops for the time of each kernel.",),
        )
    kernels = data.kernels.assign(
        latency_ms=floats(data.kernels["latency_ms"]), kind=data.kernels["kind"].astype(str)
    )
    networks = kernels["subject"].nunique()
    groups = kernels.groupby("kind")["latency_ms"]
    table = pd.DataFrame(
        {"ms": groups.sum() / networks, "kernels": groups.size() / networks, "each": groups.mean()}
    ).sort_values("ms", ascending=False, kind="stable")
    table["share"] = table["ms"] / (table["ms"].sum() or 1.0)
    first = table.iloc[0]
    lead = (
        f"{table.index[0]} kernels take {percent(float(first['share']))} of the kernel time of "
        f"{count(networks, 'profiled network')}: {ms(float(first['ms']))} of "
        f"{ms(float(table['ms'].sum()))} ms in the average network."
    )
    return Section(
        "kernels",
        title,
        lead + _whole_against_parts(data, kernels),
        figures=(_kind_bars(table),),
        tables=(_kind_table(table),),
    )


def _whole_against_parts(data: ReportData, kernels: pd.DataFrame) -> str:
    """How the sum of the kernels compares with the latency of the whole."""
    sums = kernels.groupby("subject")["latency_ms"].sum()
    whole = data.measured.set_index("subject")["latency_ms"].astype(float).reindex(sums.index)
    known = whole > 0
    sums, whole = sums[known], whole[known]
    if sums.empty:
        return ""
    share = percent(float((sums / whole).median()))
    text = f" The kernels of a network add up to {share} of its latency (median)"
    if len(sums) >= _FEWEST_FOR_A_LINE:
        line = reconcile(sums, whole)
        sign = "less" if line.offset_ms < 0 else "and"
        text += (
            f"; the latency is {number(line.scale, 4)} times their sum {sign} "
            f"{number(abs(line.offset_ms), 3)} ms, with a mean error of "
            f"{percent(line.mape_percent / 100)}"
        )
    return text + (
        "; what differs is the runtime's work between kernels and the host's state at that moment."
    )


def _kind_bars(table: pd.DataFrame) -> Figure:
    kinds = distinct([short(str(kind), 32) for kind in table.index])
    shares = (100 * table["share"]).tolist()
    return Figure(
        slug="time-by-kernel-kind",
        title="Share of the kernel time",
        alt="Bars: " + ", ".join(f"{k} {s:.1f} %" for k, s in zip(kinds, shares, strict=True)),
        x=Axis("Share of the kernel time (%)", limits=(0.0, max(shares) * 1.12 or 1.0)),
        y=Axis("", "category", categories=tuple(kinds)),
        series=(
            Series(
                "Share",
                "bars",
                shares,
                kinds,
                "series-3",
                labels=[f"{share:.1f} %" for share in shares],
                hover=[
                    f"{ms(a)} ms in {n:.1f} kernels"
                    for a, n in zip(table["ms"], table["kernels"], strict=True)
                ],
                in_legend=False,
            ),
        ),
        wide=True,
        height_px=110 + 32 * len(kinds),
    )


def _kind_table(table: pd.DataFrame) -> Table:
    return Table(
        "Kernel kinds in the average network",
        (
            Column("Kind", numeric=False),
            Column("Kernels"),
            Column("Together (ms)"),
            Column("Each (ms)"),
            Column("Share (%)"),
        ),
        tuple(
            (
                str(kind),
                number(float(row["kernels"]), 1),
                number(float(row["ms"]), 3),
                number(float(row["each"]), 3),
                number(100 * float(row["share"]), 1),
            )
            for kind, row in table.iterrows()
        ),
    )
