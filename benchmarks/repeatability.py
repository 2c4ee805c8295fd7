"""Does a measurement repeat? Networks measured in fresh processes, paired against raw.

Twelve architectures, each measured in ten fresh processes with the default protocol; the processes
of one architecture are spread over the whole run. Printed: the coefficient of variation (CV) over
the processes of the paired statistic and of the raw ones, and by how much the median of five
processes differs from the median of the other five.
"""

from __future__ import annotations

import argparse
import itertools
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.spaces.named import get_space
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import (
    combine_visits,
    raw_median_ms,
    raw_minimum_ms,
    visit_ratio,
)
from latprof.profilers.base import RunOptions
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource, reference_network

if TYPE_CHECKING:
    from numpy.typing import NDArray


def measure(networks: list[NetworkSource], processes: int) -> dict[str, NDArray[np.float64]]:
    """Measure; each statistic has shape (processes, networks)."""
    protocol = PairedProtocol()
    _, reference = reference_network()
    names = ("paired ratio", "raw median", "raw minimum")
    found = {name: np.empty((processes, len(networks))) for name in names}
    generator = np.random.default_rng(0)
    for process in range(processes):
        for index in generator.permutation(len(networks)).tolist():
            with ProcessMeasurer("cpu:onnxruntime", RunOptions(), reference, protocol) as measurer:
                visits = [measurer.visit(networks[index]) for _ in range(protocol.visits)]
            samples = [visit.samples for visit in visits if visit.samples is not None]
            found["paired ratio"][process, index] = combine_visits(list(map(visit_ratio, samples)))
            found["raw median"][process, index] = np.median(list(map(raw_median_ms, samples)))
            found["raw minimum"][process, index] = min(map(raw_minimum_ms, samples))
    return found


def halves_difference(values: NDArray[np.float64]) -> float:
    """Mean of |median of one half / median of the other - 1| over all splits and networks."""
    processes = len(values)
    differences = []
    for half in itertools.combinations(range(processes), processes // 2):
        rest = [index for index in range(processes) if index not in half]
        ratio = np.median(values[list(half)], axis=0) / np.median(values[rest], axis=0)
        differences.append(np.abs(ratio - 1))
    return float(np.mean(differences))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--processes", type=int, default=10)
    arguments = parser.parse_args()
    space = get_space("proxyless")
    networks = [
        NetworkSource.of_architecture(space, a) for a in space.sample(arguments.networks, seed=1)
    ]
    found = measure(networks, arguments.processes)
    print(f"{len(networks)} architectures, {arguments.processes} fresh processes each")
    print("statistic      CV mean   CV worst   5 against 5")
    for name, values in found.items():
        spread = 100 * values.std(axis=0, ddof=1) / values.mean(axis=0)
        halves = 100 * halves_difference(values)
        print(f"{name:13} {spread.mean():7.2f} % {spread.max():8.2f} % {halves:11.2f} %")
    print("promised: paired CV at most 1.5 %, 5 against 5 at most 1 % on average")


if __name__ == "__main__":
    main()
