"""``linear``: ridge regression on one-hot blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from latprof.common.checked_json import Fields, to_json
from latprof.predictors.base import Choices, FitResult, Floats, PackFiles, Predictor, Terms
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.factors import AdditiveTable
from latprof.predictors.fitting.ridge import fit_ridge

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace

_FILE = "linear.json"


class LinearPredictor(Predictor):
    """Ridge regression on the one-hot encoding of the choices: the baseline without knowledge.

    The penalty is chosen by exact leave-one-out. A candidate that no training row had counts as the
    mean of its position's candidates, since the ridge leaves its coefficient at 0 and, the
    intercept being free, those of a position sum to 0.

    Attributes
    ----------
    table_ : array of shape (positions, candidates)
        Coefficients in ms relative to the mean of the position; NaN where there is no candidate.
    intercept_ms_ : float
        Latency in ms of the mean candidate at every position.
    penalty_ : float
        The ridge's penalty.
    additive_ : AdditiveTable
        Both together.
    """

    name: ClassVar[str] = "linear"

    table_: Floats
    intercept_ms_: float
    penalty_: float
    additive_: AdditiveTable

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        tables = space_tables(self.space)
        design = tables.main_effects
        ridge = fit_ridge(tables.sums(tables.columns(choices), design), latency_ms)
        entries = tables.padded(design @ ridge.coefficients)
        self._install(AdditiveTable(tables, ridge.intercept, entries), ridge.penalty)
        return FitResult(ridge.left_out)

    def _install(self, additive: AdditiveTable, penalty: float) -> None:
        self.additive_, self.penalty_ = additive, penalty
        self.table_, self.intercept_ms_ = additive.entries_ms, additive.intercept_ms

    def _predict(self, choices: Choices) -> Floats:
        return self.additive_.predict(choices)

    def terms(self) -> Terms:
        return Terms(self.additive_.intercept_ms, self.additive_.factors)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        return {_FILE: to_json({**self.additive_.to_fields(), "penalty": self.penalty_})}

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        fields = Fields.of_file(files, _FILE)
        predictor = cls(space)
        predictor._install(
            AdditiveTable.from_fields(fields, space_tables(space)), fields.number("penalty", 0)
        )
        return predictor
