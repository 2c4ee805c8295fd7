"""``cpu:onnxruntime``: ONNX Runtime's CPU execution provider."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from onnx import TensorProto, helper

from latprof.common import telemetry
from latprof.errors import RuntimeFailedError, UnsupportedModelError
from latprof.graph.input_values.input_rules import InputRule, Rules
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.host.facts import processor_name
from latprof.profilers.runtimes.cpu.onnxruntime_profile import read_kernels, with_node_names
from latprof.profilers.runtimes.model_inputs import NO_RULES, random_inputs
from latprof.profilers.runtimes.onnxruntime_sessions import (
    LEVELS,
    PROVIDERS,
    check_providers,
    providers_of,
    set_level,
)
from latprof.profilers.runtimes.running import (
    onnxruntime_refusal,
    package_availability,
    timed_runs,
)

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime, Target

telemetry.switch_off()  # before any function below imports ONNX Runtime

#: NumPy's own types by ONNX Runtime's names of them.
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64,
    "tensor(uint32)": np.uint32,
    "tensor(uint16)": np.uint16,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
#: Types that NumPy itself lacks: ONNX's numbers of them.
_OTHER_TYPES = {
    "tensor(bfloat16)": TensorProto.BFLOAT16,
    "tensor(float8e4m3fn)": TensorProto.FLOAT8E4M3FN,
    "tensor(float8e4m3fnuz)": TensorProto.FLOAT8E4M3FNUZ,
    "tensor(float8e5m2)": TensorProto.FLOAT8E5M2,
    "tensor(float8e5m2fnuz)": TensorProto.FLOAT8E5M2FNUZ,
}
#: ONNX Runtime's setting for the folder of weights that lie in other files.
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
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
    runs_on_host = True
    precisions = ("float32", "int8", "float16")
    modes: ClassVar = {**LEVELS, **PROVIDERS}
    exclusive_modes = (frozenset(LEVELS), frozenset(PROVIDERS))

    @classmethod
    def availability(cls) -> Availability:
        return package_availability("onnxruntime", "ONNX Runtime", "collect")

    def target(self, input_shape: tuple[int, ...] | None) -> Target:
        version = importlib.metadata.version("onnxruntime")
        return self.identity("cpu", processor_name(), "onnxruntime", version, input_shape)

    def load(self, model: ModelSource) -> OnnxRuntimeModel:
        session = self._session(self._in_precision(model))
        return OnnxRuntimeModel(session, self.input_seed, self.input_rules)

    def load_profiled(self, model: ModelSource) -> ProfiledOnnxRuntimeModel:
        model = self._in_precision(model)
        named, beside = with_node_names(model)
        directory = tempfile.TemporaryDirectory(prefix="latprof-")
        session = self._session(named, str(Path(directory.name) / "profile"), beside)
        rules = self.input_rules
        return ProfiledOnnxRuntimeModel(session, self.input_seed, rules, named, directory)

    def _in_precision(self, model: ModelSource) -> ModelSource:
        if self.options.precision == "int8":
            from latprof.graph.convert.quantization import to_int8

            return to_int8(model)
        if self.options.precision == "float16":
            from latprof.graph.convert.quantization import to_float16

            return to_float16(model)
        return model

    def _session(self, model: ModelSource, profile_prefix: str = "", beside: str = "") -> Any:
        """A session; ``beside`` is the folder of weights in other files, for a model in memory."""
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
        if beside:
            options.add_session_config_entry(_WEIGHTS_FOLDER, beside)
        set_level(options, self.options.mode)
        providers = providers_of(self.options.mode, self.options.threads)
        source = model if isinstance(model, bytes) else os.fspath(model)
        try:
            session = onnxruntime.InferenceSession(source, options, providers=providers)
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
            raise onnxruntime_refusal(error, "CPU") from None
        check_providers(session, self.options.mode)
        return session


class OnnxRuntimeModel:
    """A session with its ``inputs`` by name, ready to be run.

    Integers that the model turns out not to run with are taken from 0 and 1, then all 1, then all
    0: an index may have to be within what is only known when the model runs.
    """

    def __init__(self, session: Any, seed: int, rules: Rules = NO_RULES) -> None:
        self.session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self._types = {value.name: value.type for value in session.get_inputs()}
        self.inputs = random_inputs(
            {v.name: (_shape(v), _dtype(v)) for v in session.get_inputs()}, seed, rules
        )
        given = {name for name, rule in rules.items() if rule.kind == "file"}
        free = [n for n, v in self.inputs.items() if v.dtype.kind in "iu" and n not in given]
        self._others = [*_OTHER_INTEGERS] if free else []
        self._free = free
        self._call = self.bound()

    def bound(self) -> Callable[[], object]:
        """A run of the session with its inputs."""
        feed = {n: _fed(values, self._types[n]) for n, values in self.inputs.items()}
        kinds = {*self._types.values(), *(output.type for output in self.session.get_outputs())}
        if kinds.isdisjoint(_OTHER_TYPES):
            return partial(self.session.run, self._outputs, feed)
        values = {n: _ort_value(value, self._types[n]) for n, value in self.inputs.items()}
        return partial(self.session.run_with_ort_values, self._outputs, values)

    def run(self, times: int) -> list[float]:
        try:
            durations = timed_runs(self._call, times, "ONNX Runtime")
        except RuntimeFailedError:
            if not self._try_others():
                raise
            return self.run(times)
        self._others = []
        return durations

    def _try_others(self) -> bool:
        """Take other integers, which the model runs with; false where there are none."""
        before = self.inputs
        while self._others:
            rule = self._others.pop(0)
            self.inputs = before | {name: rule.apply(before[name]) for name in self._free}
            self._call = self.bound()
            with contextlib.suppress(RuntimeFailedError):
                timed_runs(self._call, 1, "ONNX Runtime")
                self._others = []
                return True
        return False


class ProfiledOnnxRuntimeModel(OnnxRuntimeModel):
    """A session with ONNX Runtime's profiler on, which writes into ``directory``."""

    def __init__(
        self,
        session: Any,
        seed: int,
        rules: Rules,
        model: ModelSource,
        directory: tempfile.TemporaryDirectory[str],
    ) -> None:
        super().__init__(session, seed, rules)
        self._model, self._directory = model, directory

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """End profiling and read what it wrote."""
        path = Path(self.session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        self._directory.cleanup()
        return read_kernels(events, self._model, counted)


#: What integers are taken from where the usual ones are refused.
_OTHER_INTEGERS = (
    InputRule("range", 0, 1),
    InputRule("range", 1, 1),
    InputRule("range", 0, 0),
)


def _fed(values: NDArray[Any], kind: str) -> NDArray[Any] | list[NDArray[Any]]:
    """An input as a session takes it: a sequence has its entries along the first dimension."""
    return [*values] if kind.startswith("seq(") else values


def _shape(value: Any) -> Sequence[object]:
    return value.shape if value.type.startswith("tensor(") else ["?"]


def _dtype(value: Any) -> DTypeLike:
    if value.type in DTYPES:
        return DTYPES[value.type]
    if value.type in _OTHER_TYPES:
        found: DTypeLike = helper.tensor_dtype_to_np_dtype(_OTHER_TYPES[value.type])
        return found
    if value.type == "tensor(string)":
        return np.object_
    if value.type.startswith("seq(tensor(") and value.type[4:-1] in DTYPES:
        return DTYPES[value.type[4:-1]]
    raise UnsupportedModelError(
        f"input {value.name!r} is of a type latprof makes no input for", got=value.type
    )


def _ort_value(values: NDArray[Any], kind: str) -> Any:
    """A value of a session, also of a type that NumPy lacks."""
    import onnxruntime

    if kind not in _OTHER_TYPES:
        return onnxruntime.OrtValue.ortvalue_from_numpy(values)
    bits = values.view(np.uint16 if values.dtype.itemsize == 2 else np.uint8)
    number = _OTHER_TYPES[kind]
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, number)
