"""How an architecture is chosen: thin algorithms that consume predictors.

Names are loaded when they are first used: the losses need no library that a method does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latprof.searchers.accuracy_sources import load_accuracy, load_accuracy_table
    from latprof.searchers.base import (
        Evaluation,
        Found,
        Searcher,
        SearchProblem,
        best_of,
        pareto_front,
    )
    from latprof.searchers.block_comparison import BlockComparison, compare_blocks, families_by
    from latprof.searchers.cross_target import CrossTarget, fastest_at_accuracy, search_each_target
    from latprof.searchers.evolution import EvolutionSearch
    from latprof.searchers.fbnet import FBNetSearch
    from latprof.searchers.keeping import search_in_store
    from latprof.searchers.lightnas import LightNAS
    from latprof.searchers.mnas import MnasSearch
    from latprof.searchers.netadapt import NetAdaptSearch
    from latprof.searchers.nsga2 import NSGA2Search
    from latprof.searchers.proxyless import ProxylessG, ProxylessR
    from latprof.searchers.random_search import RandomSearch
    from latprof.searchers.registry import get_searcher, searcher_names
    from latprof.searchers.request import SearchRequest, open_latencies
    from latprof.searchers.rewards import (
        HARD,
        SOFT,
        expected_latency,
        latency_regularizer,
        mnas_reward,
    )
    from latprof.searchers.scaling import (
        LatencyOfOperators,
        Scale,
        ScaledNetwork,
        TinyNetScaling,
        compound_scaling,
        measured_ms,
        scale_to_latency,
    )
    from latprof.searchers.tables import ArchitectureTable, LatencyTable
    from latprof.searchers.tasks import ImageTask, digits_task, folder_task
    from latprof.searchers.training import SupernetAccuracy, TrainedAccuracy
    from latprof.searchers.verification import Verification, verify

_MODULES = {
    "search_in_store": "keeping",
    "open_latencies": "request",
    "SearchRequest": "request",
    "search_each_target": "cross_target",
    "families_by": "block_comparison",
    "compare_blocks": "block_comparison",
    "BlockComparison": "block_comparison",
    "scale_to_latency": "scaling",
    "measured_ms": "scaling",
    "compound_scaling": "scaling",
    "TinyNetScaling": "scaling",
    "ScaledNetwork": "scaling",
    "Scale": "scaling",
    "LatencyOfOperators": "scaling",
    "load_accuracy_table": "accuracy_sources",
    "load_accuracy": "accuracy_sources",
    "TrainedAccuracy": "training",
    "SupernetAccuracy": "training",
    "Verification": "verification",
    "verify": "verification",
    "FBNetSearch": "fbnet",
    "LightNAS": "lightnas",
    "ProxylessG": "proxyless",
    "ProxylessR": "proxyless",
    "ImageTask": "tasks",
    "digits_task": "tasks",
    "folder_task": "tasks",
    "CrossTarget": "cross_target",
    "fastest_at_accuracy": "cross_target",
    "EvolutionSearch": "evolution",
    "MnasSearch": "mnas",
    "NetAdaptSearch": "netadapt",
    "NSGA2Search": "nsga2",
    "get_searcher": "registry",
    "searcher_names": "registry",
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
    "BlockComparison",
    "CrossTarget",
    "Evaluation",
    "EvolutionSearch",
    "FBNetSearch",
    "Found",
    "ImageTask",
    "LatencyOfOperators",
    "LatencyTable",
    "LightNAS",
    "MnasSearch",
    "NSGA2Search",
    "NetAdaptSearch",
    "ProxylessG",
    "ProxylessR",
    "RandomSearch",
    "Scale",
    "ScaledNetwork",
    "SearchProblem",
    "SearchRequest",
    "Searcher",
    "SupernetAccuracy",
    "TinyNetScaling",
    "TrainedAccuracy",
    "Verification",
    "best_of",
    "compare_blocks",
    "compound_scaling",
    "digits_task",
    "expected_latency",
    "families_by",
    "fastest_at_accuracy",
    "folder_task",
    "get_searcher",
    "latency_regularizer",
    "load_accuracy",
    "load_accuracy_table",
    "measured_ms",
    "mnas_reward",
    "open_latencies",
    "pareto_front",
    "scale_to_latency",
    "search_each_target",
    "search_in_store",
    "searcher_names",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
