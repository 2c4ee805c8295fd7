"""Every registered method that learns from accuracies passes the contract suite, and is good."""

import functools

import numpy as np
import pytest
from known_problem import optimum, problem

from latprof.errors import InvalidValueError, UnreachableLimitError
from latprof.registry import SEARCHERS
from latprof.searchers import get_searcher
from latprof.searchers.base import EvaluatingSearcher
from latprof.testing.searcher_contract import EvaluatingSearcherContract

METHODS = SEARCHERS.names()
#: Options that keep each test under a second.
QUICK = {"nsga2": {"population": 12, "children": 8}}


def quick(name):
    return get_searcher(name, **QUICK.get(name, {}))


class TestMethods(EvaluatingSearcherContract):
    @pytest.fixture(params=[name for name in METHODS if name != "netadapt"])
    def searcher(self, request):
        return quick(request.param)


class TestNetAdapt(EvaluatingSearcherContract):
    budget = 60  # chance begins with the second descent

    @pytest.fixture
    def searcher(self):
        return quick("netadapt")


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"mnas", "netadapt"}))
def test_a_limit_that_nothing_keeps_is_refused(name):
    with pytest.raises(UnreachableLimitError, match="at best"):
        get_searcher(name).run(problem(0.5), 10)


@pytest.mark.parametrize("name", ["mnas", "netadapt"])
def test_methods_that_come_from_above_find_nothing_under_an_impossible_limit(name):
    found = get_searcher(name).run(problem(0.5), 20)

    assert found.best is None
    assert found.trail


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"mnas"}))  # no chance of one in 6,561
def test_a_limit_that_only_the_smallest_network_keeps_is_met(name):
    assert quick(name).run(problem(1.0), 400).architecture.choices == (0,) * 8


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"random"}))
def test_methods_find_what_random_search_does_not(name):
    """The best of a few hundred evaluations, over seeds: nearer to the optimum than random."""
    assert mean_gap(name, 2) < mean_gap("random", 16)


@functools.cache
def mean_gap(name, seeds):
    found = [get_searcher(name).run(problem(), 250, seed=seed).best for seed in range(seeds)]
    return optimum() - np.mean([best.accuracy for best in found])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("evolution", {"population": 0}),
        ("evolution", {"mutation_probability": 1.5}),
        ("evolution", {"crossover_share": -0.1}),
        ("nsga2", {"population": 3}),
        ("nsga2", {"children": 0}),
        ("nsga2", {"doubt": -1.0}),
        ("mnas", {"batch": 0}),
        ("mnas", {"learning_rate": float("nan")}),
        ("netadapt", {"step": 0.0}),
        ("netadapt", {"proposals": 0}),
    ],
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(InvalidValueError):
        get_searcher(name, **options)


@pytest.mark.parametrize("name", METHODS)
def test_every_name_makes_its_method(name):
    searcher = get_searcher(name)
    assert searcher.name == name
    assert isinstance(searcher, EvaluatingSearcher)
    assert not searcher.gradient
