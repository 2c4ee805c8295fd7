"""What blocks in a row cost together beyond what each costs, as far as their sizes decide it.

A runtime lays all activations of a network into one arena. Whether a block finds there the buffers
of the blocks before it, still in a cache, depends on their sizes, whatever their kernels are. So
candidates of a part count as one class where their activations have as many elements, and a grid
over the classes of a few parts in a row is fitted with all its interactions (:mod:`grid`). Being
classes, they are few: what five blocks of ProxylessNAS do together is 108 numbers, not 12,348.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.fitting.grid import MOST_ARCHITECTURES, GridFit, fit_grid
from latprof.predictors.fitting.grouped_ridge import robust_deviation
from latprof.predictors.fitting.neighbours import TogetherCosts

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Standard deviations by which the classes of a sequence have to differ more than by chance.
_TELLING = 4.0
#: Remainders beyond so many robust standard deviations count as if they were there.
_BOUND = 5.0
#: Folds of the predictions of rows left out.
_FOLDS = 16


@dataclass(frozen=True, eq=False, repr=False)
class SequenceFit(ShortRepr):
    """A fitted grid over classes, and the rows that it was fitted to: their numbers in the grid."""

    grid: GridFit
    numbers: Integers
    remainder_ms: Floats

    @cached_property
    def left_out(self) -> Floats:
        """Without the row itself, and a few others, shape (n,)."""
        return self.held_out(fold_numbers(len(self.numbers), _FOLDS))

    def held_out(self, folds: Integers) -> Floats:
        """Without the row's fold, shape (n,)."""
        return self.grid.held_out(self.numbers, self.remainder_ms, folds)

    def left_out_within(self, folds: Integers, fold: int) -> Floats:
        """Without this fold, shape (n,); rows share a class with so many that one does not tell."""
        found = self.grid.without(folds == fold, self.numbers, self.remainder_ms)
        predicted: Floats = found[self.numbers]
        return predicted


def fit_sequence(
    tables: SpaceTables, columns: Integers, remainder_ms: Floats
) -> TogetherCosts | None:
    """Fit the telling sequence to what an additive model leaves over of rows that it had not seen.

    Parameters
    ----------
    tables : SpaceTables
        Of a space whose parts are one decision each.
    columns : array of shape (n, parts)
    remainder_ms : array of shape (n,)

    Returns
    -------
    TogetherCosts, or None where no sequence differs by more than chance.
    """
    bound = _BOUND * robust_deviation(remainder_ms)
    remainder = np.clip(remainder_ms, -bound, bound)
    classes, sizes = _classes(tables)
    chosen, most = range(0), _TELLING
    for parts in _sequences(tables, sizes):
        numbers = _numbers(classes, sizes, columns, parts)
        differing = _differing(numbers, remainder)
        if differing > most:
            chosen, most = parts, differing
    if not chosen:
        return None
    numbers = _numbers(classes, sizes, columns, chosen)
    fit = SequenceFit(fit_grid(numbers, remainder, [sizes[p] for p in chosen]), numbers, remainder)
    pairs = [(tables.parts[p].decisions[0], classes[tables.parts[p].columns]) for p in chosen]
    table = fit.grid.mean_ms[np.ix_(*(of_candidates for _, of_candidates in pairs))]
    order = sorted(range(len(pairs)), key=lambda axis: pairs[axis][0])
    decisions = tuple(pairs[axis][0] for axis in order)
    return TogetherCosts(0.0, (Factor(decisions, table.transpose(order)),), fit)


def _classes(tables: SpaceTables) -> tuple[Integers, list[int]]:
    """The class of each column within its part, and how many each part has."""
    elements = np.array(
        [
            sum(op.activation_elements for block in blocks for op in block.operators())
            for blocks in tables.column_blocks
        ]
    )
    classes, sizes = np.zeros(len(elements), dtype=np.int64), []
    for part in range(len(tables.parts)):
        here = tables.column_parts == part
        found, classes[here] = np.unique(elements[here], return_inverse=True)
        sizes.append(len(found))
    return classes, sizes


def _sequences(tables: SpaceTables, sizes: list[int]) -> list[range]:
    """Each longest run of parts that is no part of a longer one and not too large a table."""
    found: list[range] = []
    for begin in range(len(sizes)):
        end, entries = begin, 1
        while end < len(sizes) and entries * len(tables.parts[end].columns) <= MOST_ARCHITECTURES:
            entries *= len(tables.parts[end].columns)
            end += 1
        if end - begin > 1 and not (found and found[-1].stop >= end):
            found.append(range(begin, end))
    return found


def _numbers(classes: Integers, sizes: list[int], columns: Integers, parts: range) -> Integers:
    """Number of each of n architectures in the grid over the classes of some parts, shape (n,)."""
    numbers = np.zeros(len(columns), dtype=np.int64)
    for part in parts:
        numbers = numbers * sizes[part] + classes[columns[:, part]]
    return numbers


def _differing(numbers: Integers, remainder: Floats) -> float:
    """By how many standard deviations the variance between cells is more than by chance."""
    counts = np.bincount(numbers)
    sums = np.bincount(numbers, remainder - remainder.mean())[counts > 0]
    freedom = len(sums) - 1
    variance = max(float(remainder.var()), 1e-300)
    between = float((sums**2 / counts[counts > 0]).sum()) / variance
    return (between - freedom) / math.sqrt(2 * max(freedom, 1))
