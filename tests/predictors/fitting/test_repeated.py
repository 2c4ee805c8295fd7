"""Networks that were measured several times count once, and intervals still hold new ones."""

import itertools

import numpy as np
import pytest
from small_space import SmallSpace
from synthetic_latency import SPACE, measured

from latprof.datasets.spaces.named import get_space
from latprof.errors import NotEnoughDataError
from latprof.predictors.fitting.repeated import distinct_rows
from latprof.predictors.models.by_name import make_predictor, predictor_names


def test_rows_are_merged_in_the_order_in_which_they_first_came():
    choices = np.array([[3, 0], [1, 1], [3, 0], [0, 2], [1, 1], [3, 0]], dtype=np.uint8)
    rows = distinct_rows(choices, np.array([1.0, 2.0, 2.0, 7.0, 4.0, 6.0]))
    np.testing.assert_array_equal(rows.choices, [[3, 0], [1, 1], [0, 2]])
    np.testing.assert_array_equal(rows.mean_ms, [3.0, 3.0, 7.0])
    np.testing.assert_array_equal(rows.first_ms, [1.0, 2.0, 7.0])
    np.testing.assert_array_equal(rows.numbers, [0, 1, 0, 2, 1, 0])


def test_rows_that_are_all_different_stay_as_they_are():
    choices, latency = measured(50)
    rows = distinct_rows(choices, latency)
    assert rows.choices is choices
    assert rows.mean_ms is latency
    np.testing.assert_array_equal(rows.numbers, np.arange(50))


@pytest.mark.parametrize("name", predictor_names())
def test_intervals_hold_new_networks_where_the_rows_are_repeated(name):
    """Otherwise a fold would know each row's copies, and intervals hold one in ten."""
    choices, latency = measured(150, interaction_ms=0.3)
    generator = np.random.default_rng(0)
    again = np.repeat(latency, 3) * generator.normal(1, 0.003, 450)
    predictor = make_predictor(name, SPACE).fit(np.repeat(choices, 3, axis=0), again)
    test, expected = measured(1000, interaction_ms=0.3, seed=5)
    low, high = predictor.predict_interval(test)
    assert np.mean((low <= expected) & (expected <= high)) > 0.8
    assert predictor.out_of_fold_ms_.shape == (450,)
    assert np.ptp(predictor.out_of_fold_ms_.reshape(150, 3), axis=1).max() == 0


def test_the_same_network_spelt_in_two_ways_is_one():
    space = get_space("ofa-mobilenetv3", resolutions=[160, 224])
    choices = space.sample_choices(7, 0)
    other = choices.copy()
    other[~space.active(choices)] = 1
    assert np.any(other != choices)
    with pytest.raises(NotEnoughDataError, match="got 7"):
        make_predictor("linear", space).fit(np.concatenate([choices, other]), np.arange(14) + 1.0)


def test_every_predictor_fits_what_is_hard_to_fit():
    """Constant latencies, whole numbers, six orders of magnitude, and the fewest rows there are."""
    space = SmallSpace()
    choices = np.array(list(itertools.product(*map(range, space.num_choices))), dtype=np.uint8)
    cases = [
        (choices, np.full(60, 3.0)),
        (choices, 1.0 + choices.sum(axis=1)),
        (choices, np.geomspace(1e-3, 1e5, 60)),
        (choices[:8], np.full(8, 2.0)),
        (choices[:30], np.arange(30) + 1.0),  # candidates of the first decision never seen
    ]
    for name, (rows, latency) in itertools.product(predictor_names(), cases):
        predictor = make_predictor(name, space).fit(rows, latency)
        low, high = predictor.predict_interval(rows)
        predicted = predictor.predict(rows)
        assert np.isfinite([predicted, low, high, predictor.distance(rows)]).all()
        assert np.all((low <= predicted) & (predicted > 0))
        # Latencies that are all within a factor of their mean have no endless intervals.
        assert np.all(high <= 1e4 * latency.max())
