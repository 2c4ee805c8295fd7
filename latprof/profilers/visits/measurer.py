"""One visit to one network: load it, run the paired cycle, read the conditions around it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from latprof.errors import LatprofError
from latprof.measurement.protocol import (
    LoadedModel,
    calibrate,
    measure_paired,
    runs_per_burst,
)
from latprof.measurement.quiet.conditions import other_load
from latprof.measurement.records import KernelProfile, PairedProtocol, PairedSamples
from latprof.measurement.visits import Failure, Visit
from latprof.profilers.host.memory_probe import memory_quotient, others_memory_gb_s
from latprof.profilers.visits.references import References

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.profilers.base import Profiler
    from latprof.profilers.visits.network_source import NetworkSource

#: Share of the spare cores from which on others may fill the memory's bandwidth.
BUSY_NEIGHBOURS = 0.2
#: What they do with it is known for so long, in seconds.
OTHERS_HOLD_S = 2.0
#: Warm runs by which a network's first visit tells how often it runs in a burst.
FIRST_TRIES = 3
#: Bursts of a network whose kernels are timed, and counted runs in each.
KERNEL_ROUNDS = 4
KERNEL_RUNS = 4


class Measurer(Protocol):
    """Something that visits networks: in this process, or in one of its own."""

    def visit(self, network: NetworkSource) -> Visit:
        """Measure a network once; every failure is a value in the result."""
        ...

    def expect(self, networks: Sequence[NetworkSource]) -> None:
        """Be told what will be visited after the network that is visited next, nearest first."""
        ...

    def profile(self, network: NetworkSource) -> KernelProfile | Failure:
        """Time a network's kernels, or say why not."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class InProcessMeasurer:
    """A profiler with its reference network loaded; satisfies :class:`Measurer`.

    Everything happens in the calling process and thread. Use it directly for experiments; campaigns
    use :class:`latprof.profilers.visits.measuring_process.ProcessMeasurer`, which survives what a
    runtime does.

    Parameters
    ----------
    profiler : Profiler
    reference : NetworkSource
    protocol : PairedProtocol
    process : str
        What the visits' ``process`` is.
    reference_runs : mapping of str to int, optional
        Counted runs in the bursts of each reference, where other processes have settled it: a
        reference near a limit would otherwise run half as often in some processes as in others.
        The target's own reference is called "".
    report : callable
        Takes what the profiler waits for.
    """

    def __init__(
        self,
        profiler: Profiler,
        reference: NetworkSource,
        protocol: PairedProtocol,
        process: str = "",
        reference_runs: Mapping[str, int] | None = None,
        report: Callable[[str], None] = lambda _waiting: None,
    ) -> None:
        self._profiler = profiler
        self._protocol = protocol
        self._process_name = process
        self._report = profiler.report = report
        self._references = References(profiler, reference, protocol, reference_runs or {})
        self._memory_known = False
        self._others, self._others_until = math.nan, -math.inf
        self._prepared: tuple[NetworkSource, Callable[[], LoadedModel]] | None = None
        self._following: list[NetworkSource] = []

    @property
    def _process(self) -> str:
        restarts = self._profiler.restarts
        return f"{self._process_name}.{restarts}" if restarts else self._process_name

    def _model(self, network: NetworkSource) -> ModelSource:
        """A network's model; the profiler is told how it is to be loaded."""
        self._about(network)
        return network.model(self._profiler.options.batch_size)

    def _about(self, network: NetworkSource) -> None:
        self._profiler.input_rules = network.rules
        self._profiler.random_weights = network.path is None
        batch = self._profiler.options.batch_size
        self._profiler.network_key = "" if network.path else network.made_from(batch)

    def prepare(self, network: NetworkSource) -> None:
        """Do of a network's next visit what needs no device; what fails, the visit tells."""
        with contextlib.suppress(LatprofError):
            self._prepared = network, self._prepare(network)

    def _prepare(self, network: NetworkSource) -> Callable[[], LoadedModel]:
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == network:
            return prepared[1]
        self._about(network)
        return self._profiler.prepared_before() or self._profiler.prepare(self._model(network))

    def expect(self, networks: Sequence[NetworkSource]) -> None:
        """Remember what may be brought to the device while it has to be waited for."""
        self._following = [*networks]

    def _prefetch_one(self) -> bool:
        if not self._following:
            return False
        with contextlib.suppress(LatprofError):  # what fails, the visit tells
            self._profiler.prefetch(self._model(self._following.pop(0)))
        return True

    def visit(self, network: NetworkSource) -> Visit:
        started_at, start = time.time(), time.perf_counter()
        load_s = 0.0
        came_of_it: dict[str, Any]
        try:
            self._profiler.settle(self._report, self._prefetch_one)
            started_at, start = time.time(), time.perf_counter()
            load = self._prepare(network)
            self._about(network)
            model = load()
            # A model on a phone may have run once already, in the round trip of its load.
            load_s = time.perf_counter() - start - getattr(model, "ran_s", 0.0)
            samples, conditions = self._cycle(network, model)
            came_of_it = {"samples": samples, "conditions": conditions}
        except LatprofError as error:
            came_of_it = {"failure": Failure.of(error)}
        return Visit(
            started_at=started_at,
            wall_s=time.perf_counter() - start,
            load_s=load_s,
            process=self._process,
            **came_of_it,
        )

    def _cycle(
        self, network: NetworkSource, model: LoadedModel
    ) -> tuple[PairedSamples, dict[str, Any]]:
        """The paired cycle of a loaded model, and what the device was like meanwhile."""
        # What others take of a single run must not settle the runs of all later visits.
        tries = FIRST_TRIES if self._profiler.runs_on_host and not network.runs else 1
        latency_ms = calibrate(model, runs=tries, run_bursts=self._profiler.run_bursts)
        reference = self._reference_for(network, latency_ms)
        before = self._profiler.conditions()
        wanted = network.runs or runs_per_burst(latency_ms, self._protocol)
        runs = min(wanted, self._protocol.max_runs)
        samples = self._paired(model, reference, self._protocol, runs)
        after = self._profiler.conditions()
        if self._profiler.runs_on_host:
            after |= self._memory(before, after)
        conditions = {"before": before, "after": after, **self._profiler.cycle_details()}
        if found := self._profiler.disturbances(before, after):
            conditions["disturbances"] = list(found)
        return samples, conditions

    def _paired(
        self,
        model: LoadedModel,
        against: tuple[str, LoadedModel, int],
        protocol: PairedProtocol,
        runs: int,
    ) -> PairedSamples:
        """Measure a model, ``runs`` a burst, against what :meth:`_reference_for` chose."""
        name, reference, reference_runs = against
        samples = measure_paired(
            model,
            reference,
            protocol,
            target_runs=runs,
            reference_runs=reference_runs,
            run_bursts=self._profiler.run_bursts,
        )
        return dataclasses.replace(samples, reference_name=name)

    def _memory(self, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
        """How busy the memory is: once in a process, and where others are busy."""
        found: dict[str, float] = {}
        if other_load(before, after) > BUSY_NEIGHBOURS:
            if after["monotonic_s"] > self._others_until:
                self._others = others_memory_gb_s()
                self._others_until = after["monotonic_s"] + OTHERS_HOLD_S
            found["others_memory_gb_s"] = self._others
        if not self._memory_known:
            self._memory_known, found["memory_quotient"] = True, memory_quotient()
        return {name: value for name, value in found.items() if not math.isnan(value)}

    def _reference_for(
        self, network: NetworkSource, latency_ms: float
    ) -> tuple[str, LoadedModel, int]:
        """The reference for a network: its name, its loads, and the counted runs of its bursts."""
        name = network.reference
        if name is None:
            name = self._references.nearest(latency_ms)
        return name, *self._references.load(name)

    def profile(self, network: NetworkSource) -> KernelProfile | Failure:
        started_at = time.time()
        protocol = dataclasses.replace(self._protocol, rounds=KERNEL_ROUNDS)
        try:
            self._profiler.settle(self._report, self._prefetch_one)
            model = self._profiler.load_profiled(self._model(network))
            latency_ms = calibrate(model, run_bursts=self._profiler.run_bursts)
            reference = self._reference_for(network, latency_ms)
            samples = self._paired(model, reference, protocol, KERNEL_RUNS)
            kernels = tuple(model.kernel_times(_counted_runs(samples)))
        except LatprofError as error:
            return Failure.of(error)
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
