"""Why the protocol is as it is: what each of its parts takes away from the spread.

Visits to twelve architectures with more rounds and runs than the default, four loads in each of
eight processes, first free to move between cores, then pinned to one. From the same raw samples the
statistics are computed as if fewer rounds and runs had been made. Printed are the coefficient of
variation (CV) between visits to one architecture; how many visits the time of a default label pays
for; and the noise floor of labels made of that many visits, drawn again and again. Visits during
which the reference moved too much are left out, as the protocol does. Below the table: the same
without brackets; labels made in one breath against labels spread over processes; and how much
faster the later runs of a burst are.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.spaces.named import get_space
from latprof.measurement.records import PairedProtocol, PairedSamples
from latprof.measurement.statistics import (
    burst_medians,
    combine_visits,
    raw_median_ms,
    raw_minimum_ms,
    reference_drift,
    visit_ratio,
)
from latprof.profilers.base import RunOptions
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource, reference_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: More than any statistic below uses.
PROTOCOL = PairedProtocol(rounds=4, min_runs=4, burst_ms=32.0, max_drift=10.0)
LOADS = 4
#: Building, loading and calibrating a network of this space, roughly.
BEFORE_MS = 65.0

Samples = list[list[list[PairedSamples]]]


def measure(networks: list[NetworkSource], processes: int, *, pinned: bool) -> Samples:
    """Visit every network ``LOADS`` times in each process; indices (process, load, network)."""
    _, reference = reference_network()
    cores = (max(os.sched_getaffinity(0)),) if pinned else ()
    generator = np.random.default_rng(0)
    found: Samples = []
    for _ in range(processes):
        with ProcessMeasurer(
            "cpu:onnxruntime", RunOptions(cores=cores), reference, PROTOCOL
        ) as measurer:
            loads = []
            for _ in range(LOADS):
                row: list[PairedSamples | None] = [None] * len(networks)
                for index in generator.permutation(len(networks)).tolist():
                    row[index] = measurer.visit(networks[index]).samples
                loads.append([samples for samples in row if samples is not None])
            found.append(loads)
    return found


def cut(samples: PairedSamples, rounds: int, runs: int) -> PairedSamples:
    """The same visit as if it had had fewer rounds and counted runs."""
    stop = samples.dropped_runs + runs
    return PairedSamples(
        tuple(burst[:stop] for burst in samples.target[:rounds]),
        tuple(burst[:stop] for burst in samples.reference[: rounds + 1]),
        samples.dropped_runs,
    )


def table(found: Samples, statistic: Callable[[PairedSamples], float]) -> NDArray[np.float64]:
    """Apply a statistic to every visit; shape (processes, loads, networks)."""
    return np.array([[[statistic(s) for s in load] for load in process] for process in found])


def spread(values: NDArray[np.float64]) -> float:
    """CV between all visits to one network, averaged over the networks, in percent."""
    visits = values.reshape(-1, values.shape[-1])
    return 100 * float(np.mean(np.nanstd(visits, axis=0, ddof=1) / np.nanmean(visits, axis=0)))


def label_floor(values: NDArray[np.float64], visits: int, draws: int = 200) -> float:
    """Noise floor in percent of labels of so many visits, from pairs of labels without overlap."""
    pool = values.reshape(-1, values.shape[-1])
    generator = np.random.default_rng(0)
    squares = []
    for _ in range(draws):
        order = generator.permutation(len(pool))
        first, second = (pool[order[start : start + visits]] for start in (0, visits))
        for a, b in zip(first.T, second.T, strict=True):
            labels = [combine_visits(half[np.isfinite(half)]) for half in (a, b)]
            squares.append((labels[1] / labels[0] - 1) ** 2)
    return 100 * float(np.sqrt(np.mean(squares) / 2))


def cost_ms(found: Samples, rounds: int, runs: int) -> float:
    """Mean time of a visit with so many rounds and runs: timed runs, and what comes before them."""
    timed = [
        sum(map(sum, (*shorter.target, *shorter.reference)))
        for process in found
        for load in process
        for shorter in (cut(samples, rounds, runs) for samples in load)
    ]
    return BEFORE_MS + float(np.mean(timed))


def components(values: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviations, in percent: of what a process has for all networks, and of a load."""
    logarithms = np.log(values)
    logarithms -= np.nanmean(logarithms, axis=(0, 1))
    process = np.nanmean(logarithms, axis=(1, 2))
    rest = logarithms - np.nanmean(logarithms, axis=1, keepdims=True)
    load = np.sqrt(np.nanmean(rest**2) * LOADS / (LOADS - 1))
    return 100 * float(process.std(ddof=1)), 100 * float(load)


