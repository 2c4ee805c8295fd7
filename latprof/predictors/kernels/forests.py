"""Regression forests over plain features, evaluated without a library.

Trees are stored as complete ones of one depth, so that every row goes down all of its trees in as
many steps as they are deep, each step one gather over all pairs of a row and a tree. Trees of
several models lie in one forest: each row names its first tree. Arrays of a file are checked;
nothing of it reaches a native parser.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.errors import PackError

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_MOST_TREES = 100_000
_MOST_DEPTH = 10
#: Pairs of a row and a tree that are evaluated at once.
_CHUNK_PAIRS = 1 << 20


@dataclass(frozen=True, eq=False, repr=False)
class Forest(ShortRepr):
    """Complete trees of one depth d.

    Parameters
    ----------
    feature : array of shape (trees, 2**d - 1), uint8
        What a node splits, a tree's root first, the children of node i at 2i + 1 and 2i + 2.
    threshold : array of shape (trees, 2**d - 1), float32
        Values below it go left.
    leaves : array of shape (trees, 2**d), float16
    """

    feature: NDArray[np.uint8]
    threshold: NDArray[np.float32]
    leaves: NDArray[np.float16]

    @property
    def depth(self) -> int:
        """Steps from the root to a leaf."""
        return int(self.leaves.shape[1]).bit_length() - 1

    def __len__(self) -> int:
        return len(self.leaves)

    def sums(self, rows: Floats, first: Integers, count: int) -> Floats:
        """What ``count`` trees from ``first`` on add up to for each row, shape (n,).

        Parameters
        ----------
        rows : array of shape (n, features)
        first : integer array of shape (n,)
            Number of each row's first tree.
        count : int
            Trees of a row.
        """
        values = rows.astype(np.float32)
        if len(self) < 1 or not count:
            return np.zeros(len(rows))
        step = max(_CHUNK_PAIRS // count, 1)
        parts = [
            self._sums(values[i : i + step], first[i : i + step], count)
            for i in range(0, len(rows), step)
        ]
        return np.concatenate([*parts, np.empty(0)])

    def _sums(self, rows: NDArray[np.float32], first: Integers, count: int) -> Floats:
        inner = self.feature.shape[1]
        tree = first[:, None] + np.arange(count)
        base = tree * inner
        of_row = np.arange(len(rows))[:, None] * rows.shape[1]
        features, thresholds, values = (
            self.feature.ravel(),
            self.threshold.ravel(),
            np.ascontiguousarray(rows).ravel(),
        )
        node = np.zeros_like(tree)
        for _ in range(self.depth):
            at = base + node
            right = values.take(of_row + features.take(at)) >= thresholds.take(at)
            node += node + 1 + right
        at = tree * (inner + 1) + (node - inner)
        sums: Floats = self.leaves.ravel().take(at).sum(axis=1, dtype=np.float64)
        return sums

    @classmethod
    def of_xgboost(cls, model: bytes | bytearray, depth: int) -> Forest:
        """Trees of a booster in XGBoost's JSON form, none deeper than ``depth``."""
        trees = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
        inner = 2**depth - 1
        feature = np.zeros((len(trees), inner), dtype=np.uint8)
        threshold = np.full((len(trees), inner), -np.inf, dtype=np.float32)
        leaves = np.zeros((len(trees), inner + 1), dtype=np.float16)
        for number, tree in enumerate(trees):
            _fill(tree, feature[number], threshold[number], leaves[number])
        return cls(feature, threshold, leaves)

    @classmethod
    def joined(cls, forests: Sequence[Forest]) -> Forest:
        """The trees of several forests of one depth, one after the other."""
        return cls(
            np.concatenate([f.feature for f in forests]),
            np.concatenate([f.threshold for f in forests]),
            np.concatenate([f.leaves for f in forests]),
        )

    def to_bytes(self) -> bytes:
        """Return the arrays in NumPy's own format, one after the other."""
        buffer = io.BytesIO()
        for array in (self.feature, self.threshold, self.leaves):
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, features: int) -> Forest:
        """Rebuild a forest over so many features; raises PackError for anything else."""
        buffer = io.BytesIO(content)
        try:
            arrays: list[NDArray[Any]] = [
                np.lib.format.read_array(buffer, allow_pickle=False) for _ in range(3)
            ]
        except (ValueError, EOFError, OSError, MemoryError, OverflowError, SyntaxError) as error:
            raise PackError(f"kernel trees are malformed: {str(error)[:200]}") from None
        feature, threshold, leaves = arrays
        wrong = (
            [a.dtype for a in arrays] != [np.uint8, np.float32, np.float16]
            or any(a.ndim != 2 for a in arrays)
            or feature.shape != threshold.shape
            or leaves.shape != (feature.shape[0], feature.shape[1] + 1)
            or leaves.shape[1] & (leaves.shape[1] - 1) != 0
            or leaves.shape[1] > 2**_MOST_DEPTH
            or len(leaves) > _MOST_TREES
            or buffer.read(1) != b""
        )
        if wrong or (feature.size and feature.max() >= features):
            raise PackError("kernel trees are malformed", expected="complete trees")
        if not np.isfinite(leaves).all() or np.isnan(threshold).any():
            raise PackError("kernel trees hold values that are no numbers")
        return cls(feature, threshold, leaves)


def _fill(
    tree: dict[str, Any],
    feature: NDArray[np.uint8],
    threshold: NDArray[np.float32],
    leaves: NDArray[np.float16],
) -> None:
    """One tree of XGBoost into a complete one: below a leaf all go right, to its value."""
    left, right = tree["left_children"], tree["right_children"]
    split, values = tree["split_indices"], tree["split_conditions"]
    inner = len(feature)
    waiting = [(0, 0)]
    while waiting:
        source, at = waiting.pop()
        if left[source] >= 0:
            feature[at], threshold[at] = split[source], values[source]
            waiting += [(left[source], 2 * at + 1), (right[source], 2 * at + 2)]
            continue
        while at < inner:
            at = 2 * at + 2
        leaves[at - inner] = values[source]
