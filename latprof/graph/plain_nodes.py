"""A graph's nodes as plain values: the names of each are read once from its message.

Protobuf makes a text or a list anew at each access, and a loop over one of its lists takes three
times as long as one over a slice of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import onnx


class PlainNode(NamedTuple):
    """A node, its fields under ONNX's names.

    ``message`` is the node in its graph, ``bodies`` are the graphs that its attributes hold.
    """

    message: onnx.NodeProto
    op_type: str
    domain: str
    input: tuple[str, ...]
    output: tuple[str, ...]
    bodies: tuple[onnx.GraphProto, ...]

    @property
    def name(self) -> str:
        """The node's own name; empty for none."""
        name: str = self.message.name
        return name

    @property
    def attribute(self) -> Sequence[onnx.AttributeProto]:
        """The attributes, which are messages still."""
        attributes: Sequence[onnx.AttributeProto] = self.message.attribute[:]
        return attributes

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
    share, op_type, domain = shared.setdefault, node.op_type, node.domain
    inputs, outputs = node.input[:], node.output[:]
    return PlainNode(
        node,
        share(op_type, op_type),
        share(domain, domain),
        tuple(map(share, inputs, inputs)),
        tuple(map(share, outputs, outputs)),
        tuple(subgraphs(node)),
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
