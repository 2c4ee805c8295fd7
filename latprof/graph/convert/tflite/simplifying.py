"""A TFLite graph made smaller: constants into convolutions, activations fused, nothing unread.

What TensorFlow's own converter does with the same network, so that the same kernels run.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.convert.tflite.flat_operator import FLOAT32
from latprof.graph.convert.tflite.flat_schema import NO_ACTIVATION, RELU, RELU6

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.convert.tflite.flat_graph import FlatGraph, FlatOperator

#: By kind, the axis of the kernel that holds the output's channels.
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
_FUSING = frozenset({*_CHANNEL_AXIS, "ADD", "SUB", "MUL", "DIV", "TRANSPOSE_CONV"})
_ACTIVATIONS = {"RELU": RELU, "RELU6": RELU6}


def simplify(graph: FlatGraph) -> None:
    """Simplify a graph in place; it computes the same."""
    _merge_equal(graph)
    _drop_unread(graph)
    _fold_constants(graph)
    _fuse_activations(graph)
    _read_unflattened(graph)
    _drop_unread(graph)


def _reads(graph: FlatGraph) -> Counter[int]:
    """How often each tensor is read; what the graph gives out counts too."""
    reads = Counter(graph.outputs)
    for operator in graph.operators:
        reads.update(operator.inputs)
    return reads


def _merge_equal(graph: FlatGraph) -> None:
    """Operators that compute the same from the same tensors run once."""
    known: dict[tuple[Any, ...], list[int]] = {}
    same: dict[int, int] = {}
    kept = []
    for operator in graph.operators:
        operator.inputs = [same.get(tensor, tensor) for tensor in operator.inputs]
        key = (operator.kind, *operator.inputs, *sorted(operator.options.items()))
        before = known.setdefault(key, operator.outputs)
        if before is operator.outputs or set(operator.outputs) & set(graph.outputs):
            kept.append(operator)
        else:
            same.update(zip(operator.outputs, before, strict=True))
    graph.operators = kept


def _fold_constants(graph: FlatGraph) -> None:
    """Products and sums with a constant a channel, into the convolution before them."""
    reads, kept = _reads(graph), []
    writers = {out: operator for operator in graph.operators for out in operator.outputs}
    for operator in graph.operators:
        before = writers.get(operator.inputs[0]) if operator.inputs else None
        if (
            before is not None
            and operator.kind in ("ADD", "MUL", "SUB")
            and before.kind in _CHANNEL_AXIS
            and reads[operator.inputs[0]] == 1
            and _fold(graph, before, operator)
        ):
            before.outputs = operator.outputs
            writers[operator.outputs[0]] = before
        else:
            kept.append(operator)
    graph.operators = kept


def _fold(graph: FlatGraph, before: FlatOperator, operator: FlatOperator) -> bool:
    """Fold one operator into the convolution before it, where that can be done."""
    kernel, bias, other = (
        graph.tensors[number] for number in (*before.inputs[1:3], operator.inputs[1])
    )
    if kernel.data is None or bias.data is None or other.data is None:
        return False
    shape = graph.tensors[operator.outputs[0]].shape
    fits = other.data.size in (1, bias.data.size) and other.dtype == FLOAT32
    last = other.shape[-1:] in ((), (1,), bias.shape) and other.data.size in (1, *other.shape[-1:])
    same = shape == graph.tensors[before.outputs[0]].shape
    if before.options.get("activation", NO_ACTIVATION) != NO_ACTIVATION or not (
        fits and last and same
    ):
        return False
    values = np.broadcast_to(other.data.reshape(-1), bias.shape)
    if operator.kind == "MUL":
        along = [1] * kernel.data.ndim
        along[_CHANNEL_AXIS[before.kind]] = -1
        before.inputs[1] = graph.constant(kernel.data * values.reshape(along), weight=True)
        new = bias.data * values
    else:
        new = bias.data + values if operator.kind == "ADD" else bias.data - values
    before.inputs[2] = graph.constant(_exact(new), weight=True)
    return True


def _exact(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(FLOAT32, copy=False)


def _fuse_activations(graph: FlatGraph) -> None:
    """ReLU and ReLU6 into the operator before them."""
    reads, kept = _reads(graph), []
    writers: dict[int, FlatOperator] = {}
    for operator in graph.operators:
        before = writers.get(operator.inputs[0]) if operator.inputs else None
        if (
            operator.kind in _ACTIVATIONS
            and before is not None
            and before.kind in _FUSING
            and reads[operator.inputs[0]] == 1
            and not before.options.get("activation")
            and graph.tensors[before.outputs[0]].dtype == FLOAT32
        ):
            before.options["activation"] = _ACTIVATIONS[operator.kind]
            before.outputs = operator.outputs
            writers[operator.outputs[0]] = before
        else:
            writers.update(dict.fromkeys(operator.outputs, operator))
            kept.append(operator)
    graph.operators = kept


def _read_unflattened(graph: FlatGraph) -> None:
    """Dense layers read what is flattened before them as it is: they flatten it themselves."""
    writers = {out: operator for operator in graph.operators for out in operator.outputs}
    for operator in graph.operators:
        if operator.kind != "FULLY_CONNECTED":
            continue
        before = writers.get(operator.inputs[0])
        flat = len(graph.tensors[operator.inputs[0]].shape) == 2
        if before is None or before.kind != "RESHAPE" or not flat:
            continue
        shape = graph.tensors[before.inputs[0]].shape
        if shape and shape[-1] == graph.tensors[operator.inputs[0]].shape[-1]:
            operator.inputs[0] = before.inputs[0]
            operator.options.pop("keep_num_dims", None)


def _drop_unread(graph: FlatGraph) -> None:
    """Leave out operators whose results nobody reads, and number the tensors anew."""
    needed, kept = set(graph.outputs), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            kept.append(operator)
    graph.operators = kept[::-1]
    written = {out for operator in graph.operators for out in operator.outputs}
    used = sorted((needed | written | set(graph.inputs)) - {-1})
    numbers = {old: new for new, old in enumerate(used)}
    graph.tensors = [graph.tensors[old] for old in used]
    for operator in graph.operators:
        operator.inputs = [numbers.get(tensor, -1) for tensor in operator.inputs]
        operator.outputs = [numbers[tensor] for tensor in operator.outputs]
    graph.inputs = [numbers[tensor] for tensor in graph.inputs]
    graph.outputs = [numbers[tensor] for tensor in graph.outputs]
