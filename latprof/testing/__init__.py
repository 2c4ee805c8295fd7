"""Contract suites and fakes for the tests of latprof and of packages that extend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.testing.distributions import write_distribution
    from latprof.testing.fakes import FakeProfiler
    from latprof.testing.predictor_contract import PredictorContract
    from latprof.testing.problems import known_optimum, known_problem, made_up_measurements
    from latprof.testing.profiler_contract import ProfilerContract
    from latprof.testing.searcher_contract import EvaluatingSearcherContract, SearcherContract
    from latprof.testing.space_contract import SpaceContract
    from latprof.testing.store_contract import StoreContract

__all__ = [
    "EvaluatingSearcherContract",
    "FakeProfiler",
    "PredictorContract",
    "ProfilerContract",
    "SearcherContract",
    "SpaceContract",
    "StoreContract",
    "known_optimum",
    "known_problem",
    "made_up_measurements",
    "write_distribution",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "distributions": ["write_distribution"],
            "fakes": ["FakeProfiler"],
            "predictor_contract": ["PredictorContract"],
            "problems": ["known_optimum", "known_problem", "made_up_measurements"],
            "profiler_contract": ["ProfilerContract"],
            "searcher_contract": ["EvaluatingSearcherContract", "SearcherContract"],
            "space_contract": ["SpaceContract"],
            "store_contract": ["StoreContract"],
        },
    )
