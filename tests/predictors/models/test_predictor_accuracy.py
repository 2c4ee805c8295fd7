"""How near the predictors come to the noise on latencies from a known model."""

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.models.hybrid import HybridPredictor

TEST = measured(2000, seed=1000)
MEAN = TEST[1].mean()


def error_percent(name, n, *, noise=0.008, seed=0):
    """Error in percent of the mean against noiseless latencies: noise would add in squares."""
    predictor = make_predictor(name, SPACE).fit(*measured(n, noise=noise, seed=seed))
    return 100 * np.sqrt(np.mean((predictor.predict(TEST[0]) - TEST[1]) ** 2)) / MEAN


@pytest.mark.parametrize(("n", "limit"), [(1000, 0.35), (100, 1.0), (30, 1.6)])
def test_hybrid_comes_near_the_noise_of_0_8_percent_with_few_rows_too(n, limit):
    assert np.mean([error_percent("hybrid", n, seed=seed) for seed in (0, 1)]) < limit


def test_on_sums_of_blocks_hybrid_keeps_no_trees():
    assert len(HybridPredictor(SPACE).fit(*measured(600, noise=0.008)).trees_) == 0


def test_on_blocks_that_interact_hybrid_beats_both_of_its_parts():
    def stepped(n, seed):
        choices, latency = measured(n, seed=seed)
        return choices, latency + 4.0 * ((choices[:, 0] < 3) & (choices[:, 5] > 2))

    train, (choices, latency) = stepped(1000, 3), stepped(3000, 8)

    def error(predictor):
        return np.sqrt(np.mean((predictor.predict(choices) - latency) ** 2))

    hybrid = HybridPredictor(SPACE).fit(*train)
    others = [make_predictor(name, SPACE).fit(*train) for name in ("linear", "xgboost")]
    assert len(hybrid.trees_)
    assert error(hybrid) < 0.8 * min(map(error, others))


def test_trees_alone_win_where_no_sum_holds():
    choices, _ = measured(1500)
    parity = (choices[:, 0] > 2) ^ (choices[:, 5] > 2)
    latency = 20.0 + 10.0 * parity + 10.0 * (parity & (choices[:, 9] > 2))
    train, test = slice(0, 1200), slice(1200, None)
    errors = {
        name: np.sqrt(
            np.mean(
                (
                    make_predictor(name, SPACE)
                    .fit(choices[train], latency[train])
                    .predict(choices[test])
                    - latency[test]
                )
                ** 2
            )
        )
        for name in ("linear", "xgboost", "hybrid")
    }
    assert errors["xgboost"] < 0.2 * errors["linear"]
    assert errors["hybrid"] < 1.3 * errors["xgboost"]
