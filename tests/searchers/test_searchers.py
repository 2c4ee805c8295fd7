"""Rewards agree with the paper; random search keeps its limit."""

import numpy as np
import pytest

from latprof.datasets.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError
from latprof.predictors.linear import LinearPredictor
from latprof.searchers import HARD, mnas_reward, random_search

SPACE = ProxylessSpace()


def test_soft_constraint_trades_double_latency_for_five_percent_accuracy():
    at_target, doubled = mnas_reward([0.70, 0.735], [75.0, 150.0], 75.0)
    assert at_target == pytest.approx(0.70)
    assert doubled == pytest.approx(0.735 * 2**-0.07)
    assert doubled == pytest.approx(at_target, rel=1e-2)


def test_hard_constraint_ignores_latency_below_the_target_and_divides_above():
    reward = mnas_reward([0.7, 0.7, 0.7], [10.0, 75.0, 150.0], 75.0, HARD)
    assert reward == pytest.approx([0.7, 0.7, 0.35])


@pytest.mark.parametrize(("latency", "target"), [([0.0], 1.0), ([1.0], 0.0), ([1.0], float("nan"))])
def test_latencies_are_above_zero(latency, target):
    with pytest.raises(InvalidValueError):
        mnas_reward([0.5], latency, target)


@pytest.fixture(scope="module")
def predictor():
    choices = SPACE.sample_choices(300, seed=1)
    return LinearPredictor(SPACE).fit(choices, 1.0 + choices.sum(axis=1) / 10)


def test_random_search_finds_the_best_of_what_keeps_the_limit(predictor):
    def accuracy(architectures):
        return np.array([sum(a.choices) for a in architectures], dtype=float)

    found = random_search(predictor, accuracy, limit_ms=7.0, budget=50)
    assert len(found.trail) == 50
    assert all(latency <= 7.0 for _, _, latency in found.trail)
    assert found.accuracy == max(score for _, score, _ in found.trail)
    assert found == random_search(predictor, accuracy, limit_ms=7.0, budget=50)


def test_an_impossible_limit_says_what_would_be_possible(predictor):
    with pytest.raises(InvalidValueError, match="at best"):
        random_search(predictor, lambda found: np.zeros(len(found)), limit_ms=0.1, budget=5)
