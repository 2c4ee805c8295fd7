"""A small problem whose optimum is known: NAS-Bench-Macro's space with made-up numbers."""

import numpy as np

from latprof.datasets.spaces.named import get_space
from latprof.searchers import LatencyTable, SearchProblem

SPACE = get_space("nasbench-macro")
ALL = SPACE.sample_choices(SPACE.num_architectures)
#: Milliseconds of the candidates of each layer: later layers cost less.
COSTS = np.outer(np.linspace(2.0, 0.5, 8), [0.0, 0.4, 1.0])


def latencies(choices):
    return 1.0 + COSTS[np.arange(8), choices].sum(axis=1)


def accuracies(choices):
    """Later layers gain more, and neighbours that differ help."""
    gains = np.outer(np.linspace(0.5, 1.5, 8), [0.0, 0.8, 1.0])
    differ = (choices[:, 1:] != choices[:, :-1]).sum(axis=1)
    return 85.0 + gains[np.arange(8), choices].sum(axis=1) + 0.1 * differ


LATENCY = LatencyTable(SPACE, ALL, latencies(ALL))


class Accuracy:
    """The accuracy source; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, architectures):
        choices = SPACE.choices(list(architectures))
        self.asked += [a.choices for a in architectures]
        return accuracies(choices)


def problem(limit_ms=6.0, accuracy=None):
    return SearchProblem(LATENCY, accuracy or Accuracy(), limit_ms=limit_ms)


def optimum(limit_ms=6.0):
    return float(accuracies(ALL)[latencies(ALL) <= limit_ms].max())
