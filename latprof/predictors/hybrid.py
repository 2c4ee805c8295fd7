"""``hybrid``: an additive table, and boosted trees for what it leaves over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from latprof.predictors.additive import AdditiveTable
from latprof.predictors.base import Floats, PackFiles, Predictor
from latprof.predictors.block_prior import fit_block_costs
from latprof.predictors.boosting import SETTINGS, Task, choose, fit_trees
from latprof.predictors.evaluation import fold_numbers
from latprof.predictors.features import SpaceTables, space_tables
from latprof.predictors.plain_data import Fields, to_json
from latprof.predictors.trees import TreeEnsemble

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.space import SearchSpace

_TABLE_FILE = "table.json"
_TREES_FILE = "trees.json"
_FOLDS = 4


class HybridPredictor(Predictor):
    """The better of additive and interacting models, chosen inside the training rows.

    The additive part is a ridge whose prior says that a block's cost follows from its shape
    (:mod:`latprof.predictors.block_prior`). Cross-validation then compares it alone, with boosted
    trees on its out-of-fold remainder, and with trees in its place. Trees stay only if they lower
    the squared error by more than two standard errors of the difference, which with few rows they
    rarely do. A candidate that no row had gets what its shape says.

    Parameters
    ----------
    space : SearchSpace
    seed : int
        Of the folds and of the rows and features that trees are grown on.

    Attributes
    ----------
    table_ : array of shape (positions, candidates)
        Entries of the additive part in ms, of mean 0 at each position; NaN where there is no
        candidate.
    intercept_ms_ : float
    trees_ : TreeEnsemble
        Without trees where they did not help.
    """

    name: ClassVar[str] = "hybrid"

    table_: Floats
    intercept_ms_: float
    trees_: TreeEnsemble
    _additive: AdditiveTable

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.space = space
        self.seed = seed

    def _fit(self, choices: NDArray[np.uint8], latency_ms: Floats) -> None:
        tables = space_tables(self.space)
        one_hot, features = tables.one_hot(choices), tables.features(choices)
        entries, ridge = fit_block_costs(tables, one_hot, latency_ms)
        remainders, plain = self._tasks(tables, one_hot, latency_ms)
        candidates = [(tasks, settings) for tasks in (remainders, plain) for settings in SETTINGS]
        chosen = choose(features, candidates, seed=self.seed)
        alone = np.empty(len(latency_ms))
        for task in remainders:
            alone[~task.train] = task.offset
        if not _better(chosen.held_ms, alone, latency_ms):
            self._set(tables, ridge.intercept, entries, TreeEnsemble.empty(tables))
            self.out_of_fold_ms_ = ridge.left_out
            return
        settings = SETTINGS[chosen.candidate % len(SETTINGS)]
        target = latency_ms - ridge.left_out
        intercept = ridge.intercept
        if chosen.candidate >= len(SETTINGS):  # trees in place of the additive part
            entries, intercept, target = np.zeros_like(entries), 0.0, latency_ms
        trees = fit_trees(tables, features, target, settings, chosen.rounds, self.seed)
        self._set(tables, intercept, entries, trees)
        self.out_of_fold_ms_ = chosen.held_ms

    def _tasks(
        self, tables: SpaceTables, one_hot: Floats, latency_ms: Floats
    ) -> tuple[list[Task], list[Task]]:
        """For each fold what trees learn beside the additive part, and in its place.

        The additive part of a fold is fitted, and its prior chosen, without the fold's held rows.
        """
        numbers = fold_numbers(len(latency_ms), _FOLDS, self.seed)
        remainders, plain = [], []
        for fold in range(_FOLDS):
            train = numbers != fold
            entries, ridge = fit_block_costs(tables, one_hot[train], latency_ms[train])
            offset = ridge.intercept + one_hot[~train] @ entries
            measured = latency_ms[~train]
            remainders.append(Task(train, latency_ms[train] - ridge.left_out, offset, measured))
            plain.append(Task(train, latency_ms[train], np.zeros(len(measured)), measured))
        return remainders, plain

    def _set(
        self, tables: SpaceTables, intercept: float, entries: Floats, trees: TreeEnsemble
    ) -> None:
        means = np.bincount(tables.positions, entries) / tables.num_choices
        table = tables.padded(entries - means[tables.positions])
        self._install(AdditiveTable(intercept + float(means.sum()), table), trees)

    def _install(self, additive: AdditiveTable, trees: TreeEnsemble) -> None:
        self._additive = additive
        self.table_, self.intercept_ms_ = additive.entries_ms, additive.intercept_ms
        self.trees_ = trees

    def _predict(self, choices: NDArray[np.uint8]) -> Floats:
        latency = self._additive.predict(choices)
        latency += self.trees_.predict(choices)
        return latency

    def to_files(self) -> PackFiles:
        self._check_fitted()
        return {
            _TABLE_FILE: to_json({"seed": self.seed, **self._additive.to_fields()}),
            _TREES_FILE: to_json(self.trees_.to_fields()),
        }

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        tables = space_tables(space)
        fields = Fields.of_file(files, _TABLE_FILE)
        predictor = cls(space, seed=fields.integer("seed"))
        predictor._install(
            AdditiveTable.from_fields(fields, tables),
            TreeEnsemble.from_fields(Fields.of_file(files, _TREES_FILE), tables),
        )
        return predictor


def _better(first_ms: Floats, second_ms: Floats, measured_ms: Floats) -> bool:
    """Whether the first predictions' squared error is lower by more than two standard errors."""
    gain = (second_ms - measured_ms) ** 2 - (first_ms - measured_ms) ** 2
    return bool(gain.mean() > 2 * gain.std(ddof=1) / np.sqrt(len(gain)))
