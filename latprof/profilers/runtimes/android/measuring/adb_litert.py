"""``adb:SERIAL:litert``: LiteRT (TensorFlow Lite) with XNNPACK on a phone's processor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from latprof.errors import DeviceError
from latprof.graph.convert.to_tflite import (
    converter_version,
    is_tflite,
    tflite_skeleton,
)
from latprof.profilers.runtimes.android.measuring.adb_profiler import AdbProfiler
from latprof.profilers.runtimes.android.measuring.phone_model import PhoneModel
from latprof.profilers.runtimes.converted_models import whole_tflite
from latprof.profilers.runtimes.xnnpack_kernels import kernel_times

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime
    from latprof.profilers.runtimes.android.library import RuntimeLibrary


class AdbLiteRT(AdbProfiler):
    """Measures on a phone with LiteRT's or TFLite's C API and the XNNPACK delegate.

    An ONNX model is converted first, as for ``cpu:litert``; a TFLite file is run as it is. A
    network of a space travels without its weights, which the runner fills at random with their
    scale.
    """

    spelling = "adb:SERIAL:litert"
    runtime = "litert"
    own_formats = (".tflite",)

    def runtime_version(self, library: RuntimeLibrary) -> str:
        return f"{super().runtime_version(library)} ({converter_version()})"

    def content(self, model: ModelSource) -> bytes:
        if self.random_weights and not is_tflite(model):
            return tflite_skeleton(model)
        return whole_tflite(model)

    def load_profiled(self, model: ModelSource) -> ProfiledLiteRTModel:
        if self.runtime_library.api != "litert":
            raise DeviceError(
                f"{self.runtime_library.name} does not report per-kernel times",
                hint="give libLiteRt.so to `latprof android setup`",
            )
        return ProfiledLiteRTModel(self, model)


class ProfiledLiteRTModel(PhoneModel):
    """A model that runs with LiteRT's profiler on."""

    def __init__(self, profiler: AdbLiteRT, model: ModelSource) -> None:
        super().__init__(profiler.session, profiler.content(model), profile="kernels")
        self._model = None if is_tflite(model) else model

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """As many runs again as are counted, each with its kernels."""
        with self.session.asking() as client:
            runs = client.kernels(self.number(), max(1, len(counted)))
        return kernel_times(runs, self._model)
