"""Intervals, upper bounds and distances hold what they promise."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_latency import SPACE, measured

from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.calibration import FILE, Calibration, calibrate
from latprof.predictors.models.by_name import make_predictor

TABLES = space_tables(SPACE)


@pytest.fixture(scope="module")
def hard_and_easy():
    """Rows whose noise grows tenfold with one block's expansion, and a predictor of them."""
    choices, latency = measured(3000, seed=2)
    generator = np.random.default_rng(5)
    return choices, latency * (1 + noise_of(choices) * generator.standard_normal(len(latency)))


def noise_of(choices):
    return np.where(choices[:, 0] >= 3, 0.02, 0.002)


@pytest.fixture(scope="module")
def fitted(hard_and_easy):
    choices, latency = hard_and_easy
    return make_predictor("linear", SPACE).fit(choices[:1500], latency[:1500])


def test_intervals_hold_nine_of_ten_and_are_wide_where_the_noise_is(hard_and_easy, fitted):
    choices, latency = (values[1500:] for values in hard_and_easy)
    low, high = fitted.predict_interval(choices)
    inside = (low <= latency) & (latency <= high)
    assert 0.87 < inside.mean() < 0.93
    hard = choices[:, 0] >= 3
    assert np.mean((high - low)[hard]) > 3 * np.mean((high - low)[~hard])
    assert inside[hard].mean() > 0.8
    assert inside[~hard].mean() > 0.8


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_measurements_stay_below_the_upper_bound_as_often_as_it_says(hard_and_easy, fitted, level):
    choices, latency = (values[1500:] for values in hard_and_easy)
    below = latency <= fitted.predict(choices, upper=level)
    assert below.mean() == pytest.approx(level, abs=0.03)
    assert np.all(fitted.predict(choices, upper=0.99) >= fitted.predict(choices, upper=0.5))


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, 2.0, math.nan])
def test_a_level_that_is_no_share_is_refused(fitted, wrong):
    with pytest.raises(InvalidValueError):
        fitted.predict(SPACE.sample(1), upper=wrong)
    with pytest.raises(InvalidValueError):
        fitted.predict_interval(SPACE.sample(1), coverage=wrong)


def test_a_bound_that_the_rows_cannot_promise_is_refused_and_says_how_many_would():
    choices, latency = measured(12, noise=0.01)
    few = make_predictor("linear", SPACE).fit(choices, latency)
    with pytest.raises(NotEnoughDataError, match="at least 19"):
        few.predict(choices, upper=0.95)
    assert few.predict(choices, upper=0.9).shape == (12,)


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=300))
def test_an_interval_holds_the_promised_share_of_its_own_rows(ratios):
    latency = np.array(ratios)
    predicted = np.ones(len(latency))
    calibration = calibrate(TABLES, SPACE.sample_choices(len(latency)), predicted, latency)
    choices = SPACE.sample_choices(len(latency))
    low, high, coverage = calibration.interval(choices, predicted)
    inside = (low <= latency + 1e-12) & (latency <= high + 1e-12)
    assert coverage == (
        0.9 if len(latency) >= 9 else pytest.approx(len(latency) / (len(latency) + 1))
    )
    if len(latency) < 200:  # beyond, the difficulty of a row is not the one it was judged by
        assert inside.sum() >= min(math.ceil((len(latency) + 1) * 0.9 - 1e-9), len(latency))
    assert np.all(low >= 0)


def test_the_distance_is_one_where_the_training_rows_end_and_grows_towards_the_corners(fitted):
    inside = fitted.distance(SPACE.sample_choices(4000, seed=77))
    assert np.mean(inside <= 1) == pytest.approx(0.99, abs=0.01)
    smallest = [0 if count == 6 else 6 for count in SPACE.num_choices]
    largest = np.full(21, 5)
    assert np.all(fitted.distance(np.array([smallest, largest])) > 1.3)


def test_few_rows_give_a_distance_that_is_finite_and_finds_corners():
    choices, latency = measured(10)
    few = make_predictor("hybrid", SPACE).fit(choices, latency)
    assert np.isfinite(few.distance(SPACE.sample_choices(100))).all()
    assert few.distance(np.full((1, 21), 5))[0] > 1


