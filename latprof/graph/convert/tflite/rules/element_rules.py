"""Operators of single elements in TFLite: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from latprof.graph.convert.tflite.flat_operator import BOOL, FLOAT32, INT32, FlatNode
from latprof.graph.convert.tflite.flat_schema import TYPE_CODES
from latprof.graph.convert.tflite.layouts import FlatValue, constant_value, plain

Rule: TypeAlias = Callable[[FlatNode], FlatValue | list[FlatValue]]

#: Coefficients of Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_SLOPE = 0.3275911


def unary(kind: str, *, any_type: bool = False, **options: float) -> Rule:
    """One operator of one value, of float32 unless any type will do."""

    def rule(op: FlatNode) -> FlatValue:
        value = op.input(0)
        if not any_type:
            op.require_float(value)
        return op.unary(kind, value, **options)

    return rule


def binary(kind: str, dtype: np.dtype[np.bool_] | None = None) -> Rule:
    """One operator of two values that broadcast."""

    def rule(op: FlatNode) -> FlatValue:
        return op.combined(kind, op.input(0), op.input(1), dtype=dtype)

    return rule


def several(kind: str) -> Rule:
    """An operator of any number of values, two by two."""

    def rule(op: FlatNode) -> FlatValue:
        return functools.reduce(functools.partial(op.combined, kind), op.values)

    return rule


def mean(op: FlatNode) -> FlatValue:
    """Mean of several values."""
    total = functools.reduce(functools.partial(op.combined, "ADD"), op.values)
    return op.combined("MUL", total, 1 / len(op.values))


def multiply(op: FlatNode) -> FlatValue:
    """Mul; a product with zeros is zeros, as TensorFlow's converter has it."""
    left, right = op.input(0), op.input(1)
    if any(v.data is not None and v.dtype == FLOAT32 and not v.data.any() for v in (left, right)):
        shape = np.broadcast_shapes(left.shape, right.shape)
        return constant_value(np.broadcast_to(np.zeros((), FLOAT32), shape))
    return op.combined("MUL", left, right)


def add(op: FlatNode) -> FlatValue:
    """Add; zeros that change nothing are left out."""
    left, right = op.input(0), op.input(1)
    for value, other in ((left, right), (right, left)):
        same = np.broadcast_shapes(value.shape, other.shape) == value.shape
        if same and value.data is None and other.data is not None and not other.data.any():
            return value
    return op.combined("ADD", left, right)


def divide(op: FlatNode) -> FlatValue:
    """Div; whole numbers are not divided."""
    op.require_float(op.input(0), op.input(1))
    return op.combined("DIV", op.input(0), op.input(1))


def power(op: FlatNode) -> FlatValue:
    """Pow; squares and square roots are operators of their own."""
    base, exponent = op.input(0), op.input(1)
    op.require_float(base)
    if exponent.data is not None and exponent.data.size == 1 and base.data is None:
        known = {2.0: "SQUARE", 0.5: "SQRT"}.get(float(exponent.data.reshape(())))
        if known and len(exponent.shape) <= len(base.shape):
            return op.unary(known, base)
        if exponent.dtype != FLOAT32:
            exponent = constant_value(exponent.data.astype(FLOAT32))
    return op.combined("POW", base, exponent)


def reciprocal(op: FlatNode) -> FlatValue:
    """Reciprocal."""
    op.require_float(op.input(0))
    return op.combined("DIV", 1.0, op.input(0))


def clip(op: FlatNode) -> FlatValue:
    """Clip: ReLU and ReLU6 where the bounds are theirs."""
    value = op.input(0)
    if op.opset < 11:
        low, high = op.attribute("min"), op.attribute("max")
    else:
        low, high = (None if (b := op.constant(i)) is None else b.item() for i in (1, 2))
    floating = value.dtype == FLOAT32
    if low is not None and floating and low <= np.finfo(FLOAT32).min:
        low = None
    if high is not None and floating and high >= np.finfo(FLOAT32).max:
        high = None
    if floating and low == 0 and high in (None, 6.0):
        return op.unary("RELU" if high is None else "RELU6", value)
    for kind, bound in (("MAXIMUM", low), ("MINIMUM", high)):
        if bound is not None:
            value = op.combined(kind, value, constant_value(plain(np.array(bound, value.dtype))))
    return value


