"""Matrix products, reductions and normalisations in TFLite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.graph.convert.tflite.flat_operator import FLOAT32, INT32, FlatNode
from latprof.graph.convert.tflite.layouts import (
    FlatValue,
    constant_value,
    plain,
    reshaped,
    stored,
    transposed,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.graph.convert.tflite.rules.element_rules import Rule

#: Largest number of dimensions of TFLite's products of many matrices.
_MOST_DIMENSIONS = 5


def gemm(op: FlatNode) -> FlatValue:
    """Gemm: FULLY_CONNECTED, with its factors in the weights where these are constant."""
    a, b, c = op.input(0), op.input(1), op.optional(2)
    op.require_float(a, b)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise op.unsupported("multiplies what are no matrices")
    alpha, beta = float(op.attribute("alpha", 1.0)), float(op.attribute("beta", 1.0))
    a = transposed(a, (1, 0)) if op.attribute("transA", 0) else a
    b = transposed(b, (1, 0)) if op.attribute("transB", 0) else b
    if c is not None and beta != 1.0:
        c = _scaled(op, c, beta)
    if alpha != 1.0:
        b = _scaled(op, b, alpha)
    out = b.shape[1]
    if b.data is not None and c is not None and c.data is not None and c.data.size == out:
        return _fully_connected(op, a, b.data, c.data.reshape(-1))
    product = _product(op, a, b)
    return product if c is None else op.combined("ADD", product, c)


def _scaled(op: FlatNode, value: FlatValue, factor: float) -> FlatValue:
    if value.data is not None:
        return constant_value(value.data * np.float32(factor))
    return op.combined("MUL", value, factor)


def matmul(op: FlatNode) -> FlatValue:
    """MatMul of matrices, vectors, and stacks of matrices that broadcast."""
    a, b = op.input(0), op.input(1)
    op.require_float(a, b)
    if not a.shape or not b.shape:
        raise op.unsupported("multiplies single numbers")
    left, right = len(a.shape) == 1, len(b.shape) == 1
    a = reshaped(op.graph, a, (1, *a.shape)) if left else a
    b = reshaped(op.graph, b, (*b.shape, 1)) if right else b
    product = _product(op, a, b)
    if not (left or right):
        return product
    shape = list(product.shape)
    if right:
        del shape[-1]
    if left:
        del shape[-1 if right else -2]
    return reshaped(op.graph, product, shape)


def _product(op: FlatNode, a: FlatValue, b: FlatValue) -> FlatValue:
    if a.shape[-1] != b.shape[-2]:
        raise op.unsupported("multiplies matrices that do not fit")
    if (
        b.data is not None
        and all(size == 1 for size in b.shape[:-2])
        and len(b.shape) <= len(a.shape)
    ):
        return _fully_connected(op, a, b.data.reshape(b.shape[-2:]), None)
    if a.data is not None and len(a.shape) == 2 and b.data is None:
        moves = (*range(len(b.shape) - 2), len(b.shape) - 1, len(b.shape) - 2)
        return transposed(_fully_connected(op, transposed(b, moves), a.data.T, None), moves)
    return _batch_matmul(op, a, b)


def _fully_connected(
    op: FlatNode, a: FlatValue, weight: NDArray[Any], bias: NDArray[Any] | None
) -> FlatValue:
    """A product with a constant matrix (rows in, columns out) along the last axis."""
    last, out = len(a.shape) - 1, weight.shape[1]
    order = (*(axis for axis in a.order if axis != last), last)
    shape = (*a.shape[:-1], out)
    inputs = [op.tensor(a, order), op.graph.constant(weight.T, weight=True)]
    if bias is None:
        inputs.append(op.graph.constant(np.zeros(out, FLOAT32)))
    else:
        inputs.append(op.graph.constant(bias, weight=True))
    tensor = op.graph.emit("FULLY_CONNECTED", inputs, stored(shape, order), keep_num_dims=1)
    return op.made(tensor, shape, order)


def _batch_matmul(op: FlatNode, a: FlatValue, b: FlatValue) -> FlatValue:
    rank = max(len(a.shape), len(b.shape))
    if rank > _MOST_DIMENSIONS:
        raise op.unsupported(f"multiplies stacks of {rank} dimensions")
    a, b = (
        reshaped(op.graph, v, (1,) * (rank - len(v.shape)) + v.shape) if len(v.shape) < rank else v
        for v in (a, b)
    )
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise op.unsupported("multiplies stacks that do not fit") from None
    leader = a if a.data is None else b
    stack = tuple(axis for axis in leader.order if axis < rank - 2)
    rows, columns = rank - 2, rank - 1
    swapped = b.data is None and b.order.index(columns) < b.order.index(rows)
    inputs = [
        op.tensor(a, (*stack, rows, columns)),
        op.tensor(b, (*stack, columns, rows) if swapped else (*stack, rows, columns)),
    ]
    shape, order = (*batch, a.shape[-2], b.shape[-1]), (*stack, rows, columns)
    options = {"adj_y": 1} if swapped else {}
    tensor = op.graph.emit("BATCH_MATMUL", inputs, stored(shape, order), **options)
    return op.made(tensor, shape, order)


def softmax(op: FlatNode) -> FlatValue:
    """Softmax and LogSoftmax along an axis, which is brought to the end."""
    value, kind = op.input(0), "SOFTMAX" if op.op_type == "Softmax" else "LOG_SOFTMAX"
    op.require_float(value)
    rank = len(value.shape)
    axis = op.axis(op.attribute("axis", -1 if op.opset >= 13 else 1), rank)
    if op.opset < 13 and axis != rank - 1:  # over all axes from this one on
        first = int(np.prod(value.shape[:axis], dtype=np.int64))
        flat = reshaped(op.graph, value, (first, int(np.prod(value.shape[axis:]))))
        return reshaped(op.graph, _softmax(op, kind, flat, 1), value.shape)
    return _softmax(op, kind, value, axis)


def _softmax(op: FlatNode, kind: str, value: FlatValue, axis: int) -> FlatValue:
    order = (*(a for a in value.order if a != axis), axis)
    options = {"beta": 1.0} if kind == "SOFTMAX" else {}
    shape = stored(value.shape, order)
    return op.made(
        op.graph.emit(kind, [op.tensor(value, order)], shape, **options), value.shape, order
    )


def _reduced(
    op: FlatNode, kind: str, value: FlatValue, axes: Sequence[int], *, keep: bool
) -> FlatValue:
    """A reduction over axes, which stay with size 1 or go."""
    places = sorted(value.order.index(axis) for axis in axes)
    if keep:
        shape = [1 if axis in axes else size for axis, size in enumerate(value.shape)]
        order = value.order
    else:
        left = [axis for axis in range(len(value.shape)) if axis not in axes]
        shape = [value.shape[axis] for axis in left]
        order = tuple(left.index(axis) for axis in value.order if axis in left)
    inputs = [op.tensor(value), op.integers(places)]
    tensor = op.graph.emit(kind, inputs, stored(shape, order), keep_dims=int(keep))
    return op.made(tensor, shape, order)


def _axes(op: FlatNode, value: FlatValue) -> list[int]:
    given = op.numbers(1, "axes")
    rank = len(value.shape)
    if not given:
        return [] if op.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({op.axis(axis, rank) for axis in given})


def _reduce(
    kind: str, before: str | None = None, after: str | None = None, *, any_type: bool = False
) -> Rule:
    """A reduction, after an operator of each element and before another."""

    def rule(op: FlatNode) -> FlatValue:
        value = op.input(0)
        if not any_type:
            op.require_float(value)
        axes = _axes(op, value)
        if before:
            value = op.unary(before, value)
        if axes:
            value = _reduced(op, kind, value, axes, keep=bool(op.attribute("keepdims", 1)))
        return op.unary(after, value) if after else value

    return rule


def log_sum_exp(op: FlatNode) -> FlatValue:
    """ReduceLogSumExp, so that no exponential overflows."""
    value = op.input(0)
    op.require_float(value)
    axes = _axes(op, value)
    largest = _reduced(op, "REDUCE_MAX", value, axes, keep=True)
    total = _reduced(
        op, "SUM", op.unary("EXP", op.combined("SUB", value, largest)), axes, keep=True
    )
    result = op.combined("ADD", op.unary("LOG", total), largest)
    if op.attribute("keepdims", 1):
        return result
    return reshaped(op.graph, result, [s for a, s in enumerate(value.shape) if a not in axes])


def global_pool(kind: str) -> Rule:
    """A reduction of an image's sides."""

    def rule(op: FlatNode) -> FlatValue:
        value = op.input(0)
        op.require_float(value)
        if len(value.shape) < 3:
            raise op.unsupported("works on what is no image")
        return _reduced(op, kind, value, range(2, len(value.shape)), keep=True)

    return rule


