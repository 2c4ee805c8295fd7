"""How an architecture is chosen: thin algorithms that consume predictors.

Names are loaded when they are first used: the losses need no library that a method does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latprof.searchers.accuracy.accuracy_by_training import SupernetAccuracy, TrainedAccuracy
    from latprof.searchers.accuracy.accuracy_sources import load_accuracy, load_accuracy_table
    from latprof.searchers.accuracy.image_tasks import ImageTask, digits_task, folder_task
    from latprof.searchers.accuracy.tables import ArchitectureTable, LatencyTable
    from latprof.searchers.base import (
        Evaluation,
        Found,
        Searcher,
        SearchProblem,
        best_of,
        pareto_front,
    )
    from latprof.searchers.differentiable.fbnet import FBNetSearch
    from latprof.searchers.differentiable.lightnas import LightNAS
    from latprof.searchers.differentiable.proxyless import ProxylessG, ProxylessR
    from latprof.searchers.evaluating.evolution import EvolutionSearch
    from latprof.searchers.evaluating.mnas import MnasSearch
    from latprof.searchers.evaluating.netadapt import NetAdaptSearch
    from latprof.searchers.evaluating.nsga2 import NSGA2Search
    from latprof.searchers.evaluating.random_search import RandomSearch
    from latprof.searchers.keeping import search_in_store
    from latprof.searchers.methods import get_searcher, searcher_names
    from latprof.searchers.request import SearchRequest, open_latencies
    from latprof.searchers.rewards import (
        HARD,
        SOFT,
        expected_latency,
        latency_regularizer,
        mnas_reward,
    )
    from latprof.searchers.studies.block_comparison import (
        BlockComparison,
        compare_blocks,
        families_by,
    )
    from latprof.searchers.studies.cross_target import (
        CrossTarget,
        fastest_at_accuracy,
        search_each_target,
    )
    from latprof.searchers.studies.scaling import (
        LatencyOfOperators,
        Scale,
        ScaledNetwork,
        TinyNetScaling,
        compound_scaling,
        measured_ms,
        scale_to_latency,
    )
    from latprof.searchers.verification import Verification, verify

_MODULES = {
    "search_in_store": "keeping",
    "open_latencies": "request",
    "SearchRequest": "request",
    "search_each_target": "studies.cross_target",
    "families_by": "studies.block_comparison",
    "compare_blocks": "studies.block_comparison",
    "BlockComparison": "studies.block_comparison",
    "scale_to_latency": "studies.scaling",
    "measured_ms": "studies.scaling",
    "compound_scaling": "studies.scaling",
    "TinyNetScaling": "studies.scaling",
    "ScaledNetwork": "studies.scaling",
    "Scale": "studies.scaling",
    "LatencyOfOperators": "studies.scaling",
    "load_accuracy_table": "accuracy.accuracy_sources",
    "load_accuracy": "accuracy.accuracy_sources",
    "TrainedAccuracy": "accuracy.accuracy_by_training",
    "SupernetAccuracy": "accuracy.accuracy_by_training",
    "Verification": "verification",
    "verify": "verification",
    "FBNetSearch": "differentiable.fbnet",
    "LightNAS": "differentiable.lightnas",
    "ProxylessG": "differentiable.proxyless",
    "ProxylessR": "differentiable.proxyless",
    "ImageTask": "accuracy.image_tasks",
    "digits_task": "accuracy.image_tasks",
    "folder_task": "accuracy.image_tasks",
    "CrossTarget": "studies.cross_target",
    "fastest_at_accuracy": "studies.cross_target",
    "EvolutionSearch": "evaluating.evolution",
    "MnasSearch": "evaluating.mnas",
    "NetAdaptSearch": "evaluating.netadapt",
    "NSGA2Search": "evaluating.nsga2",
    "get_searcher": "methods",
    "searcher_names": "methods",
    "ArchitectureTable": "accuracy.tables",
    "Evaluation": "base",
    "Found": "base",
    "HARD": "rewards",
    "LatencyTable": "accuracy.tables",
    "RandomSearch": "evaluating.random_search",
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
