"""Networks from ONNX models: operators in execution order, with the shapes they run at.

A model is read without its weights' external data. Work on constants (the shape arithmetic of
exporters, transposed weights) and operators that do nothing at inference are left out; subgraphs
(If, Loop, Scan) count as one operator of their own type.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.errors import ModelFileError, UnknownCostsError
from latprof.graph.external_data import load_external_data
from latprof.graph.fusion import ACTIVATIONS
from latprof.graph.model_file import (
    ModelSource,
    graph_inputs,
    model_digest,
    node_name,
    read_model,
    without_data,
)
from latprof.graph.operators import Network, Operator, Shape
from latprof.graph.static_shapes import InputShapes, fix_inputs, infer_shapes, parse_shape
from latprof.graph.value_facts import ValueFacts

if TYPE_CHECKING:
    import onnx

__all__ = [
    "known_operators",
    "load_model",
    "model_bytes",
    "model_digest",
    "parse_shape",
    "read_network",
]

#: Operators that move no data at inference: their output is their first input.
_NOTHING = frozenset({"Identity", "Dropout"})
#: Operators whose output depends on no values of their inputs, only on shapes, or on nothing.
_SHAPE_ONLY = frozenset({"Constant", "Shape", "Size"})
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike"}
)
#: Positions of the inputs that are learnt, where constant.
_LEARNT = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "FusedConv": (1, 2),
    "ConvInteger": (1,),
    "QLinearConv": (3, 8),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "Add": (0, 1),
    "Mul": (0, 1),
    "Gather": (0,),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}
#: Operators whose cost would be a guess without shapes.
_NEEDS_SHAPES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def read_network(
    source: ModelSource | onnx.ModelProto, *, shapes: InputShapes | None = None
) -> Network:
    """Read a network's operators, shapes and parameter counts from an ONNX model.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        The model; a file of at most 2 GiB. It is not changed, nothing of it is run, and no other
        file is opened.
    shapes : mapping of input name to shape, optional
        Sizes to assume, batch first; needed for inputs with dimensions that have none. The key
        None stands for a model's only input.

    Raises
    ------
    ModelFileError
        For a file that is missing, empty, truncated, no ONNX model, or contradicts itself.
    DynamicShapeError
        For an input dimension without a size.
    UnknownCostsError
        For a model that can only be measured: sizes depend on values, or nobody knows an operator.
    InvalidValueError
        For ``shapes`` that name no input or do not fit it.
    """
    label = os.fspath(source) if isinstance(source, str | os.PathLike) else "the model"
    model = read_model(source, data=False)
    without_data(model)
    held = fix_inputs(model, shapes, label)
    known = infer_shapes(model, label, held)
    graph = model.graph
    return Network(
        name=graph.name,
        operators=_operators(graph, known, label),
        inputs=tuple((value.name, known[value.name] or ()) for value in graph_inputs(graph)),
        outputs=tuple((value.name, known.get(value.name) or ()) for value in graph.output),
    )


def known_operators(source: ModelSource) -> tuple[Operator, ...]:
    """A model's operators, none where they are not known; raises as :func:`read_network` else."""
    try:
        return read_network(source).operators
    except UnknownCostsError:
        return ()


def load_model(
    path: str | os.PathLike[str],
    *,
    shapes: InputShapes | None = None,
    external_data: bool = False,
) -> onnx.ModelProto:
    """Load a model with the sizes of its inputs and outputs fixed.

    ``external_data`` also loads weights that lie in other files of the model's own folder;
    other places and links are refused. Raises as :func:`read_network`.
    """
    model = read_model(path)
    held = fix_inputs(model, shapes, os.fspath(path), sequences=True)
    try:
        known = infer_shapes(model, os.fspath(path), held)
    except UnknownCostsError:
        known = {}
    for output in model.graph.output:
        shape = known.get(output.name)
        if shape is not None and output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.ClearField("dim")
            for size in shape:
                output.type.tensor_type.shape.dim.add().dim_value = size
    if external_data:
        load_external_data(model, Path(path).parent, os.fspath(path))
    return model


def model_bytes(path: str | os.PathLike[str], *, shapes: InputShapes | None = None) -> bytes:
    """Return the model that a runtime loads: static shapes, and every weight inside.

    Raises as :func:`read_network`, and ModelFileError where external weights are missing or the
    whole is larger than 2 GiB.
    """
    model = load_model(path, shapes=shapes, external_data=True)
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # noqa: BLE001 - protobuf's size limit has no public type
        raise ModelFileError(f"{path} cannot be serialized: {error}") from None
    return content


