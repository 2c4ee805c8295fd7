"""The fastest network of an accuracy, and each target's own network on all targets."""

import math
from dataclasses import replace

import numpy as np
import pytest
from known_problem import ALL, LATENCY, SPACE, Accuracy, accuracies, latencies, problem

from latprof.errors import InvalidValueError
from latprof.searchers import (
    CrossTarget,
    Evaluation,
    LatencyTable,
    RandomSearch,
    SearchProblem,
    fastest_at_accuracy,
    get_searcher,
)
from latprof.searchers.base import EvaluatingSearcher
from latprof.searchers.studies.cross_target import cross_target, search_targets


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
    found = fastest_at_accuracy(Systematic(), problem(math.inf, source), accuracy, 7000)

    assert found.latency_ms == found.bound_ms == pytest.approx(optimum_ms(accuracy))
    assert found.accuracy >= accuracy
    assert len(set(source.asked)) == len(source.asked) == len(ALL)


@pytest.mark.parametrize("accuracy", [88.0, 91.0])
def test_evolution_finds_nearly_the_optimum_with_one_network_in_twenty(accuracy):
    """It is told that faster networks are better, so it comes nearer than chance does."""
    found = {}
    for name in ("evolution", "random"):
        source = Accuracy()
        best = fastest_at_accuracy(get_searcher(name), problem(11.0, source), accuracy, 330)
        assert len(source.asked) == len(set(source.asked)) <= 330
        assert best.accuracy == accuracies(SPACE.choices([best.architecture]))[0] >= accuracy
        found[name] = best.latency_ms

    assert optimum_ms(accuracy) <= found["evolution"] * (1 + 1e-9)
    assert found["evolution"] <= 1.1 * optimum_ms(accuracy)
    assert found["evolution"] <= found["random"]


def test_the_problem_s_limit_holds_too():
    """Where nothing under it is accurate enough, that is what is said."""
    source = Accuracy()
    with pytest.raises(InvalidValueError, match="reaches the accuracy") as caught:
        fastest_at_accuracy(Systematic(), problem(3.0, source), 93.0, 500)

    assert latencies(np.array(source.asked)).max() <= 3.0
    most = accuracies(np.array(source.asked)).max()
    assert caught.value.got == f"{most:g} at most"
    assert f"none of {len(source.asked)} networks" in str(caught.value)


def test_what_exceeds_the_limit_is_not_the_answer():
    """NetAdapt comes from above: the accurate networks on its way down exceed the limit."""
    source = Accuracy()
    with pytest.raises(InvalidValueError, match="reaches the accuracy"):
        fastest_at_accuracy(get_searcher("netadapt"), problem(3.0, source), 92.0, 60)
    assert accuracies(np.array(source.asked)).max() >= 92.0


def test_the_bound_is_what_is_made_small():
    """Here measurements may take longer the more a network's last layers do."""

    class Uncertain(LatencyTable):
        def predict(self, architectures, *, upper=None):
            wide = 0.0 if upper is None else 5.0 * (self.space.choices(architectures)[:, -1] > 0)
            return self(architectures) + wide

    source = Uncertain(SPACE, ALL, latencies(ALL))
    uncertain = SearchProblem(source, Accuracy(), upper=0.95)
    found = fastest_at_accuracy(Systematic(), uncertain, 88.0, 7000)

    enough = accuracies(ALL) >= 88.0
    assert found.bound_ms == pytest.approx(source.predict(ALL[enough], upper=0.95).min())
    assert found.bound_ms > optimum_ms(88.0)


def test_networks_that_are_known_take_part():
    """The optimum is known: a search that finds nothing as fast does not hide it."""
    best = ALL[accuracies(ALL) >= 90.0][np.argmin(latencies(ALL[accuracies(ALL) >= 90.0]))]
    architecture = SPACE.architectures(best[None])[0]
    known = Evaluation(architecture, accuracies(best[None])[0], optimum_ms(90.0), optimum_ms(90.0))

    assert fastest_at_accuracy(RandomSearch(), problem(11.0), 90.0, 20, known=[known]) == known
    slow = replace(known, latency_ms=20.0, bound_ms=20.0)
    assert fastest_at_accuracy(RandomSearch(), problem(11.0), 87.0, 20, known=[slow]) != slow


def test_only_faster_networks_are_evaluated_once_one_is_accurate_enough():
    source = Accuracy()
    fastest_at_accuracy(get_searcher("evolution"), problem(11.0, source), 89.0, 200)

    asked = np.array(source.asked)
    enough = np.flatnonzero(accuracies(asked) >= 89.0)
    batch = enough[0] // 20 * 20 + 20  # the rest of its batch was asked for with it
    assert latencies(asked[batch:]).max() < latencies(asked[enough[:1]])[0]


def test_targets_share_what_was_evaluated():
    """What is found for one target is told to the next, and each has the fastest of all."""
    source = Accuracy()
    slow = LatencyTable(SPACE, ALL, 13.0 - latencies(ALL))
    problems = {"a": problem(math.inf, source), "b": SearchProblem(slow, source)}
    found = search_targets(get_searcher("evolution"), problems, 88.0, 150)

    asked = np.array(list(dict.fromkeys(source.asked)))
    enough = asked[accuracies(asked) >= 88.0]
    assert found["a"].latency_ms == latencies(enough).min()
    assert found["b"].latency_ms == pytest.approx(13.0 - latencies(enough).max())
    assert len(source.asked) == len(set(source.asked)) <= 300


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

    source = Accuracy()

    def failing(architectures):
        return [math.nan] if source.asked else source(architectures)

    with pytest.raises(InvalidValueError, match="accuracy source"):
        fastest_at_accuracy(get_searcher("evolution"), problem(11.0, failing), 88.0, 200)


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
