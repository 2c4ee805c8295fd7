"""Reads ONNX Runtime's profile: the kernels that ran, mapped back to the graph's operators."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import RuntimeFailedError
from latprof.graph.operators import Operator, Shape
from latprof.measurement.records import KernelTime

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource

_SUFFIX = "_kernel_time"
#: What the layout optimiser appends to the name of a value whose kernel it replaced.
_BLOCKED_LAYOUT = "_nchwc"
#: What else is done to names: a cast to float32 before a float16 operator; an 8-bit kernel made
#: from a convolution between DequantizeLinear and QuantizeLinear.
_CAST_BEFORE = "InsertedPrecisionFreeCast_"
_NUMBERED = re.compile(r"_token_\d+$")
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
    times: dict[tuple[int, str], list[float]] = defaultdict(list)
    details: dict[tuple[int, str], Mapping[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            key = (int(event["args"]["node_index"]), event["name"].removesuffix(_SUFFIX))
            times[key].append(event["dur"] / 1000)
            details[key] = event["args"]
    runs = {len(durations) for durations in times.values()}
    if len(runs) != 1 or not counted or min(runs) <= max(counted):
        raise RuntimeFailedError("ONNX Runtime's profile does not hold every run of every kernel")
    producers = _producers(model)
    kinds = _convolution_kinds(model) if _holds_quantized(details) else {}
    return [
        _kernel(
            position,
            name,
            [durations[run] for run in counted],
            details[index, name],
            producers,
            kinds,
        )
        for position, ((index, name), durations) in enumerate(times.items())
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


def _holds_quantized(details: Mapping[tuple[int, str], Mapping[str, Any]]) -> bool:
    return any(entry.get("op_name") == "QLinearConv" for entry in details.values())


def _convolution_kinds(model: ModelSource) -> dict[str, str]:
    """Kinds of the graph's convolutions by name: 8-bit kernels do not tell their weights' shape."""
    from latprof.graph.reader import read_network

    operators = read_network(model).operators
    return {op.name: op.kind for op in operators if op.op_type == "Conv"}


def _kind(op_type: str, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> str:
    """The kind of work, in the words of :attr:`Operator.kind`."""
    weight = inputs[1] if len(inputs) > 1 else ()
    if op_type.endswith("Conv") and len(weight) == 4:
        groups = inputs[0][1] // weight[1]
        return Operator(
            "", "Conv", inputs[:1], outputs, weight, kernel=weight[2], groups=groups
        ).kind
    if op_type.startswith("Reorder"):
        return "layout"
    return Operator("", op_type, inputs, outputs).kind


def _producers(model: ModelSource) -> dict[str, tuple[str, str, str]]:
    """Map each value's and each node's name to (node name, operator type, first input)."""
    import onnx

    if not isinstance(model, bytes):
        graph = onnx.load(model, load_external_data=False).graph
    else:
        graph = onnx.load_model_from_string(model).graph
    found: dict[str, tuple[str, str, str]] = {}
    for node in graph.node:
        entry = (node.name, node.op_type, node.input[0] if node.input else "")
        found.update(dict.fromkeys((node.name, *node.output), entry))
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
