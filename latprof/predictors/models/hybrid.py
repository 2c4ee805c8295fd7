"""``hybrid``: an additive table, interactions and boosted trees, whichever hold on the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from latprof.common.checked_json import Fields, to_json
from latprof.predictors.base import Choices, FitResult, Floats, PackFiles, Predictor, Terms
from latprof.predictors.features.block_features import SpaceTables, space_tables
from latprof.predictors.fitting.factors import (
    AdditiveTable,
    Factor,
    FactorSum,
    factors_from_fields,
    factors_to_fields,
)
from latprof.predictors.fitting.trees import TreeEnsemble

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace

_TABLE_FILE = "table.json"
_TREES_FILE = "trees.json"


class HybridPredictor(Predictor):
    """The better of additive and interacting models, chosen inside the training rows.

    The additive part is a ridge whose prior says that a block's cost follows from its shape
    (:mod:`latprof.predictors.fitting.block_prior`), with a robust fit where
    that predicts left-out rows better. Cross-validation then compares it alone, with boosted trees
    on its out-of-fold remainder, with trees in its place, and, in spaces small enough to hold a
    latency for every architecture, with all interactions at once
    (:mod:`latprof.predictors.fitting.grid`). What is more complex stays only if it lowers the
    squared error by more than two standard errors of the difference, which with few rows it rarely
    does. A candidate that no row had gets what its shape says.

    Parameters
    ----------
    space : SearchSpace
    seed : int
        Of the folds and of the rows and features that trees are grown on.

    Attributes
    ----------
    table_ : array of shape (parts, combinations)
        Entries of the additive part in ms, of mean 0 in each part; NaN where there is no
        candidate. In most spaces a part is one decision: shape (decisions, candidates).
    intercept_ms_ : float
    interactions_ : tuple of Factor
        Tables over several decisions, added to the table's entries.
    trees_ : TreeEnsemble
        Without trees where they did not help.
    additive_ : AdditiveTable
        Table and intercept together.
    factors_ : FactorSum
        Additive part and interactions together.
    """

    name: ClassVar[str] = "hybrid"

    table_: Floats
    intercept_ms_: float
    interactions_: tuple[Factor, ...]
    trees_: TreeEnsemble
    additive_: AdditiveTable
    factors_: FactorSum

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.space = space
        self.seed = seed

    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        from latprof.predictors.models.model_choice import choose_model  # not needed to predict

        tables = space_tables(self.space)
        model = choose_model(tables, choices, latency_ms, self.seed)
        self._install(model.additive, model.interactions, model.trees)
        return FitResult(model.held_ms)

    def _install(
        self, additive: AdditiveTable, interactions: tuple[Factor, ...], trees: TreeEnsemble
    ) -> None:
        self.additive_ = additive
        self.table_, self.intercept_ms_ = additive.entries_ms, additive.intercept_ms
        self.interactions_ = interactions
        self.trees_ = trees
        sizes = additive.tables.num_choices.tolist()
        factors = (*additive.factors, *interactions)
        self.factors_ = FactorSum(additive.intercept_ms, factors, sizes)

    def _predict(self, choices: Choices) -> Floats:
        latency = self.factors_.predict(choices)
        if len(self.trees_) or self.trees_.base_ms:
            latency += self.trees_.predict(choices)
        return latency

    def terms(self) -> Terms:
        factors = (*self.additive_.factors, *self.interactions_)
        return Terms(self.intercept_ms_, factors, self.trees_)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        table = {
            "seed": self.seed,
            **self.additive_.to_fields(),
            "interactions": factors_to_fields(self.interactions_),
        }
        return {_TABLE_FILE: to_json(table), _TREES_FILE: to_json(self.trees_.to_fields())}

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        tables: SpaceTables = space_tables(space)
        fields = Fields.of_file(files, _TABLE_FILE)
        predictor = cls(space, seed=fields.integer("seed"))
        predictor._install(
            AdditiveTable.from_fields(fields, tables),
            # Packs of format 1 have none.
            factors_from_fields(fields, "interactions", tables)
            if "interactions" in fields.values
            else (),
            TreeEnsemble.from_fields(Fields.of_file(files, _TREES_FILE), tables.decisions),
        )
        return predictor
