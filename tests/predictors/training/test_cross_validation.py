import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.errors import InvalidValueError
from latprof.predictors.fitting.evaluation import fold_numbers
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.training.cross_validation import cross_validated_predictions


def test_cross_validation_predicts_each_row_without_it():
    choices, latency = measured(60, noise=0.02)
    spoiled = latency.copy()
    spoiled[7] *= 100  # the row's own label must not reach its prediction
    honest = cross_validated_predictions(LinearPredictor(SPACE), choices, latency, folds=6)
    other = cross_validated_predictions(LinearPredictor(SPACE), choices, spoiled, folds=6)
    assert honest[7] == other[7]
    assert np.all(honest[fold_numbers(60, 6) != fold_numbers(60, 6)[7]] != 0)
    with pytest.raises(InvalidValueError, match="folds"):
        cross_validated_predictions(LinearPredictor(SPACE), choices, latency, folds=1)
