"""Fusion: the operators that runtimes run as one kernel, merged into one operator.

The rules are few, and shared by the runtimes that latprof measures:

- batch normalisation after a convolution goes into its weights;
- an activation after a convolution, a matrix product or an addition is applied while its result is
  written;
- operators that only rename a shape (Flatten, Reshape, Squeeze, Unsqueeze) copy nothing.

An addition after a convolution stays an operator of its own: search spaces list it so, and a
runtime that merges it still reads the second input. A merge needs that nobody else reads the value
in between. What is merged costs nothing more; its parameters count with the operator it joins.

Rules that were learnt of one runtime (:mod:`latprof.graph.fusion_rules`) take the place of all of
these; with them an addition of a second value may join, too, and an operator that comes before the
one that does the work, such as padding.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from latprof.graph.fusion_rules import VIEWS
from latprof.graph.runtime_kernels.joined_operators import joined, renamed
from latprof.graph.runtime_kernels.ruled_fusion import fuse_by_rules

if TYPE_CHECKING:
    from latprof.graph.fusion_rules import FusionRules
    from latprof.graph.operators import Network, Operator

ACTIVATIONS = frozenset({"Clip", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "FusedConv"})
_TAKES_ACTIVATION = _CONVOLUTIONS | {"Gemm", "MatMul", "Add"}


def fuse(network: Network, rules: FusionRules | None = None) -> Network:
    """Merge operators as runtimes do; see the module for the rules.

    Works on networks read from a graph, whose operators name the values they read and write.
    Operators without such names (a search space's, fused already) are returned as they are.
    """
    if rules is not None:
        return fuse_by_rules(network, rules)
    readers = Counter(name for op in network.operators for name in op.reads)
    readers.update(name for name, _ in network.outputs)
    merged: list[Operator] = []
    made_by: dict[str, int] = {}
    same: dict[str, str] = {}
    for original in network.operators:
        operator = renamed(original, same)
        if operator.op_type in VIEWS and operator.reads and operator.writes:
            source = operator.reads[0]
            same[operator.writes[0]] = source
            readers[source] += readers[operator.writes[0]] - 1
            continue
        index = made_by.get(operator.reads[0]) if operator.reads else None
        if index is not None and _joins(merged[index], operator, readers):
            merged[index] = joined(merged[index], operator)
        else:
            index = len(merged)
            merged.append(operator)
        made_by.update(dict.fromkeys(operator.writes, index))
    return dataclasses.replace(network, operators=tuple(merged))


def _joins(before: Operator, operator: Operator, readers: Counter[str]) -> bool:
    """Whether ``operator`` runs inside ``before``, whose output it reads first."""
    if len(operator.reads) != 1 or readers[operator.reads[0]] != 1 or len(operator.writes) != 1:
        return False
    if operator.op_type == "BatchNormalization":
        return before.op_type in _CONVOLUTIONS
    return operator.op_type in ACTIVATIONS and before.op_type in _TAKES_ACTIVATION
