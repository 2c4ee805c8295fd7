"""ONNX graphs as torch modules: one call of torch for almost every operator of the graph.

What an operator does is said in :mod:`latprof.graph.convert.torch_operators`; here a graph is read,
what is constant is computed once, and the rest becomes a ``torch.fx`` graph whose nodes know the
operators that they stand for.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.errors import (
    DynamicShapeError,
    ModelFileError,
    UnknownCostsError,
    UnsupportedModelError,
)
from latprof.graph.convert.onnx_operator import OnnxOperator, depends_on_input, read_tensor
from latprof.graph.external_data import load_external_data
from latprof.graph.model_file import graph_inputs, read_model
from latprof.graph.reader import load_model
from latprof.graph.static_shapes import fix_inputs, infer_shapes

if TYPE_CHECKING:
    import onnx
    import torch

    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Shape

#: Under this key a node's ``meta`` holds the name of the ONNX operator that it belongs to.
OPERATOR_KEY = "onnx_operator"
#: Under this one an input's ``meta`` holds its shape and its NumPy type.
INPUT_KEY = "onnx_input"
INPUT_NAME = "onnx_input_name"
_OWN_DOMAINS = ("", "ai.onnx")


def torch_module(model: ModelSource) -> torch.nn.Module:
    """Return an ONNX model as a ``torch.fx.GraphModule`` in eval mode, on the processor.

    Its inputs are the model's, in order; several outputs are a tuple. Floating initialisers are
    parameters (without gradients), other ones buffers, so ``to``, ``half`` and ``state_dict`` work
    as usual; a cast from one floating type to another is left out, since ``to`` decides on those.
    Nodes are named after the operators, whose exact names are in ``node.meta[OPERATOR_KEY]``;
    shape and type of an input are in its ``node.meta[INPUT_KEY]``, its name in ``[INPUT_NAME]``.
    Batch normalisation that is folded in the model stays folded.

    Parameters
    ----------
    model : bytes or path
        A model with static input shapes, of an opset up to 20; a path is for models whose weights
        lie in files beside them.

    Raises
    ------
    UnsupportedModelError
        For what is no model, and for the first operator without a translation, by its name.
    DynamicShapeError
        For an input dimension without a size.
    MissingDependencyError
        Without torch.
    """
    require("torch", "running a model in torch")
    import torch

    try:
        if not isinstance(model, bytes):
            content = load_model(model, external_data=True)
        else:
            content = read_model(model)
            fix_inputs(content, None, "the model")
            load_external_data(content, None, "the model")
    except ModelFileError as error:
        if isinstance(error, DynamicShapeError):
            raise
        raise UnsupportedModelError(f"torch cannot run the model: {error}") from None
    with torch.no_grad():
        return _Importer(content).module()


class _Importer:
    """Builds one module. Values are nodes of the new graph, or tensors where they are constant."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import torch

        self._model = model
        versions = (o.version for o in model.opset_import if o.domain in _OWN_DOMAINS)
        self.opset = max(versions, default=1)
        self._root = torch.nn.Module()
        self._graph = torch.fx.Graph()
        self._values: dict[str, Any] = {"": None}
        self._names: dict[int, str] = {}
        self._attributes: dict[int, tuple[torch.Tensor, torch.fx.Node]] = {}
        self._shapes: dict[str, Shape | None] | None = None

    def module(self) -> torch.nn.Module:
        """The graph's module."""
        import torch

        graph = self._model.graph
        if graph.sparse_initializer:
            raise UnsupportedModelError("torch cannot run the model: it has sparse weights")
        for value in graph_inputs(graph):
            self._values[value.name] = self._input(value)
        for tensor in graph.initializer:
            values = read_tensor(tensor)
            self._values[tensor.name] = values
            self._names[id(values)] = tensor.name
        for node in graph.node:
            self._add(node)
        missing = [value.name for value in graph.output if value.name not in self._values]
        if missing:
            raise UnsupportedModelError(
                f"torch cannot run the model: nothing makes its output {missing[0]!r}"
            )
        outputs = [self.argument(self._values[value.name]) for value in graph.output]
        self._graph.output(outputs[0] if len(outputs) == 1 else tuple(outputs))
        return torch.fx.GraphModule(self._root, self._graph, "OnnxModule").eval()

    def _input(self, value: onnx.ValueInfoProto) -> torch.fx.Node:
        from onnx import helper

        tensor = value.type.tensor_type
        if tensor.elem_type not in helper.get_all_tensor_dtypes():
            raise UnsupportedModelError(
                f"torch cannot run the model: its input {value.name!r} has no type"
            )
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
        placeholder = self._graph.placeholder(self._identifier(value.name))
        placeholder.meta[INPUT_NAME] = value.name
        placeholder.meta[INPUT_KEY] = shape, helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        return placeholder

    def _add(self, node: onnx.NodeProto) -> None:
        from latprof.graph.convert.torch_operators import OPERATORS

        translated = OnnxOperator(self, node, [self._values.get(name) for name in node.input])
        translate = OPERATORS.get(node.op_type) if node.domain in _OWN_DOMAINS else None
        if translate is None:
            raise translated.unsupported("has no translation")
        try:
            result = translate(translated)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise translated.unsupported(f"contradicts itself: {error}") from None
        results = result if isinstance(result, list) else [result]
        written = [name for name in node.output if name]
        if len(written) > len(results):
            raise translated.unsupported(f"has {len(written)} outputs")
        self._values.update(zip(node.output, results, strict=False))

    def shape(self, name: str) -> Shape | None:
        """The inferred shape of a value, None where it is not known."""
        if self._shapes is None:
            try:
                self._shapes = infer_shapes(self._model, "the model").shapes
            except UnknownCostsError:
                self._shapes = {}
        return self._shapes.get(name)

    def call(self, operator: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A node that calls ``function``, or its result where nothing depends on the input."""
        import torch

        if not depends_on_input(arguments):
            return function(*arguments)
        node = self._graph.create_node(
            "call_function",
            function,
            tuple(self.argument(argument) for argument in arguments),
            name=self._identifier(operator),
        )
        node.meta[OPERATOR_KEY] = operator
        assert isinstance(node, torch.fx.Node)
        return node

    def argument(self, value: Any) -> Any:
        """What stands for a value among a node's arguments: tensors become attributes."""
        import torch

        if isinstance(value, list | tuple):
            return type(value)(self.argument(item) for item in value)
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in self._attributes:
            name = self._identifier(self._names.get(id(value), f"constant_{len(self._attributes)}"))
            while keyword.iskeyword(name) or hasattr(self._root, name):
                name += "_"
            if value.is_floating_point():
                parameter = torch.nn.Parameter(value.contiguous(), requires_grad=False)
                self._root.register_parameter(name, parameter)
            else:
                self._root.register_buffer(name, value.contiguous())
            # The tensor is kept so that no other one gets its id.
            self._attributes[id(value)] = value, self._graph.get_attr(name)
        return self._attributes[id(value)][1]

    @staticmethod
    def _identifier(name: str) -> str:
        return re.sub(r"\W|^(?=\d)", "_", name, flags=re.ASCII) or "_"
