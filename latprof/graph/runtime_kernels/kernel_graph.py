"""A graph of operators that rewrites change step by step, until each node is a kernel."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.operators import Network, Operator, Shape

#: Ends a place: what is put before a node has a number there.
_LAST = 1 << 62


@dataclass(eq=False)
class KernelNode:
    """What will be one kernel: the operator that does the work, and what runs with it.

    ``inputs`` are names of values by the position that they have in ``operator``; more of them may
    have come with other operators.
    """

    operator: Operator
    op_type: str
    domain: str
    inputs: dict[int, str]
    outputs: list[str]
    activation: str = ""
    parts: list[str] = field(default_factory=list)
    #: Its place in the order of execution, which the graph gives it.
    place: tuple[int, ...] = ()

    @property
    def data(self) -> str:
        """The value at the first input; empty where that is a constant, or left out."""
        return self.inputs.get(0, "")

    @property
    def constants(self) -> int:
        """How many constant inputs the operator has."""
        return len(self.operator.weight_positions)

    def scalar(self) -> float | None:
        """The value of the operator's only constant input, where that is one number."""
        values = list(self.operator.constants.values())
        return values[0][0] if len(values) == 1 and len(values[0]) == 1 else None

    def constant_shape(self) -> Shape | None:
        """The shape of the operator's only constant input."""
        shapes = self.operator.weight_shapes
        return shapes[0] if len(shapes) == 1 else None


