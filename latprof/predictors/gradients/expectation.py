"""Expected latency of independent decisions, differentiable in their probabilities.

``E[LAT] = sum_i sum_j p_ij F(o_ij)`` for a table (ProxylessNAS, Cai, Zhu, Han, ICLR 2019, equation
2); for tables over several decisions the same with the product of their probabilities. Both are
exact. Boosted trees have no such sum that is cheap: they are replaced by the part of them that
single decisions and pairs of decisions explain, computed exactly for uniform choices. What that
leaves out is :func:`~latprof.predictors.gradients.torch_latency.surrogate_error`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.errors import CoverageError, InvalidValueError
from latprof.predictors.base import Predictor, Terms
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.fitting.grid import all_choices, is_small

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Candidates of all decisions up to which pairs of them are held: half a GiB.
_MOST_CANDIDATES = 8192


@dataclass(frozen=True, eq=False, repr=False)
class Expectation(ShortRepr):
    """Expected latency as a polynomial in the probabilities.

    Parameters
    ----------
    intercept_ms : float
    linear_ms : array of shape (decisions, candidates)
        0 where a decision has fewer candidates.
    pairs_ms : array of shape (decisions * candidates, decisions * candidates), or None
        Symmetric, 0 within a decision: half of what each pair of choices adds.
    products : sequence of (decisions, tables)
        Factors of several decisions with tables of the same shape: decisions of shape (factors, k),
        tables of shape (factors, size, ..., size).
    exact : bool
        Whether the predictor is this polynomial, so that nothing is left out.
    """

    intercept_ms: float
    linear_ms: Floats
    pairs_ms: Floats | None
    products: Sequence[tuple[Integers, Floats]]
    exact: bool


def predictor_expectation(predictor: Predictor) -> Expectation:
    """The expectation of a fitted predictor.

    Exact where it is a sum of tables, and where its space is small enough to hold a latency for
    every architecture. Raises InvalidValueError for a predictor that is not fitted or no sum of
    tables and trees, and as :func:`expectation_of`.
    """
    predictor.check_fitted()
    sizes = predictor.space.num_choices.tolist()
    terms = predictor.terms()
    if terms is None or (terms.trees is not None and len(terms.trees)):
        if is_small(sizes):
            grid = predictor.predict(all_choices(sizes)).reshape(sizes)
            terms = Terms(0.0, (Factor(tuple(range(len(sizes))), grid),))
        elif terms is None:
            raise InvalidValueError(f"the {predictor.name} predictor has no expected latency")
    return expectation_of(terms, sizes)


def expectation_of(terms: Terms, num_choices: Sequence[int]) -> Expectation:
    """The expectation of a sum of factors and trees.

    Raises CoverageError for entries not known, and InvalidValueError for trees in a space of more
    candidates than pairs of them can be held.
    """
    intercept_ms, trees = terms.intercept_ms, terms.trees
    shape = (len(num_choices), max(num_choices))
    linear = np.zeros(shape)
    products: dict[tuple[int, ...], list[Factor]] = {}
    for factor in terms.factors:
        if np.isnan(factor.table_ms).any():
            gaps = int(np.isnan(factor.table_ms).sum())
            raise CoverageError(
                f"the table lacks {gaps} entries of decisions {factor.decisions}, so an "
                "expectation over them is not known",
                [str(factor.decisions)],
                hint="measure architectures that have them, or use the hybrid predictor",
            )
        if len(factor.decisions) == 1:
            linear[factor.decisions[0], : factor.table_ms.size] += factor.table_ms
        else:
            products.setdefault(factor.table_ms.shape, []).append(factor)
    pairs = None
    if trees is not None and len(trees) and linear.size > _MOST_CANDIDATES:
        raise InvalidValueError(
            "the space has too many candidates for an expectation over pairs of them",
            expected=f"at most {_MOST_CANDIDATES:,}",
            got=f"{linear.size:,}",
            hint="use an additive predictor",
        )
    if trees is not None and (len(trees) or trees.base_ms):
        level, singles, doubles = trees.effects()
        intercept_ms += level
        owners, starts = trees.tables.owners, trees.tables.starts
        slots = owners * shape[1] + np.arange(len(owners)) - starts[owners]
        linear.reshape(-1)[slots] += singles
        pairs = np.zeros((linear.size, linear.size))
        pairs[np.ix_(slots, slots)] = doubles / 2
    grouped = [
        (np.array([f.decisions for f in group]), np.stack([f.table_ms for f in group]))
        for group in products.values()
    ]
    return Expectation(intercept_ms, linear, pairs, grouped, exact=pairs is None)
