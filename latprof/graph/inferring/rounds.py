"""Shapes inferred in rounds: onnx's inference, arithmetic on sizes, handlers, assumptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, cast

import onnx

from latprof.errors import ModelFileError, shown
from latprof.graph.guarded.inference import Allowance, inferred
from latprof.graph.inferring.assumed_sizes import assumed_shapes, is_assumed
from latprof.graph.known_branches import write_out_known_branches
from latprof.graph.model_file import MAX_ELEMENTS, bounded_product, node_name
from latprof.graph.shape_arithmetic import Effort, SmallConstants, fold_shape_arithmetic
from latprof.graph.work.stand_ins import with_stand_ins

if TYPE_CHECKING:
    from latprof.graph.operators import Shape
    from latprof.graph.plain_nodes import PlainNode

#: Rounds in which sizes are assumed that are decided as a model runs.
_MAX_ASSUMED = 16
#: Whole numbers of at most so many elements may be arithmetic on sizes.
_MOST_SIZES = 64
_WHOLE = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64})
#: What a round costs beside its nodes, in nodes.
_ROUND = 1000
_FLOAT = onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class Inferred:
    """A graph as it runs at these sizes, and what is known of its values.

    In ``graph``, whose nodes are ``nodes``, arithmetic on shapes is initialisers, and of an If with
    a constant condition there is the branch taken. ``shapes`` has None where one stays unknown,
    ``dtypes`` ONNX's element types. ``assumed`` says why, by the names of values whose sizes are
    decided as the model runs.
    """

    graph: onnx.GraphProto
    nodes: Sequence[PlainNode]
    shapes: dict[str, Shape | None]
    dtypes: dict[str, int]
    assumed: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def known(self) -> set[str]:
        """Values of known shape; an output that is left out lacks none."""
        return {"", *(name for name, shape in self.shapes.items() if shape is not None)}


#: Shapes of a node's outputs from those of its inputs and weights, for what onnx does not know.
Resolver: TypeAlias = Callable[["PlainNode", Mapping[str, "Shape | None"]], "list[Shape]"]


@dataclass
class Inference:
    """Rounds of inference about one model, which is changed in place as more of it is known.

    ``nodes`` are those of its graph. ``partial`` are the dimensions of values of which some are
    known; ``told`` are values whose sizes were noted, which is tried once. ``news`` are values of
    which more is known than when shapes were last inferred; None where the graph's nodes changed.
    """

    model: onnx.ModelProto
    nodes: list[PlainNode]
    label: str
    allowance: Allowance
    effort: Effort
    resolver: Resolver | None
    partial: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    news: set[str] | None = field(default_factory=set)

    def resolve(self) -> Inferred:
        """Infer shapes, and work out what depends on them, as long as that resolves more."""
        return self._rounds(self._infer(self.model, self.nodes))

    def _rounds(self, found: Inferred) -> Inferred:
        """Each round resolves one more chain of reshapes, of which a deep model has many."""
        while self.effort.nodes > 0:
            asks = {"If", "Loop"}.intersection(node.op_type for node in self.nodes)
            open_ends = _open_ends(self.nodes, found)
            if not (open_ends or asks):
                break
            constants = fold_shape_arithmetic(self.model, self.nodes, found.shapes, self.effort)
            written_out = write_out_known_branches(self.model.graph, self.nodes, self.effort)
            told = self._ask_handlers(open_ends, found)
            if not (constants or written_out or told):
                break
            self.news = None if written_out or self.news is None else self.news | constants
            found = self._again(found)
        return found

    def _again(self, found: Inferred) -> Inferred:
        """Infer what is not known yet, beginning with what is."""
        part = _open_part(self.model, self.nodes, found, self.news)
        more = self._infer(*(part or (self.model, self.nodes)))
        if part is None:
            return more
        known = {name: shape for name, shape in more.shapes.items() if shape is not None}
        dtypes = {name: dtype for name, dtype in more.dtypes.items() if dtype}
        weights: dict[str, Shape | None] = {
            tensor.name: tuple(tensor.dims[:]) for tensor in self.model.graph.initializer
        }
        return Inferred(
            self.model.graph,
            self.nodes,
            more.shapes | found.shapes | known | weights,
            more.dtypes | found.dtypes | dtypes,
        )

    def assuming(self, found: Inferred) -> Inferred:
        """Assume what is decided as the model runs, value by value, and infer what follows."""
        assumed: dict[str, str] = {}
        for _ in range(_MAX_ASSUMED):
            open_ends = _open_ends(self.nodes, found)
            names = self._assume(open_ends, found)
            if not names or self.effort.nodes <= 0:
                break
            unknown = {o for n in open_ends for o in n.output if o}
            found = self._rounds(self._again(found))
            reason = f"sizes after {names[0]} are decided as the model runs: the largest are taken"
            assumed |= dict.fromkeys(unknown & found.known, reason)
        return Inferred(found.graph, found.nodes, found.shapes, found.dtypes, assumed)

    def _assume(self, open_ends: Sequence[PlainNode], found: Inferred) -> list[str]:
        """Note sizes for the first values that lack them; what makes these is returned."""
        names = []
        constants = SmallConstants(self.model.graph)
        for node in open_ends:
            partial = [self.partial.get(name) for name in node.output]
            told = is_assumed(node) or partial.count(None) < len(partial)
            if not (told and found.known.issuperset(node.input)):
                continue
            values = {
                position: known.ravel()
                for position, name in enumerate(node.input)
                if (known := constants.get(name)) is not None
            }
            shapes = assumed_shapes(node, found.shapes, partial, values)
            for name, shape in zip(node.output, shapes, strict=False):
                dtype = found.dtypes.get(name, 0)
                if name and shape is not None and dtype and self._tell(name, dtype, shape):
                    names.append(node_name(node))
        return names

    def _tell(self, name: str, dtype: int, shape: Shape) -> bool:
        """Note a value's shape for inference; False for one that was noted before."""
        new = name not in self.told
        if new:
            self.told.add(name)
            if self.news is not None:
                self.news.add(name)
            info = onnx.helper.make_tensor_value_info(name, dtype, shape)
            self.model.graph.value_info.append(info)
        return new

    def _ask_handlers(self, nodes: Sequence[PlainNode], found: Inferred) -> bool:
        """Note the shapes that handlers know of outputs of operators that onnx does not know."""
        new = False
        for node in nodes if self.resolver else ():
            if node.domain not in ("", "ai.onnx"):
                assert self.resolver is not None
                for name, shape in zip(
                    node.output, self.resolver(node, found.shapes), strict=False
                ):
                    if name and found.shapes.get(name) is None:
                        new |= self._tell(name, found.dtypes.get(name) or _FLOAT, shape)
        return new

    def _infer(self, model: onnx.ModelProto, nodes: Sequence[PlainNode]) -> Inferred:
        """Infer in the guarded child; sizes are checked before it, and what comes back."""
        graph, label = model.graph, self.label
        self.effort.nodes -= len(nodes) + _ROUND
        self.news = set()
        weights = {tensor.name: tuple(tensor.dims[:]) for tensor in graph.initializer}
        check_sizes(shapes_of(graph) | weights, label)
        sent = with_stand_ins(model, nodes, weights)
        answer = inferred(sent.SerializeToString(), label, self.allowance)
        try:
            inferred_graph = onnx.ModelProto.FromString(answer).graph
        except Exception:  # noqa: BLE001 - protobuf's own error
            raise ModelFileError(f"{label}: shapes cannot be inferred") from None
        dims: dict[str, tuple[int | None, ...] | None] = {}
        dtypes: dict[str, int] = {}
        shared: dict[tuple[int | None, ...] | None, tuple[int | None, ...] | None] = {}
        for value in _values(inferred_graph):
            name, known = value.name, known_dims(value)
            dims[name] = shared.setdefault(known, known)
            dtypes[name] = value.type.tensor_type.elem_type
        shapes = {name: _static(each) for name, each in dims.items()} | weights
        check_sizes(shapes, label)
        self.partial |= {
            name: each for name, each in dims.items() if each is not None and shapes[name] is None
        }
        dtypes |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        return Inferred(graph, nodes, shapes, dtypes)


