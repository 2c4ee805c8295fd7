"""What ``hybrid`` is made of: the models that are tried, and how one is chosen.

Everything is chosen inside the training rows, by the squared error of rows that a fold left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.boosting import (
    SETTINGS,
    Chosen,
    FoldTask,
    choose,
    fit_trees,
    held_out,
)
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.fitting.factors import AdditiveTable, Factor, FactorSum
from latprof.predictors.fitting.grid import all_choices, fit_grid, grid_rows, is_small
from latprof.predictors.fitting.trees import TreeEnsemble
from latprof.predictors.models.additive_model import (
    AdditiveModel,
    fit_additive,
    with_neighbours,
    with_sequence,
)

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Choices: TypeAlias = NDArray[np.uint8]

_FOLDS = 4
#: Folds of the predictions that intervals are made from: with more rows left to train on, errors
#: are nearer those of the model that is kept.
_CALIBRATION_FOLDS = 16
#: Rows from which the folds that models are chosen by serve for that, too.
_MANY_ROWS = 1000
#: Rows from which tables of several blocks in a row are tried.
_NEIGHBOUR_ROWS = 200
#: Standard errors by which these have to be better: they are many coefficients, and where latencies
#: drift over the rows two are soon reached.
_CLEARLY = 4.0
#: Rows from which models are blended.
_BLENDED_ROWS = 200
#: Errors below this share of the mean latency are none: no clock repeats as well.
_NOTHING = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class Model(ShortRepr):
    """What was chosen, and its predictions of training rows left out, shape (n,), in ms."""

    additive: AdditiveTable
    interactions: tuple[Factor, ...]
    trees: TreeEnsemble
    held_ms: Floats

    def predict(self, choices: Choices) -> Floats:
        """Latencies in ms of n architectures, shape (n,)."""
        sizes = self.additive.tables.num_choices.tolist()
        factors = (*self.additive.factors, *self.interactions)
        latency = FactorSum(self.additive.intercept_ms, factors, sizes).predict(choices)
        return latency + self.trees.predict(choices)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The training rows, as every model wants them."""

    tables: SpaceTables
    choices: Choices
    columns: Integers
    latency_ms: Floats
    folds: Integers
    seed: int

    def calibration_folds(self) -> Integers:
        """Fold of each row for the predictions that intervals are made from."""
        return fold_numbers(len(self.folds), min(_CALIBRATION_FOLDS, len(self.folds)), self.seed)


def choose_model(
    tables: SpaceTables, choices: Choices, latency_ms: Floats, seed: int, *, grow: bool = True
) -> Model:
    """Fit and compare the models on n checked rows; see the module. ``grow`` says if trees are."""
    rows = _Rows(
        tables,
        choices,
        tables.columns(choices),
        latency_ms,
        fold_numbers(len(choices), _FOLDS, seed),
        seed,
    )
    base = fit_additive(tables, rows.columns, latency_ms, rows.folds)
    small = is_small(tables.num_choices.tolist())
    if not small and tables.one_decision_parts and len(choices) >= _NEIGHBOUR_ROWS:
        for extended in (with_sequence, with_neighbours):
            more = extended(base, rows.columns, latency_ms, rows.folds)
            if _better(more.held_ms, base.held_ms, latency_ms, _CLEARLY):
                base = more
    trees = _trees(rows, base) if grow else None
    found = _whole_grid(rows, base, trees) if small else None
    return _with_trees(rows, base, trees) if found is None else found


# Trees -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Trees:
    """The best trees: beside the additive model or in its place, and what the folds predict."""

    chosen: Chosen
    alone: bool

    @property
    def held_ms(self) -> Floats:
        return self.chosen.held_ms


def _trees(rows: _Rows, base: AdditiveModel) -> _Trees | None:
    """Choose trees for what the additive model leaves over of rows left out, or for all.

    None where no trees make it better.
    """
    latency = rows.latency_ms
    features = rows.tables.decisions.encode(rows.choices)

    def beside(fold: int) -> FoldTask:
        held = rows.folds == fold
        # Not what all rows leave over: trees would learn from it what the held rows are.
        remainder = latency - base.left_out_within(rows.folds, fold)
        return FoldTask(~held, remainder[~held], base.held_ms[held], latency[held])

    def for_all(fold: int) -> FoldTask:
        held = rows.folds == fold
        return FoldTask(~held, latency[~held], np.zeros(int(held.sum())), latency[held])

    def chosen(task_of: Callable[[int], FoldTask], reached_ms: Floats) -> Chosen | None:
        first = rows.folds == 0
        reached = _error(reached_ms[first], latency[first])
        found = choose(features, task_of, _FOLDS, seed=rows.seed, finalists=1, reached=reached)
        return found if found is not None and found.rounds else None

    first = chosen(beside, base.held_ms)
    if first is None:
        return None
    second = chosen(for_all, first.held_ms)
    if second is not None and _error(second.held_ms, latency) < _error(first.held_ms, latency):
        return _Trees(second, alone=True)
    return _Trees(first, alone=False)


def _grown(rows: _Rows, base: AdditiveModel, trees: _Trees) -> tuple[TreeEnsemble, Floats]:
    """The chosen trees, grown on all rows, and what the model predicts for rows left out, in ms.

    With many rows the folds that chose them tell the latter, too.
    """
    settings = SETTINGS[trees.chosen.candidate]
    target = rows.latency_ms if trees.alone else rows.latency_ms - base.left_out_ms
    features = rows.tables.decisions.encode(rows.choices)
    rounds = trees.chosen.rounds
    grown = fit_trees(rows.tables.decisions, features, target, settings, rounds, rows.seed)
    if len(target) >= _MANY_ROWS:
        held = trees.held_ms if trees.alone else trees.held_ms - base.held_ms
    else:
        held = held_out(features, target, settings, rounds, rows.calibration_folds(), rows.seed)
    return grown, held if trees.alone else held + _unseen_ms(rows, base)


