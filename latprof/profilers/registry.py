"""Profilers by their targets' short spelling, those of other packages included."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING

from latprof.errors import UnknownNameError

if TYPE_CHECKING:
    from latprof.profilers.base import Profiler

#: Other packages add profilers under this entry point group: spelling = "module:Class".
ENTRY_POINT_GROUP = "latprof.profilers"

_BUILT_IN = {"cpu:onnxruntime": "latprof.profilers.cpu_onnxruntime:CpuOnnxRuntime"}


def target_spellings() -> list[str]:
    """Every spelling that :func:`profiler_class` knows, sorted."""
    return sorted(_BUILT_IN.keys() | {point.name for point in _entry_points()})


def profiler_class(spelling: str) -> type[Profiler]:
    """Return the profiler of a target, e.g. ``"cpu:onnxruntime"``; UnknownNameError lists them."""
    if spelling in _BUILT_IN:
        module, _, name = _BUILT_IN[spelling].partition(":")
        found: type[Profiler] = getattr(importlib.import_module(module), name)
        return found
    for point in _entry_points():
        if point.name == spelling:
            loaded: type[Profiler] = point.load()
            return loaded
    raise UnknownNameError("target", spelling, target_spellings())


def _entry_points() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