def _open_ends(nodes: Sequence[PlainNode], found: Inferred) -> list[PlainNode]:
    """Nodes with an output of unknown shape."""
    return [node for node in nodes if not found.known.issuperset(node.output)]


def _open_part(
    model: onnx.ModelProto, all_nodes: Sequence[PlainNode], found: Inferred, news: set[str] | None
) -> tuple[onnx.ModelProto, list[PlainNode]] | None:
    """What is open of a model as a model of its own; None where it needs more than tensors.

    Only what depends on ``news``, where they are given: the rest would stay open. Arithmetic on
    sizes that is read there comes along, since inference follows its values.
    """
    graph, shapes, dtypes = model.graph, found.shapes, found.dtypes

    def sizes(name: str) -> bool:
        shape = shapes.get(name)
        if shape is None or dtypes.get(name) not in _WHOLE:
            return False
        return bounded_product(shape, _MOST_SIZES) <= _MOST_SIZES

    reached, opened = set(news or ()), set[str]()
    for node in _open_ends(all_nodes, found):
        outputs = [name for name in node.output if name]
        if news is None or not (reached.isdisjoint(node.reads) and reached.isdisjoint(outputs)):
            reached.update(outputs)
            opened.update(outputs)
    nodes: list[PlainNode] = []
    read = set[str]()
    for node in reversed(all_nodes):
        is_read = not read.isdisjoint(node.output) and any(map(sizes, node.output))
        if is_read or not opened.isdisjoint(node.output):
            nodes.append(node)
            read.update(node.reads)
    nodes.reverse()
    made = {name for node in nodes for name in node.output if name}
    read -= made
    initial = [tensor for tensor in graph.initializer if tensor.name in read]
    given = read.intersection(shapes).difference(tensor.name for tensor in initial)
    if any(not dtypes.get(name) for name in given):
        return None
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "part"
    part.graph.node.extend(node.message for node in nodes)
    part.graph.initializer.extend(initial)
    part.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, dtypes[name], shapes[name])
        for name in sorted(given)
    )
    part.graph.value_info.extend(value for value in graph.value_info if value.name in made)
    part.graph.output.extend(value for value in graph.output if value.name in made)
    return part, nodes


