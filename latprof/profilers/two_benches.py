"""Two measuring processes that take turns: one visits a network, the other builds the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from latprof.measurement.records import Failure, KernelProfile
    from latprof.profilers.bench import Visit
    from latprof.profilers.networks import Network
    from latprof.profilers.remote import RemoteBench


class TwoBenches:
    """Satisfies :class:`latprof.profilers.bench.Measurer`; only one process uses the device.

    Building a network and handing it to a runtime takes this computer as long as a GPU takes to
    measure it. For profilers with :attr:`latprof.profilers.base.Profiler.prepares_ahead`.

    Parameters
    ----------
    make_bench : callable
        Makes either.
    """

    def __init__(self, make_bench: Callable[[], RemoteBench]) -> None:
        self._visiting, self._preparing = make_bench(), make_bench()
        self._prepared: Network | None = None
        self._following: Network | None = None

    def expect(self, network: Network) -> None:
        """Remember what is to be prepared during the next visit."""
        self._following = network

    def visit(self, network: Network) -> Visit:
        """Visit a network in the process that has prepared it, and have the other prepare."""
        if network == self._prepared:
            self._visiting, self._preparing = self._preparing, self._visiting
        self._prepared, self._following = self._following, None
        if self._prepared is not None:
            self._preparing.prepare(self._prepared)
        return self._visiting.visit(network)

    def profile(self, network: Network) -> KernelProfile | Failure:
        """Time a network's kernels; nothing else goes on meanwhile."""
        return self._visiting.profile(network)

    def close(self) -> None:
        """End both processes."""
        self._visiting.close()
        self._preparing.close()

    def __enter__(self) -> Self:
        self._visiting.__enter__()
        self._preparing.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._visiting.__exit__(*exception)
        self._preparing.__exit__(*exception)
