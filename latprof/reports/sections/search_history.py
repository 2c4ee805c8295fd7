"""What a search evaluated: the front of accuracy and latency, and the way to the best network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from latprof.reports.rendering.content import Axis, Column, Figure, Rule, Section, Series, Table
from latprof.reports.rendering.wording import count, ms, ms_column, score, short
from latprof.searchers.base import pareto_front

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.reports.search_data import SearchReportData
    from latprof.searchers.base import Evaluation

_LISTED = 10


def front_section(data: SearchReportData) -> Section:
    """All evaluated networks, and those on the Pareto front of accuracy and latency."""
    trail = data.found.trail
    accuracy = np.array([step.accuracy for step in trail])
    latency = np.array([step.latency_ms for step in trail])
    front = pareto_front(accuracy, latency)
    lead = (
        f"Of {count(len(trail), data.step)}, {count(len(front), 'network')} "
        f"{'is' if len(front) == 1 else 'are'} on the Pareto front of {data.noun} and latency."
    )
    return Section(
        "front",
        f"{data.noun.capitalize()} against latency",
        lead,
        figures=(_front_figure(data, accuracy, latency, front),),
        tables=(
            _table("The best within the limit", _best(data), data),
            _table("The Pareto front, fastest first", [trail[i] for i in front], data, folded=True),
        ),
    )


def _best(data: SearchReportData) -> list[Evaluation]:
    limit = data.problem.limit_ms
    kept = {s.architecture.choices: s for s in data.found.trail if s.bound_ms <= limit}
    return sorted(kept.values(), key=lambda s: (-s.accuracy, s.latency_ms))[:_LISTED]


def _front_figure(
    data: SearchReportData,
    accuracy: np.ndarray[tuple[int], np.dtype[np.float64]],
    latency: np.ndarray[tuple[int], np.dtype[np.float64]],
    front: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Figure:
    names = [short(str(step.architecture)) for step in data.found.trail]
    series = [
        Series("Evaluated", "points", latency.tolist(), accuracy.tolist(), "series-1", hover=names),
        Series(
            "Pareto front",
            "line",
            latency[front].tolist(),
            accuracy[front].tolist(),
            "series-3",
        ),
    ]
    best = data.found.best
    if best is not None:
        found = ("Found",)
        series.append(
            Series("Found", "points", [best.latency_ms], [best.accuracy], "series-2", hover=found)
        )
    limit = data.problem.limit_ms
    rules: tuple[Rule, ...] = ()
    if math.isfinite(limit):
        rules = (Rule("vertical", f"Limit {ms(limit)} ms", limit, "floor"),)
    return Figure(
        slug="accuracy-against-latency",
        title="Every evaluated network",
        alt=f"Scatter plot of {len(accuracy)} accuracies against predicted latencies.",
        x=Axis("Predicted latency (ms)"),
        y=Axis(data.noun.capitalize()),
        series=tuple(series),
        rules=rules,
        wide=True,
    )


def _table(
    caption: str, steps: list[Evaluation], data: SearchReportData, *, folded: bool = False
) -> Table:
    bound = data.problem.upper is not None
    columns = [
        Column("Network", numeric=False),
        Column(data.noun.capitalize()),
        Column("Predicted (ms)"),
    ]
    latencies = ms_column(step.latency_ms for step in steps)
    bounds = ms_column(step.bound_ms for step in steps)
    if bound:
        columns.append(Column(f"{100 * (data.problem.upper or 0):g} % stay below (ms)"))
    rows = tuple(
        (str(step.architecture), score(step.accuracy), latency, *([high] if bound else []))
        for step, latency, high in zip(steps, latencies, bounds, strict=True)
    )
    best = data.found.best
    marks = frozenset(
        index
        for index, step in enumerate(steps)
        if best is not None and step.architecture == best.architecture
    )
    return Table(caption, tuple(columns), rows, marks=marks, folded=folded)


def trajectory_section(data: SearchReportData) -> Section:
    """How the search came to its network."""
    steps = data.found.trail
    limit = data.problem.limit_ms
    places = [float(i) for i in range(1, len(steps) + 1)]
    kept = [step.accuracy if step.bound_ms <= limit else -math.inf for step in steps]
    best = np.maximum.accumulate(kept) if kept else np.array([])
    known = np.isfinite(best)
    figures = _accuracy_by_step(data, places, best), _latency_by_step(data, places)
    lead = "No network within the limit was evaluated."
    if known.any():
        first = int(np.argmax(best == best[-1])) + 1
        lead = f"The best network within the limit came with {data.step} {first:,}."
        if data.epochs:
            lead += " The answer is the network that the last epoch's probabilities lead to."
    return Section("trajectory", "Search history", lead, figures=figures)


def _accuracy_by_step(
    data: SearchReportData, places: list[float], best: NDArray[np.float64]
) -> Figure:
    """The accuracy of each step, and the best within the limit so far, -inf where there is none."""
    steps, known = data.found.trail, np.isfinite(best)
    return Figure(
        slug="search-trajectory",
        title=f"{data.noun.capitalize()} by {data.step}",
        alt=f"Accuracies of {len(steps)} steps, and the best within the limit so far.",
        x=Axis(data.step.capitalize()),
        y=Axis(data.noun.capitalize()),
        series=(
            Series(
                data.step.capitalize(), "points", places, [s.accuracy for s in steps], "series-6"
            ),
            Series(
                "Best within the limit so far",
                "steps",
                [p for p, k in zip(places, known, strict=True) if k],
                best[known].tolist(),
                "series-2",
            ),
        ),
        wide=True,
        height_px=320,
    )


def _latency_by_step(data: SearchReportData, places: list[float]) -> Figure:
    steps, limit = data.found.trail, data.problem.limit_ms
    rules = (
        () if math.isinf(limit) else (Rule("horizontal", f"Limit {ms(limit)} ms", limit, "floor"),)
    )
    return Figure(
        slug="latency-trajectory",
        title=f"Predicted latency by {data.step}",
        alt=f"Predicted latencies of {len(steps)} steps.",
        x=Axis(data.step.capitalize()),
        y=Axis("Predicted latency (ms)"),
        series=(
            Series(
                "Predicted",
                "line" if data.epochs else "points",
                places,
                [s.latency_ms for s in steps],
                "series-1",
            ),
        ),
        rules=rules,
        wide=True,
        height_px=320,
    )
