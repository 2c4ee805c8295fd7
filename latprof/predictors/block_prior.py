"""What the entries of an additive latency table share, before a network is measured.

An architecture's latency is, to first order, a sum of block costs. With few rows the costs cannot
be told apart one by one, but they are not independent unknowns either: a cost follows from the
block's shape, and similar blocks cost similar times. Both are said here with *designs*, matrices of
shape (columns, q): the table's entries are ``design @ coefficients``, and a ridge on the
coefficients shrinks the entries towards what the design can say cheaply.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.predictors.features import SpaceTables, convolution_groups
from latprof.predictors.ridge import RidgeFit, best_ridge

Floats: TypeAlias = NDArray[np.float64]

#: Weights of "similar blocks cost similar times" beside the totals' 1; which one holds is chosen by
#: leave-one-out, as is the ridge's penalty.
SIMILARITY_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
#: Weight of a block's own deviation, as a fraction of the similarity's.
DEVIATION = 0.3
#: Differences in which two blocks' costs are about as similar as they are different: doublings of
#: size and of channels in and out, steps of kernel and expansion, of stride and of groups.
_LENGTHS = (1.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5)


def shape_designs(tables: SpaceTables) -> list[Floats]:
    """Designs of shape totals, similarity and deviations, for each of SIMILARITY_WEIGHTS.

    Three parts side by side, each scaled so that it gives sampled architectures the same variance:
    the totals (what multiply-accumulates, elements and operators of each kind cost), a square root
    of the similarities' covariance (what blocks of about this shape cost beyond it), and one column
    a block (what this block costs here beyond both). The first design is the totals alone.
    """
    totals = _scaled_totals(tables)
    size = np.sqrt((totals**2).sum(axis=1))
    similar = _unit_variance(_similarity_root(tables, np.sqrt(size)), tables)
    own = _unit_variance(np.diag(size)[:, size > 0], tables)
    totals = totals / np.sqrt(max(totals.shape[1], 1))
    return [
        totals,
        *(
            np.hstack([totals, weight * similar, weight * DEVIATION * own])
            for weight in SIMILARITY_WEIGHTS
        ),
    ]


def fit_block_costs(
    tables: SpaceTables, one_hot: Floats, latency_ms: Floats
) -> tuple[Floats, RidgeFit]:
    """Fit the entries of an additive table to n latencies by the prior that predicts them best.

    The priors are :func:`shape_designs`, and none at all: every entry an unknown of its own.
    Returns the entries in ms, shape (columns,), of any level at a position, and the ridge.
    """
    designs = [*shape_designs(tables), np.eye(len(tables.positions))]
    return best_ridge(designs, one_hot, latency_ms)


def _scaled_totals(tables: SpaceTables) -> Floats:
    """The shape totals, each in standard deviations over uniformly sampled architectures."""
    deviation = np.sqrt(_variances(tables.totals, tables))
    return tables.totals[:, deviation > 0] / deviation[deviation > 0]


def _variances(entries: Floats, tables: SpaceTables) -> Floats:
    """Variance of each column's sum over uniformly sampled architectures, shape (q,)."""
    total = np.zeros(entries.shape[1])
    for position in range(len(tables.num_choices)):
        total += entries[tables.positions == position].var(axis=0)
    return total


def _unit_variance(entries: Floats, tables: SpaceTables) -> Floats:
    variance = float(_variances(entries, tables).sum())
    return entries / np.sqrt(variance) if variance > 0 else entries


def _similarity_root(tables: SpaceTables, scale: Floats) -> Floats:
    """A matrix R with R R' = diag(scale) K diag(scale), K the blocks' squared-exponential kernel.

    Blocks without operators (``scale`` 0) share nothing: they cost nothing.
    """
    described = np.array(
        [
            (
                np.log2(max(block.in_size, 1)),
                np.log2(max(block.in_channels, 1)),
                np.log2(max(block.out_channels, 1)),
                block.kernel,
                block.expansion,
                block.stride,
                convolution_groups(block),
            )
            for block in tables.column_blocks
        ]
    ) / np.array(_LENGTHS)
    distance = ((described[:, None] - described) ** 2).sum(axis=2)
    covariance = scale[:, None] * np.exp(-distance / 2) * scale
    values, vectors = np.linalg.eigh(covariance)
    kept = values > 1e-6 * max(float(values.max()), 1e-300)
    root: Floats = vectors[:, kept] * np.sqrt(values[kept])
    return root
