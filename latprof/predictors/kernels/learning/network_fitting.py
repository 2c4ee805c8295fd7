"""Fitting models of networks to timed kernels and to latencies of whole networks."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.kernels.configurations import Configurations
from latprof.predictors.kernels.kernel_features import Roofline
from latprof.predictors.kernels.learning.kernel_fitting import MIN_KERNELS, TREES, fit_kernel_model
from latprof.predictors.kernels.network_kernels import NetworkKernelModel, SummedKernels
from latprof.predictors.kernels.network_spread import Spread, fit_spread

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from latprof.graph.fusion_rules import FusionRules
    from latprof.predictors.kernels.kernel_model import KernelModel
    from latprof.predictors.kernels.learning.kernel_agreement import KernelAgreement

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

#: Steps of a prior's leaves, and the logarithm by which its trees are off where that is kept.
_LEAF_STEP, _LEAST_OFF = 2.0**-11, 0.05
#: Families are left out in at most so many groups.
_GROUPS = 8
_FEWEST_NETWORKS = 6
#: Most of the shortest network that is taken for the constant of a run.
_LARGEST_CONSTANT = 0.5
#: Rounds of reweighting towards least absolute errors, and the error that counts as none.
_ROUNDS, _SMALL = 30, 0.005
#: No kernel is corrected to less than this part of its time.
_LEAST_PART = 0.1
#: Fits of a correction, each with the kernels that the last one left with the least part.
_FITS = 10


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
        result: Floats = np.maximum(
            self.scale * kernel_ms + self.per_kernel_ms, self.least_ms(kernel_ms)
        )
        return result

    def least_ms(self, kernel_ms: Floats) -> Floats:
        """What they add at least."""
        return _LEAST_PART * self.scale * kernel_ms


@dataclass(frozen=True, eq=False, repr=False)
class KernelTable(ShortRepr):
    """n kernels of m networks on one target, in milliseconds.

    Parameters
    ----------
    kernels : Configurations
    latency_ms : array of shape (n,)
        NaN for those that the networks were expected to run, and of which no time was told.
    network : array of shape (n,)
        The network that each kernel was timed in; -1 for none.
    names, families : tuple of str
        Of the m networks. A family is left out as a whole; networks of the empty one never are,
        and no interval is calibrated on them.
    network_ms : array of shape (m,)
        Latencies end to end; NaN where they were not measured.
    rules : FusionRules, optional
        By which the networks' graphs became these kernels, where they were learnt.
    agreement : KernelAgreement, optional
        How well the kernels that ran are those.
    prior : PriorKernels, optional
        Of another target: what these times are compared with.
    """

    kernels: Configurations
    latency_ms: Floats
    network: Integers
    names: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    network_ms: Floats = field(default_factory=lambda: np.empty(0))
    rules: FusionRules | None = None
    agreement: KernelAgreement | None = None
    prior: PriorKernels | None = None

    @property
    def timed(self) -> Mask:
        """Which kernels have a time, shape (n,)."""
        result: Mask = np.isfinite(self.latency_ms)
        return result

    def rows(self, chosen: Mask) -> KernelTable:
        """The table with these kernels only."""
        return dataclasses.replace(
            self,
            kernels=self.kernels.rows(chosen),
            latency_ms=self.latency_ms[chosen],
            network=self.network[chosen],
        )

    def taught_by(self, other: KernelTable, *, scale: float | None = None) -> KernelTable:
        """The table with the kernels of another.

        With a ``scale``, which turns the other's milliseconds into this one's, its networks count
        as this one's do; else they calibrate nothing.
        """
        factor = 1.0 if scale is None else scale
        unknown = np.full(len(other.names), np.nan)
        return dataclasses.replace(
            self,
            kernels=Configurations.joined([self.kernels, other.kernels]),
            latency_ms=np.concatenate([self.latency_ms, factor * other.latency_ms]),
            network=np.concatenate([self.network, other.network + len(self.names)]),
            names=self.names + other.names,
            families=self.families + other.families,
            network_ms=np.concatenate(
                [self.network_ms, unknown if scale is None else scale * other.network_ms]
            ),
        )

    def of_network(self, number: int) -> Configurations:
        """The kernels of one network, in the table's order."""
        return self.kernels.rows(self.network == number)


@dataclass(frozen=True, eq=False, repr=False)
class FittedNetworks(ShortRepr):
    """A fitted model, and how well it did on networks whose family was left out.

    ``measured_ms`` and ``predicted_ms`` are of those networks, of shape (k,); k may be 0.
    """

    model: NetworkKernelModel
    measured_ms: Floats
    predicted_ms: Floats


