"""``xgboost``: boosted trees on the features of the latency model of ProxylessNAS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from latprof.common.checked_json import Fields, to_json
from latprof.predictors.base import Choices, FitResult, Floats, PackFiles, Predictor, Terms
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.boosting import SETTINGS, FoldTask, choose, fit_trees
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.fitting.trees import TreeEnsemble

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace

_FILE = "trees.json"
_FOLDS = 4


class XGBoostPredictor(Predictor):
    """Gradient-boosted trees (XGBoost) on operator type, sizes, kernel, stride and expansion.

    Depth, learning rate, sampling and the number of trees are chosen by cross-validation inside the
    training rows. Trees know what a candidate that no row had looks like, and treat it as its
    neighbours in size, kernel and expansion. A fitted predictor answers without XGBoost.

    Parameters
    ----------
    space : SearchSpace
    seed : int
        Of the folds and of the rows and features that trees are grown on.

    Attributes
    ----------
    trees_ : TreeEnsemble
    """

    name: ClassVar[str] = "xgboost"

    trees_: TreeEnsemble

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.space = space
        self.seed = seed

    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        tables = space_tables(self.space).decisions
        features = tables.encode(choices)
        numbers = fold_numbers(len(choices), _FOLDS, self.seed)

        def task_of(fold: int) -> FoldTask:
            held = numbers == fold
            nothing = np.zeros(int(held.sum()))
            return FoldTask(~held, latency_ms[~held], nothing, latency_ms[held])

        chosen = choose(features, task_of, _FOLDS, seed=self.seed)
        assert chosen is not None  # nothing was to be reached
        settings = SETTINGS[chosen.candidate]
        self.trees_ = fit_trees(tables, features, latency_ms, settings, chosen.rounds, self.seed)
        return FitResult(chosen.held_ms)

    def _predict(self, choices: Choices) -> Floats:
        return self.trees_.predict(choices)

    def terms(self) -> Terms:
        return Terms(0.0, (), self.trees_)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        return {_FILE: to_json({"seed": self.seed, **self.trees_.to_fields()})}

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        fields = Fields.of_file(files, _FILE)
        predictor = cls(space, seed=fields.integer("seed"))
        predictor.trees_ = TreeEnsemble.from_fields(fields, space_tables(space).decisions)
        return predictor
