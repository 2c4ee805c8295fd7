"""Ridge regression on two groups of features, the weight of the second unknown.

Every weight and every penalty come from one decomposition. Let T and B be the groups, y the target,
all centred and rows times the root of their weight, and U S V' the singular value decomposition of
B. What a ridge on B alone with penalty m leaves over is P y with

    P = I - U diag(S^2 / (S^2 + m)) U',

and with T beside it, whose penalty is m times the squared weight of B, by Woodbury's identity R y
with

    R = P - P T (m weight^2 I + T' P T)^-1 T' P.

T has few columns, so that each further weight and penalty costs a few small products. A ridge is
linear in its target: with H = I - R + (share of the mean), rows F that are left out together are
missed by (I - H_FF)^-1 (y - H y)_F, exactly (Hastie, Tibshirani, Friedman, "The Elements of
Statistical Learning", 2nd edition, equation 7.64, for one row). No fold is fitted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.ridge import RANK_TOLERANCE, RidgeFit

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Penalties of B that are tried, as fractions of its largest squared singular value; the second
#: ones as multiples of the best of the first.
_COARSE: Floats = np.geomspace(1e-9, 1e3, 16)
_FINE: Floats = np.geomspace(10**-0.6, 10**0.6, 7)
#: Penalties that are tried beside that of a fit to some of the rows, as multiples of it.
_NEARBY: Floats = np.array([1.0, 0.4, 2.5])
#: Rows left out by which one of these is chosen; all rows are needed for the fit alone.
_JUDGING_ROWS = 1000
#: A share of all squared features that no penalty is below: rounding would decide.
_LEAST_ALIKE = 1e-11
#: Penalties of T, as fractions of the largest eigenvalue of T' P T, below which rounding decides.
_LEAST_PENALTY = 1e-9
#: Shares of a row that are left to its own residual, at least: where features can meet every row.
_LEAST_SHARE = 1e-12
#: Degrees of freedom of the errors in a robust fit, and how often its weights are set.
_FREEDOM = 3.0
REWEIGHTINGS = 4
#: Slopes of a robust fit's line that can be meant. Where the features say nothing, what is
#: predicted without a row falls as the row rises (it is the mean of the others), and the line would
#: turn it round.
_SLOPES = (0.5, 2.0)


@dataclass(frozen=True, eq=False, repr=False)
class GroupedFit(ShortRepr):
    """A fitted ridge, and what it would be without some of its rows.

    Parameters
    ----------
    ridge : RidgeFit
        Its coefficients are those of the first group, then those of the second times ``weight``.
    weight : float
        Of the second group.
    target, residual, roots : array of shape (n,)
        The rows, what the fit leaves over times ``roots``, and the roots of the rows' weights.
    hat : array of shape (n, k)
        ``hat @ hat.T`` is the matrix H of the module.
    level, slope : float
        Predictions are this line through those of the ridge that ``hat`` is of.
    """

    ridge: RidgeFit
    weight: float
    target: Floats
    residual: Floats
    roots: Floats
    hat: Floats
    level: float = 0.0
    slope: float = 1.0

    @property
    def left_out(self) -> Floats:
        """What the fit without a row predicts for it, shape (n,)."""
        return self.ridge.left_out

    def held_out(self, folds: Integers) -> Floats:
        """What the fit without a row's fold predicts for it, weight and penalty kept; (n,)."""
        missed = np.empty(len(folds))
        for fold in np.unique(folds):
            here = folds == fold
            missed[here] = _missed(self.hat[here], self.residual[here])
        held: Floats = self.level + self.slope * (self.target - missed / self.roots)
        return held

    def left_out_within(self, folds: Integers, fold: int) -> Floats:
        """What the fit without this fold and without the row itself predicts for each row, (n,).

        Rows of the fold are left out with it. With L the root of I - A'A, A the fold's rows of
        ``hat``, the share of another row that is left to its own residual is 1 - |L^-1 a|^2.
        """
        from scipy.linalg import solve_triangular

        here = folds == fold
        held, others = self.hat[here], self.hat[~here]
        missed = _missed(held, self.residual[here])
        root = np.linalg.cholesky(np.eye(held.shape[1]) - held.T @ held)
        share = 1 - (solve_triangular(root, others.T, lower=True) ** 2).sum(axis=0)
        errors = np.empty(len(folds))
        errors[here] = missed
        errors[~here] = self.residual[~here] + others @ (held.T @ missed)
        errors[~here] /= np.maximum(share, _LEAST_SHARE)
        predicted: Floats = self.level + self.slope * (self.target - errors / self.roots)
        return predicted

    def on_line(self) -> GroupedFit:
        """The same fit, its level and slope set by least squares.

        Where errors are skewed a robust fit is not the mean; a line through the rows left out makes
        it so.
        """
        fit, target = self.ridge, self.target
        spread = fit.left_out - fit.left_out.mean()
        slope = float(spread @ target) / max(float(spread @ spread), 1e-300)
        if not _SLOPES[0] <= slope <= _SLOPES[1]:
            slope = 1.0
        level = float(target.mean()) - slope * float(fit.left_out.mean())
        left_out = level + slope * fit.left_out
        ridge = RidgeFit(
            coefficients=slope * fit.coefficients,
            intercept=level + slope * fit.intercept,
            penalty=fit.penalty,
            left_out=left_out,
            error=float(np.mean((target - left_out) ** 2)),
        )
        return replace(self, ridge=ridge, level=level, slope=slope)


