"""Networks of one operator each, at two sizes: what no network of the kernels' training has."""

# mypy: ignore-errors
# (torch has no types that hold here, and NumPy scalars are called with lists)
from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_FLOAT, _INT64, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
_OPSET = 18
_HALF = np.float32(0.5)


def _one(
    op_type: str,
    inputs: dict[str, tuple[Any, ...]],
    weights: dict[str, Any] | None = None,
    outputs: int = 1,
    domain: str = "",
    reads: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """One node; inputs are shapes, with an element type before them for other than floats."""
    weights = weights or {}
    given = []
    for name, shape in inputs.items():
        kind, sides = (shape[0], shape[1]) if isinstance(shape[1], tuple) else (_FLOAT, shape)
        given.append(helper.make_tensor_value_info(name, kind, sides))
    names = reads.split() if reads else [*inputs, *weights]
    made = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(
        op_type, [n if n != "-" else "" for n in names], made, "op", domain=domain, **attributes
    )
    graph = helper.make_graph(
        [node],
        "one",
        given,
        [helper.make_empty_tensor_value_info(name) for name in made],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _floats(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def operators() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Names and models, a smaller and a larger one of each operator."""
    for size in (1, 4):
        for name, model in itertools.chain(_plain(size), _products(size), _moves(size)):
            yield f"{name} {'small' if size == 1 else 'large'}", model


def _plain(n: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Operators on each element."""
    rows = (64 * n, 256)
    plain = (
        "Round Ceil Sign IsNaN Tan Atan Asin Sinh Softsign Mish ThresholdedRelu Hardmax LogSoftmax "
        "Celu Selu Softplus Cos Erf Log Reciprocal Shrink"
    )
    for op_type in plain.split():
        yield op_type, _one(op_type, {"x": rows})
    for op_type in ("Equal", "Greater", "LessOrEqual", "Mean", "Max", "Div"):
        yield op_type, _one(op_type, {"a": rows, "b": rows})
    yield "Mod", _one("Mod", {"a": rows, "b": rows}, fmod=1)
    for op_type in ("And", "Xor"):
        yield op_type, _one(op_type, {"a": (_BOOL, rows), "b": (_BOOL, rows)})
    yield "Not", _one("Not", {"a": (_BOOL, rows)})
    yield "Where", _one("Where", {"c": (_BOOL, rows), "a": rows, "b": rows})
    yield "Pow 2.5", _one("Pow", {"x": rows}, {"p": np.float32(2.5)})
    yield "Pow 3", _one("Pow", {"x": rows}, {"p": np.float32(3)})
    yield "Cast to int", _one("Cast", {"x": rows}, to=_INT64)
    yield "Cast from int", _one("Cast", {"x": (_INT64, rows)}, to=_FLOAT)
    yield "Cast to half", _one("Cast", {"x": rows}, to=TensorProto.FLOAT16)
    scale = {"s": np.float32(0.05), "z": np.uint8(0)}
    yield "QuantizeLinear", _one("QuantizeLinear", {"x": rows}, scale)
    yield "DequantizeLinear", _one("DequantizeLinear", {"x": (TensorProto.UINT8, rows)}, scale)
    yield "DynamicQuantizeLinear", _one("DynamicQuantizeLinear", {"x": rows}, outputs=3)


def _products(n: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Operators that multiply."""
    image, rows = (1, 16 * n, 32, 32), (64 * n, 256)
    yield (
        "ConvTranspose 2x2",
        _one("ConvTranspose", {"x": image}, {"w": _floats(16 * n, 8 * n, 2, 2)}, strides=[2, 2]),
    )
    yield (
        "ConvTranspose 4x4",
        _one(
            "ConvTranspose",
            {"x": image},
            {"w": _floats(16 * n, 16 * n, 4, 4)},
            strides=[2, 2],
            pads=[1] * 4,
        ),
    )
    yield (
        "Conv1d",
        _one("Conv", {"x": (1, 32 * n, 200)}, {"w": _floats(64, 32 * n, 3)}, pads=[1, 1]),
    )
    yield (
        "Conv3d",
        _one(
            "Conv", {"x": (1, 8 * n, 8, 28, 28)}, {"w": _floats(16, 8 * n, 3, 3, 3)}, pads=[1] * 6
        ),
    )
    for kind, gates in (("GRU", 3), ("RNN", 1), ("LSTM", 4)):
        size = 64 * n
        weights = {"w": _floats(1, gates * size, size), "r": _floats(1, gates * size, size)}
        yield kind, _one(kind, {"x": (32, 1, size)}, weights, hidden_size=size)
    heads = {"a": (1, 4, 64 * n, 32), "b": (1, 4, 64 * n, 32)}
    yield "Einsum", _one("Einsum", heads, equation="bhqd,bhkd->bhqk")
    yield (
        "MatMulNBits",
        _one(
            "MatMulNBits",
            {"x": (16, 256)},
            {
                "w": np.zeros((256 * n, 8, 16), np.uint8),
                "s": np.ones((256 * n * 8,), np.float32),
            },
            domain="com.microsoft",
            K=256,
            N=256 * n,
            bits=4,
            block_size=32,
        ),
    )
    yield (
        "MultiHeadAttention",
        _one(
            "MultiHeadAttention",
            dict.fromkeys("qkv", (1, 64 * n, 128)),
            domain="com.microsoft",
            num_heads=4,
        ),
    )
    yield (
        "SkipLayerNormalization",
        _one(
            "SkipLayerNormalization",
            {"x": (1, *rows), "s": (1, *rows)},
            {"g": _floats(256), "b": _floats(256)},
            domain="com.microsoft",
        ),
    )
    weights = {"w": np.ones((256, 256 * n), np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    yield (
        "DynamicQuantizeMatMul",
        _one("DynamicQuantizeMatMul", {"x": (64, 256)}, weights, domain="com.microsoft"),
    )
    whole = np.ones((16 * n, 16 * n, 3, 3), np.int8)
    yield (
        "QLinearConv",
        _one(
            "QLinearConv",
            {"x": (TensorProto.UINT8, image)},
            {"s": np.float32(0.1), "z": np.uint8(0), "w": whole, "v": np.int8(0)},
            reads="x s z w s v s z",
            pads=[1] * 4,
        ),
    )


def _moves(n: int) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Operators that look up, reduce and move."""
    image, rows = (1, 16 * n, 32, 32), (64 * n, 256)
    index = {"x": rows, "i": (_INT64, rows)}
    yield "GatherElements", _one("GatherElements", index, axis=1)
    yield (
        "ScatterElements",
        _one("ScatterElements", index | {"u": rows}, reads="x i u", axis=1, reduction="add"),
    )
    yield "GatherND", _one("GatherND", {"x": rows, "i": (_INT64, (64 * n, 1))})
    yield "ScatterND", _one("ScatterND", {"x": rows, "i": (_INT64, (64 * n, 1)), "u": rows})
    yield "Gather", _one("Gather", {"x": rows, "i": (_INT64, (64 * n,))}, axis=0)
    yield (
        "OneHot",
        _one("OneHot", {"i": (_INT64, (64 * n,))}, {"d": np.int64(256), "v": np.float32([0, 1])}),
    )
    yield "TopK", _one("TopK", {"x": rows}, {"k": np.int64([8])}, outputs=2)
    yield "ArgMax", _one("ArgMax", {"x": rows}, axis=1)
    yield "ArgMax images", _one("ArgMax", {"x": image}, axis=1)
    yield "CumSum", _one("CumSum", {"x": rows}, {"a": np.int64(1)})
    yield "Trilu", _one("Trilu", {"x": rows}, upper=0)
    yield "NonZero", _one("NonZero", {"x": rows})
    yield "Tile", _one("Tile", {"x": rows}, {"r": np.int64([2, 2])})
    yield (
        "Pad reflect",
        _one("Pad", {"x": image}, {"p": np.int64([0, 0, 2, 2, 0, 0, 2, 2])}, mode="reflect"),
    )
    yield "GridSample", _one("GridSample", {"x": image, "g": (1, 32, 32, 2)}, mode="bilinear")
    yield (
        "RoiAlign",
        _one(
            "RoiAlign",
            {"x": image, "r": (16, 4)},
            {"i": np.zeros(16, np.int64)},
            output_height=7,
            output_width=7,
            sampling_ratio=2,
        ),
    )
    yield (
        "InstanceNormalization",
        _one("InstanceNormalization", {"x": image}, {"s": _floats(16 * n), "b": _floats(16 * n)}),
    )
    yield "LRN", _one("LRN", {"x": image}, size=5)
    yield "LpPool", _one("LpPool", {"x": image}, kernel_shape=[2, 2], strides=[2, 2])
    yield "GlobalLpPool", _one("GlobalLpPool", {"x": image})
    yield "ReduceL2", _one("ReduceL2", {"x": rows}, {"a": np.int64([1])})
    yield "ReduceSum", _one("ReduceSum", {"x": image}, {"a": np.int64([1])})
    yield "DepthToSpace", _one("DepthToSpace", {"x": image}, blocksize=2)
