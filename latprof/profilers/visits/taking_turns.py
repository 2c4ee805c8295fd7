"""Measuring processes that take turns: while one visits a network, the others build the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from latprof.measurement.records import KernelProfile
    from latprof.measurement.visits import Failure, Visit
    from latprof.profilers.visits.measuring_process import ProcessMeasurer
    from latprof.profilers.visits.network_source import NetworkSource

#: Building a network takes a computer as long as measuring it takes a GPU, or somewhat longer.
PROCESSES = min(3, max(2, os.cpu_count() or 1))


class TakingTurns:
    """Satisfies ``Measurer``; one process at a time uses the device.

    For profilers with :attr:`latprof.profilers.base.Profiler.prepares_ahead`. As a context manager
    it starts its processes side by side before the first visit.

    Parameters
    ----------
    make_measurer : callable
        Makes each of them.
    processes : int
    """

    def __init__(
        self, make_measurer: Callable[[], ProcessMeasurer], processes: int = PROCESSES
    ) -> None:
        self._measurers = [make_measurer() for _ in range(processes)]
        self._idle = [*self._measurers]
        self._prepared: list[tuple[NetworkSource, ProcessMeasurer]] = []
        self._following: Sequence[NetworkSource] = ()

    def expect(self, networks: Sequence[NetworkSource]) -> None:
        """Remember what is to be prepared during the next visit."""
        self._following = networks

    def visit(self, network: NetworkSource) -> Visit:
        """Visit a network in the process that has prepared it, and have the others prepare."""
        measurer = self._take(network)
        for following in self._following:
            if self._idle and following not in [known for known, _ in self._prepared]:
                other = self._idle.pop(0)
                other.prepare(following)
                self._prepared.append((following, other))
        self._following = ()
        try:
            return measurer.visit(network)
        finally:
            self._idle.append(measurer)

    def _take(self, network: NetworkSource) -> ProcessMeasurer:
        """The process that has prepared a network, else an idle one: whoever visited last is."""
        for index, (known, measurer) in enumerate(self._prepared):
            if known == network:
                del self._prepared[index]
                return measurer
        return self._idle.pop(0)

    def profile(self, network: NetworkSource) -> KernelProfile | Failure:
        """Time a network's kernels."""
        return self._idle[0].profile(network)

    def close(self) -> None:
        """End all processes."""
        for measurer in self._measurers:
            measurer.close()

    def __enter__(self) -> Self:
        for measurer in self._measurers:
            measurer.start()
        for measurer in self._measurers:  # the first visit is not beside another's start
            measurer.await_start()
        return self

    def __exit__(self, *exception: object) -> None:
        for measurer in self._measurers:
            measurer.__exit__(*exception)
