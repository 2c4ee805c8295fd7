"""The known problem of latprof.testing, by the short names of these tests."""

from latprof.testing.problems import COSTS_MS as COSTS
from latprof.testing.problems import SPACE, known_table
from latprof.testing.problems import CountingAccuracy as Accuracy
from latprof.testing.problems import known_accuracies as accuracies
from latprof.testing.problems import known_latencies as latencies
from latprof.testing.problems import known_optimum as optimum
from latprof.testing.problems import known_problem as problem

LATENCY = known_table()
ALL = SPACE.sample_choices(SPACE.num_architectures)

__all__ = [
    "ALL",
    "COSTS",
    "LATENCY",
    "SPACE",
    "Accuracy",
    "accuracies",
    "latencies",
    "optimum",
    "problem",
]
