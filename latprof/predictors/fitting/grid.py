"""All interactions at once, for spaces small enough to hold a latency for every architecture.

A Gaussian process over the whole grid of choices. Its covariance is an analysis of variance: each
set of decisions has a variance of its own, what these decisions do together beyond all their
subsets (Duvenaud, Nickisch, Rasmussen, "Additive Gaussian Processes", NIPS 2011, with one variance
a set instead of one an order). In a basis of contrasts along each decision this covariance is
diagonal, so a product with it is a few small matrix products; conjugate gradients solve for the
posterior mean, and the variances are those of greatest evidence, found by expectation maximisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

#: Architectures and decisions of the largest space that is treated so.
MOST_ARCHITECTURES = 1 << 15
MOST_DECISIONS = 10
_STEPS = 12
_MANY_ROWS = 500
_SOLVER_STEPS = 300
_SOLVER_TOLERANCE = 1e-8
#: Decisions that follow one another are transformed together while so few combinations are theirs.
_TOGETHER = 256
#: What a set of one more decision explains, beside a set of one less, before any row is seen.
_FIRST_DECAY = 0.05
_FIRST_NOISE = 0.05


def is_small(num_choices: Sequence[int]) -> bool:
    """Whether a space of so many candidates a decision can be treated as a grid."""
    return len(num_choices) <= MOST_DECISIONS and math.prod(num_choices) <= MOST_ARCHITECTURES


def all_choices(num_choices: Sequence[int]) -> NDArray[np.uint8]:
    """Every architecture of a space, shape (architectures, decisions), in the order of the grid."""
    sizes = tuple(num_choices)
    return np.indices(sizes).reshape(len(sizes), -1).T.astype(np.uint8)


def grid_rows(choices: NDArray[np.integer[Any]], num_choices: Sequence[int]) -> Integers:
    """Number of each of n architectures in the grid, the last decision varying fastest."""
    rows: Integers = np.ravel_multi_index(
        tuple(choices.T.astype(np.int64)), tuple(num_choices)
    ).astype(np.int64)
    return rows


@dataclass(frozen=True, eq=False, repr=False)
class GridFit(ShortRepr):
    """A fitted grid.

    Parameters
    ----------
    mean_ms : array of shape num_choices
        Posterior mean latency of every architecture.
    centre_ms : float
        Mean of the measured latencies, taken off before the fit.
    variances : array of shape (sets of decisions,)
        Of what each set explains, by contrast.
    noise : float
        Variance of a measurement.
    """

    mean_ms: Floats
    centre_ms: float
    variances: Floats
    noise: float

    def held_out(self, rows: Integers, latency_ms: Floats, folds: Integers) -> Floats:
        """What the grid without a row's fold predicts for it, shape (n,)."""
        predicted = np.empty(len(rows))
        for fold in range(int(folds.max()) + 1):
            held = folds == fold
            predicted[held] = self.without(held, rows, latency_ms)[rows[held]]
        return predicted

    def without(self, held: Mask, rows: Integers, latency_ms: Floats) -> Floats:
        """What is predicted for every architecture without the rows that are ``held``, (n,).

        The variances stay those of all rows where there are many; with few they are found again.
        """
        if len(rows) < _MANY_ROWS:
            return fit_grid(rows[~held], latency_ms[~held], self.mean_ms.shape).mean_ms.ravel()
        left = latency_ms[~held] - self.centre_ms
        basis = _basis(self.mean_ms.shape)
        found = basis.posterior(rows[~held], left, self.variances, self.noise)
        predicted: Floats = self.centre_ms + found.mean
        return predicted


