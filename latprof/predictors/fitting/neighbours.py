"""What two blocks that follow one another cost together beyond what each costs.

A block finds its input in a cache or not, and in the memory layout that it works in or not: what
stands before it decides. So there is a table for each two neighbouring parts of a space. A priori
the entries of such a table vary as products of the two blocks' own costs do: their covariance is
the Kronecker product of the two parts' own, each about its mean, so that a table says nothing that
its parts' tables say. A ridge on the leading directions of these is the posterior mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.fitting.grouped_ridge import fit_grouped, fit_robust_grouped

if TYPE_CHECKING:
    from latprof.predictors.fitting.block_prior import Prior

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Coefficients of all tables together, at most.
_MOST_COEFFICIENTS = 1000


class LeftOut(Protocol):
    """What a fit predicts for its rows without them, in ms."""

    @property
    def left_out(self) -> Floats:
        """Without the row itself, shape (n,)."""

    def held_out(self, folds: Integers) -> Floats:
        """Without the row's fold, shape (n,)."""

    def left_out_within(self, folds: Integers, fold: int) -> Floats:
        """Without this fold and the row itself, shape (n,)."""


@dataclass(frozen=True, eq=False, repr=False)
class TogetherCosts(ShortRepr):
    """Fitted tables of parts that follow one another, in ms.

    Parameters
    ----------
    level_ms : float
        What is added to every architecture.
    factors : tuple of Factor
    fit : LeftOut
        What it comes from; what it predicts without rows is what the tables without them add.
    """

    level_ms: float
    factors: tuple[Factor, ...]
    fit: LeftOut


def fit_neighbours(
    prior: Prior, columns: Integers, remainder_ms: Floats, *, robust: bool
) -> TogetherCosts:
    """Fit the tables to what an additive model leaves over of n rows that it had not seen.

    Parameters
    ----------
    prior : Prior
        That of the additive model, of a space whose parts are one decision each.
    columns : array of shape (n, parts)
    remainder_ms : array of shape (n,)
    robust : bool
        Whether the fit is robust to outliers.
    """
    tables = prior.tables
    roots = _roots(prior, int(math.sqrt(_MOST_COEFFICIENTS / max(len(tables.parts) - 1, 1))))
    features = [
        (first[of_first][:, :, None] * second[of_second][:, None, :]).reshape(len(columns), -1)
        for first, second, of_first, of_second in zip(
            roots, roots[1:], columns.T, columns.T[1:], strict=False
        )
    ]
    none, joined = np.empty((len(columns), 0)), np.hstack(features)
    fit = fit_grouped(none, joined, remainder_ms)
    if robust:
        fit = fit_robust_grouped(none, joined, remainder_ms, fit)
    ends = np.cumsum([each.shape[1] for each in features])[:-1]
    factors = []
    for number, coefficients in enumerate(np.split(fit.ridge.coefficients, ends)):
        pair = tables.parts[number : number + 2]
        first, second = (
            root[part.columns] for root, part in zip(roots[number:], pair, strict=False)
        )
        inner = coefficients.reshape(first.shape[1], second.shape[1])
        decisions = (pair[0].decisions[0], pair[1].decisions[0])
        table = first @ inner @ second.T
        ascending = decisions[0] < decisions[1]
        factors.append(
            Factor(decisions if ascending else decisions[::-1], table if ascending else table.T)
        )
    return TogetherCosts(fit.ridge.intercept, tuple(factors), fit)


def _roots(prior: Prior, most: int) -> list[Floats]:
    """For each part a root of its entries' covariance about their mean, (columns, up to most)."""
    tables = prior.tables
    scales = np.ones(prior.root.shape[1])
    scales[prior.shared :] = prior.weight
    roots = []
    for part in range(len(tables.parts)):
        here = np.flatnonzero(tables.column_parts == part)
        entries = prior.root[here] * scales
        entries = entries - entries.mean(axis=0)
        values, vectors = np.linalg.eigh(entries @ entries.T)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
        kept = values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300)
        root = np.zeros((len(tables.column_parts), int(kept.sum())))
        root[here] = vectors[:, kept] * np.sqrt(values[kept])
        roots.append(root)
    return roots
