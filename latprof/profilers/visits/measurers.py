"""Makers of measurers for a target, whose device is one latprof's as long as they are used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S, ProcessMeasurer
from latprof.profilers.visits.taking_turns import TakingTurns

if TYPE_CHECKING:
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.base import RunOptions
    from latprof.profilers.visits.measurer import Measurer
    from latprof.profilers.visits.network_source import NetworkSource
    from latprof.profilers.visits.schedule import MakeMeasurer


@contextlib.contextmanager
def measurers(
    target: str,
    options: RunOptions,
    reference: NetworkSource,
    protocol: PairedProtocol,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    ahead: bool = False,
    on_wait: Callable[[str], None] = lambda _waiting: None,
) -> Iterator[MakeMeasurer]:
    """Yield what makes measurers; the device is occupied until the block ends.

    Parameters
    ----------
    target : str
        A target's short spelling.
    options : RunOptions
    reference : NetworkSource
        The target's reference network.
    protocol : PairedProtocol
    timeout_s : float
        Longest time for one visit.
    ahead : bool
        Whether networks may be prepared while others are visited, where the profiler allows it.
    on_wait : callable
        Takes what is waited for, and what whoever measures should know.

    Raises
    ------
    DeviceError
        Where the device is not there, or somebody else's.
    """
    profiler = profiler_class(target)(options)
    with profiler.occupied(on_wait):
        make = partial(
            ProcessMeasurer,
            profiler.own_spelling(),
            options,
            reference,
            protocol,
            timeout_s=timeout_s,
            on_wait=on_wait,
            elsewhere=profiler.measuring_host,
        )

        def make_measurer(reference_runs: Mapping[str, int]) -> Measurer:
            alone = partial(make, reference_runs)
            return TakingTurns(alone) if ahead and profiler.prepares_ahead else alone()

        yield make_measurer
