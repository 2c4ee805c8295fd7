"""The contract suite of predictors: subclass it in your own tests.

::

    class TestMyPredictor(PredictorContract):
        @pytest.fixture
        def predictor(self):
            return MyPredictor(space)  # not fitted
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from latprof.datasets.spaces.base import Architecture, Choices
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.registry import PREDICTORS
from latprof.testing.problems import made_up_measurements

if TYPE_CHECKING:
    from latprof.predictors.base import Predictor

Floats: TypeAlias = NDArray[np.float64]
#: Choices, shape (n, decisions), and latencies in ms, shape (n,).
Rows: TypeAlias = tuple[Choices, Floats]

#: What the suite has fitted last: as many as take turns where one suite is run on several.
_FITTED: dict[object, Predictor] = {}
_MOST_FITTED = 8


class PredictorContract:
    """What :class:`latprof.predictors.base.Predictor` promises, as tests for pytest.

    A subclass gives the fixture ``predictor``, not fitted; the tests fit copies of it. One that
    cannot learn from :func:`~latprof.testing.problems.made_up_measurements` gives ``rows`` and
    ``other_rows`` too.
    """

    #: Least correlation of predictions with the latencies that it was fitted to.
    least_correlation: ClassVar[float] = 0.7

    @pytest.fixture
    def predictor(self) -> Predictor:
        """The predictor under test, not fitted."""
        raise NotImplementedError("the subclass gives the fixture `predictor`")

    @pytest.fixture
    def rows(self, predictor: Predictor) -> Rows:
        """150 measured architectures to fit to; noise of 0.2 %."""
        return made_up_measurements(predictor.space, 150)

    @pytest.fixture
    def other_rows(self, predictor: Predictor) -> Rows:
        """600 more."""
        choices, latency = made_up_measurements(predictor.space, 750)
        return choices[150:], latency[150:]

    @pytest.fixture
    def fitted(self, predictor: Predictor, rows: Rows) -> Predictor:
        """The predictor, fitted to ``rows`` once for all tests; not to be changed."""
        parameters = {n: v for n, v in predictor.get_params().items() if n != "space"}
        space = predictor.space.description
        key = (type(predictor), repr(parameters), space, rows[0].tobytes(), rows[1].tobytes())
        if key not in _FITTED:
            if len(_FITTED) == _MOST_FITTED:
                del _FITTED[next(iter(_FITTED))]
            _FITTED[key] = predictor.clone().fit(*rows)
        return _FITTED[key]

    # Fitting -------------------------------------------------------------------------------

    def test_fit_returns_self_and_predictions_are_near_the_rows(
        self, predictor: Predictor, rows: Rows
    ) -> None:
        fitted = predictor.clone()

        assert fitted.fit(*rows) is fitted
        assert fitted.fitted
        predicted = fitted.predict(rows[0])
        assert predicted.dtype == np.float64
        assert predicted.shape == rows[1].shape
        assert np.corrcoef(predicted, rows[1])[0, 1] > self.least_correlation
        assert 0.7 < predicted.mean() / rows[1].mean() < 1.4

    def test_the_same_rows_give_the_same_predictions_to_the_bit(
        self, fitted: Predictor, rows: Rows
    ) -> None:
        again = fitted.clone().fit(*rows)

        np.testing.assert_array_equal(again.predict(rows[0]), fitted.predict(rows[0]))

    def test_fitting_again_forgets_the_earlier_rows(
        self, fitted: Predictor, rows: Rows, other_rows: Rows
    ) -> None:
        again = fitted.clone().fit(other_rows[0][:40], other_rows[1][:40] * 3).fit(*rows)

        np.testing.assert_array_equal(again.predict(other_rows[0]), fitted.predict(other_rows[0]))

    def test_arguments_are_not_changed(self, predictor: Predictor, rows: Rows) -> None:
        choices, latency = rows[0][:40].copy(), rows[1][:40].copy()
        parameters = predictor.get_params()

        fitted = predictor.clone().fit(choices, latency)
        fitted.predict(choices)

        np.testing.assert_array_equal(choices, rows[0][:40])
        np.testing.assert_array_equal(latency, rows[1][:40])
        assert fitted.get_params() == parameters

    def test_a_clone_has_the_arguments_and_is_not_fitted(self, fitted: Predictor) -> None:
        clone = fitted.clone()

        assert clone.get_params() == fitted.get_params()
        assert not clone.fitted
        assert type(clone) is type(fitted)
        assert fitted.fitted

    def test_parameters_make_the_predictor_again(self, fitted: Predictor, rows: Rows) -> None:
        again = type(fitted)(**fitted.get_params())

        assert again.get_params() == fitted.get_params()
        np.testing.assert_array_equal(again.fit(*rows).predict(rows[0]), fitted.predict(rows[0]))

    def test_the_fewest_rows_and_constant_latencies_are_enough(
        self, predictor: Predictor, rows: Rows
    ) -> None:
        choices = rows[0][: predictor.min_rows]
        fitted = predictor.clone().fit(choices, np.full(len(choices), 7.5))

        np.testing.assert_allclose(fitted.predict(choices), 7.5, rtol=1e-6)

    def test_too_few_rows_are_refused(self, predictor: Predictor, rows: Rows) -> None:
        fitted, few = predictor.clone(), predictor.min_rows - 1
        with pytest.raises(NotEnoughDataError):
            fitted.fit(rows[0][:few], rows[1][:few])
        assert not fitted.fitted

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0, 1e300])
    def test_latencies_that_are_none_are_refused(
        self, predictor: Predictor, rows: Rows, bad: float
    ) -> None:
        fitted, latency = predictor.clone(), rows[1].copy()
        latency[3] = bad
        with pytest.raises(InvalidValueError):
            fitted.fit(rows[0], latency)
        with pytest.raises(InvalidValueError):
            fitted.fit(rows[0], rows[1][:-1])
        assert not fitted.fitted

    # Predicting ----------------------------------------------------------------------------

    def test_predict_before_fit_says_so(self, predictor: Predictor, rows: Rows) -> None:
        with pytest.raises(InvalidValueError):
            predictor.clone().predict(rows[0])
        with pytest.raises(InvalidValueError):
            predictor.clone().to_files()

    def test_architectures_arrays_and_every_integer_type_agree(
        self, fitted: Predictor, rows: Rows
    ) -> None:
        choices = rows[0][:20]
        expected = fitted.predict(choices)

        architectures = fitted.space.architectures(choices)
        np.testing.assert_array_equal(fitted.predict(architectures), expected)
        for dtype in (np.int64, np.int16, np.uint16):
            np.testing.assert_array_equal(fitted.predict(choices.astype(dtype)), expected)
        np.testing.assert_array_equal(fitted.predict(np.asfortranarray(choices)), expected)

    def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(
        self, fitted: Predictor, rows: Rows
    ) -> None:
        together = fitted.predict(np.tile(rows[0], (70, 1)))

        np.testing.assert_array_equal(together, np.tile(fitted.predict(rows[0]), 70))
        np.testing.assert_array_equal(fitted.predict(rows[0][7:8]), together[7:8])

    def test_inactive_decisions_do_not_matter(self, fitted: Predictor) -> None:
        space = fitted.space
        uniform = np.random.default_rng(0).random((50, len(space.num_choices)))
        choices = (uniform * space.num_choices).astype(np.uint8)

        canonical = space.canonical(choices)
        np.testing.assert_array_equal(fitted.predict(choices), fitted.predict(canonical))

    def test_a_batch_of_no_rows_gives_no_predictions(self, fitted: Predictor) -> None:
        nothing = np.empty((0, len(fitted.space.num_choices)), dtype=np.uint8)
        assert fitted.predict([]).shape == (0,)
        assert fitted.predict(nothing).shape == (0,)

    def test_a_batch_is_predicted_without_a_loop_over_its_rows(
        self, fitted: Predictor, rows: Rows
    ) -> None:
        small, large = (np.tile(rows[0], (times, 1)) for times in (1, 30))
        fitted.predict(large)  # whatever is compiled or kept at the first call

        more = _lines_run(lambda: fitted.predict(large)) - _lines_run(lambda: fitted.predict(small))
        # A loop runs at least a line for each row; chunks of rows run some lines each.
        assert more < 0.8 * (len(large) - len(small))

    def test_architectures_of_another_space_are_refused(self, fitted: Predictor) -> None:
        sizes = fitted.space.num_choices
        beyond = np.zeros((3, len(sizes)), dtype=np.int64)
        beyond[1, 0] = sizes[0]
        for wrong in (
            [Architecture("another space", (0,) * len(sizes))],
            np.zeros((3, len(sizes) - 1), dtype=np.uint8),
            beyond,
        ):
            with pytest.raises(InvalidValueError):
                fitted.predict(wrong)

    # Intervals -----------------------------------------------------------------------------

    def test_intervals_hold_as_often_as_they_promise(
        self, fitted: Predictor, other_rows: Rows
    ) -> None:
        choices, latency = other_rows
        predicted = fitted.predict(choices)
        low, high = fitted.predict_interval(choices, 0.9)

        assert low.shape == high.shape == latency.shape
        assert np.all((low <= predicted) & (predicted <= high))
        inside = np.mean((low <= latency) & (latency <= high))
        assert inside > 0.8  # 600 rows and 150 to calibrate with: 0.9 give or take 0.03
        upper = fitted.predict(choices, upper=0.95)
        assert np.all(upper >= predicted)
        assert np.mean(latency <= upper) > 0.87

    def test_wider_intervals_promise_more(self, fitted: Predictor, other_rows: Rows) -> None:
        widths = []
        for coverage in (0.5, 0.9):
            low, high = fitted.predict_interval(other_rows[0], coverage)
            widths.append(high - low)
        assert np.all(widths[0] <= widths[1])
        with pytest.raises(InvalidValueError):
            fitted.predict_interval(other_rows[0], 1.5)

    # Packs ---------------------------------------------------------------------------------

    def test_its_files_make_it_again(self, fitted: Predictor, other_rows: Rows) -> None:
        files = fitted.to_files()
        again = type(fitted).from_files(fitted.space, files)

        assert files
        assert all(isinstance(data, bytes) for data in files.values())
        assert again.fitted
        # The calibration lies beside these files, and with it the least prediction.
        least = fitted.predict(other_rows[0]).min()
        np.testing.assert_array_equal(
            np.maximum(again.predict(other_rows[0]), least), fitted.predict(other_rows[0])
        )
        assert again.to_files() == files
        assert _plain(again.get_params()) == _plain(fitted.get_params())

    def test_files_that_are_missing_or_damaged_are_refused(self, fitted: Predictor) -> None:
        files = fitted.to_files()
        for name, data in files.items():
            without = {other: files[other] for other in files if other != name}
            for damaged in (without, files | {name: data[: len(data) // 2]}, files | {name: b""}):
                with pytest.raises(PackError):
                    type(fitted).from_files(fitted.space, damaged)

    def test_no_file_is_a_pickle(self, fitted: Predictor) -> None:
        for data in fitted.to_files().values():
            assert not data.startswith(b"\x80")

    def test_a_pack_holds_it_where_its_name_is_registered(
        self, fitted: Predictor, other_rows: Rows, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.pack"
        save_pack(fitted, path)
        if fitted.name not in PREDICTORS:
            with pytest.raises(PackError):
                load_pack(path, space=fitted.space)
            return

        loaded = load_pack(path, space=fitted.space).predictor
        assert type(loaded) is type(fitted)
        np.testing.assert_array_equal(loaded.predict(other_rows[0]), fitted.predict(other_rows[0]))
        for one, other in zip(
            loaded.predict_interval(other_rows[0]),
            fitted.predict_interval(other_rows[0]),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)

    # Sharing -------------------------------------------------------------------------------

    def test_threads_may_share_a_fitted_predictor(self, fitted: Predictor, rows: Rows) -> None:
        loaded = type(fitted).from_files(fitted.space, fitted.to_files())  # nothing compiled yet
        expected = type(fitted).from_files(fitted.space, fitted.to_files()).predict(rows[0])
        seen: list[Floats] = []

        def ask() -> None:
            seen.extend(loaded.predict(rows[0]) for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 40
        for predicted in seen:
            np.testing.assert_array_equal(predicted, expected)

    def test_expected_latency_has_gradients_or_is_refused(self, fitted: Predictor) -> None:
        torch = pytest.importorskip("torch")
        sizes = fitted.space.num_choices.tolist()
        logits = torch.zeros(len(sizes), max(sizes), dtype=torch.float64)
        for row, size in enumerate(sizes):
            logits[row, size:] = -torch.inf
        probabilities = torch.softmax(logits, -1).requires_grad_()
        try:
            latency = expected_latency(fitted, probabilities)
        except InvalidValueError:
            return  # one that has none
        latency.backward()
        assert latency.shape == ()
        assert probabilities.grad is not None
        assert torch.isfinite(probabilities.grad).all()
        assert (probabilities.grad != 0).any()


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a pack's manifest can hold."""
    plain = (str, int, float, bool)
    return {name: value for name, value in parameters.items() if isinstance(value, plain)}


def _lines_run(call: Callable[[], Any]) -> int:
    """How many lines of Python a call runs, those of a loop once for each time round."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines
