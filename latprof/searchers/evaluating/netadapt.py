"""NetAdapt (Yang et al., ECCV 2018) as MobileNetV3 used it: shrink a network step by step."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from latprof.common.limits import INNER_SHARE, Limit
from latprof.searchers.base import (
    EvaluatingSearcher,
    Proposals,
    SearchProblem,
    neighbours,
    random_choices,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, Choices

#: Proposals of two changes that are looked at, at most.
_MOST_PAIRS = 20_000


@dataclass(eq=False, repr=False)
class NetAdaptSearch(EvaluatingSearcher):
    """From a large network down to the limit, at each step by the change that costs least accuracy.

    Every proposal of a step must cut latency by at least ``step`` of the seed's; the one with the
    largest ratio of accuracy change to latency cut is kept (MobileNetV3, section 4.2), until the
    limit holds. Where no single change cuts enough two are made at once. With budget left it starts
    again from a random network above the limit, which the papers do not.

    Parameters
    ----------
    step : float
        Share of the seed's latency; 0.01 in MobileNetV3.
    proposals : int, optional
        At most so many a step, drawn from those that cut enough; all of them unless given.
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
        while True:
            yield from self._down(problem, start, generator)
            start = _slowest(problem, random_choices(problem.space, 1, generator)[0], climbs=2)

    def _down(
        self, problem: SearchProblem, start: Choices, generator: np.random.Generator
    ) -> Proposals:
        """Shrink one network until it keeps the limit."""
        scores = yield start[None]
        network, accuracy = start, float(scores.accuracy[0])
        latency = float(scores.bound_ms[0])
        cut = self.step * latency
        while latency > problem.limit_ms:
            smaller = self._proposals(problem, network, latency - cut, generator)
            if not len(smaller):
                return
            scores = yield smaller
            ratios = (scores.accuracy - accuracy) / (latency - scores.bound_ms)
            best = int(np.argmax(ratios))
            network, accuracy = scores.choices[best], float(scores.accuracy[best])
            latency = float(scores.bound_ms[best])

    def _proposals(
        self,
        problem: SearchProblem,
        network: Choices,
        most_ms: float,
        generator: np.random.Generator,
    ) -> Choices:
        """Networks a change away (else two) that take at most so long, shape (n, decisions)."""
        for found in (
            neighbours(problem.space, network),
            _two_changes(problem, network, generator),
        ):
            kept = found[problem.bound_ms(found) <= most_ms]
            if len(kept):
                break
        if self.proposals is not None and len(kept) > self.proposals:
            kept = kept[generator.permutation(len(kept))[: self.proposals]]
        return kept


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
    pairs = np.array(list(itertools.combinations(range(len(changes)), 2)))
    if len(pairs) > _MOST_PAIRS:
        pairs = pairs[generator.permutation(len(pairs))[:_MOST_PAIRS]]
    rows = np.repeat(network[None], len(pairs), axis=0)
    table = np.array(changes)
    for column in (0, 1):
        decision, choice = table[pairs[:, column]].T
        rows[np.arange(len(rows)), decision] = choice
    rows = np.unique(problem.space.canonical(rows), axis=0)
    others: Choices = rows[(rows != network).any(axis=1)]
    return others


def _slowest(problem: SearchProblem, network: Choices, climbs: int | None = None) -> Choices:
    """Climb to slower neighbours, to the end, or a few steps beyond the limit."""
    latency = float(problem.bound_ms(network[None])[0])
    beyond = 0
    while climbs is None or beyond < climbs:
        around = neighbours(problem.space, network)
        latencies = problem.bound_ms(around)
        best = int(np.argmax(latencies))
        if latencies[best] <= latency:
            break
        network, latency = around[best], float(latencies[best])
        beyond += latency > problem.limit_ms
    return network
