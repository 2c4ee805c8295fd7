"""Predictors that each break one requirement; ``breaks`` names the tests that must say so."""

import copy
import time
from typing import Any

import numpy as np
import pytest

from latprof.datasets.spaces.mnasnet import MnasNetSpace
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.predictors.base import Terms
from latprof.predictors.models.linear import LinearPredictor
from latprof.testing.predictor_contract import PredictorContract

MACRO = NASBenchMacroSpace(resolution=16)


class Broken(PredictorContract):
    Made: Any

    space = MACRO

    @pytest.fixture
    def predictor(self):
        return self.Made(self.space)


class TestFitReturnsAnother(Broken):
    breaks = ("test_fit_returns_self_and_predictions_are_near_the_rows",)

    class Made(LinearPredictor):
        def fit(self, architectures, latency_ms):
            return copy.deepcopy(super().fit(architectures, latency_ms))


class TestSeconds(Broken):
    breaks = ("test_fit_returns_self_and_predictions_are_near_the_rows",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            return super().predict(architectures, upper=upper) / 1000


class TestChance(Broken):
    breaks = ("test_the_same_rows_give_the_same_predictions_to_the_bit",)

    class Made(LinearPredictor):
        def fit(self, architectures, latency_ms):
            self.chance = np.random.default_rng().random()
            return super().fit(architectures, latency_ms)

        def predict(self, architectures, *, upper=None):
            return super().predict(architectures, upper=upper) * (1 + 1e-9 * self.chance)


class TestRemembers(Broken):
    breaks = ("test_fitting_again_forgets_the_earlier_rows",)

    class Made(LinearPredictor):
        fits = 0

        def fit(self, architectures, latency_ms):
            self.fits += 1
            return super().fit(architectures, latency_ms)

        def predict(self, architectures, *, upper=None):
            return super().predict(architectures, upper=upper) * self.fits


class TestChangesItsRows(Broken):
    breaks = ("test_arguments_are_not_changed",)

    class Made(LinearPredictor):
        def fit(self, architectures, latency_ms):
            super().fit(architectures, latency_ms)
            latency_ms[:] = np.sort(latency_ms)
            return self


class TestFittedClone(Broken):
    breaks = ("test_a_clone_has_the_arguments_and_is_not_fitted",)

    class Made(LinearPredictor):
        def clone(self):
            return copy.deepcopy(self)


class TestOtherParameters(Broken):
    breaks = ("test_parameters_make_the_predictor_again",)

    class Made(LinearPredictor):
        def __init__(self, space, scale=1.0):
            super().__init__(space)
            self.scale = 2 * scale


class TestOffset(Broken):
    breaks = ("test_the_fewest_rows_and_constant_latencies_are_enough",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            return super().predict(architectures, upper=upper) + 0.1


class TestTooFewAreFine(Broken):
    breaks = ("test_too_few_rows_are_refused",)

    class Made(LinearPredictor):
        def fit(self, architectures, latency_ms):
            try:
                return super().fit(architectures, latency_ms)
            except NotEnoughDataError:
                return self


class TestAnyLatency(Broken):
    breaks = ("test_latencies_that_are_none_are_refused",)

    class Made(LinearPredictor):
        def fit(self, architectures, latency_ms):
            try:
                return super().fit(architectures, latency_ms)
            except InvalidValueError:
                return self


class TestNeedsNoFit(Broken):
    breaks = ("test_predict_before_fit_says_so",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            if not self.fitted:
                return np.zeros(len(architectures))
            return super().predict(architectures, upper=upper)


class TestListsDiffer(Broken):
    breaks = ("test_architectures_arrays_and_every_integer_type_agree",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            found = super().predict(architectures, upper=upper)
            return found + 1e-6 if isinstance(architectures, list) else found


class TestBatchMatters(Broken):
    breaks = ("test_a_prediction_does_not_depend_on_the_rest_of_the_batch",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            found = super().predict(architectures, upper=upper)
            return found - 1e-6 * found.mean()


class TestInactiveMatter(Broken):
    breaks = ("test_inactive_decisions_do_not_matter",)
    space = MnasNetSpace(resolution=64, num_classes=10)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            more = 1e-3 * self.space.choices(architectures).sum(axis=1)
            return super().predict(architectures, upper=upper) + more


class TestEmptyBatch(Broken):
    breaks = ("test_a_batch_of_no_rows_gives_no_predictions",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            return np.atleast_1d(super().predict(architectures, upper=upper).sum())


class TestLoop(Broken):
    breaks = ("test_a_batch_is_predicted_without_a_loop_over_its_rows",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            rows = self.space.choices(architectures).tolist()
            return super().predict(architectures) + np.array([1e-9 * row[0] for row in rows])


class TestOtherSpaces(Broken):
    breaks = ("test_architectures_of_another_space_are_refused",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            try:
                return super().predict(architectures, upper=upper)
            except InvalidValueError:
                return np.zeros(len(architectures))


class TestTooSure(Broken):
    breaks = ("test_intervals_hold_as_often_as_they_promise",)

    class Made(LinearPredictor):
        def predict_interval(self, architectures, coverage=0.9):
            predicted = self.predict(architectures)
            return predicted * 0.9999, predicted * 1.0001


class TestBoundTooLow(Broken):
    breaks = ("test_intervals_hold_as_often_as_they_promise",)

    class Made(LinearPredictor):
        def predict(self, architectures, *, upper=None):
            return super().predict(architectures)


class TestWrongWay(Broken):
    breaks = ("test_wider_intervals_promise_more",)

    class Made(LinearPredictor):
        def predict_interval(self, architectures, coverage=0.9):
            return super().predict_interval(architectures, 1 - coverage / 2)


class TestFilesLose(Broken):
    breaks = ("test_its_files_make_it_again",)

    class Made(LinearPredictor):
        scale = 1.0

        def predict(self, architectures, *, upper=None):
            return super().predict(architectures, upper=upper) * self.scale

        @classmethod
        def from_files(cls, space, files):
            made = super().from_files(space, files)
            made.scale = 1.001
            return made


class TestOwnErrors(Broken):
    breaks = ("test_files_that_are_missing_or_damaged_are_refused",)

    class Made(LinearPredictor):
        @classmethod
        def from_files(cls, space, files):
            try:
                return super().from_files(space, files)
            except PackError:
                raise KeyError("table.json") from None


class TestPickle(Broken):
    breaks = ("test_no_file_is_a_pickle",)

    class Made(LinearPredictor):
        def to_files(self):
            return super().to_files() | {"model.pkl": b"\x80\x05N."}


class TestAnothersName(Broken):
    breaks = ("test_a_pack_holds_it_where_its_name_is_registered",)

    class Made(LinearPredictor):
        name = "linear"


class TestNotShared(Broken):
    breaks = ("test_threads_may_share_a_fitted_predictor",)

    class Made(LinearPredictor):
        busy = False

        def predict(self, architectures, *, upper=None):
            if self.busy:
                return np.zeros(len(architectures))
            self.busy = True
            time.sleep(0.002)
            self.busy = False
            return super().predict(architectures, upper=upper)


class TestNoGradient(Broken):
    breaks = ("test_expected_latency_has_gradients_or_is_refused",)
    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)

    class Made(LinearPredictor):
        def terms(self):
            return Terms(1.0)
