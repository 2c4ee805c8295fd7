"""``cpu:onnxruntime``: ONNX Runtime's CPU execution provider."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import DynamicShapeError, RuntimeFailedError, UnsupportedModelError
from latprof.measurement.records import KernelTime, Target
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host import processor_name
from latprof.profilers.onnxruntime_profile import read_kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
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
_LOG_FATAL = 4


class CpuOnnxRuntime(Profiler):
    """Measures on this computer's processor with ONNX Runtime, sequential execution."""

    spelling = "cpu:onnxruntime"

    @classmethod
    def availability(cls) -> Availability:
        try:
            version = importlib.metadata.version("onnxruntime")
        except importlib.metadata.PackageNotFoundError:
            return Availability(
                "missing", "onnxruntime is not installed", "pip install onnxruntime"
            )
        return Availability("ready", f"ONNX Runtime {version} on {processor_name()}")

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        return Target(
            device="cpu",
            device_name=processor_name(),
            runtime="onnxruntime",
            runtime_version=importlib.metadata.version("onnxruntime"),
            batch_size=self.options.batch_size,
            threads=self.options.threads,
            input_shape=input_shape,
            cores=",".join(map(str, self.options.cores)),
        )

    def load(self, model: bytes | Path) -> OnnxRuntimeModel:
        return OnnxRuntimeModel(self._session(model), self.input_seed)

    def load_profiled(self, model: bytes | Path) -> ProfiledOnnxRuntimeModel:
        directory = tempfile.TemporaryDirectory(prefix="latprof-")
        session = self._session(model, profile_prefix=str(Path(directory.name) / "profile"))
        return ProfiledOnnxRuntimeModel(session, self.input_seed, model, directory)

    def _session(self, model: bytes | Path, profile_prefix: str = "") -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.options.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _LOG_FATAL
        # A session's threads wait for the next run in a loop that keeps their cores busy; those of
        # the reference would take turns with those of the network. They still do so within a run.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        source = str(model) if isinstance(model, Path) else model
        try:
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
            raise UnsupportedModelError(
                f"ONNX Runtime refuses the model: {_first_line(error)}",
                hint="see which operators and types its CPU provider has, or another opset",
            ) from None


class OnnxRuntimeModel:
    """A session with its input, ready to be run."""

    def __init__(self, session: Any, seed: int) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        generator = np.random.default_rng(seed)
        self._feed = {value.name: _random_input(value, generator) for value in session.get_inputs()}

    def run(self, times: int) -> list[float]:
        run, outputs, feed = self._session.run, self._outputs, self._feed
        clock = time.perf_counter_ns
        durations = []
        try:
            for _ in range(times):
                start = clock()
                run(outputs, feed)
                durations.append((clock() - start) / 1e6)
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
            raise RuntimeFailedError(
                f"ONNX Runtime failed while running: {_first_line(error)}"
            ) from None
        return durations


class ProfiledOnnxRuntimeModel(OnnxRuntimeModel):
    """A session with ONNX Runtime's profiler on, which writes into ``directory``."""

    def __init__(
        self,
        session: Any,
        seed: int,
        model: bytes | Path,
        directory: tempfile.TemporaryDirectory[str],
    ) -> None:
        super().__init__(session, seed)
        self._model, self._directory = model, directory

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """End profiling and read what it wrote."""
        path = Path(self._session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        self._directory.cleanup()
        return read_kernels(events, self._model, counted)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # The runtime puts its own source's path and signature before what it has to say.
    text = lines[0]
    return text if len(text) <= 300 else f"{text[:80]} ... {text[-215:]}"


def _random_input(value: Any, generator: np.random.Generator) -> NDArray[Any]:
    """Random values of an input's shape: normal for floats, 1 to 7 for integers (valid indices)."""
    if not all(isinstance(size, int) and size > 0 for size in value.shape):
        raise DynamicShapeError(
            f"input {value.name!r} has the dynamic shape {value.shape}",
            hint=f"give it with --shape {value.name}=1,3,224,224 (with the right numbers)",
        )
    dtype = _DTYPES.get(value.type)
    if dtype is None:
        raise UnsupportedModelError(
            f"input {value.name!r} is of a type latprof makes no input for", got=value.type
        )
    values: NDArray[Any]
    try:
        if np.issubdtype(dtype, np.floating):
            values = generator.standard_normal(value.shape)
        elif dtype is np.bool_:
            values = generator.random(value.shape) < 0.5
        else:
            values = generator.integers(1, 8, value.shape)
        return values.astype(dtype)
    except (MemoryError, ValueError):  # ValueError: more elements than an array may have
        raise UnsupportedModelError(
            f"input {value.name!r} does not fit into memory",
            got="x".join(map(str, value.shape)),
            hint="take a smaller batch or resolution",
        ) from None
