"""One operator of an ONNX graph, as its translation to torch sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from latprof.errors import UnsupportedModelError

if TYPE_CHECKING:
    import onnx
    import torch

    from latprof.graph.operators import Shape


class Importer(Protocol):
    """What an operator needs of the graph that it belongs to."""

    opset: int

    def call(self, operator: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A node that calls ``function``, or its result where nothing depends on the input."""
        ...

    def shape(self, name: str) -> Shape | None:
        """The inferred shape of a value, None where it is not known."""
        ...


class OnnxOperator:
    """One operator of a graph, as a translation sees it.

    ``inputs`` are values: nodes of the new graph, tensors where constant, None where left out.
    """

    def __init__(self, importer: Importer, node: onnx.NodeProto, inputs: list[Any]) -> None:
        self._importer, self._node = importer, node
        self.inputs = inputs
        self.op_type: str = node.op_type
        self.name: str = node.name or next(filter(None, node.output), node.op_type)
        self.output_count = len(node.output)
        self.opset = importer.opset

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The value of a function of torch; computed now where nothing depends on the input."""
        return self._importer.call(self.name, function, arguments)

    def input(self, position: int) -> Any:
        """The value at a position, None where there is none."""
        return self.inputs[position] if position < len(self.inputs) else None

    def constant(self, position: int) -> torch.Tensor | None:
        """The tensor at a position; UnsupportedModelError where it depends on the input."""
        value = self.input(position)
        if depends_on_input([value]):
            raise self.unsupported(f"computes its input {position} from the model's input")
        found: torch.Tensor | None = value
        return found

    def numbers(self, position: int, attribute: str) -> list[int] | None:
        """Whole numbers that are an attribute or, in later opsets, a constant input."""
        given = self.attribute(attribute)
        if given is None and position >= 0:
            values = self.constant(position)
            given = None if values is None else values.reshape(-1).tolist()
        return None if given is None else [int(value) for value in given]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value: number, list of numbers, text or TensorProto."""
        from onnx import helper

        for attribute in self._node.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return default

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor of an attribute."""
        return read_tensor(self.attribute(name))

    def shape(self, position: int) -> Shape:
        """The shape of an input; UnsupportedModelError where it cannot be inferred."""
        return self._known_shape(self._node.input[position])

    @property
    def output_shape(self) -> Shape:
        """The shape of the first output; UnsupportedModelError where it cannot be inferred."""
        return self._known_shape(self._node.output[0])

    def _known_shape(self, name: str) -> Shape:
        value = self._importer.shape(name)
        if value is None:
            raise self.unsupported(f"has a shape that cannot be inferred, of {name!r}")
        return value

    def unsupported(self, why: str) -> UnsupportedModelError:
        """The error for an operator that cannot be translated."""
        domain = f"{self._node.domain}." if self._node.domain else ""
        return UnsupportedModelError(
            f"torch cannot run the model: {domain}{self.op_type} {self.name!r} {why}"
        )


def depends_on_input(arguments: Any) -> bool:
    """Whether a node of the new graph is among the arguments, in lists too."""
    import torch

    return any(
        depends_on_input(argument)
        if isinstance(argument, list | tuple)
        else isinstance(argument, torch.fx.Node)
        for argument in arguments
    )


def read_tensor(proto: onnx.TensorProto) -> torch.Tensor:
    """A tensor with the values of an initialiser; UnsupportedModelError for exotic types."""
    import torch
    from onnx import numpy_helper

    try:
        values = numpy_helper.to_array(proto)
        if values.dtype.name == "bfloat16":
            return torch.from_numpy(values.view("int16").copy()).view(torch.bfloat16)
        return torch.from_numpy(values.copy())
    except Exception as error:  # noqa: BLE001 - missing values, unknown types, sizes that do not fit
        raise UnsupportedModelError(
            f"torch cannot run the model: weight {proto.name!r} cannot be read: {error}"
        ) from None
