"""Why the protocol is as it is: what each of its parts takes away from the spread.

Visits to twelve architectures with more rounds and runs than the default, four loads in each of
eight processes, first free to move between cores, then pinned to one. From the same raw samples the
statistics are computed as if fewer rounds and runs had been made. Printed are coefficients of
variation (CV) between visits to one architecture, averaged over the architectures, and how much of
it is the process and the load.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.registry import get_space
from latprof.measurement.records import PairedProtocol, PairedSamples
from latprof.measurement.statistics import (
    coefficient_of_variation,
    raw_median_ms,
    raw_minimum_ms,
    visit_ratio,
)
from latprof.profilers.base import RunOptions
from latprof.profilers.networks import Network, reference_network
from latprof.profilers.remote import RemoteBench

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: More than any statistic below uses.
PROTOCOL = PairedProtocol(rounds=4, min_runs=4, burst_ms=32.0, max_drift=10.0)
LOADS = 4

Samples = list[list[list[PairedSamples]]]


def measure(networks: list[Network], processes: int, *, pinned: bool) -> Samples:
    """Visit every network ``LOADS`` times in each process; indices (process, load, network)."""
    _, reference = reference_network()
    cores = (max(os.sched_getaffinity(0)),) if pinned else ()
    generator = np.random.default_rng(0)
    found: Samples = []
    for _ in range(processes):
        with RemoteBench("cpu:onnxruntime", RunOptions(cores=cores), reference, PROTOCOL) as bench:
            loads = []
            for _ in range(LOADS):
                row: list[PairedSamples | None] = [None] * len(networks)
                for index in generator.permutation(len(networks)).tolist():
                    row[index] = bench.visit(networks[index]).samples
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


def paired(rounds: int, runs: int) -> Callable[[PairedSamples], float]:
    """The paired statistic with so many rounds and counted runs."""
    return lambda samples: visit_ratio(cut(samples, rounds, runs))


def table(found: Samples, statistic: Callable[[PairedSamples], float]) -> NDArray[np.float64]:
    """Apply a statistic to every visit; shape (processes, loads, networks)."""
    return np.array([[[statistic(s) for s in load] for load in process] for process in found])


def spread(values: NDArray[np.float64]) -> float:
    """CV between all visits to one network, averaged over the networks, in percent."""
    visits = values.reshape(-1, values.shape[-1])
    return 100 * float(coefficient_of_variation(visits).mean())


def components(values: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviations, in percent: of what a process has for all networks, and of a load."""
    logarithms = np.log(values)
    logarithms -= logarithms.mean(axis=(0, 1))
    process = logarithms.mean(axis=(1, 2))
    rest = logarithms - logarithms.mean(axis=1, keepdims=True)
    load = np.sqrt((rest**2).sum() / (rest.size * (LOADS - 1) / LOADS))
    return 100 * float(process.std(ddof=1)), 100 * float(load)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--processes", type=int, default=8)
    arguments = parser.parse_args()
    space = get_space("proxyless")
    networks = [Network.of_architecture(space, a) for a in space.sample(arguments.networks, seed=2)]
    print(
        f"{len(networks)} architectures, {arguments.processes} processes, {LOADS} loads in each; "
        "CV between visits"
    )
    statistics: list[tuple[str, Callable[[PairedSamples], float]]] = [
        ("raw median, 4 bursts of 4 runs", raw_median_ms),
        ("raw minimum of 16 runs", raw_minimum_ms),
    ]
    for rounds, runs in ((1, 1), (1, 2), (2, 2), (2, 4), (4, 2), (4, 4)):
        name = f"paired, {rounds} x {runs} runs" + (
            " (default)" if (rounds, runs) == (2, 2) else ""
        )
        statistics.append((name, paired(rounds, runs)))
    free = measure(networks, arguments.processes, pinned=False)
    pinned = measure(networks, arguments.processes, pinned=True)
    print(f"{'statistic':32} {'free':>8} {'pinned':>8}")
    for name, statistic in statistics:
        cells = [spread(table(found, statistic)) for found in (free, pinned)]
        print(f"{name:32} {cells[0]:6.2f} % {cells[1]:6.2f} %")
    for label, found in (("free", free), ("pinned", pinned)):
        process, load = components(table(found, paired(2, 2)))
        print(f"{label}: common to a process {process:.2f} %, between loads in it {load:.2f} %")
    values = table(free, paired(2, 2)).reshape(-1, len(networks))
    print("labels of k visits, their CV if visits were independent:", end="")
    for visits in (1, 2, 4, 8):
        print(f"  {visits}: {spread(values) / visits**0.5:.2f} %", end="")
    print()


if __name__ == "__main__":
    main()