def hard_sigmoid(op: FlatNode) -> FlatValue:
    """HardSigmoid, as ReLU6 of six times the line: it fuses into the convolution before it."""
    value = op.input(0)
    op.require_float(value)
    slope = 6 * float(op.attribute("alpha", 0.2))
    offset = 6 * float(op.attribute("beta", 0.5))
    if not math.isclose(slope, 1.0, rel_tol=1e-6):
        value = op.combined("MUL", value, slope)
    line = op.combined("ADD", value, offset)
    return op.combined("MUL", op.unary("RELU6", line), 1 / 6)


def swish(op: FlatNode) -> FlatValue:
    """Swish (SiLU)."""
    value, slope = op.input(0), float(op.attribute("alpha", 1.0))
    scaled = value if slope == 1.0 else op.combined("MUL", value, slope)
    return op.combined("MUL", value, op.unary("LOGISTIC", scaled))


def leaky_relu(op: FlatNode) -> FlatValue:
    """LeakyRelu."""
    op.require_float(op.input(0))
    return op.unary("LEAKY_RELU", op.input(0), alpha=op.attribute("alpha", 0.01))


def prelu(op: FlatNode) -> FlatValue:
    """PRelu: TFLite's where the slope is one number a channel, else by its definition."""
    value, slope = op.input(0), op.input(1)
    op.require_float(value, slope)
    if slope.data is None:
        positive = op.unary("RELU", value)
        below = op.combined("MINIMUM", value, 0.0)
        return op.combined("ADD", positive, op.combined("MUL", slope, below))
    rank = len(value.shape)
    axes = (1,) * (rank - len(slope.shape)) + slope.shape
    lying = [axes[axis] for axis in value.order]
    if len(axes) > rank or any(size != 1 for size in lying[:-1]) or rank < 2:
        below = op.combined("MUL", slope, op.combined("MINIMUM", value, 0.0))
        return op.combined("ADD", op.unary("RELU", value), below)
    alpha = slope.data.reshape((1,) * (rank - 1) + (-1,))[0]
    full = np.broadcast_to(alpha, (*(1,) * (rank - 2), value.stored_shape[-1]))
    inputs = [op.tensor(value), op.graph.constant(np.array(full))]
    tensor = op.graph.emit("PRELU", inputs, value.stored_shape)
    return op.made(tensor, value.shape, value.order)


def elu(op: FlatNode) -> FlatValue:
    """Elu; with another slope by its definition."""
    value, alpha = op.input(0), float(op.attribute("alpha", 1.0))
    op.require_float(value)
    if alpha == 1.0:
        return op.unary("ELU", value)
    return _two_sided(op, value, alpha)


def selu(op: FlatNode) -> FlatValue:
    """Selu."""
    value = op.input(0)
    op.require_float(value)
    alpha = float(op.attribute("alpha", 1.6732632423543772))
    gamma = float(op.attribute("gamma", 1.0507009873554805))
    return op.combined("MUL", _two_sided(op, value, alpha), gamma)


def _two_sided(op: FlatNode, value: FlatValue, alpha: float) -> FlatValue:
    """The value above zero, ``alpha (exp(x) - 1)`` below."""
    below = op.unary("ELU", op.combined("MINIMUM", value, 0.0))
    return op.combined("ADD", op.unary("RELU", value), op.combined("MUL", below, alpha))


def gelu(op: FlatNode) -> FlatValue:
    """Gelu, exact or by the hyperbolic tangent."""
    op.require_float(op.input(0))
    return op.unary("GELU", op.input(0), approximate=op.attribute("approximate") == "tanh")


def softplus(op: FlatNode) -> FlatValue:
    """Softplus, so that no exponential overflows."""
    op.require_float(op.input(0))
    return _softplus(op, op.input(0))


def _softplus(op: FlatNode, value: FlatValue) -> FlatValue:
    small = op.unary("EXP", op.unary("NEG", op.unary("ABS", value)))
    return op.combined(
        "ADD", op.unary("RELU", value), op.unary("LOG", op.combined("ADD", small, 1.0))
    )


def mish(op: FlatNode) -> FlatValue:
    """Mish."""
    value = op.input(0)
    op.require_float(value)
    return op.combined("MUL", value, op.unary("TANH", _softplus(op, value)))


def softsign(op: FlatNode) -> FlatValue:
    """Softsign."""
    value = op.input(0)
    op.require_float(value)
    return op.combined("DIV", value, op.combined("ADD", op.unary("ABS", value), 1.0))


