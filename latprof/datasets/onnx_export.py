"""ONNX models of a search space's architectures, written directly and fast.

Collecting 5,000 architectures builds each several times, so weights are slices of one pool of
random numbers, and go into the serialised model without passing through protobuf.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latprof import __version__

if TYPE_CHECKING:
    from latprof.datasets.layers import Block, Layer
    from latprof.datasets.space import Architecture, SearchSpace
    from latprof.graph.operators import Operator

Array = NDArray[np.float32]

OPSET = 17
_IR_VERSION = 8
_BATCH_NORM_EPSILON = 1e-5
_POOL_VALUES = 1 << 22
_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_RAW_DATA = TensorProto.RAW_DATA_FIELD_NUMBER


class WeightSource:
    """Random weights that keep the scale of activations (He et al. 2015), the same for one seed.

    Values are consecutive slices of one pool of standard normal numbers that begins again at its
    end; a seed chooses where they start.
    """

    def __init__(self, seed: int) -> None:
        self._pool = _normal_pool()
        self._next = int(np.random.default_rng(seed).integers(_POOL_VALUES))

    def normal(self, shape: Sequence[int], scale: float) -> Array:
        """Normal numbers with standard deviation ``scale``."""
        count = math.prod(shape)
        start = self._next % _POOL_VALUES
        self._next = start + count
        if self._next <= _POOL_VALUES:
            values = self._pool[start : self._next]
        else:
            values = np.take(self._pool, range(start, start + count), mode="wrap")
        return (values * np.float32(scale)).reshape(shape)

    def layer(self, layer: Layer) -> dict[str, Array]:
        """Weight of a convolution, and scale, shift, mean and variance of its normalisation."""
        fan_in = layer.in_channels // layer.groups * layer.kernel**2
        gain = 2.0 if layer.activation else 1.0
        channels = (layer.out_channels,)
        return {
            "weight": self.normal(layer.weight_shape, math.sqrt(gain / fan_in)),
            "scale": 1.0 + np.clip(self.normal(channels, 0.1), -0.3, 0.3),
            "shift": self.normal(channels, 0.1),
            "mean": self.normal(channels, 0.1),
            "variance": 1.0 + np.clip(self.normal(channels, 0.1), -0.3, 0.3),
        }

    def linear(self, out_features: int, in_features: int) -> dict[str, Array]:
        """Weight and bias of the classifier."""
        return {
            "weight": self.normal((out_features, in_features), math.sqrt(1.0 / in_features)),
            "bias": self.normal((out_features,), 0.1),
        }


@lru_cache(maxsize=1)
def _normal_pool() -> Array:
    pool = np.random.default_rng(20190220).standard_normal(_POOL_VALUES, dtype=np.float32)
    pool.setflags(write=False)
    return pool


def fold_batch_norm(weights: dict[str, Array]) -> tuple[Array, Array]:
    """Return the weight and bias of the convolution that includes its normalisation."""
    factor = weights["scale"] / np.sqrt(weights["variance"] + np.float32(_BATCH_NORM_EPSILON))
    folded = weights["weight"] * factor[:, None, None, None]
    return folded, weights["shift"] - weights["mean"] * factor


def onnx_bytes(
    space: SearchSpace,
    architecture: Architecture,
    *,
    batch_size: int = 1,
    seed: int = 0,
    batch_norm: Literal["folded", "kept"] = "folded",
) -> bytes:
    """Build an architecture's serialised ONNX model; see :meth:`SearchSpace.onnx_bytes`."""
    writer = _GraphWriter(WeightSource(seed), keep_batch_norm=batch_norm == "kept")
    value = "input"
    for block in space.blocks(architecture):
        value = writer.block(block, value)
    pool, classifier = space.head(architecture, batch_size)
    writer.head(pool, classifier, value)
    graph = helper.make_graph(
        writer.nodes,
        space.name,
        [_tensor_info("input", (batch_size, *space.input_shape))],
        [_tensor_info("output", classifier.output_shapes[0])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    model.producer_name, model.producer_version = "latprof", __version__
    helper.set_model_props(model, {"latprof.architecture": str(architecture)})
    return b"".join([model.SerializeToString(), *_weight_fields(writer.weights)])


def _tensor_info(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _weight_fields(weights: Sequence[tuple[str, Array]]) -> list[bytes | memoryview]:
    """Serialise initialisers as a piece of a model that can be appended to the rest of it.

    Protobuf merges the occurrences of an embedded message, so a serialised model followed by a
    second ``graph`` field that holds only initialisers is a model with those initialisers. The
    arrays are joined once, where protobuf would copy them about five times.
    """
    fields: list[bytes | memoryview] = []
    for name, values in weights:
        raw = np.ascontiguousarray(values, dtype="<f4").reshape(-1).view(np.uint8).data
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
        head = tensor.SerializeToString() + _field_start(_RAW_DATA, raw.nbytes)
        fields += [_field_start(_INITIALIZER, len(head) + raw.nbytes), head, raw]
    size = sum(map(len, fields))
    return [_field_start(_GRAPH, size), *fields]


def _field_start(number: int, size: int) -> bytes:
    """Tag and length of a length-delimited protobuf field."""
    encoded = bytearray([number << 3 | 2])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


class _GraphWriter:
    """Collects the nodes and initialisers of one graph."""

    def __init__(self, source: WeightSource, *, keep_batch_norm: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[tuple[str, Array]] = []
        self._source = source
        self._keep = keep_batch_norm
        self._tensor("relu6.min", np.array(0.0, dtype=np.float32))
        self._tensor("relu6.max", np.array(6.0, dtype=np.float32))

    def _tensor(self, name: str, values: Array) -> str:
        self.weights.append((name, values))
        return name

    def _node(self, op_type: str, inputs: list[str], name: str, **attributes: object) -> str:
        output = f"{name}.out"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))
        return output

    def block(self, block: Block, value: str) -> str:
        """Write a block; return the name of its output."""
        result = value
        for layer in block.layers:
            result = self._layer(layer, result)
        return self._node("Add", [value, result], f"{block.name}.add") if block.residual else result

    def _layer(self, layer: Layer, value: str) -> str:
        weights = self._source.layer(layer)
        if self._keep:
            inputs = [value, self._tensor(f"{layer.name}.weight", weights["weight"])]
        else:
            weight, bias = fold_batch_norm(weights)
            inputs = [
                value,
                self._tensor(f"{layer.name}.weight", weight),
                self._tensor(f"{layer.name}.bias", bias),
            ]
        value = self._node(
            "Conv",
            inputs,
            layer.name,
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.kernel // 2] * 4,
            group=layer.groups,
        )
        if self._keep:
            names = ("scale", "shift", "mean", "variance")
            parameters = [self._tensor(f"{layer.name}.{n}", weights[n]) for n in names]
            value = self._node(
                "BatchNormalization",
                [value, *parameters],
                f"{layer.name}.norm",
                epsilon=_BATCH_NORM_EPSILON,
            )
        if layer.activation:
            value = self._node("Clip", [value, "relu6.min", "relu6.max"], f"{layer.name}.relu6")
        return value

    def head(self, pool: Operator, classifier: Operator, value: str) -> None:
        """Write global pool, flatten and classifier."""
        weights = self._source.linear(*classifier.weight_shape)
        value = self._node("GlobalAveragePool", [value], pool.name)
        value = self._node("Flatten", [value], "flatten")
        self.nodes.append(
            helper.make_node(
                "Gemm",
                [
                    value,
                    self._tensor(f"{classifier.name}.weight", weights["weight"]),
                    self._tensor(f"{classifier.name}.bias", weights["bias"]),
                ],
                ["output"],
                name=classifier.name,
                transB=1,
            )
        )
