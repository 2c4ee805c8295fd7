"""The paired measurement, independent of any runtime.

A shared host's clock moves by tens of percent in steps of seconds, so the milliseconds of one
network alone say little. Here a reference network runs before and after every burst of the network
in question, and the ratio is stored: whatever slowed both cancels. ``docs/measuring.md``
has the evidence.
"""

from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from latprof.errors import RuntimeFailedError
from latprof.measurement.records import Burst, PairedProtocol, PairedSamples
from latprof.measurement.run_usage import BurstUsage, usage_of


class LoadedModel(Protocol):
    """A network that is loaded and ready to run: all that the protocol knows of a runtime."""

    def run(self, times: int) -> Sequence[float]:
        """Run ``times`` times back to back; return each run's duration in milliseconds.

        Durations come from a monotonic clock (or the device's own), without any work of the host
        that a user's call would not have. Where they are a
        :class:`latprof.measurement.run_usage.TimedRuns`, they say what each run was given of the
        processor, and preempted runs are told from slow ones.
        """
        ...


class Rotation:
    """Several loads of one network that take turns, a burst each.

    Where its memory lies makes a load up to 2 % faster or slower than the next load of the same
    file, for as long as it lives. A reference that is loaded once lends that accident to everything
    measured beside it; three loads in turn lend a third of its variance.
    """

    def __init__(self, loads: Sequence[LoadedModel]) -> None:
        self._loads = itertools.cycle(loads)

    def run(self, times: int) -> Sequence[float]:
        """Run the next load's burst."""
        return next(self._loads).run(times)


def runs_per_burst(latency_ms: float, protocol: PairedProtocol) -> int:
    """Return how many counted runs of a network of ``latency_ms`` fill one burst.

    The count is a power of two (or a limit), so that two visits to one network, whose calibration
    differs a little, run the same cycle.
    """
    wanted = protocol.burst_ms / max(latency_ms, 1e-6)
    power = 1 << round(math.log2(max(wanted, 1.0)))
    return min(protocol.max_runs, max(protocol.min_runs, power))


def calibrate(model: LoadedModel, *, runs: int = 1) -> float:
    """Run a network once cold and ``runs`` times warm; return the least warm latency in ms."""
    model.run(1)
    return min(_checked(model.run(runs), runs))


def measure_paired(
    target: LoadedModel,
    reference: LoadedModel,
    protocol: PairedProtocol,
    *,
    target_runs: int | None = None,
    reference_runs: int | None = None,
) -> PairedSamples:
    """Measure one visit: reference and target bursts in turn, all raw runs returned.

    Parameters
    ----------
    target, reference : LoadedModel
        The network in question and the target's reference network, both warmed up by the caller
        or through the calibration here.
    protocol : PairedProtocol
        Bursts and runs.
    target_runs, reference_runs : int, optional
        Counted runs a burst; found by :func:`calibrate` where not given.

    Raises
    ------
    RuntimeFailedError
        When a run returns another number of durations than asked, or one that is not above 0.
    """
    n_target = target_runs or runs_per_burst(calibrate(target), protocol)
    n_reference = reference_runs or runs_per_burst(calibrate(reference), protocol)
    n_target += protocol.dropped_runs
    n_reference += protocol.dropped_runs
    target_bursts, reference_bursts = _Bursts(target, n_target), _Bursts(reference, n_reference)
    with garbage_collection_paused():
        reference_bursts.add()
        for _ in range(protocol.rounds):
            target_bursts.add()
            reference_bursts.add()
    return PairedSamples(
        tuple(target_bursts.durations_ms),
        tuple(reference_bursts.durations_ms),
        protocol.dropped_runs,
        target_bursts.all_usage(),
        reference_bursts.all_usage(),
    )


class _Bursts:
    """The bursts of one network, so many runs each."""

    def __init__(self, model: LoadedModel, runs: int) -> None:
        self._model, self._runs = model, runs
        self.durations_ms: list[Burst] = []
        self._usage: list[BurstUsage] = []

    def add(self) -> None:
        found = self._model.run(self._runs)
        self.durations_ms.append(_checked(found, self._runs))
        self._usage.append(usage_of(found))

    def all_usage(self) -> tuple[BurstUsage, ...]:
        """What the runs were given; empty unless it is known of all of them."""
        known = all(len(usage) == self._runs for usage in self._usage)
        return tuple(self._usage) if known else ()


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Collect garbage now and not again until the end of the block."""
    enabled = gc.isenabled()
    gc.collect(0)
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _checked(durations_ms: Sequence[float], expected: int) -> Burst:
    burst = tuple(float(value) for value in durations_ms)
    if len(burst) != expected or not all(0.0 < value < math.inf for value in burst):
        raise RuntimeFailedError(
            "the runtime returned unusable durations",
            expected=f"{expected} finite values above 0 ms",
            got=f"{len(burst)} values, the least {min(burst, default=math.nan)}",
        )
    return burst
