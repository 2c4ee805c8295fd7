"""One visit to one network: load it, run the paired cycle, read the conditions around it."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from latprof.errors import LatprofError
from latprof.measurement.disturbance import disturbances
from latprof.measurement.protocol import (
    LoadedModel,
    Rotation,
    calibrate,
    measure_paired,
    runs_per_burst,
)
from latprof.measurement.records import Failure, KernelProfile, PairedProtocol, PairedSamples

if TYPE_CHECKING:
    from latprof.profilers.base import Profiler
    from latprof.profilers.visits.network_source import Network

#: Bursts of a network whose kernels are timed, and counted runs in each.
KERNEL_ROUNDS = 4
KERNEL_RUNS = 4


@dataclass(frozen=True)
class Visit:
    """What one visit brought: samples, or the failure in their place.

    ``started_at`` is Unix time in seconds; ``wall_s`` the whole visit's time; ``load_s`` the part
    that built and loaded the network, as far as it was not prepared before; ``process`` names the
    measuring process.
    """

    started_at: float
    wall_s: float
    load_s: float
    process: str
    samples: PairedSamples | None = None
    failure: Failure | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)


class Measurer(Protocol):
    """Something that visits networks: a bench in this process, or a process that has one."""

    def visit(self, network: Network) -> Visit:
        """Measure a network once; every failure is a value in the result."""
        ...

    def expect(self, networks: Sequence[Network]) -> None:
        """Be told what will be visited after the network that is visited next, nearest first."""
        ...

    def profile(self, network: Network) -> KernelProfile | Failure:
        """Time a network's kernels, or say why not."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def undisturbed_visit(
    measurer: Measurer, network: Network, protocol: PairedProtocol, tries: int = 3
) -> Visit:
    """Visit a network; again where the visit was disturbed. The last try counts in any case."""
    while True:
        visit = measurer.visit(network)
        tries -= 1
        if visit.samples is None or tries <= 0:
            return visit
        if not disturbances(visit.samples, visit.conditions, protocol):
            return visit


class Bench:
    """A profiler with its reference network loaded; satisfies :class:`Measurer`.

    Everything happens in the calling process and thread. Use it directly for experiments; campaigns
    use :class:`latprof.profilers.visits.measuring_process.RemoteBench`, which survives what a
    runtime does.

    Parameters
    ----------
    profiler : Profiler
    reference : Network
    protocol : PairedProtocol
    process : str
        What the visits' ``process`` is.
    reference_runs : int, optional
        Counted runs in the reference's bursts, where other processes have settled it: a reference
        near a limit would otherwise run half as often in some processes as in others.
    """

    def __init__(
        self,
        profiler: Profiler,
        reference: Network,
        protocol: PairedProtocol,
        process: str = "",
        reference_runs: int | None = None,
    ) -> None:
        self._profiler = profiler
        self._protocol = protocol
        self._process = process
        model = reference.model(profiler.options.batch_size)
        loads: list[LoadedModel] = [profiler.load(model) for _ in range(protocol.reference_loads)]
        self._reference_runs = reference_runs or runs_per_burst(
            min(map(calibrate, loads)), protocol
        )
        self._reference = Rotation(loads)
        self._prepared: tuple[Network, Callable[[], LoadedModel]] | None = None

    def prepare(self, network: Network) -> None:
        """Do of a network's next visit what needs no device; what fails, the visit tells."""
        with contextlib.suppress(LatprofError):
            self._prepared = network, self._prepare(network)

    def _prepare(self, network: Network) -> Callable[[], LoadedModel]:
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == network:
            return prepared[1]
        return self._profiler.prepare(network.model(self._profiler.options.batch_size))

    def expect(self, networks: Sequence[Network]) -> None:
        """Nothing: in one process a visit and what is prepared meanwhile would share its time."""

    def visit(self, network: Network) -> Visit:
        started_at, start = time.time(), time.perf_counter()
        load_s = 0.0
        try:
            model = self._prepare(network)()
            load_s = time.perf_counter() - start
            before = self._profiler.conditions()
            samples = measure_paired(
                model, self._reference, self._protocol, reference_runs=self._reference_runs
            )
            after = self._profiler.conditions()
            conditions: dict[str, Any] = {"before": before, "after": after}
            if found := self._profiler.disturbances(before, after):
                conditions["disturbances"] = list(found)
        except LatprofError as error:
            wall_s = time.perf_counter() - start
            failure = Failure(error.code, str(error))
            return Visit(started_at, wall_s, load_s, self._process, failure=failure)
        wall_s = time.perf_counter() - start
        return Visit(started_at, wall_s, load_s, self._process, samples, None, conditions)

    def profile(self, network: Network) -> KernelProfile | Failure:
        started_at = time.time()
        protocol = dataclasses.replace(self._protocol, rounds=KERNEL_ROUNDS)
        try:
            model = self._profiler.load_profiled(network.model(self._profiler.options.batch_size))
            calibrate(model)
            samples = measure_paired(
                model,
                self._reference,
                protocol,
                target_runs=KERNEL_RUNS,
                reference_runs=self._reference_runs,
            )
            kernels = tuple(model.kernel_times(_counted_runs(samples)))
        except LatprofError as error:
            return Failure(error.code, str(error))
        return KernelProfile(kernels, samples, started_at, self._process)

    def close(self) -> None:
        """Nothing to let go of: the loads end with this object."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _counted_runs(samples: PairedSamples) -> list[int]:
    """Numbers of the target's counted runs since it was loaded; calibration made the first two."""
    numbers: list[int] = []
    start = 2
    for burst in samples.target:
        numbers += range(start + samples.dropped_runs, start + len(burst))
        start += len(burst)
    return numbers
