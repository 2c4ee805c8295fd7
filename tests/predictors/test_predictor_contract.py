"""What every predictor promises, run over all of them."""

import threading

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    CoverageError,
    InvalidValueError,
    NotEnoughDataError,
    PackError,
    UnknownNameError,
)
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.pack.saving import load_pack, save_pack


def test_the_registry_lists_the_four_predictors_and_an_unknown_name_names_them():
    assert predictor_names() == ["hybrid", "linear", "lookup-table", "xgboost"]
    with pytest.raises(UnknownNameError, match=r"did you mean 'hybrid'.*lookup-table") as caught:
        make_predictor("hybird", SPACE)
    assert caught.value.known == predictor_names()
    with pytest.raises(InvalidValueError, match="depth"):
        make_predictor("linear", SPACE, depth=3)


@pytest.fixture(params=predictor_names())
def unfitted(request):
    return make_predictor(request.param, SPACE)


def test_fit_returns_self_and_the_predictions_are_milliseconds_near_the_rows(fitted, rows):
    choices, latency = rows
    again = fitted.clone()
    assert again.fit(choices, latency) is again
    assert again.fitted
    predicted = again.predict(choices)
    assert predicted.dtype == np.float64
    assert predicted.shape == latency.shape
    assert np.corrcoef(predicted, latency)[0, 1] > 0.7


def test_the_same_rows_and_seed_give_the_same_predictions_to_the_bit(fitted, rows):
    again = fitted.clone().fit(*rows)
    np.testing.assert_array_equal(again.predict(rows[0]), fitted.predict(rows[0]))


def test_rows_left_out_in_fit_are_predicted_worse_than_rows_seen(fitted, rows):
    choices, latency = rows
    assert fitted.out_of_fold_ms_.shape == latency.shape
    left_out = np.mean((fitted.out_of_fold_ms_ - latency) ** 2)
    assert left_out > np.mean((fitted.predict(choices) - latency) ** 2)
    assert left_out < latency.var()


def test_a_clone_has_the_arguments_and_is_not_fitted(fitted):
    clone = fitted.clone()
    assert clone.get_params() == fitted.get_params()
    assert not clone.fitted
    assert type(clone) is type(fitted)


def test_predict_before_fit_says_so(unfitted):
    with pytest.raises(InvalidValueError, match="not fitted yet; call fit first"):
        unfitted.predict(SPACE.sample(1))
    with pytest.raises(InvalidValueError, match="not fitted yet"):
        unfitted.to_files()


def test_architectures_arrays_and_every_integer_type_agree(fitted, rows):
    choices = rows[0][:20]
    expected = fitted.predict(choices)
    np.testing.assert_array_equal(fitted.predict(SPACE.architectures(choices)), expected)
    for dtype in (np.int64, np.int8, np.uint16):
        np.testing.assert_array_equal(fitted.predict(choices.astype(dtype)), expected)
    np.testing.assert_array_equal(fitted.predict(np.asfortranarray(choices)), expected)


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(fitted, rows):
    choices = np.tile(rows[0], (70, 1))
    together = fitted.predict(choices)
    np.testing.assert_array_equal(together, np.tile(fitted.predict(rows[0]), 70))
    np.testing.assert_array_equal(fitted.predict(choices[7:8]), together[7:8])


def test_a_batch_of_no_rows_gives_no_predictions(fitted):
    for nothing in ([], np.empty((0, 21), dtype=np.uint8)):
        assert fitted.predict(nothing).shape == (0,)


def test_another_space_or_an_index_that_is_no_candidate_is_refused(fitted):
    with pytest.raises(InvalidValueError, match="another space"):
        fitted.predict([Architecture("fbnet", (0,) * 21)])
    with pytest.raises(InvalidValueError, match="wrong shape"):
        fitted.predict(np.zeros((3, 20), dtype=np.uint8))
    wrong = np.zeros((3, 21), dtype=np.int64)
    wrong[1, 0] = 6  # position 0 has no zero operation
    with pytest.raises(InvalidValueError, match="decision 0 of architecture 1 has no candidate 6"):
        fitted.predict(wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0, 1e300])
def test_labels_that_are_no_latency_are_refused(unfitted, rows, bad):
    latency = rows[1].copy()
    latency[3] = bad
    with pytest.raises(InvalidValueError, match="not finite and above 0"):
        unfitted.fit(rows[0], latency)
    assert not unfitted.fitted


def test_too_few_rows_or_lengths_that_differ_are_refused(unfitted, rows):
    choices, latency = rows
    with pytest.raises(NotEnoughDataError, match="expected at least 8, got 7"):
        unfitted.fit(choices[:7], latency[:7])
    with pytest.raises(InvalidValueError, match="wrong shape"):
        unfitted.fit(choices, latency[:-1])


def test_the_fewest_rows_and_constant_latencies_are_enough_to_fit(unfitted, rows):
    choices = rows[0][: unfitted.min_rows]
    unfitted.fit(choices, np.full(len(choices), 7.5))
    np.testing.assert_allclose(unfitted.predict(choices), 7.5, rtol=1e-6)


def test_saved_and_loaded_it_predicts_to_the_bit_the_same(fitted, rows, tmp_path):
    save_pack(fitted, tmp_path / "a.pack")
    loaded = load_pack(tmp_path / "a.pack").predictor
    assert type(loaded) is type(fitted)
    assert loaded.get_params()["space"].description == SPACE.description
    np.testing.assert_array_equal(loaded.predict(rows[0]), fitted.predict(rows[0]))
    assert loaded.to_files() == fitted.to_files()


def test_files_of_another_space_are_refused(fitted):
    small = ProxylessSpace(widths=(32, 16, 24, 40, 80, 80, 192, 320, 1280))
    if fitted.name == "lookup-table":  # a table may have gaps, and they stay gaps
        table = type(fitted).from_files(small, fitted.to_files())
        with pytest.raises(CoverageError, match="zero-input"):
            table.predict(np.array([[0] * 12 + [6] + [0] * 8]))
        return
    with pytest.raises(PackError):  # its fourth stage has one more zero operation
        type(fitted).from_files(small, fitted.to_files())


def test_threads_may_share_a_fitted_predictor(fitted, rows):
    expected, seen = fitted.predict(rows[0]), []
    loaded = type(fitted).from_files(SPACE, fitted.to_files())  # nothing compiled yet

    def ask():
        seen.append(loaded.predict(rows[0]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    for predicted in seen:
        np.testing.assert_array_equal(predicted, expected)


def test_more_rows_than_columns_and_fewer_are_both_fitted(unfitted):
    for n in (40, 300):
        choices, latency = measured(n, noise=0.01, seed=n)
        unfitted.fit(choices, latency)
        assert np.isfinite(unfitted.predict(choices)).all()
