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
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.features.block_features import kind_group
from latprof.predictors.fitting.ridge import (
    RANK_TOLERANCE,
    RidgeFit,
    fit_ridge,
    fit_robust_ridge,
)

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
#: Columns of a root from which it is shortened by faster means.
_MANY_COLUMNS = 1000
#: What is left of a covariance when its low-rank root is long enough.
_ROOT_TOLERANCE = 1e-6
_ROOT_COLUMNS = 400


@dataclass(frozen=True, eq=False, repr=False)
class Prior(ShortRepr):
    """Table entries as ``counts @ root @ coefficients``, coefficients of one variance.

    Parameters
    ----------
    tables : SpaceTables
    counts : sparse array of shape (columns, items)
        How often a column has each item: an operator, mostly.
    root : array of shape (items, q)
        A square root of the covariance of the items' costs.
    shared : int
        How many of the root's first columns are totals.
    weight : float
        What the root's other columns are multiplied with.
    """

    tables: SpaceTables
    counts: csr_array
    root: Floats
    shared: int
    weight: float = 1.0

    def features(self, columns: Integers) -> Floats:
        """What latencies of ``columns``, shape (n, parts), are linear in, shape (n, q)."""
        features: Floats = (self.tables.one_hot(columns) @ self.counts) @ self.root
        return self.scaled(features)

    def scaled(self, values: Floats) -> Floats:
        """Multiply what belongs to the root's columns, the last axis, with their weights."""
        scales = np.ones(self.root.shape[1])
        scales[self.shared :] = self.weight
        return values * scales

    def entries(self, coefficients: Floats) -> Floats:
        """Entries of the table, shape (columns,)."""
        entries: Floats = self.counts @ (self.root @ self.scaled(coefficients))
        return entries


@dataclass(frozen=True, eq=False, repr=False)
class BlockCosts(ShortRepr):
    """A fitted additive table, and the ridge and the prior that it comes from."""

    ridge: RidgeFit
    prior: Prior

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
    priors = operator_priors(tables)
    free = len(tables.column_parts)
    if free <= min(_FREE_COLUMNS, len(latency_ms) / _FREE_ROWS):
        priors = (*priors, _no_prior(tables))
    best: BlockCosts | None = None
    for prior in priors:
        unscaled = prior.features(columns)
        for weight in WEIGHTS if prior.shared else (1.0,):
            weighted = replace(prior, weight=weight)
            fit = fit_ridge(weighted.scaled(unscaled), latency_ms)
            if best is None or fit.error < best.ridge.error:
                best = BlockCosts(fit, weighted)
    assert best is not None
    return best


def fit_by_prior(
    prior: Prior, features: Floats, latency_ms: Floats, *, robust: bool = False
) -> BlockCosts:
    """Fit the entries under one prior; ``features`` are ``prior.features`` of n architectures.

    With ``robust`` by a robust fit, for latencies with outliers.
    """
    fit = (fit_robust_ridge if robust else fit_ridge)(features, latency_ms)
    return BlockCosts(fit, prior)


@lru_cache(maxsize=2)  # they are large; a campaign asks about one space
def operator_priors(tables: SpaceTables) -> tuple[Prior, ...]:
    """The priors that are tried on a space, one for each of :data:`LENGTHS`, made once.

    Their roots hold side by side the totals, what similar operators share beyond them, and what
    each has of its own; sampled architectures get the variance 1 from the second, and
    :data:`_OWN` squared from the third. Candidates with the same operators are items
    beside the operators, without totals.
    """
    deviation = tables.total_deviations
    totals = tables.operator_totals[:, deviation > 0] / deviation[deviation > 0]
    size = np.sqrt((totals**2).sum(axis=1))
    twins = _twins(tables)
    counts = _with_own(tables.operator_counts, twins)
    # Where no total varies at all, nothing is known of their sizes but that they are some.
    twin_size = tables.operator_counts[twins] @ size
    sizes = np.concatenate([size, np.where(twin_size > 0, twin_size, 1.0)])
    own = np.diag(sizes)[:, sizes > 0]
    if len(totals) > MOST_OPERATORS:
        own = own[:, own.shape[1] - len(twins) :]
    own = _OWN * _of_variance_1(own, tables, counts)
    totals = _padded(totals / np.sqrt(max(totals.shape[1], 1)), len(sizes))
    priors = []
    for lengths in LENGTHS:
        similar = _padded(_similarity_root(tables, size, lengths), len(sizes))
        similar = _of_variance_1(similar, tables, counts)
        beyond = _compressed(np.hstack([similar, own]), counts)
        root = np.hstack([totals, beyond])
        priors.append(Prior(tables, counts, root, totals.shape[1]))
    return tuple(priors)