def fit_grid(rows: Integers, latency_ms: Floats, num_choices: Sequence[int]) -> GridFit:
    """Fit the latency in ms of every architecture of a space.

    Parameters
    ----------
    rows : array of shape (n,)
        Which architectures were measured (see :func:`grid_rows`).
    latency_ms : array of shape (n,)
    num_choices : sequence of int
    """
    basis = _basis(tuple(num_choices))
    count, size = len(rows), math.prod(num_choices)
    share = count / size
    centre, spread = float(latency_ms.mean()), float(latency_ms.var())
    orders = np.array([number.bit_count() for number in range(1 << len(num_choices))])
    first = max(int(basis.dimensions[orders == 1].sum()), 1)
    variances = spread * size / first * _FIRST_DECAY ** (orders - 1.0)
    noise = _FIRST_NOISE * spread
    mean, solution = np.zeros(size), None
    for _ in range(_STEPS if spread > 0 else 0):
        variances[0] = spread * size  # the level is free
        posterior = basis.posterior(rows, latency_ms - centre, variances, noise, solution)
        mean, solution = posterior.mean, posterior.solution
        kept = share * variances / (share * variances + noise)
        power = np.bincount(
            basis.sets, weights=basis.to_contrasts(mean) ** 2, minlength=len(orders)
        )
        left = latency_ms - centre - mean[rows]
        variances = np.maximum(power / basis.dimensions + variances * (1 - kept), 1e-12 * spread)
        noise = float(left @ left + noise * float(basis.dimensions @ kept)) / count
        noise = max(noise, 1e-9 * spread)
    variances[0] = spread * size
    return GridFit((centre + mean).reshape(num_choices), centre, variances, noise)


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Mean over the whole grid, shape (architectures,), and the solution that it comes from."""

    mean: Floats
    solution: Floats


class _Basis:
    """Orthonormal contrasts along every decision: the first is constant.

    ``sets`` holds for every coefficient which decisions it belongs to, as bits, and ``dimensions``
    how many coefficients each set has; ``matrices`` transform decisions that follow one another.
    """

    def __init__(self, num_choices: tuple[int, ...]) -> None:
        sets: Integers = np.zeros(num_choices, dtype=np.int64)
        self.matrices: list[Floats] = []
        for axis, size in enumerate(num_choices):
            shape = [1] * len(num_choices)
            shape[axis] = size
            sets = sets + ((np.arange(size) > 0).astype(np.int64) << axis).reshape(shape)
            start = np.column_stack([np.ones(size), np.eye(size)[:, : size - 1]])
            matrix = np.linalg.qr(start)[0]
            if self.matrices and len(self.matrices[-1]) * size <= _TOGETHER:
                self.matrices[-1] = np.kron(self.matrices[-1], matrix)
            else:
                self.matrices.append(matrix)
        self.sets: Integers = sets.ravel()
        counts = np.bincount(self.sets, minlength=1 << len(num_choices))
        self.dimensions: Integers = np.maximum(counts, 1)

    def to_contrasts(self, values: Floats) -> Floats:
        """Coefficients of values over the grid, both of shape (architectures,)."""
        return self._transformed(values, transpose=True)

    def from_contrasts(self, coefficients: Floats) -> Floats:
        """Values over the grid, shape (architectures,)."""
        return self._transformed(coefficients, transpose=False)

    def _transformed(self, values: Floats, *, transpose: bool) -> Floats:
        values = values.reshape([len(matrix) for matrix in self.matrices])
        for axis, matrix in enumerate(self.matrices):
            turned = np.tensordot(matrix.T if transpose else matrix, values, (1, axis))
            values = np.moveaxis(turned, 0, axis)
        return values.ravel()

    def posterior(
        self,
        rows: Integers,
        values: Floats,
        variances: Floats,
        noise: float,
        start: Floats | None = None,
    ) -> _Posterior:
        """What is known of the grid given ``values`` at ``rows``, both of shape (n,).

        Solves (K + noise I) x = values by conjugate gradients from ``start``; the mean is K x.
        """
        weights: Floats = variances[self.sets]

        def covariance(x: Floats) -> Floats:
            spread = np.bincount(rows, weights=x, minlength=weights.size).astype(np.float64)
            return self.from_contrasts(weights * self.to_contrasts(spread))

        solution = np.zeros_like(values) if start is None else start.copy()
        left = values - covariance(solution)[rows] - noise * solution
        direction = left.copy()
        power = float(left @ left)
        goal = _SOLVER_TOLERANCE * float(values @ values)
        for _ in range(_SOLVER_STEPS):
            if power <= goal:
                break
            image = covariance(direction)[rows] + noise * direction
            step = power / float(direction @ image)
            solution += step * direction
            left -= step * image
            earlier, power = power, float(left @ left)
            direction = left + power / earlier * direction
        return _Posterior(covariance(solution), solution)


@lru_cache(maxsize=2)
def _basis(num_choices: tuple[int, ...]) -> _Basis:
    return _Basis(num_choices)
