from typing import Any

import numpy as np
import pytest
from synthetic_latency import SPACE, block_costs_ms, measured

from latprof.datasets.published.splits import split_rows
from latprof.errors import (
    InvalidValueError,
    NotEnoughDataError,
    UnknownNameError,
)
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.models.block_times import BlockTimes
from latprof.predictors.training.split_training import train


@pytest.fixture(scope="module")
def pack():
    return train(SPACE, *measured(200, noise=0.01), predictor="lookup-table", seed=4)


def test_the_metrics_are_those_of_the_held_out_rows(pack):
    choices, latency = measured(200, noise=0.01)
    _, test = split_rows(200, 0.2, seed=4)
    assert pack.training_rows == 160
    assert pack.held_out.architectures == tuple(map(str, SPACE.architectures(choices[test])))
    np.testing.assert_array_equal(pack.held_out.measured_ms, latency[test])
    assert pack.metrics == evaluate(pack.held_out.predicted_ms, pack.held_out.measured_ms)
    assert pack.metrics.rmse_percent < 2


def test_all_four_are_compared_on_the_same_rows(pack):
    assert sorted(pack.comparison) == ["hybrid", "linear", "lookup-table", "xgboost"]
    assert pack.comparison["lookup-table"] == pack.metrics
    assert {metrics.rows for metrics in pack.comparison.values()} == {40}
    alone = train(SPACE, *measured(60), predictor="linear", compare=False)
    assert list(alone.comparison) == ["linear"]


def test_a_table_that_misses_held_out_blocks_is_left_out_of_the_comparison():
    pack = train(SPACE, *measured(20, noise=0.01))
    assert "lookup-table" not in pack.comparison
    assert "hybrid" in pack.comparison


def test_held_out_labels_do_not_reach_the_predictor():
    choices, latency = measured(60, noise=0.01)
    _, test = split_rows(60, 0.2, seed=0)
    spoiled = latency.copy()
    spoiled[test] *= 3
    honest, other = (train(SPACE, choices, ms, compare=False) for ms in (latency, spoiled))
    np.testing.assert_array_equal(honest.held_out.predicted_ms, other.held_out.predicted_ms)
    assert honest.interval_relative == other.interval_relative


def test_a_network_that_was_measured_twice_is_on_one_side_of_the_split():
    choices, latency = measured(40, noise=0.01)
    twice, again = np.concatenate([choices, choices]), np.concatenate([latency, 1.02 * latency])
    pack = train(SPACE, twice, again, predictor="linear", compare=False)
    assert pack.training_rows == 64
    held_out = [*pack.held_out.architectures]
    assert len(held_out) == 16
    assert sorted(held_out) == sorted([*{*held_out}] * 2)
    with pytest.raises(NotEnoughDataError, match="9 measured"):
        train(SPACE, np.repeat(choices[:9], 3, axis=0), np.repeat(latency[:9], 3))


def test_ten_rows_are_enough_and_nine_are_not():
    choices, latency = measured(10, noise=0.01)
    pack = train(SPACE, choices, latency)
    assert pack.training_rows == 8
    assert pack.interval_coverage == pytest.approx(8 / 9)  # what 8 rows can promise
    with pytest.raises(NotEnoughDataError, match=r"^9 measured .*expected at least 10, got 9"):
        train(SPACE, choices[:9], latency[:9])


def test_bad_arguments_are_refused_before_any_work():
    choices, latency = measured(12)
    with pytest.raises(UnknownNameError, match="known: hybrid"):
        train(SPACE, choices, latency, predictor="forest")
    with pytest.raises(InvalidValueError, match="finite"):
        train(SPACE, choices, np.where(np.arange(12) == 3, np.nan, latency))
    with pytest.raises(InvalidValueError, match="shape"):
        train(SPACE, choices, latency[:-1])
    for fraction in (0.0, 1.0, -1.0):
        with pytest.raises(InvalidValueError, match="fraction"):
            train(SPACE, choices, latency, test_fraction=fraction)


@pytest.mark.parametrize("name", ["hybrid", "linear"])
def test_nine_of_ten_new_networks_fall_inside_the_interval(name):
    pack = train(SPACE, *measured(250, noise=0.02), predictor=name, compare=False)
    assert pack.interval_coverage == 0.9
    choices, latency = measured(4000, noise=0.02, seed=50)
    prediction = pack.predict(choices)
    inside = (prediction.low_ms <= latency) & (latency <= prediction.high_ms)
    assert 0.85 < inside.mean() < 0.95


def kernel_times(choices):
    """What each block of these networks took, by the runtime's own profile."""
    return BlockTimes(choices, block_costs_ms()[space_tables(SPACE).columns(choices)])


def test_with_few_rows_the_kernel_times_of_a_store_make_the_table():
    choices, latency = measured(20, noise=0.005)
    _, test = split_rows(20, 0.2, seed=0)
    times = kernel_times(np.concatenate([choices, SPACE.sample_choices(10, seed=77)]))
    with_kernels = train(SPACE, choices, latency, compare=False, block_times=times)
    without = train(SPACE, choices, latency, compare=False)
    assert with_kernels.predictor.name == "transfer"
    assert sorted(with_kernels.comparison) == ["hybrid", "transfer"]
    assert with_kernels.comparison["hybrid"] == without.metrics
    predictors: Any = with_kernels.predictor, without.predictor
    new, old = (np.std(each.out_of_fold_ms_ / each.rows_.mean_ms) for each in predictors)
    assert new < 0.7 * old
    known = predictors[0].block_times.choices
    assert not (known[:, None] == choices[test]).all(axis=2).any()


def test_kernel_times_that_mislead_and_few_of_them_are_not_taken():
    choices, latency = measured(60, noise=0.005)
    random = BlockTimes(choices, np.random.default_rng(0).random((60, 21)))
    assert train(SPACE, choices, latency, compare=False, block_times=random).predictor.name == (
        "hybrid"
    )
    few = kernel_times(choices).of(choices[:0])
    pack = train(SPACE, choices, latency, compare=False, block_times=few)
    assert list(pack.comparison) == ["hybrid"]
