"""The fastest network of an accuracy, and each target's own network on all targets."""

import math

import numpy as np
import pytest
from known_problem import ALL, LATENCY, SPACE, Accuracy, accuracies, latencies, problem

from latprof.errors import InvalidValueError
from latprof.searchers import (
    CrossTarget,
    Evaluation,
    LatencyTable,
    RandomSearch,
    fastest_at_accuracy,
    get_searcher,
)
from latprof.searchers.base import EvaluatingSearcher
from latprof.searchers.cross_target import _steps_below, cross_target


class Systematic(EvaluatingSearcher):
    """Proposes every network that keeps the limit, in an order of chance."""

    name = "systematic"

    def propose(self, problem, generator):
        inside = ALL[problem.keeps_limit(ALL)]
        if not len(inside):
            raise InvalidValueError("no architecture keeps the limit")
        batches = np.array_split(generator.permutation(inside), -(-len(inside) // 50))
        for batch in batches:  # noqa: UP028 - a list would be sent the scores
            yield batch


def optimum_ms(accuracy):
    return float(latencies(ALL)[accuracies(ALL) >= accuracy].min())


@pytest.mark.parametrize("accuracy", [86.0, 90.0, 93.0])
def test_the_true_optimum_is_found_where_the_budget_suffices(accuracy):
    source = Accuracy()
    found = fastest_at_accuracy(Systematic(), problem(math.inf, source), accuracy, 30_000)

    assert found.latency_ms == found.bound_ms == pytest.approx(optimum_ms(accuracy))
    assert found.accuracy >= accuracy
    assert len(set(source.asked)) == len(source.asked) <= len(ALL)


@pytest.mark.parametrize("accuracy", [88.0, 91.0])
def test_evolution_finds_the_optimum_or_nearly_with_one_network_in_twenty(accuracy):
    source = Accuracy()
    found = fastest_at_accuracy(get_searcher("evolution"), problem(11.0, source), accuracy, 330)

    assert len(source.asked) == len(set(source.asked)) <= 330
    assert accuracies(SPACE.choices([found.architecture]))[0] >= accuracy
    assert optimum_ms(accuracy) <= found.latency_ms * (1 + 1e-9)
    assert found.latency_ms <= 1.1 * optimum_ms(accuracy)


def test_the_first_round_begins_at_the_problem_s_limit():
    """Where nothing under it is accurate enough, that is what is said."""
    source = Accuracy()
    with pytest.raises(InvalidValueError, match="reaches the accuracy") as caught:
        fastest_at_accuracy(Systematic(), problem(3.0, source), 93.0, 500)

    assert latencies(np.array(source.asked)).max() <= 3.0
    most = accuracies(np.array(source.asked)).max()
    assert caught.value.got == f"{most:g} at most"
    assert f"none of {len(source.asked)} networks" in str(caught.value)


def test_later_rounds_search_below_the_fastest_so_far():
    limits = []

    class Watched(RandomSearch):
        def search(self, problem, budget, *, seed=0, trail=()):
            limits.append(problem.limit_ms)
            return super().search(problem, budget, seed=seed, trail=trail)

    found = fastest_at_accuracy(Watched(), problem(11.0), 89.0, 200, rounds=5)

    assert limits[0] == 11.0
    assert limits == sorted(limits, reverse=True)
    assert 3 <= len(set(limits)) <= 5
    assert found.bound_ms <= limits[-1] * (1 + 1e-9)  # the last one is just below it, or above


def test_the_budget_is_shared_by_the_rounds():
    source = Accuracy()
    fastest_at_accuracy(RandomSearch(), problem(11.0, source), 87.0, 24, rounds=4)

    assert len(source.asked) == len(set(source.asked)) == 24
    inside = latencies(np.array(source.asked[:6]))
    assert latencies(np.array(source.asked[6:])).max() < inside.max()


def test_known_networks_do_not_count_to_a_round_s_share():
    """A search that proposes known ones again goes on until its share of new ones is made."""

    class InOrder(EvaluatingSearcher):
        def propose(self, problem, generator):
            while True:
                yield ALL[:20]

    known = InOrder().run(problem(11.0), 2).trail
    source = Accuracy()
    trail = {step.architecture.choices: step for step in known}
    new = _steps_below(InOrder(), problem(11.0, source), None, 3, 0, trail)

    assert [step.architecture.choices for step in new] == source.asked
    assert source.asked == [tuple(row) for row in ALL[2:5].tolist()]


def test_the_same_seed_asks_for_the_same_and_another_one_for_others():
    asked = []
    for seed in (1, 1, 2):
        source = Accuracy()
        fastest_at_accuracy(RandomSearch(), problem(11.0, source), 88.0, 40, seed=seed)
        asked.append(source.asked)
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_an_accuracy_source_that_fails_is_not_taken_for_the_end():
    with pytest.raises(InvalidValueError, match="accuracy source"):
        fastest_at_accuracy(RandomSearch(), problem(11.0, lambda _: [math.nan]), 88.0, 40)


def test_an_accuracy_that_nothing_reaches_is_refused():
    with pytest.raises(InvalidValueError, match="none of 40 networks") as caught:
        fastest_at_accuracy(RandomSearch(), problem(11.0), 99.0, 40)
    assert caught.value.field == "accuracy"


# The table of all targets ----------------------------------------------------------------


def table(latency_ms):
    k = len(latency_ms)
    architectures = tuple(SPACE.architectures(ALL[:k]))
    names = tuple("abc"[:k])
    return CrossTarget(names, architectures, np.full(k, 90.0), np.array(latency_ms))


def test_own_is_fastest_looks_down_the_columns():
    """Row i was searched for target i: on target b, the network of a is faster than b's own."""
    found = table([[1.0, 2.0, 5.0], [3.0, 4.0, 6.0], [1.0, 9.0, 5.0]])

    assert found.own_is_fastest.tolist() == [True, False, True]
    assert table([[1.0, 9.0], [2.0, 3.0]]).own_is_fastest.tolist() == [True, True]


def test_networks_are_told_on_every_target():
    """Two targets that dislike different things; each one's optimum is its own."""
    late = LatencyTable(SPACE, ALL, latencies(ALL[:, ::-1]))
    sources = {"early": LATENCY, "late": late}
    searched = {}
    for name, source in sources.items():
        choices = ALL[accuracies(ALL) >= 90.0]
        best = SPACE.architectures(choices[[np.argmin(source(choices))]])[0]
        searched[name] = best
    rows = SPACE.choices(list(searched.values()))
    found = cross_target(searched, dict(reversed(sources.items())), accuracies(rows))

    assert found.targets == ("early", "late")
    assert found.architectures == tuple(searched.values())
    expected = np.stack([LATENCY(rows), late(rows)], axis=1)
    assert found.latency_ms == pytest.approx(expected)
    assert found.own_is_fastest.all()
    assert found.source == "measured"
    assert found.accuracy == pytest.approx(accuracies(rows))


def test_evaluations_and_architectures_may_be_given():
    architectures = SPACE.architectures(ALL[:2])
    searched = {"a": Evaluation(architectures[0], 90.0, 1.0, 1.0), "b": architectures[1]}
    found = cross_target(searched, {"a": LATENCY, "b": LATENCY}, [90.0, 91.0], source="predicted")

    assert found.architectures == tuple(architectures)
    assert found.source == "predicted"


@pytest.mark.parametrize(
    ("targets", "accuracy"), [(("a",), [90.0]), (("a", "c"), [90.0, 91.0]), (("a", "b"), [90.0])]
)
def test_targets_that_differ_are_refused(targets, accuracy):
    searched = dict(zip("ab", SPACE.architectures(ALL[:2]), strict=True))
    with pytest.raises(InvalidValueError, match="different targets"):
        cross_target(searched, dict.fromkeys(targets, LATENCY), accuracy)


def test_a_table_of_nothing_is_refused():
    with pytest.raises(InvalidValueError):
        cross_target({}, {}, [])