def _operators(
    graph: onnx.GraphProto, known: Mapping[str, Shape | None], label: str
) -> tuple[Operator, ...]:
    """Operators that run, in order; every learnt value is counted where it is read first."""
    constant = {tensor.name for tensor in graph.initializer}
    constant |= {tensor.values.name for tensor in graph.sparse_initializer}
    facts = ValueFacts(graph)
    same: dict[str, str] = {}
    counted: set[str] = set()
    operators: list[Operator] = []
    for node in graph.node:
        inputs = [same.get(name, name) for name in node.input]
        if _is_constant(node, inputs, constant):
            constant.update(filter(None, node.output))
        elif node.op_type in _NOTHING and inputs and node.output:
            same[node.output[0]] = inputs[0]
        else:
            operator = _operator(node, inputs, known, constant, counted, label)
            operators.append(
                dataclasses.replace(
                    operator,
                    precision=facts.precision(inputs),
                    activation=facts.activation(node, inputs)
                    if node.op_type in ACTIVATIONS
                    else "",
                )
            )
        facts.follow(node, inputs)
    if not operators:
        raise UnknownCostsError(f"{label} has no operators that depend on its inputs")
    return tuple(operators)


def _is_constant(node: onnx.NodeProto, inputs: list[str], constant: set[str]) -> bool:
    """Whether a node's outputs are the same in every run: runtimes compute them once."""
    if node.op_type in _SHAPE_ONLY and node.domain in ("", "ai.onnx"):
        return True
    given = [name for name in inputs if name]
    has_graph = any(a.HasField("g") or a.graphs for a in node.attribute)
    return (
        bool(given)
        and node.op_type not in _RANDOM
        and not has_graph
        and all(name in constant for name in given)
    )


def _operator(
    node: onnx.NodeProto,
    inputs: list[str],
    known: Mapping[str, Shape | None],
    constant: set[str],
    counted: set[str],
    label: str,
) -> Operator:
    """One operator; ``counted`` collects the learnt values that have been counted."""
    read = tuple(value for value in inputs if value and value not in constant)
    written = tuple(value for value in node.output if value)
    shapes = {value: known.get(value) for value in (*inputs, *written) if value}
    learnt = [
        inputs[position]
        for position in _LEARNT.get(node.op_type, ())
        if position < len(inputs) and inputs[position] in constant
    ]
    weights = [(value, shapes[value] or ()) for value in learnt if shapes[value]]
    weight = next((shape for _, shape in weights), ())
    if not weight and node.op_type in ("Conv", "ConvTranspose") and len(inputs) > 1:
        weight = shapes.get(inputs[1]) or ()  # computed from the input, in a dynamic convolution
    parameters = sum(math.prod(shape) for value, shape in weights if value not in counted)
    counted.update(value for value, _ in weights)
    kernel, stride, groups, dilation = _window(node, weight)
    operator = Operator(
        name=node_name(node),
        op_type=node.op_type,
        input_shapes=tuple(s for s in (shapes[v] for v in read) if s is not None),
        output_shapes=tuple(s for s in (shapes[v] for v in written) if s is not None),
        weight_shape=weight,
        parameters=parameters,
        kernel=kernel,
        stride=stride,
        groups=groups,
        dilation=dilation,
        reads=read,
        writes=written,
    )
    _check_operator(operator, label)
    return operator


def _window(node: onnx.NodeProto, weight: Shape) -> tuple[int, int, int, int]:
    """Kernel, stride, groups and dilation of a convolution or pool; the largest of the sides."""
    attributes = {a.name: a for a in node.attribute}

    def largest(name: str, otherwise: int) -> int:
        values = attributes[name].ints if name in attributes else ()
        return max(values, default=otherwise)

    is_window = "Conv" in node.op_type or node.op_type.endswith("Pool")
    if not is_window:
        return 0, 1, 1, 1
    group = attributes["group"].i if "group" in attributes else 1
    kernel = largest("kernel_shape", max(weight[2:], default=0))
    return kernel, largest("strides", 1), group, largest("dilations", 1)


def _check_operator(operator: Operator, label: str) -> None:
    """Refuse operators that matter and whose shapes are unknown or contradict themselves."""
    where = f"{label}: {operator.op_type} {operator.name!r}"
    if operator.op_type == "Reshape" and operator.input_shapes and operator.output_shapes:
        before, after = operator.input_shapes[0], operator.output_shapes[0]
        if math.prod(before) != math.prod(after):
            raise UnknownCostsError(
                f"{where} was made for another size of input",
                got=f"{before} to {after}",
                hint="export the model with dynamic axes, or for the size in question",
            )
    if operator.op_type not in _NEEDS_SHAPES:
        return
    if not (operator.input_shapes and operator.output_shapes and operator.input_shapes[0]):
        raise UnknownCostsError(
            f"{where} has a shape that cannot be resolved",
            hint="the sizes of the inputs may not fit the model, or depend on values",
        )
    if operator.op_type in ("Conv", "ConvTranspose"):
        data, weight, groups = operator.input_shapes[0], operator.weight_shape, operator.groups
        channels = weight[:2] if len(weight) > 2 else (0, 0)
        wanted = channels[0] if operator.op_type == "ConvTranspose" else channels[1] * groups
        fits = len(data) == len(weight) > 2 and groups >= 1 and data[1] == wanted
        if not fits or operator.kernel < 1 or operator.stride < 1:
            raise UnknownCostsError(
                f"{where} has a weight that does not fit its input",
                got=f"input {data}, weight {weight}, {groups} groups",
            )
