"""Random search under a latency limit: the baseline of every search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.space import Architecture
    from latprof.predictors.base import Predictor


@dataclass(frozen=True)
class Found:
    """The best architecture of a search, and its trail.

    ``trail`` holds what was evaluated, in order: (architecture, accuracy, predicted latency in ms).
    """

    architecture: Architecture
    accuracy: float
    latency_ms: float
    trail: tuple[tuple[Architecture, float, float], ...]


def random_search(
    predictor: Predictor,
    accuracy: Callable[[list[Architecture]], NDArray[np.float64]],
    limit_ms: float,
    budget: int,
    seed: int = 0,
) -> Found:
    """Evaluate ``budget`` random architectures whose predicted latency keeps the limit.

    Parameters
    ----------
    predictor : Predictor
        Fitted; gives the space too.
    accuracy : callable
        From a list of n architectures to n accuracies; larger is better.
    limit_ms : float
        Largest predicted latency, in milliseconds.
    budget : int
        Architectures whose accuracy is asked for.
    seed : int

    Raises
    ------
    InvalidValueError
        When ``budget`` is below 1, or no sampled architecture keeps the limit.
    """
    if budget < 1:
        raise InvalidValueError("budget is too small", expected="at least 1", got=str(budget))
    space = predictor.space
    choices = space.sample_choices(20 * budget, seed)
    latency_ms = predictor.predict(choices)
    kept = np.flatnonzero(latency_ms <= limit_ms)[:budget]
    if not len(kept):
        raise InvalidValueError(
            f"none of {len(choices)} random architectures is predicted within {limit_ms:g} ms",
            got=f"{latency_ms.min():.3f} ms at best",
        )
    architectures = space.architectures(choices[kept])
    scores = np.asarray(accuracy(architectures), dtype=np.float64)
    trail = tuple(zip(architectures, scores.tolist(), latency_ms[kept].tolist(), strict=True))
    best = int(np.argmax(scores))
    return Found(*trail[best], trail=trail)
