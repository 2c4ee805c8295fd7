import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latprof.predictors.fitting.ridge import fit_ridge


def problem(rows, columns, seed=0):
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((rows, columns))
    return features, features @ generator.standard_normal(columns) + 5 + generator.random(rows)


def by_normal_equations(features, target, penalty, weights=None):
    """Ridge with a free intercept, solved directly; row weights have mean 1."""
    rows, columns = features.shape
    wide = np.column_stack([np.ones(rows), features])
    weights = np.ones(rows) if weights is None else weights
    shrink = np.diag([0.0, *np.full(columns, penalty)])
    weighted = wide * weights[:, None]
    solution = np.linalg.solve(weighted.T @ wide + shrink, weighted.T @ target)
    return solution[0], solution[1:]


@pytest.mark.parametrize("shape", [(40, 5), (30, 20), (12, 30), (200, 3)])
def test_the_coefficients_solve_the_normal_equations(shape):
    features, target = problem(*shape)
    weights = np.linspace(0.2, 1.8, shape[0])
    fit = fit_ridge(features, target, weights)
    intercept, coefficients = by_normal_equations(features, target, fit.penalty, weights)
    assert fit.intercept == pytest.approx(intercept, rel=1e-5)
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-4, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 25), st.integers(1, 30), st.integers(0, 1000))
def test_leave_one_out_is_what_refitting_without_the_row_gives(rows, columns, seed):
    features, target = problem(rows, columns, seed)
    weights = np.random.default_rng(seed).uniform(0.3, 2, rows)
    weights /= weights.mean()
    fit = fit_ridge(features, target, weights)
    for row in range(min(rows, 4)):
        rest = np.arange(rows) != row
        intercept, coefficients = by_normal_equations(
            features[rest], target[rest], fit.penalty, weights[rest]
        )
        expected = intercept + features[row] @ coefficients
        assert fit.left_out[row] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_penalty_is_low_without_noise_and_high_where_nothing_can_be_learned():
    features, _ = problem(50, 4)
    generator = np.random.default_rng(1)
    clear = fit_ridge(features, features @ [1.0, 2, 3, 4])
    nothing = fit_ridge(features, generator.standard_normal(50))
    assert clear.error < 1e-9
    assert nothing.penalty > 1e3 * clear.penalty
    assert np.abs(nothing.coefficients).max() < 0.3


def test_the_intercept_is_not_shrunk():
    features, target = problem(30, 3)
    shifted = fit_ridge(features, target + 1000)
    assert shifted.intercept - fit_ridge(features, target).intercept == pytest.approx(1000)


def test_constant_features_or_targets_give_the_mean():
    fit = fit_ridge(np.ones((6, 2)), np.arange(6.0))
    assert (fit.intercept, *fit.coefficients) == (2.5, 0, 0)
    assert fit.left_out[0] == pytest.approx(np.mean([1, 2, 3, 4, 5]))
    np.testing.assert_allclose(fit_ridge(problem(9, 3)[0], np.full(9, 4.0)).left_out, 4.0)
