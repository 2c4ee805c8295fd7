"""All interactions at once, in spaces that can be held whole."""

import itertools
from typing import Any

import numpy as np
import pytest
from small_space import SmallSpace

from latprof.predictors.fitting.grid import fit_grid, grid_rows, is_small
from latprof.predictors.models.by_name import make_predictor

SIZES = (3, 4, 5, 3)
EVERYTHING = np.array(list(itertools.product(*map(range, SIZES))), dtype=np.uint8)


def truth(order, seed=0):
    """Latencies in which up to ``order`` decisions interact."""
    generator = np.random.default_rng(seed)
    total = np.full(SIZES, 20.0)
    for size in range(1, order + 1):
        for axes in itertools.combinations(range(4), size):
            shape = [SIZES[a] if a in axes else 1 for a in range(4)]
            total = total + generator.standard_normal(shape) * 2.0**-size
    return total


def test_architectures_are_numbered_in_the_order_of_the_grid():
    np.testing.assert_array_equal(grid_rows(EVERYTHING, SIZES), np.arange(len(EVERYTHING)))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_what_was_not_measured_follows_from_what_was(order):
    values = truth(order)
    rows = np.random.default_rng(1).permutation(values.size)
    train, test = rows[:140], rows[140:]
    found = fit_grid(train, values.ravel()[train], SIZES).mean_ms.ravel()
    left = np.mean((found - values.ravel())[test] ** 2) / values.ravel()[test].var()
    assert left < {1: 1e-6, 2: 0.05, 3: 0.25}[order]


def test_noise_is_told_from_interactions():
    values = truth(1)
    generator = np.random.default_rng(2)
    rows = generator.permutation(values.size)[:150]
    fit = fit_grid(rows, values.ravel()[rows] + 0.3 * generator.standard_normal(150), SIZES)
    assert np.sqrt(fit.noise) == pytest.approx(0.3, rel=0.3)
    assert np.sqrt(np.mean((fit.mean_ms - values) ** 2)) < 0.15


def test_constant_latencies_and_repeated_rows_are_fine():
    rows = np.array([0, 0, 5, 5, 9])
    np.testing.assert_allclose(fit_grid(rows, np.full(5, 3.0), SIZES).mean_ms, 3.0)
    assert np.isfinite(fit_grid(rows, np.arange(5.0) + 1, SIZES).mean_ms).all()


def test_rows_left_out_are_predicted_without_themselves():
    values = truth(2).ravel()
    rows = np.arange(values.size)
    folds = rows % 8
    fit = fit_grid(rows, values, SIZES)
    held = fit.held_out(rows, values, folds)
    for fold in (0, 3):
        rest = folds != fold
        expected = fit_grid(rows[rest], values[rest], SIZES).mean_ms.ravel()[rows[~rest]]
        np.testing.assert_allclose(held[~rest], expected)


def test_small_is_what_fits_in_a_table():
    assert is_small((5,) * 6)
    assert is_small((3,) * 8)
    assert not is_small((7,) * 21)


def test_hybrid_keeps_interactions_where_they_hold_and_gives_them_back_from_files():
    space = SmallSpace()
    choices = np.array(list(itertools.product(*map(range, space.num_choices))), dtype=np.uint8)
    generator = np.random.default_rng(0)
    latency = 10 + 3.0 * (choices[:, 0] * choices[:, 1]) + 0.05 * generator.standard_normal(60)
    predictor: Any = make_predictor("hybrid", space).fit(choices, latency)
    assert len(predictor.interactions_) == 1
    assert np.abs(predictor.predict(choices) - latency).max() < 0.5
    # The table holds the main effects: the interactions average to nothing along each decision.
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        np.testing.assert_allclose(
            predictor.interactions_[0].table_ms.mean(axis=others), 0, atol=1e-9
        )
    again = type(predictor).from_files(space, predictor.to_files())
    np.testing.assert_array_equal(again.predict(choices), predictor.predict(choices))
