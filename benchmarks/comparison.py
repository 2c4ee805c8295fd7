"""How often `latprof compare` errs, and what it finds.

A/A: one network is compared with itself in many measuring processes. Sixty real comparisons are cut
from them without overlap, a thousand more are drawn by process (whole processes, never rounds).
Power: the same draws with one side made 3 % slower.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

from latprof.datasets.spaces.named import get_space
from latprof.measurement.comparison import compare_pairs
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.comparing import PROCESSES, VISITS, measure_in_turn
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource, reference_network


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=int, default=60, help="comparisons without overlap")
    parser.add_argument("--drawn", type=int, default=1000)
    arguments = parser.parse_args()
    space = get_space("proxyless")
    network = NetworkSource.of_architecture(space, space.sample(1, seed=3)[0])
    _, reference = reference_network()
    make = partial(ProcessMeasurer, "cpu:onnxruntime", RunOptions(), reference, PairedProtocol())
    processes = arguments.real * PROCESSES
    measured = measure_in_turn(network, network, make, processes=processes)
    a, b = measured.a, measured.b
    groups = np.arange(processes).reshape(arguments.real, PROCESSES)
    real = [compare_pairs("", a[g], b[g]).verdict != "no evidence" for g in groups]
    generator = np.random.default_rng(0)
    false, found, effects = [], [], []
    for _ in range(arguments.drawn):
        rows = generator.choice(processes, PROCESSES, replace=False)
        same = compare_pairs("", a[rows], b[rows])
        false.append(same.verdict != "no evidence")
        effects.append(same.effect)
        found.append(compare_pairs("", a[rows], 1.03 * b[rows]).verdict == "slower")
    print(f"default effort: {PROCESSES} processes, {VISITS} visits to either network in each")
    print(f"A/A, {arguments.real} real: {100 * np.mean(real):.1f} % called a difference")
    print(
        f"A/A, {arguments.drawn} drawn by process: {100 * np.mean(false):.1f} % called a "
        "difference, at most 6.5 % at the 5 % level"
    )
    print(f"spread of the effect: {100 * np.std(effects):.2f} %")
    print(f"3 % slower: found in {100 * np.mean(found):.1f} %, at least 90 %")


if __name__ == "__main__":
    main()
