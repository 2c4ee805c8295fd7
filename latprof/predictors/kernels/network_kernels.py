"""Latencies of networks from their kernels, with intervals that hold for networks.

Kernel times are summed with the target's scale, a correction a kernel (a profiler's own cost is in
every timed kernel) and a constant a run. The interval comes from networks whose whole family was
left out of the kernels: their errors in units of a difficulty, which adds up the expected errors of
the kernels and is larger for those outside the training range.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.kernels.kernel_model import KernelModel, model_files, model_of_files

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields
    from latprof.predictors.kernels.configurations import Configurations
    from latprof.predictors.kernels.kernel_model import KernelTimes

Floats: TypeAlias = NDArray[np.float64]

#: Share of networks inside the intervals.
INTERVAL_COVERAGE = 0.9
#: How much of the kernels' errors is common to all of a network's: within range, and outside.
_COMMON, _COMMON_OUTSIDE = 0.25, 0.6
#: A network's error that no kernel explains.
_OWN = 0.02
#: With fewer left-out networks than this, errors are taken as normal, and wider.
_FEWEST_SCORES = 19
_WIDER = 1.5
#: No kernel is corrected to less than this part of its time.
_LEAST_PART = 0.3


@dataclass(frozen=True)
class Correction:
    """What timed kernels add to a network: ``scale * ms + per_kernel_ms`` each.

    ``constant_ms`` is added once a run.
    """

    scale: float = 1.0
    per_kernel_ms: float = 0.0
    constant_ms: float = 0.0

    def each(self, kernel_ms: Floats) -> Floats:
        """What kernels add to a network's latency."""
        own = self.scale * kernel_ms
        result: Floats = np.maximum(own + self.per_kernel_ms, _LEAST_PART * own)
        return result


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
    difficulty : float
        The expected error of the logarithm.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    kernel_ms: Floats
    covered: NDArray[np.bool_]
    floor_ms: Floats
    constant_ms: float
    difficulty: float


@dataclass(frozen=True, eq=False, repr=False)
class NetworkKernelModel(ShortRepr):
    """Predicts networks from their kernels on one target.

    Parameters
    ----------
    kernels : KernelModel
    correction : Correction
    scores : array of shape (m,)
        log(measured / predicted) in units of the difficulty, of networks whose family was left
        out; sorted.
    """

    kernels: KernelModel
    correction: Correction
    scores: Floats

    def predict(self, kernels: Configurations, trips: Floats | None = None) -> SummedKernels:
        """Predict one network of n kernels, n of at least 1.

        ``trips`` says how often each runs, shape (n,); once unless given.
        """
        times = self.kernels.predict(kernels)
        scale = min(self.correction.scale, 1.0)
        floor = self.kernels.roofline.floor_ms(kernels) * scale
        each = np.maximum(self.correction.each(times.latency_ms), floor)
        if trips is not None:
            each, floor = each * trips, floor * trips
        latency = float(each.sum()) + self.correction.constant_ms
        # The constant is common to all networks: it makes no kernel better known.
        spread = difficulty(times, each / each.sum())
        low, high = (math.exp(spread * self._quantile(q)) for q in (0.05, 0.95))
        covered = float(each[times.covered].sum() + self.correction.constant_ms) / latency
        covered = covered if times.covered.any() else 0.0
        return SummedKernels(
            latency,
            latency * min(low, 1.0),
            latency * max(high, 1.0),
            1.0 if times.covered.all() else min(covered, 1.0),
            each,
            times.covered,
            floor,
            self.correction.constant_ms,
            spread,
        )

    def upper_ms(self, found: SummedKernels, share: float) -> float:
        """What this share of networks stays below, in ms."""
        return found.latency_ms * math.exp(found.difficulty * self._quantile(share))

    def _quantile(self, share: float) -> float:
        """Of the scores; beyond what their number can tell, that of a wide normal distribution."""
        normal = _WIDER * NormalDist().inv_cdf(share)
        count = len(self.scores)
        tail = min(share, 1 - share)
        if count < _FEWEST_SCORES or tail * (count + 1) < 1:
            extreme = float(np.abs(self.scores).max()) if count else 0.0
            return math.copysign(max(abs(normal), extreme), normal) if normal else 0.0
        rank = share * (count + 1) - 1
        rank = math.ceil(rank) if share > 0.5 else math.floor(rank)
        return float(self.scores[min(max(rank, 0), count - 1)])

    def to_files(self) -> tuple[dict[str, Any], bytes]:
        """Return the model as values for JSON, and its trees."""
        values, trees = model_files(self.kernels)
        values["correction"] = dataclasses.asdict(self.correction)
        values["scores"] = np.round(self.scores, 4)
        return values, trees

    @classmethod
    def from_files(cls, fields: Fields, trees: bytes) -> NetworkKernelModel:
        """Rebuild a model; raises PackError for what :meth:`to_files` did not make."""
        given = fields.fields("correction")
        correction = Correction(
            given.number("scale", 1e-3, 1e3),
            given.number("per_kernel_ms", -1e6, 1e6),
            given.number("constant_ms", 0.0, 1e9),
        )
        scores = np.sort(fields.array("scores", (None,)))
        return cls(model_of_files(fields, trees), correction, scores)


def difficulty(times: KernelTimes, shares: Floats) -> float:
    """The expected error of a network's logarithm from its kernels' errors and shares.

    Errors of single kernels cancel, what is common to them does not.
    """
    alone = shares * times.error
    common = float(np.sum(alone * np.where(times.covered, _COMMON, _COMMON_OUTSIDE)))
    return math.sqrt(float(np.sum(alone**2)) + common**2 + _OWN**2)
