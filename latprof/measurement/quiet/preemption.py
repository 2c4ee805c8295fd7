"""How much of a visit others took, and what its runs would have taken without them.

**A burst's own time.** Where runs of a burst kept their core to the end, it is the median of these:
nothing was taken from them. A run that is longer than the scheduler's slice hardly ever
does. Then the time that each run had a core stands for it: on one thread its processor time, which
is the wall time less all that was taken, also by a quota; on several the wall time less the time
that threads waited for a core. After a preemption a run finds its caches cold, so that the runs
that were preempted least count. Reference and network are about equally long, so what is left of
that is in both, and the ratio is free of it.
"""

from __future__ import annotations

import itertools
import math
from statistics import median
from typing import TYPE_CHECKING

from latprof.measurement.run_usage import is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from latprof.measurement.records import PairedSamples
    from latprof.measurement.run_usage import RunUsage


#: Processor time over wall time from which on several threads worked.
_PARALLEL = 1.2
#: Clocks of processor time that tick in steps of this many microseconds say nothing of one run.
_COARSE_US = 1000


def own_times(
    bursts: Sequence[Sequence[float]], usage: Sequence[Sequence[RunUsage]], dropped_runs: int
) -> list[float]:
    """What a run of each burst takes when nobody takes its core away, in ms.

    The median of a burst's counted runs where their usage is not known, or none was preempted.
    """
    counted = [burst[dropped_runs:] for burst in bursts]
    if not usage:
        return [median(burst) for burst in counted]
    given = [runs[dropped_runs:] for runs in usage]
    with_core = _time_with_core(counted, given)
    found = []
    for burst, runs in zip(counted, given, strict=True):
        free = [ms for ms, run in zip(burst, runs, strict=True) if is_free(ms, run)]
        if not free and with_core is not None:
            least = min(run.preempted for run in runs)
            free = [
                with_core(ms, run)
                for ms, run in zip(burst, runs, strict=True)
                if run.preempted == least
            ]
        found.append(median(free or burst))
    return found


def _time_with_core(
    bursts: Sequence[Sequence[float]], usage: Sequence[Sequence[RunUsage]]
) -> Callable[[float, RunUsage], float] | None:
    """How long a run had a core, of its duration and usage; None where that is not to be known."""
    runs = [*itertools.chain.from_iterable(usage)]
    waited = [run.waited_us for run in runs if run.waited_us is not None]
    cpu_us = sum(run.cpu_us for run in runs)
    wall_us = 1000 * sum(map(sum, bursts))
    if cpu_us > _PARALLEL * max(wall_us - sum(waited), 1.0):
        return _less_waiting if len(waited) == len(runs) else None
    if all(run.cpu_us % _COARSE_US == 0 for run in runs):
        return _less_waiting if len(waited) == len(runs) else None
    return _processor_time


def _less_waiting(ms: float, run: RunUsage) -> float:
    return max(ms - (run.waited_us or 0) / 1000, ms / 1000)


def _processor_time(ms: float, run: RunUsage) -> float:
    return min(ms, max(run.cpu_us, 1) / 1000)


def counted_usage(samples: PairedSamples) -> Iterator[tuple[float, RunUsage]]:
    """Duration in ms and usage of each counted run, of target and reference; where it is known."""
    drop = samples.dropped_runs
    pairs = itertools.chain(
        zip(samples.target, samples.target_usage, strict=False),
        zip(samples.reference, samples.reference_usage, strict=False),
    )
    for burst, usage in pairs:
        yield from zip(burst[drop:], usage[drop:], strict=True)


def preempted_share(samples: PairedSamples) -> float:
    """Share of a visit's counted runs that were preempted, or waited for a core; NaN if unknown."""
    free = [is_free(ms, usage) for ms, usage in counted_usage(samples)]
    return 1 - sum(free) / len(free) if free else math.nan


def waiting_share(samples: PairedSamples) -> float:
    """Share of the time of a visit's counted runs in which they waited for a core; NaN if unknown.

    Of several threads that wait at the same time, each counts.
    """
    waited_us = total_ms = 0.0
    for ms, usage in counted_usage(samples):
        if usage.waited_us is None:
            return math.nan
        waited_us += usage.waited_us
        total_ms += ms
    return waited_us / 1000 / total_ms if total_ms else math.nan