def test_a_pack_without_calibration_says_what_to_do(fitted):
    bare = type(fitted).from_files(SPACE, fitted.to_files())
    assert bare.calibration_ is None
    for ask in (lambda p: p.predict(SPACE.sample(1), upper=0.9), lambda p: p.distance([])):
        with pytest.raises(NotEnoughDataError, match="fit it to measurements"):
            ask(bare)
        with pytest.raises(InvalidValueError, match="not fitted"):
            ask(fitted.clone())


def test_files_give_back_every_bound_to_the_bit(fitted):
    again = Calibration.from_files({FILE: fitted.calibration_.to_bytes()}, TABLES)
    choices = SPACE.sample_choices(300, seed=8)
    latency = fitted.predict(choices)
    for level in (0.05, 0.5, 0.95):
        np.testing.assert_array_equal(
            again.upper(choices, latency, level), fitted.calibration_.upper(choices, latency, level)
        )
    np.testing.assert_array_equal(again.distance(choices), fitted.distance(choices))


CHANGES = {
    "no rows": lambda v: v.update(rows=0),
    "unsorted scores": lambda v: v["scores"].reverse(),
    "unsorted ranks": lambda v: v["ranks"].reverse(),
    "too few ranks": lambda v: (v["ranks"].pop(), v["scores"].pop()),
    "no scores": lambda v: v.update(ranks=[], scores=[]),
    "a wild slope": lambda v: v["difficulty"].update(slope=1e9),
    "another centre": lambda v: v["centre"].pop(),
    "a ragged whitening": lambda v: v["whitening"][0].pop(),
    "words": lambda v: v.update(scores="many"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_files_that_are_no_calibration_are_refused(fitted, name):
    values = json.loads(fitted.calibration_.to_bytes())
    CHANGES[name](values)
    with pytest.raises(PackError):
        Calibration.from_files({FILE: json.dumps(values).encode()}, TABLES)


@pytest.mark.parametrize(("rows", "coverage"), [(250, 0.999), (3000, 0.9999), (3000, 0.9995)])
def test_more_coverage_than_many_rows_can_give_each_end_is_still_answered(rows, coverage):
    choices = SPACE.sample_choices(rows)
    latency = np.random.default_rng(0).normal(20, 1, rows)
    calibration = calibrate(TABLES, choices, np.full(rows, 20.0), latency)
    low, high, promised = calibration.interval(choices, np.full(rows, 20.0), coverage)
    assert promised == pytest.approx(min(coverage, rows / (rows + 1)))
    assert np.mean((low <= latency) & (latency <= high)) > 0.99


def test_ends_are_in_order_for_a_prediction_below_zero():
    choices, latency = measured(50, noise=0.01)
    calibration = calibrate(TABLES, choices, latency.mean() + 0 * latency, latency)
    low, high, _ = calibration.interval(choices, np.full(50, -1e3))
    assert np.all((low <= high) & (low >= 0))


def test_models_that_leave_out_predict_below_zero_give_no_endless_intervals():
    choices, latency = measured(50, noise=0.01)
    left_out = latency.copy()
    left_out[:10] = -5.0
    calibration = calibrate(TABLES, choices, left_out, latency)
    _, high, _ = calibration.interval(choices, latency)
    assert high.max() < 10 * latency.max()


def test_what_no_training_row_had_is_far_away():
    """Kernels of 7 have multiply-accumulates of their own, which are 0 in rows of kernels of 3."""
    choices = SPACE.sample_choices(300) // 3 * 3
    choices[choices == 6] = 3
    fitted = make_predictor("linear", SPACE).fit(choices, measured(300)[1])
    assert np.mean(fitted.distance(choices) <= 1) == pytest.approx(0.99, abs=0.01)
    assert fitted.distance(choices + 2).min() > 3


def test_no_upper_bound_is_below_the_least_that_a_prediction_can_be(hard_and_easy):
    choices = hard_and_easy[0][:12]
    latency = np.where(np.arange(12) == 0, 1e6, 5.0)  # one outlier: errors of both signs, large
    few = make_predictor("linear", SPACE).fit(choices, latency)
    assert few.predict(SPACE.sample_choices(200), upper=0.5).min() >= 2.5
