"""Timed kernels found again among those that are expected of a graph."""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.graph.runtime_kernels.learned_fusion import matching_kernels
from latprof.predictors.kernels.learning.kernel_agreement import KernelAgreement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.graph.operators import Operator
    from latprof.measurement.records import KernelTime
    from latprof.predictors.kernels.configurations import Configurations
    from latprof.predictors.kernels.graph_kernels import GraphKernels

Floats: TypeAlias = NDArray[np.float64]

#: Share of a profile's time that has to be found among the graph's operators.
_LEAST_FOUND = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class TimedKernels(ShortRepr):
    """The kernels that are expected of one network, and their times in ms, shape (n,).

    A time is NaN where none was told. ``agreement`` says how well they are those that ran.
    """

    kernels: Configurations
    latency_ms: Floats
    agreement: KernelAgreement


def times_of_kernels(kernels: GraphKernels, timed: Sequence[KernelTime]) -> TimedKernels | None:
    """A graph's kernels with their times; None where hardly any of the time is found among them.

    A timed kernel is the one that runs most of its operators, else the next of its kind that writes
    the same shape. Times of several kernels of one operator add up. What is found nowhere counts
    for the kernel that follows it.
    """
    sums = np.zeros(len(kernels.operators))
    waiting = found = total = 0.0
    last, unexplained = -1, 0
    for kernel, index in zip(timed, _found(kernels.operators, timed), strict=True):
        total += kernel.latency_ms
        if index < 0:
            waiting += kernel.latency_ms
            unexplained += 1
            continue
        sums[index] += kernel.latency_ms + waiting
        found, waiting, last = found + kernel.latency_ms, 0.0, index
    if last < 0 or found < _LEAST_FOUND * total:
        return None
    sums[last] += waiting
    ran = sums > 0
    matched, either = matching_kernels([k.operators for k in timed], kernels.operators)
    agreement = KernelAgreement(
        either,
        matched,
        len(timed),
        unexplained,
        max(1 - found / total, 0.0) if unexplained else 0.0,
        len(ran),
        int((~ran).sum()),
    )
    times = np.where(ran, sums, np.nan) / kernels.trips
    return TimedKernels(kernels.configurations, times, agreement)


def _found(operators: Sequence[Operator], timed: Sequence[KernelTime]) -> list[int]:
    """For each timed kernel the number of the expected one, -1 where there is none."""
    position = {
        name: index
        for index, operator in enumerate(operators)
        for name in (operator.parts or (operator.name,))
    }
    known = (Counter(position[n] for n in k.operators if n in position) for k in timed)
    named = [each.most_common(1)[0][0] if each else -1 for each in known]
    alike: dict[tuple[object, ...], deque[int]] = {}
    for index in sorted(set(range(len(operators))) - set(named)):
        alike.setdefault(_likeness(operators[index]), deque()).append(index)
    found = []
    for kernel, own in zip(timed, named, strict=True):
        others = alike.get(_likeness(kernel)) if own < 0 else None
        found.append(others.popleft() if others else own)
    return found


def _likeness(each: Operator | KernelTime) -> tuple[object, ...]:
    """A kind without sizes, and the shape that is written.

    Changes of layout are one kind. A runtime may run a dense layer on any tensor as a product of
    two matrices: its rows are then one dimension.
    """
    letters = each.kind.split(maxsplit=1)[0].rstrip("0123456789x")
    kind = "layout" if letters.startswith("reorder") else letters
    shape = each.output_shapes[0] if each.output_shapes else ()
    return kind, (math.prod(shape[:-1]), shape[-1]) if kind == "linear" and shape else shape
