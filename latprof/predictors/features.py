"""What the blocks of a search space cost, as tables that whole batches are looked up in.

Every quantity here belongs to one candidate at one position, so the tables are computed once from
:meth:`~latprof.datasets.space.SearchSpace.blocks`, and a batch of architectures is a gather. Rows
of the tables, called *columns* after the columns of the one-hot encoding, run decision after
decision in the order of :meth:`~latprof.datasets.space.SearchSpace.encode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.layers import Block
from latprof.datasets.space import Architecture, SearchSpace
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

Floats: TypeAlias = NDArray[np.float64]
Choices: TypeAlias = NDArray[np.uint8]
Blocks: TypeAlias = tuple[tuple[Block, ...], ...]

#: Tables by description of their space, the latest last; they are made once and read only.
_CACHE: dict[str, SpaceTables] = {}
_CACHE_SIZE = 16


@dataclass(frozen=True, eq=False)
class SpaceTables:
    """The candidates' blocks of a search space and what is known of them before any measurement.

    Parameters
    ----------
    num_choices : array of shape (positions,)
    blocks : tuple of tuple of Block
        ``blocks[p][c]`` is candidate c at position p.
    """

    num_choices: NDArray[np.int64]
    blocks: Blocks

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """First column of each position, shape (positions,)."""
        return np.concatenate([[0], np.cumsum(self.num_choices)[:-1]]).astype(np.int64)

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Position of each column, shape (columns,)."""
        return np.repeat(np.arange(len(self.num_choices)), self.num_choices)

    @cached_property
    def column_blocks(self) -> tuple[Block, ...]:
        """The block of each column."""
        return tuple(block for row in self.blocks for block in row)

    @cached_property
    def zero_columns(self) -> NDArray[np.bool_]:
        """Which columns are the zero operation: they cost nothing, by construction. (columns,)."""
        return np.array([not block.operators() for block in self.column_blocks])

    def padded(self, values: Floats) -> Floats:
        """Arrange values of columns, shape (columns,), as (positions, candidates).

        Where a position has fewer candidates than another the table holds NaN.
        """
        table = np.full((len(self.num_choices), int(self.num_choices.max())), np.nan)
        table[self.positions, np.arange(len(values)) - self.starts[self.positions]] = values
        return table

    # Block features: the inputs of the trees ------------------------------------------------

    @cached_property
    def _features(self) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.float32]]:
        """Names, positions and values by candidate of the block features; see the properties."""
        types = {_operator_type(block) for block in self.column_blocks if block.operators()}
        codes = {name: code for code, name in enumerate(sorted(types), start=1)}
        names, positions, columns = [], [], []
        longest = int(self.num_choices.max())
        for position, row in enumerate(self.blocks):
            values = np.array([_block_features(block, codes) for block in row], dtype=np.float32)
            if len(np.unique(values, axis=0)) < len(row):  # features that tell nothing apart
                values = np.column_stack([values, np.arange(len(row), dtype=np.float32)])
            _, first = np.unique(values, axis=1, return_index=True)
            for feature in sorted(first):
                if np.ptp(values[:, feature]) > 0:
                    names.append(f"{row[0].name}.{_FEATURES[feature]}")
                    positions.append(position)
                    columns.append(np.pad(values[:, feature], (0, longest - len(row))))
        table = np.array(columns, dtype=np.float32).reshape(-1, longest).T
        return tuple(names), np.array(positions, dtype=np.int64), np.ascontiguousarray(table)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the block features, for example ``"stage1.block0.kernel"``."""
        return self._features[0]

    @property
    def feature_positions(self) -> NDArray[np.int64]:
        """The position that each block feature belongs to, shape (features,)."""
        return self._features[1]

    @property
    def feature_values(self) -> NDArray[np.float32]:
        """Value of each block feature under each candidate, shape (candidates, features)."""
        return self._features[2]

    def features(self, choices: Choices) -> NDArray[np.float32]:
        """Features of the latency model of ProxylessNAS (appendix B), shape (n, features).

        For each position the operator's type, input and output size and channels, kernel, stride,
        expansion and groups; what does not vary at a position is left out.
        """
        positions = self.feature_positions
        return self.feature_values[choices[:, positions], np.arange(len(positions))]

    # Shape totals: what the additive models know before they see a row -----------------------

    @cached_property
    def _totals(self) -> tuple[tuple[str, ...], Floats]:
        blocks = [block.operators() for block in self.column_blocks]
        kinds = sorted({op.kind for operators in blocks for op in operators})
        named: dict[str, Callable[[Operator], int]] = {}
        for kind in kinds:
            named[f"macs {kind}"] = lambda op, kind=kind: op.macs * (op.kind == kind)  # type: ignore[misc]
        for group in dict.fromkeys(map(_kind_group, kinds)):
            named[f"elements {group}"] = lambda op, group=group: (  # type: ignore[misc]
                op.activation_elements * (_kind_group(op.kind) == group)
            )
            named[f"operators {group}"] = lambda op, group=group: _kind_group(op.kind) == group  # type: ignore[misc]
        named["weights"] = lambda op: math.prod(op.weight_shape) if op.weight_shape else 0
        table = np.array(
            [
                [sum(count(op) for op in operators) for count in named.values()]
                for operators in blocks
            ],
            dtype=np.float64,
        )
        kept = np.flatnonzero(np.any(table != 0, axis=0))
        return tuple(np.array(list(named))[kept].tolist()), table[:, kept]

    @property
    def total_names(self) -> tuple[str, ...]:
        """Names of the shape totals, for example ``"macs depthwise3x3"``."""
        return self._totals[0]

    @property
    def totals(self) -> Floats:
        """Shape totals of each column's block, shape (columns, totals).

        Multiply-accumulates by kind of operator, elements read and written and number of operators
        by group of kinds, and weights; summed over an architecture's blocks they are its totals.
        """
        return self._totals[1]

    # One-hot choices ---------------------------------------------------------------------

    def one_hot(self, choices: Choices) -> Floats:
        """One-hot encode, shape (n, columns)."""
        encoded = np.zeros((len(choices), len(self.positions)))
        np.put_along_axis(encoded, self.starts + choices, 1.0, axis=1)
        return encoded


def space_tables(space: SearchSpace) -> SpaceTables:
    """The tables of a space, made on the first call for its description and then kept.

    Raises InvalidValueError for a space in which a position's block cannot be told by its choice.
    """
    key = f"{type(space).__module__}.{type(space).__qualname__} {space.description}"
    tables = _CACHE.get(key)
    if tables is None:
        tables = SpaceTables(np.array(space.num_choices, dtype=np.int64), _candidate_blocks(space))
        while len(_CACHE) >= _CACHE_SIZE:
            _CACHE.pop(next(iter(_CACHE)), None)
        _CACHE[key] = tables
    return tables


def _candidate_blocks(space: SearchSpace) -> Blocks:
    """Blocks of every candidate, from architectures that vary one position at a time."""
    counts = [int(count) for count in space.num_choices]
    found: list[tuple[Block, ...]] = []
    for position, count in enumerate(counts):
        row = []
        for choice in range(count):
            choices = [0] * len(counts)
            choices[position] = choice
            blocks = space.blocks(Architecture(space.name, tuple(choices)))
            here = [block for block in blocks if block.position == position]
            if len(here) != 1:
                raise InvalidValueError(
                    f"space {space.name} lists {len(here)} blocks for decision {position}",
                    expected="one",
                )
            row.append(here[0])
        found.append(tuple(row))
    return tuple(found)


#: Features of a block, in the order of :func:`_block_features`, and one more.
_FEATURES = (
    "type",
    "in_size",
    "out_size",
    "in_channels",
    "out_channels",
    "kernel",
    "stride",
    "expansion",
    "groups",
    "candidate",  # the index itself, used only where the others cannot tell two candidates apart
)


def convolution_groups(block: Block) -> int:
    """Most groups of a block's convolutions, depthwise ones not counted; 0 without layers."""
    return max((x.groups for x in block.layers if not 1 < x.groups == x.in_channels), default=0)


def _operator_type(block: Block) -> str:
    return "expanded_conv" if block.expansion else block.choice


def _block_features(block: Block, codes: dict[str, int]) -> tuple[float, ...]:
    return (
        codes.get(_operator_type(block), 0),
        block.in_size,
        block.out_size,
        block.in_channels,
        block.out_channels,
        block.kernel,
        block.stride,
        block.expansion,
        convolution_groups(block),
    )


def _kind_group(kind: str) -> str:
    """Kinds that move data alike: all depthwise convolutions, all others, each other kind."""
    for group in ("depthwise", "grouped", "conv"):
        if kind.startswith(group):
            return group
    return kind
