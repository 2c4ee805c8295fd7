"""Predictions of rows that their predictor was not fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.limits import whole
from latprof.predictors.fitting.evaluation import fold_numbers

if TYPE_CHECKING:
    from latprof.predictors.base import Predictor

Floats: TypeAlias = NDArray[np.float64]


def cross_validated_predictions(
    predictor: Predictor,
    choices: NDArray[np.integer[Any]],
    latency_ms: ArrayLike,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Predict each row with a clone of ``predictor`` fitted on the other folds, shape (n,).

    Everything that ``fit`` chooses is chosen again in each fold. Raises InvalidValueError for fewer
    than 2 folds or more folds than rows, and what ``fit`` and ``predict`` raise.
    """
    latency = np.asarray(latency_ms, dtype=np.float64)
    whole(2, len(latency)).check("folds", folds)
    numbers = fold_numbers(len(latency), folds, seed)
    predicted = np.empty(len(latency))
    for fold in range(folds):
        held = numbers == fold
        predicted[held] = (
            predictor.clone().fit(choices[~held], latency[~held]).predict(choices[held])
        )
    return predicted