def erf(op: FlatNode) -> FlatValue:
    """Erf by a polynomial: TFLite has none. The absolute error is below 5e-7."""
    value = op.input(0)
    op.require_float(value)
    size = op.unary("ABS", value)
    inner = op.combined("DIV", 1.0, op.combined("ADD", op.combined("MUL", size, _ERF_SLOPE), 1.0))
    total = op.combined("MUL", inner, _ERF[-1])
    for coefficient in reversed(_ERF[:-1]):
        total = op.combined("MUL", op.combined("ADD", total, coefficient), inner)
    tail = op.combined("MUL", total, op.unary("EXP", op.unary("NEG", op.unary("SQUARE", size))))
    return op.combined("MUL", op.unary("SIGN", value), op.combined("SUB", 1.0, tail))


def where(op: FlatNode) -> FlatValue:
    """Where."""
    condition, yes, no = op.input(0), op.input(1), op.input(2)
    return op.combined("SELECT_V2", condition, yes, no, dtype=plain(np.empty(0, yes.dtype)).dtype)


def cast(op: FlatNode) -> FlatValue:
    """Cast; 64-bit integers become 32-bit ones."""
    from onnx import helper

    try:
        wanted = np.dtype(helper.tensor_dtype_to_np_dtype(op.attribute("to")))
    except (KeyError, TypeError):
        wanted = np.dtype(object)
    return _cast(op, op.input(0), wanted)


def cast_like(op: FlatNode) -> FlatValue:
    """CastLike."""
    value, wanted = op.input(0), op.input(1).dtype
    return (
        _cast(op, value, wanted)
        if value.data is None
        else constant_value(value.data.astype(wanted))
    )


def _cast(op: FlatNode, value: FlatValue, wanted: np.dtype[Any]) -> FlatValue:
    wanted = INT32 if wanted.name in ("int64", "uint32", "uint64") else wanted
    if wanted.name not in TYPE_CODES:
        raise op.unsupported(f"casts to {wanted}")
    if wanted == value.dtype:
        return value
    if wanted == BOOL:
        zero = constant_value(np.zeros((), value.dtype))
        return op.combined("NOT_EQUAL", value, zero, dtype=BOOL)
    codes = {"from_type": TYPE_CODES[value.dtype.name], "to_type": TYPE_CODES[wanted.name]}
    tensor = op.graph.emit("CAST", [op.tensor(value)], value.stored_shape, wanted, **codes)
    return op.made(tensor, value.shape, value.order)


ELEMENT_RULES: dict[str, Rule] = {
    "Abs": unary("ABS"),
    "Add": add,
    "And": binary("LOGICAL_AND", BOOL),
    "Cast": cast,
    "CastLike": cast_like,
    "Ceil": unary("CEIL"),
    "Clip": clip,
    "Cos": unary("COS"),
    "Div": divide,
    "Elu": elu,
    "Equal": binary("EQUAL", BOOL),
    "Erf": erf,
    "Exp": unary("EXP"),
    "Floor": unary("FLOOR"),
    "Gelu": gelu,
    "Greater": binary("GREATER", BOOL),
    "GreaterOrEqual": binary("GREATER_EQUAL", BOOL),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": unary("HARD_SWISH"),
    "LeakyRelu": leaky_relu,
    "Less": binary("LESS", BOOL),
    "LessOrEqual": binary("LESS_EQUAL", BOOL),
    "Log": unary("LOG"),
    "Max": several("MAXIMUM"),
    "Mean": mean,
    "Min": several("MINIMUM"),
    "Mish": mish,
    "Mul": multiply,
    "Neg": unary("NEG", any_type=True),
    "Not": unary("LOGICAL_NOT", any_type=True),
    "Or": binary("LOGICAL_OR", BOOL),
    "PRelu": prelu,
    "Pow": power,
    "QuickGelu": swish,
    "Reciprocal": reciprocal,
    "Relu": unary("RELU"),
    "Round": unary("ROUND"),
    "Selu": selu,
    "Sigmoid": unary("LOGISTIC"),
    "Sign": unary("SIGN"),
    "Sin": unary("SIN"),
    "Softplus": softplus,
    "Softsign": softsign,
    "Sqrt": unary("SQRT"),
    "Sub": binary("SUB"),
    "Sum": several("ADD"),
    "Swish": swish,
    "Tanh": unary("TANH"),
    "Where": where,
}
