"""Searches whose trail is in a store: each step is on the disk before the next begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.searchers.base import Evaluation, Found

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.store.store import Store
    from latprof.measurement.store.trails import TrailStep
    from latprof.searchers.base import Searcher, SearchProblem


@dataclass(frozen=True)
class StoredRun:
    """A search that is in a store: its number there, and how many steps were there already."""

    found: Found
    number: int
    resumed: int


def search_in_store(
    searcher: Searcher,
    problem: SearchProblem,
    budget: int,
    store: Store,
    plan: Mapping[str, Any],
    *,
    seed: int = 0,
    on_step: Callable[[int, Evaluation], None] = lambda _number, _step: None,
) -> StoredRun:
    """Search to the end, or resume a search of the same plan.

    Parameters
    ----------
    searcher, problem, budget, seed
        As of :meth:`~latprof.searchers.base.Searcher.search`.
    store : Store
        Open for writing.
    plan : mapping
        JSON values that tell this search from others: all that its steps follow from
        (:func:`search_plan`).
    on_step : callable
        Called with the number of each step, from 1, and the step.
    """
    from latprof.measurement.store.trails import Trails, TrailStep

    trails = Trails(store)
    number = trails.begin(plan)
    known = [_evaluation(problem.space, step) for step in trails.steps(number)]
    steps: list[Evaluation] = []
    for step in searcher.search(problem, budget, seed=seed, trail=known):
        if len(steps) >= len(known) or step != known[len(steps)]:
            stored = TrailStep(
                str(step.architecture), step.accuracy, step.latency_ms, step.bound_ms
            )
            trails.add(number, len(steps), stored)
        steps.append(step)
        on_step(len(steps), step)
    trails.end(number)
    found = Found(searcher.answer(problem, steps), tuple(steps))
    resumed = getattr(searcher, "resumed_", min(len(known), len(steps)))
    return StoredRun(found, number, resumed)


def search_plan(
    method: str,
    problem: SearchProblem,
    seed: int,
    *,
    sources: Mapping[str, str],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What a search follows from, as plain JSON values.

    Parameters
    ----------
    method : str
    problem : SearchProblem
    seed : int
    sources : mapping of str to str
        What the latencies and accuracies are; files with their digest
        (:func:`~latprof.searchers.digests.digest`).
    options : mapping of str to object
        Of the method.
    """
    limit = problem.limit_ms
    return {
        "method": method,
        "space": problem.space.description,
        "limit_ms": None if math.isinf(limit) else limit,
        "upper": problem.upper,
        "seed": seed,
        "sources": dict(sorted(sources.items())),
        "options": {name: options[name] for name in sorted(options)},
    }


def _evaluation(space: SearchSpace, step: TrailStep) -> Evaluation:
    architecture = space.parse(step.architecture)
    return Evaluation(architecture, step.accuracy, step.latency_ms, step.bound_ms)
