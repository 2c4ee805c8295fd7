"""What the entries of an additive latency table share, before a network is measured.

An architecture's latency is, to first order, a sum of block costs. With few rows the costs cannot
be told apart one by one, but they are not independent unknowns either: a cost follows from the
block's shape, and similar blocks cost similar times. Both are said here with *designs*, matrices of
shape (columns, q): the table's entries are ``design @ coefficients``, and a ridge on the
coefficients shrinks the entries towards what the design can say cheaply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.predictors.decision_features import convolution_groups, operator_type
from latprof.predictors.ridge import RidgeFit, fit_ridge, fit_robust_ridge

if TYPE_CHECKING:
    from latprof.predictors.features import Blocks, SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Weights of "similar blocks cost similar times" beside the totals' 1; which one holds is chosen by
#: leave-one-out, as is the ridge's penalty.
SIMILARITY_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
#: Weight of a block's own deviation, as a fraction of the similarity's.
DEVIATION = 0.3
#: Differences in which two blocks' costs are about as similar as they are different: doublings of
#: size and of channels in and out, steps of kernel and expansion, of stride and of groups.
_LENGTHS = (1.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5)
#: Doublings of size over which a block's own deviation stays much the same.
_OWN_LENGTH = 1.0
#: Columns up to which a table with every entry an unknown of its own is tried.
_FREE_COLUMNS = 1000
#: What is left of a covariance when its low-rank root is long enough.
_ROOT_TOLERANCE = 1e-6
_ROOT_COLUMNS = 400


@dataclass(frozen=True, eq=False)
class BlockCosts:
    """A fitted additive table: entries in ms, shape (columns,), of any level within a part."""

    entries: Floats
    ridge: RidgeFit
    design: Floats

    @property
    def intercept(self) -> float:
        """What is added to the entries' sum, in ms."""
        return self.ridge.intercept

    def predict(self, tables: SpaceTables, columns: Integers) -> Floats:
        """Latencies in ms of n architectures, given by their columns, shape (n, parts)."""
        return self.intercept + tables.sums(columns, self.entries[:, None])[:, 0]


def fit_block_costs(tables: SpaceTables, columns: Integers, latency_ms: Floats) -> BlockCosts:
    """Fit the entries of an additive table to n latencies by the prior that predicts them best.

    The priors are :func:`shape_designs`, and none at all: every entry an unknown of its own.
    ``columns`` are those of the n architectures, shape (n, parts).
    """
    best: BlockCosts | None = None
    for design in tables_designs(tables):
        fit = fit_ridge(tables.sums(columns, design), latency_ms)
        if best is None or fit.error < best.ridge.error:
            best = BlockCosts(design @ fit.coefficients, fit, design)
    assert best is not None
    return best


def fit_with_design(
    features: Floats, latency_ms: Floats, design: Floats, *, robust: bool = False
) -> BlockCosts:
    """Fit the entries under one prior; ``features`` are ``tables.sums(columns, design)``.

    With ``robust`` so that outlying latencies do not pull them.
    """
    fit = (fit_robust_ridge if robust else fit_ridge)(features, latency_ms)
    return BlockCosts(design @ fit.coefficients, fit, design)


@lru_cache(maxsize=2)  # they are large; a campaign asks about one space
def tables_designs(tables: SpaceTables) -> list[Floats]:
    """All priors that are tried on a space, made once."""
    designs = shape_designs(tables)
    if len(tables.column_parts) <= _FREE_COLUMNS:
        designs.append(np.eye(len(tables.column_parts)))
    return designs


def shape_designs(tables: SpaceTables) -> list[Floats]:
    """Designs of shape totals, similarity and deviations, for each of SIMILARITY_WEIGHTS.

    Three parts side by side, each scaled so that it gives sampled architectures the same variance:
    the totals (what multiply-accumulates, elements and operators of each kind cost), a square root
    of the similarities' covariance (what blocks of about this shape cost beyond it), and one of the
    deviations' (what this block costs here beyond both). The first design is the totals alone.
    """
    totals = _scaled_totals(tables)
    beyond = similarity_design(tables)
    totals = totals / np.sqrt(max(totals.shape[1], 1))
    return [totals, *(np.hstack([totals, weight * beyond]) for weight in SIMILARITY_WEIGHTS)]


