"""Scaling a network to a latency: EfficientNet's compound rule, TinyNet's Gaussian processes.

Both rules were published for multiply-accumulates; here the budget is a latency, predicted or
measured. A family (:class:`~latprof.datasets.spaces.variants.scaled.ScalableFamily`) has the
networks.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.extras import require
from latprof.common.limits import check_seed
from latprof.datasets.spaces.variants.scaled import (
    NetworkLatency,
    NetworksOfFamily,
    ScalableFamily,
    Scale,
    ScaledNetwork,
    compound_scaling,
)
from latprof.errors import CoverageError, InvalidValueError, UnreachableLimitError
from latprof.searchers.base import check_budget, pareto_front

__all__ = [
    "Scale",
    "ScaledNetwork",
    "TinyNetScaling",
    "compound_scaling",
    "scale_to_latency",
]

Floats: TypeAlias = NDArray[np.float64]
#: From n networks to n accuracies; larger is better.
NetworkAccuracy: TypeAlias = Callable[[Sequence[ScaledNetwork]], ArrayLike]
_HALVINGS = 12
#: How far from the formula's width the next one lies that is tried, as a logarithm.
_WIDTH_STEP = 0.25
#: Fewest networks that the Gaussian processes are fitted to.
_LEAST_FRONT = 5
#: Draws for each network that lies within TinyNet's range of latencies.
_DRAWS = 50


def scale_to_latency(
    family: ScalableFamily,
    limit_ms: float,
    latency: NetworkLatency,
    *,
    rule: Callable[[float], Scale] | None = None,
    phi_range: tuple[float, float] = (-8.0, 8.0),
) -> ScaledNetwork:
    """The largest network of a rule that keeps a latency limit, by bisection.

    The latency is taken to rise with phi. Where it does not, as when a measurement is noisy, a
    larger network may be missed; the one returned keeps the limit all the same.

    Parameters
    ----------
    family : ScalableFamily
    limit_ms : float
        In milliseconds.
    latency : callable
        From a space and an architecture to milliseconds: :class:`LatencyOfOperators`, or
        :func:`measured_ms`. Asked about 20 times at most.
    rule : callable, optional
        From phi to a :class:`Scale`; :func:`compound_scaling` from the family's base unless given.
    phi_range : (float, float)
        Least and largest phi.

    Raises
    ------
    InvalidValueError
        For a limit not above 0; UnreachableLimitError for one that no network keeps.
    CoverageError
        Where the pack knows too little of the networks around the limit.
    """
    if not 0 < limit_ms < math.inf:
        got, wanted = str(limit_ms), "milliseconds above 0"
        raise InvalidValueError("not a limit", field="limit_ms", expected=wanted, got=got)
    networks = NetworksOfFamily(family, latency)
    scaled = rule or (lambda phi: compound_scaling(phi, base=family.base))
    return _largest(lambda phi: networks.network(scaled(phi)), limit_ms, 0.0, phi_range, 1.0)


class TinyNetScaling:
    """Resolution and depth as functions of the latency, learnt from a few accurate networks.

    TinyNet's tiny formula (Han et al., NeurIPS 2020, section 3.2): networks of random resolution,
    depth and width are evaluated, the best are kept, and Gaussian processes say what resolution and
    depth they have at a cost; the width is what the cost leaves room for. Here the cost ``c`` is
    the latency over the base network's, and the width is found by bisection on the latency where
    the paper has ``w = sqrt(c / (d r**2))``. Draws and processes (RBF and white noise) work on
    logarithms: what is kept spans a factor of twenty in latency.

    Learned attributes: ``base_ms_``, ``networks_`` (n), ``accuracy_`` of shape (n,), and ``front_``
    (indices of the networks that were kept, the fastest first).

    Parameters
    ----------
    family : ScalableFamily
    latency : callable
        As for :func:`scale_to_latency`.
    factors : (float, float)
        Least and largest resolution, depth and width over the base's.
    ratios : (float, float)
        Least and largest latency over the base's of networks that are evaluated.
    share : float
        Fronts are taken, the first before the second, until this share of the networks is kept.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    """

    base_ms_: float
    networks_: tuple[ScaledNetwork, ...]
    accuracy_: Floats
    front_: NDArray[np.int64]

    def __init__(
        self,
        family: ScalableFamily,
        latency: NetworkLatency,
        *,
        factors: tuple[float, float] = (0.25, 4.0),
        ratios: tuple[float, float] = (0.05, 1.1),
        share: float = 0.2,
    ) -> None:
        ordered = all(0 < low < high < math.inf for low, high in (factors, ratios))
        if not ordered or not 0 < share <= 1:
            raise InvalidValueError(
                "factors, ratios or share are out of range",
                expected="two numbers above 0, the lesser first; a share of at most 1",
                got=f"{factors}, {ratios}, {share}",
            )
        self.family, self.latency = family, latency
        self.factors, self.ratios, self.share = factors, ratios, share
        self._networks = NetworksOfFamily(family, latency)

    def fit(self, accuracy: NetworkAccuracy, n: int = 100, *, seed: int = 0) -> TinyNetScaling:
        """Evaluate ``n`` random networks, in one batch, and learn from the best.

        Networks that the latency source refuses with CoverageError are not drawn.

        Raises InvalidValueError for an accuracy source that gives no n finite numbers and where too
        few networks lie within ``ratios``, MissingDependencyError without scikit-learn.
        """
        check_budget(n)
        generator = np.random.default_rng(check_seed(seed))
        processes = [_gaussian_process(seed) for _ in ("resolution", "depth")]
        self.base_ms_ = self._networks.network(self.family.base).latency_ms
        networks = list(itertools.islice(self._drawn(generator, _DRAWS * n), n))
        if len(networks) < max(n, _LEAST_FRONT):
            raise InvalidValueError(
                "too few networks to learn from",
                field="n",
                expected=f"at least {max(n, _LEAST_FRONT)} within {self.ratios} of the base",
                got=str(len(networks)),
                hint="widen ratios, or lower least_coverage of the latency source",
            )
        self.accuracy_ = _accuracies(accuracy, networks)
        self.networks_ = tuple(networks)
        self.front_ = self._kept()
        kept = [networks[index] for index in self.front_]
        cost = np.log([[network.latency_ms / self.base_ms_] for network in kept])
        sizes = np.log([(network.scale.resolution, network.scale.depth) for network in kept])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant at the end of its range is no harm here
            for process, values in zip(processes, sizes.T, strict=True):
                process.fit(cost, values)
        self._processes = processes
        return self

    @property
    def limits_ms(self) -> tuple[float, float]:
        """Least and largest latency of the networks that were kept, in milliseconds."""
        if not hasattr(self, "front_"):
            raise InvalidValueError("nothing is learnt yet; call fit first")
        fastest, slowest = (self.networks_[self.front_[end]] for end in (0, -1))
        return fastest.latency_ms, slowest.latency_ms

    def size_at(self, limit_ms: float) -> tuple[int, float]:
        """Resolution, an even number of pixels, and depth that belong to a latency.

        Raises InvalidValueError before :meth:`fit` and outside :attr:`limits_ms`.
        """
        low, high = self.limits_ms
        if not low <= limit_ms <= high:
            raise InvalidValueError(
                "the limit is outside of what was learnt",
                field="limit_ms",
                expected=f"{low:.3f} to {high:.3f} ms",
                got=str(limit_ms),
                hint="widen ratios, or evaluate more networks",
            )
        cost = [[math.log(limit_ms / self.base_ms_)]]
        found = np.exp([process.predict(cost)[0] for process in self._processes])
        base = np.array([self.family.base.resolution, self.family.base.depth])
        resolution, depth = np.clip(found, base * self.factors[0], base * self.factors[1]).tolist()
        return 2 * round(resolution / 2), depth

    def scale(self, limit_ms: float) -> ScaledNetwork:
        """The network for a latency limit: learnt resolution and depth, the width that fits.

        Raises InvalidValueError as :meth:`size_at` does, and where no width keeps the limit.
        """
        resolution, depth = self.size_at(limit_ms)
        base = self.family.base

        def network(log_width: float) -> ScaledNetwork:
            width = base.width * math.exp(log_width)
            return self._networks.network(Scale(resolution, depth, width))

        ratios = (limit_ms / self.base_ms_, depth / base.depth, (resolution / base.resolution) ** 2)
        formula = math.log(ratios[0] / (ratios[1] * ratios[2])) / 2
        bounds = (math.log(self.factors[0]), math.log(self.factors[1]))
        return _largest(network, limit_ms, formula, bounds, _WIDTH_STEP)

    def _drawn(self, generator: np.random.Generator, draws: int) -> Iterator[ScaledNetwork]:
        """Networks of random sizes whose latency is within the range."""
        base, bounds = self.family.base, np.log(self.factors)
        for _ in range(draws):
            resolution, depth, width = np.exp(generator.uniform(bounds[0], bounds[1], 3)).tolist()
            pixels = 2 * round(base.resolution * resolution / 2)
            try:
                scale = Scale(pixels, base.depth * depth, base.width * width)
                network = self._networks.network(scale)
            except CoverageError:
                continue
            if self.ratios[0] <= network.latency_ms / self.base_ms_ <= self.ratios[1]:
                yield network

    def _kept(self) -> NDArray[np.int64]:
        """Indices of the networks on the first fronts, the fastest first."""
        latency = np.array([network.latency_ms for network in self.networks_])
        wanted = max(_LEAST_FRONT, math.ceil(self.share * len(latency)))
        left = np.arange(len(latency))
        kept: list[int] = []
        while len(kept) < wanted:
            front = left[pareto_front(self.accuracy_[left], latency[left])]
            kept += front.tolist()
            left = np.setdiff1d(left, front)
        return np.array(sorted(kept, key=lambda index: latency[index]), dtype=np.int64)


def _gaussian_process(seed: int) -> Any:
    """A process that is not fitted yet: costs of shape (n, 1) to values of shape (n,)."""
    require("search", "TinyNet's scaling", "sklearn")
    from sklearn.gaussian_process import GaussianProcessRegressor, kernels

    smooth = kernels.RBF(1.0, (1.0, 100.0))  # no swings within a factor e of the latency
    kernel = kernels.ConstantKernel() * smooth + kernels.WhiteKernel(0.1)
    return GaussianProcessRegressor(
        kernel, normalize_y=True, n_restarts_optimizer=1, random_state=seed % (1 << 32)
    )


def _largest(
    network: Callable[[float], ScaledNetwork],
    limit_ms: float,
    start: float,
    bounds: tuple[float, float],
    step: float,
) -> ScaledNetwork:
    """The network of the largest number within bounds that keeps a limit, by bisection."""
    low, high = bounds

    def keeps(number: float) -> bool:
        return network(number).latency_ms <= limit_ms

    # From the start outwards, so that no network far beyond the limit is asked about.
    kept = above = min(max(start, low), high)
    while keeps(above) and above < high:
        kept, above = above, min(above + step, high)
    while not keeps(kept):
        if kept <= low:
            raise UnreachableLimitError(
                f"no network of the family was found that keeps {limit_ms:g} ms",
                field="limit_ms",
                got=f"{network(low).latency_ms:.3f} ms at best",
            )
        above, kept = kept, max(kept - step, low)
    if keeps(above):
        return network(above)
    for _ in range(_HALVINGS):
        middle = (kept + above) / 2
        kept, above = (middle, above) if keeps(middle) else (kept, middle)
    return network(kept)


def _accuracies(accuracy: NetworkAccuracy, networks: Sequence[ScaledNetwork]) -> Floats:
    values = np.asarray(accuracy(networks), dtype=np.float64)
    if values.shape != (len(networks),) or not np.all(np.isfinite(values)):
        raise InvalidValueError(
            "the accuracy source gave something else than an accuracy for each network",
            field="accuracy",
            expected=f"{len(networks)} finite numbers",
            got=f"shape {values.shape}",
        )
    return values
