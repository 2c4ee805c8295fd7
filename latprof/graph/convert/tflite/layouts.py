"""Values of an ONNX graph as tensors of TFLite's, whose axes may lie in another order.

TFLite reads images channels-last, ONNX writes them channels-first. Each value here remembers in
which order its tensor holds its axes, so that ONNX's transposes cost nothing and a tensor is
transposed only where an operator cannot work on it as it lies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latprof.errors import UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.convert.tflite.flat_graph import FlatGraph
    from latprof.graph.operators import Shape

#: Position k of the tensor's axes holds the value's axis ``order[k]``.
Order: TypeAlias = tuple[int, ...]

#: Largest number of dimensions that TFLite's kernels transpose.
_MOST_TRANSPOSED = 6
_INT32 = np.iinfo(np.int32)


@dataclass
class FlatValue:
    """A value of an ONNX graph: constant (``data``), or a tensor with its axes in an order.

    ``shape`` is ONNX's.
    """

    shape: Shape
    dtype: np.dtype[Any]
    order: Order
    tensor: int = -1
    data: NDArray[Any] | None = None

    @property
    def constant(self) -> bool:
        """Whether it is the same in every run."""
        return self.data is not None

    @property
    def stored_shape(self) -> Shape:
        """The tensor's own shape."""
        return stored(self.shape, self.order)


def identity(rank: int) -> Order:
    """ONNX's own order of axes."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """Batch, sides, channels; ONNX's own order below three dimensions."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def stored(shape: Sequence[int], order: Order) -> Shape:
    """A shape with its axes in an order."""
    return tuple(shape[axis] for axis in order)


def constant_value(data: NDArray[Any]) -> FlatValue:
    """A constant, with its axes as they are."""
    return FlatValue(data.shape, data.dtype, identity(data.ndim), data=data)


def in_order(graph: FlatGraph, value: FlatValue, order: Order, *, weight: bool = False) -> int:
    """The tensor of a value with its axes in an order; transposed where it lies in another."""
    if value.data is not None:
        return graph.constant(plain(value.data.transpose(order)), weight=weight)
    if value.order == order:
        return value.tensor
    shape = stored(value.shape, order)
    before, after = ([a for a in o if value.shape[a] != 1] for o in (value.order, order))
    if before == after:
        return graph.reshaped(value.tensor, shape)
    moves = tuple(value.order.index(axis) for axis in order)
    if len(order) > _MOST_TRANSPOSED:
        raise UnsupportedModelError(
            f"TFLite cannot transpose a value of {len(order)} dimensions",
            expected=f"at most {_MOST_TRANSPOSED}",
        )
    return graph.transposed(value.tensor, moves)


def plain(data: NDArray[Any]) -> NDArray[Any]:
    """A constant in a type that is written: 64-bit integers become 32-bit ones."""
    if data.dtype.name in ("int64", "uint32", "uint64"):
        return np.asarray(np.clip(data, _INT32.min, _INT32.max), np.int32)
    if data.dtype.name in ("float64", "float16"):
        raise UnsupportedModelError(f"the TFLite writer has no translation of {data.dtype}")
    return data


def transposed(value: FlatValue, permutation: Sequence[int]) -> FlatValue:
    """ONNX's Transpose: nothing moves."""
    if value.data is not None:
        return constant_value(value.data.transpose(permutation))
    place = {axis: new for new, axis in enumerate(permutation)}
    order = tuple(place[axis] for axis in value.order)
    return FlatValue(stored(value.shape, tuple(permutation)), value.dtype, order, value.tensor)


def reshaped(graph: FlatGraph, value: FlatValue, shape: Sequence[int]) -> FlatValue:
    """ONNX's Reshape; transposed before only where axes are joined that do not lie together."""
    new = tuple(int(size) for size in shape)
    if value.data is not None:
        return constant_value(value.data.reshape(new))
    groups = _groups(value.shape, new)
    holder = {axis: position for position, (axes, _) in enumerate(groups) for axis in axes}
    lying = [axis for axis in value.order if value.shape[axis] != 1]
    # A group stands where its last axis lies: what is read in a row is moved as little as can be.
    sequence = list(dict.fromkeys(holder[axis] for axis in reversed(lying)))[::-1]
    wanted = [axis for position in sequence for axis in groups[position][0]]
    if wanted != lying:
        ones = [axis for axis in value.order if value.shape[axis] == 1]
        order = tuple(ones + wanted)
        tensor = in_order(graph, value, order)
    else:
        tensor = value.tensor
    after = [axis for position in sequence for axis in groups[position][1]]
    order = _with_ones(after, new)
    return FlatValue(new, value.dtype, order, graph.reshaped(tensor, stored(new, order)))


def _groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes, without those of size 1, that a reshape turns into each other."""
    old = [axis for axis, size in enumerate(before) if size != 1]
    new = [axis for axis, size in enumerate(after) if size != 1]
    groups = []
    while old:
        left, right = [old.pop(0)], [new.pop(0)]
        while (here := math.prod(before[a] for a in left)) != (
            there := math.prod(after[a] for a in right)
        ):
            if here < there:
                left.append(old.pop(0))
            else:
                right.append(new.pop(0))
        groups.append((left, right))
    return groups


def _with_ones(sequence: Sequence[int], shape: Shape) -> Order:
    """An order of all axes in which those of other sizes than 1 are in a sequence."""
    for order in (identity(len(shape)), channels_last(len(shape))):
        if [axis for axis in order if shape[axis] != 1] == list(sequence):
            return order
    return (*(axis for axis, size in enumerate(shape) if size == 1), *sequence)


def aligned(graph: FlatGraph, values: Sequence[FlatValue]) -> tuple[list[int], Shape, Order]:
    """Tensors that broadcast against each other, the shape of the result and its order.

    The order is that of the largest value that is not constant; the others follow it.
    """
    shape = np.broadcast_shapes(*(value.shape for value in values))
    given = [value for value in values if value.data is None]
    leader = max(given, key=lambda value: (len(value.shape), math.prod(value.shape)))
    order = _extended(leader, len(shape))
    return [_broadcast(graph, value, order) for value in values], shape, order


def _extended(value: FlatValue, rank: int) -> Order:
    """The order of a value with axes of size 1 before its own."""
    more = rank - len(value.shape)
    return (*range(more), *(axis + more for axis in value.order))


def _broadcast(graph: FlatGraph, value: FlatValue, order: Order) -> int:
    rank = len(order)
    more = rank - len(value.shape)
    if value.data is not None:
        data = value.data.reshape((1,) * more + value.shape).transpose(order)
        while data.ndim and data.shape[0] == 1:
            data = data[0]
        return graph.constant(plain(data))
    if _extended(value, rank) == order:
        return value.tensor
    own = _extended(value, rank)
    shape = (1,) * more + value.shape
    widened = graph.reshaped(value.tensor, stored(shape, own))
    return in_order(graph, FlatValue(shape, value.dtype, own, widened), order)
