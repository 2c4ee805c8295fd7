"""Two groups of features: what fits of other weights, penalties and rows give, without them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latprof.predictors.fitting.grouped_ridge import fit_alike, fit_grouped, fit_robust_grouped

WEIGHTS = (0.1, 0.3, 1.0)


def problem(rows, shared, others, seed=0):
    generator = np.random.default_rng(seed)
    first, second = (generator.standard_normal((rows, q)) for q in (shared, others))
    target = 5 + first.sum(axis=1) + 0.3 * second @ generator.standard_normal(others)
    return first, second, target + 0.1 * generator.standard_normal(rows)


def directly(fit, shared, others, target, row_weights, rows, new):
    """What a ridge on these rows alone, solved directly, predicts for the new ones."""
    wide = np.hstack([np.ones((len(target), 1)), shared, fit.weight * others])
    shrink = np.diag([0.0, *np.full(wide.shape[1] - 1, fit.ridge.penalty)])
    weighted = wide[rows] * row_weights[rows, None]
    solution = np.linalg.solve(weighted.T @ wide[rows] + shrink, weighted.T @ target[rows])
    return wide[new] @ solution


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(8, 25), st.integers(0, 4), st.integers(1, 30), st.integers(0, 1000))
def test_it_is_the_ridge_of_these_weights_with_rows_and_without(rows, shared, others, seed):
    first, second, target = problem(rows, shared, others, seed)
    row_weights = np.random.default_rng(seed).uniform(0.3, 2, rows)
    row_weights /= row_weights.mean()
    chosen = fit_grouped(first, second, target, WEIGHTS, row_weights)
    for fit in (chosen, fit_alike(chosen, first, second, target, row_weights)):
        is_the_ridge(fit, first, second, target, row_weights)


def test_some_of_many_rows_choose_the_penalty_and_all_are_fitted():
    first, second, target = problem(2500, 2, 12)
    best = fit_grouped(first, second, target, WEIGHTS)
    ridge = dataclasses.replace(best.ridge, penalty=2e4)
    fit = fit_alike(dataclasses.replace(best, ridge=ridge), first, second, target)
    assert fit.ridge.penalty == pytest.approx(8e3)  # the nearest to the best that is tried
    is_the_ridge(fit, first, second, target, np.ones(len(target)))


def is_the_ridge(fit, first, second, target, row_weights):
    whole = np.arange(len(target))

    def expected(kept, new):
        return directly(fit, first, second, target, row_weights, kept, new)

    features = np.hstack([first, fit.weight * second])
    predicted = fit.ridge.intercept + features @ fit.ridge.coefficients
    np.testing.assert_allclose(predicted, expected(whole, whole), rtol=1e-3, atol=1e-3)
    for row in range(4):
        alone = expected(whole != row, [row])
        np.testing.assert_allclose(fit.ridge.left_out[[row]], alone, rtol=1e-3, atol=1e-3)
    folds = whole % 3
    held = fit.held_out(folds)
    for fold in range(3):
        together = expected(folds != fold, folds == fold)
        # With hardly a penalty and more features than rows little but rounding decides.
        np.testing.assert_allclose(held[folds == fold], together, rtol=0.02, atol=0.02)
    within = fit.left_out_within(folds, 0)
    for row in (1, 2):
        alone = expected((folds != 0) & (whole != row), [row])
        np.testing.assert_allclose(within[[row]], alone, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(within[folds == 0], held[folds == 0], rtol=1e-3, atol=1e-3)
    one_by_one = fit.held_out(whole)
    np.testing.assert_allclose(one_by_one, fit.ridge.left_out, rtol=1e-3, atol=1e-3)


def test_the_weight_is_low_where_the_second_group_says_nothing():
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal((60, 2)), generator.standard_normal((60, 40))
    nothing = fit_grouped(first, second, first @ [1.0, 2.0] + 0.01 * second[:, 0], WEIGHTS)
    much = fit_grouped(first, second, second @ generator.standard_normal(40), WEIGHTS)
    assert nothing.weight < much.weight == 1.0
    assert nothing.ridge.error < 0.01


def test_features_or_targets_that_do_not_vary_give_the_mean():
    fit = fit_grouped(np.ones((6, 1)), np.ones((6, 2)), np.arange(6.0))
    assert (fit.ridge.intercept, *fit.ridge.coefficients) == (2.5, 0, 0, 0)
    assert fit.ridge.left_out[0] == pytest.approx(np.mean([1, 2, 3, 4, 5]))
    first, second, _ = problem(9, 1, 3)
    np.testing.assert_allclose(fit_grouped(first, second, np.full(9, 4.0)).ridge.left_out, 4.0)


def robust_and_plain(features, target):
    nothing = np.empty((len(target), 0))
    plain = fit_grouped(nothing, features, target)
    return fit_robust_grouped(nothing, features, target, plain), plain


def test_outliers_do_not_pull_a_robust_fit_and_its_mean_is_that_of_the_rows():
    _, features, _ = problem(400, 0, 6)
    generator = np.random.default_rng(3)
    truth = 50 + features @ np.arange(1.0, 7.0)
    target = truth + 0.1 * generator.standard_normal(400)
    target[generator.permutation(400)[:40]] += 30.0  # one way only: the mean lies 3 above
    fits = robust_and_plain(features, target)
    slopes = [fit.ridge.coefficients / np.arange(1.0, 7.0) for fit in fits]
    assert np.ptp(slopes[0]) < 0.3 * np.ptp(slopes[1])
    robust = fits[0]
    predicted = robust.ridge.intercept + features @ robust.ridge.coefficients
    assert predicted.mean() == pytest.approx(target.mean(), abs=0.3)
    assert robust.ridge.error == pytest.approx(np.mean((target - robust.ridge.left_out) ** 2))
    np.testing.assert_allclose(robust.held_out(np.arange(400)), robust.ridge.left_out)


def test_without_outliers_or_noise_the_robust_fit_is_the_plain_one():
    _, features, _ = problem(60, 0, 3)
    exact, _ = robust_and_plain(features, features @ [1.0, 2, 3] + 7)
    np.testing.assert_allclose(exact.ridge.coefficients, [1, 2, 3], rtol=1e-4)
    same, _ = robust_and_plain(features, np.full(60, 4.0))
    assert (same.ridge.intercept, *same.ridge.coefficients) == (4.0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_robust_fit_of_noise_is_the_mean_and_knows_its_error(seed):
    """Without a signal, predictions without a row fall as the row rises; that is no slope."""
    generator = np.random.default_rng(seed)
    target = 20 + generator.random(60)
    fit = robust_and_plain(generator.normal(size=(60, 30)), target)[0].ridge
    assert np.std(target - fit.left_out) > 0.9 * target.std()
    fresh = generator.normal(size=(200, 30)) @ fit.coefficients
    assert fresh.std() < target.std()
