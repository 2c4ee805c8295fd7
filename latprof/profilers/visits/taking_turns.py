"""Measuring processes that take turns: while one visits a network, the others build the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from latprof.measurement.records import Failure, KernelProfile
    from latprof.profilers.visits.measurer import Visit
    from latprof.profilers.visits.measuring_process import RemoteBench
    from latprof.profilers.visits.network_source import Network

#: Building a network takes a computer as long as measuring it takes a GPU, or somewhat longer.
PROCESSES = min(3, max(2, os.cpu_count() or 1))


class TakingTurns:
    """Satisfies ``Measurer``; one process at a time uses the device.

    For profilers with :attr:`latprof.profilers.base.Profiler.prepares_ahead`. As a context manager
    it starts its processes side by side before the first visit.

    Parameters
    ----------
    make_bench : callable
        Makes each of them.
    processes : int
    """

    def __init__(self, make_bench: Callable[[], RemoteBench], processes: int = PROCESSES) -> None:
        self._benches = [make_bench() for _ in range(processes)]
        self._idle = [*self._benches]
        self._prepared: list[tuple[Network, RemoteBench]] = []
        self._following: Sequence[Network] = ()

    def expect(self, networks: Sequence[Network]) -> None:
        """Remember what is to be prepared during the next visit."""
        self._following = networks

    def visit(self, network: Network) -> Visit:
        """Visit a network in the process that has prepared it, and have the others prepare."""
        bench = self._take(network)
        for following in self._following:
            if self._idle and following not in [known for known, _ in self._prepared]:
                other = self._idle.pop(0)
                other.prepare(following)
                self._prepared.append((following, other))
        self._following = ()
        visit = bench.visit(network)
        self._idle.append(bench)
        return visit

    def _take(self, network: Network) -> RemoteBench:
        """The process that has prepared a network, else an idle one."""
        for index, (known, bench) in enumerate(self._prepared):
            if known == network:
                del self._prepared[index]
                return bench
        return self._idle.pop(0) if self._idle else self._prepared.pop(0)[1]

    def profile(self, network: Network) -> KernelProfile | Failure:
        """Time a network's kernels."""
        return self._idle[0].profile(network)

    def close(self) -> None:
        """End all processes."""
        for bench in self._benches:
            bench.close()

    def __enter__(self) -> Self:
        for bench in self._benches:
            bench.start()
        for bench in self._benches:  # the first visit is not beside another's start
            bench.await_start()
        return self

    def __exit__(self, *exception: object) -> None:
        for bench in self._benches:
            bench.__exit__(*exception)
