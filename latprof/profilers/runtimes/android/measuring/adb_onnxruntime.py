"""``adb:SERIAL:onnxruntime``: ONNX Runtime's CPU execution provider on a phone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from latprof.errors import RuntimeFailedError
from latprof.graph.convert.onnx_skeletons import onnx_skeleton
from latprof.graph.reader import model_bytes
from latprof.profilers.runtimes.android.measuring.adb_profiler import AdbProfiler
from latprof.profilers.runtimes.android.measuring.phone_model import PhoneModel
from latprof.profilers.runtimes.android.owner import WORK_FOLDER
from latprof.profilers.runtimes.cpu.onnxruntime_profile import read_kernels, with_node_names

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.measurement.records import KernelTime

_MOST_PROFILE_BYTES = 256 << 20
_AGAIN = "run the same command again"


class AdbOnnxRuntime(AdbProfiler):
    """Measures on a phone with ONNX Runtime's C API, sequential execution.

    A space's network travels without its weights, which the runner fills at random with their
    scale.
    """

    spelling = "adb:SERIAL:onnxruntime"
    runtime = "onnxruntime"

    def content(self, model: ModelSource) -> bytes:
        content = model if isinstance(model, bytes) else model_bytes(model)
        return onnx_skeleton(content) if self.random_weights else content

    def load_profiled(self, model: ModelSource) -> ProfiledOnnxRuntimePhoneModel:
        named, _ = with_node_names(model)
        return ProfiledOnnxRuntimePhoneModel(self, named)


class ProfiledOnnxRuntimePhoneModel(PhoneModel):
    """A session with ONNX Runtime's profiler on, which writes into the work folder."""

    def __init__(self, profiler: AdbOnnxRuntime, model: ModelSource) -> None:
        self._prefix = f"{WORK_FOLDER}/part-{secrets.token_hex(8)}"
        super().__init__(profiler.session, profiler.content(model), profile=self._prefix)
        self._model = model

    def kernel_times(self, counted: Collection[int]) -> Sequence[KernelTime]:
        """End profiling and read what it wrote; the file is removed."""
        with self.session.asking() as client:
            path = client.profile_file(self.number(), 1)
            if not path.startswith(self._prefix):
                raise RuntimeFailedError(
                    "ONNX Runtime's profile lies elsewhere", got=path[:200], hint=_AGAIN
                )
            services = self.session.services
            content = services.pull(path, most_bytes=_MOST_PROFILE_BYTES)
            services.run(["rm", "-f", path])
        try:
            events = json.loads(content)
        except ValueError:
            raise RuntimeFailedError("ONNX Runtime's profile is damaged", hint=_AGAIN) from None
        return read_kernels(events, self._model, counted)
