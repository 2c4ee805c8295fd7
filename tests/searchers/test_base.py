"""The contract of searchers, and tables as sources: budget, trail, resuming, fronts."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.errors import CoverageError, InvalidValueError, UnknownNameError, UnreachableLimitError
from latprof.searchers import (
    ArchitectureTable,
    LatencyTable,
    RandomSearch,
    SearchProblem,
    best_of,
    pareto_front,
)
from latprof.searchers.base import EvaluatingSearcher
from latprof.searchers.methods import get_searcher, searcher_names
from latprof.searchers.rewards import SOFT
from latprof.searchers.sampling import sample_within

SPACE = get_space("nasbench-macro")
ALL = SPACE.sample_choices(SPACE.num_architectures)
LATENCY = LatencyTable(SPACE, ALL, 1.0 + ALL.sum(axis=1))


class Counting:
    """An accuracy source that remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, architectures):
        self.asked += [a.choices for a in architectures]
        return [sum(k * choice for k, choice in enumerate(a.choices)) for a in architectures]


class Scripted(EvaluatingSearcher):
    """Proposes what it is given, and keeps what it was told."""

    name = "scripted"

    def __init__(self, batches):
        self.batches = batches
        self.told = []
        self.closed = False

    def propose(self, problem, generator):
        try:
            for batch in self.batches:
                self.told.append((yield np.array(batch, dtype=np.uint8)))
        finally:
            self.closed = True


def _row(*first):
    return [*first, *[0] * (8 - len(first))]


def test_random_search_keeps_the_limit_and_its_budget():
    accuracy = Counting()
    found = RandomSearch().run(SearchProblem(LATENCY, accuracy, limit_ms=7.0), budget=50)

    assert len(found.trail) == len(set(accuracy.asked)) == len(accuracy.asked) == 50
    assert all(step.latency_ms <= 7.0 for step in found.trail)
    assert found.best.accuracy == max(step.accuracy for step in found.trail)
    assert found.architecture == found.best.architecture


def test_the_same_seed_gives_the_same_trail_and_another_one_another():
    problem = SearchProblem(LATENCY, Counting(), limit_ms=7.0)
    first, second, other = (RandomSearch().run(problem, 30, seed=seed) for seed in (1, 1, 2))

    assert first == second
    assert first != other


@pytest.mark.parametrize("made", [0, 1, 17, 64, 65, 99, 100])
def test_a_resumed_search_makes_the_same_steps_and_asks_for_nothing_twice(made):
    whole = RandomSearch().run(SearchProblem(LATENCY, Counting(), limit_ms=8.0), 100)
    accuracy = Counting()
    problem = SearchProblem(LATENCY, accuracy, limit_ms=8.0)

    assert RandomSearch().run(problem, 100, trail=whole.trail[:made]) == whole
    assert accuracy.asked == [step.architecture.choices for step in whole.trail[made:]]


def test_repeated_proposals_cost_nothing_and_are_told_again():
    searcher = Scripted([[_row(1), _row(2), _row(1)], [_row(2), _row(0, 1)]])
    accuracy = Counting()
    found = searcher.run(SearchProblem(LATENCY, accuracy), budget=10)

    assert accuracy.asked == [tuple(_row(1)), tuple(_row(2)), tuple(_row(0, 1))]
    assert [scores.latency_ms.tolist() for scores in searcher.told] == [[2, 3, 2], [3, 2]]
    assert searcher.told[1].accuracy.tolist() == [0, 1]
    assert len(found.trail) == 3


def test_the_budget_may_end_within_a_batch_and_closes_the_method():
    searcher = Scripted([[_row(1), _row(2), _row(0, 1)]])
    found = searcher.run(SearchProblem(LATENCY, Counting()), budget=2)

    assert [step.architecture.choices for step in found.trail] == [tuple(_row(1)), tuple(_row(2))]
    assert searcher.closed


def test_a_method_that_proposes_nothing_new_ends():
    searcher = Scripted([[_row(1)]] * 10_000)

    assert len(searcher.run(SearchProblem(LATENCY, Counting()), budget=5).trail) == 1
    assert searcher.closed


def test_the_bound_must_keep_the_limit_not_the_prediction():
    class Uncertain(LatencyTable):
        def predict(self, architectures, *, upper=None):
            return self(architectures) * (1.0 if upper is None else 1.1)

    source = Uncertain(SPACE, ALL, LATENCY(ALL))
    problem = SearchProblem(source, Counting(), limit_ms=8.0, upper=0.95)
    found = RandomSearch().run(problem, 200)

    assert max(step.bound_ms for step in found.trail) <= 8.0
    assert max(step.latency_ms for step in found.trail) == 7.0
    assert found.best.bound_ms == pytest.approx(1.1 * found.best.latency_ms)


def test_an_impossible_limit_says_what_would_be_possible():
    with pytest.raises(UnreachableLimitError, match=r"1\.000 ms at best"):
        RandomSearch().run(SearchProblem(LATENCY, Counting(), limit_ms=0.5), budget=5)


def test_a_trail_without_anything_within_the_limit_has_no_best():
    found = Scripted([[_row(2, 2)]]).run(SearchProblem(LATENCY, Counting(), limit_ms=2.0), 5)

    assert found.best is None
    with pytest.raises(InvalidValueError, match="none of 1"):
        _ = found.architecture


@pytest.mark.parametrize("budget", [0, -1, 1.5, True])
def test_impossible_budgets_are_refused(budget):
    with pytest.raises(InvalidValueError):
        RandomSearch().run(SearchProblem(LATENCY, Counting()), budget)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_impossible_limits_are_refused(limit):
    with pytest.raises(InvalidValueError):
        SearchProblem(LATENCY, Counting(), limit_ms=limit)