def _unseen_ms(rows: _Rows, base: AdditiveModel) -> Floats:
    return base.unseen_ms(rows.tables, rows.columns, rows.latency_ms, rows.seed)


def _with_trees(rows: _Rows, base: AdditiveModel, trees: _Trees | None) -> Model:
    """The additive model, with or without trees."""
    tables = rows.tables
    none = TreeEnsemble.empty(tables.decisions)
    table, factors = _tables(tables, base)
    if trees is None or not _better(trees.held_ms, base.held_ms, rows.latency_ms):
        return Model(table, factors, none, _unseen_ms(rows, base))
    grown, held = _grown(rows, base, trees)
    if trees.alone:
        nothing = AdditiveTable(tables, 0.0, tables.padded(np.zeros(len(tables.column_parts))))
        return Model(nothing, (), grown, held)
    return Model(table, factors, grown, held)


# Small spaces ------------------------------------------------------------------------------


def _whole_grid(rows: _Rows, base: AdditiveModel, trees: _Trees | None) -> Model | None:
    """All interactions at once, blended with the others; None where the additive model is as good.

    The blend is a latency for every architecture, so it costs one gather whatever it is made of.
    """
    sizes = rows.tables.num_choices.tolist()
    numbers = grid_rows(rows.choices, sizes)
    latency = rows.latency_ms
    grid = fit_grid(numbers, latency, sizes)
    held = grid.held_out(numbers, latency, rows.folds)
    beside = [] if trees is None else [trees.held_ms]
    held_by_model = np.column_stack([base.held_ms, held, *beside])
    weights = _blend(held_by_model, latency)
    if not _better(held_by_model @ weights, base.held_ms, latency):
        return None
    everything = all_choices(sizes)
    additive = base.costs.predict(rows.tables.columns(everything))
    total, left_out = weights[0] * additive, np.zeros(len(latency))
    if weights[0]:
        left_out += weights[0] * _unseen_ms(rows, base)
    if weights[1]:
        total += weights[1] * grid.mean_ms.ravel()
        if len(latency) < _MANY_ROWS:
            held = grid.held_out(numbers, latency, rows.calibration_folds())
        left_out += weights[1] * held
    if trees is not None and weights[2]:
        grown, grown_held = _grown(rows, base, trees)
        remainder = grown.predict(everything)
        total += weights[2] * (remainder if trees.alone else additive + remainder)
        left_out += weights[2] * grown_held
    return as_interaction(rows.tables, total.reshape(sizes), left_out)


def _blend(held: Floats, latency_ms: Floats) -> Floats:
    """Weights of models, none below 0, that predict left-out rows best; of one with few rows."""
    from scipy.optimize import nnls

    errors = np.array([_error(column, latency_ms) for column in held.T])
    alone: Floats = (np.arange(len(errors)) == errors.argmin()).astype(np.float64)
    if len(latency_ms) < _BLENDED_ROWS:
        return alone
    weights: Floats = nnls(held, latency_ms)[0]
    return weights if _error(held @ weights, latency_ms) < errors.min() else alone


def as_interaction(tables: SpaceTables, grid: Floats, held_ms: Floats) -> Model:
    """Split a latency for every architecture into a table of main effects and the rest.

    ``grid`` has an axis a decision; ``held_ms`` are predictions of the rows left out.
    """
    level = float(grid.mean())
    rest = grid - level
    entries = np.full((len(tables.parts), tables.most_combinations), np.nan)
    for number, part in enumerate(tables.parts):
        others = tuple(axis for axis in range(grid.ndim) if axis not in part.decisions)
        effect = rest.mean(axis=others)
        # The grid's axes ascend; a part's combinations follow the order of its own decisions.
        own_order = np.argsort(np.argsort(part.decisions))
        entries[number, : effect.size] = effect.transpose(own_order).ravel()
        rest = rest - np.expand_dims(effect, others)
    additive = AdditiveTable(tables, level, entries)
    factor = Factor(tuple(range(grid.ndim)), rest)
    return Model(additive, (factor,), TreeEnsemble.empty(tables.decisions), held_ms)


def _tables(tables: SpaceTables, base: AdditiveModel) -> tuple[AdditiveTable, tuple[Factor, ...]]:
    """The fitted table, its entries of mean 0 in each part, and those of blocks in a row."""
    costs, parts = base.costs, tables.column_parts
    means = np.bincount(parts, costs.entries) / tables.part_sizes
    level = costs.intercept + float(means.sum())
    level += sum(each.level_ms for each in base.together)
    table = AdditiveTable(tables, level, tables.padded(costs.entries - means[parts]))
    return table, tuple(factor for each in base.together for factor in each.factors)


def _error(predicted_ms: Floats, measured_ms: Floats) -> float:
    return float(np.mean((predicted_ms - measured_ms) ** 2))


def _better(
    first_ms: Floats, second_ms: Floats, measured_ms: Floats, deviations: float = 2.0
) -> bool:
    """Whether the first predictions' squared error is lower by more than so many standard errors.

    And by more than nothing: on latencies without noise any model that repairs rounding would be.
    """
    gain = (second_ms - measured_ms) ** 2 - (first_ms - measured_ms) ** 2
    sure = deviations * gain.std(ddof=1) / np.sqrt(len(gain))
    return bool(gain.mean() > max(sure, (_NOTHING * measured_ms.mean()) ** 2))
