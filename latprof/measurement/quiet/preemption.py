"""How much of a visit others took, and what its runs would have taken without them.

A ratio is taken over runs of one kind on both of its sides, in the three bursts of its round, the
first of these kinds that all three have:

1. **Undisturbed runs**: no core was taken from the run, nor from the one before it, after which it
   would find its caches cold. Most of a burst's runs have to be such: of runs about as long as the
   scheduler's slice only the fastest fit into one, so that few of them would be too fast.
2. **The time that each run had a core**, of all runs, whatever was taken from them: on one thread
   its processor time, which is the wall time less all that was taken, also by a quota; on several
   the wall time less the time that threads waited for a core. Each preemption leaves cold caches,
   whose cost is found in the visit's own runs and taken off: in those of the network and of the
   reference each, where they are enough, else in all of them. Where it is not to be found it stays,
   in reference and network alike: who runs as long is preempted as often.
3. Where the kernel does not say what a run had: runs from which no core was taken.
4. All runs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from latprof.measurement.run_usage import is_free

if TYPE_CHECKING:
    from latprof.measurement.records import PairedSamples
    from latprof.measurement.run_usage import RunUsage

#: Processor time over wall time from which on several threads worked.
_PARALLEL = 1.2
#: Clocks of processor time that tick in steps of this many microseconds say nothing of one run.
_COARSE_US = 1000
#: Undisturbed runs stand for their burst where they are more than this share of it.
_ENOUGH = 0.5
#: The cost of a preemption is told by so many preempted runs.
_FEWEST_PREEMPTED = 4
#: And takes off no more than this share of a run's time.
_MOST_OF_A_RUN = 0.9

#: Bursts of runs in ms, and what each run was given; the latter empty where that is not known.
Side: TypeAlias = tuple[Sequence[Sequence[float]], Sequence[Sequence["RunUsage"]]]
_WithCore: TypeAlias = Callable[[float, "RunUsage"], float]


class BurstTimes(NamedTuple):
    """What a run of a burst takes in ms, by each kind of runs; NaN where there are none."""

    undisturbed: float
    with_core: float
    free: float
    all: float


class _Burst(NamedTuple):
    """A burst's counted runs: duration, usage, and whether the run and the one before were free."""

    runs: list[tuple[float, RunUsage]]
    undisturbed: list[float]

    @classmethod
    def of(cls, burst: Sequence[float], usage: Sequence[RunUsage], dropped_runs: int) -> _Burst:
        free = [is_free(ms, run) for ms, run in zip(burst, usage, strict=True)]
        undisturbed = [
            burst[i] for i in range(dropped_runs, len(burst)) if free[i] and (not i or free[i - 1])
        ]
        return cls([*zip(burst, usage, strict=True)][dropped_runs:], undisturbed)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was taken from any run."""
        return len(self.undisturbed) == len(self.runs)

    def times(self, with_core: _WithCore | None, cost_ms: float) -> BurstTimes:
        everything = median([ms for ms, _ in self.runs])
        if self.is_quiet:
            return BurstTimes(everything, everything, everything, everything)
        free = [ms for ms, run in self.runs if is_free(ms, run)]
        return BurstTimes(
            median(self.undisturbed)
            if len(self.undisturbed) > _ENOUGH * len(self.runs)
            else math.nan,
            math.nan
            if with_core is None
            else median([_without_cost(with_core(ms, run), run, cost_ms) for ms, run in self.runs]),
            median(free) if free else math.nan,
            everything,
        )


def _without_cost(ms: float, run: RunUsage, cost_ms: float) -> float:
    return ms - min(cost_ms * run.preempted, _MOST_OF_A_RUN * ms)


def times_of(sides: Sequence[Side], dropped_runs: int) -> list[list[BurstTimes]]:
    """What a run takes in each burst of each side of a visit, by each kind of runs.

    Sides are told together what a preemption costs, and how the time with a core is known.
    """
    if not all(len(usage) == len(bursts) for bursts, usage in sides):
        return [
            [BurstTimes(*(math.nan,) * 3, median(burst[dropped_runs:])) for burst in bursts]
            for bursts, _ in sides
        ]
    found = [
        [_Burst.of(*pair, dropped_runs) for pair in zip(bursts, usage, strict=True)]
        for bursts, usage in sides
    ]
    every = [burst for side in found for burst in side]
    with_core, costs_ms = None, [0.0] * len(found)
    if not all(burst.is_quiet for burst in every):
        with_core = _time_with_core([run for burst in every for run in burst.runs])
        if with_core is not None:
            costs_ms = _costs_of_preemption(found, with_core)
    return [
        [burst.times(with_core, cost_ms) for burst in side]
        for side, cost_ms in zip(found, costs_ms, strict=True)
    ]


def paired_times(samples: PairedSamples) -> tuple[list[BurstTimes], list[BurstTimes]]:
    """:func:`times_of` a visit's target and reference bursts."""
    sides = (samples.target, samples.target_usage), (samples.reference, samples.reference_usage)
    target, reference = times_of(sides, samples.dropped_runs)
    return target, reference


def of_one_kind(bursts: Sequence[BurstTimes]) -> list[float]:
    """What a run takes in each of these bursts, over runs of the first kind that all of them have.

    All runs are a kind that every burst has.
    """
    return next(list(each) for each in zip(*bursts, strict=True) if not any(map(math.isnan, each)))


def _costs_of_preemption(sides: Sequence[Sequence[_Burst]], with_core: _WithCore) -> list[float]:
    """What a preemption adds to a run's time with a core on each side, in ms.

    Networks use more or less of the caches, so each side's own runs tell it where they are enough,
    else those of all sides. 0 where it is not to be told.
    """
    costs = [[*_extra_ms(side, with_core)] for side in sides]
    together = [ms for side in costs for ms in side]
    enough = [side if len(side) >= _FEWEST_PREEMPTED else together for side in costs]
    return [max(median(side), 0.0) if len(side) >= _FEWEST_PREEMPTED else 0.0 for side in enough]


def _extra_ms(bursts: Sequence[_Burst], with_core: _WithCore) -> Iterator[float]:
    """By how much each run took longer than those of its burst that were preempted least.

    For each preemption more than these had.
    """
    for burst in bursts:
        least = min(run.preempted for _, run in burst.runs)
        base = median([with_core(ms, run) for ms, run in burst.runs if run.preempted == least])
        for ms, run in burst.runs:
            if run.preempted > least:
                yield (with_core(ms, run) - base) / (run.preempted - least)


def _time_with_core(runs: Sequence[tuple[float, RunUsage]]) -> _WithCore | None:
    """How long a run had a core, of its duration and usage; None where that is not to be known."""
    waited = [run.waited_us for _, run in runs if run.waited_us is not None]
    cpu_us = sum(run.cpu_us for _, run in runs)
    wall_us = 1000 * sum(ms for ms, _ in runs)
    if cpu_us > _PARALLEL * max(wall_us - sum(waited), 1.0):
        return _less_waiting if len(waited) == len(runs) else None
    if all(run.cpu_us % _COARSE_US == 0 for _, run in runs):
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
