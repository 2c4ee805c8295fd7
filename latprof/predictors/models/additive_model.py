"""The tables of ``hybrid``: of blocks, robust where rows show outliers, and of blocks in a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.block_prior import (
    BlockCosts,
    choose_prior,
    fit_alike_costs,
    fit_block_costs,
    fit_robust_costs,
    telling_rows,
)
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.fitting.grouped_ridge import (
    REWEIGHTINGS,
    robust_deviation,
    robust_weights,
)
from latprof.predictors.fitting.neighbours import TogetherCosts, fit_neighbours, fit_sequence

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Rows below which the prior is chosen again for each row left out: it was chosen for the least
#: error of these very rows, which with few of them is well below that of others.
_FEW_ROWS = 200
#: Parts that few rows are left out in; twenty rows, one by one.
_NESTED_FOLDS = 20
#: Rows from which a robust fit is tried.
ROBUST_ROWS = 50
#: How often the rows' weights are set: so many times on a draw of them, the rest on all.
_OF_A_DRAW = REWEIGHTINGS // 2
#: It is not tried where the errors' median size is that of normal errors but for this share.
_NORMAL = 0.95


@dataclass(frozen=True, eq=False, repr=False)
class AdditiveModel(ShortRepr):
    """A fitted additive table, perhaps with tables of several blocks in a row beside it.

    Parameters
    ----------
    costs : BlockCosts
    held_ms : array of shape (n,)
        What is predicted for each training row without the row's fold.
    left_out_ms : array of shape (n,)
        What is predicted for each without the row, under the prior chosen on all rows.
    robust : bool
        Whether the fit is robust to outliers.
    together : tuple of TogetherCosts
    """

    costs: BlockCosts
    held_ms: Floats
    left_out_ms: Floats
    robust: bool
    together: tuple[TogetherCosts, ...] = ()

    def left_out_within(self, folds: Integers, fold: int) -> Floats:
        """What is predicted for each training row without this fold and without the row, (n,)."""
        predicted = self.costs.fit.left_out_within(folds, fold)
        for each in self.together:
            predicted = predicted + each.fit.left_out_within(folds, fold)
        return predicted

    def unseen_ms(
        self, tables: SpaceTables, columns: Integers, latency_ms: Floats, seed: int
    ) -> Floats:
        """Predictions of the training rows that nothing was fitted to or chosen on, shape (n,).

        With many rows those of :attr:`left_out_ms`: one row chooses no prior.
        """
        count = len(latency_ms)
        if count >= _FEW_ROWS:
            return self.left_out_ms
        predicted = np.empty(count)
        numbers = fold_numbers(count, min(_NESTED_FOLDS, count), seed)
        for fold in range(int(numbers.max()) + 1):
            kept = numbers != fold
            costs = fit_block_costs(tables, columns[kept], latency_ms[kept])
            if self.robust:
                costs = fit_robust_costs(costs, columns[kept], latency_ms[kept])
            predicted[~kept] = costs.predict(columns[~kept])
        return predicted


def fit_additive(
    tables: SpaceTables, columns: Integers, latency_ms: Floats, folds: Integers
) -> AdditiveModel:
    """Fit an additive table to n rows of ``columns``, shape (n, parts), in these folds.

    Prior, weight and penalty are those of least leave-one-out error; the fit is robust where that
    predicts rows of folds left out better. Where rows are many and priors large, a draw of them
    chooses, and all are fitted once.
    """
    some = telling_rows(tables, len(latency_ms))
    costs = choose_prior(tables, columns[some], latency_ms[some])
    whole = len(some) == len(latency_ms)
    reweightings = REWEIGHTINGS if whole else _OF_A_DRAW
    robust = _robust(costs, columns[some], latency_ms[some], folds[some], reweightings)
    if whole:
        found = robust or costs
    elif robust is None:
        found = fit_alike_costs(costs, columns, latency_ms)
    else:
        expected = robust.predict(columns)
        expected[some] = robust.ridge.left_out
        for _ in range(REWEIGHTINGS - _OF_A_DRAW):
            weights = robust_weights(latency_ms, expected)
            found = fit_alike_costs(robust, columns, latency_ms, weights)
            expected = found.ridge.left_out
        found = BlockCosts(found.fit.on_line(), found.prior)
    held = found.fit.held_out(folds)
    return AdditiveModel(found, held, found.ridge.left_out, robust is not None)


def with_neighbours(
    base: AdditiveModel, columns: Integers, latency_ms: Floats, folds: Integers
) -> AdditiveModel:
    """The model with tables of neighbouring blocks for what it leaves over of the same rows."""
    remainder = latency_ms - base.left_out_ms
    found = fit_neighbours(base.costs.prior, columns, remainder, robust=base.robust)
    return _beside(base, found, folds)


def with_sequence(
    base: AdditiveModel, columns: Integers, latency_ms: Floats, folds: Integers
) -> AdditiveModel:
    """The model with a table of the sizes of blocks in a row; itself where they do not tell."""
    found = fit_sequence(base.costs.prior.tables, columns, latency_ms - base.left_out_ms)
    return base if found is None else _beside(base, found, folds)


def _beside(base: AdditiveModel, found: TogetherCosts, folds: Integers) -> AdditiveModel:
    return replace(
        base,
        held_ms=base.held_ms + found.fit.held_out(folds),
        left_out_ms=base.left_out_ms + found.fit.left_out,
        together=(*base.together, found),
    )


def _robust(
    costs: BlockCosts,
    columns: Integers,
    latency_ms: Floats,
    folds: Integers,
    reweightings: int,
) -> BlockCosts | None:
    """A robust fit to the same rows, None where it is not better or not worth a try."""
    errors = latency_ms - costs.ridge.left_out
    if len(errors) < ROBUST_ROWS or robust_deviation(errors) > _NORMAL * errors.std():
        return None
    robust = fit_robust_costs(costs, columns, latency_ms, reweightings)
    squared = [np.mean((each.fit.held_out(folds) - latency_ms) ** 2) for each in (costs, robust)]
    return robust if squared[1] < squared[0] else None