def shapes_of(graph: onnx.GraphProto) -> dict[str, Shape | None]:
    """Shapes of the values that a graph tells of; None for one that is not static."""
    return {value.name: static_shape(value) for value in _values(graph)}


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    return chain(graph.input, graph.value_info, graph.output)


def check_sizes(shapes: Mapping[str, Shape | None], label: str) -> None:
    """Raise ModelFileError for a shape that no tensor can have."""
    for name, known in shapes.items():
        if known is not None and bounded_product(known) > MAX_ELEMENTS:
            raise ModelFileError(
                f"{label}: the value {name[:200]!r} has an impossible shape",
                expected=f"sizes from 0, and at most {MAX_ELEMENTS} elements",
                got=shown(known, 200),
            )


def static_shape(value: onnx.ValueInfoProto) -> Shape | None:
    """Return the shape of a tensor whose dimensions all have a size, else None."""
    return _static(known_dims(value))


def _static(dims: tuple[int | None, ...] | None) -> Shape | None:
    return None if dims is None or None in dims else cast("Shape", dims)


def known_dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    """Return a tensor's dimensions, None for one without a size; None for a value without any."""
    tensor_type = value.type.tensor_type
    if not tensor_type.HasField("shape"):
        return None
    dims = tensor_type.shape.dim[:]
    return tuple([dim.dim_value if dim.HasField("dim_value") else None for dim in dims])
