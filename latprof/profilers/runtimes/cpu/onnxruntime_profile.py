"""Reads ONNX Runtime's profile: the kernels that ran, mapped back to the graph's operators."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import RuntimeFailedError
from latprof.graph.model_file import node_name
from latprof.graph.operators import Operator, Shape
from latprof.graph.plain_nodes import all_nodes
from latprof.graph.reader import known_operators
from latprof.measurement.records import KernelTime
from latprof.profilers.runtimes.cpu.onnxruntime_events import runs_of

if TYPE_CHECKING:
    import onnx

    from latprof.graph.model_file import ModelSource
    from latprof.profilers.runtimes.cpu.onnxruntime_events import KernelKey

#: What the layout optimiser appends to the name of a value whose kernel it replaced.
_BLOCKED_LAYOUT = "_nchwc"
#: What else is done to names: a cast to float32 before a float16 operator; an 8-bit kernel made
#: from a convolution between DequantizeLinear and QuantizeLinear.
_CAST_BEFORE = "InsertedPrecisionFreeCast_"
_NUMBERED = re.compile(r"_token_\d+$")
#: Convolutions whose kernels may keep their weights, and which of their inputs these are.
_WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "QLinearConv": 3}
#: Operators that are fused into the convolution before them.
_FUSED_AFTER = frozenset({"BatchNormalization", "Clip", "Relu", "Add", "HardSigmoid", "Sigmoid"})


def read_kernels(
    events: Sequence[Mapping[str, Any]], model: ModelSource, counted: Collection[int]
) -> list[KernelTime]:
    """Return the kernels of one run in order, each with its median over the counted runs.

    Parameters
    ----------
    events : sequence of mapping
        The profile's JSON: events with ``cat``, ``name``, ``dur`` (microseconds) and ``args``.
    model : bytes or path
        The ONNX model, for the names of its operators.

    counted : collection of int
        Numbers of the runs that count, from 0 for the first in the profile.

    Raises
    ------
    RuntimeFailedError
        When the profile lacks kernels of some runs.
    """
    runs = runs_of(events)
    chosen = [runs[number] for number in counted if number < len(runs)]
    if not chosen:
        raise RuntimeFailedError("ONNX Runtime's profile does not hold every run of every kernel")
    producers = _producers(model)
    details = {key: timed.details for run in runs for key, timed in run.items()}
    kinds = _convolution_kinds(model) if _hides_weights(details) else {}
    first = sorted(chosen[0].items(), key=lambda item: item[1].start_us)
    return [
        _kernel(
            position,
            key.name,
            [run[key].duration_us / 1000 if key in run else 0.0 for run in chosen],
            timed.details,
            producers,
            kinds,
        )
        for position, (key, timed) in enumerate(first)
    ]


def _kernel(
    position: int,
    name: str,
    durations: Sequence[float],
    details: Mapping[str, Any],
    producers: Mapping[str, tuple[str, str, str]],
    kinds: Mapping[str, str],
) -> KernelTime:
    op_type = _float_type(str(details.get("op_name", "")))
    inputs = _shapes(details.get("input_type_shape"))
    outputs = _shapes(details.get("output_type_shape"))
    operators = _operators(name, op_type, producers)
    return KernelTime(
        position=position,
        kind=(kinds.get(operators[0]) if operators else None) or _kind(op_type, inputs, outputs),
        name=operators[0] if operators else name,
        operators=operators,
        latency_ms=float(np.median(durations)),
        input_shapes=inputs,
        output_shapes=outputs,
    )


def _float_type(op_type: str) -> str:
    """The operator that an 8-bit kernel is of: ``"Conv"`` for ``"QLinearConv"``."""
    return {"QGemm": "Gemm"}.get(op_type, op_type.removeprefix("QLinear"))


def _hides_weights(details: Mapping[KernelKey, Mapping[str, Any]]) -> bool:
    """Whether there are kernels that keep their weights, whose shapes the profile lacks then."""
    return any(
        str(entry.get("op_name")) in ("ConvTranspose", "QLinearConv") for entry in details.values()
    )


def _convolution_kinds(model: ModelSource) -> dict[str, str]:
    """Kinds of the graph's convolutions by name."""
    kinds = {op.name: op.kind for op in known_operators(model) if op.op_type in _WEIGHTS}
    graph = _loaded(model).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in all_nodes(graph.node):
        position = _WEIGHTS.get(node.op_type)
        if position is None or len(node.input) <= position:
            continue
        if len(weight := shapes.get(node.input[position], ())) > 2:
            groups = next((a.i for a in node.attribute if a.name == "group"), 1)
            kind = node.op_type.removeprefix("QLinear")
            operator = Operator("", kind, (), (), weight, groups=groups)
            kinds[node_name(node)] = operator.kind
    return kinds


