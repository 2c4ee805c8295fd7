"""``cuda:N:onnxruntime``: ONNX Runtime's CUDA execution provider."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from latprof.errors import DeviceError, UnsupportedModelError
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import DTYPES, LOG_FATAL, OnnxRuntimeModel
from latprof.profilers.runtimes.cuda.cuda_device import CudaProfiler
from latprof.profilers.runtimes.model_inputs import NO_RULES
from latprof.profilers.runtimes.onnxruntime_sessions import LEVELS, set_level
from latprof.profilers.runtimes.running import onnxruntime_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from latprof.graph.input_values.input_rules import Rules
    from latprof.graph.model_file import ModelSource

_PROVIDER = "CUDAExecutionProvider"


class CudaOnnxRuntime(CudaProfiler):
    """Measures on an NVIDIA GPU with ONNX Runtime.

    Inputs and outputs stay in the GPU's memory. A duration is the host's time of one call, which
    returns when the GPU has finished. ``float32`` computes in float32 throughout; ``tf32`` lets
    matrix products and convolutions round their factors to 10 bits. ONNX Runtime does not say how
    long single kernels took on the GPU.
    """

    spelling = "cuda:N:onnxruntime"
    precisions = ("float32", "tf32")
    modes: ClassVar = {
        "graph": "kernels captured once and started together, as a CUDA graph",
        **LEVELS,
    }
    exclusive_modes = (frozenset(LEVELS),)
    runtime = "onnxruntime"
    package = "onnxruntime-gpu"

    def load(self, model: ModelSource) -> CudaOnnxRuntimeModel:
        loaded = CudaOnnxRuntimeModel(
            self._session(model), self.input_seed, self._number(), rules=self.input_rules
        )
        self._warm_up(loaded.run)
        return loaded

    def _session(self, model: ModelSource) -> Any:
        import onnxruntime

        if _PROVIDER not in onnxruntime.get_available_providers():
            raise self._unusable()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.options.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = LOG_FATAL
        set_level(options, self.options.mode)
        provider = {
            "device_id": str(self._number()),
            "use_tf32": str(int(self.options.precision == "tf32")),
            "enable_cuda_graph": str(int("graph" in self.options.mode)),
        }
        source = model if isinstance(model, bytes) else os.fspath(model)
        try:
            session = onnxruntime.InferenceSession(
                source, options, providers=[(_PROVIDER, provider)]
            )
        except Exception as error:  # noqa: BLE001 - the runtime's exceptions have no common base
            raise onnxruntime_refusal(error, "CUDA") from None
        if _PROVIDER not in session.get_providers():  # it takes the processor without a word
            raise self._unusable()
        return session

    def _unusable(self) -> DeviceError:
        return DeviceError(
            f"ONNX Runtime cannot use GPU number {self._number()}",
            hint="it must be onnxruntime-gpu alone, with CUDA and cuDNN of the versions it wants",
        )


class CudaOnnxRuntimeModel(OnnxRuntimeModel):
    """A session whose input and outputs are bound to the memory of device ``number``."""

    def __init__(
        self,
        session: Any,
        seed: int,
        number: int,
        kind: str = "cuda",
        rules: Rules = NO_RULES,
    ) -> None:
        self._place = kind, number
        super().__init__(session, seed, rules)

    def bound(self) -> Callable[[], object]:
        """A run of the session with its inputs and outputs in the device's memory."""
        import onnxruntime

        self._binding = self.session.io_binding()
        for name, values in self.inputs.items():
            if values.dtype.kind not in "biuf":
                raise UnsupportedModelError(
                    f"input {name!r} is of a type that latprof puts on no GPU",
                    got=str(values.dtype),
                )
            placed = onnxruntime.OrtValue.ortvalue_from_numpy(values, *self._place)
            self._binding.bind_ortvalue_input(name, placed)
        for output in self.session.get_outputs():
            element = DTYPES.get(output.type)
            if element is None or not all(isinstance(size, int) for size in output.shape):
                self._binding.bind_output(output.name, *self._place)
                continue
            # A captured graph writes where it wrote when it was captured: outputs have one place.
            place = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                output.shape, element, *self._place
            )
            self._binding.bind_ortvalue_output(output.name, place)
        return partial(self.session.run_with_iobinding, self._binding)

    def outputs(self) -> list[NDArray[Any]]:
        """What the last run computed, in the order of the session's outputs."""
        return [value.numpy() for value in self._binding.get_outputs()]