class KernelGraph:
    """Nodes in execution order, with who writes and who reads each value."""

    def __init__(self, network: Network) -> None:
        self.outputs = {name for name, _ in network.outputs}
        self.shapes: dict[str, Shape] = dict(network.inputs)
        self.dtypes: dict[str, str] = {}
        self._held: dict[KernelNode, None] = {}
        self._sorted: list[KernelNode] | None = None
        self._added = 0
        self._writer: dict[str, KernelNode] = {}
        #: How often each node reads a value.
        self._readers: dict[str, Counter[KernelNode]] = {}
        for operator in network.operators:
            positions = operator.positions or range(len(operator.reads))
            inputs = dict(zip(positions, operator.reads, strict=False))
            node = KernelNode(
                operator, operator.op_type, operator.domain, inputs, list(operator.writes)
            )
            node.parts = [operator.name]
            node.activation = _applied(operator)
            self.shapes.update(zip(operator.writes, operator.output_shapes, strict=False))
            self.dtypes.update(zip(operator.writes, operator.output_dtypes, strict=False))
            self.add(node)

    @property
    def nodes(self) -> list[KernelNode]:
        """Nodes in execution order; made anew where they have changed."""
        if self._sorted is None:
            self._sorted = sorted(self._held, key=attrgetter("place"))
        return self._sorted

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return len(self._held)

    def add(
        self,
        node: KernelNode,
        before: KernelNode | None = None,
        after: KernelNode | None = None,
    ) -> None:
        """Put a node at the end, right before or right after another."""
        self._put(node, before, after)
        self._writer.update(dict.fromkeys(node.outputs, node))
        for name in node.inputs.values():
            self._read(name, node)

    def _put(self, node: KernelNode, before: KernelNode | None, after: KernelNode | None) -> None:
        self._added += 1
        if after is not None:
            node.place = (*after.place, -self._added, _LAST)
        else:
            node.place = (*(before.place[:-1] if before is not None else ()), self._added, _LAST)
        self._held[node] = self._sorted = None

    def _read(self, name: str, node: KernelNode) -> None:
        self._readers.setdefault(name, Counter())[node] += 1

    def _read_no_more(self, name: str, node: KernelNode) -> None:
        readers = self._readers[name]
        readers[node] -= 1
        if not readers[node]:
            del readers[node]

    def of(self, *op_types: str) -> Iterator[KernelNode]:
        """Nodes of these types, in order; those removed meanwhile are left out."""
        for node in [n for n in self.nodes if n.op_type in op_types]:
            if self.holds(node):
                yield node

    def holds(self, node: KernelNode) -> bool:
        """Whether a node is still there."""
        return bool(node.outputs) and self._writer.get(node.outputs[0]) is node

    def writer(self, name: str) -> KernelNode | None:
        """Who makes a value; None for inputs."""
        return self._writer.get(name)

    def readers(self, name: str) -> list[KernelNode]:
        """Who reads a value, once for each time."""
        return [*self._readers.get(name, Counter()).elements()]

    def only_reader(self, node: KernelNode) -> KernelNode | None:
        """Who alone reads a node's only output, which is no output of the graph."""
        if len(node.outputs) != 1 or node.outputs[0] in self.outputs:
            return None
        readers = self._readers.get(node.outputs[0], Counter())
        return next(iter(readers)) if [*islice(readers.values(), 2)] == [1] else None

    def shape(self, name: str) -> Shape:
        """A value's shape; empty where it is not known."""
        return self.shapes.get(name, ())

    def remove(self, node: KernelNode) -> None:
        """Take a node out; its outputs have no writer then."""
        del self._held[node]
        self._sorted = None
        for name in node.outputs:
            if self._writer.get(name) is node:
                del self._writer[name]
        for name in node.inputs.values():
            self._read_no_more(name, node)

    def read_instead(self, node: KernelNode, position: int, name: str) -> None:
        """Let a node read another value at a position."""
        if position in node.inputs:
            self._read_no_more(node.inputs[position], node)
        node.inputs[position] = name
        self._read(name, node)

    def forget(self, node: KernelNode, position: int) -> None:
        """Let a node read no value at a position any more."""
        self._read_no_more(node.inputs.pop(position), node)

    def bypass(self, node: KernelNode, position: int = 0) -> None:
        """Take a node out that changes nothing: its readers read its input."""
        source, output = node.inputs[position], node.outputs[0]
        if output in self.outputs:
            self.outputs.add(source)
        self.remove(node)
        for reader in list(self.readers(output)):
            for place, name in list(reader.inputs.items()):
                if name == output:
                    self.read_instead(reader, place, source)

    def read_from(self, node: KernelNode, other: KernelNode) -> None:
        """Take a node out; its readers read the only output of another that does the same."""
        old, new = node.outputs[0], other.outputs[0]
        self.remove(node)
        for reader in list(self.readers(old)):
            for place, name in list(reader.inputs.items()):
                if name == old:
                    self.read_instead(reader, place, new)

    def absorb(self, node: KernelNode, after: KernelNode, extra: Iterable[str] = ()) -> None:
        """Let a node do what the only reader of its output does; ``extra`` it reads as well."""
        self.remove(after)
        for name in node.outputs:
            self._writer.pop(name, None)
        node.outputs = list(after.outputs)
        self._writer.update(dict.fromkeys(node.outputs, node))
        node.parts += after.parts
        for name in extra:
            self.read_instead(node, max(node.inputs, default=0) + 16, name)

    def rename_output(self, node: KernelNode, old: str, new: str) -> None:
        """Let a node write an output under another name, which nobody reads yet."""
        self._writer.pop(old, None)
        node.outputs[node.outputs.index(old)] = new
        self._writer[new] = node

    def move_later(self, node: KernelNode, after: KernelNode) -> None:
        """Let a node run after another, whose result it reads now."""
        if node.place < after.place:
            self._put(node, None, after)

    def kernel(self, node: KernelNode) -> Operator:
        """A node as an operator: with what it reads and writes now."""
        operator, reads = node.operator, tuple(node.inputs.values())
        return dataclasses.replace(
            operator,
            op_type=node.op_type,
            domain=node.domain,
            reads=reads,
            positions=tuple(node.inputs),
            writes=tuple(node.outputs),
            input_shapes=tuple(self.shape(name) for name in reads),
            output_shapes=tuple(self.shape(name) for name in node.outputs),
            input_dtypes=tuple(self.dtypes.get(n, operator.precision) for n in reads),
            output_dtypes=tuple(self.dtypes.get(n, operator.precision) for n in node.outputs),
            activation=node.activation,
            parts=tuple(node.parts),
        )


def _applied(operator: Operator) -> str:
    """What a kernel of a file that the runtime saved applies: it says so in attributes."""
    name = operator.attributes.get("activation")
    sums = operator.op_type in ("Conv", "FusedConv") and 3 in operator.positions
    words = ("add" if sums else "", name.lower() if isinstance(name, str) else "")
    return "+".join(filter(None, words))
