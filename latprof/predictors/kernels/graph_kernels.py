"""The kernels that a runtime makes of a graph, as configurations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.graph.fusion import VIEWS, fuse
from latprof.predictors.kernels.configurations import (
    Configurations,
    configuration_of,
    family_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.graph.operators import Network, Operator

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class GraphKernels(ShortRepr):
    """A network's kernels: the fused operators, their configurations, and how often each runs.

    ``trips`` has shape (n,): above 1 in the bodies of loops.
    """

    operators: tuple[Operator, ...]
    configurations: Configurations
    trips: Floats


def kernels_of(network: Network) -> GraphKernels:
    """The kernels of a network, in order; what only renames a shape is none."""
    operators = tuple(op for op in fuse(network).operators if op.op_type not in VIEWS)
    each = [configuration_of(*pair) for pair in zip(operators, _after(operators), strict=True)]
    return GraphKernels(
        operators,
        Configurations.of(each),
        np.array([operator.trips for operator in operators], dtype=np.float64),
    )


#: Families whose kernels write the layout of convolutions, and those that keep what they read.
_BLOCKED = frozenset({"conv", "depthwise", "grouped"})
_KEEPING = frozenset({"elementwise", "activation", "transcendental", "pool", "reduction", "parts"})


def _after(operators: Sequence[Operator]) -> list[int]:
    """What made each operator's first input: 0 the caller, 1 a convolution, 2 anything else."""
    made: dict[str, int] = {}
    found = []
    for operator in operators:
        before = max((made.get(name, 0) for name in operator.reads[:1]), default=0)
        found.append(before)
        family = family_of(operator)
        own = 1 if family in _BLOCKED else before if family in _KEEPING else 2
        made.update(dict.fromkeys(operator.writes, own))
    return found
