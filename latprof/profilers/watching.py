"""Who watches a measurement: what is asked of the host, and who is told of progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latprof.profilers.host.host_report import HostReport, Quiet, await_quiet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latprof.measurement.visits import Visit, VisitCounts
    from latprof.profilers.base import Profiler
    from latprof.profilers.host.checks import Check
    from latprof.profilers.visits.schedule import OnVisit


@dataclass(frozen=True)
class Watch:
    """Who watches a measurement.

    Parameters
    ----------
    quiet : Quiet
        What is asked of the host before.
    on_visit : callable, optional
        Called after every visit.
    on_note : callable
        Called with remarks while a quiet host is waited for.
    on_wait : callable
        Takes what the device is waited for.
    """

    quiet: Quiet = field(default_factory=Quiet)
    on_visit: OnVisit | None = None
    on_note: Callable[[str], None] = lambda _text: None
    on_wait: Callable[[str], None] = lambda _waiting: None

    def before(self, profiler: Profiler) -> tuple[Check, ...]:
        """Look at the host, wait for quiet where asked; nothing where a device is elsewhere."""
        return await_quiet(self.quiet, self.on_note) if profiler.runs_here else ()

    def after(
        self, checks: tuple[Check, ...], visits: Iterable[Visit], counts: VisitCounts
    ) -> HostReport:
        """What the host did; raises HostBusyError where quiet is required and there was none."""
        report = HostReport.of(checks, visits, counts)
        report.check(self.quiet)
        return report
