"""Children of architectures: mutations that draw decisions again, and crossover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace


def varied(
    space: SearchSpace,
    parents: Choices,
    n: int,
    generator: np.random.Generator,
    *,
    mutation_probability: float,
    crossover_share: float,
) -> Choices:
    """``n`` mutations and crossovers of the parents, canonical, shape (n, decisions).

    A crossover takes each decision from one of two parents; a mutation gives each decision of one
    parent another candidate with that probability, and at least one.
    """
    sizes = space.num_choices
    first = parents[generator.integers(len(parents), size=n)]
    second = parents[generator.integers(len(parents), size=n)]
    crossed = generator.random(n) < crossover_share
    mixed = np.where(generator.random(first.shape) < 0.5, first, second)
    changes = generator.random(first.shape) < mutation_probability
    changes[np.arange(n), generator.integers(len(sizes), size=n)] = True
    # Another candidate than the parent's, uniformly.
    shift = 1 + (generator.random(first.shape) * np.maximum(sizes - 1, 1)).astype(np.int64)
    other = (first + shift) % sizes
    mutated = np.where(changes, other, first)
    return space.canonical(np.where(crossed[:, None], mixed, mutated).astype(np.uint8))
