"""What every method that learns from accuracies owes: budget, limit, determinism, resuming."""

import numpy as np
import pytest
from known_problem import Accuracy, optimum, problem

from latprof.datasets.spaces.mnasnet import MnasNetSpace
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.errors import InvalidValueError
from latprof.searchers import SearchProblem, get_searcher
from latprof.searchers.base import EvaluatingSearcher

#: Options that keep each test under a second.
METHODS = {
    "random": {},
    "evolution": {},
    "mnas": {},
    "netadapt": {},
    "nsga2": {"population": 12, "children": 8},
}


@pytest.fixture(params=METHODS, scope="module")
def searcher(request):
    return get_searcher(request.param, **METHODS[request.param])


def test_the_answer_keeps_the_limit_and_the_budget_is_exact(searcher):
    accuracy = Accuracy()
    found = searcher.run(problem(6.0, accuracy), budget=60)

    assert len(found.trail) == len(accuracy.asked) == len(set(accuracy.asked)) == 60
    assert found.best.bound_ms <= 6.0
    assert found.best.accuracy == max(s.accuracy for s in found.trail if s.bound_ms <= 6.0)


def test_the_same_seed_gives_the_same_steps_and_another_seed_others(searcher):
    first, second, other = (searcher.run(problem(), 45, seed=seed) for seed in (3, 3, 4))

    assert first == second
    if searcher.name != "netadapt":  # its way down from the largest network knows no chance
        assert first != other


def test_an_interrupted_search_goes_on_where_it_was(searcher):
    whole = searcher.run(problem(), 50)
    for made in (1, 23, 50):
        accuracy = Accuracy()
        again = searcher.run(problem(6.0, accuracy), 50, trail=whole.trail[:made])
        assert again == whole
        assert accuracy.asked == [step.architecture.choices for step in whole.trail[made:]]


class Rough:
    """A latency source for spaces of any size: a number for each choice."""

    def __init__(self, space):
        self.space = space
        most = int(space.num_choices.max())
        shape = (len(space.num_choices), most)
        self.costs = np.random.default_rng(0).uniform(0.1, 1.0, shape)

    def predict(self, architectures, *, upper=None):
        choices = self.space.canonical(self.space.choices(architectures))
        values = self.costs[np.arange(choices.shape[1]), choices]
        return (values * self.space.active(choices)).sum(axis=1) * (1.0 if upper is None else 1.05)


@pytest.mark.parametrize("space", [MnasNetSpace(), OFAMobileNetV3Space()], ids=lambda s: s.name)
def test_decisions_may_differ_in_number_and_be_inactive(searcher, space):
    source = Rough(space)
    limit = float(np.median(source.predict(space.sample_choices(500), upper=0.95)))
    target = SearchProblem(
        source,
        lambda found: [float(sum(a.choices)) for a in found],
        limit_ms=limit,
        upper=0.95,
    )
    found = searcher.run(target, 40)

    choices = space.choices([step.architecture for step in found.trail])
    assert len(found.trail) == 40
    assert (space.canonical(choices) == choices).all()
    if found.best is not None:
        assert found.best.bound_ms <= limit
        assert found.best.bound_ms == pytest.approx(1.05 * found.best.latency_ms)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"mnas", "netadapt"}))
def test_a_limit_that_nothing_keeps_is_refused(name):
    with pytest.raises(InvalidValueError, match="at best"):
        get_searcher(name).run(problem(0.5), 10)


@pytest.mark.parametrize("name", ["mnas", "netadapt"])
def test_methods_that_come_from_above_find_nothing_under_an_impossible_limit(name):
    found = get_searcher(name).run(problem(0.5), 60)

    assert found.best is None
    assert found.trail


def test_a_limit_that_only_the_smallest_network_keeps_is_met():
    for name, options in METHODS.items():
        if name != "mnas":  # which has no chance of one in 6,561
            found = get_searcher(name, **options).run(problem(1.0), 400)
            assert found.architecture.choices == (0,) * 8, name


@pytest.mark.parametrize("name", ["evolution", "nsga2", "netadapt", "mnas"])
def test_methods_find_what_random_search_does_not(name):
    """The best of a few hundred evaluations, over seeds: nearer to the optimum than random."""
    best = optimum()

    def gap(name, seed):
        return best - get_searcher(name).run(problem(), 250, seed=seed).best.accuracy

    ours = np.mean([gap(name, seed) for seed in range(3)])
    assert ours < np.mean([gap("random", seed) for seed in range(30)])


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


def test_every_name_makes_its_method():
    for name in METHODS:
        searcher = get_searcher(name)
        assert searcher.name == name
        assert isinstance(searcher, EvaluatingSearcher)
