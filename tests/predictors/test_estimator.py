"""The estimator contract, asked by scikit-learn itself."""

import subprocess
import sys

import numpy as np
import pytest
import sklearn.base
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_set_params,
)
from sklearn.utils.validation import check_is_fitted
from synthetic_latency import SPACE

from latprof.errors import InvalidValueError
from latprof.predictors.models.boosted_trees import XGBoostPredictor
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.models.transfer_predictor import TransferPredictor


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_cloneable,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_set_params,
    ],
)
def test_scikit_learn_finds_nothing_wrong(unfitted, check):
    check(type(unfitted).__name__, unfitted)


def test_it_is_a_regressor(unfitted):
    assert sklearn.base.is_regressor(unfitted)
    assert not sklearn.base.is_classifier(unfitted)


def test_fit_sets_only_attributes_that_end_in_an_underscore_and_keeps_the_arguments(unfitted, rows):
    with pytest.raises(NotFittedError):
        check_is_fitted(unfitted)
    before = dict(vars(unfitted))
    assert unfitted.fit(*rows) is unfitted
    check_is_fitted(unfitted)
    for name, value in vars(unfitted).items():
        assert name.endswith("_") or before[name] is value


def test_a_clone_of_a_fitted_one_is_unfitted_and_has_the_same_arguments(fitted):
    clone = sklearn.base.clone(fitted)
    assert not clone.fitted
    assert clone.get_params(deep=True) == fitted.get_params(deep=False)


def test_the_score_is_the_coefficient_of_determination(fitted, rows):
    choices, latency = rows
    assert fitted.score(choices, latency) == pytest.approx(
        r2_score(latency, fitted.predict(choices))
    )
    constant = np.full(len(latency), 9.0)
    assert fitted.score(choices, constant) == r2_score(constant, fitted.predict(choices)) == 0.0
    assert fitted.score(choices, fitted.predict(choices)) == 1.0
    with pytest.raises(InvalidValueError, match="wrong shape"):
        fitted.score(choices, latency[:3])


def test_cross_validation_takes_an_array_of_choices_or_architectures(rows, sources):
    choices, latency = rows
    scores = cross_val_score(LinearPredictor(SPACE), choices, latency, cv=3)
    again = cross_val_score(LinearPredictor(SPACE), SPACE.architectures(choices), latency, cv=3)
    np.testing.assert_array_equal(scores, again)
    assert np.all((scores > 0.2) & (scores < sources[0].score(choices, latency)))
    transfer = TransferPredictor(SPACE, sources)
    predicted = cross_val_predict(transfer, choices[:40], latency[:40], cv=4)
    assert np.corrcoef(predicted, latency[:40])[0, 1] > 0.8


def test_a_grid_search_sets_parameters(rows):
    found = GridSearchCV(XGBoostPredictor(SPACE), {"seed": [0, 7]}, cv=2).fit(*rows)
    assert found.best_estimator_.seed in {0, 7}
    assert found.best_estimator_.fitted
    np.testing.assert_array_equal(found.predict(rows[0]), found.best_estimator_.predict(rows[0]))


def test_set_params_returns_self_and_refuses_other_names(unfitted):
    assert unfitted.set_params(space=SPACE) is unfitted
    with pytest.raises(InvalidValueError, match=r"has no parameter 'depth' .*expected space"):
        unfitted.set_params(depth=3)


def test_the_representation_is_one_short_line(fitted):
    assert repr(fitted.clone()).startswith(f"{type(fitted).__name__}(space=ProxylessSpace(")
    assert len(repr(fitted)) < 400
    assert "\n" not in repr(fitted)
    learned = [value for value in vars(fitted).values() if not isinstance(value, np.ndarray)]
    assert all(len(repr(value)) < 1000 for value in learned)


def test_importing_predictors_loads_no_scikit_learn():
    code = "import latprof.predictors.models.by_name, sys; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
