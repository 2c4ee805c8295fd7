"""Searched for one device, run on others: NAS-Bench-201, real trainings, real latencies.

Usage: ``python -m benchmarks.cross_target --data FOLDER [--seeds 5] [--check]``

FOLDER holds ``nasbench201-accuracy`` and ``help`` (docs/importing.md). For each data set and each
device, evolution seeks the fastest network of one accuracy (two points below the best of the
benchmark); what was evaluated for one device is a candidate for all. Every network is then told on
every device, as in table 4 of ProxylessNAS; beside it stands the true optimum, which only a
benchmark knows.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

from latprof.datasets.importers.accuracies import load_nasbench201_accuracies
from latprof.datasets.importers.collections.help import load_help
from latprof.searchers import (
    ArchitectureTable,
    CrossTarget,
    LatencyTable,
    SearchProblem,
    get_searcher,
)
from latprof.searchers.studies.cross_target import cross_target, search_targets

DEVICES = ("gold_6226", "pixel2", "1080ti_1")
DATA_SETS = ("cifar10-test", "cifar100-test", "imagenet-test")
BUDGET = 1000
BELOW_BEST = 2.0
SEARCHER = get_searcher("evolution", population=50, parents=30, children=20)


def search_all(
    accuracy: ArchitectureTable, latency: dict[str, LatencyTable], wanted: float, seed: int
) -> CrossTarget:
    """Each device's own network of at least the wanted accuracy, on all devices."""
    problems = {device: SearchProblem(table, accuracy) for device, table in latency.items()}
    searched = search_targets(SEARCHER, problems, wanted, BUDGET, seed=seed)
    return cross_target(searched, latency, [found.accuracy for found in searched.values()])


def main() -> int:
    """Print a table a data set; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    trained = load_nasbench201_accuracies(arguments.data / "nasbench201-accuracy" / "accuracy.csv")
    assert trained.space is not None
    latency = {}
    for device in DEVICES:
        measured = load_help(arguments.data / "help", "nasbench201", device)
        assert measured.choices is not None
        latency[device] = LatencyTable(trained.space, measured.choices, measured.latency_ms)
    broken = 0
    for data_set in DATA_SETS:
        values = trained.accuracy_percent[data_set]
        accuracy = ArchitectureTable(trained.space, trained.choices, values)
        wanted = float(values.max()) - BELOW_BEST
        tables = [search_all(accuracy, latency, wanted, s) for s in range(arguments.seeds)]
        own = sum(int(table.own_is_fastest.sum()) for table in tables)
        optima = {
            device: float(table.values[accuracy(table.choices) >= wanted].min())
            for device, table in latency.items()
        }
        least = np.array([optima[device] for device in DEVICES])
        excess = np.mean([np.diagonal(table.latency_ms) / least - 1 for table in tables])
        count = arguments.seeds * len(DEVICES)
        print(
            f"\n{data_set}: at least {wanted:.2f} %, {BUDGET} evaluations a device, "
            f"{arguments.seeds} seeds: on {own} of {count} devices no other device's network is "
            f"faster; on average {excess:.2%} above the true optimum; seed 0:\n"
        )
        _print(tables[0])
        broken += own < count
    return int(arguments.check and broken > 0)


def _print(table: CrossTarget) -> None:
    print(f"| searched for | accuracy (%) | {' | '.join(f'on {t} (ms)' for t in table.targets)} |")
    print("|---" * (len(table.targets) + 2) + "|")
    for index, target in enumerate(table.targets):
        row = " | ".join(f"{value:.3f}" for value in table.latency_ms[index])
        print(f"| {target} | {table.accuracy[index]:.2f} | {row} |")
    ratios = table.latency_ms / np.diagonal(table.latency_ms)
    others = ratios[~np.eye(len(ratios), dtype=bool)]
    mean = math.exp(float(np.log(others).mean()))
    print(f"\nother devices' networks are {mean:.2f} times as slow as the own one (geometric mean)")


if __name__ == "__main__":
    sys.exit(main())