def extreme_place(kind: str) -> Rule:
    """ArgMax or ArgMin, the first place where there are several."""

    def rule(op: FlatNode) -> FlatValue:
        value = op.input(0)
        op.require_float(value)
        axis = op.axis(op.attribute("axis", 0), len(value.shape))
        if op.attribute("select_last_index", 0):
            raise op.unsupported("gives the last of several places")
        left = [a for a in range(len(value.shape)) if a != axis]
        shape = [value.shape[a] for a in left]
        order = tuple(left.index(a) for a in value.order if a != axis)
        place = op.graph.constant(np.array(value.order.index(axis), np.int32))
        inputs = [op.tensor(value), place]
        tensor = op.graph.emit(kind, inputs, stored(shape, order), INT32, output_type=2)
        found = op.made(tensor, shape, order)
        if not op.attribute("keepdims", 1):
            return found
        kept = [1 if a == axis else size for a, size in enumerate(value.shape)]
        return reshaped(op.graph, found, kept)

    return rule


def batch_norm(op: FlatNode) -> FlatValue:
    """BatchNormalization: a product and a sum, which fold into a convolution before them."""
    value = op.input(0)
    op.require_float(value)
    if op.attribute("training_mode", 0) or any(op.output_names[1:]):
        raise op.unsupported("is in training mode")
    parts = [op.given_constant(i).astype(np.float64) for i in range(1, 5)]
    channels = value.shape[1] if len(value.shape) > 1 else -1
    if any(part.shape != (channels,) for part in parts):
        raise op.unsupported("has parameters that do not fit its input")
    scale, shift, average, variance = parts
    factor = scale / np.sqrt(variance + op.attribute("epsilon", 1e-5))
    shape = (channels, *(1,) * (len(value.shape) - 2))
    scaled = op.combined("MUL", value, _constant(factor, shape))
    return op.combined("ADD", scaled, _constant(shift - average * factor, shape))


