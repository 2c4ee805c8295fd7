"""What two blocks that follow one another cost together beyond what each costs.

A block finds its input in a cache or not, and in the memory layout that it works in or not: what
stands before it decides. So there is a table for each two neighbouring parts of a space. A priori
the entries of such a table vary as products of the two blocks' own costs do: their covariance is
the Kronecker product of the two parts' own, each about its mean, so that a table says nothing that
its parts' tables say. A ridge on the leading directions of these is the posterior mean.

A runtime lays all activations into one arena, too: whether the buffers of the blocks before are
found there, still in a cache, depends on their sizes, whatever the kernels are. So candidates of a
part count as one class where their activations have as many elements, and a grid over the classes
of a few parts in a row is fitted with all its interactions (:mod:`grid`). Being classes, they are
few: what five blocks of ProxylessNAS do together is 108 numbers, not 12,348.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.fitting.grid import MOST_ARCHITECTURES, GridFit, fit_grid
from latprof.predictors.fitting.grouped_ridge import (
    fit_grouped,
    fit_robust_grouped,
    robust_deviation,
)

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import SpaceTables
    from latprof.predictors.fitting.block_prior import Prior

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Coefficients of all tables together, at most.
_MOST_COEFFICIENTS = 1000
#: Standard deviations by which the classes of a sequence have to differ more than by chance.
_TELLING = 4.0
#: Remainders beyond so many robust standard deviations count as if they were there.
_BOUND = 5.0
#: Folds of the predictions of rows left out.
_FOLDS = 16


class LeftOut(Protocol):
    """What a fit predicts for its rows without them, in ms."""

    @property
    def left_out(self) -> Floats:
        """Without the row itself, shape (n,)."""

    def held_out(self, folds: Integers) -> Floats:
        """Without the row's fold, shape (n,)."""

    def left_out_within(self, folds: Integers, fold: int) -> Floats:
        """Without this fold and the row itself, shape (n,)."""


@dataclass(frozen=True, eq=False, repr=False)
class TogetherCosts(ShortRepr):
    """Fitted tables of parts that follow one another, in ms.

    Parameters
    ----------
    level_ms : float
        What is added to every architecture.
    factors : tuple of Factor
    fit : LeftOut
        What it comes from; what it predicts without rows is what the tables without them add.
    """

    level_ms: float
    factors: tuple[Factor, ...]
    fit: LeftOut


def fit_neighbours(
    prior: Prior, columns: Integers, remainder_ms: Floats, *, robust: bool
) -> TogetherCosts:
    """Fit the tables to what an additive model leaves over of n rows that it had not seen.

    Parameters
    ----------
    prior : Prior
        That of the additive model, of a space whose parts are one decision each.
    columns : array of shape (n, parts)
    remainder_ms : array of shape (n,)
    robust : bool
        Whether the fit is robust to outliers.
    """
    tables = prior.tables
    roots = _roots(prior, int(math.sqrt(_MOST_COEFFICIENTS / max(len(tables.parts) - 1, 1))))
    features = [
        (first[of_first][:, :, None] * second[of_second][:, None, :]).reshape(len(columns), -1)
        for first, second, of_first, of_second in zip(
            roots, roots[1:], columns.T, columns.T[1:], strict=False
        )
    ]
    none, joined = np.empty((len(columns), 0)), np.hstack(features)
    fit = fit_grouped(none, joined, remainder_ms)
    if robust:
        fit = fit_robust_grouped(none, joined, remainder_ms, fit)
    ends = np.cumsum([each.shape[1] for each in features])[:-1]
    factors = []
    for number, coefficients in enumerate(np.split(fit.ridge.coefficients, ends)):
        pair = tables.parts[number : number + 2]
        first, second = (
            root[part.columns] for root, part in zip(roots[number:], pair, strict=False)
        )
        inner = coefficients.reshape(first.shape[1], second.shape[1])
        decisions = (pair[0].decisions[0], pair[1].decisions[0])
        table = first @ inner @ second.T
        ascending = decisions[0] < decisions[1]
        factors.append(
            Factor(decisions if ascending else decisions[::-1], table if ascending else table.T)
        )
    return TogetherCosts(fit.ridge.intercept, tuple(factors), fit)


def _roots(prior: Prior, most: int) -> list[Floats]:
    """For each part a root of its entries' covariance about their mean, (columns, up to most)."""
    tables = prior.tables
    scales = np.ones(prior.root.shape[1])
    scales[prior.shared :] = prior.weight
    roots = []
    for part in range(len(tables.parts)):
        here = np.flatnonzero(tables.column_parts == part)
        entries = prior.root[here] * scales
        entries = entries - entries.mean(axis=0)
        values, vectors = np.linalg.eigh(entries @ entries.T)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
        kept = values > 1e-9 * max(float(values.max(initial=0.0)), 1e-300)
        root = np.zeros((len(tables.column_parts), int(kept.sum())))
        root[here] = vectors[:, kept] * np.sqrt(values[kept])
        roots.append(root)
    return roots


# Sizes of blocks in a row ----------------------------------------------------------------------


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
