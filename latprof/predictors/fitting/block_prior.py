"""What the entries of an additive latency table share, before a network is measured.

An architecture's latency is, to first order, a sum of block costs, and a block's cost the sum of
its operators'. With few rows the single costs cannot be identified, but they are not
independent unknowns either. Three things are said here of an operator's cost: most of it follows
from its work (multiply-accumulates, elements, weights), similar operators cost similar times, and
the same operator costs the same wherever it stands: in another block, at another position, at
another depth or resolution that gives it the same shape. The last lets a few hundred networks
identify thousands of table entries. All three are one Gaussian prior over the operators, kept as a
square root, and a ridge on its coefficients is the posterior mean (Rasmussen, Williams, "Gaussian
Processes for Machine Learning", 2006, chapter 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.features.block_features import kind_group
from latprof.predictors.fitting.grouped_ridge import (
    REWEIGHTINGS,
    GroupedFit,
    fit_alike,
    fit_grouped,
    fit_robust_grouped,
)
from latprof.predictors.fitting.ridge import RANK_TOLERANCE, RidgeFit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from latprof.graph.operators import Operator
    from latprof.predictors.features.block_features import SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Weights of what operators cost beyond their totals, beside the totals' 1; which one holds is
#: chosen by leave-one-out, as are the ridge's penalty and the lengths below.
WEIGHTS = (0.03, 0.1, 0.3, 1.0)
#: Differences in which two operators' costs are about as similar as they are different: doublings
#: of output size, of channels in and out, steps of the kernel's side, and of stride. On a processor
#: kernels of other sides are other code; on a GPU they are often bounded by the same memory.
LENGTHS = ((0.5, 1.0, 1.0, 2.0, 0.5), (0.5, 1.0, 1.0, 8.0, 2.0))
#: Standard deviation of what an operator costs by itself, as a fraction of what similar ones share.
_OWN = 0.3
#: Rows for each column from which, and columns up to which, a table of free entries is tried.
_FREE_ROWS = 2
_FREE_COLUMNS = 1000
#: Operators up to which each has a cost of its own; beyond, only what similar ones share is known.
MOST_OPERATORS = 4000
#: Coefficients of a prior and rows from which the prior is chosen on so many rows.
_MANY_COEFFICIENTS = 500
TELLING_ROWS = 1000
#: What is left of a covariance when its low-rank root is long enough.
_ROOT_TOLERANCE = 1e-6
_ROOT_COLUMNS = 400


@dataclass(frozen=True, eq=False, repr=False)
class Prior(ShortRepr):
    """Table entries as ``root @ coefficients``, coefficients of one variance.

    Parameters
    ----------
    tables : SpaceTables
    root : array of shape (columns, q)
        A square root of the covariance of the entries.
    shared : int
        How many of the root's first columns are totals.
    weight : float
        What the root's other columns are multiplied with.
    """

    tables: SpaceTables
    root: Floats
    shared: int
    weight: float = 1.0

    def groups(self, columns: Integers) -> tuple[Floats, Floats]:
        """What latencies of ``columns``, shape (n, parts), are linear in: (n, shared), the rest.

        The rest is not yet multiplied with the weight.
        """
        features: Floats = self.tables.one_hot(columns) @ self.root
        return features[:, : self.shared], np.ascontiguousarray(features[:, self.shared :])

    def entries(self, coefficients: Floats) -> Floats:
        """Entries of the table, shape (columns,)."""
        scales = np.ones(self.root.shape[1])
        scales[self.shared :] = self.weight
        entries: Floats = self.root @ (scales * coefficients)
        return entries


@dataclass(frozen=True, eq=False, repr=False)
class BlockCosts(ShortRepr):
    """A fitted additive table, and the fit and the prior that it comes from."""

    fit: GroupedFit
    prior: Prior

    @property
    def ridge(self) -> RidgeFit:
        """Coefficients, and predictions of rows left out one by one."""
        return self.fit.ridge

    @cached_property
    def entries(self) -> Floats:
        """Entries in ms, shape (columns,), of any level within a part."""
        return self.prior.entries(self.ridge.coefficients)

    @property
    def intercept(self) -> float:
        """What is added to the entries' sum, in ms."""
        return self.ridge.intercept

    def predict(self, columns: Integers) -> Floats:
        """Latencies in ms of n architectures, given by their columns, shape (n, parts)."""
        latency: Floats = self.intercept + self.entries[columns].sum(axis=1)
        return latency


