"""Speed and accuracy of the predictors: ``python -m benchmarks.predictors``.

Real architectures of the ProxylessNAS space with latencies from a seeded model: block costs that
follow from shapes, but not linearly, costs between neighbouring blocks where said, and measurement
noise of 0.8 %. Predictions run in one thread, fits in up to two. ``--check`` exits with status 1
where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import CoverageError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.pack.saving import save_pack

if TYPE_CHECKING:
    from latprof.predictors.base import Predictor

SPACE = ProxylessSpace()
NOISE = 0.008
#: Promised predictions a second on one core: of sums of tables, of a hybrid with trees and where
#: XGBoost cannot be imported, and of trees alone, which are more.
ADDITIVE_RATE, TREE_RATE, WITHOUT_XGBOOST_RATE, XGBOOST_RATE = 2e6, 1e5, 1.5e4, 5e4
#: Promised microseconds of an expected latency of 21 decisions of 7 and its gradient.
GRADIENT_US = 100.0
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


def rate(predictor: Predictor, batch: Choices) -> float:
    """Architectures predicted a second."""
    return len(batch) / best_seconds(lambda: predictor.predict(batch))


def speed() -> tuple[bool, Predictor]:
    """Print fit times and prediction rates.

    Return whether they are what is promised, and the hybrid, which keeps trees.
    """
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
        good &= told(name, f"{fit_s:8.2f}", predictor, batch)
        total += fit_s
        if name == "hybrid":
            hybrid = predictor
    print(f"all four fits: {total:.1f} s (promised: under {FIT_S:.0f} s)\n")
    return good and total < FIT_S, hybrid


def told(label: str, fit: str, predictor: Predictor, batch: Choices) -> bool:
    """Print a predictor's rate; return whether it is what is promised for its kind."""
    trees = len(getattr(predictor, "trees_", ()))
    with_trees = XGBOOST_RATE if predictor.name == "xgboost" else TREE_RATE
    promised, found = with_trees if trees else ADDITIVE_RATE, rate(predictor, batch)
    print(f"{label:14}{fit:>8}{trees:8}{found:16,.0f}{promised:12,.0f}", flush=True)
    return found >= promised


def additive_hybrid() -> Predictor:
    """A hybrid that keeps no trees, since nothing interacts in its rows."""
    return make_predictor("hybrid", SPACE).fit(*measured(1500, seed=0))


def other_spaces() -> bool:
    """Print rates on other spaces; return whether they are what is promised.

    One holds a latency for every architecture, the other has parts of several decisions; latencies
    are made up.
    """
    good = True
    print("1,500 architectures to fit, 100,000 to predict (the same more than once where the space")
    print("holds fewer)")
    good &= told("hybrid", "", additive_hybrid(), SPACE.sample_choices(100_000, seed=9))
    for name in ("nasbench201", "ofa-mobilenetv3"):
        space = get_space(name)
        choices = space.sample_choices(1500, seed=0)
        macs = np.array([space.macs(each) for each in space.architectures(choices)])
        latency = 5 + macs / macs.mean() * 10 + 2.0 * (choices[:, 0] == 2) * (choices[:, 3] == 2)
        latency *= np.random.default_rng(1).normal(1, NOISE, len(latency))
        others = space.sample_choices(min(100_000, space.num_architectures), seed=9)
        print(name)
        for kind in predictor_names():
            # A lookup table does not know all layers at all resolutions from so few rows.
            some = choices if kind == "lookup-table" else others
            batch = np.resize(some, (100_000, some.shape[1]))
            good &= told(kind, "", make_predictor(kind, space).fit(choices, latency), batch)
    print()
    return good


_WITHOUT_XGBOOST = """
import sys
sys.modules["xgboost"] = None
from benchmarks.predictors import SPACE, rate
from latprof.predictors.pack.saving import load_pack
print(rate(load_pack(sys.argv[1]).predictor, SPACE.sample_choices(20_000, seed=9)))
"""


def without_xgboost(predictor: Predictor) -> bool:
    """Print the rate in a process that cannot import XGBoost, where the same code answers."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.pack"
        save_pack(predictor, path)
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_XGBOOST, path],
            capture_output=True,
            text=True,
            check=True,
        )
    found = float(done.stdout)
    print("hybrid with trees, no XGBoost to import (trees are evaluated without it in any case):")
    print(f"{found:46,.0f}{WITHOUT_XGBOOST_RATE:12,.0f}\n")
    return found >= WITHOUT_XGBOOST_RATE


def gradients(additive: Predictor, trees: Predictor) -> bool:
    """Print times of the expected latency, forward and backward, and the surrogate's error."""
    try:
        import torch
    except ImportError:
        print("expected latency: no torch here\n")
        return True
    from latprof.predictors.gradients.torch_latency import expected_latency, surrogate_error

    torch.set_num_threads(1)
    good = True
    print("expected_latency of 21 x 7 probabilities, forward and backward, median of 2,000")
    for label, predictor in (("additive", additive), ("with trees", trees)):
        p = torch.full((21, 7), 1 / 7, requires_grad=True)
        times = []
        for _ in range(2200):
            p.grad = None
            start = time.perf_counter()
            expected_latency(predictor, p).backward()
            times.append(time.perf_counter() - start)
        median = 1e6 * float(np.median(times[200:]))
        print(f"{label:14}{median:8.1f} microseconds (promised: under {GRADIENT_US:.0f})")
        good &= median < GRADIENT_US
    print("error of the expectation with trees, against sampling (0 where no more than two blocks")
    print("interact: it is exact then)")
    for label, predictor in (("pairs of blocks", trees), ("three blocks", three_blocks())):
        leaves = (int(predictor.trees_.sizes.max(initial=1)) + 1) // 2  # type: ignore[attr-defined]
        error = surrogate_error(predictor)
        print(f"{label:18}trees of up to {leaves} leaves{error:8.2f} % of the latency")
    print()
    return good


def three_blocks() -> Predictor:
    """A hybrid that keeps deeper trees: three blocks together cost what no two of them do."""
    choices, latency = measured(1500, seed=0)
    together = (choices[:, 1] < 3) & (choices[:, 5] > 2) & (choices[:, 9] > 2)
    return make_predictor("hybrid", SPACE).fit(choices, latency + 6.0 * together)


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
    parser.add_argument("--no-accuracy", action="store_true", help="speed only")
    arguments = parser.parse_args()
    good, trees = speed()
    good &= other_spaces()
    good &= without_xgboost(trees)
    good &= gradients(additive_hybrid(), trees)
    if not arguments.no_accuracy:
        accuracy()
    if arguments.check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
