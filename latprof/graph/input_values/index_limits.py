"""Operators that take indices or lengths, and which ones: what the indices may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from latprof.graph.operators import Shape


class KnownValues(Protocol):
    """What is known of a graph's values."""

    def dims(self, name: str) -> Shape | None:
        """A value's shape."""
        ...

    def constant(self, name: str) -> NDArray[Any] | None:
        """A small constant's values."""
        ...


#: Least and largest value of an input; None for no limit.
Limits: TypeAlias = tuple[int, int | None]
_NONE: Limits = (0, None)
_Limit: TypeAlias = Callable[[KnownValues, "onnx.NodeProto"], Limits]


def largest_index(values: KnownValues, node: onnx.NodeProto, position: int) -> Limits:
    """Least and largest value of an operator's input at ``position``."""
    limit = _LIMITS.get((node.op_type, position))
    return _NONE if limit is None else limit(values, node)


def _attribute(node: onnx.NodeProto, name: str, otherwise: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), otherwise)


def _size(values: KnownValues, node: onnx.NodeProto, position: int, axis: int) -> int | None:
    """The size of an input's dimension; None where it is not known or 0."""
    dims = values.dims(node.input[position]) if position < len(node.input) else None
    if dims is None or not -len(dims) <= axis < len(dims):
        return None
    return dims[axis] or None


def _below(position: int, attribute: str = "", axis: int = 0) -> _Limit:
    """Indices of a dimension of the input at ``position``: ``axis``, or what an attribute says."""

    def limit(values: KnownValues, node: onnx.NodeProto) -> Limits:
        size = _size(values, node, position, _attribute(node, attribute, axis))
        return _NONE if size is None else (0, size - 1)

    return limit


def _up_to(attribute: str, axis: int) -> _Limit:
    """Numbers of entries along a dimension of the first input: at least one."""

    def limit(values: KnownValues, node: onnx.NodeProto) -> Limits:
        size = _size(values, node, 0, _attribute(node, attribute, axis))
        return _NONE if size is None else (1, size)

    return limit


def _below_each(values: KnownValues, node: onnx.NodeProto) -> Limits:
    """Indices of several dimensions of the first input at once, as of GatherND."""
    dims, places = values.dims(node.input[0]), values.dims(node.input[1])
    first = _attribute(node, "batch_dims", 0)
    if not dims:
        return _NONE
    indexed = dims[first : first + places[-1]] if places else dims[first:]
    return (0, min(indexed) - 1) if indexed and min(indexed) > 0 else _NONE


def _below_depth(values: KnownValues, node: onnx.NodeProto) -> Limits:
    depth = values.constant(node.input[1])
    return _NONE if depth is None or depth.max() < 1 else (0, int(depth.max()) - 1)


_LIMITS: Mapping[tuple[str, int], _Limit] = {
    ("Gather", 1): _below(0, "axis"),
    ("GatherElements", 1): _below(0, "axis"),
    ("GatherND", 1): _below_each,
    ("Scatter", 1): _below(0, "axis"),
    ("ScatterElements", 1): _below(0, "axis"),
    ("ScatterND", 1): _below_each,
    ("TensorScatter", 2): _below(0, "axis", -2),
    ("OneHot", 0): _below_depth,
    ("ArrayFeatureExtractor", 1): _below(0, axis=-1),
    ("NegativeLogLikelihoodLoss", 1): _below(0, axis=1),
    ("SoftmaxCrossEntropyLoss", 1): _below(0, axis=1),
    ("TopK", 1): _up_to("axis", -1),
    ("ReverseSequence", 1): _up_to("time_axis", 0),
    **{(op_type, 4): _up_to("", 0) for op_type in ("LSTM", "GRU", "RNN")},
    # of com.microsoft, and what torch exports as its own
    ("EmbedLayerNormalization", 0): _below(2),
    ("EmbedLayerNormalization", 1): _below(4),
    ("QEmbedLayerNormalization", 0): _below(2),
    ("QEmbedLayerNormalization", 1): _below(4),
    ("GatherBlockQuantized", 1): _below(0, "gather_axis"),
    ("RotaryEmbedding", 1): _below(2),
    ("RotaryEmbedding", 3): _below(1),
    ("ATen", 1): _below(0),
}
