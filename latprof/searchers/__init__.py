"""How an architecture is chosen: thin algorithms that consume predictors.

Names are loaded when they are first used: the losses need no library that a method does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latprof.searchers.base import (
        Evaluation,
        Found,
        Searcher,
        SearchProblem,
        best_of,
        pareto_front,
    )
    from latprof.searchers.random_search import RandomSearch
    from latprof.searchers.rewards import (
        HARD,
        SOFT,
        expected_latency,
        latency_regularizer,
        mnas_reward,
    )
    from latprof.searchers.tables import ArchitectureTable, LatencyTable

_MODULES = {
    "ArchitectureTable": "tables",
    "Evaluation": "base",
    "Found": "base",
    "HARD": "rewards",
    "LatencyTable": "tables",
    "RandomSearch": "random_search",
    "SOFT": "rewards",
    "SearchProblem": "base",
    "Searcher": "base",
    "best_of": "base",
    "expected_latency": "rewards",
    "latency_regularizer": "rewards",
    "mnas_reward": "rewards",
    "pareto_front": "base",
}

__all__ = [
    "HARD",
    "SOFT",
    "ArchitectureTable",
    "Evaluation",
    "Found",
    "LatencyTable",
    "RandomSearch",
    "SearchProblem",
    "Searcher",
    "best_of",
    "expected_latency",
    "latency_regularizer",
    "mnas_reward",
    "pareto_front",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
