"""What ONNX's operators are in torch: a table of translations.

A translation takes a :class:`latprof.graph.convert.onnx_operator.OnnxOperator` and returns its
output, or a list of them, made with ``operator.call``. Needs torch; loaded only where a graph is
translated.
"""

from __future__ import annotations

import functools
import math
import operator as python
from collections.abc import Callable
from typing import Any

import onnx
import torch
from torch.nn import functional

from latprof.graph.convert import torch_shapes as shapes
from latprof.graph.convert import torch_windows as windows
from latprof.graph.convert.onnx_operator import OnnxOperator

Translation = Callable[[OnnxOperator], Any]

_DTYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.BOOL: torch.bool,
}


# Pools of a whole image, and normalisation


def _spatial_mean(x: torch.Tensor) -> torch.Tensor:
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def _spatial_maximum(x: torch.Tensor) -> torch.Tensor:
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


def _batch_norm(op: OnnxOperator) -> Any:
    if op.attribute("training_mode", 0):
        raise op.unsupported("is in training mode")
    x, scale, shift, mean, variance = op.inputs
    epsilon = op.attribute("epsilon", 1e-5)
    return op.call(functional.batch_norm, x, mean, variance, scale, shift, False, 0.0, epsilon)


def _layer_norm(op: OnnxOperator) -> Any:
    axis, epsilon = op.attribute("axis", -1), op.attribute("epsilon", 1e-5)
    shape = list(op.shape(0)[axis:])
    return op.call(functional.layer_norm, op.inputs[0], shape, op.input(1), op.input(2), epsilon)


def _instance_norm(op: OnnxOperator) -> Any:
    x, scale, shift = op.inputs
    epsilon = op.attribute("epsilon", 1e-5)
    return op.call(functional.instance_norm, x, None, None, scale, shift, True, 0.0, epsilon)


def _local_response_norm(op: OnnxOperator) -> Any:
    alpha, beta = op.attribute("alpha", 1e-4), op.attribute("beta", 0.75)
    size, bias = op.attribute("size"), op.attribute("bias", 1.0)
    return op.call(functional.local_response_norm, op.inputs[0], size, alpha, beta, bias)


# Activations


def _clip(op: OnnxOperator) -> Any:
    low, high = (_bound(op, i, name) for i, name in ((1, "min"), (2, "max")))
    if (low, high) == (0.0, 6.0):
        return op.call(functional.relu6, op.inputs[0])
    if low is None and high is None:
        return op.inputs[0]
    return op.call(torch.clamp, op.inputs[0], low, high)


def _bound(op: OnnxOperator, position: int, name: str) -> float | None:
    value = op.attribute(name) if op.opset < 11 else op.constant(position)
    return value.item() if isinstance(value, torch.Tensor) else value


def _hard_sigmoid(op: OnnxOperator) -> Any:
    slope, offset = op.attribute("alpha", 0.2), op.attribute("beta", 0.5)
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5:
        return op.call(functional.hardsigmoid, op.inputs[0])
    scaled = op.call(python.mul, op.inputs[0], slope)
    return op.call(torch.clamp, op.call(python.add, scaled, offset), 0.0, 1.0)


def _gelu(op: OnnxOperator) -> Any:
    return op.call(_gelu_of, op.inputs[0], op.attribute("approximate", "none"))


def _gelu_of(x: torch.Tensor, approximate: str) -> torch.Tensor:
    return functional.gelu(x, approximate=approximate)


def _prelu(op: OnnxOperator) -> Any:
    return op.call(_prelu_of, *op.inputs)


