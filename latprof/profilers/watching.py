"""Who watches a measurement: what is asked of the host, and who is told of progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latprof.measurement.quiet.known_host import KnownHost
from latprof.profilers.host.facts import processor_name
from latprof.profilers.host.host_report import (
    HostReport,
    Quiet,
    VisitSeen,
    await_quiet,
)
from latprof.profilers.host.memory_probe import HOG_FACTOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.quiet.target_constant import Constant
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
        """Look at the host, wait for quiet where asked; nothing where a device is no computer."""
        elsewhere = profiler.measuring_host
        if elsewhere is not None:
            return await_quiet(self.quiet, self.on_note, look_now=elsewhere.look)
        return await_quiet(self.quiet, self.on_note) if profiler.runs_here else ()

    def after(
        self,
        profiler: Profiler,
        checks: tuple[Check, ...],
        visits: Iterable[Visit],
        counts: VisitCounts,
    ) -> HostReport:
        """What the host did; raises HostBusyError where quiet is required and there was none."""
        made = [*visits]
        memory = quiet_memory(map(VisitSeen.of, made), profiler)
        report = HostReport.of(checks, made, counts, memory)
        report.check(self.quiet)
        return report


def settled(
    profiler: Profiler,
    reference: str,
    found: Constant,
    on_note: Callable[[str], None] = lambda _text: None,
) -> Constant:
    """The constant of a reference of this host: found now, or remembered of a quieter moment."""
    if not profiler.runs_on_host:
        return found
    constant = KnownHost().settle(profiler.target(None), reference, found)
    if constant is not found:
        on_note(
            f"the milliseconds are by a constant {constant.describe()}: {reference} takes "
            f"{constant.reference_ms:.3f} ms, {found.reference_ms:.3f} ms now"
        )
    return constant


def remembered(profiler: Profiler, known: TargetLabels) -> Constant | None:
    """A constant of this host that is in much less doubt than a store's; None where none is known.

    The store's is remembered where it is that of a quiet host.
    """
    if not profiler.runs_on_host:
        return None
    host, target, constant = KnownHost(), profiler.target(None), known.constant
    found = host.settle(target, known.reference, constant)
    return None if found is constant else found


def quiet_memory(seen: Iterable[VisitSeen], profiler: Profiler | None = None) -> float:
    """What copying in memory takes on the target's host when it is quiet, as far as that is known.

    This host's where no profiler says otherwise. What quiet visits saw of it is remembered. NaN
    where nobody looked, now or ever.
    """
    found = [each for each in seen if not math.isnan(each.quotient)]
    if not found:
        return math.nan
    host, processor = KnownHost(), processor_name()
    if profiler is not None and profiler.measuring_host is not None:
        processor = f"{profiler.measuring_host.name} {profiler.target(None).device_name}"
    known = host.memory_quotient(processor)
    # Beside a hog on one of many cores the shares look quiet.
    fair = [
        each.quotient for each in found if each.is_quiet and not each.quotient > HOG_FACTOR * known
    ]
    if fair:
        host.remember_memory(processor, fair)
    return host.memory_quotient(processor)
