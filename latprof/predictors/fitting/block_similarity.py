"""How alike the blocks of a space are: what a new device's own costs are judged by.

Blocks are compared as wholes here, for a handful of architectures and for the times of single
blocks; :mod:`latprof.predictors.fitting.block_prior` compares operators, for whole networks'
latencies. A *design*, shape (columns, q), says that the table's entries are ``design @
coefficients``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.predictors.features.decision_features import convolution_groups, operator_type
from latprof.predictors.fitting.block_prior import similarity_root

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import Blocks, SpaceTables

Floats: TypeAlias = NDArray[np.float64]

#: Weights of "similar blocks cost similar times" beside the totals' 1; which one holds is chosen by
#: leave-one-out.
_SIMILARITY_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
#: Columns up to which a table with every entry an unknown of its own is tried.
_FREE_COLUMNS = 1000
#: Standard deviation of a block's own cost, as a fraction of what similar ones share.
_DEVIATION = 0.3
#: Differences in which two blocks' costs are about as similar as they are different: doublings of
#: size and of channels in and out, steps of kernel and expansion, of stride and of groups.
_LENGTHS = (1.0, 1.0, 1.0, 2.0, 2.0, 0.5, 0.5)
#: Doublings of size over which a block's own deviation stays much the same.
_OWN_LENGTH = 1.0


@lru_cache(maxsize=2)  # they are large; a campaign asks about one space
def block_designs(tables: SpaceTables) -> list[Floats]:
    """All priors that are tried on a space, made once."""
    designs = _shape_designs(tables)
    if len(tables.column_parts) <= _FREE_COLUMNS:
        designs.append(np.eye(len(tables.column_parts)))
    return designs


def _shape_designs(tables: SpaceTables) -> list[Floats]:
    """Designs of shape totals, similarity and deviations, for each of _SIMILARITY_WEIGHTS.

    Three parts side by side, each scaled so that it gives sampled architectures the same variance:
    the totals (what multiply-accumulates, elements and operators of each kind cost), a square root
    of the similarities' covariance (what blocks of about this shape cost beyond it), and one of the
    deviations' (what this block costs here beyond both). The first design is the totals alone.
    """
    totals = _scaled_totals(tables)
    beyond = similarity_design(tables)
    totals = totals / np.sqrt(max(totals.shape[1], 1))
    return [totals, *(np.hstack([totals, weight * beyond]) for weight in _SIMILARITY_WEIGHTS)]


def similarity_design(tables: SpaceTables) -> Floats:
    """What blocks cost beyond their totals, alike for similar ones, and each by itself.

    Of variance 1 and :data:`_DEVIATION` squared over sampled architectures; (columns, q).
    """
    size = np.sqrt((_scaled_totals(tables) ** 2).sum(axis=1))
    similar = _unit_variance(_similarity_root(tables, np.sqrt(size)), tables)
    own = _unit_variance(_deviation_root(tables, size), tables)
    return np.hstack([similar, _DEVIATION * own])


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
    types = np.array([_operator_types(blocks) for blocks in tables.column_blocks])
    return similarity_root(_descriptions(tables), types, scale)


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