def paired(rounds: int, runs: int) -> Callable[[PairedSamples], float]:
    """The paired statistic with so many rounds and counted runs; NaN for a disturbed visit."""

    def statistic(samples: PairedSamples) -> float:
        shorter = cut(samples, rounds, runs)
        disturbed = reference_drift(shorter) > PairedProtocol().max_drift
        return float("nan") if disturbed else visit_ratio(shorter)

    return statistic


def before_only(rounds: int, runs: int) -> Callable[[PairedSamples], float]:
    """The statistic without brackets: each burst over the reference burst before it alone."""

    def statistic(samples: PairedSamples) -> float:
        shorter = cut(samples, rounds, runs)
        if reference_drift(shorter) > PairedProtocol().max_drift:
            return float("nan")
        target, reference = burst_medians(shorter)
        return float(np.median(target / reference[:-1]))

    return statistic


def positions(found: Samples) -> tuple[list[float], list[float]]:
    """How long the runs of a burst take, in order, in percent of the first counted one.

    Medians over all bursts of the networks, then of the reference.
    """
    visits = [samples for process in found for load in process for samples in load]
    curves = []
    for side in ("target", "reference"):
        bursts = [burst for samples in visits for burst in getattr(samples, side)]
        shortest = min(map(len, bursts))
        runs = np.array([burst[:shortest] for burst in bursts])
        curves.append((100 * np.median(runs / runs[:, 1:2], axis=0)).tolist())
    return curves[0], curves[1]


def breaths(values: NDArray[np.float64], draws: int = 400) -> tuple[float, float]:
    """Noise floors in percent of labels of as many visits as a process made of each network.

    First of labels made in one breath, all by one process; then of labels whose visits come from
    that many processes, as a campaign spreads them.
    """
    generator = np.random.default_rng(0)
    processes, loads, networks = values.shape
    squares: tuple[list[float], list[float]] = ([], [])
    for _ in range(draws):
        one, other = generator.choice(processes, 2, replace=False)
        order = generator.choice(processes, 2 * loads, replace=False)
        picked = values[order, generator.integers(0, loads, 2 * loads)]
        halves = ((values[one], values[other]), (picked[:loads], picked[loads:]))
        for found, (first, second) in zip(squares, halves, strict=True):
            for network in range(networks):
                pair = [
                    column[np.isfinite(column)]
                    for column in (first[:, network], second[:, network])
                ]
                if all(map(len, pair)):
                    found.append((combine_visits(pair[1]) / combine_visits(pair[0]) - 1) ** 2)
    together, spread_out = (100 * float(np.sqrt(np.mean(found) / 2)) for found in squares)
    return together, spread_out


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--processes", type=int, default=2 * LOADS, help="at least twice the loads")
    arguments = parser.parse_args()
    space = get_space("proxyless")
    networks = [
        NetworkSource.of_architecture(space, a) for a in space.sample(arguments.networks, seed=2)
    ]
    print(f"{len(networks)} architectures, {arguments.processes} processes, {LOADS} loads in each")
    for label, pinned in (("free to move", False), ("pinned to a core", True)):
        found = measure(networks, arguments.processes, pinned=pinned)
        print_table(label, found)


def print_table(label: str, found: Samples) -> None:
    """Print the spread of every statistic."""
    print(f"\n{label:28} {'CV of a visit':>14} {'visits paid':>12} {'floor of a label':>17}")
    for name, statistic in (("raw median", raw_median_ms), ("raw minimum", raw_minimum_ms)):
        print(f"{name + ', 4 x 4 runs':28} {spread(table(found, statistic)):12.2f} %")
    budget_ms = PairedProtocol().visits * cost_ms(found, 2, 2)
    for rounds, runs in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 4), (4, 2), (4, 4)):
        values = table(found, paired(rounds, runs))
        visits = round(budget_ms / cost_ms(found, rounds, runs))
        name = f"paired, {rounds} x {runs} runs" + (
            " (default)" if (rounds, runs) == (2, 2) else ""
        )
        floor = label_floor(values, visits)
        print(f"{name:28} {spread(values):12.2f} % {visits:12} {floor:15.2f} %")
    values = table(found, before_only(2, 2))
    floor = label_floor(values, PairedProtocol().visits)
    print(f"{'2 x 2 runs, not bracketed':28} {spread(values):12.2f} % {'':12} {floor:15.2f} %")
    together, spread_out = breaths(table(found, paired(2, 2)))
    print(
        f"labels of {LOADS} visits: {together:.2f} % in one breath, {spread_out:.2f} % spread over "
        "processes"
    )
    for name, curve in zip(("network", "reference"), positions(found), strict=True):
        shares = " ".join(f"{value:.1f}" for value in curve)
        print(f"runs of a burst of the {name}, the dropped one first, % of the second: {shares}")
    process, load = components(table(found, paired(2, 2)))
    print(f"default: common to a process {process:.2f} %, between loads in it {load:.2f} %")


if __name__ == "__main__":
    main()
