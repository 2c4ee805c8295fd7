"""One node of a graph as handlers see it: its inputs and outputs with shapes, its attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.graph.operators import Shape


class Value(NamedTuple):
    """An input or output: its shape where it is known, and whether it is the same in every run."""

    name: str
    shape: Shape | None = None
    dtype: str = ""
    constant: bool = False


@dataclass(frozen=True, repr=False)
class GraphNode(ShortRepr):
    """An operator of a graph.

    ``inputs`` and ``outputs`` are in the order of the operator's definition; None where an optional
    one is left out. ``attributes`` are plain values: numbers, text, or tuples of them, of long
    lists the first 64; ``lengths`` are those of the lists, outside ONNX's own domain. ``values``
    holds those of small constant inputs, by position.
    """

    op_type: str
    domain: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)

    def has(self, position: int) -> bool:
        """Whether an input is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def shape(self, position: int) -> Shape:
        """Shape of an input; LookupError where it is left out or its shape is not known."""
        return _shape(self.inputs, position)

    def output_shape(self, position: int = 0) -> Shape:
        """Shape of an output; LookupError where it is left out or its shape is not known."""
        return _shape(self.outputs, position)

    def number(self, attribute: str, default: int = 0) -> int:
        """An attribute that is a whole number."""
        return int(self.attributes.get(attribute, default))

    def length(self, attribute: str) -> int:
        """How many values an attribute has that is a list; 0 where it is not given."""
        return self.lengths.get(attribute, 0)


MacCounter: TypeAlias = Callable[[GraphNode], int]
ShapeRule: TypeAlias = "Callable[[GraphNode], Sequence[Shape]]"


def _shape(values: tuple[Value | None, ...], position: int) -> Shape:
    value = values[position] if position < len(values) else None
    if value is None or value.shape is None:
        raise LookupError(position)
    return value.shape