def _constant(values: NDArray[Any], shape: Sequence[int]) -> FlatValue:
    return constant_value(values.astype(FLOAT32).reshape(tuple(shape)))


def _normalized(
    op: FlatNode, value: FlatValue, axes: Sequence[int], epsilon: float, *, centred: bool = True
) -> FlatValue:
    """Zero mean and unit variance over axes."""
    if centred:
        value = op.combined("SUB", value, _reduced(op, "MEAN", value, axes, keep=True))
    variance = _reduced(op, "MEAN", op.unary("SQUARE", value), axes, keep=True)
    return op.combined("MUL", value, op.unary("RSQRT", op.combined("ADD", variance, epsilon)))


def layer_norm(op: FlatNode) -> FlatValue:
    """LayerNormalization and RMSNormalization, their first output."""
    value = op.input(0)
    op.require_float(value)
    if any(op.output_names[1:]):
        raise op.unsupported("gives its mean and deviation")
    rank = len(value.shape)
    axes = range(op.axis(op.attribute("axis", -1), rank), rank)
    epsilon = float(op.attribute("epsilon", 1e-5))
    centred = op.op_type == "LayerNormalization"
    result = _normalized(op, value, axes, epsilon, centred=centred)
    result = op.combined("MUL", result, op.input(1))
    shift = op.optional(2)
    return result if shift is None else op.combined("ADD", result, shift)


def instance_norm(op: FlatNode) -> FlatValue:
    """InstanceNormalization."""
    value = op.input(0)
    op.require_float(value)
    rank = len(value.shape)
    result = _normalized(op, value, range(2, rank), float(op.attribute("epsilon", 1e-5)))
    return _by_channel(op, result)