def fit_grouped(
    shared: Floats,
    others: Floats,
    target: Floats,
    weights: Sequence[float] = (1.0,),
    row_weights: Floats | None = None,
) -> GroupedFit:
    """Minimise ``sum v (target - b - shared @ a - w others @ c)^2 + penalty * (|a|^2 + |c|^2)``.

    Penalty and w, one of ``weights``, are those of least leave-one-out error.

    Parameters
    ----------
    shared : array of shape (n, t)
        t small, or 0.
    others : array of shape (n, q)
        n at least 2; q may exceed n.
    target : array of shape (n,)
    weights : sequence of float
        All above 0.
    row_weights : array of shape (n,), optional
        The v, all above 0; 1 by default.
    """
    rows = _Rows.of(shared, others, target, row_weights)
    tried = np.array(weights)
    top = max(float(rows.squared.max(initial=0.0)), 1e-6 * float((rows.shared**2).sum())) or 1.0
    penalties = top * _COARSE
    errors = rows.errors(penalties, tried)
    nearer = penalties[int(np.argmin(errors.min(axis=1)))] * _FINE
    penalties = np.concatenate([penalties, nearer])
    errors = np.concatenate([errors, rows.errors(nearer, tried)])
    best, weight = np.unravel_index(int(np.argmin(errors)), errors.shape)
    return rows.fit(float(penalties[best]), float(tried[weight]))


