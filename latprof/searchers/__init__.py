"""How an architecture is chosen: thin algorithms that consume predictors.

Names are loaded when they are first used: the losses need no library that a method does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.searchers.accuracy.accuracy_by_training import SupernetAccuracy, TrainedAccuracy
    from latprof.searchers.accuracy.accuracy_sources import load_accuracy, load_accuracy_table
    from latprof.searchers.accuracy.tables import ArchitectureTable, LatencyTable
    from latprof.searchers.base import (
        EvaluatingSearcher,
        Evaluation,
        Found,
        Searcher,
        SearchProblem,
        best_of,
        pareto_front,
    )
    from latprof.searchers.differentiable.fbnet import FBNetSearch
    from latprof.searchers.differentiable.gradient_search import DifferentiableSearcher
    from latprof.searchers.differentiable.lightnas import LightNAS
    from latprof.searchers.differentiable.proxyless import ProxylessG, ProxylessR
    from latprof.searchers.evaluating.evolution import EvolutionSearch
    from latprof.searchers.evaluating.mnas import MnasSearch
    from latprof.searchers.evaluating.netadapt import NetAdaptSearch
    from latprof.searchers.evaluating.nsga2 import NSGA2Search
    from latprof.searchers.evaluating.random_search import RandomSearch
    from latprof.searchers.methods import get_searcher, searcher_names
    from latprof.searchers.resuming import StoredRun, search_in_store
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
    from latprof.searchers.supernets.image_tasks import ImageTask, digits_task, folder_task
    from latprof.searchers.verification import Verification

__all__ = [
    "HARD",
    "SOFT",
    "ArchitectureTable",
    "BlockComparison",
    "CrossTarget",
    "DifferentiableSearcher",
    "EvaluatingSearcher",
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
    "Searcher",
    "StoredRun",
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
    "pareto_front",
    "scale_to_latency",
    "search_each_target",
    "search_in_store",
    "searcher_names",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "accuracy.accuracy_by_training": ["SupernetAccuracy", "TrainedAccuracy"],
            "accuracy.accuracy_sources": ["load_accuracy", "load_accuracy_table"],
            "supernets.image_tasks": ["ImageTask", "digits_task", "folder_task"],
            "accuracy.tables": ["ArchitectureTable", "LatencyTable"],
            "base": [
                *("EvaluatingSearcher", "Evaluation", "Found", "SearchProblem", "Searcher"),
                *("best_of", "pareto_front"),
            ],
            "differentiable.fbnet": ["FBNetSearch"],
            "differentiable.gradient_search": ["DifferentiableSearcher"],
            "differentiable.lightnas": ["LightNAS"],
            "differentiable.proxyless": ["ProxylessG", "ProxylessR"],
            "evaluating.evolution": ["EvolutionSearch"],
            "evaluating.mnas": ["MnasSearch"],
            "evaluating.netadapt": ["NetAdaptSearch"],
            "evaluating.nsga2": ["NSGA2Search"],
            "evaluating.random_search": ["RandomSearch"],
            "methods": ["get_searcher", "searcher_names"],
            "resuming": ["StoredRun", "search_in_store"],
            "rewards": ["HARD", "SOFT", "expected_latency", "latency_regularizer", "mnas_reward"],
            "studies.block_comparison": ["BlockComparison", "compare_blocks", "families_by"],
            "studies.cross_target": ["CrossTarget", "fastest_at_accuracy", "search_each_target"],
            "studies.scaling": [
                "LatencyOfOperators",
                "Scale",
                "ScaledNetwork",
                "TinyNetScaling",
                "compound_scaling",
                "measured_ms",
                "scale_to_latency",
            ],
            "verification": ["Verification"],
        },
    )
