"""ONNX models to TFLite files, operator by operator.

What an operator becomes is said in the rules; here a graph is read, what is constant is computed,
and what is left of the graph is simplified and written.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from latprof.common.extras import require
from latprof.errors import LatprofError, ModelFileError, UnsupportedModelError
from latprof.graph.convert.tflite.constants import ConstantFolder, read_constant
from latprof.graph.convert.tflite.flat_file import WrittenModel, written_model
from latprof.graph.convert.tflite.flat_graph import FlatGraph
from latprof.graph.convert.tflite.flat_operator import INT32, FlatNode
from latprof.graph.convert.tflite.flat_schema import TYPE_CODES
from latprof.graph.convert.tflite.layouts import (
    FlatValue,
    channels_last,
    constant_value,
    identity,
    in_order,
    stored,
)
from latprof.graph.convert.tflite.rules import resize_rules as sizes
from latprof.graph.convert.tflite.rules import window_rules as windows
from latprof.graph.convert.tflite.rules.element_rules import ELEMENT_RULES, Rule
from latprof.graph.convert.tflite.rules.move_rules import MOVE_RULES
from latprof.graph.convert.tflite.rules.product_rules import PRODUCT_RULES
from latprof.graph.convert.tflite.simplifying import simplify
from latprof.graph.external_data import load_external_data
from latprof.graph.model_file import graph_inputs, read_model
from latprof.graph.static_shapes import fix_inputs

_OWN_DOMAINS = ("", "ai.onnx")
_IMAGE_DIMENSIONS = 4
#: Operators that are too slow to be computed here where their inputs are constant: they run in the
#: model, as with TensorFlow's own converter.
_LEFT_TO_RUN = frozenset({"AveragePool", "Conv", "ConvTranspose", "MaxPool"})

RULES: dict[str, Rule] = {
    **ELEMENT_RULES,
    **MOVE_RULES,
    **PRODUCT_RULES,
    "AveragePool": windows.average_pool,
    "Conv": windows.conv,
    "ConvTranspose": windows.conv_transpose,
    "DepthToSpace": sizes.depth_to_space,
    "LRN": sizes.local_response_norm,
    "MaxPool": windows.max_pool,
    "Resize": sizes.resize,
    "SpaceToDepth": sizes.space_to_depth,
    "Upsample": sizes.resize,
}
#: Microsoft's operators that mean what ONNX's of the same name do.
_CONTRIBUTED = frozenset({"Gelu", "QuickGelu"})


def write_tflite(content: bytes) -> WrittenModel:
    """Write a float32 ONNX model as a TFLite file.

    Values of four dimensions that come in and go out are channels-last, others as ONNX has them;
    64-bit integers are 32-bit ones.

    Raises
    ------
    DynamicShapeError
        For an input dimension without a size.
    UnsupportedModelError
        For bytes that are no model, and for the first operator without a translation, by its name.
    MissingDependencyError
        Without flatbuffers.
    """
    require("litert", "writing a TFLite model", "flatbuffers")
    try:
        model = read_model(content)
        fix_inputs(model, None, "the model")
        load_external_data(model, None, "the model")
    except ModelFileError as error:
        if error.code != ModelFileError.code:
            raise
        raise UnsupportedModelError(f"the model has no TFLite form: {error}") from None
    graph = _Translation(_expanded(model)).graph()
    simplify(graph)
    return written_model(graph)


def _expanded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with operators that ONNX itself defines by others written out."""
    unknown = {
        (node.domain, node.op_type)
        for node in model.graph.node
        if node.op_type not in RULES and node.domain in _OWN_DOMAINS
    }
    versions = [o.version for o in model.opset_import if o.domain in _OWN_DOMAINS]
    defined = [key for key in sorted(unknown) if versions and _has_body(key[1], versions[0])]
    if not defined:
        return model
    from onnx.inliner import inline_selected_functions

    for node in model.graph.node:
        if (node.domain, node.op_type) in defined:
            _write_defaults(node, versions[0])
    try:
        inlined = inline_selected_functions(model, defined, inline_schema_functions=True)
        return read_model(inlined)
    except (LatprofError, RuntimeError, ValueError, TypeError):
        return model


def _write_defaults(node: onnx.NodeProto, version: int) -> None:
    """Name the attributes that are left out: an operator's definition reads them by name."""
    given = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type, version).attributes.items():
        if name not in given and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _has_body(op_type: str, version: int) -> bool:
    try:
        schema = onnx.defs.get_schema(op_type, version)
    except (onnx.defs.SchemaError, RuntimeError):
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


