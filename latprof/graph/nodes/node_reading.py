"""Operators from a graph's nodes, with their work; bodies of If, Loop and Scan read along."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import onnx

from latprof.errors import LatprofError, UnknownCostsError, shown
from latprof.graph.fusion import ACTIVATIONS
from latprof.graph.model_file import node_name
from latprof.graph.nodes.bodies import body_inputs, describe, trips_of
from latprof.graph.nodes.node_view import NodeView, resolved, shaped
from latprof.graph.nodes.value_facts import ValueFacts
from latprof.graph.nodes.windows import windows_of
from latprof.graph.operators import Operator, Shape
from latprof.graph.plain_nodes import all_nodes
from latprof.graph.static_shapes import infer_shapes
from latprof.graph.work.handlers import work_of_node

if TYPE_CHECKING:
    from latprof.graph.guarded.inference import Allowance
    from latprof.graph.inferring.rounds import Inferred
    from latprof.graph.plain_nodes import PlainNode

#: Operators that move no data at inference: their output is their first input.
_NOTHING = frozenset({"Identity", "Dropout"})
#: Operators whose output depends on no values of their inputs, only on shapes, or on nothing.
_SHAPE_ONLY = frozenset({"Constant", "Shape", "Size"})
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike"}
)
#: Operators whose cost would be a guess without shapes.
_NEEDS_SHAPES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Outputs of a batch normalisation in training, from opset 14 on.
_TRAINED_OUTPUTS = 3
_HAS_BODIES = frozenset({"If", "Loop", "Scan"})
#: Most bodies of If, Loop and Scan that are read in one model, and the deepest.
_MAX_BODIES, _MAX_DEPTH = 64, 4
#: Most characters of an operator's name that come before its bodies' names.
_MAX_PREFIX = 200


@dataclass
class GraphReading:
    """Reads one model's graphs, bodies included.

    ``counted`` collects the learnt values that have been counted; ``dequantized`` names who makes a
    constant of bytes; ``bodies`` counts the bodies. ``shared`` holds once what many operators have:
    shapes, positions, dtypes, attributes.
    """

    label: str
    opsets: Sequence[onnx.OperatorSetIdProto]
    allowance: Allowance
    counted: set[str] = field(default_factory=set)
    dequantized: dict[str, str] = field(default_factory=dict)
    bodies: int = 0
    shared: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def operators(
        self, found: Inferred, given: Mapping[str, str] | None = None, depth: int = 0
    ) -> Iterator[Operator]:
        """Operators that run, in order; every learnt value is counted where it is read first.

        ``given`` are names outside of values of a body, for its reads.
        """
        graph = found.graph
        constant = {tensor.name for tensor in graph.initializer}
        facts = ValueFacts(graph, found.dtypes)
        same: dict[str, str] = dict(given or {})
        for node in found.nodes:
            inputs = [same.get(name, name) for name in node.input]
            if _is_constant(node, inputs, constant):
                constant.update(filter(None, node.output))
                if node.op_type == "DequantizeLinear":
                    self.dequantized[node.output[0]] = node_name(node)
            elif node.op_type in _NOTHING and inputs and node.output:
                same[node.output[0]] = inputs[0]
            else:
                view = NodeView(node, inputs, found.shapes, constant, facts)
                operator = self._operator(view, found.assumed)
                yield operator
                if node.op_type in _HAS_BODIES:
                    yield from self._body_operators(view, found, operator, depth)
            facts.follow(node, inputs)

    def _operator(self, view: NodeView, assumed: Mapping[str, str]) -> Operator:
        node, shapes = view.node, view.shapes
        weights = view.weights
        weight = next((shape for _, shape in weights), ())
        second = view.inputs[1] if len(view.inputs) > 1 else ""
        if node.op_type in ("Conv", "ConvTranspose") and second not in dict(weights):
            weight = shapes.get(second) or ()  # computed in every run, whatever the bias is
        window = windows_of(node, weight, view.seen)
        work = work_of_node(view.seen)
        read, constants = view.read, view.fixed
        inputs = [value for p, _ in read if (value := shaped(view.seen.inputs[p]))]
        made = [(each.name, shaped(each)) for each in view.seen.outputs if each]
        made.sort(key=lambda each: each[1] is None)  # those whose shapes are known come first
        outputs = [value for _, value in made if value]
        fixed = [view.seen.inputs[position] for position, _ in constants]
        once = self._once
        operator = Operator(
            name=node_name(node),
            op_type=node.op_type,
            domain=node.domain,
            input_shapes=once([value.shape or () for value in inputs]),
            output_shapes=once([value.shape or () for value in outputs]),
            input_dtypes=once([value.dtype for value in inputs]),
            output_dtypes=once([value.dtype for value in outputs]),
            weight_shape=weight,
            weight_shapes=once([value.shape or () for value in fixed if value]),
            weight_dtypes=once([value.dtype for value in fixed if value]),
            parameters=self._count(view, weights),
            kernel=max(window.kernel, default=0),
            stride=max(window.strides, default=1),
            groups=window.groups,
            dilation=max(window.dilations, default=1),
            kernel_shape=window.kernel,
            strides=window.strides,
            dilations=window.dilations,
            pads=window.pads,
            reads=tuple([name for _, name in read]),
            writes=tuple([name for name, _ in made]),
            positions=once([position for position, _ in read]),
            weight_positions=once([position for position, _ in constants]),
            precision=view.facts.precision(node, view.inputs),
            activation=(
                view.facts.activation(node, view.inputs) if node.op_type in ACTIVATIONS else ""
            ),
            counted_macs=work.macs,
            handled=work.kind,
            unknown=work.unknown or _assumed_size(view, assumed),
            attributes=self._once_named(view.seen.attributes),
            constants=self._once_named(view.seen.values),
            prepared=tuple(self.dequantized[n] for _, n in constants if n in self.dequantized),
        )
        self._check(operator)
        return operator

    def _once(self, values: list[Any]) -> tuple[Any, ...]:
        found = tuple(values)
        return cast("tuple[Any, ...]", self.shared.setdefault(found, found))

    def _once_named(self, values: Mapping[Any, Any]) -> Mapping[Any, Any]:
        key = tuple((name, type(value), value) for name, value in values.items())
        return cast("Mapping[Any, Any]", self.shared.setdefault((Mapping, *key), values))

    def _count(self, view: NodeView, weights: Sequence[tuple[str, Shape]]) -> int:
        """Learnt values that no operator before has."""
        bits = view.seen.number("bits", 4) if view.node.op_type == "MatMulNBits" else 8
        new = [shape for name, shape in weights if name not in self.counted]
        self.counted.update(name for name, _ in weights)
        return sum(map(math.prod, new)) * 8 // max(bits, 1)

    def _body_operators(
        self, view: NodeView, found: Inferred, operator: Operator, depth: int
    ) -> Iterator[Operator]:
        """Of an If the branch with more work, of a loop the body as often as it runs."""
        bodies = view.node.bodies
        if not bodies:
            return
        trips, reason = trips_of(view)
        own = operator.name
        if len(own) > _MAX_PREFIX:  # it comes before every name of the bodies
            own = f"{own[:_MAX_PREFIX]}/{self.bodies}"
        branches = [
            self._body(body, view, found, depth, f"{own}/{i}/") for i, body in enumerate(bodies)
        ]
        chosen = view.node.op_type == "If" and view.inputs
        taken = view.facts.values(view.inputs[0]) if chosen else None
        if taken and len(branches) == 2:
            wanted = "then_branch" if taken[0] else "else_branch"
            names = [a.name for a in view.node.attribute if a.HasField("g")]
            branches = [branches[names.index(wanted)]] if wanted in names else branches
        largest = max(branches, key=lambda ops: sum(op.macs * op.trips for op in ops))
        for inner in largest:
            why = "; ".join(filter(None, (inner.unknown, reason)))
            yield dataclasses.replace(inner, trips=inner.trips * trips, unknown=why)

    def _body(
        self, body: onnx.GraphProto, view: NodeView, found: Inferred, depth: int, prefix: str
    ) -> list[Operator]:
        """A body's operators; one operator that says why where it cannot be read."""
        self.bodies += 1
        try:
            if self.bodies > _MAX_BODIES or depth >= _MAX_DEPTH:
                raise UnknownCostsError("too many bodies of If and Loop")
            model, outside = self._body_model(body, view, found)
            inner = infer_shapes(
                model, self.label, allowance=self.allowance, resolver=resolved, assume=True
            )
            operators = list(self.operators(inner, depth=depth + 1))
            if _changes_sizes(view.node, body, inner):
                why = f"sizes within {node_name(view.node)} may change: counted as in its first run"
                operators = [
                    dataclasses.replace(each, unknown=each.unknown or why) for each in operators
                ]
        except LatprofError as error:
            why = f"a body of {node_name(view.node)} is not known: {error}"[:200]
            return [Operator(f"{prefix}body", "Body", (), (), unknown=why)]
        names = {name: prefix + name for op in operators for name in op.writes}
        names |= {value.name: prefix + value.name for value in body.input}
        return [
            dataclasses.replace(
                op,
                reads=tuple(outside.get(n, names.get(n, n)) for n in op.reads),
                writes=tuple(names[n] for n in op.writes),
            )
            for op in operators
        ]

    def _body_model(
        self, body: onnx.GraphProto, view: NodeView, found: Inferred
    ) -> tuple[onnx.ModelProto, dict[str, str]]:
        """A body as a model of its own, and the names of values that it reads from outside."""
        model = onnx.ModelProto(ir_version=8, opset_import=self.opsets)
        model.graph.CopyFrom(body)
        model.graph.name = body.name or "body"
        outer: dict[str, str] = {}
        for value, name in zip(body.input, body_inputs(view), strict=False):
            describe(model.graph.input, value.name, name, found, view)
        del model.graph.input[: len(body.input)]
        own = {name for node in body.node for name in node.output}
        own |= {tensor.name for tensor in body.initializer} | {v.name for v in body.input}
        initial = {tensor.name: tensor for tensor in found.graph.initializer}
        read = {name for node in all_nodes(body.node) for name in node.input if name} - own
        for name in sorted(read | {v.name for v in body.output} - own):
            if name in initial:
                model.graph.initializer.append(initial[name])
            elif name in found.shapes:
                outer[name] = name
                describe(model.graph.input, name, name, found, view)
        return model, outer

    def _check(self, operator: Operator) -> None:
        """Refuse operators that matter and whose shapes are unknown or contradict themselves."""
        where = f"{self.label}: {operator.op_type} {operator.name!r}"
        if operator.op_type == "Reshape" and operator.input_shapes and operator.output_shapes:
            before, after = operator.input_shapes[0], operator.output_shapes[0]
            if math.prod(before) != math.prod(after):
                raise UnknownCostsError(
                    f"{where} was made for another size of input",
                    got=f"{shown(before, 100)} to {shown(after, 100)}",
                    hint="export the model with dynamic axes, or for the size in question",
                )
        if operator.op_type not in _NEEDS_SHAPES or operator.domain not in ("", "ai.onnx"):
            return
        data = next(iter(operator.input_shapes), ())
        if not (data and operator.output_shapes):
            raise UnknownCostsError(
                f"{where} has a shape that cannot be resolved",
                hint="the sizes of the inputs may not fit the model, or depend on values",
            )
        if operator.op_type in ("Conv", "ConvTranspose"):
            weight, groups = operator.weight_shape, operator.groups
            channels = weight[:2] if len(weight) > 2 else (0, 0)
            wanted = channels[0] if operator.op_type == "ConvTranspose" else channels[1] * groups
            fits = len(data) == len(weight) > 2 and groups >= 1 and data[1] == wanted
            if not fits or operator.kernel < 1 or operator.stride < 1:
                raise UnknownCostsError(
                    f"{where} has a weight that does not fit its input",
                    got=f"input {shown(data)}, weight {shown(weight)}, {groups} groups",
                )


