"""Evolution under a latency limit, as Once-for-All searches (Cai et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latprof.common.limits import SHARE, whole
from latprof.searchers.base import EvaluatingSearcher, Proposals, SearchProblem, sample_within

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices
    from latprof.searchers.base import Scores

#: Draws of one child before it is given up: the limit, or what was seen before, is in the way.
_TRIES = 50


@dataclass(eq=False, repr=False)
class EvolutionSearch(EvaluatingSearcher):
    """Mutation and crossover of the best, every child within the limit before it is evaluated.

    Once-for-All's evolution (population, parents, mutation and crossover in equal shares) with two
    changes, both for sources whose evaluations are expensive: what was evaluated stays in the race
    (parents are the best of all so far, not of one generation), and no network is evaluated twice.
    A child whose every draw is known or over the limit is replaced by a random architecture.

    Parameters
    ----------
    population : int
        Random architectures at the start.
    parents : int
        How many of the best so far have children.
    children : int
        Evaluated between two choices of parents.
    mutation_probability : float
        Of each decision of a mutated child; at least one changes.
    crossover_share : float
        Share of the children that take each decision from one of two parents.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    """

    name = "evolution"
    limits: ClassVar = {
        **dict.fromkeys(("population", "parents", "children"), whole(1, 100_000)),
        **dict.fromkeys(("mutation_probability", "crossover_share"), SHARE),
    }
    population: int = 20
    parents: int = 10
    children: int = 10
    mutation_probability: float = 0.15
    crossover_share: float = 0.3

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        scores = yield sample_within(problem, self.population, generator)
        seen = _by_row(scores)
        while True:
            # Sorted by accuracy alone: of equal ones the earlier stays in front.
            best = sorted(seen, key=lambda row: -seen[row])[: self.parents]
            parents = np.array([np.frombuffer(row, dtype=np.uint8) for row in best])
            scores = yield self._children(problem, parents, seen, generator)
            seen |= _by_row(scores)

    def _children(
        self,
        problem: SearchProblem,
        parents: Choices,
        seen: dict[bytes, float],
        generator: np.random.Generator,
    ) -> Choices:
        """New architectures within the limit, shape (children, decisions)."""
        born: dict[bytes, Choices] = {}
        for _ in range(_TRIES):
            wanted = self.children - len(born)
            if wanted <= 0:
                break
            drawn = problem.space.canonical(self._varied(problem, parents, 4 * wanted, generator))
            for row in drawn[problem.keeps_limit(drawn)]:
                if len(born) < self.children and row.tobytes() not in seen:
                    born.setdefault(row.tobytes(), row)
        if len(born) < self.children:
            strangers = sample_within(problem, self.children - len(born), generator)
            return np.concatenate([*(row[None] for row in born.values()), strangers])
        return np.array(list(born.values()))

    def _varied(
        self,
        problem: SearchProblem,
        parents: Choices,
        n: int,
        generator: np.random.Generator,
    ) -> Choices:
        """``n`` mutations and crossovers of the parents, shape (n, decisions)."""
        sizes = problem.space.num_choices
        first = parents[generator.integers(len(parents), size=n)]
        second = parents[generator.integers(len(parents), size=n)]
        crossed = generator.random(n) < self.crossover_share
        mixed = np.where(generator.random(first.shape) < 0.5, first, second)
        changes = generator.random(first.shape) < self.mutation_probability
        changes[np.arange(n), generator.integers(len(sizes), size=n)] = True
        # Another candidate than the parent's, uniformly.
        shift = 1 + (generator.random(first.shape) * np.maximum(sizes - 1, 1)).astype(np.int64)
        other = (first + shift) % sizes
        mutated = np.where(changes, other, first)
        return np.where(crossed[:, None], mixed, mutated).astype(np.uint8)


def _by_row(scores: Scores) -> dict[bytes, float]:
    """Accuracies by the bytes of their architectures' choices."""
    rows = zip(scores.choices, scores.accuracy.tolist(), strict=True)
    return {row.tobytes(): accuracy for row, accuracy in rows}