class _Translation:
    """Translates one model. Values are constants, or tensors with their axes in some order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        versions = (o.version for o in model.opset_import if o.domain in _OWN_DOMAINS)
        self._opset = max(versions, default=1)
        self._folder = ConstantFolder(list(model.opset_import))
        self._graph = FlatGraph(model.graph.name)
        self._values: dict[str, FlatValue] = {}

    def graph(self) -> FlatGraph:
        """The TFLite graph, as the operators' rules make it."""
        graph = self._model.graph
        if graph.sparse_initializer:
            raise UnsupportedModelError("the model has no TFLite form: it has sparse weights")
        for value in graph_inputs(graph):
            self._values[value.name] = self._input(value)
        for tensor in graph.initializer:
            self._values[tensor.name] = constant_value(read_constant(tensor))
        for node in graph.node:
            self._translate(node)
        for value in graph.output:
            self._output(value.name)
        return self._graph

    def _input(self, value: onnx.ValueInfoProto) -> FlatValue:
        tensor_type = value.type.tensor_type
        shape = tuple(dim.dim_value for dim in tensor_type.shape.dim)
        kind, known = tensor_type.elem_type, helper.get_all_tensor_dtypes()
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind) if kind in known else object)
        dtype = INT32 if dtype.name in ("int64", "uint32", "uint64") else dtype
        if dtype.name not in TYPE_CODES:
            raise UnsupportedModelError(
                f"the model has no TFLite form: its input {value.name!r} is of type {dtype}"
            )
        order = _outside_order(shape)
        tensor = self._graph.add_input(value.name, stored(shape, order), dtype)
        return FlatValue(shape, dtype, order, tensor)

    def _translate(self, node: onnx.NodeProto) -> None:
        inputs = [self._read(node, name) for name in node.input]
        known = [None if value is None else value.data for value in inputs]
        shape_only = node.op_type in ("Shape", "Size") and node.domain in _OWN_DOMAINS
        if inputs and inputs[0] is not None and node.op_type in _LEFT_TO_RUN:
            inputs[0] = self._stored(inputs[0])
        if all(v is None or v.data is not None for v in inputs) and not shape_only:
            self._keep(node, [constant_value(data) for data in self._folder.run(node, known)])
            return
        own = node.domain in _OWN_DOMAINS or (
            node.domain == "com.microsoft" and node.op_type in _CONTRIBUTED
        )
        operator = FlatNode(node, inputs, self._graph, self._opset)
        rule = RULES.get(node.op_type) if own else None
        if rule is None:
            raise operator.unsupported("has no translation")
        try:
            results = rule(operator)
        except LatprofError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError) as e:
            reason = " ".join(str(e).split())[:200] or type(e).__name__
            raise operator.unsupported(f"contradicts itself: {reason}") from None
        self._keep(node, results if isinstance(results, list) else [results])

    def _stored(self, value: FlatValue) -> FlatValue:
        """A value as a tensor, which may be a constant."""
        order = _outside_order(value.shape)
        if value.data is None:
            return value
        return FlatValue(value.shape, value.dtype, order, in_order(self._graph, value, order))

    def _read(self, node: onnx.NodeProto, name: str) -> FlatValue | None:
        if not name:
            return None
        if name not in self._values:
            raise UnsupportedModelError(
                f"the model has no TFLite form: {node.op_type} {node.name!r} reads {name!r},"
                " which has no translation"
            )
        return self._values[name]

    def _keep(self, node: onnx.NodeProto, results: list[FlatValue]) -> None:
        for name, value in zip(node.output, results, strict=False):
            if value.data is None and 0 in value.shape:
                raise UnsupportedModelError(
                    f"the model has no TFLite form: {node.op_type} {node.name!r} gives nothing"
                )
            if name:
                self._values[name] = value

    def _output(self, name: str) -> None:
        if name not in self._values:
            raise UnsupportedModelError(
                f"the model has no TFLite form: its output {name!r} has no translation"
            )
        value = self._values[name]
        tensor = in_order(self._graph, value, _outside_order(value.shape))
        if self._graph.producer(tensor) is None or tensor in self._graph.outputs:
            shape = self._graph.tensors[tensor].shape
            sizes = self._graph.constant(np.array(shape, np.int32))
            tensor = self._graph.emit("RESHAPE", [tensor, sizes], shape)  # a copy
        self._graph.tensors[tensor].name = name
        self._graph.outputs.append(tensor)


def _outside_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The order of what comes in and goes out: images channels-last."""
    rank = len(shape)
    return channels_last(rank) if rank == _IMAGE_DIMENSIONS else identity(rank)
