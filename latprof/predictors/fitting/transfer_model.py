"""A new device from a few measurements, with predictors of other devices as the prior.

The model is a Gaussian process over architectures. Before a row is seen, the latency of the new
device varies as a sum of three parts does: what *sources*, the predictors of other devices, say;
what architectures of like *shapes* have in common (multiply-accumulates, elements, operators, how
often each candidate is there); and a cost for each of the *choices*, alike for similar ones. How
much each part varies, whether one source or one shape counts more than the rest (a runtime that is
slow at one kind of operator), and how noisy measurements are, is not known: a grid of hypotheses
says it, each weighted by how well it explains the rows (Rasmussen, Williams, "Gaussian Processes
for Machine Learning", section 5.2). Errors are Student's t, which makes the fit robust. All
parts being linear, what is learned is one coefficient a feature.

Which architectures to measure follows from the same prior before any is measured: each in turn is
the one that leaves the least variance over the others (a greedy Bayesian A-optimal design;
Chaloner, Verdinelli, "Bayesian Experimental Design: A Review", Statistical Science 1995).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.limits import whole
from latprof.common.short_reprs import ShortRepr

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Hypotheses, as variances over the pool of architectures, all sources together being 1. Only their
#: ratios matter: the scale of the new device is fitted. How much of the sources' variance is that
#: of a single one, the rest being shared by all;
FOCUSES = (0.9, 0.99)
#: how much of the shapes' variance is that of a single one, where it is not the same for all, and
#: the rows above which that is no longer asked: they say it, and the hypotheses cost time;
SHAPE_FOCUS, MOST_FOCUSED_ROWS = 0.9, 100
#: the same where one is the table of the new device's own kernels: no other stands out then, and
#: what the table leaves to shapes and choices may be less than these say of other devices;
TABLE_FOCUSES = (0.5, 0.9, 0.99)
TABLE_SHAPE_VARIANCES, TABLE_CHOICE_VARIANCES = (0.001,), (0.0003, 0.001)
#: the variance of the shapes;
SHAPE_VARIANCES = (0.01, 0.03, 0.1, 0.3)
#: the variance of the choices;
CHOICE_VARIANCES = (0.003, 0.01, 0.03, 0.1)
#: and that of a measurement, which is a priori log-normal around the typical one.
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TYPICAL_NOISE = 0.1
_NOISE_SPREAD = 2.0
#: Of the new device's level, about the mean of its rows.
_LEVEL_VARIANCE = 9.0
#: Degrees of freedom of the errors, and how often the rows' weights are set.
_FREEDOM = 4.0
_REWEIGHTINGS = 3
#: Numbers in the stack of matrices that is decomposed at once.
_CHUNK_NUMBERS = 1 << 22


@dataclass(frozen=True, eq=False, repr=False)
class TransferFeatures(ShortRepr):
    """What is known of n architectures without measuring them on the new device.

    Parameters
    ----------
    source_ms : array of shape (n, sources)
        What predictors of other devices say.
    shapes : array of shape (n, t)
        Totals and counts that architectures share.
    choices : array of shape (n, q)
        Features of single decisions.
    """

    source_ms: Floats
    shapes: Floats
    choices: Floats

    @property
    def groups(self) -> tuple[Floats, Floats, Floats]:
        """The three matrices."""
        return self.source_ms, self.shapes, self.choices

    def rows(self, index: Integers) -> TransferFeatures:
        """The features of these architectures only."""
        return TransferFeatures(*(group[index] for group in self.groups))


@dataclass(frozen=True, eq=False, repr=False)
class FeatureScale(ShortRepr):
    """Centres and scales, one a feature, that give a pool's features the variances of the prior.

    Each source has variance 1; shapes have equal variances with sum 1; choices have variances in
    proportion to their own, with sum 1. A feature that does not vary counts as 0.
    """

    centres: tuple[Floats, Floats, Floats]
    scales: tuple[Floats, Floats, Floats]

    @classmethod
    def of(cls, pool: TransferFeatures) -> FeatureScale:
        """The scale of a pool of architectures."""
        centres = tuple(group.mean(axis=0) for group in pool.groups)
        sources, shapes, choices = (_spread(group) for group in pool.groups)
        together = float(np.sqrt((choices**2).sum()))
        scales = (
            _inverse(sources),
            _inverse(shapes * np.sqrt(max(int((shapes > 0).sum()), 1))),
            np.full(len(choices), 1 / together if together > 0 else 0.0),
        )
        return cls((centres[0], centres[1], centres[2]), scales)

    def apply(self, features: TransferFeatures) -> TransferFeatures:
        """Centre and scale the features of n architectures."""
        return TransferFeatures(
            *(
                (group - centre) * scale
                for group, centre, scale in zip(
                    features.groups, self.centres, self.scales, strict=True
                )
            )
        )


@dataclass(frozen=True, eq=False, repr=False)
class TransferFit(ShortRepr):
    """A fitted new device: ``intercept_ms`` plus each feature times its coefficient.

    Parameters
    ----------
    intercept_ms : float
    source_weights : array of shape (sources,)
        ms of the new device by ms of a source.
    shape_costs, choice_costs : array of shape (t,), (q,)
        In ms.
    left_out_ms : array of shape (n,)
        What the other n - 1 rows predict for each row.
    row_weights : array of shape (n,)
        Above 1 for a row as expected, near 0 for an outlier.
    noise : float
        Variance of a measurement beside the sources' 1, the hypotheses' geometric mean.
    """

    intercept_ms: float
    source_weights: Floats
    shape_costs: Floats
    choice_costs: Floats
    left_out_ms: Floats
    row_weights: Floats
    noise: float

    def predict(self, features: TransferFeatures) -> Floats:
        """Latencies in ms of n architectures, shape (n,)."""
        latency: Floats = (
            self.intercept_ms
            + features.source_ms @ self.source_weights
            + features.shapes @ self.shape_costs
            + features.choices @ self.choice_costs
        )
        return latency


def fit_transfer(
    features: TransferFeatures,
    latency_ms: Floats,
    scale: FeatureScale,
    *,
    last_is_own_table: bool = False,
) -> TransferFit:
    """Fit the new device to n measured architectures.

    Parameters
    ----------
    features : TransferFeatures of n architectures
    latency_ms : array of shape (n,)
        n at least 2.
    scale : FeatureScale
        Of the pool that predictions are asked for.
    last_is_own_table : bool
        Whether the last source is no other device but a table of the new device's own kernels.
    """
    scaled = scale.apply(features)
    sources, shapes = scaled.source_ms.shape[1], scaled.shapes.shape[1]
    varying = np.flatnonzero(scale.scales[1])
    if last_is_own_table:
        variances = _hypotheses_with_table(sources, shapes)
    else:
        few = len(latency_ms) <= MOST_FOCUSED_ROWS
        variances = _hypotheses(sources, shapes, varying if few else varying[:0])
    kernels = np.stack(
        [
            *(np.outer(column, column) for column in scaled.source_ms.T),
            *(np.outer(column, column) for column in scaled.shapes.T),
            scaled.choices @ scaled.choices.T,
        ]
    )
    weights = np.ones(len(latency_ms))
    posterior = _posterior(variances, kernels, latency_ms, weights)
    for _ in range(_REWEIGHTINGS):
        weights = (_FREEDOM + 1) / (_FREEDOM + posterior.surprise)
        posterior = _posterior(variances, kernels, latency_ms, weights)
    per_kernel = np.einsum("hn,hv,hnk->vk", posterior.probability, variances, posterior.solved)
    level = _LEVEL_VARIANCE * float(np.einsum("hn,hnk->", posterior.probability, posterior.solved))
    groups = (
        (scaled.source_ms.T * per_kernel[:sources]).sum(axis=1),
        (scaled.shapes.T * per_kernel[sources:-1]).sum(axis=1),
        per_kernel[-1] @ scaled.choices,
    )
    weights_of = [group * by for group, by in zip(groups, scale.scales, strict=True)]
    offset = sum(
        float(centre @ group) for centre, group in zip(scale.centres, weights_of, strict=True)
    )
    return TransferFit(
        intercept_ms=posterior.centre_ms + level - offset,
        source_weights=weights_of[0],
        shape_costs=weights_of[1],
        choice_costs=weights_of[2],
        left_out_ms=posterior.left_out_ms,
        row_weights=weights,
        noise=float(np.exp(posterior.probability.sum(axis=0) @ np.log(NOISES))),
    )


def choose_architectures(pool: TransferFeatures, n: int) -> Integers:
    """Choose the ``n`` architectures of a pool to measure on a new device, shape (n,), in order.

    Deterministic, from what is known before any measurement; the first m of n are those chosen for
    m. Raises InvalidValueError unless ``n`` is at least 1 and at most the size of the pool.
    """
    size = len(pool.source_ms)
    whole(1, size).check("n", n)
    scaled = FeatureScale.of(pool).apply(pool)
    design = np.hstack(
        [
            np.full((size, 1), np.sqrt(_LEVEL_VARIANCE)),
            scaled.source_ms / np.sqrt(scaled.source_ms.shape[1]),
            scaled.shapes * np.sqrt(np.mean(SHAPE_VARIANCES)),
            scaled.choices * np.sqrt(np.mean(CHOICE_VARIANCES)),
        ]
    )
    moments = design.T @ design / size
    covariance = np.eye(design.shape[1])
    chosen: list[int] = []
    for _ in range(n):
        with_all = design @ covariance
        variance = (with_all * design).sum(axis=1) + TYPICAL_NOISE
        gain = ((with_all @ moments) * with_all).sum(axis=1) / variance
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        covariance -= np.outer(with_all[best], with_all[best]) / variance[best]
    return np.array(chosen, dtype=np.int64)


# Hypotheses and their posterior ------------------------------------------------------------


def _hypotheses(sources: int, shapes: int, may_stand_out: Integers) -> Floats:
    """Variances of each source, each shape and the choices: (hypotheses, sources + shapes + 1).

    Shapes come scaled to a sum of 1 together. Either a source stands out, or one of these shapes,
    or neither.
    """
    shared, alike = np.full(sources, 1 / sources), np.ones(shapes)
    mixes = [(shared, alike)]
    if sources > 1:
        one = np.eye(sources)
        mixes += [((1 - f) * shared + f * row, alike) for f in FOCUSES for row in one]
    together = float(len(may_stand_out))
    for row in np.eye(shapes)[may_stand_out]:
        mixes.append((shared, (1 - SHAPE_FOCUS) * alike + SHAPE_FOCUS * together * row))
    grid = itertools.product(mixes, SHAPE_VARIANCES, CHOICE_VARIANCES)
    return np.array([(*source, *(shape * mix), choice) for (source, mix), shape, choice in grid])


def _hypotheses_with_table(sources: int, shapes: int) -> Floats:
    """The same where the last source is the table of the new device's own kernels."""
    shared, table = np.full(sources, 1 / sources), np.eye(sources)[-1]
    mixes = [shared, *((1 - f) * shared + f * table for f in TABLE_FOCUSES)]
    grid = itertools.product(
        mixes,
        (*TABLE_SHAPE_VARIANCES, *SHAPE_VARIANCES),
        (*TABLE_CHOICE_VARIANCES, *CHOICE_VARIANCES),
    )
    return np.array([(*source, *[shape] * shapes, choice) for source, shape, choice in grid])