def group_norm(op: FlatNode) -> FlatValue:
    """GroupNormalization."""
    value, groups = op.input(0), op.attribute("num_groups", 0)
    op.require_float(value)
    batch, channels, *sides = value.shape
    if groups < 1 or channels % groups:
        raise op.unsupported("has groups that do not fit its input")
    split = reshaped(op.graph, value, (batch, groups, channels // groups, *sides))
    axes = range(2, len(split.shape))
    result = _normalized(op, split, axes, float(op.attribute("epsilon", 1e-5)))
    each = op.given_constant(1).size == groups != channels
    if not each:
        return _by_channel(op, reshaped(op.graph, result, value.shape))
    return reshaped(op.graph, _by_channel(op, result), value.shape)


def _by_channel(op: FlatNode, value: FlatValue) -> FlatValue:
    """Scale and shift of the second axis."""
    shape = (-1, *(1,) * (len(value.shape) - 2))
    for position, kind in ((1, "MUL"), (2, "ADD")):
        factor = op.given_constant(position).reshape(shape)
        value = op.combined(kind, value, constant_value(plain(factor)))
    return value


def lp_norm(op: FlatNode) -> FlatValue:
    """LpNormalization of the first two orders."""
    value, order = op.input(0), op.attribute("p", 2)
    op.require_float(value)
    axes = [op.axis(op.attribute("axis", -1), len(value.shape))]
    if order not in (1, 2):
        raise op.unsupported(f"normalises by order {order}")
    sizes = op.unary("ABS" if order == 1 else "SQUARE", value)
    total = _reduced(op, "SUM", sizes, axes, keep=True)
    return op.combined("DIV", value, op.unary("SQRT", total) if order == 2 else total)


def einsum(op: FlatNode) -> FlatValue:
    """Einsum of two values without repeated letters, as a product of stacks of matrices."""
    equation = str(op.attribute("equation", "")).replace(" ", "")
    terms, arrow, result = equation.partition("->")
    letters = terms.split(",")
    whole = "".join(letters) + result
    if not arrow or len(letters) != 2 or len(op.values) != 2 or (not whole.isalpha() and whole):
        raise op.unsupported(f"computes {equation!r}, which has no translation")
    if any(len(set(term)) != len(term) for term in (*letters, result)):
        raise op.unsupported(f"computes {equation!r}, which has no translation")
    left, right = letters
    a, b = op.input(0), op.input(1)
    if len(left) != len(a.shape) or len(right) != len(b.shape):
        raise op.unsupported("has an equation that does not fit its inputs")
    stack = [x for x in left if x in right and x in result]
    summed = [x for x in left if x in right and x not in result]
    rows = [x for x in left if x not in right]
    columns = [x for x in right if x not in left]
    if set(rows + columns) - set(result) or set(result) - set(left + right):
        raise op.unsupported(f"computes {equation!r}, which has no translation")
    sizes = dict(zip(left + right, a.shape + b.shape, strict=True))
    size = functools.partial(_product_of, sizes)
    shape = tuple(sizes[x] for x in stack)
    a = transposed(a, [left.index(x) for x in (*stack, *rows, *summed)])
    b = transposed(b, [right.index(x) for x in (*stack, *summed, *columns)])
    a = reshaped(op.graph, a, (*shape, size(rows), size(summed)))
    b = reshaped(op.graph, b, (*shape, size(summed), size(columns)))
    product = _product(op, a, b)
    found = [*stack, *rows, *columns]
    product = reshaped(op.graph, product, [sizes[x] for x in found])
    return transposed(product, [found.index(x) for x in result])


def _product_of(sizes: dict[str, int], letters: Sequence[str]) -> int:
    return int(np.prod([sizes[letter] for letter in letters], dtype=np.int64))


PRODUCT_RULES: dict[str, Callable[[FlatNode], FlatValue | list[FlatValue]]] = {
    "ArgMax": extreme_place("ARG_MAX"),
    "ArgMin": extreme_place("ARG_MIN"),
    "BatchNormalization": batch_norm,
    "Einsum": einsum,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool("MEAN"),
    "GlobalMaxPool": global_pool("REDUCE_MAX"),
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LogSoftmax": softmax,
    "LpNormalization": lp_norm,
    "MatMul": matmul,
    "RMSNormalization": layer_norm,
    "ReduceL1": _reduce("SUM", "ABS"),
    "ReduceL2": _reduce("SUM", "SQUARE", "SQRT"),
    "ReduceLogSum": _reduce("SUM", None, "LOG"),
    "ReduceLogSumExp": log_sum_exp,
    "ReduceMax": _reduce("REDUCE_MAX", any_type=True),
    "ReduceMean": _reduce("MEAN"),
    "ReduceMin": _reduce("REDUCE_MIN", any_type=True),
    "ReduceProd": _reduce("REDUCE_PROD"),
    "ReduceSum": _reduce("SUM", any_type=True),
    "ReduceSumSquare": _reduce("SUM", "SQUARE"),
    "Softmax": softmax,
}
