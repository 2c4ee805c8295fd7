"""A Gaussian process of the accuracies seen so far: which networks are worth an evaluation.

Accuracies are expensive and latencies cost nothing, so a search may think about what it proposes
(NSGANetV2, Lu et al., ECCV 2020). This model needs numpy alone, and milliseconds.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace

Floats: TypeAlias = NDArray[np.float64]

#: Candidates for how many decisions apart two networks tell nothing of each other, as shares of the
#: decisions; and for the share of the scores' variance that is the trainings' own noise.
_LENGTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
_NOISES = (0.01, 0.05, 0.2)
#: Rows that the two are chosen on, at most.
_TUNED_ON = 200
#: Rows of the model at most; beyond that the best and the latest of them, half each, are kept.
_MOST_ROWS, _KEPT_ROWS = 1200, 600
#: Rows of a triangular matrix that are multiplied at once.
_BLOCK = 128
#: For each network that is chosen so many are compared by mean and deviation, the others by mean.
_LOOKED_AT = 15


class RankModel:
    """A Gaussian process on decisions for the normal scores of the accuracies' ranks.

    Ranks are all that a search depends on, and networks that failed to train are no outliers there.
    The covariance of two networks falls with the number of decisions in which they differ,
    ``exp(-differences / length)``; length and noise are those of the largest marginal likelihood
    (Rasmussen and Williams 2006, chapter 5), chosen again whenever the rows have doubled.

    Parameters
    ----------
    space : SearchSpace
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._seen: set[bytes] = set()
        self._encoded = space.encode(np.empty((0, len(space.num_choices)), dtype=np.uint8))
        self._accuracy: Floats = np.empty(0)
        self._whitening: Floats = np.empty((0, 0))
        self._single = self._whitening.astype(np.float32)
        self._weights: Floats = np.empty(0)
        self._length, self._noise, self._scale = 1.0, _NOISES[0], 1.0
        self._tuned_rows = 0

    def __len__(self) -> int:
        """Rows that it has learnt from."""
        return len(self._accuracy)

    def unseen(self, choices: Choices) -> Choices:
        """The rows that it was never told of, each once, in their order."""
        return choices[self._fresh(choices)]

    def _fresh(self, choices: Choices) -> list[int]:
        """Where the rows that it was never told of come first."""
        first: dict[bytes, int] = {}
        for index, row in enumerate(choices):
            first.setdefault(row.tobytes(), index)
        return [index for key, index in first.items() if key not in self._seen]

    def add(self, choices: Choices, accuracy: Floats) -> None:
        """Learn from the accuracies, shape (n,), of canonical choices, shape (n, decisions)."""
        fresh = self._fresh(choices)
        if not fresh:
            return
        self._seen |= {choices[index].tobytes() for index in fresh}
        encoded = self._space.encode(choices[fresh])
        before = self._encoded
        self._encoded = np.concatenate([before, encoded])
        self._accuracy = np.concatenate([self._accuracy, accuracy[fresh]])
        if len(self) > _MOST_ROWS:
            self._trim()
        if len(self) >= 2 * self._tuned_rows or len(self._whitening) != len(before):
            self._tune()
            self._whitening = np.empty((0, 0))
            before, encoded = self._encoded[:0], self._encoded
        self._extend(before, encoded)
        self._single = self._whitening.astype(np.float32)
        scores = _normal_scores(self._accuracy)
        whitened = self._whitening @ scores
        self._weights = self._whitening.T @ whitened
        self._scale = max(float(whitened @ whitened) / len(scores), 1e-12)

    def predict(self, choices: Choices) -> tuple[Floats, Floats]:
        """Means and standard deviations of n networks' scores, shape (n,) each."""
        across = self._covariance(self._space.encode(choices), self._encoded)
        return across @ self._weights, self._deviations(across)

    def promising(self, choices: Choices, n: int, doubt: float) -> Choices:
        """``n`` of the rows that may be the most accurate ones, the first chosen first.

        Each is the row with the largest sum of mean and standard deviations, of which the first
        counts next to none and the last several: ``doubt`` on average, exponentially distributed.
        """
        if len(choices) <= n:
            return choices
        across = self._covariance(self._space.encode(choices), self._encoded)
        mean = across @ self._weights
        # Deviations take the most time, and what is far behind is not chosen for its own.
        front = np.sort(np.argsort(-mean, kind="stable")[: _LOOKED_AT * n])
        choices, mean, deviation = choices[front], mean[front], self._deviations(across[front])
        left = np.ones(len(choices), dtype=np.bool_)
        chosen = []
        for number in range(n):
            weight = -doubt * np.log1p(-(number + 0.5) / n)
            best = int(np.argmax(np.where(left, mean + weight * deviation, -np.inf)))
            left[best] = False
            chosen.append(best)
        return choices[chosen]

    # Helpers -------------------------------------------------------------------------------

    def _deviations(self, across: Floats) -> Floats:
        # In single precision: far more exact than the model is, and twice as fast. The matrix is
        # triangular: each block of its rows is multiplied up to its own end.
        single, rows = across.astype(np.float32), len(self._single)
        explained = np.zeros(len(across))
        for begin in range(0, rows, _BLOCK):
            end = min(begin + _BLOCK, rows)
            whitened = single[:, :end] @ self._single[begin:end, :end].T
            explained += np.square(whitened).sum(axis=1)
        deviations: Floats = np.sqrt(self._scale * np.maximum(1.0 - explained, 0.0))
        return deviations

    def _covariance(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> Floats:
        """Covariances, shape (n, m), of one-hot rows; a decision that only one has counts half."""
        return _similarity(one, other, self._length)

    def _trim(self) -> None:
        """Keep the most accurate rows and the latest."""
        latest = len(self) - _KEPT_ROWS // 2
        best = np.argsort(-self._accuracy[:latest], kind="stable")[: _KEPT_ROWS // 2]
        kept = np.concatenate([np.sort(best), np.arange(latest, len(self))])
        self._encoded, self._accuracy = self._encoded[kept], self._accuracy[kept]
        self._tuned_rows = 0

    def _tune(self) -> None:
        """Choose length and noise on rows spread over all."""
        self._tuned_rows = len(self)
        rows = np.unique(np.linspace(0, len(self) - 1, min(len(self), _TUNED_ON)).astype(np.int64))
        encoded, scores = self._encoded[rows], _normal_scores(self._accuracy[rows])
        if not scores.any():
            return
        most = -np.inf
        for share in _LENGTHS:
            length = share * len(self._space.num_choices)
            covariance = _similarity(encoded, encoded, length)
            for noise in _NOISES:
                lower = np.linalg.cholesky(covariance + noise * np.eye(len(rows)))
                whitened = np.linalg.solve(lower, scores)
                scale = float(whitened @ whitened) / len(rows)
                likelihood = -0.5 * len(rows) * np.log(scale) - np.log(np.diagonal(lower)).sum()
                if likelihood > most:
                    most, self._length, self._noise = likelihood, length, noise

    def _extend(self, before: NDArray[np.float32], added: NDArray[np.float32]) -> None:
        """Add rows to the inverse of the Cholesky factor of the covariance, block by block."""
        across = self._whitening @ self._covariance(before, added)
        inside = self._covariance(added, added) + self._noise * np.eye(len(added))
        corner = np.linalg.inv(np.linalg.cholesky(inside - across.T @ across))
        side = -corner @ across.T @ self._whitening
        above = np.zeros((len(before), len(added)))
        self._whitening = np.block([[self._whitening, above], [side, corner]])


def _similarity(one: NDArray[np.float32], other: NDArray[np.float32], length: float) -> Floats:
    counts = (one.sum(axis=1)[:, None] + other.sum(axis=1)[None]) / 2
    differences = (counts - one @ other.T).astype(np.float64)
    similar: Floats = np.exp(-differences / length)
    return similar


def _normal_scores(values: Floats) -> Floats:
    """Standard normal quantiles of the ranks of n values, shape (n,); equal values share theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - counts / 2  # from a half to n less a half
    quantile = NormalDist().inv_cdf
    scores = np.array([quantile(float(rank) / len(values)) for rank in ranks])
    return scores[inverse.ravel()]
