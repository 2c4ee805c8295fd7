"""What a collection on a GPU promises: ``python -m benchmarks.gpu [--target cuda:0:torch]``.

Three parts, all unless ``--part`` names some. ``collect`` measures architectures of a space at
batch 8, as captured graphs, with one short visit each (a GPU's clock is steady beside a shared
processor's), and prints architectures a second and the spread of repeats. ``errors`` prints the
held-out error of every predictor on what the store holds; it needs no GPU. ``agreement``, on
``cuda:N:torch``, times the same captured graphs with ``torch.utils.benchmark``, and with the
second-level cache flushed with ``triton.testing.do_bench``, in turns with latprof. Without a GPU it
says what is missing; ``--target cpu:torch`` tries the first two parts on a processor.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.dataset import predict, promise, rmse_percent
from latprof.datasets.spaces.named import get_space
from latprof.errors import LatprofError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.predictors.models.by_name import predictor_names
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.network_source import NetworkSource

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace

BATCH = 8
#: Of a collection: one visit with short bursts.
PROTOCOL = PairedProtocol(visits=1, burst_ms=3.0)
PARTS = ("collect", "errors", "agreement")
#: Promised: spread of repeats, error and disagreement in percent, architectures a second.
LARGEST_CV, LARGEST_RMSE, LARGEST_GAP, LEAST_RATE = 0.5, 1.5, 2.0, 15.0
HELD_OUT = 0.2
AGREEING, TURNS, RUNS = 10, 9, 50


def collect(arguments: argparse.Namespace, space: SearchSpace, store: Store) -> bool:
    """Measure what the store lacks; print the rate."""
    modes = profiler_class(arguments.target).modes
    options = RunOptions(batch_size=BATCH, mode=("graph",) if "graph" in modes else ())
    collection = Collection.of_space(
        space,
        arguments.networks,
        target=arguments.target,
        options=options,
        protocol=PROTOCOL,
    )
    target, outcome = collection.run(store, repeat_fraction=arguments.repeat_fraction)
    print(f"{target.describe()}\n{outcome.made} visits, {outcome.repeated} tries repeated")
    for name, failure in outcome.failures[:3]:
        print(f"{name}: {failure.message}")
    if not outcome.made:
        return True
    rate = outcome.made / outcome.elapsed_s
    print(f"{rate:.1f} architectures a second (at least {LEAST_RATE:g})")
    return rate >= LEAST_RATE


def errors(space: SearchSpace, store: Store) -> bool:
    """Print the spread of repeats and every predictor's error on a fifth of the architectures."""
    measured = TargetLabels.of(store)
    floor = measured.noise_floor
    good = True
    if floor is not None:
        good = promise(f"CV of repeats, {floor.pairs} networks", floor.percent, LARGEST_CV)
    frame = measured.labels[measured.labels["label"] == 0]
    choices = space.choices([space.parse(text) for text in frame["subject"]])
    latency = frame["latency_ms"].to_numpy(dtype=np.float64)
    order = np.random.default_rng(0).permutation(len(latency))
    test, train = np.split(order, [round(HELD_OUT * len(order))])
    found = {}
    for name in predictor_names():
        predicted = predict(name, space, (choices[train], latency[train]), choices[test])
        found[name] = rmse_percent(predicted, latency[test])
        print(f"{name}: {found[name]:.2f} % of the mean, {len(train)} to fit, {len(test)} held out")
    return good & promise("best predictor, RMSE", np.nanmin([*found.values()]), LARGEST_RMSE)


def agreement(target: str, space: SearchSpace) -> bool:
    """Time captured graphs as latprof does and as torch's and triton's own timers do, in turns."""
    good = True
    for title, extra, timer in _timers():
        options = RunOptions(batch_size=BATCH, mode=("graph", *extra))
        profiler = profiler_class(target)(options)
        gaps = []
        for architecture in space.sample(AGREEING, seed=1):
            loaded: Any = profiler.load(
                NetworkSource.of_architecture(space, architecture).model(BATCH)
            )
            pairs = [
                (statistics.median(loaded.run(RUNS)), timer(loaded.start)) for _ in range(TURNS)
            ]
            ours, theirs = np.median(np.array(pairs), axis=0)
            gaps.append(100 * (ours / theirs - 1))
            print(f"{architecture}: {ours:.4f} ms, {title} {theirs:.4f} ms ({gaps[-1]:+.2f} %)")
        good &= promise(f"largest gap to {title}", float(np.abs(gaps).max()), LARGEST_GAP)
    return good


def _timers() -> list[tuple[str, tuple[str, ...], Callable[[Callable[[], object]], float]]]:
    """Name, further mode and function that gives a run's milliseconds, of each other timer."""
    from torch.utils.benchmark import Timer

    def torch_timer(start: Callable[[], object]) -> float:
        return float(1000 * Timer("start()", globals={"start": start}).timeit(RUNS).median)

    timers: list[tuple[str, tuple[str, ...], Callable[[Callable[[], object]], float]]]
    timers = [("torch.utils.benchmark", (), torch_timer)]
    try:
        from triton.testing import do_bench
    except ImportError:
        print("triton is not installed: its timer is left out")
        return timers

    def triton_timer(start: Callable[[], object]) -> float:
        return float(do_bench(start, return_mode="median"))

    return [*timers, ("triton.testing.do_bench", ("flush-l2",), triton_timer)]


def main() -> int:
    """Collect, print; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cuda:0:torch")
    parser.add_argument("--space", default="proxyless")
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--repeat-fraction", type=float, default=0.05)
    parser.add_argument("--store", type=Path, help="kept and gone on with; else made and dropped")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    space, parts = get_space(arguments.space), arguments.part or PARTS
    on_a_gpu = arguments.target.startswith("cuda:") and arguments.target.endswith(":torch")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "gpu.db"
        try:
            if "collect" in parts:
                with Store.open(path, create=True) as store:
                    good &= collect(arguments, space, store)
            if "errors" in parts:
                with Store.open(path) as store:
                    good &= errors(space, store)
            if "agreement" in parts and on_a_gpu:
                good &= agreement(arguments.target, space)
        except LatprofError as error:
            print(error)
            return 2
    return int(arguments.check and not good)


if __name__ == "__main__":
    sys.exit(main())
