"""``cpu:litert``: LiteRT (TensorFlow Lite) with XNNPACK on this computer's processor."""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.extras import require
from latprof.errors import RuntimeFailedError, UnsupportedModelError
from latprof.graph.convert.to_tflite import (
    OTHER_RUNTIME,
    converter_version,
    is_tflite,
    silenced,
)
from latprof.graph.model_file import graph_inputs, read_model
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.converted_models import whole_tflite
from latprof.profilers.runtimes.model_inputs import NO_RULES, random_inputs
from latprof.profilers.runtimes.running import (
    first_line,
    package_availability,
    timed_runs,
)

#: How the converter calls an input.
_NUMBER = re.compile(r"args_(\d+)")

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime, Target
    from latprof.profilers.runtimes.cpu.litert_library import LiteRTCompiledModel
    from latprof.profilers.runtimes.kernel_events import KernelEvent


class CpuLiteRT(Profiler):
    """Measures on this computer's processor with LiteRT's interpreter and its XNNPACK delegate.

    A model is converted first (:mod:`latprof.graph.convert.to_tflite`), so that its images are in
    channels-last order, as a network deployed with LiteRT takes them. The result is kept for later
    visits (:mod:`latprof.profilers.runtimes.converted_models`); what converted it is part of the
    target's version. A TFLite file is run as it is. The interpreter has no times of single kernels
    in Python: those come from LiteRT's C library, which is in the same package and runs the same
    file with the same delegate (:mod:`latprof.profilers.runtimes.cpu.litert_library`).
    """

    spelling = "cpu:litert"
    own_formats = (".tflite",)
    runs_on_host = True

    @classmethod
    def availability(cls) -> Availability:
        runtime = package_availability("ai-edge-litert", "LiteRT", "litert")
        format_ = package_availability("flatbuffers", "TFLite's file format", "litert")
        return runtime if format_.state == "ready" else format_

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        require("litert", self.spelling, "ai_edge_litert")
        version = importlib.metadata.version("ai-edge-litert")
        runtime_version = f"{version} ({converter_version()})"
        return self.identity("cpu", processor_name(), "litert", runtime_version, input_shape)

    def load(self, model: ModelSource) -> LiteRTModel:
        require("litert", self.spelling, "ai_edge_litert")
        from ai_edge_litert.interpreter import Interpreter

        converted = whole_tflite(model)
        with silenced():
            try:
                interpreter = Interpreter(model_content=converted, num_threads=self.options.threads)
                interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise UnsupportedModelError(
                    f"LiteRT refuses the model: {first_line(error)}", hint=OTHER_RUNTIME
                ) from None
        return LiteRTModel(interpreter, self.input_seed, self.input_rules, self._names(model))

    def load_profiled(self, model: ModelSource) -> CpuLiteRTKernels:
        require("litert", self.spelling, "ai_edge_litert")
        from latprof.profilers.runtimes.cpu.litert_library import LiteRTCompiledModel

        converted = whole_tflite(model)
        with silenced():
            compiled = LiteRTCompiledModel(converted, self.options.threads)
        inputs = {name: (shape, dtype) for name, shape, dtype in compiled.inputs}
        feed = _values(inputs, self.input_seed, self.input_rules, self._names(model))
        for index, values in enumerate(feed):
            compiled.feed(index, values)
        return CpuLiteRTKernels(compiled, None if is_tflite(model) else model)

    def _names(self, model: ModelSource) -> list[str]:
        """The names of the ONNX model's inputs in order, where there are rules for them."""
        return [v.name for v in graph_inputs(read_model(model).graph)] if self.input_rules else []


def _values(
    inputs: Mapping[str, tuple[Sequence[int], Any]], seed: int, rules: Rules, names: Sequence[str]
) -> list[NDArray[Any]]:
    """Values for a converted model's inputs in order; ``names`` are the ONNX model's."""
    feed = random_inputs(inputs, seed, rules, [_name(each, names) for each in inputs])
    found = []
    for name, (shape, _) in inputs.items():
        values = feed[name]
        if values.shape != tuple(shape) and values.ndim == 4:  # an image, of a file
            values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
        found.append(values)
    return found


class LiteRTModel:
    """An interpreter with its input, ready to be run."""

    def __init__(
        self,
        interpreter: Any,
        seed: int,
        rules: Rules = NO_RULES,
        names: Sequence[str] = (),
    ) -> None:
        """``names`` are those of the ONNX model's inputs, in order."""
        self.interpreter = interpreter
        details = interpreter.get_input_details()
        inputs = {d["name"]: (d["shape"].tolist(), d["dtype"]) for d in details}
        for detail, values in zip(details, _values(inputs, seed, rules, names), strict=True):
            interpreter.set_tensor(detail["index"], values)

    def run(self, times: int) -> list[float]:
        return timed_runs(self.interpreter.invoke, times, "LiteRT")


class CpuLiteRTKernels:
    """A model that LiteRT's C library runs with its profiler on; ``model`` is the ONNX model."""

    def __init__(self, compiled: LiteRTCompiledModel, model: ModelSource | None) -> None:
        self._compiled, self._model = compiled, model
        self._runs: list[list[KernelEvent]] = []

    def run(self, times: int) -> list[float]:
        durations: list[float] = []
        for _ in range(times):
            self._compiled.start_profiling()
            durations += timed_runs(self._compiled.run, 1, "LiteRT")
            self._runs.append(self._compiled.stop_profiling())
        return durations

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """XNNPACK's kernels, each the median over the counted runs."""
        from latprof.profilers.runtimes.xnnpack_kernels import kernel_times

        if not counted or max(counted) >= len(self._runs):
            raise RuntimeFailedError("LiteRT's profile does not hold every counted run")
        return kernel_times([self._runs[number] for number in sorted(counted)], self._model)


def _name(converted: str, names: Sequence[str]) -> str:
    """The ONNX name of an input, which the converter has called by its number."""
    number = _NUMBER.search(converted)
    return names[int(number[1])] if number and int(number[1]) < len(names) else converted
