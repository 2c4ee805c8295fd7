"""Percentiles of raw runs, and how many runs they need."""

import numpy as np
import pytest
from scipy import stats

from latprof.profilers.sessions.percentiles import PERCENTILES, RawPercentiles, fewest_runs


@pytest.mark.parametrize(("percentile", "runs"), [(90, 64), (99, 662)])
def test_as_many_runs_are_needed_as_mlperf_asks_for(percentile, runs):
    """The numbers of loadgen's early stopping with t = 1, tolerance 0 and confidence 0.99."""
    assert fewest_runs(percentile) == runs
    above = 1 - percentile / 100
    assert stats.binom.cdf(1, runs, above) <= 0.01 < stats.binom.cdf(1, runs - 1, above)


def test_the_99th_percentile_of_few_runs_is_no_number():
    found = RawPercentiles.of(np.linspace(1, 2, 661).tolist())
    assert found.values_ms[-1] is None
    assert "p99 n too small (661 of 662 runs)" in found.describe()
    assert found.to_dict()["raw_percentiles_ms"]["p99"] is None
    enough = RawPercentiles.of(np.linspace(1, 2, 662).tolist())
    assert enough.values_ms[-1] == pytest.approx(1.99)


def test_percentiles_of_few_runs_look_rough_and_of_next_to_none_are_missing():
    found = RawPercentiles.of(np.linspace(1.0, 2.0, 21).tolist())
    assert found.values_ms[:3] == pytest.approx((1.5, 1.9, 1.95))
    assert found.describe().startswith("p50 1.500, p90 ~1.900, p95 ~1.950, p99 n too small")
    assert found.to_dict()["raw_percentiles_sure"] == {
        "p50": True,
        "p90": False,
        "p95": False,
        "p99": False,
    }
    assert RawPercentiles.of([1.0]).values_ms == (None,) * len(PERCENTILES)
