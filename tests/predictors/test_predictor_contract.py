"""Every registered predictor passes the contract suite; what is said of the four of latprof."""

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import CoverageError, InvalidValueError, PackError, UnknownNameError
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.models.transfer_predictor import TransferPredictor
from latprof.registry import PREDICTORS
from latprof.testing.predictor_contract import PredictorContract
from latprof.testing.problems import made_up_measurements


class TestRegisteredPredictors(PredictorContract):
    @pytest.fixture(params=predictor_names())
    def predictor(self, request):
        return make_predictor(request.param, SPACE)


class TestTransferPredictor(PredictorContract):
    @pytest.fixture(scope="module")
    @staticmethod
    def sources():
        """Two devices: one is slower by half, one by what the number of blocks says."""
        choices, latency = made_up_measurements(SPACE, 300, seed=5)
        other = latency * 1.5, latency + 0.2 * (choices != 6).sum(axis=1)
        return [make_predictor("linear", SPACE).fit(choices, ms) for ms in other]

    @pytest.fixture
    def predictor(self, sources):
        return TransferPredictor(SPACE, sources)


def test_the_registered_predictors_have_a_suite_each():
    assert set(PREDICTORS.special) == {TransferPredictor.name}


def test_the_registry_lists_the_four_predictors_and_an_unknown_name_names_them():
    assert sorted(PREDICTORS.built_in) == ["hybrid", "linear", "lookup-table", "xgboost"]
    with pytest.raises(UnknownNameError, match=r"did you mean 'hybrid'.*lookup-table") as caught:
        make_predictor("hybird", SPACE)
    assert caught.value.known == predictor_names()
    with pytest.raises(InvalidValueError, match="depth"):
        make_predictor("linear", SPACE, depth=3)


def test_rows_left_out_in_fit_are_predicted_worse_than_rows_seen(fitted, rows):
    choices, latency = rows
    assert fitted.out_of_fold_ms_.shape == latency.shape
    left_out = np.mean((fitted.out_of_fold_ms_ - latency) ** 2)
    assert left_out > np.mean((fitted.predict(choices) - latency) ** 2)
    assert left_out < latency.var()


def test_an_index_that_is_no_candidate_is_named(fitted):
    wrong = np.zeros((3, 21), dtype=np.int64)
    wrong[1, 0] = 6  # position 0 has no zero operation
    with pytest.raises(InvalidValueError, match="decision 0 of architecture 1 has no candidate 6"):
        fitted.predict(wrong)


def test_files_of_another_space_are_refused(fitted):
    small = ProxylessSpace(widths=(32, 16, 24, 40, 80, 80, 192, 320, 1280))
    if fitted.name == "lookup-table":  # a table may have gaps, and they stay gaps
        table = type(fitted).from_files(small, fitted.to_files())
        with pytest.raises(CoverageError, match="zero-input"):
            table.predict(np.array([[0] * 12 + [6] + [0] * 8]))
        return
    with pytest.raises(PackError):  # its fourth stage has one more zero operation
        type(fitted).from_files(small, fitted.to_files())


@pytest.mark.parametrize("name", predictor_names())
def test_more_rows_than_columns_and_fewer_are_both_fitted(name):
    for n in (40, 300):
        choices, latency = measured(n, noise=0.01, seed=n)
        predicted = make_predictor(name, SPACE).fit(choices, latency).predict(choices)
        assert np.isfinite(predicted).all()