def _no_prior(tables: SpaceTables) -> Prior:
    """Every entry an unknown of its own."""
    from scipy.sparse import eye_array

    columns = len(tables.column_parts)
    return Prior(tables, eye_array(columns, format="csr"), np.eye(columns), 0)


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


def _with_own(counts: csr_array, columns: Integers) -> csr_array:
    """The counts and, beside them, an item for each of these columns alone."""
    from scipy.sparse import coo_array, hstack

    places = (columns, np.arange(len(columns)))
    own = coo_array((np.ones(len(columns)), places), (counts.shape[0], len(columns)))
    beside: csr_array = hstack([counts, own], format="csr")
    return beside


def _padded(root: Floats, items: int) -> Floats:
    """The root of operators as that of all items: the others vary by themselves."""
    return np.vstack([root, np.zeros((items - len(root), root.shape[1]))])


def _of_variance_1(root: Floats, tables: SpaceTables, counts: csr_array) -> Floats:
    """The root scaled so that latencies of uniformly sampled parts have the variance 1."""
    variance = 0.0
    for part in tables.parts:
        columns, times = np.unique(part.columns, return_counts=True)
        values = counts[columns] @ root
        share = times / times.sum()
        variance += float(share @ ((values - share @ values) ** 2).sum(axis=1))
    return root / np.sqrt(variance) if variance > 0 else root


def _compressed(root: Floats, counts: csr_array) -> Floats:
    """A shorter root of the same covariance between the columns.

    There are fewer combinations of operators than operators: some always come together.
    """
    if root.shape[1] >= _MANY_COLUMNS:
        basis = _row_space(counts)
        inside = basis.T @ root
        covariance = inside @ inside.T
        covariance[np.diag_indices_from(covariance)] *= 1 + RANK_TOLERANCE
        found: Floats = basis @ np.linalg.cholesky(covariance)
        return found
    design = counts @ root
    squared, vectors = np.linalg.eigh(design.T @ design)
    shorter: Floats = root @ vectors[:, squared > RANK_TOLERANCE * squared.max(initial=0.0)]
    return shorter


def _row_space(counts: csr_array) -> Floats:
    """An orthonormal basis of what the columns' counts of items span, shape (items, rank).

    Items that no column joins, directly or by others, are decomposed apart.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    columns, items = counts.shape
    ones = counts.tocoo()
    links = coo_array((ones.data, (ones.row, columns + ones.col)), (columns + items,) * 2)
    _, labels = connected_components(links, directed=False)
    parts = []
    for label in np.unique(labels[columns:]):
        here = np.flatnonzero(labels[columns:] == label)
        block = counts[np.flatnonzero(labels[:columns] == label)][:, here].toarray()
        squared, vectors = np.linalg.eigh(block.T @ block)
        kept = squared > RANK_TOLERANCE * max(float(squared.max(initial=0.0)), 1e-300)
        part = np.zeros((items, int(kept.sum())))
        part[here] = vectors[:, kept]
        parts.append(part)
    return np.hstack(parts)


def _similarity_root(tables: SpaceTables, size: Floats, lengths: tuple[float, ...]) -> Floats:
    """A matrix R with R R' about diag(size) K diag(size), K a squared-exponential kernel.

    Operators share with those of their group of kinds; those of size 0, which every architecture
    has alike, with none.
    """
    described = _descriptions(tables) / np.array(lengths)
    groups = np.array([kind_group(operator.kind) for operator in tables.operators])

    def covariance(row: int) -> Floats:
        distance = ((described - described[row]) ** 2).sum(axis=1)
        values: Floats = size[row] * np.exp(-distance / 2) * size * (groups == groups[row])
        return values

    return low_rank_root(covariance, size**2)


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


def low_rank_root(covariance: Callable[[int], Floats], variances: Floats) -> Floats:
    """A low-rank square root of a covariance matrix given by its rows: pivoted Cholesky.

    Harbrecht, Peters, Schneider, "On the low-rank approximation by the pivoted Cholesky
    decomposition", Applied Numerical Mathematics 62 (2012).
    """
    left = variances.copy()
    columns: list[Floats] = []
    while len(columns) < _ROOT_COLUMNS and left.max(initial=0.0) > _ROOT_TOLERANCE * max(
        float(variances.max(initial=0.0)), 1e-300
    ):
        pivot = int(np.argmax(left))
        column = covariance(pivot)
        for earlier in columns:
            column = column - earlier[pivot] * earlier
        column = column / np.sqrt(left[pivot])
        columns.append(column)
        left = np.maximum(left - column**2, 0.0)
        left[pivot] = 0.0
    return np.stack(columns, axis=1) if columns else np.zeros((len(variances), 0))
