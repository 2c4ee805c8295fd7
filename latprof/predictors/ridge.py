"""Ridge regression with an unpenalised intercept, its penalty chosen by exact leave-one-out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

#: Penalties that are tried, as fractions of the features' largest squared singular value.
PENALTIES: Floats = np.geomspace(1e-9, 1e1, 51)
#: Squared singular values below this fraction of the largest are rounding errors.
_RANK_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A fitted ridge: ``intercept + features @ coefficients``.

    ``left_out`` holds, for each of the n training rows, what the ridge of the other n - 1 rows with
    the same penalty predicts for it; ``error`` is its mean squared error.
    """

    coefficients: Floats
    intercept: float
    penalty: float
    left_out: Floats
    error: float


def fit_ridge(features: Floats, target: Floats, column_weights: Floats | None = None) -> RidgeFit:
    """Minimise ``|target - intercept - features @ b|^2 + penalty * |b / column_weights|^2``.

    The penalty is that of :data:`PENALTIES` whose leave-one-out error is least. With the singular
    value decomposition U S V' of the centred (and weighted) features and g = S^2 / (S^2 + penalty),
    the residual of row i left out is e_i / (1 - h_i), e the residual of the fit and
    h_i = 1 / n + sum_k g_k U_ik^2 its leverage (Hastie, Tibshirani, Friedman, "The Elements of
    Statistical Learning", 2nd edition, equation 7.64).

    Parameters
    ----------
    features : array of shape (n, q)
        n at least 2; q may exceed n.
    target : array of shape (n,)
    column_weights : array of shape (q,), optional
        A column of weight w is penalised as if it were multiplied by w; 1 by default.
    """
    rows = len(target)
    weights = np.ones(features.shape[1]) if column_weights is None else column_weights
    mean, centre = features.mean(axis=0), float(target.mean())
    left, squared, right = _decompose((features - mean) * weights)
    residual = target - centre
    if not len(squared):
        left_out = centre - residual / (rows - 1)
        error = float(np.mean((target - left_out) ** 2))
        return RidgeFit(np.zeros(len(weights)), centre, 0.0, left_out, error)
    projected = left.T @ residual
    penalties = PENALTIES * squared[0]
    kept = penalties / (squared[:, None] + penalties)  # 1 - g, shape (rank, penalties)
    # Both are written with 1 - g, so that nothing cancels where the fit meets every row (q >= n).
    outside = residual - left @ projected
    leverage_left = np.maximum(1 - 1 / rows - (left**2).sum(axis=1), 0.0)
    residuals = outside[:, None] + left @ (kept * projected[:, None])
    residuals /= np.maximum(leverage_left[:, None] + left**2 @ kept, 1e-12)
    errors = np.mean(residuals**2, axis=0)
    best = int(np.argmin(errors))
    shrunk = projected * np.sqrt(squared) / (squared + penalties[best])
    coefficients = weights * (right @ shrunk)
    return RidgeFit(
        coefficients=coefficients,
        intercept=centre - float(mean @ coefficients),
        penalty=float(penalties[best]),
        left_out=target - residuals[:, best],
        error=float(errors[best]),
    )


def best_ridge(
    designs: Iterable[Floats], one_hot: Floats, target: Floats
) -> tuple[Floats, RidgeFit]:
    """Fit ``one_hot @ design`` for every design and keep the one of least leave-one-out error.

    A design, shape (columns, q), says what the entries of an additive table share: they are
    ``design @ coefficients``. Returns these entries, shape (columns,), and the fit.
    """
    best: tuple[Floats, RidgeFit] | None = None
    for design in designs:
        fit = fit_ridge(one_hot @ design, target)
        if best is None or fit.error < best[1].error:
            best = (design @ fit.coefficients, fit)
    if best is None:
        raise ValueError("no design to fit")
    return best


def _decompose(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """U, squared singular values and V of ``matrix``, rank revealed, the largest first."""
    rows, columns = matrix.shape
    if rows > 2 * columns:  # tall: the eigenvectors of the small side are far cheaper
        squared, right = np.linalg.eigh(matrix.T @ matrix)
        squared, right = squared[::-1], right[:, ::-1]
        kept = squared > _RANK_TOLERANCE * max(float(squared.max(initial=0.0)), 1e-300)
        squared, right = squared[kept], right[:, kept]
        return (matrix @ right) / np.sqrt(squared), squared, right
    left, singular, right_t = np.linalg.svd(matrix, full_matrices=False)
    squared = singular**2
    kept = squared > _RANK_TOLERANCE * max(float(squared.max(initial=0.0)), 1e-300)
    return left[:, kept], squared[kept], right_t[kept].T
