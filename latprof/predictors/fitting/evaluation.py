"""How good predictions are: metrics, and seeded folds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.limits import check_seed
from latprof.errors import InvalidValueError, shown

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Metrics:
    """Errors of predicted against measured latencies.

    Parameters
    ----------
    rmse_ms : float
        Root mean square error.
    rmse_percent : float
        The same in percent of the mean measured latency.
    mape_percent : float
        Mean absolute percentage error, of the measured latency.
    within_5_percent, within_10_percent : float
        Percent of rows whose prediction is within 5 (10) % of the measured latency.
    spearman, kendall : float
        Rank correlations (Kendall's tau-b); NaN where all predictions, or all measurements, are
        equal.
    rows : int
    """

    rmse_ms: float
    rmse_percent: float
    mape_percent: float
    within_5_percent: float
    within_10_percent: float
    spearman: float
    kendall: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as plain JSON values; NaN becomes None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """Rebuild metrics from :meth:`to_dict`; raises InvalidValueError for anything else."""
        names = [field.name for field in dataclasses.fields(cls)]
        if sorted(values) != sorted(names):
            raise InvalidValueError("metrics have other fields", expected=", ".join(names))
        numbers: dict[str, Any] = {}
        for name in names:
            value = math.nan if values[name] is None else values[name]
            if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:
                raise InvalidValueError(f"metrics: {name} is no number", got=shown(value, 60))
            numbers[name] = float(value)
        if not (numbers["rows"] >= 1 and numbers["rows"].is_integer()):
            raise InvalidValueError("metrics: rows is no count", got=repr(values["rows"])[:60])
        return cls(**{**numbers, "rows": int(numbers["rows"])})


def evaluate(predicted_ms: ArrayLike, measured_ms: ArrayLike) -> Metrics:
    """Compare n predicted with n measured latencies, both of shape (n,), in milliseconds.

    Raises InvalidValueError for lengths that differ, no rows, values that are not finite, or
    measured ones that are not above 0.
    """
    predicted = np.asarray(predicted_ms, dtype=np.float64)
    measured = np.asarray(measured_ms, dtype=np.float64)
    if predicted.shape != measured.shape or measured.ndim != 1 or not len(measured):
        raise InvalidValueError(
            "predicted and measured latencies are arrays of the same length, at least 1",
            got=f"{predicted.shape} and {measured.shape}",
        )
    if not (np.isfinite(predicted).all() and np.isfinite(measured).all() and measured.min() > 0):
        raise InvalidValueError("latencies must be finite, the measured ones above 0")
    relative = np.abs(predicted - measured) / measured
    rmse = float(np.sqrt(np.mean((predicted - measured) ** 2)))
    spearman, kendall = _rank_correlations(predicted, measured)
    return Metrics(
        rmse_ms=rmse,
        rmse_percent=100 * rmse / float(measured.mean()),
        mape_percent=100 * float(relative.mean()),
        within_5_percent=100 * float(np.mean(relative <= 0.05)),
        within_10_percent=100 * float(np.mean(relative <= 0.10)),
        spearman=spearman,
        kendall=kendall,
        rows=len(measured),
    )


def _rank_correlations(first: Floats, second: Floats) -> tuple[float, float]:
    """Spearman's rho and Kendall's tau-b, NaN where they are not defined."""
    from scipy import stats

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan, math.nan
    ranks = np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1]
    return float(ranks), float(stats.kendalltau(first, second).statistic)


def fold_numbers(n: int, folds: int, seed: int = 0) -> Indices:
    """Assign n rows to folds of equal size (give or take one), at random. Shape (n,)."""
    numbers: Indices = np.random.default_rng(check_seed(seed)).permutation(np.arange(n) % folds)
    return numbers
