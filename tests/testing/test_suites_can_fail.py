"""Each requirement of each contract suite fails for an implementation that breaks it."""

import importlib.util
from pathlib import Path

import pytest
from broken_suites import requirements_of, run_broken

from latprof.testing.predictor_contract import PredictorContract
from latprof.testing.profiler_contract import ProfilerContract
from latprof.testing.searcher_contract import EvaluatingSearcherContract
from latprof.testing.space_contract import SpaceContract
from latprof.testing.store_contract import StoreContract

CONTRACTS = {
    "broken_predictors": PredictorContract,
    "broken_profilers": ProfilerContract,
    "broken_searchers": EvaluatingSearcherContract,
    "broken_spaces": SpaceContract,
    "broken_stores": StoreContract,
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_requirement_has_an_implementation_that_breaks_it(name):
    file = Path(__file__).parent / "broken" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    suites = [found for found in vars(module).values() if hasattr(found, "breaks")]

    assert {test for suite in suites for test in suite.breaks} == requirements_of(CONTRACTS[name])
    outcomes = run_broken(file, suites)
    assert outcomes.errors == []
    for suite in suites:
        assert outcomes.failed[suite.__name__] == set(suite.breaks), suite.__name__
