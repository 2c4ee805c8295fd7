"""A found network on real targets: measured on its own, and beside those of other targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

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
from latprof.reports.rendering.wording import count, ms, ms_column, score, short

if TYPE_CHECKING:
    from latprof.reports.search_data import SearchReportData
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification


def verification_section(data: SearchReportData) -> tuple[Section, ...]:
    """The measured latency beside prediction and limit; nothing where nothing was measured."""
    found = data.verification
    if found is None:
        return ()
    half = (found.high_ms - found.low_ms) / 2
    lead = (
        f"The network takes {ms(found.measured_ms)} ms (±{ms(half)} ms, 90 %) where "
        f"{ms(found.predicted_ms)} ms were predicted"
    )
    warnings: tuple[str, ...] = ()
    if not found.same_target:
        lead += "."
        here = found.measured_on.describe()
        warnings = (f"The two numbers are of different targets: this was measured on {here}.",)
    else:
        lead += f": {100 * found.gap:+.2f} %."
        if math.isfinite(found.limit_ms):
            verdict = "It keeps" if found.keeps_limit else "It breaks"
            lead += f" {verdict} the limit of {ms(found.limit_ms)} ms."
            if not found.keeps_limit:
                warnings = ("The measured latency is above the limit.",)
    return (
        Section(
            "verification",
            "Measured",
            lead,
            figures=(_verification_figure(found),),
            tables=(_verification_table(found),),
            warnings=warnings,
        ),
    )


def _verification_figure(found: Verification) -> Figure:
    named = {"Measured": found.measured_ms, "Predicted": found.predicted_ms} | _bound(found)
    names, values = (*named,), [*named.values()]
    rules: tuple[Rule, ...] = ()
    highest = max(values)
    if math.isfinite(found.limit_ms):
        rules = (Rule("vertical", f"Limit {ms(found.limit_ms)} ms", found.limit_ms, "floor"),)
        highest = max(highest, found.limit_ms)
    bands = (Band("vertical", "Measured, 90 %", found.low_ms, found.high_ms, "series-1"),)
    return Figure(
        slug="measured-against-predicted",
        title="Measured against predicted",
        alt=f"Measured {ms(values[0])} ms, predicted {ms(values[1])} ms.",
        x=Axis("Latency (ms)", limits=(0.0, 1.15 * highest)),
        y=Axis("", "category", categories=names),
        series=(
            Series(
                "Latency",
                "bars",
                values,
                names,
                "series-1",
                labels=[ms(v) for v in values],
                in_legend=False,
            ),
        ),
        bands=bands,
        rules=rules,
        height_px=260,
    )


def _bound(found: Verification) -> dict[str, float]:
    """The bound beside the prediction, by its name; nothing where the pack has none."""
    return {} if found.upper is None else {f"p{100 * found.upper:g} upper bound": found.bound_ms}


def _verification_table(found: Verification) -> Table:
    rows = [
        ("Measured", ms(found.measured_ms)),
        ("90 % interval", f"{ms(found.low_ms)} to {ms(found.high_ms)}"),
        ("Predicted", ms(found.predicted_ms)),
        *((name, ms(value)) for name, value in _bound(found).items()),
    ]
    if math.isfinite(found.limit_ms):
        rows.append(("Limit", ms(found.limit_ms)))
    if found.same_target:
        rows.append(("Measured over predicted", f"{100 * found.gap:+.2f} %"))
    return Table("Milliseconds", (Column("What", numeric=False), Column("ms")), tuple(rows))


def cross_target_section(data: SearchReportData) -> tuple[Section, ...]:
    """Each target's own network on all targets; nothing where one target was searched for."""
    found = data.cross_target
    if found is None:
        return ()
    own = found.own_is_fastest
    lead = (
        f"On {int(own.sum())} of {count(len(own), 'target')} no network of the table is faster "
        "than the one that was searched for it."
    )
    return (
        Section(
            "cross-target",
            "Searched for one target, run on all",
            lead,
            tables=(cross_target_table(found, data.noun),),
            paragraphs=(
                f"Latencies are {found.source}; all networks have nearly one {data.noun}.",
            ),
        ),
    )


def cross_target_table(found: CrossTarget, noun: str) -> Table:
    """Rows are networks, columns targets; the fastest of a column has a star."""
    fastest = np.argmin(found.latency_ms, axis=0)
    columns = [ms_column(column) for column in found.latency_ms.T]
    rows = tuple(
        (
            f"for {short(target)}",
            score(found.accuracy[i]),
            *(f"{column[i]}{' *' if fastest[j] == i else ''}" for j, column in enumerate(columns)),
            str(found.architectures[i]),
        )
        for i, target in enumerate(found.targets)
    )
    heads = (
        Column("Network searched", numeric=False),
        Column(noun.capitalize()),
        *(Column(f"on {short(target)} (ms)") for target in found.targets),
        Column("Network", numeric=False),
    )
    return Table("Latency on each target; * is the fastest of its column", heads, rows)
