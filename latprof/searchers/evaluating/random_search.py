"""Random search under a latency limit: the baseline of every search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.searchers.base import EvaluatingSearcher, Proposals, SearchProblem
from latprof.searchers.sampling import sample_within

if TYPE_CHECKING:
    import numpy as np

_BATCH = 64


class RandomSearch(EvaluatingSearcher):
    """Evaluates random architectures that keep the limit; decisions are drawn uniformly."""

    name = "random"

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        while True:
            yield sample_within(problem, _BATCH, generator)
