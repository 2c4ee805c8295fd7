"""LiteRT's C library on this computer, by ctypes: it tells kernels, the interpreter does not.

The library is the one in the package ``ai-edge-litert``; the calls and the layout of its records
are those of its public headers, as in the runner of phones (``runner/source/litert.c``).
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from latprof.errors import DeviceError, RuntimeFailedError, UnsupportedModelError
from latprof.graph.convert.to_tflite import OTHER_RUNTIME
from latprof.profilers.runtimes.kernel_events import KernelEvent

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CPU, _LOCK_WRITE, _MOST_RANK = 1, 1, 8
#: Sizes of signatures: more inputs or outputs have no place in what the library is given.
_MOST_TENSORS = 1024
#: LiteRT's numbers of element types.
_TYPES = {1: "f4", 2: "i4", 3: "u1", 4: "i8", 6: "?", 7: "i2", 9: "i1", 10: "f2", 11: "f8",
          13: "u8", 16: "u4", 17: "u2"}  # fmt: skip
#: An event's length differs between versions: it is found from what the library wrote over this.
_MOST_EVENT, _LEAST_EVENT, _PATTERN = 256, 72, 0xA5
#: Texts that the library keeps a pointer to.
_THREADS, _RUNTIME = b"xnnpack", b"runtime_options_string"
_PROFILING = b"enable_profiling = true\n"


class _RankedType(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("kind", c_int32),
        ("rank", c_uint32),  # the lowest 7 bits
        ("dims", c_int32 * _MOST_RANK),
        ("strides", c_uint32 * _MOST_RANK),
    ]


_PLACE = POINTER(c_void_p)
_CALLS: dict[str, tuple[Any, ...]] = {
    "CreateEnvironment": (c_int, c_void_p, _PLACE),
    "CreateModelFromBuffer": (c_void_p, c_char_p, c_size_t, _PLACE),
    "GetModelSignature": (c_void_p, c_size_t, _PLACE),
    "GetNumSignatureInputs": (c_void_p, POINTER(c_size_t)),
    "GetNumSignatureOutputs": (c_void_p, POINTER(c_size_t)),
    "GetSignatureInputName": (c_void_p, c_size_t, POINTER(c_char_p)),
    "GetSignatureInputTensorByIndex": (c_void_p, c_size_t, _PLACE),
    "GetSignatureOutputTensorByIndex": (c_void_p, c_size_t, _PLACE),
    "GetRankedTensorType": (c_void_p, POINTER(_RankedType)),
    "CreateOptions": (_PLACE,),
    "SetOptionsHardwareAccelerators": (c_void_p, c_int),
    "CreateOpaqueOptions": (c_char_p, c_void_p, c_void_p, _PLACE),
    "AddOpaqueOptions": (c_void_p, c_void_p),
    "CreateCompiledModel": (c_void_p, c_void_p, c_void_p, _PLACE),
    "GetCompiledModelInputBufferRequirements": (c_void_p, c_size_t, c_size_t, _PLACE),
    "GetCompiledModelOutputBufferRequirements": (c_void_p, c_size_t, c_size_t, _PLACE),
    "CreateManagedTensorBufferFromRequirements": (
        c_void_p,
        POINTER(_RankedType),
        c_void_p,
        _PLACE,
    ),
    "LockTensorBuffer": (c_void_p, _PLACE, c_int),
    "UnlockTensorBuffer": (c_void_p,),
    "RunCompiledModel": (c_void_p, c_size_t, c_size_t, _PLACE, c_size_t, _PLACE),
    "CompiledModelGetProfiler": (c_void_p, _PLACE),
    "StartProfiler": (c_void_p,),
    "StopProfiler": (c_void_p,),
    "ResetProfiler": (c_void_p,),
    "GetNumProfilerEvents": (c_void_p, POINTER(c_int)),
    "GetProfilerEvents": (c_void_p, c_int, c_void_p),
}
_DESTROYERS = ("DestroyModel", "DestroyOptions", "DestroyCompiledModel", "DestroyTensorBuffer")


class LiteRTLibrary:
    """The C library and its environment; made by :func:`litert_library`."""

    def __init__(self, path: Path) -> None:
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            raise DeviceError(f"LiteRT's library cannot be loaded: {error}") from None
        # This came with 2.1.6, in which other functions of the same names changed parameters.
        missing = [
            name
            for name in ("CreateModelFromFd", *_CALLS, *_DESTROYERS)
            if not hasattr(library, f"LiteRt{name}")
        ]
        if missing:
            raise DeviceError(
                f"this LiteRT does not report per-kernel times: it lacks LiteRt{missing[0]}",
                hint="pip install -U ai-edge-litert (2.1.6 or later)",
            )
        self._library = library
        for name, parameters in _CALLS.items():
            getattr(library, f"LiteRt{name}").argtypes = parameters
        for name in _DESTROYERS:
            function = getattr(library, f"LiteRt{name}")
            function.argtypes, function.restype = (c_void_p,), None
        self._c = ctypes.CDLL(None)
        self._c.strdup.argtypes, self._c.strdup.restype = (c_char_p,), c_void_p
        self.environment = self.made("CreateEnvironment", 0, None)

    def status(self, name: str, *arguments: Any) -> int:
        """Call a function; 0 where it did what it was asked."""
        result: int = getattr(self._library, f"LiteRt{name}")(*arguments)
        return result

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raises RuntimeFailedError where it refuses."""
        status = self.status(name, *arguments)
        if status:
            raise RuntimeFailedError(f"LiteRt{name} failed with status {status}")

    def made(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function that makes something, and return that; raises as :meth:`call`."""
        place = c_void_p()
        self.call(name, *arguments, byref(place))
        return place

    def destroy(self, kind: str, handle: c_void_p) -> None:
        """Give something back that was made."""
        getattr(self._library, f"LiteRtDestroy{kind}")(handle)

    def add_option(self, options: c_void_p, name: bytes, text: bytes) -> None:
        """Add one opaque option, whose text the library frees; raises as :meth:`call`."""
        free = ctypes.cast(self._c.free, c_void_p)
        option = self.made("CreateOpaqueOptions", name, self._c.strdup(text), free)
        self.call("AddOpaqueOptions", options, option)


@cache
def litert_library() -> LiteRTLibrary:
    """The library of the installed package; raises DeviceError where it tells no kernels."""
    package = importlib.util.find_spec("ai_edge_litert")
    folders = [] if package is None else [*(package.submodule_search_locations or ())]
    for folder in map(Path, folders):
        for name in ("libLiteRt.so", "libLiteRt.dylib", "LiteRt.dll"):
            if (folder / name).is_file():
                return LiteRTLibrary(folder / name)
    raise DeviceError(
        "this LiteRT does not report per-kernel times: the package has no C library",
        hint="pip install -U ai-edge-litert (2.1.6 or later)",
    )


class LiteRTCompiledModel:
    """A TFLite model compiled with the profiler on, ready to be fed and run."""

    def __init__(self, content: bytes, threads: int) -> None:
        """Raise UnsupportedModelError where LiteRT refuses the model."""
        self._library = lib = litert_library()
        self._content = content  # the model reads from it as long as it lives
        self._held: list[tuple[str, c_void_p]] = []
        try:
            self._model = lib.made("CreateModelFromBuffer", lib.environment, content, len(content))
            self._held.append(("Model", self._model))
            self._compiled = self._compile(threads)
            self._held.append(("CompiledModel", self._compiled))
            signature = lib.made("GetModelSignature", self._model, 0)
            self._types, self._in = self._buffers(signature, "Input")
            written, self._out = self._buffers(signature, "Output")
            self._counts = len(self._types), len(written)
            #: Each input's name, shape and dtype, in order.
            self.inputs = [
                (self._input_name(signature, index), _shape(of), np.dtype(_TYPES[of.kind]))
                for index, of in enumerate(self._types)
            ]
        except RuntimeFailedError as error:
            raise UnsupportedModelError(
                f"LiteRT refuses the model: {error}", hint=OTHER_RUNTIME
            ) from None
        self._profiler = lib.made("CompiledModelGetProfiler", self._compiled)

    def _compile(self, threads: int) -> c_void_p:
        lib = self._library
        options = lib.made("CreateOptions")
        try:
            lib.call("SetOptionsHardwareAccelerators", options, _CPU)
            lib.add_option(options, _THREADS, f"num_threads = {threads}\n".encode())
            lib.add_option(options, _RUNTIME, _PROFILING)
            return lib.made("CreateCompiledModel", lib.environment, self._model, options)
        finally:
            lib.destroy("Options", options)

    def _input_name(self, signature: c_void_p, index: int) -> str:
        name = c_char_p()
        self._library.call("GetSignatureInputName", signature, index, byref(name))
        return (name.value or b"").decode(errors="replace")

    def _buffers(self, signature: c_void_p, side: str) -> tuple[list[_RankedType], Any]:
        """The types of all inputs or outputs, and buffers for them."""
        lib, number = self._library, c_size_t()
        lib.call(f"GetNumSignature{side}s", signature, byref(number))
        if number.value > _MOST_TENSORS:
            raise UnsupportedModelError(f"the model has over {_MOST_TENSORS} {side.lower()}s")
        types, buffers = [], (c_void_p * max(number.value, 1))()
        for index in range(number.value):
            tensor = lib.made(f"GetSignature{side}TensorByIndex", signature, index)
            of = _RankedType()
            lib.call("GetRankedTensorType", tensor, byref(of))
            if of.kind not in _TYPES or any(size < 0 for size in _shape(of)):
                raise UnsupportedModelError(
                    "LiteRT times kernels of models whose tensors have fixed shapes and plain types"
                )
            needs = lib.made(f"GetCompiledModel{side}BufferRequirements", self._compiled, 0, index)
            buffer = lib.made(
                "CreateManagedTensorBufferFromRequirements", lib.environment, byref(of), needs
            )
            self._held.append(("TensorBuffer", buffer))
            buffers[index] = buffer.value
            types.append(of)
        return types, buffers

    def feed(self, index: int, values: NDArray[Any]) -> None:
        """Set an input's values, which have its shape and dtype."""
        name, shape, dtype = self.inputs[index]
        if values.shape != shape or values.dtype != dtype:
            raise UnsupportedModelError(
                f"values of another shape for input {name!r}",
                expected=f"{dtype} {shape}",
                got=f"{values.dtype} {values.shape}",
            )
        buffer, whole = self._in[index], np.ascontiguousarray(values)
        place = c_void_p()
        self._library.call("LockTensorBuffer", buffer, byref(place), _LOCK_WRITE)
        ctypes.memmove(place, whole.ctypes.data, whole.nbytes)
        self._library.call("UnlockTensorBuffer", buffer)

    def run(self) -> None:
        """Run once."""
        inputs, outputs = self._counts
        self._library.call(
            "RunCompiledModel", self._compiled, 0, inputs, self._in, outputs, self._out
        )

    def start_profiling(self) -> None:
        """Forget the kernels of earlier runs, and begin to note those of the next."""
        self._library.call("ResetProfiler", self._profiler)
        self._library.call("StartProfiler", self._profiler)

    def stop_profiling(self) -> list[KernelEvent]:
        """The kernels since profiling was started; raises RuntimeFailedError where none is told."""
        lib, number = self._library, c_int()
        lib.call("StopProfiler", self._profiler)
        lib.call("GetNumProfilerEvents", self._profiler, byref(number))
        count = number.value
        if count <= 0:
            raise RuntimeFailedError("LiteRT recorded no kernels")
        raw = np.full(count * _MOST_EVENT, _PATTERN, np.uint8)
        lib.call("GetProfilerEvents", self._profiler, count, raw.ctypes.data)
        return _events(raw, count)

    def __del__(self) -> None:
        for kind, handle in reversed(getattr(self, "_held", [])):
            self._library.destroy(kind, handle)


def _shape(of: _RankedType) -> tuple[int, ...]:
    return tuple(of.dims[: min(of.rank & 127, _MOST_RANK)])


def _events(raw: NDArray[np.uint8], count: int) -> list[KernelEvent]:
    """The events that the library wrote, of whatever length: its last word is no pattern."""
    written = np.flatnonzero(raw != _PATTERN)
    end = -(-(int(written[-1]) + 1) // 8) * 8 if written.size else 0
    size = end // count
    if end % count or size < _LEAST_EVENT:
        raise RuntimeFailedError("LiteRT's events are of a form that is not known")
    words = raw[:end].view("<u8").reshape(count, size // 8)
    found = []
    for row in words:
        name = ctypes.string_at(int(row[0])).decode(errors="replace") if row[0] else ""
        kind = int(row[1]) & 0xFFFFFFFF
        found.append(KernelEvent(kind, int(row[3]), int(row[-3]), name))
    return found
