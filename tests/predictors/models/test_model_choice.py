"""The model that is kept is the one that the rows were made with."""

import itertools
from typing import Any

import numpy as np
import pytest
from small_space import PairedSpace, SmallSpace
from synthetic_latency import SPACE, measured

from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.models import additive_model
from latprof.predictors.models.additive_model import fit_additive
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.models.model_choice import choose_model

TABLES = space_tables(SPACE)


def everything(space):
    return np.array(list(itertools.product(*map(range, space.num_choices))), dtype=np.uint8)


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
def test_additive_latencies_keep_no_trees_and_no_interactions(noise):
    model = choose_model(TABLES, *measured(400, noise=noise, seed=2), 0)
    assert not len(model.trees)
    assert not model.interactions


def test_a_step_that_two_blocks_make_keeps_trees():
    choices, latency = measured(400, seed=3)
    step = 8.0 * ((choices[:, 0] < 3) & (choices[:, 5] > 2))
    model = choose_model(TABLES, choices, latency + step, 0)
    assert len(model.trees)
    assert np.std(model.held_ms - latency - step) < 0.5 * np.std(step)


def additive(choices, latency):
    return fit_additive(TABLES, TABLES.columns(choices), latency, fold_numbers(len(latency), 4))


def test_outliers_choose_the_robust_fit(monkeypatch):
    """One row in twenty is three times too slow, as where something else ran on the device."""
    choices, truth = measured(400, seed=5)
    generator = np.random.default_rng(0)
    latency = truth * generator.normal(1, 0.005, len(truth))
    latency[generator.random(len(truth)) < 0.05] *= 3
    robust = additive(choices, latency)
    # The same where a draw of the rows chooses and all are fitted once.
    monkeypatch.setattr(additive_model, "telling_rows", lambda *_: np.arange(200))
    by_draw = additive(choices, latency)
    monkeypatch.setattr(additive_model, "ROBUST_ROWS", 10**9)
    plain = additive(choices, latency)
    assert (robust.robust, by_draw.robust, plain.robust) == (True, True, False)
    test, expected = measured(1000, seed=6)

    def error(model):  # but for the level, which the outliers are a share of
        return np.std(model.costs.predict(TABLES.columns(test)) - expected)

    assert error(robust) < 0.5 * error(plain)
    assert error(by_draw) < 0.5 * error(plain)


def test_clean_rows_do_not_choose_it():
    assert not additive(*measured(400, noise=0.01, seed=1)).robust


def test_a_small_space_with_interactions_keeps_one_table_over_all_decisions():
    space = SmallSpace()
    choices = everything(space)
    latency = 10 + 3.0 * (choices[:, 0] * choices[:, 1]) * (choices[:, 2] > 1)
    latency = latency + 0.05 * np.random.default_rng(0).standard_normal(len(latency))
    model = choose_model(space_tables(space), choices, latency, 0)
    assert [factor.decisions for factor in model.interactions] == [(0, 1, 2)]
    assert not len(model.trees)


def test_a_small_space_without_interactions_keeps_the_additive_table():
    space = SmallSpace()
    choices = everything(space)
    generator = np.random.default_rng(1)
    latency = 10.0 + choices @ [1.0, 2.0, 0.5] + 0.2 * generator.standard_normal(len(choices))
    model = choose_model(space_tables(space), choices, latency, 0)
    assert not model.interactions


def test_a_whole_grid_over_parts_of_several_decisions_is_the_sum_of_its_tables():
    """Parts name their decisions in an order of their own, and one decision is none."""
    space = PairedSpace()
    choices = everything(space)
    latency = 10 + 1.0 * choices[:, 0] + 5.0 * choices[:, 1] * choices[:, 2]
    latency = latency + 0.02 * np.random.default_rng(0).standard_normal(len(latency))
    predictor: Any = make_predictor("hybrid", space).fit(choices, latency)
    assert len(predictor.interactions_) == 1
    assert np.abs(predictor.predict(choices) - latency).max() < 1.0
    again = type(predictor).from_files(space, predictor.to_files())
    np.testing.assert_array_equal(again.predict(choices), predictor.predict(choices))


