import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from latprof.errors import InvalidValueError
from latprof.predictors.fitting.evaluation import (
    Metrics,
    evaluate,
    fold_numbers,
)
from latprof.predictors.fitting.ridge import fit_ridge

latencies = st.floats(0.01, 1e4)
pairs = st.lists(st.tuples(latencies, latencies), min_size=1, max_size=60)


def test_metrics_of_a_case_worked_by_hand():
    metrics = evaluate([9.0, 21.0, 30.0, 48.0], [10.0, 20.0, 30.0, 40.0])
    assert metrics.rmse_ms == pytest.approx(math.sqrt((1 + 1 + 0 + 64) / 4))
    assert metrics.rmse_percent == pytest.approx(metrics.rmse_ms / 25 * 100)
    assert metrics.mape_percent == pytest.approx((10 + 5 + 0 + 20) / 4)
    assert metrics.within_5_percent == 50  # 5 % itself is within
    assert metrics.within_10_percent == 75
    assert metrics.spearman == pytest.approx(1)
    assert (metrics.kendall, metrics.rows) == (1, 4)


@given(pairs)
def test_metrics_keep_their_limits_and_survive_plain_values(rows):
    predicted, measured_ms = map(list, zip(*rows, strict=True))
    metrics = evaluate(predicted, measured_ms)
    assert 0 <= metrics.within_5_percent <= metrics.within_10_percent <= 100
    assert metrics.rmse_ms >= 0
    for rank in (metrics.spearman, metrics.kendall):
        assert math.isnan(rank) or -1 - 1e-9 <= rank <= 1 + 1e-9
    plain = metrics.to_dict()
    assert Metrics.from_dict(plain).to_dict() == plain
    assert not any(isinstance(v, float) and math.isnan(v) for v in plain.values())


@given(pairs, st.floats(0.1, 100))
def test_relative_errors_and_ranks_do_not_depend_on_the_unit(rows, factor):
    predicted, measured_ms = (np.array(column) for column in zip(*rows, strict=True))
    one, other = (
        evaluate(predicted, measured_ms),
        evaluate(predicted * factor, measured_ms * factor),
    )
    assert other.rmse_percent == pytest.approx(one.rmse_percent, rel=1e-6)
    assert other.mape_percent == pytest.approx(one.mape_percent, rel=1e-6, abs=1e-9)


def test_ranks_are_scipys_with_ties_too():
    generator = np.random.default_rng(0)
    first, second = generator.integers(1, 9, 50), generator.integers(1, 9, 50)
    metrics = evaluate(first, second)
    assert metrics.spearman == pytest.approx(stats.spearmanr(first, second).statistic)
    assert metrics.kendall == pytest.approx(stats.kendalltau(first, second).statistic)


def test_ranks_of_equal_values_are_nan_and_none_in_json():
    metrics = evaluate([1.0, 1.0], [1.0, 2.0])
    assert math.isnan(metrics.spearman)
    assert metrics.to_dict()["kendall"] is None


@pytest.mark.parametrize(
    ("predicted", "measured_ms"),
    [
        ([], []),
        ([1.0], [1.0, 2.0]),
        ([[1.0]], [[1.0]]),
        ([1.0], [0.0]),
        ([np.nan], [1.0]),
        ([1.0], [np.inf]),
    ],
)
def test_what_cannot_be_compared_is_refused(predicted, measured_ms):
    with pytest.raises(InvalidValueError):
        evaluate(predicted, measured_ms)


@pytest.mark.parametrize(
    "change",
    [
        {"rmse_ms": "1"},
        {"rows": 0},
        {"rows": 1.5},
        {"rows": None},
        {"kendall": True},
        {"more": 1},
        {"rmse_ms": 1e999},
    ],
)
def test_plain_values_that_are_no_metrics_are_refused(change):
    with pytest.raises(InvalidValueError):
        Metrics.from_dict({**evaluate([1.0, 2.0], [1.0, 2.0]).to_dict(), **change})


@given(st.integers(2, 200), st.integers(2, 9))
def test_folds_are_of_equal_size(n, folds):
    sizes = np.bincount(fold_numbers(n, folds), minlength=folds)
    assert sizes.sum() == n
    assert np.ptp(sizes) <= 1


def test_leave_one_out_of_the_ridge_is_cross_validation_with_a_fold_a_row():
    generator = np.random.default_rng(0)
    features = generator.standard_normal((12, 3))
    target = features.sum(axis=1) + generator.standard_normal(12)
    fit = fit_ridge(features, target)
    assert fit.error == pytest.approx(np.mean((fit.left_out - target) ** 2))
