"""ONNX models of blocks, written directly and fast.

Collecting 5,000 architectures builds each several times, so weights are slices of one pool of
random numbers, and go into the serialised model without passing through protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from latprof._version import __version__
from latprof.datasets.models.onnx_weights import Tensor, weight_fields
from latprof.datasets.models.plans import INPUT, StepPlan
from latprof.datasets.models.steps import (
    Activate,
    Activation,
    GlobalPool,
    Layer,
    Normalize,
    PadChannels,
    Pool,
    Shuffle,
    SqueezeExcite,
    Step,
    Zeroize,
    gelu_plan,
)
from latprof.datasets.models.token_steps import AttentionPool, TokenLayer
from latprof.datasets.models.weights import (
    BATCH_NORM_EPSILON,
    Array,
    WeightSource,
    fold_batch_norm,
)

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block
    from latprof.graph.operators import Operator

OPSET = 17
_IR_VERSION = 8


def onnx_bytes(
    blocks: Sequence[Block],
    head: Sequence[Operator],
    input_shape: Sequence[int],
    *,
    name: str,
    architecture: str,
    seed: int = 0,
    batch_norm: Literal["folded", "kept"] = "folded",
) -> bytes:
    """Write the serialised ONNX model of blocks and the head after them.

    Parameters
    ----------
    blocks : sequence of Block
        In execution order.
    head : sequence of Operator
        For the batch size of ``input_shape``.
    input_shape : sequence of int
        (batch, channels, height, width).
    name, architecture : str
        Name of the graph, and what the model's metadata says that it is.
    seed : int
        Of the weights.
    batch_norm : {"folded", "kept"}
        See :meth:`~latprof.datasets.spaces.base.SearchSpace.build_onnx`.
    """
    keep = batch_norm == "kept"
    writer = _GraphWriter(WeightSource(seed), input_shape[0], keep_batch_norm=keep)
    writer.bounds(blocks)
    for block in blocks:
        writer.block(block)
    writer.head(head)
    graph = helper.make_graph(
        writer.nodes,
        name,
        [_tensor_info("input", input_shape)],
        [_tensor_info("output", head[-1].output_shapes[0])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )
    model.producer_name, model.producer_version = "latprof", __version__
    helper.set_model_props(model, {"latprof.architecture": architecture})
    return b"".join([model.SerializeToString(), *weight_fields(writer.weights)])


def _tensor_info(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


class _GraphWriter:
    """Collects the nodes and initialisers of one graph."""

    def __init__(self, source: WeightSource, batch_size: int, *, keep_batch_norm: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[tuple[str, Tensor]] = []
        self._source = source
        self._batch_size = batch_size
        self._keep = keep_batch_norm
        self._value = "input"  # what the last block wrote
        self._outputs: dict[str, str] = {}

    def bounds(self, blocks: Sequence[Block]) -> None:
        """Write the bounds of ReLU6 where a block has it."""
        steps = [step for block in blocks for step in block.layers]
        if any(getattr(step, "activation", None) == "relu6" for step in steps):
            self._tensor("relu6.min", np.array(0.0, dtype=np.float32))
            self._tensor("relu6.max", np.array(6.0, dtype=np.float32))

    def _tensor(self, name: str, values: Tensor) -> str:
        self.weights.append((name, values))
        return name

    def _node(self, op_type: str, inputs: list[str], name: str, **attributes: object) -> str:
        output = f"{name}.out"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=name, **attributes))
        return output

    def block(self, block: Block) -> None:
        """Write a block, after those that it reads."""
        value, *others = [self._outputs[name] for name in block.inputs] or [self._value]
        for index, other in enumerate(others, start=1):
            value = self._node("Add", [value, other], f"{block.name}.sum{index}")
        result, size = value, block.in_size
        for step in block.layers:
            result = self._step(step, result, size)
            size = step.output_size(size)
        if block.residual:
            result = self._node("Add", [value, result], f"{block.name}.add")
        self._value = self._outputs[block.name] = result

    def _step(  # noqa: C901, PLR0911 - one case a step
        self, step: Step, value: str, size: int
    ) -> str:
        match step:
            case Layer():
                return self._layer(step, value, size)
            case Activate():
                shape = (self._batch_size, step.channels, size, size)
                return self._activation(step.activation, value, step.name, shape)
            case TokenLayer() | AttentionPool():
                return self._plan(step.plan(self._batch_size), value)
            case Normalize():
                weights = self._source.normalization(step.channels)
                return self._normalization(step.name, weights, value)
            case Pool():
                return self._pool(step, value)
            case GlobalPool():
                return self._node("GlobalAveragePool", [value], step.name)
            case SqueezeExcite():
                return self._squeeze_excite(step, value)
            case Shuffle():
                return self._shuffle(step, value, size)
            case Zeroize():
                zero = self._tensor(f"{step.name}.zero", np.array(0.0, dtype=np.float32))
                return self._node("Mul", [value, zero], step.name)
            case PadChannels():
                added = step.out_channels - step.in_channels
                pads = np.array([0, 0, 0, 0, 0, added, 0, 0], dtype=np.int64)
                return self._node(
                    "Pad", [value, self._tensor(f"{step.name}.pads", pads)], step.name
                )

    def _layer(self, layer: Layer, value: str, size: int) -> str:
        weights = self._source.layer(layer)
        inputs = [value]
        if layer.normalized and not self._keep:
            weight, bias = fold_batch_norm(weights)
            inputs.append(self._tensor(f"{layer.name}.weight", weight))
            inputs.append(self._tensor(f"{layer.name}.bias", bias))
        else:
            names = ("weight", "bias") if layer.bias else ("weight",)
            inputs += [self._tensor(f"{layer.name}.{n}", weights[n]) for n in names]
        dilated = {"dilations": [layer.dilation] * 2} if layer.dilation > 1 else {}
        value = self._node(
            "Conv",
            inputs,
            layer.name,
            kernel_shape=[layer.kernel] * 2,
            strides=[layer.stride] * 2,
            pads=[layer.padding] * 4,
            group=layer.groups,
            **dilated,
        )
        if layer.normalized and self._keep:
            value = self._normalization(layer.name, weights, value, suffix=".norm")
        if layer.activation:
            out = layer.output_size(size)
            shape = (self._batch_size, layer.out_channels, out, out)
            value = self._activation(layer.activation, value, layer.name, shape)
        return value

    def _normalization(
        self, name: str, weights: dict[str, Array], value: str, suffix: str = ""
    ) -> str:
        names = ("scale", "shift", "mean", "variance")
        parameters = [self._tensor(f"{name}.{n}", weights[n]) for n in names]
        return self._node(
            "BatchNormalization",
            [value, *parameters],
            f"{name}{suffix}",
            epsilon=BATCH_NORM_EPSILON,
        )

    def _activation(
        self, activation: Activation, value: str, name: str, shape: tuple[int, ...]
    ) -> str:
        if activation == "gelu":
            return self._plan(gelu_plan(name, shape), value)
        bounds = ["relu6.min", "relu6.max"] if activation == "relu6" else []
        op_type = {"relu": "Relu", "relu6": "Clip", "hswish": "HardSwish"}[activation]
        return self._node(op_type, [value, *bounds], f"{name}.{activation}")

    def _pool(self, pool: Pool, value: str) -> str:
        return self._node(
            "AveragePool" if pool.kind == "avg" else "MaxPool",
            [value],
            pool.name,
            kernel_shape=[pool.kernel] * 2,
            strides=[pool.stride] * 2,
            pads=[pool.padding] * 4,
        )

    def _squeeze_excite(self, step: SqueezeExcite, value: str) -> str:
        gate = self._node("GlobalAveragePool", [value], f"{step.name}.pool")
        gate = self._layer(step.excite, self._layer(step.squeeze, gate, 1), 1)
        name = f"{step.name}.{step.gate}"
        if step.gate == "sigmoid":
            gate = self._node("Sigmoid", [gate], name)
        else:
            gate = self._node("HardSigmoid", [gate], name, alpha=1 / 6, beta=0.5)
        return self._node("Mul", [value, gate], f"{step.name}.scale")

    def _shuffle(self, step: Shuffle, value: str, size: int) -> str:
        grouped = step.grouped_shape(size, self._batch_size)
        shapes = (grouped, (self._batch_size, step.channels, size, size))
        before, after = (
            self._tensor(f"{step.name}.{label}", np.array(shape, dtype=np.int64))
            for label, shape in zip(("grouped", "flat"), shapes, strict=True)
        )
        value = self._node("Reshape", [value, before], f"{step.name}.split")
        value = self._node("Transpose", [value], f"{step.name}.transpose", perm=[0, 2, 1, 3, 4])
        return self._node("Reshape", [value, after], f"{step.name}.join")

    def _plan(self, plan: StepPlan, value: str) -> str:
        names = {INPUT: value}
        for name, learnt in plan.learnt.items():
            values = self._source.learnt(learnt)
            names[name] = self._tensor(name, values)
        for name, constant in plan.constants.items():
            names[name] = self._tensor(name, constant)
        for node in plan.nodes:
            inputs = [names[name] for name in node.inputs]
            value = self._node(node.op_type, inputs, node.name, **node.attributes)
            names[node.name] = value
        return value

    def head(self, operators: Sequence[Operator]) -> None:
        """Write global pool (where there is one), flatten and classifier."""
        *pools, classifier = operators
        weights = self._source.linear(*classifier.weight_shape)
        value = self._value
        for pool in pools:
            value = self._node("GlobalAveragePool", [value], pool.name)
        value = self._node("Flatten", [value], "flatten")
        inputs = [
            value,
            self._tensor(f"{classifier.name}.weight", weights["weight"]),
            self._tensor(f"{classifier.name}.bias", weights["bias"]),
        ]
        self.nodes.append(
            helper.make_node("Gemm", inputs, ["output"], name=classifier.name, transB=1)
        )
