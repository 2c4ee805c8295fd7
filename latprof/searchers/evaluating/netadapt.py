"""NetAdapt (Yang et al., ECCV 2018) as MobileNetV3 used it: shrink a network step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latprof.common.limits import INNER_SHARE, Limit
from latprof.searchers.base import EvaluatingSearcher, Proposals, SearchProblem
from latprof.searchers.evaluating.rank_model import RankModel
from latprof.searchers.sampling import neighbours, random_choices

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, Choices
    from latprof.searchers.base import Scores

#: Proposals of two changes that are looked at, at most.
_MOST_PAIRS = 20_000
#: Proposals a step in spaces of fewer decisions.
_LEAST_PROPOSALS = 6
#: Deviations of the model that are added to its means, on average.
_DOUBT = 2.0
#: The best so many networks are grown again; every so many descents begin anywhere.
_PARENTS, _FROM_ANYWHERE = 10, 5


@dataclass(eq=False, repr=False)
class NetAdaptSearch(EvaluatingSearcher):
    """From a large network down to the limit, at each step by the change that costs least accuracy.

    Every proposal of a step must cut latency by at least ``step`` of the seed's; the one with the
    largest ratio of accuracy change to latency cut is kept (MobileNetV3, section 4.2), until the
    limit holds. Where no single change cuts enough two are made at once. As in the paper there is
    about one proposal for each layer: of all changes those are evaluated that a model of the
    accuracies seen so far
    (:class:`~latprof.searchers.evaluating.rank_model.RankModel`) thinks most of.

    With budget left, which the papers do not have, it goes down again: from one of the best
    networks within the limit, grown by random changes until it is above it, and now and then from
    another random network.

    Parameters
    ----------
    step : float
        Share of the seed's latency; 0.01 in MobileNetV3.
    proposals : int, optional
        At most so many new networks a step; unless given as many as there are decisions.
    seed_architecture : Architecture, optional
        Where it starts; unless given, the slowest network that single changes lead to.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    """

    name = "netadapt"
    limits: ClassVar = {
        "step": INNER_SHARE,
        "proposals": Limit(1, 100_000, whole=True, optional=True),
    }
    step: float = 0.01
    proposals: int | None = None
    seed_architecture: Architecture | None = None

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        if self.seed_architecture is None:
            start = _slowest(problem, random_choices(problem.space, 1, generator)[0])
        else:
            start = problem.space.choices([self.seed_architecture])[0]
        memory = _Memory(problem)
        for descent in itertools.count(1):
            yield from self._down(problem, start, memory, generator)
            parent = memory.parent(generator) if descent % _FROM_ANYWHERE else None
            grown = None if parent is None else _grown(problem, parent, generator)
            if grown is None:
                anywhere = random_choices(problem.space, 1, generator)[0]
                grown = _slowest(problem, anywhere, climbs=2)
            start = grown

    def _down(
        self,
        problem: SearchProblem,
        start: Choices,
        memory: _Memory,
        generator: np.random.Generator,
    ) -> Proposals:
        """Shrink one network until it keeps the limit."""
        scores = yield start[None]
        memory.add(scores)
        network, accuracy = start, float(scores.accuracy[0])
        latency = float(scores.bound_ms[0])
        cut = self.step * latency
        while latency > problem.limit_ms:
            smaller = self._proposals(problem, network, latency - cut, memory, generator)
            if not len(smaller):
                return
            scores = yield smaller
            memory.add(scores)
            ratios = (scores.accuracy - accuracy) / (latency - scores.bound_ms)
            best = int(np.argmax(ratios))
            network, accuracy = scores.choices[best], float(scores.accuracy[best])
            latency = float(scores.bound_ms[best])

    def _proposals(
        self,
        problem: SearchProblem,
        network: Choices,
        most_ms: float,
        memory: _Memory,
        generator: np.random.Generator,
    ) -> Choices:
        """Networks a change away (else two) that take at most so long, shape (n, decisions).

        All whose accuracy is known, and of the others the most promising.
        """
        for found in (
            neighbours(problem.space, network),
            _two_changes(problem, network, generator),
        ):
            kept = found[problem.bound_ms(found) <= most_ms]
            if len(kept):
                break
        most = self.proposals or max(_LEAST_PROPOSALS, len(problem.space.num_choices))
        new = memory.model.unseen(kept)
        known = {row.tobytes() for row in kept} - {row.tobytes() for row in new}
        told = kept[[row.tobytes() in known for row in kept]]
        if len(memory.model) < _LEAST_PROPOSALS:  # nothing is known: the smallest steps first
            new = new[np.argsort(-problem.bound_ms(new), kind="stable")][:most]
        return np.concatenate([memory.model.promising(new, most, _DOUBT), told])


class _Memory:
    """What a search knows: a model of the accuracies, and the best networks within the limit."""

    def __init__(self, problem: SearchProblem) -> None:
        self.model = RankModel(problem.space)
        self._problem = problem
        self._best: list[tuple[float, bytes]] = []

    def add(self, scores: Scores) -> None:
        """Learn what was told, networks told before included."""
        self.model.add(scores.choices, scores.accuracy)
        for row, accuracy, kept in zip(
            scores.choices,
            scores.accuracy.tolist(),
            self._problem.keeps_limit(scores.choices).tolist(),
            strict=True,
        ):
            entry = (-accuracy, row.tobytes())
            if kept and entry not in self._best:
                self._best.append(entry)
        self._best = sorted(self._best)[:_PARENTS]

    def parent(self, generator: np.random.Generator) -> Choices | None:
        """One of the best networks within the limit, or None where none was found."""
        if not self._best:
            return None
        _, row = self._best[int(generator.integers(len(self._best)))]
        return np.frombuffer(row, dtype=np.uint8)


def _grown(
    problem: SearchProblem, network: Choices, generator: np.random.Generator
) -> Choices | None:
    """Change random decisions to slower candidates until the limit is exceeded; None where not."""
    bound = float(problem.bound_ms(network[None])[0])
    while bound <= problem.limit_ms:
        around = neighbours(problem.space, network)
        bounds = problem.bound_ms(around)
        slower = np.flatnonzero(bounds > bound)
        if not len(slower):
            return None
        chosen = slower[int(generator.integers(len(slower)))]
        network, bound = around[chosen], float(bounds[chosen])
    return network


def _two_changes(
    problem: SearchProblem, network: Choices, generator: np.random.Generator
) -> Choices:
    """Networks that differ in two decisions; some of them where they are many."""
    changes = [
        (decision, choice)
        for decision, size in enumerate(problem.space.num_choices.tolist())
        for choice in range(size)
        if choice != network[decision]
    ]
    pairs = np.array(list(itertools.combinations(range(len(changes)), 2)), dtype=np.int64)
    if not len(pairs):  # of a space with at most one change
        return network[None][:0]
    if len(pairs) > _MOST_PAIRS:
        pairs = pairs[generator.permutation(len(pairs))[:_MOST_PAIRS]]
    rows = np.repeat(network[None], len(pairs), axis=0)
    table = np.array(changes)
    for column in (0, 1):
        decision, choice = table[pairs[:, column]].T
        rows[np.arange(len(rows)), decision] = choice
    rows = np.unique(problem.space.canonical(rows), axis=0)
    others: Choices = rows[(rows != network).any(axis=1) & problem.space.allowed(rows)]
    return others


def _slowest(problem: SearchProblem, network: Choices, climbs: int | None = None) -> Choices:
    """Climb to slower neighbours, to the end, or a few steps beyond the limit."""
    latency = float(problem.bound_ms(network[None])[0])
    beyond = 0
    while climbs is None or beyond < climbs:
        around = neighbours(problem.space, network)
        latencies = problem.bound_ms(around)
        best = int(np.argmax(latencies)) if len(latencies) else -1
        if best < 0 or latencies[best] <= latency:
            break
        network, latency = around[best], float(latencies[best])
        beyond += latency > problem.limit_ms
    return network
