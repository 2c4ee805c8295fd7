"""``cpu:openvino``: OpenVINO's CPU plugin."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.errors import DeviceError, UnsupportedModelError
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.cpu.openvino_profile import read_kernels
from latprof.profilers.runtimes.model_inputs import random_inputs
from latprof.profilers.runtimes.running import (
    first_line,
    package_availability,
    timed_runs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime, Target

#: How the lines of its errors begin that say where it was, not what is wrong.
_PLACES = ("Exception from ", "Check '", "FrontEnd API failed", "Summary:", "Model wasn't fully")


class CpuOpenVINO(Profiler):
    """Measures on this computer's processor with OpenVINO: one stream, tuned for latency.

    ``float32`` is asked for by name: left to itself OpenVINO takes bfloat16 where the processor
    has it. ``bfloat16`` is refused elsewhere. With ``int8`` a model is quantised before it is
    loaded (:mod:`latprof.graph.convert.quantization`), and what stays unquantised is in float32.
    Threads are not bound to cores, other than by ``options.cores``.

    Its counters add up whole microseconds over all runs, so a kernel's time is the mean of the
    counted runs that nothing interrupted, good to about half a microsecond, and not their median.
    """

    spelling = "cpu:openvino"
    runs_on_host = True
    precisions = ("float32", "bfloat16", "int8")

    @classmethod
    def availability(cls) -> Availability:
        return package_availability("openvino", "OpenVINO", "openvino")

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        require("openvino", self.spelling)
        version = importlib.metadata.version("openvino")
        return self.identity("cpu", processor_name(), "openvino", version, input_shape)

    def load(self, model: ModelSource) -> OpenVINOModel:
        return OpenVINOModel(*self._compiled(self._in_precision(model)))

    def load_profiled(self, model: ModelSource) -> ProfiledOpenVINOModel:
        model = self._in_precision(model)
        return ProfiledOpenVINOModel(*self._compiled(model, PERF_COUNT=True), model)

    def _in_precision(self, model: ModelSource) -> ModelSource:
        if self.options.precision != "int8":
            return model
        from latprof.graph.convert.quantization import to_int8

        return to_int8(model)

    def _compiled(self, model: ModelSource, **more: Any) -> tuple[Any, list[NDArray[Any]]]:
        """The model compiled with these settings, and values for its inputs in order."""
        require("openvino", self.spelling)
        import openvino

        core = openvino.Core()
        settings = self._settings(core) | more
        try:
            network = core.read_model(model)
            inputs = {
                f"{index}: {port.any_name}": (_shape(port), port.element_type.to_dtype())
                for index, port in enumerate(network.inputs)
            }
            names = [
                next((n for n in port.names if n in self.input_rules), port.any_name)
                for port in network.inputs
            ]
            values = random_inputs(inputs, self.input_seed, self.input_rules, names)
            feed = list(values.values())
            compiled = core.compile_model(network, "CPU", settings)
        except RuntimeError as error:  # all that OpenVINO raises
            raise UnsupportedModelError(
                f"OpenVINO refuses the model: {_reason(error)}",
                hint="see which operators and types its CPU plugin has, or take another opset",
            ) from None
        self._check_threads(compiled.get_property("INFERENCE_NUM_THREADS"))
        return compiled, feed

    def _settings(self, core: Any) -> dict[str, Any]:
        bfloat16 = self.options.precision == "bfloat16"
        if bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise DeviceError(
                "this processor does not compute in bfloat16",
                field="precision",
                expected="one with AVX512-BF16 or AMX",
                got=processor_name(),
                hint="take float32 or int8",
            )
        return {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.options.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "ENABLE_CPU_PINNING": False,
        }

    def _check_threads(self, threads: int) -> None:
        """Refuse to run fewer threads than the target's identity says."""
        if threads != self.options.threads:
            raise DeviceError(
                "OpenVINO runs at most one thread on each core that it may use",
                field="threads",
                expected=f"at most {threads} here",
                got=str(self.options.threads),
            )


class OpenVINOModel:
    """A model as OpenVINO's ``compiled``, with its ``inputs`` in order, ready to be run."""

    def __init__(self, compiled: Any, feed: Sequence[NDArray[Any]]) -> None:
        import openvino

        self.compiled, self.inputs = compiled, feed  # the tensors below share their memory
        self.request = compiled.create_infer_request()
        for index, values in enumerate(feed):
            self.request.set_input_tensor(index, openvino.Tensor(values, shared_memory=True))

    def run(self, times: int) -> list[float]:
        return timed_runs(partial(self.request.infer, share_outputs=True), times, "OpenVINO")


class ProfiledOpenVINOModel(OpenVINOModel):
    """A compiled model whose counters are read after every run."""

    def __init__(self, compiled: Any, feed: Sequence[NDArray[Any]], model: ModelSource) -> None:
        super().__init__(compiled, feed)
        self._model = model
        self._counters: list[Any] = []
        self._durations_ms: list[float] = []

    def run(self, times: int) -> list[float]:
        for _ in range(times):
            self._durations_ms += super().run(1)
            self._counters.append(self.request.get_profiling_info())
        return self._durations_ms[-times:]

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """Read the counters: each kernel's mean over the counted runs."""
        return read_kernels(
            self._counters,
            self._durations_ms,
            self.compiled.get_runtime_model(),
            self._model,
            counted,
        )


def _shape(port: Any) -> list[object]:
    """Sizes of an input's dimensions, "?" for those that are dynamic."""
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return ["?"]
    return [dim.get_length() if dim.is_static else "?" for dim in shape]


def _reason(error: Exception) -> str:
    """What OpenVINO has to say, without the places in its source that it puts before."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(_PLACES)]
    return first_line(RuntimeError(" ".join(said) or str(error)))
