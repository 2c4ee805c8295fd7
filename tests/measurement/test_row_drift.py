"""A drift over the order of rows is found where there is one, and only there."""

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.datasets.importers.flags import DRIFT, detect_flags
from latprof.errors import InvalidValueError
from latprof.measurement.quiet.row_drift import drift_of_order
from latprof.predictors.models.by_name import make_predictor

ROWS = 1000
HEATING = np.linspace(-1, 1, ROWS) ** 3
BACK_AND_FORTH = np.sin(np.linspace(0, 30, ROWS))


def noise(seed=0):
    return np.random.default_rng(seed).normal(0, 1, ROWS)


def chance(seed=1):
    return np.random.default_rng(seed).normal(20, 4, ROWS)


@pytest.mark.parametrize("drift", [HEATING, BACK_AND_FORTH])
def test_a_drift_is_found_whatever_its_form(drift):
    order = np.random.default_rng(2).permutation(ROWS).astype(float)
    there = drift[order.astype(int)]
    found = drift_of_order(order, there + noise(), chance())
    assert np.corrcoef(found, there)[0, 1] > 0.9
    assert found.mean() == pytest.approx(0, abs=1e-9)


def test_a_disturbance_of_a_few_rows_is_found():
    """As on phones: what else runs there lasts for some networks, and comes back."""
    there = 3.0 * (np.arange(ROWS) // 6 % 3 == 0)
    found = drift_of_order(np.arange(ROWS, dtype=float), there + noise(), chance())
    assert np.corrcoef(found, there)[0, 1] > 0.7


@pytest.mark.parametrize("seed", range(20))
def test_rows_in_random_order_have_none(seed):
    heavy = noise(seed) * np.where(np.random.default_rng(seed).random(ROWS) < 0.01, 30, 1)
    assert drift_of_order(np.arange(ROWS, dtype=float), heavy, chance(seed + 50)) is None


def test_rows_that_are_sorted_by_their_networks_show_none():
    order = np.arange(ROWS, dtype=float)
    assert drift_of_order(order, HEATING + noise(), np.sort(chance())) is None


def test_few_rows_tell_nothing():
    few = slice(0, 100)
    order = np.arange(100, dtype=float)
    assert drift_of_order(order, HEATING[few], chance()[few]) is None


def test_an_importer_flags_it():
    choices, latency = measured(4000, noise=0.01)
    assert DRIFT not in detect_flags(latency, choices)
    assert DRIFT in detect_flags(latency * (1 + 0.02 * np.linspace(-1, 1, 4000)), choices)


def test_a_fit_takes_it_off_and_its_predictions_are_without():
    choices, truth = measured(ROWS, seed=3)
    order = np.random.default_rng(5).permutation(ROWS)
    drifting = truth * (1 + 0.1 * HEATING[order] + 0.005 * noise())
    test, expected = measured(1000, seed=4)

    def error(**options):
        fitted = make_predictor("linear", SPACE).fit(choices, drifting, **options)
        return np.std(fitted.predict(test) - expected), fitted

    (plain, without), (steady, with_order) = error(), error(order=order)
    assert without.drift_ms_ is None
    assert with_order.drift_ms_.shape == (ROWS,)
    assert steady < 0.7 * plain


@pytest.mark.parametrize("wrong", [np.arange(3), np.full(50, np.nan), ["a"] * 50])
def test_an_order_that_is_none_is_refused(wrong):
    choices, latency = measured(50)
    with pytest.raises(InvalidValueError, match="order"):
        make_predictor("linear", SPACE).fit(choices, latency, order=wrong)
