"""How far off the prediction of a network is expected to be, before it is measured.

Three things tell: the errors that its kernels are known with and their shares, how much of it is in
kernels so short that what surrounds them decides, and networks whose whole family was left out,
which say how much either matters.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields
    from latprof.predictors.kernels.kernel_model import KernelTimes

Floats: TypeAlias = NDArray[np.float64]

#: How much of the kernels' errors is common to all of a network's: within range, and outside.
_COMMON, _COMMON_OUTSIDE = 0.25, 0.6
#: A network's error that no kernel explains.
_OWN = 0.02
#: A kernel is short where it takes about so many times what the shortest take.
_SHORT = 8.0
#: Share of networks whose errors of kernels are usual; how much larger ones matter is not learnt.
_USUAL = 0.8
#: With fewer networks than this nothing is learnt; what is, is drawn towards nothing so strongly.
_FEWEST_NETWORKS, _RIDGE = 40, 0.5
#: No network is expected to be known better than this, and none worse: a factor of 4 or 5 each way.
_BEST, _WORST = 0.01, 1.5


@dataclass(frozen=True)
class NetworkDifficulty:
    """What is known of a network before it is measured.

    Parameters
    ----------
    error : float
        Of the logarithm, as its kernels' errors add up.
    short : float
        Share of the time in short kernels, from 0 to 1.
    """

    error: float
    short: float

    @classmethod
    def of(cls, times: KernelTimes, shares: Floats, shortest_ms: float) -> NetworkDifficulty:
        """From kernels' times and shares, shape (n,), and what the shortest of a target take.

        Errors of single kernels cancel, what is common to them does not.
        """
        alone = shares * times.error
        common = float(np.sum(alone * np.where(times.covered, _COMMON, _COMMON_OUTSIDE)))
        error = math.sqrt(float(np.sum(alone**2)) + common**2 + _OWN**2)
        return cls(error, float(np.sum(shares * np.exp(-times.latency_ms / _SHORT / shortest_ms))))


@dataclass(frozen=True)
class Spread:
    """Turns difficulties into expected errors of the logarithm.

    ``exp(offset + by_error * log(error) + by_short * short)``, within bounds. Beyond the error
    ``usual`` it grows as that does: few networks of a calibration are guesses, and what they tell
    holds for none but those.
    """

    offset: float = 0.0
    by_error: float = 1.0
    by_short: float = 0.0
    usual: float = 1.0

    def of(self, network: NetworkDifficulty) -> float:
        """The expected error of one network's logarithm."""
        error, beyond = _parts(network, self.usual)
        found = self.offset + self.by_error * error + self.by_short * network.short
        return min(max(math.exp(min(found, 0.0) + beyond), _BEST), _WORST)

    def to_list(self) -> list[float]:
        """Return it as values for JSON."""
        return [round(value, 5) for value in astuple(self)]

    @classmethod
    def of_fields(cls, fields: Fields) -> Spread:
        """Rebuild it; raises PackError."""
        if "spread" not in fields.values:
            return cls()
        values = fields.array("spread", (4,))
        if np.abs(values).max() > 100 or not values[3] > 0:
            fields.wrong("spread", "numbers up to 100, the last above 0")
        return cls(*values.tolist())


def fit_spread(errors: Floats, networks: list[NetworkDifficulty], weights: Floats) -> Spread:
    """Learn it from errors of the logarithms of m networks, shape (m,), that were left out.

    ``weights``, of the same shape, say how much each counts. The likeliest, where errors have a
    Laplace distribution; with fewer than 40 networks the errors of the kernels stand.
    """
    from scipy.optimize import minimize

    if len(networks) < _FEWEST_NETWORKS:
        return Spread()
    usual = float(np.quantile([each.error for each in networks], _USUAL))
    parts = [_parts(each, usual) for each in networks]
    beyond = np.array([part[1] for part in parts])
    known = np.array(
        [[error, each.short] for (error, _), each in zip(parts, networks, strict=True)]
    )
    centre, scale = known.mean(axis=0), known.std(axis=0) + 1e-9
    share = weights / weights.sum()
    standard = (known - centre) / scale
    size = np.abs(errors)

    def loss(slopes: Floats) -> float:
        logarithm = slopes[0] + standard @ slopes[1:] + beyond
        drawn = _RIDGE * float(np.sum(slopes[1:] ** 2)) / len(size)
        return float(share @ (logarithm + size * np.exp(-logarithm))) + drawn

    start = np.array([math.log(max(float(size.mean()), _BEST)), 0.0, 0.0])
    # No network is known better for larger errors of its kernels, or more short ones.
    slopes = minimize(loss, start, bounds=[(None, None), (0.0, None), (0.0, None)]).x
    by_error, by_short = (slopes[1:] / scale).tolist()
    offset = float(slopes[0] - centre @ (slopes[1:] / scale))
    return Spread(offset, by_error, by_short, usual)


def _parts(network: NetworkDifficulty, usual: float) -> tuple[float, float]:
    """The logarithm of the error up to the usual one, and what there is beyond."""
    return math.log(min(network.error, usual)), math.log(max(network.error / usual, 1.0))
