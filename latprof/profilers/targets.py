"""Profilers by their targets' short spelling, those of other packages included.

A name in capitals stands for the device's address: ``cuda:N:torch`` is the pattern of
``cuda:0:torch`` and ``cuda:1:torch``, whose profilers :meth:`Profiler.at` makes.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from typing import TYPE_CHECKING

from latprof.errors import UnknownNameError

if TYPE_CHECKING:
    from latprof.profilers.base import Profiler

#: Other packages add profilers under this entry point group: spelling or pattern = "module:Class".
ENTRY_POINT_GROUP = "latprof.profilers"

_BUILT_IN = {
    "cpu:litert": "latprof.profilers.runtimes.cpu.cpu_litert:CpuLiteRT",
    "cpu:onnxruntime": "latprof.profilers.runtimes.cpu.cpu_onnxruntime:CpuOnnxRuntime",
    "cpu:openvino": "latprof.profilers.runtimes.cpu.cpu_openvino:CpuOpenVINO",
    "cpu:torch": "latprof.profilers.runtimes.cpu.cpu_torch:CpuTorch",
    "cpu:tvm": "latprof.profilers.runtimes.tvm.cpu_tvm:CpuTVM",
    "cuda:N:onnxruntime": "latprof.profilers.runtimes.cuda.cuda_onnxruntime:CudaOnnxRuntime",
    "cuda:N:tensorrt": "latprof.profilers.runtimes.cuda.cuda_tensorrt:CudaTensorRT",
    "cuda:N:torch": "latprof.profilers.runtimes.cuda.cuda_torch:CudaTorch",
    "tvm-rpc:HOST:PORT/KEY": "latprof.profilers.runtimes.tvm.tvm_rpc:RemoteTVM",
}
_PLACEHOLDER = re.compile(r"[A-Z]+")


def target_spellings() -> list[str]:
    """Every spelling and pattern that :func:`profiler_class` knows, sorted."""
    return sorted(_BUILT_IN.keys() | {point.name for point in _entry_points()})


def profiler_class(spelling: str) -> type[Profiler]:
    """Return the profiler of a target, e.g. ``"cpu:onnxruntime"``; UnknownNameError lists them.

    A pattern itself (``"cuda:N:torch"``) gives the class that all devices of its kind share, which
    tells its availability and nothing else.
    """
    for name in target_spellings():
        if name == spelling:
            return _load(name)
        address = _address(name, spelling)
        if address:
            return _load(name).at(address)
    raise UnknownNameError("target", spelling, target_spellings())


def _address(pattern: str, spelling: str) -> str:
    """What stands in ``spelling`` for the capitals of ``pattern``; empty where it does not fit."""
    places = list(_PLACEHOLDER.finditer(pattern))
    if not places:
        return ""
    before, after = pattern[: places[0].start()], pattern[places[-1].end() :]
    inner = pattern[places[0].start() : places[-1].end()]
    expression = _PLACEHOLDER.sub(
        lambda place: r"\d+" if place[0] == "N" else r"[^\s/]+", re.sub(r"[.]", r"\.", inner)
    )
    found = re.fullmatch(f"{re.escape(before)}({expression}){re.escape(after)}", spelling)
    return found[1] if found else ""


def _load(name: str) -> type[Profiler]:
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        found: type[Profiler] = getattr(importlib.import_module(module), attribute)
        return found
    (point, *_) = (point for point in _entry_points() if point.name == name)
    loaded: type[Profiler] = point.load()
    return loaded


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
