"""Decisions as trees see them: a few numbers for each candidate of each decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

if TYPE_CHECKING:
    from latprof.datasets.models.layers import Block

Integers: TypeAlias = NDArray[np.int64]
Choices: TypeAlias = NDArray[np.uint8]

#: Features of a candidate's block, in the order of :func:`_block_features`, and one more.
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


@dataclass(frozen=True, eq=False, repr=False)
class DecisionFeatures(ShortRepr):
    """Features of the latency model of ProxylessNAS (appendix B), each of one decision.

    For a decision that alone fixes blocks: the operator's type, input and output size and channels,
    kernel, stride, expansion and groups; what does not vary is left out. For any other decision
    (resolution, depth...) the candidate's index.

    Parameters
    ----------
    num_choices : array of shape (decisions,)
    blocks : mapping of int to sequence of tuple of Block
        For decisions that alone fix a part: the blocks of each candidate.
    """

    num_choices: Integers
    blocks: Mapping[int, Sequence[tuple[Block, ...]]]

    @cached_property
    def starts(self) -> Integers:
        """First candidate of each decision in a list of all, shape (decisions,)."""
        return np.concatenate([[0], np.cumsum(self.num_choices)[:-1]]).astype(np.int64)

    @cached_property
    def owners(self) -> Integers:
        """The decision of each candidate in a list of all, shape (candidates,)."""
        return np.repeat(np.arange(len(self.num_choices)), self.num_choices)

    @cached_property
    def _table(self) -> tuple[tuple[str, ...], Integers, NDArray[np.float32]]:
        """Names, decisions and values by candidate of the features; see the properties."""
        first = [row[0] for rows in self.blocks.values() for row in rows if row]
        types = {operator_type(block) for block in first if block.operators()}
        codes = {name: code for code, name in enumerate(sorted(types), start=1)}
        names: list[str] = []
        decisions: list[int] = []
        columns = []
        longest = int(self.num_choices.max())
        for decision, number in enumerate(self.num_choices.tolist()):
            rows = self.blocks.get(decision)
            index = np.arange(number, dtype=np.float32)
            if rows is None or not all(rows):
                label, values = f"decision{decision}", index[:, None]
                kept = [(label, values[:, 0])] if number > 1 else []
            else:
                kept = _varying([row[0] for row in rows], codes, index)
            for label, column in kept:
                names.append(label)
                decisions.append(decision)
                columns.append(np.pad(column, (0, longest - number)))
        table = np.array(columns, dtype=np.float32).reshape(-1, longest).T
        return tuple(names), np.array(decisions, dtype=np.int64), np.ascontiguousarray(table)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, for example ``"stage1.block0.kernel"``."""
        return self._table[0]

    @property
    def decisions(self) -> Integers:
        """The decision that each feature belongs to, shape (features,)."""
        return self._table[1]

    @property
    def values(self) -> NDArray[np.float32]:
        """Value of each feature under each candidate, shape (candidates, features)."""
        return self._table[2]

    def encode(self, choices: Choices) -> NDArray[np.float32]:
        """Features of n architectures, shape (n, features)."""
        return self.values[choices[:, self.decisions], np.arange(len(self.decisions))]


def _varying(
    blocks: Sequence[Block], codes: Mapping[str, int], index: NDArray[np.float32]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Names and values of the features that distinguish the candidates of a decision."""
    values = np.array([_block_features(block, codes) for block in blocks], dtype=np.float32)
    if len(set(map(tuple, values.tolist()))) < len(blocks):  # where features do not differ
        values = np.column_stack([values, index])
    # One of each; np.unique would import masked arrays, a tenth of a cold start.
    first: dict[tuple[float, ...], int] = {}
    for feature, column in enumerate(values.T.tolist()):
        first.setdefault(tuple(column), feature)
    return [
        (f"{blocks[0].name}.{_FEATURES[feature]}", values[:, feature])
        for feature in first.values()
        if np.ptp(values[:, feature]) > 0
    ]


def _block_features(block: Block, codes: Mapping[str, int]) -> tuple[float, ...]:
    return (
        codes.get(operator_type(block), 0),
        block.in_size,
        block.out_size,
        block.in_channels,
        block.out_channels,
        block.kernel,
        block.stride,
        block.expansion,
        convolution_groups(block),
    )


def operator_type(block: Block) -> str:
    """The candidate's name, or one name for all mobile inverted blocks of a precision."""
    name = "expanded_conv" if block.expansion else block.choice
    return name if block.precision == "float32" else f"{name} {block.precision}"


def convolution_groups(block: Block) -> int:
    """Most groups of a block's convolutions, depthwise ones not counted; 0 without layers."""
    convolutions = [op for op in block.operators() if op.op_type == "Conv"]
    return max((op.groups for op in convolutions if not op.kind.startswith("depthwise")), default=0)
