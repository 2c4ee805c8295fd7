"""``cpu:tvm``: networks compiled by Apache TVM for this computer's processor."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.running import package_availability, timed_runs
from latprof.profilers.runtimes.tvm.tvm_build import (
    Kernels,
    compiled,
    fused_kernels,
    host_target,
    prepare_process,
    quiet,
)
from latprof.profilers.runtimes.tvm.tvm_profile import KernelClock, kernel_times

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime, Target

#: What a TVM without tuning is worth.
UNTUNED = (
    "untuned kernels take tens of times as long as ONNX Runtime's, on one thread whatever "
    "--threads says"
)
#: Of the compiled module: the network.
MAIN = "main"


class CpuTVM(Profiler):
    """Measures on this computer's processor with TVM's virtual machine, weights as constants.

    Without ``tuned=N`` the kernels are plain loops as TVM lowers them. With it, MetaSchedule tries
    N schedules of each kernel, not of each network: a network's latency does not depend on what
    else was tuned. Kernels are tuned once and kept
    (:mod:`latprof.profilers.runtimes.tvm.tvm_tuning`).
    """

    spelling = "cpu:tvm"
    runs_on_host = True
    modes: ClassVar = {
        "tuned=": "N schedules tried of each kernel (MetaSchedule), once and kept; without it "
        + UNTUNED
    }

    @classmethod
    def availability(cls) -> Availability:
        found = package_availability("apache-tvm", "Apache TVM", "tvm")
        if found.state != "ready":
            return found
        return dataclasses.replace(found, detail=f"{found.detail}; {UNTUNED}: see --tune-trials")

    @property
    def caution(self) -> str:
        if self._trials is None:
            return f"{self.spelling}: {UNTUNED}; tune them with --tune-trials 64, for example"
        return (
            f"{self.spelling}: a kernel is tuned when a network first has it, for up to a second "
            "a trial, which counts towards --timeout; what was found is kept, and the same command "
            "resumes from there"
        )

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        version = importlib.metadata.version("apache-tvm")
        return self.identity("cpu", processor_name(), "tvm", version, input_shape)

    def load(self, model: ModelSource) -> TVMModel:
        return TVMModel(*self._built(model))

    def load_profiled(self, model: ModelSource) -> ProfiledTVMModel:
        return ProfiledTVMModel(*self._built(model), model)

    @property
    def _trials(self) -> int | None:
        return self.mode_number("tuned=")

    def _built(self, model: ModelSource) -> tuple[Any, Kernels]:
        threads = self.options.threads
        prepare_process(threads)
        kernels = fused_kernels(model, host_target(threads), self.input_seed, self.input_rules)
        if self._trials is None:
            return compiled(kernels), kernels
        from latprof.profilers.runtimes.tvm.tvm_tuning import tuned_database

        return compiled(kernels, tuned_database(kernels, self._trials, threads)), kernels


class TVMModel:
    """A network in a virtual machine of its own, with its input."""

    def __init__(self, executable: Any, kernels: Kernels) -> None:
        import tvm
        from tvm import relax

        with quiet():
            self.machine = relax.VirtualMachine(executable, tvm.cpu())
            self.machine.set_input(MAIN, *map(tvm.runtime.tensor, kernels.inputs))

    def run(self, times: int) -> list[float]:
        """A duration is the time of one call, memory for values between kernels included."""
        return timed_runs(partial(self.machine.invoke_stateful, MAIN), times, "TVM")


class ProfiledTVMModel(TVMModel):
    """A virtual machine with a clock around each kernel."""

    def __init__(self, executable: Any, kernels: Kernels, model: ModelSource) -> None:
        super().__init__(executable, kernels)
        self._model, self._clock = model, KernelClock()
        self.machine.set_instrument(self._clock)

    def run(self, times: int) -> list[float]:
        durations = []
        for _ in range(times):
            self._clock.runs.append([])
            durations += super().run(1)
        return durations

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """The kernels' times."""
        return kernel_times(self._clock, counted, self._model)
