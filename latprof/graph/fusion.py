"""Fusion: the operators that runtimes run as one kernel, merged into one operator.

The rules are few, and shared by the runtimes that latprof measures:

- batch normalisation after a convolution goes into its weights;
- an activation after a convolution, a matrix product or an addition is applied while its result is
  written;
- operators that only rename a shape (Flatten, Reshape, Squeeze, Unsqueeze) copy nothing.

An addition after a convolution stays an operator of its own: search spaces list it so, and a
runtime that merges it still reads the second input. A merge needs that nobody else reads the value
in between. What is merged costs nothing more; its parameters count with the operator it joins.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.operators import Network, Operator

ACTIVATIONS = frozenset({"Clip", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "FusedConv"})
_TAKES_ACTIVATION = _CONVOLUTIONS | {"Gemm", "MatMul", "Add"}


def fuse(network: Network) -> Network:
    """Merge operators as runtimes do; see the module for the rules.

    Works on networks read from a graph, whose operators name the values they read and write.
    Operators without such names (a search space's, fused already) are returned as they are.
    """
    readers = Counter(name for op in network.operators for name in op.reads)
    readers.update(name for name, _ in network.outputs)
    merged: list[Operator] = []
    made_by: dict[str, int] = {}
    same: dict[str, str] = {}
    for original in network.operators:
        operator = _renamed(original, same)
        if operator.op_type in VIEWS and operator.reads and operator.writes:
            source = operator.reads[0]
            same[operator.writes[0]] = source
            readers[source] += readers[operator.writes[0]] - 1
            continue
        index = made_by.get(operator.reads[0]) if operator.reads else None
        if index is not None and _joins(merged[index], operator, readers):
            merged[index] = _join(merged[index], operator)
        else:
            index = len(merged)
            merged.append(operator)
        made_by.update(dict.fromkeys(operator.writes, index))
    return dataclasses.replace(network, operators=tuple(merged))


def _renamed(operator: Operator, same: dict[str, str]) -> Operator:
    """Read through views to the value they show."""
    reads = tuple(same.get(name, name) for name in operator.reads)
    return operator if reads == operator.reads else dataclasses.replace(operator, reads=reads)


def _joins(before: Operator, operator: Operator, readers: Counter[str]) -> bool:
    """Whether ``operator`` runs inside ``before``, whose output it reads first."""
    if len(operator.reads) != 1 or readers[operator.reads[0]] != 1 or len(operator.writes) != 1:
        return False
    if operator.op_type == "BatchNormalization":
        return before.op_type in _CONVOLUTIONS
    return operator.op_type in ACTIVATIONS and before.op_type in _TAKES_ACTIVATION


def _join(before: Operator, operator: Operator) -> Operator:
    return dataclasses.replace(
        before,
        parameters=before.parameters + operator.parameters,
        writes=operator.writes,
        activation="+".join(filter(None, (before.activation, operator.activation))),
        parts=(*(before.parts or (before.name,)), operator.name),
    )
