"""``cpu:litert``: LiteRT (TensorFlow Lite) with XNNPACK on this computer's processor."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.extras import require
from latprof.errors import UnsupportedModelError
from latprof.graph.convert.to_tflite import (
    converter_version,
    is_tflite,
    silenced,
    tflite_bytes,
)
from latprof.graph.model_file import graph_inputs, read_model
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.converted_models import kept_model
from latprof.profilers.runtimes.model_inputs import NO_RULES, random_inputs
from latprof.profilers.runtimes.running import (
    first_line,
    package_availability,
    timed_runs,
)

#: How the converter calls an input.
_NUMBER = re.compile(r"args_(\d+)")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import Target


class CpuLiteRT(Profiler):
    """Measures on this computer's processor with LiteRT's interpreter and its XNNPACK delegate.

    A model is converted first (:mod:`latprof.graph.convert.to_tflite`), so that its images are in
    channels-last order, as a network deployed with LiteRT takes them. The result is kept for later
    visits (:mod:`latprof.profilers.runtimes.converted_models`); what converted it is part of the
    target's version. A TFLite file is run as it is. The interpreter has no times of single kernels
    in Python.
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

        if is_tflite(model):
            converted = model if isinstance(model, bytes) else Path(model).read_bytes()
        else:
            converted = kept_model(model, "tflite", converter_version(), tflite_bytes)
        with silenced():
            try:
                interpreter = Interpreter(model_content=converted, num_threads=self.options.threads)
                interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise UnsupportedModelError(
                    f"LiteRT refuses the model: {first_line(error)}"
                ) from None
        names = [v.name for v in graph_inputs(read_model(model).graph)] if self.input_rules else []
        return LiteRTModel(interpreter, self.input_seed, self.input_rules, names)


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
        feed = random_inputs(inputs, seed, rules, [_name(d["name"], names) for d in details])
        for detail in details:
            values = feed[detail["name"]]
            if values.shape != tuple(detail["shape"]) and values.ndim == 4:  # an image, of a file
                values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
            interpreter.set_tensor(detail["index"], values)

    def run(self, times: int) -> list[float]:
        return timed_runs(self.interpreter.invoke, times, "LiteRT")


def _name(converted: str, names: Sequence[str]) -> str:
    """The ONNX name of an input, which the converter has called by its number."""
    number = _NUMBER.search(converted)
    return names[int(number[1])] if number and int(number[1]) < len(names) else converted
