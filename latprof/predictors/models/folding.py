"""Predictors of other devices as one sum of tables and trees, each times its weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import CoverageError, InvalidValueError
from latprof.predictors.base import Floats, Predictor, Terms
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.fitting.trees import MAX_TREES, TreeEnsemble

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import SpaceTables


def weighted_sum(sources: Sequence[Predictor], weights: Floats, tables: SpaceTables) -> Terms:
    """The sources' tables and trees, each times its source's weight, as those of one predictor."""
    intercept, factors, trees = 0.0, [], []
    for source, weight in zip(sources, weights.tolist(), strict=True):
        terms = source.terms()
        if terms is None:
            raise InvalidValueError(
                f"the {source.name} predictor is no sum of tables and trees, which a source must be"
            )
        if not all(np.isfinite(factor.table_ms).all() for factor in terms.factors):
            raise CoverageError(
                "a source does not know every candidate of its space",
                [source.name],
                hint="take another predictor of that device, such as hybrid",
            )
        intercept += weight * terms.intercept_ms
        factors += [Factor(f.decisions, weight * f.table_ms) for f in terms.factors]
        if terms.trees is not None:
            trees.append((weight, terms.trees))
    return Terms(intercept, tuple(factors), _joined(trees, tables))


def by_decisions(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Sum the factors that are over the same decisions."""
    sums: dict[tuple[int, ...], Floats] = {}
    for factor in factors:
        known = sums.get(factor.decisions)
        sums[factor.decisions] = factor.table_ms if known is None else known + factor.table_ms
    return tuple(Factor(decisions, table) for decisions, table in sums.items())


def _joined(weighted: Sequence[tuple[float, TreeEnsemble]], tables: SpaceTables) -> TreeEnsemble:
    """One ensemble whose leaves are those of all, each times its weight."""
    if not weighted:
        return TreeEnsemble.empty(tables.decisions)
    trees = [each for _, each in weighted]
    if sum(map(len, trees)) > MAX_TREES:
        raise InvalidValueError(
            "the sources have too many trees",
            field="sources",
            expected=f"at most {MAX_TREES:,}",
            got=f"{sum(map(len, trees)):,}",
            hint="take fewer sources",
        )
    values = [
        np.where(each.feature < 0, np.float32(weight) * each.value, each.value)
        for weight, each in weighted
    ]
    return TreeEnsemble(
        tables.decisions,
        sum(weight * each.base_ms for weight, each in weighted),
        np.concatenate([each.sizes for each in trees]),
        np.concatenate([each.feature for each in trees]),
        np.concatenate([each.left for each in trees]),
        np.concatenate([each.right for each in trees]),
        np.concatenate(values).astype(np.float32),
    )
