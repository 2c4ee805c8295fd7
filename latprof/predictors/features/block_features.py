"""What the parts of a search space cost, as tables that whole batches are looked up in.

A space's network is a sum of parts (:attr:`~latprof.datasets.spaces.base.SearchSpace.parts`), each
fixed by a few decisions: one in most spaces, four for a layer of Once-for-All (resolution, depth,
kernel, expansion). Every combination of a part's decisions is a row of the tables here, called a
*column* after the columns of a one-hot encoding; they run part after part. The tables are computed
once from :meth:`~latprof.datasets.spaces.base.SearchSpace.part_blocks`, and a batch of
architectures is a gather.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError
from latprof.predictors.features.decision_features import DecisionFeatures

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from latprof.datasets.models.layers import Block
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.graph.operators import Operator

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Choices: TypeAlias = NDArray[np.uint8]
Blocks: TypeAlias = "tuple[Block, ...]"

#: Tables by description of their space, the latest last; they are made once and read only.
_CACHE: dict[str, SpaceTables] = {}
_CACHE_SIZE = 16
#: Combinations of one part's decisions, at most.
_MOST_COMBINATIONS = 1 << 16
#: Blocks of all combinations together, at most: three times those of the largest published space.
_MOST_BLOCKS = 100_000
#: Architectures that are gathered at once: their values stay in the cache.
_CHUNK = 1024


@dataclass(frozen=True, repr=False)
class PartTable(ShortRepr):
    """Which column each combination of a part's decisions has.

    Parameters
    ----------
    name : str
    decisions : tuple of int
    sizes : tuple of int
        Candidates of each of these decisions.
    columns : array of shape (product of sizes,)
        Column of each combination, the last decision varying fastest. Combinations whose blocks are
        the same share one.
    """

    name: str
    decisions: tuple[int, ...]
    sizes: tuple[int, ...]
    columns: Integers

    @cached_property
    def strides(self) -> Integers:
        """What a decision's index is multiplied with to number the combinations."""
        return np.array([math.prod(self.sizes[i + 1 :]) for i in range(len(self.sizes))])

    def combinations(self, choices: Choices) -> Integers:
        """The combination that each of n architectures has, shape (n,)."""
        number: Integers = choices[:, self.decisions[0]].astype(np.int64) * self.strides[0]
        for decision, stride in zip(self.decisions[1:], self.strides[1:], strict=True):
            number += choices[:, decision] * stride
        return number


