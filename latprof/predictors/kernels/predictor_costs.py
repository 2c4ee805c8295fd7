"""Operator costs of a device that a predictor knows, so that its pack answers for any network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latprof.errors import CoverageError, InvalidValueError, NotEnoughDataError
from latprof.predictors.kernels.operator_costs import MIN_NETWORKS, OperatorCostModel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Choices, Predictor

#: Architectures whose predicted latencies stand for measured ones.
_SAMPLED = 500


def measured_costs(
    space: SearchSpace, choices: Choices, latency_ms: ArrayLike, batch_size: int = 1
) -> OperatorCostModel:
    """Fit operator costs to n measured architectures; raises as OperatorCostModel.fit."""
    networks = [space.operators(each, batch_size) for each in space.architectures(choices)]
    return OperatorCostModel().fit(networks, latency_ms)


def predictor_costs(predictor: Predictor, batch_size: int = 1) -> OperatorCostModel | None:
    """Operator costs that agree with a fitted predictor; None where there can be none.

    They are fitted to the rows that it was fitted to. Where it knows more than these (a transfer
    rests on other devices), or has fewer than ten, or came from a file without them, they are
    fitted to what it predicts for 500 sampled architectures. The interval is then the product of
    the costs' and the predictor's own; NaN, not known, where the predictor has none.

    There are none for a space of fewer than ten architectures, and for a lookup table with gaps
    whose rows are not there. Raises InvalidValueError for a predictor that is not fitted.
    """
    predictor.check_fitted()
    space = predictor.space
    rows = getattr(predictor, "rows_", None)
    try:
        if rows is not None and len(rows.choices) >= MIN_NETWORKS and not predictor.beyond_rows:
            return measured_costs(space, rows.choices, rows.mean_ms, batch_size)
        sampled = space.sample_choices(min(_SAMPLED, space.num_architectures))
        costs = measured_costs(space, sampled, predictor.predict(sampled), batch_size)
    except (NotEnoughDataError, CoverageError, InvalidValueError):
        return None
    coverage, relative = predictor.typical_interval(sampled)
    both = (1 + costs.interval_relative_) * (1 + relative) - 1
    costs.interval_relative_ = both if coverage else math.nan
    return costs