def _changes_sizes(node: PlainNode, body: onnx.GraphProto, inner: Inferred) -> bool:
    """Whether what a Loop hands to its next run has other sizes than what the first one got."""
    if node.op_type != "Loop":
        return False
    handed = zip(body.input[2:], body.output[1:], strict=False)
    return any(
        inner.shapes.get(first.name) != inner.shapes.get(last.name) for first, last in handed
    )


def _assumed_size(view: NodeView, assumed: Mapping[str, str]) -> str:
    """Why the sizes that a node has are not certain; empty where they are."""
    names = (*view.node.output, *view.inputs)
    why = next((assumed[name] for name in names if name in assumed), "")
    if why:
        return why
    lost = view.node.op_type not in _HAS_BODIES and any(
        value is not None and value.shape is None and value.dtype for value in view.seen.outputs
    )
    return f"{node_name(view.node)} has a size that is not known" if lost else ""


def _is_constant(node: PlainNode, inputs: list[str], constant: set[str]) -> bool:
    """Whether a node's outputs are the same in every run: runtimes compute them once."""
    if node.op_type in _SHAPE_ONLY and node.domain in ("", "ai.onnx"):
        return True
    given = [name for name in inputs if name]
    return (
        bool(given)
        and constant.issuperset(given)
        and node.op_type not in _RANDOM
        and not node.bodies
        # In its older form for training a runtime computes it in every run.
        and not (node.op_type == "BatchNormalization" and len(node.output) > _TRAINED_OUTPUTS)
    )
