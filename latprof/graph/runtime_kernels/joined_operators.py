"""Operators that run in the kernel before them, as one operator."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.graph.operators import Operator


def renamed(operator: Operator, same: Mapping[str, str]) -> Operator:
    """Read through views to the value they show."""
    reads = tuple(same.get(name, name) for name in operator.reads)
    return operator if reads == operator.reads else dataclasses.replace(operator, reads=reads)


def joined(before: Operator, operator: Operator) -> Operator:
    """A kernel and the operator that joins it, described by the one that does the work."""
    others = [i for i, name in enumerate(operator.reads) if name not in before.writes]
    known = len(operator.reads) == len(operator.input_shapes)
    works = operator if operator.macs > before.macs else before
    both = before.macs and operator.macs
    return dataclasses.replace(
        works,
        reads=(*before.reads, *(operator.reads[i] for i in others)),
        input_shapes=(
            *before.input_shapes,
            *(operator.input_shapes[i] for i in (others if known else ())),
        ),
        parameters=before.parameters + operator.parameters,
        writes=operator.writes,
        activation=_activation(before, operator, works),
        parts=(*(before.parts or (before.name,)), *(operator.parts or (operator.name,))),
        counted_macs=before.macs + operator.macs if both else works.counted_macs,
    )


def _activation(before: Operator, operator: Operator, works: Operator) -> str:
    """What a kernel applies to the result of the operator that does the work."""
    applied = (
        (operator.activation,) if works is operator else (before.activation, _applied(operator))
    )
    return "+".join(filter(None, applied))


def _applied(operator: Operator) -> str:
    """What a joining operator applies to the result, in the words of ``Operator.activation``."""
    if operator.op_type == "BatchNormalization":
        return ""
    return operator.activation or operator.op_type.lower()
