"""Reads OpenVINO's counters: the kernels that ran, mapped back to the graph's operators."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import RuntimeFailedError
from latprof.graph.reader import read_network
from latprof.measurement.records import KernelTime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Operator, Shape

#: Kinds of kernels that stand for no operator of the graph, by OpenVINO's type of layer.
_KINDS = {
    "Convert": "cast",
    "Eltwise": "add",
    "Pooling": "pool",
    "Reorder": "layout",
    "Reshape": "layout",
    "Transpose": "layout",
}
#: What it appends to the name of an operator that it took the bias out of.
_SPLIT = "/WithoutBiases"
#: A run that took this many times the median was interrupted, and would spoil a mean.
_INTERRUPTED = 1.5


def read_kernels(
    counters: Sequence[Sequence[Any]],
    durations_ms: Sequence[float],
    compiled: Any,
    model: ModelSource,
    counted: Collection[int],
) -> list[KernelTime]:
    """Return the kernels of one run in order, each with its mean over the counted runs.

    OpenVINO tells the mean of a kernel's times over all runs so far, in whole microseconds both in
    each run and in the mean. The means after each run give back the sums, and those each run; what
    was cut off is added again as it is on average, half a microsecond. Single runs are too coarse
    for a median, so runs that took half as long again as the median run are left out instead.

    Parameters
    ----------
    counters : sequence of sequence of ProfilingInfo
        What the request told after each run, from the first after loading.
    durations_ms : sequence of float
        What each of these runs took.
    compiled : openvino.Model
        The compiled model's ``get_runtime_model()``: what each kernel was made of.
    model : bytes or path
        The ONNX model, for its operators.
    counted : collection of int
        Numbers of the runs that count, from 0.

    Raises
    ------
    RuntimeFailedError
        When a counted run is not among the counters.
    """
    if not counted or max(counted) >= len(counters):
        raise RuntimeFailedError("OpenVINO's counters do not hold every counted run")
    layers = {layer.get_friendly_name(): layer for layer in compiled.get_ops()}
    operators = {op.name: op for op in read_network(model).operators}
    outputs = {name: op.name for op in operators.values() for name in op.writes}
    told = [{e.node_name: e.real_time.total_seconds() * 1e6 for e in run} for run in counters]
    kernels = {
        name: _kernel(name, layers[name], operators, outputs) for name in told[0] if name in layers
    }
    # A time cut off to 0 reads the same as a layer that is there for its shape only.
    ran = [
        name
        for name, kernel in kernels.items()
        if any(run[name] for run in told) or (kernel.operators and kernel.kind != "layout")
    ]
    means = np.array([[run[name] for name in ran] for run in told])
    latencies_ms = _mean_latencies_ms(means, _uninterrupted(durations_ms, counted))
    return [
        replace(kernels[name], position=position, latency_ms=latency_ms)
        for position, (name, latency_ms) in enumerate(zip(ran, latencies_ms.tolist(), strict=True))
    ]


def _uninterrupted(durations_ms: Sequence[float], counted: Collection[int]) -> list[int]:
    limit = _INTERRUPTED * float(np.median([durations_ms[run] for run in counted]))
    return [run for run in sorted(counted) if durations_ms[run] <= limit]


def _mean_latencies_ms(means: NDArray[np.float64], chosen: Sequence[int]) -> NDArray[np.float64]:
    """Mean of each kernel's time over the chosen runs, shape (kernels,).

    ``means`` are those told after each run, in microseconds, shape (runs, kernels).
    """
    runs = np.arange(1, len(means) + 1)[:, None]
    # A mean of n whole numbers, cut off, was (n - 1) / 2n larger on average.
    sums = np.where(means.any(axis=0), means * runs + (runs - 1) / 2, 0.0)
    each = np.diff(sums, axis=0, prepend=0.0)
    average: NDArray[np.float64] = each[chosen].mean(axis=0) + 0.5
    return np.maximum(average, 0.0) / 1000


def _kernel(
    node: str, layer: Any, operators: Mapping[str, Operator], outputs: Mapping[str, str]
) -> KernelTime:
    """The kernel of a node of the compiled model, without its place and its time."""
    info = layer.get_rt_info()
    layer_type = str(info["layerType"].astype(str))
    merged = str(info["originalLayersNames"].astype(str)).split(",")
    plain = [outputs.get(name, name) for name in (name.split(_SPLIT)[0] for name in merged)]
    names = tuple(dict.fromkeys(name for name in plain if name in operators))
    most = max((operators[name] for name in names), key=lambda op: op.macs, default=None)
    if most is None or (layer_type == "Eltwise" and most.macs):  # a bias on its own
        kind = _KINDS.get(layer_type, layer_type.lower())
    else:
        kind = most.kind
    return KernelTime(
        position=0,
        kind=kind,
        name=names[0] if names else node,
        operators=names,
        latency_ms=0.0,
        input_shapes=tuple(_shape(port) for port in layer.inputs()),
        output_shapes=tuple(_shape(port) for port in layer.outputs()),
    )


def _shape(port: Any) -> Shape:
    return tuple(int(size) for size in port.get_partial_shape().to_shape())