def _prelu_of(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(x >= 0, x, slope * x)


def _softmax(op: OnnxOperator) -> Any:
    function = torch.log_softmax if op.op_type == "LogSoftmax" else torch.softmax
    if op.opset >= 13:
        return op.call(function, op.inputs[0], op.attribute("axis", -1))
    shape, axis = op.shape(0), op.attribute("axis", 1)
    if axis in (-1, len(shape) - 1):
        return op.call(function, op.inputs[0], -1)
    flat = op.call(function, op.call(torch.flatten, op.inputs[0], axis), -1)
    return op.call(torch.reshape, flat, list(shape))


def _with_numbers(function: Callable[..., Any], **defaults: float) -> Translation:
    """An activation whose numbers are attributes, in this order."""

    def translate(op: OnnxOperator) -> Any:
        numbers = (op.attribute(name, default) for name, default in defaults.items())
        return op.call(function, op.inputs[0], *numbers)

    return translate


# Arithmetic


def _elementwise(function: Callable[..., Any]) -> Translation:
    """An operator of each element; scalars that are constant become plain numbers."""

    def translate(op: OnnxOperator) -> Any:
        constant = all(isinstance(value, torch.Tensor) for value in op.inputs)
        values = op.inputs if constant else [shapes.plain_number(value) for value in op.inputs]
        return op.call(function, *values)

    return translate


def _divide(a: Any, b: Any) -> torch.Tensor:
    quotient = a / b
    numbers = [value for value in (a, b) if isinstance(value, torch.Tensor)]
    whole = not any(value.is_floating_point() for value in numbers)
    return quotient.trunc().to(numbers[0].dtype) if whole else quotient


def _fold(function: Callable[..., Any]) -> Translation:
    """An operator that takes any number of inputs."""

    def translate(op: OnnxOperator) -> Any:
        return functools.reduce(functools.partial(op.call, function), op.inputs)

    return translate


def _matmul(op: OnnxOperator) -> Any:
    return op.call(torch.matmul, *op.inputs)


def _gemm(op: OnnxOperator) -> Any:
    a, b, c = op.inputs[0], op.inputs[1], op.input(2)
    alpha, beta = op.attribute("alpha", 1.0), op.attribute("beta", 1.0)
    if op.attribute("transA", 0):
        a = op.call(torch.t, a)
    if not op.attribute("transB", 0):
        b = op.call(torch.t, b)
    if isinstance(c, torch.Tensor) and c.dim() != 1 and b.shape[:1] == (c.numel(),):
        c = c.reshape(-1)
    if alpha == beta == 1.0 and (c is None or (isinstance(c, torch.Tensor) and c.dim() == 1)):
        return op.call(functional.linear, a, b, c)
    product = op.call(python.mul, op.call(functional.linear, a, b), alpha)
    return product if c is None else op.call(python.add, product, op.call(python.mul, c, beta))


def _reduce(function: Callable[..., Any]) -> Translation:
    def translate(op: OnnxOperator) -> Any:
        axes = op.numbers(1, "axes")
        if not axes and op.attribute("noop_with_empty_axes", 0):
            return op.inputs[0]
        axes = axes or list(range(len(op.shape(0))))
        return op.call(function, op.inputs[0], axes, bool(op.attribute("keepdims", 1)))

    return translate


def _l1(x: torch.Tensor, *where: Any) -> torch.Tensor:
    return torch.linalg.vector_norm(x, 1, *where)


def _l2(x: torch.Tensor, *where: Any) -> torch.Tensor:
    return torch.linalg.vector_norm(x, 2, *where)


def _sum_of_squares(x: torch.Tensor, *where: Any) -> torch.Tensor:
    return torch.sum(x * x, *where)


def _cast(op: OnnxOperator) -> Any:
    dtype = _DTYPES.get(op.attribute("to"))
    if dtype is None:
        raise op.unsupported("casts to a type that has no translation")
    return op.call(_cast_to, op.inputs[0], dtype)


def _cast_to(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Numbers of floating types stay as they are: which type it is, ``Module.to`` decides."""
    return x if x.is_floating_point() and dtype.is_floating_point else x.to(dtype)


OPERATORS: dict[str, Translation] = {
    # Convolutions and pools
    "AveragePool": windows.average_pool,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "GlobalAveragePool": _elementwise(_spatial_mean),
    "GlobalMaxPool": _elementwise(_spatial_maximum),
    "MaxPool": windows.max_pool,
    # Normalisation
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LRN": _local_response_norm,
    # Activations
    "Clip": _clip,
    "Elu": _with_numbers(functional.elu, alpha=1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _elementwise(functional.hardswish),
    "LeakyRelu": _with_numbers(functional.leaky_relu, alpha=0.01),
    "LogSoftmax": _softmax,
    "Mish": _elementwise(functional.mish),
    "PRelu": _prelu,
    "Relu": _elementwise(torch.relu),
    "Sigmoid": _elementwise(torch.sigmoid),
    "Softmax": _softmax,
    "Softplus": _elementwise(functional.softplus),
    "Tanh": _elementwise(torch.tanh),
    # Arithmetic
    "Abs": _elementwise(torch.abs),
    "Add": _elementwise(python.add),
    "And": _elementwise(torch.logical_and),
    "Cast": _cast,
    "Ceil": _elementwise(torch.ceil),
    "Cos": _elementwise(torch.cos),
    "Div": _elementwise(_divide),
    "Equal": _elementwise(python.eq),
    "Erf": _elementwise(torch.erf),
    "Exp": _elementwise(torch.exp),
    "Floor": _elementwise(torch.floor),
    "Gemm": _gemm,
    "Greater": _elementwise(python.gt),
    "GreaterOrEqual": _elementwise(python.ge),
    "Less": _elementwise(python.lt),
    "LessOrEqual": _elementwise(python.le),
    "Log": _elementwise(torch.log),
    "MatMul": _matmul,
    "Max": _fold(torch.maximum),
    "Min": _fold(torch.minimum),
    "Mul": _elementwise(python.mul),
    "Neg": _elementwise(torch.neg),
    "Not": _elementwise(torch.logical_not),
    "Or": _elementwise(torch.logical_or),
    "Pow": _elementwise(python.pow),
    "Reciprocal": _elementwise(torch.reciprocal),
    "ReduceL1": _reduce(_l1),
    "ReduceL2": _reduce(_l2),
    "ReduceLogSumExp": _reduce(torch.logsumexp),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "ReduceSumSquare": _reduce(_sum_of_squares),
    "Round": _elementwise(torch.round),
    "Sign": _elementwise(torch.sign),
    "Sin": _elementwise(torch.sin),
    "Sqrt": _elementwise(torch.sqrt),
    "Sub": _elementwise(python.sub),
    "Sum": _fold(torch.add),
    "Where": _elementwise(torch.where),
    # Shapes
    "Concat": shapes.concat,
    "DepthToSpace": shapes.depth_to_space,
    "Dropout": shapes.same,
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Gather": shapes.gather,
    "Identity": shapes.same,
    "Pad": shapes.pad,
    "Reshape": shapes.reshape,
    "Resize": shapes.resize,
    "Slice": shapes.slice_of,
    "Split": shapes.split,
    "Squeeze": shapes.squeeze,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
    # Constants
    "Constant": shapes.constant,
    "ConstantOfShape": shapes.constant_of_shape,
    "Shape": shapes.shape,
}
