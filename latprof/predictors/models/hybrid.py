"""``hybrid``: an additive table, interactions and boosted trees, whichever hold on the rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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
from latprof.predictors.fitting.grid import is_small
from latprof.predictors.fitting.trees import TreeEnsemble
from latprof.predictors.models.pruned_networks import (
    PRUNED,
    UNPRUNED,
    fit_networks,
    networks_from_fields,
    over_space,
)

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

    Where a space's networks hold dead operators, all this is fitted to the architectures as they
    are named and as a runtime that drops such operators has them
    (:mod:`latprof.predictors.models.pruned_networks`); rows left out choose one, or weigh both.

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
    networks_ : str
        What the rows showed: ``"unpruned"`` where dead operators take time (or the space has none),
        ``"pruned"`` where they do not, ``"both"`` for something between.
    """

    name: ClassVar[str] = "hybrid"

    table_: Floats
    intercept_ms_: float
    interactions_: tuple[Factor, ...]
    trees_: TreeEnsemble
    additive_: AdditiveTable
    factors_: FactorSum
    networks_: str

    def __init__(self, space: SearchSpace, seed: int = 0) -> None:
        self.space = space
        self.seed = seed

    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        from latprof.predictors.models.model_choice import (  # not needed to predict
            Model,
            as_interaction,
            choose_model,
        )

        tables = space_tables(self.space)

        def fit(_: str, rows: Choices, latency: Floats, *, grow: bool = True) -> Model:
            return choose_model(tables, rows, latency, self.seed, grow=grow)

        found = fit_networks(self.space, choices, latency_ms, fit, partial(fit, grow=False))
        model = next(iter(found.fits.values()))
        if found.networks != UNPRUNED and self._has_grid:
            grid = over_space(self.space, found, Model.predict)
            model = as_interaction(tables, grid, found.held_ms)
        self._install(model.additive, model.interactions, model.trees, found.networks)
        return FitResult(found.held_ms)

    @property
    def _has_grid(self) -> bool:
        """Whether the space is small enough to hold a latency for every architecture."""
        return is_small(self.space.num_choices.tolist())

    @property
    def _prunes(self) -> bool:
        """Whether the tables are of pruned architectures, not folded into those as named."""
        return self.networks_ == PRUNED and not self._has_grid

    def _install(
        self,
        additive: AdditiveTable,
        interactions: tuple[Factor, ...],
        trees: TreeEnsemble,
        networks: str,
    ) -> None:
        self.networks_ = networks
        self.additive_ = additive
        self.table_, self.intercept_ms_ = additive.entries_ms, additive.intercept_ms
        self.interactions_ = interactions
        self.trees_ = trees
        sizes = additive.tables.num_choices.tolist()
        factors = (*additive.factors, *interactions)
        self.factors_ = FactorSum(additive.intercept_ms, factors, sizes)

    def _predict(self, choices: Choices) -> Floats:
        if self._prunes:
            choices = self.space.pruned(choices)
        latency = self.factors_.predict(choices)
        if len(self.trees_) or self.trees_.base_ms:
            latency += self.trees_.predict(choices)
        return latency

    def terms(self) -> Terms | None:
        if self._prunes:
            return None
        factors = (*self.additive_.factors, *self.interactions_)
        return Terms(self.intercept_ms_, factors, self.trees_)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        table = {
            "seed": self.seed,
            **self.additive_.to_fields(),
            "interactions": factors_to_fields(self.interactions_),
            "networks": self.networks_,
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
            networks_from_fields(fields),
        )
        return predictor
