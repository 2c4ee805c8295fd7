"""Speed and accuracy of the predictors: ``python -m benchmarks.predictors``.

Real architectures of the ProxylessNAS space with latencies from a seeded model: block costs that
follow from shapes, but not linearly, costs between neighbouring blocks where said, and measurement
noise of 0.8 %. Predictions run in one thread, fits in up to two. ``--check`` exits with status 1
where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.proxyless import ProxylessSpace
from latprof.errors import CoverageError
from latprof.predictors.features import space_tables
from latprof.predictors.registry import make_predictor, predictor_names

if TYPE_CHECKING:
    from latprof.predictors.base import Predictor

SPACE = ProxylessSpace()
NOISE = 0.008
#: Promised predictions a second on one core.
RATES = {"lookup-table": 1e6, "linear": 1e6, "xgboost": 5e4, "hybrid": 5e4}
#: Promised seconds for the fits of all four on 5,000 architectures.
FIT_S = 20.0

Floats = NDArray[np.float64]
Choices = NDArray[np.uint8]


def latencies_ms(choices: Choices, interaction: float = 0.0) -> Floats:
    """Noiseless latencies; ``interaction`` scales what neighbouring blocks cost each other."""
    costs = []
    tables = space_tables(SPACE)
    for blocks in tables.column_blocks:
        cost = 0.0
        for op in (op for block in blocks for op in block.operators()):
            channels, size = op.output_shapes[0][1:3]
            rate = 30e6 if op.kind == "conv1x1" else 6e6 * (1 + 0.1 * op.kernel)
            rate *= min(1.0, 0.6 + channels / 400) * min(1.0, 0.5 + size / 60)
            cost += op.macs / rate + op.activation_elements / 4e6 + 0.01
        costs.append(cost)
    latency: Floats = 6.0 + tables.sums(tables.columns(choices), np.array(costs)[:, None])[:, 0]
    pairs = np.random.default_rng(0).normal(0, interaction, (choices.shape[1] - 1, 7, 7))
    for position in range(len(pairs)):
        latency += pairs[position, choices[:, position], choices[:, position + 1]]
    return latency


def measured(n: int, seed: int, interaction: float = 0.0) -> tuple[Choices, Floats]:
    """``n`` architectures and their latencies with noise."""
    choices = SPACE.sample_choices(n, seed)
    noise = np.random.default_rng(seed + 1).normal(1, NOISE, n)
    return choices, latencies_ms(choices, interaction) * noise


def best_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Least wall time of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def speed() -> bool:
    """Print fit times and prediction rates; return whether they are what is promised."""
    choices, latency = measured(5000, seed=0, interaction=0.1)
    batch = SPACE.sample_choices(100_000, seed=9)
    good, total = True, 0.0
    print("5,000 architectures to fit, 100,000 to predict (best of 5), predictions in one thread")
    print(f"{'predictor':14}{'fit s':>8}{'trees':>8}{'predictions/s':>16}{'promised':>12}")
    for name in predictor_names():
        predictor = make_predictor(name, SPACE)
        start = time.perf_counter()
        predictor.fit(choices, latency)
        fit_s = time.perf_counter() - start
        rate = len(batch) / best_seconds(lambda fitted=predictor: fitted.predict(batch))  # type: ignore[misc]
        trees = len(getattr(predictor, "trees_", ()))
        print(f"{name:14}{fit_s:8.2f}{trees:8}{rate:16,.0f}{RATES[name]:12,.0f}")
        good &= rate >= RATES[name]
        total += fit_s
    print(f"all four fits: {total:.1f} s (promised: under {FIT_S:.0f} s)\n")
    return good and total < FIT_S


def rmse_percent(predictor: Predictor, rows: tuple[Choices, Floats]) -> float:
    """Root mean square error in percent of the mean, NaN where a block is not known."""
    try:
        predicted = predictor.predict(rows[0])
    except CoverageError:
        return float("nan")
    return 100 * float(np.sqrt(np.mean((predicted - rows[1]) ** 2)) / rows[1].mean())


def accuracy() -> None:
    """Print errors by number of training rows, the mean of 3 draws, on 2,000 other rows."""
    for interaction in (0.0, 0.1):
        test = measured(2000, seed=10_000, interaction=interaction)
        print(f"RMSE in % of the mean, neighbours' costs {interaction} ms, noise {100 * NOISE} %")
        print(f"{'rows':>6}" + "".join(f"{name:>14}" for name in predictor_names()))
        for n in (4000, 1000, 300, 100, 30):
            errors = [
                np.mean(
                    [
                        rmse_percent(
                            make_predictor(name, SPACE).fit(*measured(n, seed, interaction)), test
                        )
                        for seed in ((0,) if n > 1000 else (0, 1, 2))
                    ]
                )
                for name in predictor_names()
            ]
            print(f"{n:6}" + "".join(f"{error:14.2f}" for error in errors), flush=True)
        print()


def main() -> None:
    """Print speed and accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    good = speed()
    accuracy()
    if arguments.check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