def _kind(op_type: str, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> str:
    """The kind of work, in the words of :attr:`Operator.kind`."""
    if op_type.endswith(("Conv", "ConvTranspose")) and len(inputs) > 1:
        # An 8-bit convolution has a scale and a zero point before its weight.
        weight = next((shape for shape in inputs[1:] if len(shape) == len(inputs[0]) > 2), ())
        transposed = op_type.endswith("ConvTranspose")
        channels = weight[1] if weight else 0
        groups = inputs[0][1] // channels if channels and not transposed else 1
        kind = "ConvTranspose" if transposed else "Conv"
        return Operator("", kind, inputs[:1], outputs, weight, groups=groups).kind
    if op_type.startswith("Reorder"):
        return "layout"
    return Operator("", op_type, inputs, outputs).kind


def with_node_names(model: ModelSource) -> tuple[ModelSource, str]:
    """A model whose nodes all have a name, made of their output's where they have none.

    Returns the model itself where nothing was to be done, and the folder of its weights in other
    files where it is no file any more.
    """
    loaded = _loaded(model)
    unnamed = [node for node in all_nodes(loaded.graph.node) if not node.name]
    if not unnamed:
        return model, ""
    for node in unnamed:
        node.name = node_name(node)
    folder = "" if isinstance(model, bytes) else str(Path(model).resolve().parent)
    content: bytes = loaded.SerializeToString()
    return content, folder


def _loaded(model: ModelSource) -> onnx.ModelProto:
    import onnx

    if isinstance(model, bytes):
        return onnx.load_model_from_string(model)
    return onnx.load(model, load_external_data=False)


def _producers(model: ModelSource) -> dict[str, tuple[str, str, str]]:
    """Map each value's and each node's name to (node name, operator type, first input)."""
    found: dict[str, tuple[str, str, str]] = {}
    for node in all_nodes(_loaded(model).graph.node):
        name = node_name(node)
        entry = (name, node.op_type, node.input[0] if node.input else "")
        found.update(dict.fromkeys((name, *filter(None, node.output)), entry))
    return found


def _operators(
    name: str, op_type: str, producers: Mapping[str, tuple[str, str, str]]
) -> tuple[str, ...]:
    """Names of the graph's operators in a kernel, in order; empty for what the runtime added."""
    plain = _NUMBERED.sub("", name.removeprefix(_CAST_BEFORE)).removesuffix(_BLOCKED_LAYOUT)
    entry = producers.get(name, producers.get(plain))
    chain: list[str] = []
    while entry is not None:
        node, kind, value = entry
        chain.insert(0, node)
        if not op_type.endswith("Conv") or kind not in _FUSED_AFTER:
            break
        entry = producers.get(value)
    return tuple(chain)


def _shapes(entries: object) -> tuple[Shape, ...]:
    """Shapes of a profile's entries such as ``[{"float": [1, 3, 224, 224]}]``."""
    if not isinstance(entries, list):
        return ()
    return tuple(tuple(map(int, shape)) for entry in entries for shape in entry.values())