@dataclass(frozen=True, eq=False, repr=False)
class SpaceTables(ShortRepr):
    """The parts of a search space and what is known of them before any measurement.

    Parameters
    ----------
    num_choices : array of shape (decisions,)
    parts : tuple of PartTable
    column_blocks : tuple of tuple of Block
        The blocks of each column; none for the zero operation.
    column_parts : array of shape (columns,)
        The part of each column.
    decisions : DecisionFeatures
        The decisions as trees see them.
    """

    num_choices: Integers
    parts: tuple[PartTable, ...]
    column_blocks: tuple[Blocks, ...]
    column_parts: Integers
    decisions: DecisionFeatures

    @cached_property
    def zero_columns(self) -> NDArray[np.bool_]:
        """Which columns are the zero operation: they cost nothing, by construction. (columns,)."""
        return np.array([not _operators(blocks) for blocks in self.column_blocks])

    @cached_property
    def part_sizes(self) -> Integers:
        """Number of columns of each part, shape (parts,)."""
        return np.bincount(self.column_parts, minlength=len(self.parts))

    @property
    def one_decision_parts(self) -> bool:
        """Whether every part is one decision, so that columns are candidates."""
        return all(len(part.decisions) == 1 for part in self.parts)

    @cached_property
    def most_combinations(self) -> int:
        """Combinations of the part that has most."""
        return max(len(part.columns) for part in self.parts)

    def columns(self, choices: Choices) -> Integers:
        """The columns of n architectures, shape (n, parts)."""
        return np.stack([part.columns[part.combinations(choices)] for part in self.parts], axis=1)

    def sums(self, columns: Integers, table: Floats) -> Floats:
        """Sum rows of ``table``, shape (all columns, q), over the parts: shape (n, q)."""
        total = np.zeros((len(columns), table.shape[1]))
        for begin in range(0, len(columns), _CHUNK):
            chunk = total[begin : begin + _CHUNK]
            for part in range(columns.shape[1]):
                chunk += table[columns[begin : begin + _CHUNK, part]]
        return total

    @cached_property
    def main_effects(self) -> Floats:
        """One-hot encoding of each part's decisions, shape (columns, q).

        With parts of one decision this is the identity. A column that stands for several candidates
        of a decision (a layer is the same whatever its stage's depth, once it is there) has none of
        them; the zero operation has none at all where a part has several decisions.
        """
        if self.one_decision_parts:
            return np.eye(len(self.column_parts))
        effects = []
        for part in self.parts:
            numbers = np.unravel_index(np.arange(len(part.columns)), part.sizes)
            for number, size in zip(numbers, part.sizes, strict=True):
                table = np.zeros((len(self.column_parts), size))
                table[part.columns, number] = 1.0
                table[(table.sum(axis=1) > 1) | self.zero_columns] = 0.0
                effects.append(table[:, table.any(axis=0)])
        return np.hstack(effects)

    def one_hot(self, columns: Integers) -> csr_array:
        """One-hot encode columns of n architectures, sparse, shape (n, all columns)."""
        from scipy.sparse import coo_array

        n, parts = columns.shape
        places = (np.repeat(np.arange(n), parts), columns.ravel())
        return coo_array((np.ones(n * parts), places), (n, len(self.column_parts))).tocsr()

    def counts(self, columns: Integers) -> Integers:
        """How many of n architectures have each column, shape (all columns,)."""
        return np.bincount(columns.ravel(), minlength=len(self.column_parts))

    def padded(self, values: Floats) -> Floats:
        """Arrange values of columns, shape (columns,), as (parts, combinations).

        Where a part has fewer combinations than another the table holds NaN.
        """
        table = np.full((len(self.parts), self.most_combinations), np.nan)
        for row, part in zip(table, self.parts, strict=True):
            row[: len(part.columns)] = values[part.columns]
        return table

    # Shape totals: what the additive models know before they see a row -----------------------

    @cached_property
    def _distinct_operators(self) -> tuple[tuple[Operator, ...], Integers, Integers]:
        """One operator of each kind and shape, and where they are: columns, and numbers there."""
        numbers: dict[object, int] = {}
        distinct: list[Operator] = []
        rows, items = [], []
        for row, blocks in enumerate(self.column_blocks):
            for op in _operators(blocks):
                shape = (op.kind, op.input_shapes, op.output_shapes, op.weight_shape, op.stride)
                number = numbers.setdefault(shape, len(distinct))
                if number == len(distinct):
                    distinct.append(op)
                rows.append(row)
                items.append(number)
        return tuple(distinct), np.array(rows, dtype=np.int64), np.array(items, dtype=np.int64)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators that the space's blocks are made of, one of each kind and shape."""
        return self._distinct_operators[0]

    @cached_property
    def operator_counts(self) -> csr_array:
        """How many of each of these a column's blocks have, sparse, (columns, operators)."""
        from scipy.sparse import coo_array  # not needed to predict

        distinct, rows, items = self._distinct_operators
        shape = (len(self.column_blocks), len(distinct))
        counts = coo_array((np.ones(len(rows)), (rows, items)), shape=shape)
        return counts.tocsr()  # which sums what is there twice

    @cached_property
    def _operator_totals(self) -> tuple[tuple[str, ...], Floats]:
        kinds = np.array([op.kind for op in self.operators])
        groups = np.array([kind_group(kind) for kind in kinds.tolist()])
        macs = np.array([op.macs for op in self.operators], dtype=float)
        elements = np.array([op.activation_elements for op in self.operators], dtype=float)
        named = {f"macs {kind}": macs * (kinds == kind) for kind in sorted(set(kinds.tolist()))}
        for group in dict.fromkeys(map(kind_group, sorted(set(kinds.tolist())))):
            named[f"elements {group}"] = elements * (groups == group)
            named[f"operators {group}"] = np.where(groups == group, 1.0, 0.0)
        named["weights"] = np.array(
            [math.prod(op.weight_shape) if op.weight_shape else 0.0 for op in self.operators]
        )
        kept = [name for name, values in named.items() if np.any(values != 0)]
        table = np.array([named[name] for name in kept]).reshape(len(kept), len(self.operators)).T
        return tuple(kept), table

    @property
    def total_names(self) -> tuple[str, ...]:
        """Names of the shape totals, for example ``"macs depthwise3x3"``."""
        return self._operator_totals[0]

    @property
    def operator_totals(self) -> Floats:
        """Shape totals of each of :attr:`operators` alone, shape (operators, totals)."""
        return self._operator_totals[1]

    @cached_property
    def totals(self) -> Floats:
        """Shape totals of each column's blocks, shape (columns, totals).

        Multiply-accumulates by kind of operator, elements read and written and number of operators
        by group of kinds, and weights; summed over an architecture's parts they are its totals.
        """
        _, rows, items = self._distinct_operators
        totals: Floats = np.zeros((len(self.column_blocks), len(self.total_names)))
        np.add.at(totals, rows, self.operator_totals[items])  # whole numbers: exact in any order
        return totals

    @cached_property
    def total_deviations(self) -> Floats:
        """Standard deviation of each shape total over uniformly sampled parts, shape (totals,)."""
        variances = np.zeros(self.totals.shape[1])
        for part in self.parts:
            variances += self.totals[part.columns].var(axis=0)
        return np.sqrt(variances)