def fit_block_costs(tables: SpaceTables, columns: Integers, latency_ms: Floats) -> BlockCosts:
    """Fit the entries of an additive table to n latencies by the prior that predicts them best.

    ``columns`` are those of the n architectures, shape (n, parts). The priors are
    :func:`operator_priors` and, with many rows, none at all: every entry an unknown of its own.
    """
    some = telling_rows(tables, len(latency_ms))
    costs = choose_prior(tables, columns[some], latency_ms[some])
    if len(some) == len(latency_ms):
        return costs
    return fit_alike_costs(costs, columns, latency_ms)


def telling_rows(tables: SpaceTables, rows: int) -> Integers:
    """The rows that a prior is chosen on: all, or a draw where priors are large and rows many."""
    largest = max(prior.root.shape[1] for prior in operator_priors(tables))
    if largest < _MANY_COEFFICIENTS or rows <= TELLING_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).permutation(rows)[:TELLING_ROWS])


def choose_prior(tables: SpaceTables, columns: Integers, latency_ms: Floats) -> BlockCosts:
    """Fit n latencies under each prior; return the fit of least leave-one-out error."""
    priors = operator_priors(tables)
    free = len(tables.column_parts)
    if free <= min(_FREE_COLUMNS, len(latency_ms) / _FREE_ROWS):
        priors = (*priors, _no_prior(tables))
    best: BlockCosts | None = None
    for prior in priors:
        weights: Sequence[float] = WEIGHTS if prior.shared else (1.0,)
        fit = fit_grouped(*prior.groups(columns), latency_ms, weights)
        if best is None or fit.ridge.error < best.ridge.error:
            best = BlockCosts(fit, replace(prior, weight=fit.weight))
    assert best is not None
    return best


def fit_alike_costs(
    costs: BlockCosts, columns: Integers, latency_ms: Floats, row_weights: Floats | None = None
) -> BlockCosts:
    """Fit the entries anew to many weighted rows, as they were fitted to some of them."""
    groups = costs.prior.groups(columns)
    return replace(costs, fit=fit_alike(costs.fit, *groups, latency_ms, row_weights))


def fit_robust_costs(
    costs: BlockCosts, columns: Integers, latency_ms: Floats, reweightings: int = REWEIGHTINGS
) -> BlockCosts:
    """Fit the entries anew to the same rows, robust to outliers."""
    groups = costs.prior.groups(columns)
    fit = fit_robust_grouped(*groups, latency_ms, costs.fit, reweightings)
    return replace(costs, fit=fit)


@lru_cache(maxsize=2)  # they are large; a campaign asks about one space
def operator_priors(tables: SpaceTables) -> tuple[Prior, ...]:
    """The priors that are tried on a space, one for each of :data:`LENGTHS`, made once.

    Their roots hold side by side the totals and what columns cost beyond them. The latter's
    covariance is the sum of what similar operators share and of what each has of its own; sampled
    architectures get the variance 1 from the first, and :data:`_OWN` squared from the second.
    Candidates with the same operators are items beside the operators, without totals.
    """
    deviation = tables.total_deviations
    varying = deviation > 0
    totals = tables.totals[:, varying] / deviation[varying]
    totals = totals / np.sqrt(max(totals.shape[1], 1))
    operators = tables.operator_totals[:, varying] / deviation[varying]
    size = np.sqrt((operators**2).sum(axis=1))
    own = _own_costs(tables, size)
    own_covariance = (own @ own.T).toarray() * (_OWN**2 / _variance(own, tables))
    priors = []
    for lengths in LENGTHS:
        similar = tables.operator_counts @ _similarity_root(tables, size, lengths)
        covariance = similar @ similar.T / _variance(similar, tables) + own_covariance
        root = np.hstack([totals, _root(covariance)])
        priors.append(Prior(tables, root, totals.shape[1]))
    return tuple(priors)


def _no_prior(tables: SpaceTables) -> Prior:
    """Every entry an unknown of its own."""
    return Prior(tables, np.eye(len(tables.column_parts)), 0)


def _own_costs(tables: SpaceTables, size: Floats) -> csr_array:
    """What columns cost by their operators alone, one unknown an item, (columns, items)."""
    from scipy.sparse import coo_array, diags_array, hstack

    counts, twins = tables.operator_counts, _twins(tables)
    # Where no total varies at all, nothing is known of their sizes but that they are some.
    of_twins = counts[twins] @ size
    of_twins = np.where(of_twins > 0, of_twins, 1.0)
    places = (twins, np.arange(len(twins)))
    apart = coo_array((of_twins, places), (counts.shape[0], len(twins)))
    if len(size) > MOST_OPERATORS:
        return apart.tocsr()
    beside: csr_array = hstack([counts @ diags_array(size), apart], format="csr")
    return beside


