"""How steady the host was, what the pairing removed, and how well labels repeat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from latprof.measurement.statistics import noise_floor_of_repeats
from latprof.reports.rendering.arrays import (
    Floats,
    cumulative,
    floats,
    log_ticks,
    median_or_nan,
    padded,
    thin,
)
from latprof.reports.rendering.content import (
    Axis,
    Band,
    Column,
    Figure,
    Rule,
    Section,
    Series,
    Table,
)
from latprof.reports.rendering.wording import count, duration, ms, number, percent

if TYPE_CHECKING:
    from latprof.reports.data import ReportData

_POINTS = 1200
_BINS = 80


def stability_sections(data: ReportData) -> tuple[Section, ...]:
    """Drift over the campaign, what the pairing removed, how well the labels repeat."""
    return (_drift(data), _pairing(data), _repeats(data))


# Drift ---------------------------------------------------------------------------------------


def _drift(data: ReportData) -> Section:
    title = "Drift over the campaign"
    visits = data.good_visits
    if visits.empty:
        return Section(
            "drift",
            title,
            "No visit succeeded, so the reference was never timed.",
            missing=("See the failures below, then run latprof collect again.",),
        )
    reference, started = floats(visits["reference_ms"]), floats(visits["started_at"])
    low, middle, high = np.percentile(reference, [5, 50, 95])
    inside = floats(visits["drift"])
    lead = (
        f"Over {count(len(visits), 'visit')} in {duration(float(np.ptp(started)))} the reference "
        f"took {ms(middle)} ms (median), between {ms(low)} and {ms(high)} ms in nine visits of "
        f"ten: a span of {percent(high / low - 1)}. The same network, the same code: only the host "
        "changed."
    )
    within = median_or_nan(inside)
    if math.isfinite(within):
        lead += f" Within one visit it moved by {percent(within)} (median)."
    if len(visits) < 2:
        return Section("drift", title, lead, missing=("One visit has no drift: measure more.",))
    return Section(
        "drift",
        title,
        lead,
        figures=(_drift_figure(data, started, reference),),
        tables=(_drift_table(visits, reference),),
    )


def since_the_first(started: Floats) -> tuple[Floats, str]:
    """Times since the first of them, in a unit for axes and its name."""
    elapsed = started - started.min()
    unit, seconds = ("h", 3600.0) if elapsed.max() > 5400 else ("min", 60.0)
    if elapsed.max() < 180:
        unit, seconds = "s", 1.0
    return elapsed / seconds, unit


def _drift_figure(data: ReportData, started: Floats, reference: Floats) -> Figure:
    elapsed, unit = since_the_first(started)
    chosen = thin(len(elapsed), _POINTS, keep=(int(reference.argmin()), int(reference.argmax())))
    series = [
        Series(
            "Reference in one visit",
            "points",
            elapsed[chosen].tolist(),
            reference[chosen].tolist(),
            "series-6",
        )
    ]
    if len(elapsed) > 200:
        x, y = _binned_median(elapsed, reference)
        series.append(Series("Median of its time", "line", x.tolist(), y.tolist(), "series-1"))
    return Figure(
        slug="reference-drift",
        title="The reference network over the campaign",
        alt=(
            f"Time of the reference in {len(reference)} visits, from {ms(reference.min())} to "
            f"{ms(reference.max())} milliseconds."
        ),
        x=Axis(f"Time since the first visit ({unit})"),
        y=Axis("Reference's burst median (ms)"),
        series=tuple(series),
        rules=(
            Rule(
                "horizontal",
                f"{'Frozen constant' if data.reference_frozen else 'Constant so far'} "
                f"{ms(data.reference_ms)} ms",
                data.reference_ms,
                "floor",
            ),
        ),
        wide=True,
        height_px=360,
    )


def _binned_median(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Medians of y in equal stretches of x, with NaN (a gap in the line) where nothing ran."""
    bins = int(min(_BINS, max(len(x) // 12, 5)))
    edges = np.linspace(x.min(), x.max(), bins + 1)
    place = np.clip(np.digitize(x, edges) - 1, 0, bins - 1)
    medians = pd.Series(y).groupby(place).median().reindex(range(bins))
    return (edges[:-1] + edges[1:]) / 2, floats(medians)


def _drift_table(visits: pd.DataFrame, reference: Floats) -> Table:
    rows = [("Reference (ms)", reference, ms)]
    for header, column in (("Drift within a visit (%)", "drift"), ("Steal time (%)", "steal")):
        rows.append((header, 100 * floats(visits[column]), number))
    rows += [
        ("Load average, 1 min", floats(visits["load1"]), number),
        ("Building and loading (s)", floats(visits["load_s"]), number),
        ("Whole visit (s)", floats(visits["wall_s"]), number),
    ]
    texts = []
    for header, values, write in rows:
        known = values[np.isfinite(values)]
        if len(known):
            marks = np.percentile(known, [0, 5, 50, 95, 100])
            texts.append((header, *(write(float(mark)) for mark in marks)))
    return Table(
        "State of the host and cost of a visit (P5: 5th percentile)",
        (
            Column("Quantity", numeric=False),
            *(Column(h) for h in ("Least", "P5", "Median", "P95", "Most")),
        ),
        tuple(texts),
    )


# Pairing -------------------------------------------------------------------------------------


def visit_spreads(data: ReportData) -> pd.DataFrame:
    """Spread (CV, a fraction) between the visits of each label: columns raw, minimum, paired."""
    visits = data.good_visits
    if "disturbed" in visits:
        visits = visits[~visits["disturbed"].astype(bool)]
    columns = {"raw_median_ms": "raw", "raw_minimum_ms": "minimum", "ratio": "paired"}
    values = visits[list(columns)].rename(columns=columns).astype(float)
    groups = values.groupby([visits["subject"], visits["label"]])
    # The standard deviation (n - 1) of a single visit is NaN: it has no spread.
    return (groups.std() / groups.mean()).dropna().reset_index(drop=True)


def _pairing(data: ReportData) -> Section:
    title = "What the pairing removed"
    spreads = visit_spreads(data)
    if spreads.empty:
        return Section(
            "pairing",
            title,
            "No network was visited twice, so the spread between visits is unknown.",
            missing=("Collect with at least two visits to each network (the default).",),
        )
    raw, paired = median_or_nan(spreads["raw"]), median_or_nan(spreads["paired"])
    times = f", {raw / paired:.1f} times less" if paired > 0 else ""
    lead = (
        f"Between visits to the same network the raw median varies by {percent(raw)} (CV, median "
        f"of {count(len(spreads), 'network')}); its ratio to the reference varies by "
        f"{percent(paired)}{times}."
    )
    return Section(
        "pairing", title, lead, figures=(_spread_figure(spreads),), tables=(_spread_table(spreads),)
    )


_STATISTICS = (
    ("raw", "Raw median", "series-2"),
    ("minimum", "Raw minimum", "series-5"),
    ("paired", "Paired ratio", "series-1"),
)


def _spread_figure(spreads: pd.DataFrame) -> Figure:
    values = 100 * np.maximum(spreads.to_numpy(dtype=np.float64), 1e-5)
    positive = values[np.isfinite(values)]
    limits = float(positive.min()) / 1.15, float(positive.max()) * 1.15
    return Figure(
        slug="spread-between-visits",
        title="Spread between visits to the same network",
        alt="Cumulative curves of the coefficient of variation: the paired ratio lies far left of "
        "the raw median.",
        x=Axis(
            "Coefficient of variation between visits (%)",
            "log",
            limits=limits,
            ticks=log_ticks(*limits),
        ),
        y=Axis("Networks with less (%)", limits=(0.0, 102.0)),
        series=tuple(
            cumulative(np.maximum(100 * floats(spreads[key]), 1e-3), name, color)
            for key, name, color in _STATISTICS
        ),
        height_px=400,
    )


def _spread_table(spreads: pd.DataFrame) -> Table:
    rows = []
    for key, name, _ in _STATISTICS:
        values = 100 * floats(spreads[key])
        marks = np.percentile(values[np.isfinite(values)], [5, 50, 95])
        rows.append((name, *(number(float(mark)) for mark in marks)))
    return Table(
        "Coefficient of variation between visits (%)",
        (
            Column("Statistic", numeric=False),
            Column("P5"),
            Column("Median"),
            Column("P95"),
        ),
        tuple(rows),
    )


# Repeats -------------------------------------------------------------------------------------


def _repeats(data: ReportData) -> Section:
    title, pairs = "How well the labels repeat", data.repeated
    if pairs.empty:
        return Section(
            "repeats",
            title,
            "No network was measured a second time, so the noise floor is not known from repeats.",
            missing=("Run latprof collect with --repeat-fraction 0.05 or more on the store.",),
        )
    first, second = floats(pairs["first_ms"]), floats(pairs["second_ms"])
    change = 100 * (second / first - 1)
    visits = floats(pairs["visits"]), floats(pairs["visits_again"])
    floor = noise_floor_of_repeats(first, second, visits).percent
    lead = (
        f"{count(len(pairs), 'network')} measured again, later in the campaign, differ from the "
        f"first time by {number(float(np.median(np.abs(change))))} % (median) and "
        f"{number(float(np.abs(change).max()))} % at most: a noise floor of {number(floor)} % "
        "for one measurement, which no predictor's error can fall below."
    )
    return Section(
        "repeats",
        title,
        lead,
        figures=(_repeat_figure(pairs, change, floor),),
        tables=(_repeat_table(pairs, change),),
    )


def _repeat_figure(pairs: pd.DataFrame, change: Floats, floor: float) -> Figure:
    first = floats(pairs["first_ms"])
    reach = max(float(np.abs(change).max()), 2 * floor * math.sqrt(2), 0.1) * 1.1
    chosen = thin(len(first), keep=np.argsort(-np.abs(change))[:20])
    names = pairs["name"].astype(str).tolist()
    between = floor * math.sqrt(2)
    return Figure(
        slug="second-against-first",
        title="Second measurement against the first",
        alt=f"Relative difference of {len(first)} repeated networks, within {reach:.1f} percent.",
        x=Axis("First measurement (ms)", limits=padded(first, share=0.06)),
        y=Axis("Second less first (%)", limits=(-reach, reach)),
        series=(
            Series(
                "Repeated network",
                "points",
                first[chosen].tolist(),
                change[chosen].tolist(),
                hover=[names[i] for i in chosen],
            ),
        ),
        rules=(Rule("horizontal", "No difference"),),
        bands=(Band("horizontal", f"±√2 noise floors ({between:.2f} %)", -between, between),),
        wide=True,
        height_px=340,
    )


def _repeat_table(pairs: pd.DataFrame, change: Floats) -> Table:
    worst = np.argsort(-np.abs(change), kind="stable")[:10]
    rows = pairs.iloc[worst].to_dict("records")
    return Table(
        "Repeats that differ most",
        (
            Column("Network", numeric=False),
            Column("First (ms)"),
            Column("Second (ms)"),
            Column("Difference (%)"),
        ),
        tuple(
            (
                str(row["name"]),
                ms(float(row["first_ms"])),
                ms(float(row["second_ms"])),
                f"{change[i]:+.2f}",
            )
            for i, row in zip(worst, rows, strict=True)
        ),
        folded=True,
    )