def fit_networks(table: KernelTable, *, seed: int = 0, trees: int = TREES) -> FittedNetworks:
    """Fit kernels, the correction of their sums, and the intervals of networks.

    Raises as :func:`~latprof.predictors.kernels.learning.kernel_fitting.fit_kernel_model`.
    """
    model = fit_kernels(table, seed=seed, trees=trees)
    found = leave_families_out(table, seed=seed, trees=trees)
    rows = [index for index, each in enumerate(found) if each is not None]
    measured, judged = table.network_ms[rows], [each for each in found if each is not None]
    spread, scores = calibrate(measured, judged, [table.families[index] for index in rows])
    fitted = dataclasses.replace(model, scores=scores, spread=spread)
    return FittedNetworks(fitted, measured, np.array([each.latency_ms for each in judged]))


def calibrate(
    measured_ms: Floats, judged: Sequence[SummedKernels], families: Sequence[str]
) -> tuple[Spread, Floats]:
    """What left-out networks tell of intervals: the expected errors, and the errors in their units.

    ``measured_ms`` of shape (m,), as the errors, which are sorted. Each family counts the same,
    whatever the number of its networks: the next one asked about is of a family of its own.
    """
    predicted = np.array([each.latency_ms for each in judged])
    errors = np.log(measured_ms / predicted)
    _, family, sizes = np.unique(np.array(families), return_inverse=True, return_counts=True)
    weights = 1 / sizes[family]
    spread = fit_spread(errors, [each.difficulty for each in judged], weights)
    expected = np.array([spread.of(each.difficulty) for each in judged])
    return spread, _evenly(errors / expected, weights)


