"""A lookup table from the kernel times of a few networks.

Ten networks are ten latencies, but about two hundred times of blocks. ProxylessNAS's authors (Cai,
Zhu, Han, ICLR 2019) built their table of such times. Here the blocks that were timed say what the
others cost, too, by the prior of :mod:`latprof.predictors.fitting.block_similarity`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.block_similarity import block_designs
from latprof.predictors.fitting.ridge import fit_ridge
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, Choices, SearchSpace

Floats: TypeAlias = NDArray[np.float64]

#: Timed blocks below which there is no table.
FEWEST_BLOCKS = 10


@dataclass(frozen=True, eq=False, repr=False)
class BlockTimes(ShortRepr):
    """What the blocks of some networks took by the runtime's own profile.

    Parameters
    ----------
    choices : array of shape (n, decisions)
    block_ms : array of shape (n, parts)
        Milliseconds of the blocks in each part of the space; NaN where none was timed.
    """

    choices: Choices
    block_ms: Floats

    @classmethod
    def of_kernels(
        cls,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        kernels: Sequence[Iterable[tuple[str, float]]],
    ) -> Self:
        """Sum each network's kernels, given as names and milliseconds, by block.

        A kernel is of the block whose name its own begins with; kernels of no block (stem, head,
        changes of memory layout) are left out.
        """
        choices = space.canonical(space.choices(architectures))
        tables = space_tables(space)
        columns = tables.columns(choices)
        block_ms = np.full(columns.shape, np.nan)
        for row, times in enumerate(kernels):
            names = {
                block.name: part
                for part, column in enumerate(columns[row].tolist())
                for block in tables.column_blocks[column]
            }
            for name, latency_ms in times:
                part = _part_of(name, names)
                if part is not None:
                    block_ms[row, part] = np.nan_to_num(block_ms[row, part]) + latency_ms
        return cls(choices, block_ms)

    def of(self, choices: Choices) -> BlockTimes:
        """The times of these networks alone, as far as they are known."""
        return self._chosen(self._among(choices))

    def without(self, choices: Choices) -> BlockTimes:
        """The times of all networks but these."""
        return self._chosen(~self._among(choices))

    def _among(self, choices: Choices) -> NDArray[np.bool_]:
        among: NDArray[np.bool_] = (self.choices[:, None] == choices).all(axis=2).any(axis=1)
        return among

    def _chosen(self, kept: NDArray[np.bool_]) -> BlockTimes:
        return BlockTimes(self.choices[kept], self.block_ms[kept])

    def table(self, space: SearchSpace) -> LookupTablePredictor | None:
        """The costs of all blocks of the space, None where too few were timed.

        Its level is that of the blocks alone, without stem and head.
        """
        tables = space_tables(space)
        columns = tables.columns(self.choices)
        timed = np.isfinite(self.block_ms) & ~tables.zero_columns[columns]
        if timed.sum() < FEWEST_BLOCKS:
            return None
        observed, latency_ms = columns[timed], self.block_ms[timed]
        fits = [
            (fit_ridge(design[observed], latency_ms), design) for design in block_designs(tables)
        ]
        fit, design = min(fits, key=lambda pair: pair[0].error)
        entries = np.maximum(design @ fit.coefficients + fit.intercept, 0.0)
        entries[tables.zero_columns] = 0.0
        counts = np.bincount(observed, minlength=len(entries)).astype(np.float64)
        return LookupTablePredictor.of_entries(
            space, tables.padded(entries), tables.padded(np.maximum(counts, 1.0))
        )


def _part_of(name: str, parts: Mapping[str, int]) -> int | None:
    """The part of the block whose name a kernel's begins with, component by component."""
    while name:
        if name in parts:
            return parts[name]
        name = name.rpartition(".")[0]
    return None