def _twins(tables: SpaceTables) -> Integers:
    """Columns with the very operators of another column of their part."""
    counts = tables.operator_counts
    alike: dict[object, list[int]] = {}
    for column, part in enumerate(tables.column_parts.tolist()):
        here = slice(counts.indptr[column], counts.indptr[column + 1])
        items = sorted(zip(counts.indices[here].tolist(), counts.data[here].tolist(), strict=True))
        if items:
            alike.setdefault((part, *items), []).append(column)
    twins = [column for columns in alike.values() if len(columns) > 1 for column in columns]
    return np.array(twins, dtype=np.int64)


def _variance(values: Floats | csr_array, tables: SpaceTables) -> float:
    """Variance of latencies of uniformly sampled parts, given a root of the entries; 1 for none."""
    squares = cast("Floats", (values * values) @ np.ones(values.shape[1]))
    shares = np.zeros((len(tables.parts), len(squares)))
    for row, part in zip(shares, tables.parts, strict=True):
        np.add.at(row, part.columns, 1 / len(part.columns))
    means = shares @ values
    variance = float((shares @ squares).sum() - (means**2).sum())
    return variance if variance > 0 else 1.0


def _root(covariance: Floats) -> Floats:
    """A square root of a covariance, rank revealed: pivoted Cholesky."""
    from scipy.linalg.lapack import dpstrf

    scale = float(covariance.diagonal().max(initial=0.0))
    factor, pivots, rank, _ = dpstrf(covariance, lower=1, tol=RANK_TOLERANCE * scale)
    root = np.zeros((len(covariance), rank if scale > 0 else 0))
    root[pivots - 1] = np.tril(factor[:, : root.shape[1]])
    return root


def _similarity_root(tables: SpaceTables, size: Floats, lengths: tuple[float, ...]) -> Floats:
    """A matrix R with R R' about diag(size) K diag(size), K a squared-exponential kernel.

    Operators share with those of their group of kinds; those of size 0, which every architecture
    has alike, with none.
    """
    described = _descriptions(tables) / np.array(lengths)
    groups = np.array([kind_group(operator.kind) for operator in tables.operators])
    return similarity_root(described, groups, size)


def _descriptions(tables: SpaceTables) -> Floats:
    """What the similarity of operators is judged by, in the order of :data:`LENGTHS`."""
    described = [
        (*(math.log2(max(n, 1)) for n in _sizes(operator)), operator.kernel, operator.stride)
        for operator in tables.operators
    ]
    return np.array(described, dtype=np.float64).reshape(-1, 5)


def _sizes(operator: Operator) -> tuple[int, int, int]:
    """Length of the output's longest side, and channels in and out."""
    inputs = operator.input_shapes[0] if operator.input_shapes else ()
    outputs = operator.output_shapes[0] if operator.output_shapes else ()
    return max(outputs[2:], default=1), (*inputs, 1, 1)[1], (*outputs, 1, 1)[1]


def similarity_root(described: Floats, groups: NDArray[np.str_], size: Floats) -> Floats:
    """A matrix R with R R' about diag(size) K diag(size), K a squared-exponential kernel.

    ``described`` has shape (n, facts); things of other ``groups`` share nothing.
    """

    def covariance(row: int) -> Floats:
        distance = ((described - described[row]) ** 2).sum(axis=1)
        values: Floats = size[row] * np.exp(-distance / 2) * size * (groups == groups[row])
        return values

    return low_rank_root(covariance, size**2)


def low_rank_root(covariance: Callable[[int], Floats], variances: Floats) -> Floats:
    """A low-rank square root of a covariance matrix given by its rows: pivoted Cholesky.

    Harbrecht, Peters, Schneider, "On the low-rank approximation by the pivoted Cholesky
    decomposition", Applied Numerical Mathematics 62 (2012).
    """
    left = variances.copy()
    largest = max(float(variances.max(initial=0.0)), 1e-300)
    rows = np.empty((min(_ROOT_COLUMNS, len(variances)), len(variances)))
    count = 0
    while count < len(rows) and left.max(initial=0.0) > _ROOT_TOLERANCE * largest:
        pivot = int(np.argmax(left))
        row = covariance(pivot) - rows[:count, pivot] @ rows[:count]
        rows[count] = row / np.sqrt(left[pivot])
        left = np.maximum(left - rows[count] ** 2, 0.0)
        left[pivot] = 0.0
        count += 1
    return rows[:count].T