def _evenly(values: Floats, weights: Floats) -> Floats:
    """As many values, sorted, that count the same and are distributed as the weighted ones."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    places = (np.arange(len(values)) + 0.5) / max(len(values), 1)
    result: Floats = values[order][np.searchsorted(below, places * weights.sum())]
    return result


def fit_kernels(
    table: KernelTable,
    chosen: Mask | None = None,
    left_out: Mask | None = None,
    *,
    without: Collection[str] = (),
    seed: int = 0,
    trees: int = TREES,
    errors: bool = True,
) -> NetworkKernelModel:
    """Fit what kernels add to networks, without intervals.

    A timed kernel has the profiler's own cost in it, which matters most where it is small: what is
    learnt is its time as corrected by whole networks.

    Parameters
    ----------
    table : KernelTable
    chosen : mask of shape (n,), optional
        Kernels to fit to; all unless given.
    left_out : mask of shape (m,), optional
        Networks whose latencies are not looked at.
    without : collection of str
        Families whose networks do not count in the table's prior.
    seed, trees : int
    errors : bool
        Whether the kernels' errors are found.

    Raises as :func:`~latprof.predictors.kernels.learning.kernel_fitting.fit_kernel_model`.
    """
    correction = correction_of(table, left_out)
    kept = table.rows(table.timed if chosen is None else chosen & table.timed)
    # The fastest rates are those that were measured.
    roofline = Roofline.of(kept.kernels, kept.latency_ms)
    adds = correction.each(kept.latency_ms)
    own = np.where(kept.network >= 0, kept.network, len(table.names))
    sums = np.bincount(own, adds, minlength=len(table.names) + 1)
    shares = np.where(kept.network >= 0, adds / sums[own], 1.0)
    prior = None
    if table.prior is not None:
        prior = table.prior.fitted(without, seed=seed, trees=trees)
    kernels = fit_kernel_model(
        kept.kernels,
        adds,
        roofline=roofline,
        shares=shares,
        prior=prior,
        seed=seed,
        trees=trees,
        errors=errors,
    )
    return NetworkKernelModel(kernels, correction.constant_ms, np.empty(0))


class PriorKernels:
    """Kernels of another target, fitted once for each set of families left out.

    Parameters
    ----------
    table : KernelTable
    """

    def __init__(self, table: KernelTable) -> None:
        self.table = table
        self._fitted: dict[tuple[frozenset[str], int, int], KernelModel] = {}

    def fitted(self, without: Collection[str], *, seed: int, trees: int) -> KernelModel:
        """The model of the networks of all families but some, without errors."""
        key = (frozenset(without), seed, trees)
        if key not in self._fitted:
            table = self.table
            left_out = np.isin(np.array(table.families), [*without])
            inside = (table.network < 0) | ~left_out[table.network]
            model = fit_kernels(table, inside, left_out, seed=seed, trees=trees, errors=False)
            self._fitted[key] = _small(model.kernels)
        return self._fitted[key]


def _small(model: KernelModel) -> KernelModel:
    """A model that takes less room in a file, and says the same to what is asked of a prior."""
    leaves = np.round(model.forest.leaves.astype(np.float32) / _LEAF_STEP) * _LEAF_STEP
    return dataclasses.replace(
        model,
        forest=dataclasses.replace(model.forest, leaves=leaves.astype(np.float16)),
        seen={digest: off for digest, off in model.seen.items() if abs(off) >= _LEAST_OFF},
    )


def leave_families_out(
    table: KernelTable,
    fitted: Mask | None = None,
    *,
    seed: int = 0,
    trees: int = TREES,
    groups: int = _GROUPS,
) -> list[SummedKernels | None]:
    """Predict each measured network from the kernels of other families; None for the others.

    ``fitted`` are the networks to fit to, a mask of shape (m,); all unless given.
    """
    named = np.array([bool(family) for family in table.families], dtype=bool)
    if not named.any():
        return [None] * len(table.names)
    known = np.isfinite(table.network_ms) & named
    families = sorted({f for f, is_known in zip(table.families, known, strict=True) if is_known})
    order = np.random.default_rng(seed).permutation(len(families))
    group = {families[family]: number % groups for number, family in enumerate(order.tolist())}
    of_network = np.array([group.get(family, -1) for family in table.families], dtype=np.int64)
    found: list[SummedKernels | None] = [None] * len(table.names)
    for number in range(min(groups, len(families))):
        left_out = of_network == number
        held = known & left_out
        if fitted is not None:
            left_out = left_out | ~fitted
        for index, prediction in _predict_without(table, left_out, held, seed, trees):
            found[index] = prediction
    return found


def _predict_without(
    table: KernelTable, left_out: Mask, asked: Mask, seed: int, trees: int
) -> list[tuple[int, SummedKernels]]:
    """Predict the networks asked for without the kernels and latencies of those left out."""
    inside = (table.network < 0) | ~left_out[table.network]
    if (inside & table.timed).sum() < MIN_KERNELS:
        return []
    families = {table.families[index] for index in np.flatnonzero(asked).tolist()}
    model = fit_kernels(table, inside, left_out, without=families, seed=seed, trees=trees)
    return [
        (index, model.predict(table.of_network(index)))
        for index in np.flatnonzero(asked).tolist()
        if np.any(table.network == index)
    ]


def correction_of(table: KernelTable, left_out: Mask | None = None) -> Correction:
    """The correction that makes sums of timed kernels the latencies of their networks.

    Least absolute relative errors. With fewer than six networks the kernels' times stand.
    """
    own = (table.network >= 0) & table.timed
    count = np.bincount(table.network[own], minlength=len(table.names))
    used = np.isfinite(table.network_ms) & (count > 0)
    if left_out is not None:
        used &= ~left_out
    if used.sum() < _FEWEST_NETWORKS:
        return Correction()
    network, kernel_ms = table.network[own], table.latency_ms[own]
    correction, least = Correction(), np.zeros(len(network), dtype=bool)
    for _ in range(_FITS):
        kept = np.where(least, _LEAST_PART, 1.0) * kernel_ms
        sums = np.bincount(network, kept, minlength=len(table.names))
        cut = np.bincount(network, ~least, minlength=len(table.names))
        design = np.column_stack([sums, cut, np.ones(len(sums))])[used]
        correction = _solved(design / table.network_ms[used, None], table.network_ms[used])
        before, least = least, correction.each(kernel_ms) <= correction.least_ms(kernel_ms)
        if np.array_equal(before, least):
            break
    return correction


def _solved(design: Floats, network_ms: Floats) -> Correction:
    """The correction of sums and counts a network, over its latency; shape (m, 3)."""
    most = _LARGEST_CONSTANT * float(network_ms.min())
    for columns in ([0, 1, 2], [0, 2], [0, 1], [0]):
        solution = np.zeros(3)
        solution[columns] = _least_absolute(design[:, columns])
        correction = Correction(*solution.tolist())
        if 0.5 <= correction.scale <= 2.0 and 0 <= correction.constant_ms <= most:
            return correction
    return Correction(scale=float(np.median(1 / design[:, 0])))


def _least_absolute(design: Floats) -> Sequence[float]:
    """Coefficients with which the rows come nearest to 1, in sum of absolute errors."""
    size = np.sqrt(np.mean(design**2, axis=0))
    scaled = design / size
    weight = np.ones(len(design))
    solution = np.zeros(design.shape[1])
    # Corrections are small: without need they stay 0, and the scale 1.
    prior = 1e-3 * np.eye(design.shape[1])
    wanted = np.zeros(design.shape[1])
    wanted[0] = size[0]
    for _ in range(_ROUNDS):
        rows = np.vstack([scaled * weight[:, None], prior])
        target = np.concatenate([weight, prior @ wanted])
        solution = np.linalg.lstsq(rows, target, rcond=None)[0]
        weight = 1 / np.sqrt(np.maximum(np.abs(scaled @ solution - 1), _SMALL))
        weight /= np.sqrt(np.mean(weight**2))
    values: list[float] = (solution / size).tolist()
    return values
