"""The work of an operator, and how fast a target has been seen to do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

Floats: TypeAlias = NDArray[np.float64]

#: What the cost of an operator is linear in, in the order of every coefficient array here.
WORK = ("macs", "activation_elements", "weights", "operators")


def kind_of(operator: Operator) -> str:
    """What costs alike by size: the operator's kind, dilated convolutions apart."""
    dilated = f" dilated {operator.dilation}" if operator.dilation > 1 else ""
    return operator.kind + dilated


def work_of(operator: Operator) -> tuple[float, float, float, float]:
    """Work of one operator in one inference, in the order of :data:`WORK`."""
    # Of a table that is looked up, only the rows that become the output are read.
    reads_all = bool(operator.weight_shape) and operator.op_type != "Gather"
    weights = math.prod(operator.weight_shape) if reads_all else 0
    once = (operator.macs, operator.activation_elements, weights, 1)
    macs, elements, values, operators = (float(each * operator.trips) for each in once)
    return macs, elements, values, operators


def rated(work: Floats) -> Floats:
    """Multiply-accumulates, and values read and written (weights too): shape (..., 2)."""
    return np.stack([work[..., 0], work[..., 1] + work[..., 2]], axis=-1)


@dataclass(frozen=True, repr=False)
class WorkRates(ShortRepr):
    """Milliseconds for each multiply-accumulate and for each value moved, shape (2,) each.

    A roofline (Williams et al. 2009) whose two ceilings were seen, not stated by a maker.

    Parameters
    ----------
    fastest : array
        The best of any training network or timed kernel of the target: nothing is answered faster.
    typical : array
        The training networks' own, each kind of work as if it took all of their time.
    """

    fastest: Floats
    typical: Floats

    @classmethod
    def of(
        cls, networks: Floats, latency_ms: Floats, kernels: Floats, kernel_ms: Floats
    ) -> WorkRates:
        """From the :data:`WORK` of n networks and m kernels, shapes (n, 4) and (m, 4)."""
        per_ms = rated(networks) / latency_ms[:, None]
        fastest = np.vstack([per_ms, rated(kernels) / kernel_ms[:, None]]).max(axis=0)
        typical = rated(networks).sum(axis=0) / latency_ms.sum()
        return cls(_inverse(fastest), _inverse(typical))

    def floor_ms(self, work: Floats) -> Floats:
        """What no operator of this work has been seen to beat; shape (...) for work (..., 4)."""
        least: Floats = np.max(self.fastest * rated(work), axis=-1)
        return least

    def guess_ms(self, work: Floats, alike: Sequence[float] = ()) -> float:
        """What an operator takes that nothing measured resembles.

        ``alike`` is the work and the milliseconds of a timed kernel of its kind: then what bounds
        that kernel costs here what it cost there.
        """
        parts = self.typical * rated(work)
        if len(alike):
            kernel = self.typical * rated(np.array(alike[:3]))
            bound = int(np.argmax(kernel))
            if kernel[bound] > 0:
                parts[bound] *= alike[3] / kernel[bound]
        return float(np.max(parts))


def _inverse(per_ms: Floats) -> Floats:
    """Milliseconds of one; 0 for a kind of work that was never done."""
    return np.divide(1.0, per_ms, out=np.zeros_like(per_ms), where=per_ms > 0)
