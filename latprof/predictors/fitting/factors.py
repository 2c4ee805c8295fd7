"""Sums of tables over a few decisions each: what additive and interacting models predict with.

An additive model has one table a part; a model with interactions has more, of two decisions or of
all. Either way a latency is a gather and a sum, and its expectation over independent decisions is
exact: each table is contracted with the probabilities of its own decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields
    from latprof.predictors.features.block_features import SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Choices: TypeAlias = NDArray[np.uint8]
Integers: TypeAlias = NDArray[np.int64]

#: Architectures that are summed at once: their indices stay in the cache.
_CHUNK = 8192
#: Entries of a table joined over several factors, at most.
_JOINED_ENTRIES = 4096
#: Entries of a factor, at most, and of all factors of a model.
MOST_ENTRIES = 1 << 20
_MOST_FACTORS = 1500
_LARGEST_MS = 1e12


@dataclass(frozen=True, eq=False, repr=False)
class Factor(ShortRepr):
    """A table of milliseconds over the candidates of a few decisions.

    Parameters
    ----------
    decisions : tuple of int
        Ascending.
    table_ms : array with one axis a decision
        NaN where nothing is known.
    """

    decisions: tuple[int, ...]
    table_ms: Floats

    def spread_over(self, decisions: tuple[int, ...], sizes: Sequence[int]) -> Floats:
        """The same table over more decisions, which it does not depend on."""
        own = dict(zip(self.decisions, self.table_ms.shape, strict=True))
        table = self.table_ms.reshape([own.get(decision, 1) for decision in decisions])
        return np.broadcast_to(table, [sizes[decision] for decision in decisions])


@dataclass(frozen=True, eq=False, repr=False)
class FactorSum(ShortRepr):
    """Latency as ``intercept_ms`` plus one entry of each factor.

    Parameters
    ----------
    intercept_ms : float
    factors : sequence of Factor
    num_choices : sequence of int
        Candidates of each decision.
    """

    intercept_ms: float
    factors: Sequence[Factor]
    num_choices: Sequence[int]

    @cached_property
    def joined(self) -> list[tuple[tuple[int, ...], Floats]]:
        """Factors that follow one another joined into one table each: decisions, flat entries.

        A gather from one table of 7 x 7 x 7 x 7 is far cheaper than four from tables of 7.
        """
        joined: list[Factor] = []
        for factor in self.factors:
            if joined:
                union = tuple(sorted({*joined[-1].decisions, *factor.decisions}))
                size = math.prod(self.num_choices[decision] for decision in union)
                if size <= max(_JOINED_ENTRIES, joined[-1].table_ms.size, factor.table_ms.size):
                    both = (joined[-1], factor)
                    tables = [each.spread_over(union, self.num_choices) for each in both]
                    joined[-1] = Factor(union, tables[0] + tables[1])
                    continue
            joined.append(factor)
        return [(f.decisions, np.ascontiguousarray(f.table_ms).ravel()) for f in joined]

    def predict(self, choices: Choices) -> Floats:
        """Sum the entries of n architectures, shape (n,), in ms; NaN where one is not known."""
        latency = np.full(len(choices), self.intercept_ms)
        for begin in range(0, len(choices), _CHUNK):
            columns = choices[begin : begin + _CHUNK].T.astype(np.intp, order="C")
            total = latency[begin : begin + _CHUNK]
            for decisions, entries in self.joined:
                index = columns[decisions[0]]
                for decision in decisions[1:]:
                    index = index * self.num_choices[decision] + columns[decision]
                total += entries.take(index)
        return latency


@dataclass(frozen=True, eq=False, repr=False)
class AdditiveTable(ShortRepr):
    """Latency as ``intercept_ms`` plus one entry for each part of the space.

    Parameters
    ----------
    tables : SpaceTables
    intercept_ms : float
    entries_ms : array of shape (parts, combinations)
        By the number of the combination of the part's decisions; NaN where there is none, or
        no row had it. With parts of one decision: (decisions, candidates).
    """

    tables: SpaceTables
    intercept_ms: float
    entries_ms: Floats

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        """The table as one factor a part."""
        factors = []
        for part, row in zip(self.tables.parts, self.entries_ms, strict=True):
            order = np.argsort(part.decisions)
            table = row[: len(part.columns)].reshape(part.sizes).transpose(order)
            factors.append(Factor(tuple(sorted(part.decisions)), table))
        return tuple(factors)

    @cached_property
    def _sum(self) -> FactorSum:
        return FactorSum(self.intercept_ms, self.factors, self.tables.num_choices.tolist())

    def predict(self, choices: Choices) -> Floats:
        """Sum the entries of n architectures, shape (n,), in ms; NaN where one is not known."""
        return self._sum.predict(choices)

    def to_fields(self) -> dict[str, object]:
        """Return the table as plain values for JSON; NaN becomes null."""
        return {"intercept_ms": self.intercept_ms, "entries_ms": self.entries_ms}

    @classmethod
    def from_fields(
        cls, fields: Fields, tables: SpaceTables, *, whole: bool = True
    ) -> AdditiveTable:
        """Rebuild a table of a space; ``whole`` refuses one with entries missing.

        Raises PackError for another shape, or entries where the space has no candidate.
        """
        shape = (len(tables.parts), tables.most_combinations)
        entries = fields.array("entries_ms", shape, nullable=True)
        exists = np.isfinite(tables.padded(np.zeros(len(tables.column_parts))))
        known = np.isfinite(entries)
        if np.any(known & ~exists) or (whole and np.any(exists & ~known)):
            fields.wrong("entries_ms", "a number for each candidate of the space")
        if np.any(np.abs(entries[known]) > _LARGEST_MS):
            fields.wrong("entries_ms", "milliseconds")
        return cls(tables, fields.number("intercept_ms", -_LARGEST_MS, _LARGEST_MS), entries)


def factors_to_fields(factors: Sequence[Factor]) -> list[dict[str, object]]:
    """Return factors as plain values for JSON; candidates that cost the same are stored once."""
    found = []
    for factor in factors:
        fields: dict[str, object] = {"decisions": list(factor.decisions)}
        classes, table = _classes(factor.table_ms)
        if 2 * table.size <= factor.table_ms.size:
            fields["classes"] = [each.tolist() for each in classes]
        else:
            table = factor.table_ms
        found.append({**fields, "table_ms": table.ravel()})
    return found


def _classes(table: Floats) -> tuple[list[Integers], Floats]:
    """For each axis the class of each candidate, those of one class being equal, and their table.

    ``table`` is what they have together: it has an entry for each combination of classes.
    """
    classes = []
    for axis in range(table.ndim):
        slices = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)
        _, first, which = np.unique(slices, axis=0, return_index=True, return_inverse=True)
        classes.append(which.ravel().astype(np.int64))
        table = table.take(first, axis)
    return classes, table


def factors_from_fields(fields: Fields, name: str, tables: SpaceTables) -> tuple[Factor, ...]:
    """Rebuild factors of a space; raises PackError for anything that is none."""
    factors, total = [], 0
    # A table for each part, and as many others as the limit says.
    for each in fields.objects(name, _MOST_FACTORS + len(tables.parts)):
        decisions = tuple(each.integers("decisions", None, 0, len(tables.num_choices) - 1).tolist())
        if not decisions or list(decisions) != sorted(set(decisions)):
            each.wrong("decisions", "ascending numbers of decisions")
        sizes = [int(tables.num_choices[decision]) for decision in decisions]
        total += math.prod(sizes)
        if total > MOST_ENTRIES:
            each.wrong("decisions", f"at most {MOST_ENTRIES:,} entries")
        classes = _classes_from_fields(each, sizes)
        shape = [int(of.max()) + 1 for of in classes]
        table = each.array("table_ms", (math.prod(shape),))
        if np.any(np.abs(table) > _LARGEST_MS):
            each.wrong("table_ms", "milliseconds")
        factors.append(Factor(decisions, table.reshape(shape)[np.ix_(*classes)]))
    return tuple(factors)


def _classes_from_fields(fields: Fields, sizes: Sequence[int]) -> list[Integers]:
    """The class of each candidate, one of its own where the file states none."""
    if "classes" not in fields.values:
        return [np.arange(size) for size in sizes]
    stated = fields.values["classes"]
    if not isinstance(stated, list) or len(stated) != len(sizes):
        fields.wrong("classes", "a list for each decision")
    return [
        replace(fields, values={"classes": of}).integers("classes", size, 0, size - 1)
        for of, size in zip(stated, sizes, strict=True)
    ]
