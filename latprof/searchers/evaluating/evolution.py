"""Evolution under a latency limit, as Once-for-All searches (Cai et al., ICLR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latprof.common.limits import NOT_NEGATIVE, SHARE, whole
from latprof.searchers.base import EvaluatingSearcher, Proposals, SearchProblem
from latprof.searchers.evaluating.rank_model import RankModel
from latprof.searchers.evaluating.variation import varied
from latprof.searchers.sampling import random_choices, sample_within

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices
    from latprof.searchers.base import Scores

#: Draws of one child before it is given up: the limit, or what was seen before, is in the way.
_TRIES = 50
#: The model chooses each child from so many, and all of them from so many strangers too.
_CANDIDATES, _STRANGERS = 60, 400


@dataclass(eq=False, repr=False)
class EvolutionSearch(EvaluatingSearcher):
    """Mutation and crossover of the best, every child within the limit before it is evaluated.

    Once-for-All's evolution (population, parents, mutation and crossover in equal shares) with
    changes for sources whose evaluations are expensive: what was evaluated stays in the race
    (parents are the best of all so far, not of one generation), no network is evaluated twice, and
    a model of the accuracies seen so far
    (:class:`~latprof.searchers.evaluating.rank_model.RankModel`) chooses which children are
    evaluated, among many of the parents' and random architectures; with ``model=False`` the first
    that are born are. A child whose every draw is known or over the limit is replaced by a random
    architecture.

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
    model : bool
    doubt : float
        Standard deviations of the model's prediction that are added to it, on average.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    """

    name = "evolution"
    limits: ClassVar = {
        **dict.fromkeys(("population", "parents", "children"), whole(1, 100_000)),
        **dict.fromkeys(("mutation_probability", "crossover_share"), SHARE),
        "doubt": NOT_NEGATIVE,
    }
    population: int = 20
    parents: int = 10
    children: int = 10
    mutation_probability: float = 0.15
    crossover_share: float = 0.3
    model: bool = True
    doubt: float = 3.0

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        scores = yield sample_within(problem, self.population, generator)
        seen = _by_row(scores)
        model = RankModel(problem.space) if self.model else None
        while True:
            # Sorted by accuracy alone: of equal ones the earlier stays in front.
            best = sorted(seen, key=lambda row: -seen[row])[: self.parents]
            parents = np.array([np.frombuffer(row, dtype=np.uint8) for row in best])
            if model is None:
                children = self._children(problem, parents, seen, generator)
            else:
                model.add(scores.choices, scores.accuracy)
                children = self._chosen(problem, parents, model, generator)
            scores = yield self._completed(problem, children, generator)
            seen |= _by_row(scores)

    def _chosen(
        self,
        problem: SearchProblem,
        parents: Choices,
        model: RankModel,
        generator: np.random.Generator,
    ) -> Choices:
        """The children that the model thinks most of, shape (at most children, decisions)."""
        strangers = random_choices(problem.space, _STRANGERS, generator)
        drawn = self._varied(problem, parents, _CANDIDATES * self.children, generator)
        candidates = model.unseen(np.concatenate([strangers, drawn]))
        if len(candidates):
            candidates = candidates[problem.keeps_limit(candidates)]
        return model.promising(candidates, self.children, self.doubt)

    def _children(
        self,
        problem: SearchProblem,
        parents: Choices,
        seen: dict[bytes, float],
        generator: np.random.Generator,
    ) -> Choices:
        """New architectures within the limit, shape (at most children, decisions)."""
        born: dict[bytes, Choices] = {}
        for _ in range(_TRIES):
            wanted = self.children - len(born)
            if wanted <= 0:
                break
            drawn = self._varied(problem, parents, 4 * wanted, generator)
            for row in drawn[problem.keeps_limit(drawn)]:
                if len(born) < self.children and row.tobytes() not in seen:
                    born.setdefault(row.tobytes(), row)
        return np.array(list(born.values()), dtype=np.uint8).reshape(-1, parents.shape[1])

    def _completed(
        self, problem: SearchProblem, children: Choices, generator: np.random.Generator
    ) -> Choices:
        """The children, and random architectures in the place of those that are missing."""
        missing = self.children - len(children)
        if not missing:
            return children
        return np.concatenate([children, sample_within(problem, missing, generator)])

    def _varied(
        self, problem: SearchProblem, parents: Choices, n: int, generator: np.random.Generator
    ) -> Choices:
        return varied(
            problem.space,
            parents,
            n,
            generator,
            mutation_probability=self.mutation_probability,
            crossover_share=self.crossover_share,
        )


def _by_row(scores: Scores) -> dict[bytes, float]:
    """Accuracies by the bytes of their architectures' choices."""
    rows = zip(scores.choices, scores.accuracy.tolist(), strict=True)
    return {row.tobytes(): accuracy for row, accuracy in rows}
