"""An ONNX model with its kernels' times in the metadata of its nodes, which Netron shows."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.files import write_atomically
from latprof.graph.external_data import external_tensors
from latprof.graph.model_file import node_name, read_model
from latprof.graph.plain_nodes import all_nodes

if TYPE_CHECKING:
    import onnx

    from latprof.profilers.profiling import Profile


def write_annotated(
    profile: Profile, model: str | os.PathLike[str], path: str | os.PathLike[str]
) -> str:
    """Write a copy of a model whose nodes say what they took; return a caution, or nothing.

    A kernel's time, ``latprof.latency_ms``, and its share, ``latprof.share``, are on the first of
    the operators that it covers; the others name that one under ``latprof.in_kernel``. What the
    runtime added has no node: it is in the model's metadata, beside latency and target. Weights
    outside of the file are named as in the model, relative to its folder.

    Parameters
    ----------
    profile : Profile
        Of the model, with kernels.
    model, path : path
        The ONNX file that was measured, and the copy.

    Raises
    ------
    ModelFileError, OutputPathError, DiskFullError
    """
    copy = read_model(model)
    times: dict[str, float] = defaultdict(float)
    inside: dict[str, str] = {}
    added_ms = 0.0
    for kernel in profile.kernels:
        if not kernel.operators:
            added_ms += kernel.latency_ms
            continue
        first, *others = kernel.operators
        times[first] += kernel.latency_ms
        inside |= dict.fromkeys(others, first)
    total = profile.kernel_sum_ms
    for node in all_nodes(copy.graph.node):
        name = node_name(node)
        if name in times:
            _say(node, "latprof.latency_ms", f"{times[name]:.6g}")
            if total:
                _say(node, "latprof.share", f"{times[name] / total:.2%}")
        elif name in inside:
            _say(node, "latprof.in_kernel", inside[name])
    low, high = profile.interval_ms
    _say(copy, "latprof.latency_ms", f"{profile.latency_ms:.6g}")
    _say(copy, "latprof.interval_ms", f"{low:.6g} to {high:.6g}")
    _say(copy, "latprof.target", profile.target.describe())
    _say(copy, "latprof.added_kernels_ms", f"{added_ms:.6g}")
    write_atomically(path, copy.SerializeToString())
    folder = Path(model).resolve().parent
    if any(external_tensors(copy)) and Path(path).resolve().parent != folder:
        return f"{path} names files of weights in {folder}: it runs beside them only"
    return ""


def _say(to: onnx.NodeProto | onnx.ModelProto, key: str, value: str) -> None:
    """Set one entry of metadata, in place of an earlier one of that name."""
    for entry in to.metadata_props:
        if entry.key == key:
            entry.value = value
            return
    entry = to.metadata_props.add()
    entry.key, entry.value = key, value