@dataclass(frozen=True, eq=False)
class _Posterior:
    """H hypotheses times N noises, after n rows: K is a hypothesis's covariance of the rows.

    ``probability`` has shape (H, N), ``solved`` is inverse(K) times the rows, (H, N, n);
    ``surprise`` the squared error of each row left out, in variances expected for it, (n,).
    """

    centre_ms: float
    probability: Floats
    solved: Floats
    surprise: Floats
    left_out_ms: Floats


def _posterior(
    variances: Floats, kernels: Floats, latency_ms: Floats, weights: Floats
) -> _Posterior:
    """Weigh the hypotheses; a row's noise is divided by its weight."""
    rows = len(latency_ms)
    centre = float(weights @ latency_ms / weights.sum())
    rest = latency_ms - centre
    spread = max(float(np.sqrt(np.mean(rest**2))), 1e-300)
    noises = np.array(NOISES)
    step = max(_CHUNK_NUMBERS // rows**2, 1)
    parts = [
        _solve(variances[begin : begin + step], kernels, rest / spread, weights, noises)
        for begin in range(0, len(variances), step)
    ]
    solved, diagonal, log_determinant = (
        np.concatenate([part[i] for part in parts]) for i in range(3)
    )
    scale = np.maximum(solved @ (rest / spread) / rows, 1e-12)
    prior = -0.5 * ((np.log(noises) - np.log(TYPICAL_NOISE)) / _NOISE_SPREAD) ** 2
    evidence = prior - 0.5 * (rows * np.log(scale) + log_determinant)
    probability = _normalised(evidence, axis=(0, 1))
    standard = solved**2 / diagonal / scale[..., None]
    # Without row i a hypothesis is as probable as with it, over how well it foretold the row.
    foretold = 0.5 * (np.log(diagonal / scale[..., None]) - standard)
    without = _normalised(evidence[..., None] - foretold, axis=(0, 1))
    return _Posterior(
        centre_ms=centre,
        probability=probability,
        solved=solved * spread,
        surprise=np.einsum("hn,hnk->k", probability, standard),
        left_out_ms=latency_ms - spread * (without * solved / diagonal).sum(axis=(0, 1)),
    )


def _solve(
    variances: Floats, kernels: Floats, rest: Floats, weights: Floats, noises: Floats
) -> tuple[Floats, Floats, Floats]:
    """inverse(K) times the rows, the diagonal of inverse(K), and log det K but for a constant."""
    roots = np.sqrt(weights)
    covariance = np.tensordot(variances, kernels, axes=1) + _LEVEL_VARIANCE
    values, vectors = np.linalg.eigh(covariance * np.outer(roots, roots))
    total = np.maximum(values, 0.0)[:, None, :] + noises[:, None]
    projected = np.einsum("hki,k->hi", vectors, roots * rest)
    solved = np.einsum("hki,hni->hnk", vectors, projected[:, None] / total) * roots
    diagonal = np.einsum("hki,hni->hnk", vectors**2, 1 / total) * weights
    return solved, diagonal, np.log(total).sum(axis=-1)


def _normalised(log_weights: Floats, axis: tuple[int, ...]) -> Floats:
    weights: Floats = np.exp(log_weights - log_weights.max(axis=axis, keepdims=True))
    weights /= weights.sum(axis=axis, keepdims=True)
    return weights


def _spread(values: Floats) -> Floats:
    """Standard deviations of columns; 0 where only rounding errors vary."""
    spread: Floats = values.std(axis=0)
    return np.where(spread > 1e-9 * np.abs(values).max(axis=0, initial=0.0), spread, 0.0)


def _inverse(values: Floats) -> Floats:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
