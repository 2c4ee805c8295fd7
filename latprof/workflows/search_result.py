"""What a search came to: the network found, what was measured of it, and the files written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_FINDING, EXIT_OK, EXIT_PARTIAL
from latprof.workflows.report import ReportResult

if TYPE_CHECKING:
    from latprof.measurement.visits import Failure
    from latprof.searchers.base import Evaluation
    from latprof.searchers.resuming import StoredRun
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification
    from latprof.workflows.search_request import SearchRequest


@dataclass(frozen=True)
class SearchProgress:
    """Where a search stands after one of its steps.

    Parameters
    ----------
    step, steps : int
        The step's number, from 1, and how many there are at most.
    unit : str
        What a step is: ``"network"``, or ``"epoch"`` for methods by gradient.
    best : Evaluation or None
        The best so far that keeps the limit.
    """

    step: int
    steps: int
    unit: str
    best: Evaluation | None


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(ShortRepr):
    """A search that is done, and what was measured after it.

    Parameters
    ----------
    request : SearchRequest
        What was searched for.
    run : StoredRun
        The best network and the whole trail (``run.found``), the search's number in the store, and
        how many steps were there already.
    verification : Verification or None
        The best network measured on this host.
    cross_target : CrossTarget or None
        Each target's own network on all targets.
    written : tuple of Path
        The model, the page and the pictures that were asked for.
    unmeasured : Failure or None
        Why what was found could not be measured: a busy host, for example.
    """

    request: SearchRequest
    run: StoredRun
    verification: Verification | None = None
    cross_target: CrossTarget | None = None
    written: tuple[Path, ...] = ()
    unmeasured: Failure | None = None

    @property
    def best(self) -> Evaluation | None:
        """The most accurate network that keeps the limit; None where no evaluated one does."""
        return self.run.found.best

    @property
    def exit_status(self) -> int:
        """1 where nothing was found or the limit is broken; 5 where visits failed; else 0.

        Where nothing could be measured, the status of what prevented it.
        """
        verified = self.verification
        broken = verified is not None and verified.same_target and not verified.keeps_limit
        if self.best is None or broken:
            return EXIT_FINDING
        if self.unmeasured is not None:
            return self.unmeasured.error().exit_status
        lost = verified is not None and verified.visits is not None and verified.visits.failed
        return EXIT_PARTIAL if lost else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        request, best, target = self.request, self.best, self.request.latencies.target
        limit, verified, table = request.limit_ms, self.verification, self.cross_target
        return {
            "method": request.method,
            "space": request.latencies.space.name,
            "latency": request.latencies.name,
            "target": None if target is None else target.to_dict(),
            "accuracy": request.accuracy_name,
            "limit_ms": None if math.isinf(limit) else limit,
            "upper": request.problem.upper,
            "seed": request.seed,
            "search": self.run.number,
            "steps": len(self.run.found.trail),
            "steps_resumed": self.run.resumed,
            "best": None if best is None else self._values(best),
            "verification": None if verified is None else verified.to_dict(),
            "unmeasured": None if self.unmeasured is None else self.unmeasured.to_dict(),
            "cross_target": None if table is None else table.to_dict(),
        }

    def _values(self, best: Evaluation) -> dict[str, Any]:
        space = self.request.latencies.space
        return {
            "architecture": str(best.architecture),
            "accuracy": best.accuracy,
            "latency_ms": best.latency_ms,
            "bound_ms": best.bound_ms,
            "macs": space.macs(best.architecture),
            "parameters": space.parameters(best.architecture),
        }

    def report(self) -> ReportResult:
        """The page about the search; nothing is written."""
        from latprof.reports.search_data import SearchReportData
        from latprof.reports.search_report import build_search_report

        request = self.request
        data = SearchReportData(
            request.method,
            request.problem,
            self.run.found,
            request.seed,
            request.latencies.name,
            request.accuracy_name,
            request.latencies.target,
            request.gradient,
            self.verification,
            self.cross_target,
        )
        return ReportResult(build_search_report(data))

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()
