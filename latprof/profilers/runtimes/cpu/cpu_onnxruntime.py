"""``cpu:onnxruntime``: ONNX Runtime's CPU execution provider."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import UnsupportedModelError
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.cpu.onnxruntime_profile import read_kernels
from latprof.profilers.runtimes.running import (
    first_line,
    package_availability,
    random_inputs,
    timed_runs,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime, Target

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
#: Only what is fatal reaches the process's stderr; everything else arrives as an exception.
LOG_FATAL = 4


class CpuOnnxRuntime(Profiler):
    """Measures on this computer's processor with ONNX Runtime, sequential execution.

    With ``int8`` a model is quantised before it is loaded
    (:mod:`latprof.graph.convert.quantization`); operators without an 8-bit kernel stay in float32.
    With ``float16`` its weights and values are 16 bits wide: where ONNX Runtime has no such
    kernels, as for convolutions on x86 processors, it puts casts around each operator and computes
    in float32, which takes as long or longer.
    """

    spelling = "cpu:onnxruntime"
    precisions = ("float32", "int8", "float16")

    @classmethod
    def availability(cls) -> Availability:
        return package_availability("onnxruntime", "ONNX Runtime", "collect")

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        version = importlib.metadata.version("onnxruntime")
        return self.identity("cpu", processor_name(), "onnxruntime", version, input_shape)

    def load(self, model: ModelSource) -> OnnxRuntimeModel:
        return OnnxRuntimeModel(self._session(self._in_precision(model)), self.input_seed)

    def load_profiled(self, model: ModelSource) -> ProfiledOnnxRuntimeModel:
        model = self._in_precision(model)
        directory = tempfile.TemporaryDirectory(prefix="latprof-")
        session = self._session(model, profile_prefix=str(Path(directory.name) / "profile"))
        return ProfiledOnnxRuntimeModel(session, self.input_seed, model, directory)

    def _in_precision(self, model: ModelSource) -> ModelSource:
        if self.options.precision == "int8":
            from latprof.graph.convert.quantization import to_int8

            return to_int8(model)
        if self.options.precision == "float16":
            from latprof.graph.convert.quantization import to_float16

            return to_float16(model)
        return model

    def _session(self, model: ModelSource, profile_prefix: str = "") -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.options.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = LOG_FATAL
        # A session's threads wait for the next run in a loop that keeps their cores busy; those of
        # the reference would take turns with those of the network. They still do so within a run.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        source = model if isinstance(model, bytes) else os.fspath(model)
        try:
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
            raise UnsupportedModelError(
                f"ONNX Runtime refuses the model: {first_line(error)}",
                hint="see which operators and types its CPU provider has, or another opset",
            ) from None


class OnnxRuntimeModel:
    """A session with its ``inputs`` by name, ready to be run."""

    def __init__(self, session: Any, seed: int) -> None:
        self.session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self.inputs = random_inputs(
            {v.name: (v.shape, _dtype(v)) for v in session.get_inputs()}, seed
        )

    def run(self, times: int) -> list[float]:
        return timed_runs(
            partial(self.session.run, self._outputs, self.inputs), times, "ONNX Runtime"
        )


class ProfiledOnnxRuntimeModel(OnnxRuntimeModel):
    """A session with ONNX Runtime's profiler on, which writes into ``directory``."""

    def __init__(
        self,
        session: Any,
        seed: int,
        model: ModelSource,
        directory: tempfile.TemporaryDirectory[str],
    ) -> None:
        super().__init__(session, seed)
        self._model, self._directory = model, directory

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """End profiling and read what it wrote."""
        path = Path(self.session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        self._directory.cleanup()
        return read_kernels(events, self._model, counted)


def _dtype(value: Any) -> DTypeLike:
    dtype = DTYPES.get(value.type)
    if dtype is None:
        raise UnsupportedModelError(
            f"input {value.name!r} is of a type latprof makes no input for", got=value.type
        )
    return dtype
