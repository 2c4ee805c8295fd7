"""A graph's nodes as plain values: the names of each are read once from its message.

Protobuf makes a text or a list anew at each access, a loop over one of its lists takes three times
as long as one over a slice of it, and a list that is asked for and not there costs 350 bytes for as
long as the message is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import onnx

#: Numbers of a node's fields in onnx.proto.
_INPUT, _OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7


class PlainNode(NamedTuple):
    """A node, its fields under ONNX's names.

    ``message`` is the node in its graph, ``bodies`` are the graphs that its attributes hold;
    ``has_attributes`` whether there are any.
    """

    message: onnx.NodeProto
    op_type: str
    domain: str
    input: tuple[str, ...]
    output: tuple[str, ...]
    bodies: tuple[onnx.GraphProto, ...]
    has_attributes: bool

    @property
    def name(self) -> str:
        """The node's own name; empty for none."""
        name: str = self.message.name
        return name

    @property
    def attribute(self) -> Sequence[onnx.AttributeProto]:
        """The attributes, which are messages still."""
        return self.message.attribute[:] if self.has_attributes else ()

    @property
    def reads(self) -> Sequence[str]:
        """Names that it reads, those that its bodies take from outside included."""
        if all(self.input) and not self.bodies:
            return self.input
        inner = (each.input for body in self.bodies for each in all_nodes(body.node))
        return [name for names in (self.input, *inner) for name in names if name]


def plain_nodes(nodes: Iterable[onnx.NodeProto]) -> list[PlainNode]:
    """Nodes without those of their bodies; a name that several have is held once."""
    shared: dict[str, str] = {}
    return [_plain(node, shared) for node in nodes]


def with_inner(nodes: Iterable[PlainNode]) -> Iterator[PlainNode]:
    """Nodes with those of their bodies, depth first."""
    shared: dict[str, str] = {}
    waiting: list[Iterator[PlainNode]] = [iter(nodes)]
    while waiting:
        node = next(waiting[-1], None)
        if node is None:
            waiting.pop()
            continue
        yield node
        waiting += (map(_plain, body.node, repeat(shared)) for body in reversed(node.bodies))


def _plain(node: onnx.NodeProto, shared: dict[str, str]) -> PlainNode:
    share = shared.setdefault
    given = {field.number: value for field, value in node.ListFields()}
    op_type, domain = given.get(_OP_TYPE, ""), given.get(_DOMAIN, "")
    inputs, outputs = given.get(_INPUT, ())[:], given.get(_OUTPUT, ())[:]
    return PlainNode(
        node,
        share(op_type, op_type),
        share(domain, domain),
        tuple(map(share, inputs, inputs)),
        tuple(map(share, outputs, outputs)),
        tuple(subgraphs(node)) if _ATTRIBUTE in given else (),
        _ATTRIBUTE in given,
    )


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes with those of their subgraphs, depth first."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph.node)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Graphs that a node's attributes hold; not those inside them."""
    found = []
    for attribute in node.attribute[:]:
        if attribute.HasField("g"):
            found.append(attribute.g)
        found += attribute.graphs[:]
    return found
