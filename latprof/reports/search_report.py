"""The report of a search: its front, its way there, the network found, and what was measured."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.reports.rendering.content import Report, Tile
from latprof.reports.rendering.wording import moment, ms, percent, score
from latprof.reports.sections.found_network import network_section
from latprof.reports.sections.other_targets import cross_target_section, verification_section
from latprof.reports.sections.search_history import front_section, trajectory_section

if TYPE_CHECKING:
    from latprof.reports.search_data import SearchReportData


def build_search_report(data: SearchReportData) -> Report:
    """Compute everything that the page of a search shows, independent of its rendering."""
    target = data.target
    return Report(
        title=data.title,
        subtitle=target.describe() if target is not None else data.latency,
        facts=_facts(data),
        tiles=_tiles(data),
        sections=(
            *network_section(data),
            *verification_section(data),
            front_section(data),
            trajectory_section(data),
            *cross_target_section(data),
        ),
        footer=(
            f"Written by latprof {__version__} on {moment(dt.datetime.now(dt.UTC).timestamp())}. "
            "This page needs no network; every figure comes from the trail of the search."
        ),
    )


def _facts(data: SearchReportData) -> tuple[tuple[str, str], ...]:
    limit = data.problem.limit_ms
    facts = [
        ("Method", data.method),
        ("Space", data.problem.space.name),
        ("Limit", "none" if math.isinf(limit) else f"{ms(limit)} ms"),
        ("Latency", data.latency),
        (data.noun.capitalize(), data.accuracy),
        ("Seed", str(data.seed)),
    ]
    return tuple((name, value) for name, value in facts if value)


def _tiles(data: SearchReportData) -> tuple[Tile, ...]:
    trail, best, problem = data.found.trail, data.found.best, data.problem
    inside = sum(step.bound_ms <= problem.limit_ms for step in trail)
    noun = "Epochs" if data.epochs else "Networks evaluated"
    tiles = [Tile(noun, f"{len(trail):,}", detail=f"{inside:,} within the limit")]
    if best is None:
        why = "the last network is above" if data.epochs else "no network within"
        return (*tiles, Tile("Found", "nothing", detail=f"{why} the limit"))
    tiles.append(Tile(data.noun.capitalize(), score(best.accuracy), detail=data.accuracy))
    detail = "what the limit holds for"
    if problem.upper is not None:
        detail = f"{percent(problem.upper, 0)} stay below {ms(best.bound_ms)} ms"
    tiles.append(Tile("Predicted latency", ms(best.latency_ms), "ms", detail))
    if data.verification is not None:
        found = data.verification
        gap = f"{100 * found.gap:+.2f} % of the prediction" if found.same_target else "another host"
        tiles.append(Tile("Measured latency", ms(found.measured_ms), "ms", gap))
    if math.isfinite(problem.limit_ms):
        used = best.bound_ms / problem.limit_ms
        tiles.append(Tile("Limit used", percent(used, 1), detail=f"of {ms(problem.limit_ms)} ms"))
    return tuple(tiles)