def fit_alike(
    start: GroupedFit,
    shared: Floats,
    others: Floats,
    target: Floats,
    row_weights: Floats | None = None,
) -> GroupedFit:
    """Fit n rows, many, with the weight of a fit to some of them and about its penalty.

    A penalty is the variance of the noise over that of a coefficient, whatever the number of rows.
    One weight and few penalties need no decomposition, which takes several times as long.
    """
    from scipy.linalg import solve_triangular

    means, roots = _means(shared, others, target, row_weights)
    rows, weight = len(target), start.weight
    features = np.hstack([shared - means[0], weight * (others - means[1])]) * roots[:, None]
    centred, moments = (target - means[2]) * roots, features.T @ features
    sums = features.T @ centred

    def missed(root: Floats, here: slice) -> tuple[Floats, Floats, Floats]:
        """Rows of ``hat``, what is left over of them, and what they are missed by left out."""
        hat = solve_triangular(root, features[here].T, lower=True).T
        residual = centred[here] - hat @ solve_triangular(root, sums, lower=True)
        share = 1 - roots[here] ** 2 / rows - (hat**2).sum(axis=1)
        return hat, residual, residual / np.maximum(share, _LEAST_SHARE)

    least, smallest = np.inf, _LEAST_ALIKE * float(moments.trace())
    judging = slice(None, None, max(rows // _JUDGING_ROWS, 1))
    for tried in np.maximum(start.ridge.penalty * _NEARBY, smallest).tolist():
        factor = np.linalg.cholesky(moments + tried * np.eye(len(moments)))
        if (error := float(np.mean(missed(factor, judging)[2] ** 2))) < least:
            least, penalty, root = error, tried, factor
    hat, residual, errors = missed(root, slice(None))
    inner = solve_triangular(root, sums, lower=True)
    coefficients = solve_triangular(root, inner, lower=True, trans=1)
    first, second = np.split(coefficients, [shared.shape[1]])
    intercept = means[2] - float(means[0] @ first + weight * (means[1] @ second))
    ridge = RidgeFit(
        coefficients, intercept, penalty, target - errors / roots, float(np.mean(errors**2))
    )
    whole = np.hstack([hat, roots[:, None] / np.sqrt(rows)])
    return GroupedFit(ridge, weight, target, residual, roots, whole)


def fit_robust_grouped(
    shared: Floats,
    others: Floats,
    target: Floats,
    start: GroupedFit,
    reweightings: int = REWEIGHTINGS,
) -> GroupedFit:
    """Fit a robust ridge with the weight of a plain one, then set its level and slope.

    Iteratively reweighted least squares; see :func:`robust_weights`.
    """
    fit = start
    for _ in range(reweightings):
        row_weights = robust_weights(target, fit.ridge.left_out)
        if row_weights is None:
            return fit
        fit = fit_grouped(shared, others, target, (start.weight,), row_weights)
    return fit.on_line()


def robust_weights(target: Floats, left_out: Floats) -> Floats | None:
    """Weights of n rows for errors of Student's t; None where hardly anything is left over.

    With :data:`_FREEDOM` degrees of freedom (Lange, Little, Taylor, JASA 1989): (nu + 1) / (nu + (r
    / s)^2), r the residual of the row left out and s 1.48 times their median absolute size.
    """
    residuals = target - left_out
    scale = robust_deviation(residuals)
    if scale <= 1e-9 * float(np.abs(target).max()):
        return None
    weights: Floats = (_FREEDOM + 1) / (_FREEDOM + (residuals / scale) ** 2)
    return weights


def robust_deviation(residuals: Floats) -> float:
    """The standard deviation of normal residuals with the median absolute size of these."""
    return 1.4826 * float(np.median(np.abs(residuals)))


def _means(
    shared: Floats, others: Floats, target: Floats, row_weights: Floats | None
) -> tuple[tuple[Floats, Floats, float], Floats]:
    """Weighted means of features and target, and the roots of the rows' weights, of mean 1."""
    rows = len(target)
    weights = np.ones(rows) if row_weights is None else row_weights / row_weights.mean()
    means = (weights @ shared / rows, weights @ others / rows, float(weights @ target / rows))
    return means, np.sqrt(weights)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a fit, centred and times the roots of their weights, and U and S^2 of B."""

    shared: Floats
    others: Floats
    target: Floats
    measured: Floats
    means: tuple[Floats, Floats, float]
    roots: Floats
    left: Floats
    squared: Floats

    @classmethod
    def of(
        cls, shared: Floats, others: Floats, target: Floats, row_weights: Floats | None
    ) -> _Rows:
        means, roots = _means(shared, others, target, row_weights)
        centred = (others - means[1]) * roots[:, None]
        left, squared = _left_side(centred)
        return cls(
            (shared - means[0]) * roots[:, None],
            centred,
            (target - means[2]) * roots,
            target,
            means,
            roots,
            left,
            squared,
        )

    @cached_property
    def inside(self) -> tuple[Floats, Floats]:
        """The part of T and y within the span of U, as coefficients of U: (r, t) and (r,)."""
        return self.left.T @ self.shared, self.left.T @ self.target

    @cached_property
    def outside(self) -> tuple[Floats, Floats]:
        """The rest of T and y, so that nothing cancels where the fit meets every row."""
        shared, target = self.inside
        return self.shared - self.left @ shared, self.target - self.left @ target

    def errors(self, penalties: Floats, weights: Floats) -> Floats:
        """Mean squared errors of rows left out one by one, (penalties, weights)."""
        kept = penalties / (self.squared[:, None] + penalties)
        squares = self.left**2
        own = np.maximum(1 - self.roots**2 / len(self.roots) - squares.sum(axis=1), 0.0)
        alone = own[:, None] + squares @ kept
        errors = np.empty((len(penalties), len(weights)))
        for number, penalty in enumerate(penalties.tolist()):
            solved = _Solved.of(self, penalty, weights)
            share = np.maximum(alone[:, [number]] - solved.leverages, _LEAST_SHARE)
            errors[number] = np.mean((solved.residuals / share) ** 2, axis=0)
            errors[number, penalty * weights**2 < _LEAST_PENALTY * solved.largest] = np.inf
        return errors

    def fit(self, penalty: float, weight: float) -> GroupedFit:
        """The fit with one penalty of B and one weight."""
        rows = len(self.target)
        solved = _Solved.of(self, penalty, np.array([weight]))
        first = solved.coefficients[:, 0]
        inside = self.inside[1] - self.inside[0] @ first
        second = self.others.T @ (self.left @ (inside / (self.squared + penalty)))
        residual = solved.residuals[:, 0]
        hat = np.hstack(
            [
                self.left * np.sqrt(self.squared / (self.squared + penalty)),
                solved.shared * np.sqrt(solved.shares[:, 0]),
                self.roots[:, None] / np.sqrt(rows),
            ]
        )
        share = np.maximum(1 - (hat**2).sum(axis=1), _LEAST_SHARE)
        ridge = RidgeFit(
            coefficients=np.concatenate([first, second / weight]),
            intercept=self.means[2] - float(self.means[0] @ first + self.means[1] @ second),
            penalty=penalty * weight**2,
            left_out=self.measured - residual / share / self.roots,
            error=float(np.mean((residual / share) ** 2)),
        )
        return GroupedFit(ridge, weight, self.measured, residual, self.roots, hat)


@dataclass(frozen=True, eq=False)
class _Solved:
    """What one penalty leaves over, for W weights.

    ``shared`` is P T in the directions that diagonalise T' P T, (n, t), and ``shares`` the inverse
    of the module's inner matrix there, (t, W); ``largest`` is the largest eigenvalue of T' P T.
    """

    residuals: Floats
    leverages: Floats
    coefficients: Floats
    shared: Floats
    shares: Floats
    largest: float

    @classmethod
    def of(cls, rows: _Rows, penalty: float, weights: Floats) -> _Solved:
        kept = penalty / (rows.squared + penalty)
        (inside, target_inside), (outside, target_outside) = rows.inside, rows.outside
        both = np.column_stack([inside, target_inside]) * kept[:, None]
        left = np.column_stack([outside, target_outside]) + rows.left @ both
        values, turned = np.linalg.eigh(outside.T @ outside + inside.T @ both[:, :-1])
        shared = left[:, :-1] @ turned
        shares = 1 / (penalty * weights**2 + np.maximum(values, 0.0)[:, None])
        costs = (shared.T @ rows.target)[:, None] * shares
        return cls(
            residuals=left[:, [-1]] - shared @ costs,
            leverages=shared**2 @ shares,
            coefficients=turned @ costs,
            shared=shared,
            shares=shares,
            largest=float(values.max(initial=0.0)),
        )


def _left_side(matrix: Floats) -> tuple[Floats, Floats]:
    """U and squared singular values of a matrix, rank revealed.

    From the eigenvectors of the smaller side's moments: far cheaper than the decomposition itself,
    and exact enough, since penalties are not below 1e-9 of the largest value.
    """
    rows, columns = matrix.shape
    if not columns:
        return np.zeros((rows, 0)), np.zeros(0)
    wide = rows < columns
    squared, vectors = np.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
    kept = squared > RANK_TOLERANCE * max(float(squared.max(initial=0.0)), 1e-300)
    squared, vectors = squared[kept], vectors[:, kept]
    return (vectors if wide else (matrix @ vectors) / np.sqrt(squared)), squared


def _missed(hat: Floats, residual: Floats) -> Floats:
    """What rows left out together are missed by, from their rows of ``hat`` and residuals."""
    rows, columns = hat.shape
    if rows <= columns:
        return cast("Floats", np.linalg.solve(np.eye(rows) - hat @ hat.T, residual))
    inner = np.linalg.solve(np.eye(columns) - hat.T @ hat, hat.T @ residual)
    return residual + hat @ inner
