"""Ridge regression with an unpenalised intercept, its penalty chosen by exact leave-one-out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

Floats: TypeAlias = NDArray[np.float64]

#: Penalties that are tried, as fractions of the features' largest squared singular value.
PENALTIES: Floats = np.geomspace(1e-9, 1e1, 51)
#: Squared singular values below this fraction of the largest are rounding errors.
RANK_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False, repr=False)
class RidgeFit(ShortRepr):
    """A fitted ridge: ``intercept + features @ coefficients``.

    ``left_out`` holds, for each of the n training rows, what the ridge of the other n - 1 rows with
    the same penalty predicts for it; ``error`` is its mean squared error, weighted as the rows are.
    """

    coefficients: Floats
    intercept: float
    penalty: float
    left_out: Floats
    error: float


def fit_ridge(features: Floats, target: Floats, row_weights: Floats | None = None) -> RidgeFit:
    """Minimise ``sum w (target - intercept - features @ b)^2 + penalty * |b|^2``.

    The penalty is that of :data:`PENALTIES` whose leave-one-out error is least. With the singular
    value decomposition U S V' of the centred features (rows times the square root of their weight)
    and g = S^2 / (S^2 + penalty), the residual of row i left out is e_i / (1 - h_i), e the residual
    of the fit and h_i = w_i / sum(w) + sum_k g_k U_ik^2 its leverage (Hastie, Tibshirani, Friedman,
    "The Elements of Statistical Learning", 2nd edition, equation 7.64).

    Parameters
    ----------
    features : array of shape (n, q)
        n at least 2; q may exceed n.
    target : array of shape (n,)
    row_weights : array of shape (n,), optional
        All above 0; 1 by default.
    """
    rows = len(target)
    weights = np.ones(rows) if row_weights is None else row_weights / row_weights.mean()
    roots = np.sqrt(weights)
    mean, centre = weights @ features / rows, float(weights @ target / rows)
    left, squared, right = _decompose((features - mean) * roots[:, None])
    residual = (target - centre) * roots
    own = 1 - weights / rows
    if not len(squared):
        left_out = target - (target - centre) / own
        error = float(np.mean(weights * (target - left_out) ** 2))
        return RidgeFit(np.zeros(features.shape[1]), centre, 0.0, left_out, error)
    projected = left.T @ residual
    penalties = PENALTIES * squared[0]
    kept = penalties / (squared[:, None] + penalties)  # 1 - g, shape (rank, penalties)
    # Both are written with 1 - g, so that nothing cancels where the fit meets every row (q >= n).
    outside = residual - left @ projected
    leverage_left = np.maximum(own - (left**2).sum(axis=1), 0.0)
    residuals = outside[:, None] + left @ (kept * projected[:, None])
    residuals /= np.maximum(leverage_left[:, None] + left**2 @ kept, 1e-12)
    errors = np.mean(residuals**2, axis=0)
    best = int(np.argmin(errors))
    coefficients = right @ (projected * np.sqrt(squared) / (squared + penalties[best]))
    return RidgeFit(
        coefficients=coefficients,
        intercept=centre - float(mean @ coefficients),
        penalty=float(penalties[best]),
        left_out=target - residuals[:, best] / roots,
        error=float(errors[best]),
    )


def _decompose(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """U, squared singular values and V of ``matrix``, rank revealed, the largest first.

    From the eigenvectors of the smaller side's moments: far cheaper than the decomposition itself,
    and exact enough, since penalties are not below 1e-9 of the largest value.
    """
    if len(matrix) < matrix.shape[1]:
        right, squared, left = _decompose(matrix.T)
        return left, squared, right
    squared, right = np.linalg.eigh(matrix.T @ matrix)
    squared, right = squared[::-1], right[:, ::-1]
    kept = squared > RANK_TOLERANCE * max(float(squared.max(initial=0.0)), 1e-300)
    squared, right = squared[kept], right[:, kept]
    return (matrix @ right) / np.sqrt(squared), squared, right
