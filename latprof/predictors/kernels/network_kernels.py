"""Latencies of networks from their kernels, with intervals that hold for networks.

What kernels add is summed, with a constant a run. The interval comes from networks whose whole
family was left out of the kernels: their errors in units of those that were expected.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.kernels.kernel_model import KernelModel, model_files, model_of_files
from latprof.predictors.kernels.network_spread import NetworkDifficulty, Spread

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields
    from latprof.predictors.kernels.configurations import Configurations

Floats: TypeAlias = NDArray[np.float64]

#: Share of networks inside the intervals.
INTERVAL_COVERAGE = 0.9
#: The error of a kernel's logarithm where its work or the number of its runs is not known.
_UNCERTAIN = 1.5
#: With fewer left-out networks than this, errors are taken as normal, and wider.
_FEWEST_SCORES = 19
_WIDER = 1.5


@dataclass(frozen=True, eq=False, repr=False)
class SummedKernels(ShortRepr):
    """A network's predicted latency, from its kernels.

    Parameters
    ----------
    latency_ms, low_ms, high_ms : float
        The prediction, and the ends of a 90 % interval.
    coverage : float
        Share of ``latency_ms`` from kernels within the training range, from 0 to 1.
    kernel_ms : array of shape (n,)
        What each kernel adds, shape (n,); with ``constant_ms`` their sum is ``latency_ms``.
    covered : array of shape (n,), bool
    floor_ms : array of shape (n,)
        What each would take at the best rates that were seen on the target.
    constant_ms : float
    difficulty : NetworkDifficulty
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    kernel_ms: Floats
    covered: NDArray[np.bool_]
    floor_ms: Floats
    constant_ms: float
    difficulty: NetworkDifficulty


@dataclass(frozen=True, eq=False, repr=False)
class NetworkKernelModel(ShortRepr):
    """Predicts networks from their kernels on one target.

    Parameters
    ----------
    kernels : KernelModel
        Of what each kernel adds.
    constant_ms : float
        What is added once a run.
    scores : array of shape (m,)
        log(measured / predicted) in units of the expected error, of networks whose family was left
        out; sorted.
    spread : Spread
        What is expected of a network's difficulty.
    """

    kernels: KernelModel
    constant_ms: float
    scores: Floats
    spread: Spread = field(default_factory=Spread)

    def predict(
        self,
        kernels: Configurations,
        trips: Floats | None = None,
        certain: NDArray[np.bool_] | None = None,
    ) -> SummedKernels:
        """Predict one network of n kernels, n of at least 1.

        ``trips`` says how often each runs, shape (n,); once unless given. Those that are not
        ``certain``, whose work or number of runs nobody knows, count as not covered.
        """
        times = self.kernels.predict(kernels)
        if certain is not None:
            times = dataclasses.replace(
                times,
                covered=times.covered & certain,
                error=np.where(certain, times.error, np.maximum(times.error, _UNCERTAIN)),
            )
        floor, each = self.kernels.roofline.floor_ms(kernels), times.latency_ms
        if trips is not None:
            each, floor = each * trips, floor * trips
        latency = float(each.sum()) + self.constant_ms
        # The constant is common to all networks: it makes no kernel better known.
        shortest_ms = self.kernels.roofline.per_kernel
        difficulty = NetworkDifficulty.of(times, each / each.sum(), shortest_ms)
        expected = self.spread.of(difficulty)
        low, high = (math.exp(expected * score_quantile(self.scores, q)) for q in (0.05, 0.95))
        covered = float(each[times.covered].sum() + self.constant_ms) / latency
        covered = covered if times.covered.any() else 0.0
        return SummedKernels(
            latency,
            latency * min(low, 1.0),
            latency * max(high, 1.0),
            1.0 if times.covered.all() else min(covered, 1.0),
            each,
            times.covered,
            floor,
            self.constant_ms,
            difficulty,
        )

    def upper_ms(self, found: SummedKernels, share: float) -> float:
        """What this share of networks stays below, in ms."""
        expected = self.spread.of(found.difficulty)
        return found.latency_ms * math.exp(expected * score_quantile(self.scores, share))

    def to_files(self) -> tuple[dict[str, Any], bytes]:
        """Return the model as values for JSON, and its trees."""
        values, trees = model_files(self.kernels)
        values["constant_ms"] = self.constant_ms
        values["scores"] = np.round(self.scores, 4)
        values["spread"] = self.spread.to_list()
        return values, trees

    @classmethod
    def from_files(cls, fields: Fields, trees: bytes) -> NetworkKernelModel:
        """Rebuild a model; raises PackError for what :meth:`to_files` did not make."""
        constant_ms = fields.number("constant_ms", 0.0, 1e9)
        scores = np.sort(fields.array("scores", (None,)))
        return cls(model_of_files(fields, trees), constant_ms, scores, Spread.of_fields(fields))


def score_quantile(scores: Floats, share: float) -> float:
    """Below what this share of scores is, which are sorted, shape (m,).

    Beyond what their number can tell, the quantile of a wide normal distribution.
    """
    count = len(scores)
    tail = min(share, 1 - share)
    if count < _FEWEST_SCORES or tail * (count + 1) < 1:
        from statistics import NormalDist  # slow to import, and seldom needed

        normal = _WIDER * NormalDist().inv_cdf(share)
        extreme = float(np.abs(scores).max()) if count else 0.0
        return math.copysign(max(abs(normal), extreme), normal) if normal else 0.0
    rank = share * (count + 1) - 1
    rank = math.ceil(rank) if share > 0.5 else math.floor(rank)
    return float(scores[min(max(rank, 0), count - 1)])
