"""What a run was really given: the processor time it got beside the time that passed.

A run's duration says how long a caller waited. On a busy host a part of that time belonged to
others: the kernel took the core away from the run, and its threads waited for one. The kernel
counts both, for every process, so that a preempted run can be told from a slow one.

Invisible to it are time that a hypervisor steals (the guest counts it as its own) and the memory
bandwidth that others take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from latprof.errors import InvalidValueError

#: Threads of a pool wait for a core for a moment whenever one wakes another: so much of a run's
#: time is no delay.
_SLIGHT = 0.02


class RunUsage(NamedTuple):
    """What one run was given, all threads of its process together.

    ``cpu_us`` is the processor time in microseconds, ``waited_us`` the time that threads which
    could run waited for a core (None where the kernel does not say), ``preempted`` how often a core
    was taken away from one of them, during the run or since the one before it.
    """

    cpu_us: int
    waited_us: int | None
    preempted: int


#: One burst's usage, a run each.
BurstUsage: TypeAlias = tuple[RunUsage, ...]


class TimedRuns(list[float]):
    """Durations in milliseconds, with what each run was given where the kernel says so.

    A list of durations alone, which is what a device of its own returns, has no ``usage``.
    """

    def __init__(self, durations_ms: Iterable[float], usage: Iterable[RunUsage] = ()) -> None:
        super().__init__(durations_ms)
        self.usage: BurstUsage = tuple(usage)


def usage_of(durations_ms: Sequence[float]) -> BurstUsage:
    """What the runs of a burst were given; empty where it is not known."""
    return durations_ms.usage if isinstance(durations_ms, TimedRuns) else ()


def usage_of_json(value: Any, bursts: Sequence[Sequence[float]]) -> tuple[BurstUsage, ...]:
    """Read usage of these bursts; raises InvalidValueError for anything else."""
    if value is None or value in ((), []):
        return ()
    shape = [len(burst) for burst in bursts]
    if not isinstance(value, list | tuple) or [_length(burst) for burst in value] != shape:
        raise InvalidValueError("samples: the usage is not that of their runs")
    return tuple(tuple(map(_run, burst)) for burst in value)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple) else -1


def _run(value: Any) -> RunUsage:
    fits = isinstance(value, list | tuple) and len(value) == 3
    if fits:
        cpu_us, waited_us, preempted = value
        numbers = (cpu_us, preempted, *(() if waited_us is None else (waited_us,)))
        if all(type(number) is int and 0 <= number < 1 << 53 for number in numbers):
            return RunUsage(cpu_us, waited_us, preempted)
    raise InvalidValueError(f"samples: {str(value)[:60]} is no usage of a run")


def is_free(duration_ms: float, usage: RunUsage) -> bool:
    """Whether nothing took a core from a run: no preemption, and next to no waiting."""
    waited_us = usage.waited_us or 0
    return not usage.preempted and waited_us <= _SLIGHT * 1000 * duration_ms