def space_tables(space: SearchSpace) -> SpaceTables:
    """The tables of a space, made on the first call for its description and then kept.

    Raises InvalidValueError for a space with a part of too many combinations, or too many blocks.
    """
    key = f"{type(space).__module__}.{type(space).__qualname__} {space.description}"
    tables = _CACHE.get(key)
    if tables is None:
        tables = _make_tables(space)
        _CACHE[key] = tables
        while len(_CACHE) > _CACHE_SIZE:
            _CACHE.pop(next(iter(_CACHE)))
    return tables


def _make_tables(space: SearchSpace) -> SpaceTables:
    parts: list[PartTable] = []
    column_blocks: list[Blocks] = []
    column_parts: list[int] = []
    count = 0
    for number, part in enumerate(space.parts):
        sizes = tuple(int(space.num_choices[decision]) for decision in part.decisions)
        if math.prod(sizes) > _MOST_COMBINATIONS:
            raise InvalidValueError(
                f"part {part.name} of space {space.name} has too many combinations",
                expected=f"at most {_MOST_COMBINATIONS:,}",
                got=f"{math.prod(sizes):,}",
            )
        seen: dict[object, int] = {}
        columns = []
        for local in itertools.product(*map(range, sizes)):
            blocks = space.part_blocks(number, local)
            count += len(blocks)
            if count > _MOST_BLOCKS:
                raise InvalidValueError(
                    f"space {space.name} has too many blocks", expected=f"at most {_MOST_BLOCKS:,}"
                )
            # Candidates of one decision stay apart even where their shapes are the same.
            identity = local if len(sizes) == 1 else tuple((b.choice, b.key) for b in blocks)
            if identity not in seen:
                seen[identity] = len(column_blocks)
                column_blocks.append(blocks)
                column_parts.append(number)
            columns.append(seen[identity])
        parts.append(PartTable(part.name, tuple(part.decisions), sizes, np.array(columns)))
    candidates = [
        [column_blocks[column] for column in part.columns] if len(part.decisions) == 1 else None
        for part in parts
    ]
    by_decision = {
        part.decisions[0]: blocks for part, blocks in zip(parts, candidates, strict=True) if blocks
    }
    return SpaceTables(
        num_choices=space.num_choices,
        parts=tuple(parts),
        column_blocks=tuple(column_blocks),
        column_parts=np.array(column_parts),
        decisions=DecisionFeatures(space.num_choices, by_decision),
    )


def _operators(blocks: Blocks) -> tuple[Operator, ...]:
    return tuple(op for block in blocks for op in block.operators())


def kind_group(kind: str) -> str:
    """Kinds that move data alike: all depthwise convolutions, all others, each other kind.

    Those of another precision (``"conv1x1 int8"``) are groups of their own.
    """
    for group in ("depthwise", "grouped", "conv"):
        if kind.startswith(group):
            return " ".join([group, *kind.split()[1:]])
    return kind
