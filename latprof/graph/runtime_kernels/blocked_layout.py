"""Channels in blocks: what ONNX Runtime's NCHWc transformer does on x86 processors.

Convolutions and pools run on values whose channels lie in blocks of eight (AVX2) or sixteen
(AVX-512). Values are reordered where a kernel needs the other layout, which is a kernel too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latprof.graph.runtime_kernels.kernel_graph import KernelNode
from latprof.graph.runtime_kernels.patterns import one_a_channel

if TYPE_CHECKING:
    from latprof.graph.runtime_kernels.kernel_graph import KernelGraph

NCHWC = "com.microsoft.nchwc"
_ALIGNMENT = 4
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"})
_PASSES = frozenset({"Relu", "Sigmoid", "Tanh", "HardSigmoid", "QuickGelu", "Gelu"})
#: What is merged into a convolution of the blocked layout.
_FUSES = frozenset({"Relu", "Sigmoid", "Tanh", "HardSigmoid"})
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass
class BlockedLayout:
    """One run over a graph, in execution order.

    ``blocked`` are values in the blocked layout. Reorders are added at the end, where their
    readers are known.
    """

    graph: KernelGraph
    block: int = 8
    blocked: set[str] = field(default_factory=set)
    summed: set[int] = field(default_factory=set)
    _wants: dict[int, set[int]] = field(default_factory=dict)

    def apply(self) -> None:
        """Change the graph in place."""
        graph = self.graph
        for node in list(graph.nodes):
            if not graph.holds(node):
                continue
            if node.op_type in ("Conv", "FusedConv"):
                self._convolution(node)
            elif node.op_type in _POOLS:
                self._pool(node)
            elif node.op_type in ("Add", "Sum", "Mul"):
                self._binary(node)
            elif node.op_type in _PASSES:
                self._activation(node)
            elif node.op_type == "Concat":
                self._concatenation(node)
            elif node.op_type == "BatchNormalization":
                self._normalization(node)
            elif node.op_type in ("Resize", "Upsample"):
                self._resize(node)
        self._reorder()

    def _take(self, node: KernelNode, *, reads: bool = True) -> None:
        """Let a node write the blocked layout, and read it at its first input."""
        self.blocked.update(node.outputs)
        self._wants[id(node)] = {0} if reads else set()

    def _convolution(self, node: KernelNode) -> None:
        operator = node.operator
        weight = operator.weight_shape
        fixed = 1 in operator.weight_positions and operator.precision == "float32"
        if not (fixed and len(weight) == 4 and 0 in node.inputs):
            return
        groups, outputs, inputs = operator.groups, weight[0], weight[1]
        block = self.block
        reads = True
        if groups > 1:
            depthwise = inputs == 1 and outputs == groups
            if depthwise and outputs % _ALIGNMENT:
                return
            if not depthwise and (inputs % block or outputs % groups or outputs // groups % block):
                return
        elif inputs < block:
            reads = False
        elif inputs % _ALIGNMENT:
            return
        node.op_type, node.domain = "Conv", NCHWC
        self._take(node, reads=reads)

    def _pool(self, node: KernelNode) -> None:
        name = node.inputs.get(0, "")
        shape = self.graph.shape(name)
        computed = self.graph.writer(name) is not None
        if node.op_type.startswith("Global") and computed and name not in self.blocked:
            return
        if len(node.outputs) == 1 and len(shape) == 4 and shape[1] % self.block == 0:
            node.domain = NCHWC
            self._take(node)

    def _binary(self, node: KernelNode) -> None:
        graph, names = self.graph, list(node.inputs.values())
        if node.op_type == "Mul" and len(names) == 1 and names[0] in self.blocked:
            channels = graph.shape(names[0])[1:2]
            if len(graph.shape(names[0])) == 4 and one_a_channel(node, channels, graph):
                self._scale(node)
                self.blocked.update(node.outputs)
                self._wants[id(node)] = set(node.inputs)
            return
        shapes = {graph.shape(name) for name in names}
        if len(names) < 2 or len(shapes) != 1 or not self.blocked.issuperset(names):
            return
        if node.op_type != "Mul" and len(names) == 2:
            for name in names:
                writer = graph.writer(name)
                fits = writer is not None and writer.domain == NCHWC and writer.op_type == "Conv"
                if not fits or writer is None or writer.activation or id(writer) in self.summed:
                    continue
                if graph.only_reader(writer) is node:
                    other = names[1 - names.index(name)]
                    earlier = graph.writer(other)
                    graph.absorb(writer, node, [other])
                    self._wants[id(writer)].add(max(writer.inputs))
                    if earlier is not None:
                        graph.move_later(writer, earlier)
                    writer.activation = "add"
                    self.summed.add(id(writer))
                    self.blocked.update(writer.outputs)
                    return
        self.blocked.update(node.outputs)
        self._wants[id(node)] = set(node.inputs)

    def _activation(self, node: KernelNode) -> None:
        name = node.inputs.get(0, "")
        if name not in self.blocked:
            return
        writer = self.graph.writer(name)
        if writer is None or not self._applies(writer, node):
            self._take(node)
            return
        applied = node.operator.activation or node.op_type.lower()
        writer.activation = "+".join(filter(None, (writer.activation, applied)))
        self.graph.absorb(writer, node)
        self.blocked.update(writer.outputs)

    def _applies(self, writer: KernelNode, node: KernelNode) -> bool:
        """Whether a convolution applies the activation that reads its result."""
        return (
            writer.domain == NCHWC
            and writer.op_type == "Conv"
            and writer.activation in ("", "add")
            and node.op_type in _FUSES
            and self.graph.only_reader(writer) is node
        )

    def _concatenation(self, node: KernelNode) -> None:
        names = list(node.inputs.values())
        channels = [self.graph.shape(name)[1:2] for name in names]
        aligned = all(c and c[0] % self.block == 0 for c in channels)
        along = node.operator.attributes.get("axis", 1) in (1, -3)
        if along and aligned and not node.constants and self.blocked.issuperset(names):
            self.blocked.update(node.outputs)
            self._wants[id(node)] = set(node.inputs)

    def _normalization(self, node: KernelNode) -> None:
        if node.inputs.get(0) in self.blocked:
            self._scale(node)
            self._take(node)

    def _scale(self, node: KernelNode) -> None:
        """Make a node a depthwise convolution with a window of 1, as a scale a channel becomes."""
        node.op_type, node.domain = "Conv", NCHWC
        channels = self.graph.shape(node.outputs[0])[1]
        one = (1, 1)
        node.operator = dataclasses.replace(
            node.operator, weight_shape=(channels, 1, 1, 1), groups=channels, kernel=1,
            kernel_shape=one, strides=one, dilations=one, pads=(0, 0, 0, 0))  # fmt: skip

    def _resize(self, node: KernelNode) -> None:
        before = self.graph.shape(node.inputs.get(0, ""))
        after = self.graph.shape(node.outputs[0])
        whole = len(before) == 4 and before[:2] == after[:2]
        if node.inputs.get(0) not in self.blocked or not whole:
            return
        attributes = node.operator.attributes
        if attributes.get("mode", "nearest") not in ("nearest", "linear"):
            return
        if all(b and a % b == 0 for b, a in zip(before[2:], after[2:], strict=True)):
            node.op_type, node.domain = "Upsample", NCHWC
            self._take(node)

    def _reorder(self) -> None:
        """Add a reorder where a value is read in the other layout, one for all its readers."""
        graph = self.graph
        made: dict[tuple[str, str], str] = {}
        for node in list(graph.nodes):
            for position, name in list(node.inputs.items()):
                wants = position in self._wants.get(id(node), ())
                if wants == (name in self.blocked):
                    continue
                op_type = "ReorderInput" if wants else "ReorderOutput"
                if graph.holds(node):
                    self._reordered(node, position, name, op_type, made)
        for name in sorted(graph.outputs & self.blocked):
            if ("ReorderOutput", name) not in made and (writer := graph.writer(name)) is not None:
                self._added(name, "ReorderOutput", made, None, writer)

    def _reordered(
        self,
        node: KernelNode,
        position: int,
        name: str,
        op_type: str,
        made: dict[tuple[str, str], str],
    ) -> None:
        """Let a node read a value in its layout; a transposition on the way is done along."""
        graph = self.graph
        if op_type == "ReorderOutput" and _transposes(node, _TO_LAST):
            node.op_type, node.domain = op_type, NCHWC
            return
        writer = graph.writer(name)
        if (
            writer is not None
            and _transposes(writer, _TO_FIRST)
            and all(position in self._wants.get(id(r), ()) for r in graph.readers(name))
        ):
            writer.op_type, writer.domain = op_type, NCHWC
            self.blocked.add(name)
            return
        if (op_type, name) not in made:
            self._added(name, op_type, made, node)
        graph.read_instead(node, position, made[op_type, name])

    def _added(
        self,
        name: str,
        op_type: str,
        made: dict[tuple[str, str], str],
        before: KernelNode | None,
        after: KernelNode | None = None,
    ) -> None:
        graph = self.graph
        output = f"{name}/{op_type}"
        writer = graph.writer(name) or before or graph.nodes[0]
        plain = type(writer.operator)(
            output, op_type, (), (), domain=NCHWC, precision=writer.operator.precision
        )
        node = KernelNode(plain, op_type, NCHWC, {0: name}, [output])
        graph.shapes[output] = graph.shape(name)
        graph.add(node, before, after)
        made[op_type, name] = output


def _transposes(node: KernelNode, perm: tuple[int, ...]) -> bool:
    return node.op_type == "Transpose" and node.operator.attributes.get("perm") == perm