@pytest.mark.parametrize("interaction_ms", [0.0, 0.5])
def test_held_out_predictions_do_not_know_their_row(interaction_ms):
    """Noise that is pure chance is in no prediction of a row left out."""
    choices, truth = measured(300, interaction_ms=interaction_ms, seed=9)
    noise = np.random.default_rng(3).normal(0, 0.05, len(truth)) * truth
    model = choose_model(TABLES, choices, truth + noise, 0)
    known = np.corrcoef(model.held_ms - truth, noise)[0, 1]
    assert abs(known) < 0.2
    fresh, expected = measured(1000, interaction_ms=interaction_ms, seed=10)
    new = model.additive.predict(fresh) + model.trees.predict(fresh)
    held_rmse = np.sqrt(np.mean((model.held_ms - truth) ** 2))
    assert held_rmse == pytest.approx(np.sqrt(np.mean((new - expected) ** 2)), rel=0.3)


def test_held_out_predictions_of_a_grid_do_not_know_their_row():
    space = SmallSpace()
    choices = everything(space)
    noise = np.random.default_rng(0).normal(0, 0.5, len(choices))
    truth = 20 + 3.0 * (choices[:, 0] * choices[:, 1])
    model = choose_model(space_tables(space), choices, truth + noise, 0)
    assert model.interactions
    assert np.std(model.held_ms - truth - noise) > 0.9 * noise.std()


def test_predictions_of_few_rows_are_made_by_priors_that_had_not_seen_them():
    """Pure chance: whatever prior is chosen for it fits the rows better than others."""
    choices = SPACE.sample_choices(40, seed=3)
    latency = np.random.default_rng(1).normal(20, 1, 40)
    model = choose_model(TABLES, choices, latency, 0)
    fresh = np.random.default_rng(2).normal(20, 1, 2000)
    predicted = model.predict(SPACE.sample_choices(2000, seed=4))
    new = np.sqrt(np.mean((predicted - fresh) ** 2))
    assert np.sqrt(np.mean((model.held_ms - latency) ** 2)) > 0.85 * new


def test_tables_of_neighbouring_blocks_are_kept_where_neighbours_cost_each_other():
    train, (choices, latency) = (measured(n, interaction_ms=0.3, seed=n) for n in (1200, 1000))
    noise = np.random.default_rng(0).normal(1, 0.005, len(train[1]))
    predictor: Any = make_predictor("hybrid", SPACE).fit(train[0], train[1] * noise)
    kept = [each.decisions for each in predictor.interactions_]
    assert [pair for pair in kept if len(pair) == 2] == [(p, p + 1) for p in range(20)]
    additive_error = np.std(predictor.additive_.predict(choices) - latency)
    assert np.std(predictor.predict(choices) - latency) < 0.6 * additive_error
    again = type(predictor).from_files(SPACE, predictor.to_files())
    np.testing.assert_array_equal(again.predict(choices), predictor.predict(choices))


def test_a_table_of_the_sizes_of_blocks_in_a_row_is_kept_where_they_share_buffers():
    """A block of another expansion than the one before it finds no buffer of its size."""

    def missed_ms(choices):
        wide = (choices[:, :5] > 2) & (choices[:, :5] < 6)
        return 0.3 * (wide[:, 1:] != wide[:, :-1]).sum(axis=1) * (1 + wide[:, 0])

    train, latency = measured(800, noise=0.003, seed=1)
    choices, expected = measured(1000, seed=2)
    latency = latency + missed_ms(train)
    expected = expected + missed_ms(choices)
    model = choose_model(TABLES, train, latency, 0)
    assert (0, 1, 2, 3, 4) in [each.decisions for each in model.interactions]
    additive_error = np.std(model.additive.predict(choices) - expected)
    assert np.std(model.predict(choices) - expected) < 0.3 * additive_error
