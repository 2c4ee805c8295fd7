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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

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

    def turn(self) -> LoadedModel:
        """The load whose turn it is."""
        return next(self._loads)

    def run(self, times: int) -> Sequence[float]:
        """Run the next load's burst."""
        return self.turn().run(times)


#: Runs bursts, each a model and how often it runs, back to back; the durations of each in ms.
RunBursts: TypeAlias = Callable[[Sequence[tuple[LoadedModel, int]]], Sequence[Sequence[float]]]


def run_each(bursts: Sequence[tuple[LoadedModel, int]]) -> Sequence[Sequence[float]]:
    """Run bursts one call after the other: right where a call costs nothing."""
    return [model.run(times) for model, times in bursts]


def runs_per_burst(latency_ms: float, protocol: PairedProtocol) -> int:
    """Return how many counted runs of a network of ``latency_ms`` fill one burst.

    The count is a power of two (or a limit), so that two visits to one network, whose calibration
    differs a little, run the same cycle.
    """
    wanted = protocol.burst_ms / max(latency_ms, 1e-6)
    power = 1 << round(math.log2(max(wanted, 1.0)))
    return min(protocol.max_runs, max(protocol.min_runs, power))


def calibrate(model: LoadedModel, *, runs: int = 1, run_bursts: RunBursts = run_each) -> float:
    """Run a network once cold and ``runs`` times warm; return the least warm latency in ms."""
    _, warm = run_bursts([(model, 1), (model, runs)])
    return min(_checked(warm, runs))


def measure_paired(
    target: LoadedModel,
    reference: LoadedModel,
    protocol: PairedProtocol,
    *,
    target_runs: int | None = None,
    reference_runs: int | None = None,
    run_bursts: RunBursts = run_each,
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
    run_bursts : callable
        Runs the whole cycle: one call, so that a device at the end of a cable is not idle between
        two bursts.

    Raises
    ------
    RuntimeFailedError
        When a run returns another number of durations than asked, or one that is not above 0.
    """
    n_target, n_reference = (
        (runs or runs_per_burst(calibrate(model, run_bursts=run_bursts), protocol))
        + protocol.dropped_runs
        for model, runs in ((target, target_runs), (reference, reference_runs))
    )
    cycle: list[tuple[LoadedModel, int]] = []
    for _ in range(protocol.rounds):
        cycle += [(_next_load(reference), n_reference), (target, n_target)]
    cycle.append((_next_load(reference), n_reference))
    with garbage_collection_paused():
        made = run_bursts(cycle)
    bursts = [_checked(burst, times) for burst, (_, times) in zip(made, cycle, strict=True)]
    return PairedSamples(
        tuple(bursts[1::2]),
        tuple(bursts[::2]),
        protocol.dropped_runs,
        _all_usage(made[1::2]),
        _all_usage(made[::2]),
    )


def _next_load(model: LoadedModel) -> LoadedModel:
    return model.turn() if isinstance(model, Rotation) else model


def _all_usage(bursts: Sequence[Sequence[float]]) -> tuple[BurstUsage, ...]:
    """What the runs were given; empty unless it is known of all of them."""
    usage = tuple(usage_of(burst) for burst in bursts)
    known = all(len(u) == len(burst) for u, burst in zip(usage, bursts, strict=True))
    return usage if known else ()


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
