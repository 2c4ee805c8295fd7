"""Boosted trees over independent decisions, evaluated by bit masks, without a library.

A feature of :class:`~latprof.predictors.features.decision_features.DecisionFeatures` depends on one
choice. So each choice rules out a fixed set of a tree's leaves, and the leaf that an architecture
reaches is the only one that none of its choices rules out: the bitwise *and* of one mask a decision
(the idea of QuickScorer, Lucchese et al., SIGIR 2015). Trees are read as plain arrays and checked;
nothing of a file reaches a native parser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError, PackError

if TYPE_CHECKING:
    from latprof.common.checked_json import Fields
    from latprof.predictors.features.decision_features import DecisionFeatures

Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Integers: TypeAlias = NDArray[np.int64]
Choices: TypeAlias = NDArray[np.uint8]

#: Leaves that a mask can hold: trees are at most 6 deep.
MAX_LEAVES = 64
MAX_TREES = 20_000
#: Trees times candidates of all decisions, at most: each has a mask of up to 8 bytes.
_MOST_MASKS = 1 << 25
#: Nodes of all trees, at most: those of the largest fits of 16 devices.
_MOST_NODES = 1 << 21
_CHUNK_BYTES = 1 << 19
_EFFECTS_CHUNK = 4096


@dataclass(frozen=True, eq=False, repr=False)
class TreeEnsemble(ShortRepr):
    """A sum of regression trees: ``base_ms + sum over trees of the value of the leaf reached``.

    All trees' nodes lie one after the other, a tree's root first, parents before their children.

    Parameters
    ----------
    tables : SpaceTables
        Of the space whose features the trees split.
    base_ms : float
    sizes : array of shape (trees,)
        Number of nodes of each tree.
    feature : array of shape (nodes,)
        Index of the feature a node splits; -1 at a leaf.
    left, right : array of shape (nodes,)
        Child within the tree for a value below the threshold, and for the others; -1 at a leaf.
    value : array of shape (nodes,)
        The threshold, or a leaf's value in ms.
    """

    tables: DecisionFeatures
    base_ms: float
    sizes: Integers
    feature: Integers
    left: Integers
    right: Integers
    value: Singles

    def __len__(self) -> int:
        return len(self.sizes)

    @cached_property
    def _tree(self) -> Integers:
        """The tree of each node, shape (nodes,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def _starts(self) -> Integers:
        """The root of each tree, shape (trees,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    @cached_property
    def _leaves(self) -> tuple[Integers, Integers, Integers]:
        """Node, tree, and number within the tree of each leaf, all of shape (leaves,)."""
        leaves = np.flatnonzero(self.feature < 0)
        tree = self._tree[leaves]
        return leaves, tree, np.arange(len(leaves)) - np.searchsorted(tree, tree)

    def _leaves_below(self, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
        """The leaves below each node as bits, shape (nodes,)."""
        below = np.zeros(len(self.feature), dtype=dtype)
        leaves, _, number = self._leaves
        below[leaves] = np.left_shift(dtype(1), number.astype(dtype))
        levels = [self._starts[self.feature[self._starts] >= 0]]
        while len(levels[-1]):  # one level of all trees after the other
            first = self._starts[self._tree[levels[-1]]]
            children = [first + child[levels[-1]] for child in (self.left, self.right)]
            nodes = np.concatenate(children)
            levels.append(nodes[self.feature[nodes] >= 0])
        for nodes in levels[::-1]:
            first = self._starts[self._tree[nodes]]
            below[nodes] = below[first + self.left[nodes]] | below[first + self.right[nodes]]
        return below

    @cached_property
    def _masks(self) -> NDArray[Any]:
        """The leaves that each column leaves open, as bits, shape (columns, trees).

        A split closes the leaves on one of its sides to each candidate of its decision.
        """
        tables = self.tables
        width = int(self._leaves[2].max(initial=0)) + 1
        dtype = next(
            t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if width <= 8 * t().nbytes
        )
        below = self._leaves_below(dtype)
        masks = np.tile(below[self._starts], (len(tables.owners), 1))
        splits = np.flatnonzero(self.feature >= 0)
        decision = tables.decisions[self.feature[splits]]
        for candidate in range(int(tables.num_choices.max())):
            has = tables.num_choices[decision] > candidate
            nodes, feature = splits[has], self.feature[splits[has]]
            first = self._starts[self._tree[nodes]]
            is_left = self.value[nodes] > tables.values[candidate, feature]
            closed = below[first + np.where(is_left, self.right[nodes], self.left[nodes])]
            columns = tables.starts[decision[has]] + candidate
            np.bitwise_and.at(masks, (columns, self._tree[nodes]), ~closed)
        return masks

    @cached_property
    def _compiled(self) -> tuple[list[tuple[int, NDArray[Any]]], Singles]:
        """Masks of the leaves left, by position and choice, and the leaves' values.

        For each position that matters an array of shape (candidates, trees), and values of shape
        (trees * leaves,).
        """
        masks = self._masks
        leaves, tree, number = self._leaves
        values = np.zeros((len(self.sizes), 8 * masks.dtype.itemsize), dtype=np.float32)
        values[tree, number] = self.value[leaves]
        by_position = [
            (position, np.ascontiguousarray(masks[self.tables.owners == position]))
            for position in range(len(self.tables.num_choices))
        ]
        full = np.bitwise_or.reduce(masks, axis=0)
        return [(p, m) for p, m in by_position if np.any(m != full)], values.ravel()

    def predict(self, choices: Choices) -> Floats:
        """Evaluate n architectures, shape (n,), in ms."""
        total = np.full(len(choices), self.base_ms)
        if not len(self.sizes) or not len(choices):
            return total
        masks, values = self._compiled
        if not masks:  # single leaves only
            return total + float(values.sum(dtype=np.float64))
        dtype = masks[0][1].dtype
        offsets = np.arange(len(self.sizes), dtype=np.int32) * (8 * dtype.itemsize)
        chunk = max(_CHUNK_BYTES // (len(self.sizes) * 4), 1)
        for begin in range(0, len(choices), chunk):
            rows = choices[begin : begin + chunk].astype(np.intp)
            alive = masks[0][1].take(rows[:, masks[0][0]], axis=0)
            other = np.empty_like(alive)
            for position, mask in masks[1:]:
                mask.take(rows[:, position], axis=0, out=other, mode="clip")
                np.bitwise_and(alive, other, out=alive)
            reached = values.take(_bit_index(alive) + offsets)
            total[begin : begin + chunk] += reached.sum(axis=1)
        return total

    def effects(self) -> tuple[float, Floats, Floats]:
        """Analysis of variance of the sum over uniform, independent decisions, in ms.

        Returns the mean, what each candidate adds to it, shape (candidates of all decisions,), and
        what each pair of candidates of two decisions adds beyond, symmetric, 0 within a decision.
        Exact: a leaf is reached where each choice is among those that lead to it.
        """
        owners, sizes = self.tables.owners, self.tables.num_choices
        total = len(owners)
        level, singles, pairs = 0.0, np.zeros(total), np.zeros((total, total))
        leaves, trees, numbers = self._leaves
        for begin in range(0, len(leaves), _EFFECTS_CHUNK):
            here = slice(begin, begin + _EFFECTS_CHUNK)
            number = numbers[here].astype(self._masks.dtype)
            is_open = self._masks[:, trees[here]] >> number & self._masks.dtype.type(1)
            open_ = np.ascontiguousarray(is_open.T, dtype=np.float64)
            share = np.add.reduceat(open_, self.tables.starts, axis=1) / sizes
            weight = self.value[leaves[here]] * share.prod(axis=1)
            # Given a choice that leads there a leaf is as much more likely.
            given = open_ / np.maximum(share, 1e-300)[:, owners]
            level += float(weight.sum())
            singles += weight @ given
            pairs += given.T @ (weight[:, None] * given)
        pairs += level - singles[:, None] - singles
        pairs[owners[:, None] == owners] = 0.0
        return self.base_ms + level, singles - level, pairs

    def to_fields(self) -> dict[str, object]:
        """Return the trees as plain values for JSON, numbers in their shortest form.

        Raises InvalidValueError for more trees than would be read again.
        """
        if limit := _limit_passed(self.sizes, self.tables):
            raise InvalidValueError("too many trees for a pack", expected=limit)
        return {
            "base_ms": self.base_ms,
            "sizes": self.sizes,
            "feature": self.feature,
            "left": self.left,
            "right": self.right,
            "value": [float(str(value)) for value in self.value],
            "feature_names": list(self.tables.names),
        }

    @classmethod
    def from_fields(cls, fields: Fields, tables: DecisionFeatures) -> TreeEnsemble:
        """Rebuild trees of a space; raises PackError for anything that is no forest."""
        if fields.texts("feature_names") != tables.names:
            raise PackError(f"{fields.what}: the trees split features that the space does not have")
        sizes = fields.integers("sizes", None, 1, 2 * MAX_LEAVES - 1)
        if limit := _limit_passed(sizes, tables):
            fields.wrong("sizes", limit)
        nodes = int(sizes.sum())
        feature = fields.integers("feature", nodes, -1, len(tables.names) - 1)
        left = fields.integers("left", nodes, -1, 2 * MAX_LEAVES)
        right = fields.integers("right", nodes, -1, 2 * MAX_LEAVES)
        value = fields.array("value", (nodes,))
        if np.any(np.abs(value) > 1e12):
            fields.wrong("value", "milliseconds and thresholds")
        _check_forest(fields, sizes, feature, left, right)
        base = fields.number("base_ms", -1e12, 1e12)
        return cls(tables, base, sizes, feature, left, right, value.astype(np.float32))

    @classmethod
    def from_xgboost(
        cls, model: bytes | bytearray, tables: DecisionFeatures, *, base_ms: float, scale_ms: float
    ) -> TreeEnsemble:
        """Read a booster of our own from XGBoost's JSON form.

        It was fitted on ``tables.features`` to (latency - ``base_ms``) / ``scale_ms``, with base
        score 0.
        """
        trees = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
        split = [np.array(t["left_children"], dtype=np.int64) >= 0 for t in trees]

        def joined(name: str, where: list[NDArray[np.bool_]]) -> Integers:
            parts = [np.where(s, t[name], -1) for t, s in zip(trees, where, strict=True)]
            return np.concatenate([*parts, np.empty(0)]).astype(np.int64)

        # At a leaf XGBoost keeps the value, learning rate included, where a node has its threshold.
        scale = np.float32(scale_ms)
        values = [
            np.where(s, t["split_conditions"], scale * np.array(t["split_conditions"], np.float32))
            for t, s in zip(trees, split, strict=True)
        ]
        return cls(
            tables,
            base_ms,
            np.array([len(s) for s in split], dtype=np.int64),
            joined("split_indices", split),
            joined("left_children", split),
            joined("right_children", split),
            np.concatenate([*values, np.empty(0)]).astype(np.float32),
        )

    @classmethod
    def empty(cls, tables: DecisionFeatures, base_ms: float = 0.0) -> TreeEnsemble:
        """No trees: ``base_ms`` for every architecture."""
        none = np.empty(0, dtype=np.int64)
        return cls(tables, base_ms, none, none, none, none, np.empty(0, dtype=np.float32))


def _bit_index(masks: NDArray[Any]) -> NDArray[np.int32]:
    """Index of the one bit that is set in each mask."""
    if masks.dtype.itemsize <= 2:
        return _BIT_INDEX.take(masks)
    # A power of two as a double is its exponent alone.
    exponents = masks.astype(np.float64).view(np.int64) >> 52
    index: NDArray[np.int32] = (exponents - 1023).astype(np.int32)
    return index


#: Index of the highest set bit of every 16-bit number (0 for 0).
_BIT_INDEX = (np.frexp(np.arange(1 << 16, dtype=np.float64))[1] - 1).clip(0).astype(np.int32)


def _limit_passed(sizes: Integers, tables: DecisionFeatures) -> str | None:
    """The limit that trees of these sizes pass, as a text; None where they pass none."""
    if len(sizes) > MAX_TREES:
        return f"at most {MAX_TREES:,} trees"
    if len(sizes) * len(tables.owners) > _MOST_MASKS:
        return f"at most {_MOST_MASKS // len(tables.owners)} trees in this space"
    return f"at most {_MOST_NODES:,} nodes" if sizes.sum() > _MOST_NODES else None


def _check_forest(
    fields: Fields, sizes: Integers, feature: Integers, left: Integers, right: Integers
) -> None:
    """Refuse nodes without both children, loops, nodes with two parents, and too many leaves."""
    tree = np.repeat(np.arange(len(sizes)), sizes)
    local = np.arange(len(feature)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    split = feature >= 0
    leaf_wrong = ~split & ((left != -1) | (right != -1))
    child_wrong = split & (
        (left <= local) | (right <= local) | (left >= sizes[tree]) | (right >= sizes[tree])
    )
    if np.any(leaf_wrong | child_wrong):
        fields.wrong("left", "children behind their parent and inside the tree")
    starts = np.cumsum(sizes) - sizes
    children = np.concatenate([(starts[tree] + c)[split] for c in (left, right)])
    parents = np.bincount(children, minlength=len(feature))
    if np.any(parents != (local > 0)):
        fields.wrong("left", "one parent for each node but the roots")
    if len(sizes) and np.bincount(tree[~split]).max() > MAX_LEAVES:
        fields.wrong("sizes", f"trees of at most {MAX_LEAVES} leaves")