def similarity_design(tables: SpaceTables) -> Floats:
    """What blocks cost beyond their totals, alike for similar ones, and each by itself.

    Of variance 1 and :data:`DEVIATION` squared over sampled architectures; (columns, q).
    """
    size = np.sqrt((_scaled_totals(tables) ** 2).sum(axis=1))
    similar = _unit_variance(_similarity_root(tables, np.sqrt(size)), tables)
    own = _unit_variance(_deviation_root(tables, size), tables)
    return np.hstack([similar, DEVIATION * own])


def _scaled_totals(tables: SpaceTables) -> Floats:
    """The shape totals, each in standard deviations over uniformly sampled architectures."""
    deviation = tables.total_deviations
    return tables.totals[:, deviation > 0] / deviation[deviation > 0]


def _variances(entries: Floats, tables: SpaceTables) -> Floats:
    """Variance of each column's sum over uniformly sampled combinations of parts, shape (q,)."""
    total = np.zeros(entries.shape[1])
    for part in tables.parts:
        total += entries[part.columns].var(axis=0)
    return total


def _unit_variance(entries: Floats, tables: SpaceTables) -> Floats:
    variance = float(_variances(entries, tables).sum())
    return entries / np.sqrt(variance) if variance > 0 else entries


def _descriptions(tables: SpaceTables) -> Floats:
    """What the similarity of two columns is judged by, in units of :data:`_LENGTHS`."""
    described = np.array([_description(blocks) for blocks in tables.column_blocks], dtype=float)
    units: Floats = described / np.array(_LENGTHS)
    return units


def _description(blocks: Blocks) -> tuple[float, ...]:
    if not blocks:
        return (0.0,) * len(_LENGTHS)
    block = blocks[0]
    return (
        np.log2(max(block.in_size, 1)),
        np.log2(max(block.in_channels, 1)),
        np.log2(max(block.out_channels, 1)),
        block.kernel,
        block.expansion,
        block.stride,
        convolution_groups(block),
    )


def _operator_types(blocks: Blocks) -> str:
    return ",".join(dict.fromkeys(operator_type(block) for block in blocks))


def _similarity_root(tables: SpaceTables, scale: Floats) -> Floats:
    """A matrix R with R R' about diag(scale) K diag(scale), K a squared-exponential kernel.

    Columns without operators (``scale`` 0) share nothing: they cost nothing.
    """
    described = _descriptions(tables)
    types = np.array([_operator_types(blocks) for blocks in tables.column_blocks])

    def covariance(row: int) -> Floats:
        distance = ((described - described[row]) ** 2).sum(axis=1)
        values: Floats = scale[row] * np.exp(-distance / 2) * scale * (types == types[row])
        return values

    return _root(covariance, scale**2)


def _deviation_root(tables: SpaceTables, scale: Floats) -> Floats:
    """The same for each column's own deviation.

    Columns of a part share it where they are the same candidate at another input size; where a
    part is one decision, every column has one of its own.
    """
    if tables.one_decision_parts:
        alone: Floats = np.diag(scale)[:, scale > 0]
        return alone
    labels: dict[object, int] = {}
    identity = np.array(
        [
            labels.setdefault((part, tuple(b.choice for b in blocks)), len(labels))
            for part, blocks in zip(tables.column_parts.tolist(), tables.column_blocks, strict=True)
        ]
    )
    size = _descriptions(tables)[:, 0] / _OWN_LENGTH
    roots = []
    for label in range(len(labels)):
        here = np.flatnonzero((identity == label) & (scale > 0))
        if not len(here):
            continue
        distance = (size[here, None] - size[here]) ** 2
        values, vectors = np.linalg.eigh(scale[here, None] * np.exp(-distance / 2) * scale[here])
        kept = values > 1e-4 * values.max()
        root = np.zeros((len(scale), int(kept.sum())))
        root[here] = vectors[:, kept] * np.sqrt(values[kept])
        roots.append(root)
    return np.hstack(roots)


def _root(covariance: Callable[[int], Floats], variances: Floats) -> Floats:
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
