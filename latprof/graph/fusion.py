"""Fusion: the operators that runtimes run as one kernel, merged into one operator.

The rules are few, and shared by the runtimes that latprof measures:

- batch normalisation after a convolution goes into its weights;
- an activation after a convolution, a matrix product or an addition is applied while its result is
  written;
- operators that only rename a shape (Flatten, Reshape, Squeeze, Unsqueeze) copy nothing.

An addition after a convolution stays an operator of its own: search spaces list it so, and a
runtime that merges it still reads the second input. A merge needs that nobody else reads the value
in between. What is merged costs nothing more; its parameters count with the operator it joins.

Rules that were learnt of one runtime (:mod:`latprof.graph.fusion_rules`) take the place of the
first two; with them an addition of a second value may join, too.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latprof.graph.fusion_rules import FusionRules
    from latprof.graph.operators import Network, Operator

ACTIVATIONS = frozenset({"Clip", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"})
VIEWS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "FusedConv"})
_TAKES_ACTIVATION = _CONVOLUTIONS | {"Gemm", "MatMul", "Add"}


def fuse(network: Network, rules: FusionRules | None = None) -> Network:
    """Merge operators as runtimes do; see the module for the rules.

    Works on networks read from a graph, whose operators name the values they read and write.
    Operators without such names (a search space's, fused already) are returned as they are.
    """
    readers = Counter(name for op in network.operators for name in op.reads)
    readers.update(name for name, _ in network.outputs)
    merged: list[Operator] = []
    made_by: dict[str, int] = {}
    applied: list[list[str]] = []
    same: dict[str, str] = {}
    for original in network.operators:
        operator = _renamed(original, same)
        if operator.op_type in VIEWS and operator.reads and operator.writes:
            source = operator.reads[0]
            same[operator.writes[0]] = source
            readers[source] += readers[operator.writes[0]] - 1
            continue
        index = _kernel_before(operator, made_by, readers, last=rules is not None)
        joins = index is not None and (
            _joins(merged[index], operator, readers)
            if rules is None
            else rules.join(merged[index], applied[index], operator.op_type)
        )
        if index is not None and joins:
            merged[index] = _join(merged[index], operator)
            applied[index].append(operator.op_type)
        else:
            index = len(merged)
            merged.append(operator)
            applied.append([])
        made_by.update(dict.fromkeys(operator.writes, index))
    return dataclasses.replace(network, operators=tuple(merged))


def _renamed(operator: Operator, same: dict[str, str]) -> Operator:
    """Read through views to the value they show."""
    reads = tuple(same.get(name, name) for name in operator.reads)
    return operator if reads == operator.reads else dataclasses.replace(operator, reads=reads)


def _kernel_before(
    operator: Operator, made_by: dict[str, int], readers: Counter[str], *, last: bool
) -> int | None:
    """The kernel that an operator may join: who made its first input.

    With ``last`` the last one that made any of its inputs for it alone, as an addition joins the
    later of its two.
    """
    if not last:
        return made_by.get(operator.reads[0]) if operator.reads else None
    if len(operator.writes) != 1:
        return None
    alone = [made_by[name] for name in operator.reads if name in made_by and readers[name] == 1]
    return max(alone, default=None)


def _joins(before: Operator, operator: Operator, readers: Counter[str]) -> bool:
    """Whether ``operator`` runs inside ``before``, whose output it reads first."""
    if len(operator.reads) != 1 or readers[operator.reads[0]] != 1 or len(operator.writes) != 1:
        return False
    if operator.op_type == "BatchNormalization":
        return before.op_type in _CONVOLUTIONS
    return operator.op_type in ACTIVATIONS and before.op_type in _TAKES_ACTIVATION


def _join(before: Operator, operator: Operator) -> Operator:
    others = [i for i, name in enumerate(operator.reads) if name not in before.writes]
    known = len(operator.reads) == len(operator.input_shapes)
    return dataclasses.replace(
        before,
        reads=(*before.reads, *(operator.reads[i] for i in others)),
        input_shapes=(
            *before.input_shapes,
            *(operator.input_shapes[i] for i in (others if known else ())),
        ),
        parameters=before.parameters + operator.parameters,
        writes=operator.writes,
        activation="+".join(filter(None, (before.activation, _applied(operator)))),
        parts=(*(before.parts or (before.name,)), operator.name),
    )


def _applied(operator: Operator) -> str:
    """What a joining operator applies to the result, in the words of ``Operator.activation``."""
    if operator.op_type == "BatchNormalization":
        return ""
    return operator.activation or operator.op_type.lower()
