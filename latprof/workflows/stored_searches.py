"""What a store says of the searches that it keeps, as a report's content."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NoReturn

from latprof.errors import NotEnoughDataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.store.store import Store
    from latprof.measurement.store.trails import StoredSearch, Trails
    from latprof.reports.rendering.content import Report, Section
    from latprof.searchers.base import Evaluation


def searches_report(store: Store, own: SearchSpace | None = None) -> Report:
    """The last search of a store, and a list of all where there are several.

    With ``own``, a space of the user's, the last one in it. Raises NotEnoughDataError for a store
    without a search that has steps, UsageError where none of them is in ``own``.
    """
    from latprof.measurement.store.trails import Trails
    from latprof.reports.search_report import build_search_report

    trails = Trails(store)
    kept = [search for search in trails.searches() if search.steps]
    if not kept:
        raise NotEnoughDataError(f"{store.location} holds no measurements, and no searches")
    with store.reading("table searches"):
        shown = kept[-1] if own is None else _last_in(own, kept, store.location)
        content = build_search_report(_data(trails, shown, own))
        sections = (*content.sections, *([_list(kept, shown)] if len(kept) > 1 else []))
    return dataclasses.replace(
        content, title=f"Search {shown.number} of {store.location}", sections=sections
    )


def _last_in(own: SearchSpace, searches: Sequence[StoredSearch], where: str) -> StoredSearch:
    differences = [own.difference_from(each.plan["space"]) for each in searches]
    if "" not in differences:
        raise UsageError(f"{where} keeps no search in this space: {differences[-1]}", field="space")
    return max(
        (each for each, other in zip(searches, differences, strict=True) if not other),
        key=lambda each: each.number,
    )


def _data(trails: Trails, search: StoredSearch, own: SearchSpace | None) -> Any:
    from latprof.datasets.spaces.named import space_from_description
    from latprof.registry import SEARCHERS
    from latprof.reports.search_data import SearchReportData
    from latprof.searchers.base import Found, SearchProblem, best_of

    plan, sources = search.plan, search.plan["sources"]
    limit, upper = plan["limit_ms"], plan["upper"]
    space = own or space_from_description(plan["space"])
    problem = SearchProblem(
        _NotAsked(space), _not_asked, math.inf if limit is None else float(limit), upper
    )
    epochs = plan["method"] in SEARCHERS.special
    steps = _steps(trails, search, space)
    # As the search itself answers: by gradient the network derived last.
    best = best_of(steps[-1:] if epochs else steps, problem.limit_ms)
    return SearchReportData(
        str(plan["method"]),
        problem,
        Found(best, steps),
        int(plan["seed"]),
        _first_word(sources, "latency"),
        _first_word(sources, "accuracy") or str(sources.get("data", "")),
        epochs=epochs,
    )


def _first_word(sources: Mapping[str, str], name: str) -> str:
    """A source without its digest."""
    return sources.get(name, "").partition(" ")[0]


def _steps(trails: Trails, search: StoredSearch, space: SearchSpace) -> tuple[Evaluation, ...]:
    from latprof.searchers.base import Evaluation

    return tuple(
        Evaluation(space.parse(step.architecture), step.accuracy, step.latency_ms, step.bound_ms)
        for step in trails.steps(search.number)
    )


class _NotAsked:
    """Latencies of a search that is over: its trail has all that were asked for."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def predict(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Raise UsageError."""
        _not_asked()


def _not_asked(*_arguments: Any) -> NoReturn:
    raise UsageError("a search that is only shown asks for nothing")


def _list(searches: Sequence[StoredSearch], shown: StoredSearch) -> Section:
    from latprof.reports.rendering.content import Column, Section, Table
    from latprof.reports.rendering.wording import moment

    rows = tuple(
        (
            str(each.number),
            str(each.plan.get("method", "")),
            "none" if each.plan.get("limit_ms") is None else f"{each.plan['limit_ms']:g}",
            str(each.steps),
            moment(each.started_at),
            "yes" if each.ended_at is not None else "no",
        )
        for each in searches
    )
    columns = (
        Column("Search"),
        Column("Method", numeric=False),
        Column("Limit (ms)"),
        Column("Steps"),
        Column("Begun", numeric=False),
        Column("Complete", numeric=False),
    )
    lead = f"The store keeps {len(rows)} searches; this page shows number {shown.number}."
    table = Table("Searches of the store", columns, rows)
    return Section("searches", "All searches", lead, tables=(table,))