@pytest.mark.parametrize(
    "answer", [lambda _: [1.0], lambda found: [math.nan] * len(found), lambda _: None]
)
def test_an_accuracy_source_that_answers_something_else_is_refused(answer):
    with pytest.raises(InvalidValueError, match="accuracy"):
        RandomSearch().run(SearchProblem(LATENCY, answer), budget=5)


def test_of_equally_accurate_networks_the_fastest_is_best():
    problem = SearchProblem(LATENCY, lambda found: np.ones(len(found)))
    trail = Scripted([[_row(2), _row(), _row(1)]]).run(problem, 5).trail

    assert best_of(trail).latency_ms == 1.0
    assert best_of([]) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=0, max_size=30))
def test_the_front_is_what_nothing_beats(points):
    accuracy, latency = [a for a, _ in points], [ms for _, ms in points]
    front = pareto_front(accuracy, latency)

    beaten = [any(b >= a and m <= ms and (b, m) != (a, ms) for b, m in points) for a, ms in points]
    wanted = {point for point, is_beaten in zip(points, beaten, strict=True) if not is_beaten}
    assert {points[index] for index in front} == wanted
    assert len(front) == len(wanted)
    assert [latency[i] for i in front] == sorted(latency[i] for i in front)


def test_samples_within_a_limit_keep_it_and_are_as_many_as_asked():
    problem = SearchProblem(LATENCY, Counting(), limit_ms=5.0)
    drawn = sample_within(problem, 300, np.random.default_rng(0))

    assert drawn.shape == (300, 8)
    assert LATENCY(drawn).max() <= 5.0


def test_a_table_gives_the_mean_where_a_network_is_named_twice():
    table = ArchitectureTable(SPACE, np.array([_row(1), _row(2), _row(1)]), [1.0, 5.0, 2.0])

    assert len(table) == 2
    assert table(np.array([_row(2), _row(1)])).tolist() == [5.0, 1.5]


def test_a_table_names_what_it_does_not_know():
    table = ArchitectureTable(SPACE, ALL[:10], np.arange(10.0))

    with pytest.raises(CoverageError, match="1 of 2"):
        table(ALL[[3, 10]])
    with pytest.raises(CoverageError):
        ArchitectureTable(SPACE, [SPACE.parse("2,2,2,2,2,2,2,2")], [1.0])(
            [SPACE.parse("2," * 7 + "1")]
        )


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan], [[1.0, 2.0]]])
def test_malformed_tables_are_refused(values):
    with pytest.raises(InvalidValueError):
        ArchitectureTable(SPACE, ALL[:2], values)
    with pytest.raises(InvalidValueError):
        ArchitectureTable(SPACE, ALL[:0], [])


def test_searchers_are_made_by_name_and_unknown_names_and_options_are_refused():
    assert "random" in searcher_names()
    assert isinstance(get_searcher("random"), RandomSearch)
    with pytest.raises(UnknownNameError, match="random"):
        get_searcher("randon")
    with pytest.raises(InvalidValueError, match="colour"):
        get_searcher("random", colour=1)


class Rising(NASBenchMacroSpace):
    """The networks whose layers' candidates rise: the constraint of a user's own space."""

    name = "rising"

    def allowed(self, choices):
        return (np.diff(choices.astype(np.int64), axis=1) >= 0).all(axis=1)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("random", {}),
        ("evolution", {"population": 8}),
        ("evolution", {"population": 8, "model": False}),
        ("nsga2", {"population": 8, "children": 4}),
        ("nsga2", {"population": 8, "children": 4, "model": False}),
        ("netadapt", {}),
        ("mnas", {}),
        ("mnas", {"exponents": SOFT}),
    ],
)
@pytest.mark.parametrize("limit_ms", [9.0, math.inf])
def test_no_method_asks_about_what_a_space_does_not_allow(method, options, limit_ms):
    space = Rising()
    assert space.num_architectures == math.comb(10, 2)
    table = LatencyTable(space, ALL, 1.0 + ALL.sum(axis=1))
    accuracy = Counting()

    found = get_searcher(method, **options).run(SearchProblem(table, accuracy, limit_ms), 20)

    assert len(found.trail) >= (10 if method != "netadapt" else 1)
    assert space.allowed(np.array(accuracy.asked, dtype=np.uint8)).all()
    assert found.best.latency_ms <= limit_ms


class Few(NASBenchMacroSpace):
    """One network, or two: every layer has one candidate, but perhaps the last."""

    name = "few"

    def __init__(self, networks):
        super().__init__()
        self.networks = networks

    @property
    def candidates(self):
        first = super().candidates[0]
        return (*[first[:1]] * 7, first[: self.networks])


@pytest.mark.parametrize("networks", [1, 2])
@pytest.mark.parametrize("limit_ms", [0.5, 5.0, math.inf])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("random", {}),
        ("evolution", {}),
        ("evolution", {"model": False}),
        ("nsga2", {}),
        ("nsga2", {"model": False}),
        ("netadapt", {}),
        ("mnas", {}),
    ],
)
def test_a_space_of_one_or_two_networks_is_searched(method, options, limit_ms, networks):
    space = Few(networks)
    rows = space.sample_choices(networks)
    problem = SearchProblem(LatencyTable(space, rows, 1.0 + rows.sum(axis=1)), Counting(), limit_ms)
    searcher = get_searcher(method, **options)
    if limit_ms == 0.5:
        with contextlib.suppress(UnreachableLimitError):
            assert searcher.run(problem, 20).best is None
        return

    found = searcher.run(problem, 20)

    assert found.best.accuracy == max(step.accuracy for step in found.trail)
    assert len(found.trail) <= networks
