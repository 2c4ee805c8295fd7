"""Searches by gradient on the digits, with the 21 layers of ProxylessNAS, on this CPU.

Usage: ``python -m benchmarks.supernets [--only time,memory,term,lightnas] [--seeds 5]``

*memory* counts the bytes of the tensors that autograd keeps for the backward pass, weights not
counted, against those of the single largest path. *term* searches with and without the latency
term; the networks found are then trained on their own, and their accuracy is told on test images
on which nothing was chosen. *lightnas* gives five targets to one run each; beside the latency of
the network it derives stand the expected latency at the end of the search and that of the most
probable network. Latencies are the shipped pack's, of full-sized networks.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import latprof
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.searchers.accuracy.accuracy_by_training import TrainedAccuracy
from latprof.searchers.base import SearchProblem
from latprof.searchers.differentiable.gradient_search import SearchState
from latprof.searchers.differentiable.lightnas import LightNAS
from latprof.searchers.differentiable.proxyless import ProxylessG
from latprof.searchers.supernets.image_tasks import digits_task
from latprof.searchers.supernets.supernet import Mixture, Supernet

PACK = "proxyless-cpu-ort1"
EPOCHS = 12
LIMIT_MS = 4.5
#: Of the run that is timed.
TIMED_LIMIT_MS = 3.6
TARGETS_MS = (3.5, 4.5, 5.5, 6.5, 7.5)
#: Of a found network trained on its own.
RETRAINING = 100


def problem(limit_ms: float = float("inf")) -> SearchProblem:
    """A problem whose accuracies are the supernet's."""
    predictor = latprof.load_pack(PACK).predictor
    return SearchProblem(predictor, lambda _: [], limit_ms=limit_ms)


# Memory ---------------------------------------------------------------------------------


@dataclass
class Saved:
    """Bytes of what autograd keeps; a tensor that is kept twice counts once."""

    storages: dict[int, int]

    @property
    def bytes(self) -> int:
        return sum(self.storages.values())


@contextmanager
def saved_for_backward(supernet: Supernet) -> Iterator[Saved]:
    """Count the bytes kept for the backward pass, without those of the weights."""
    weights = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    saved = Saved({})

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


def print_memory() -> dict[str, float]:
    """Bytes saved in each kind of step, as ratios to the largest single path."""
    task = digits_task()
    searcher = ProxylessG(task)
    state = SearchState(searcher, problem(LIMIT_MS), 1, 0)
    supernet = state.supernet
    images = torch.stack([task.train[i][0] for i in range(searcher.batch_size)])
    labels = torch.tensor([int(task.train[i][1]) for i in range(searcher.batch_size)])
    sizes = state.problem.space.num_choices

    def forward_bytes(paths: Sequence[Any]) -> int:
        with saved_for_backward(supernet) as saved:
            loss = torch.nn.functional.cross_entropy(supernet(images, paths), labels)
        del loss
        return saved.bytes

    largest = _largest_path(state)
    single = forward_bytes(largest)
    weight = max(forward_bytes(searcher.weight_gates(state)) for _ in range(20))
    architecture = 0
    supernet.freeze(frozen=True)
    for _ in range(20):
        with saved_for_backward(supernet) as saved:
            loss = searcher.architecture_loss(state, images, labels)
        architecture = max(architecture, saved.bytes)
        del loss
    supernet.freeze(frozen=False)
    every = [
        Mixture(tuple(range(size)), torch.full((size,), 1 / size, requires_grad=True))
        for size in sizes.tolist()
    ]
    full = forward_bytes(every)
    print("\nBytes saved for the backward pass, batch 64 (largest of 20 steps each)\n")
    print("| step | MB | times the largest single path | promised |")
    print("|---|---|---|---|")
    rows = {"weights": weight, "architecture": architecture, "all paths at once": full}
    promised = {"weights": "1.25", "architecture": "2.25", "all paths at once": "-"}
    print(f"| largest single path | {single / 1e6:.1f} | 1.00 | |")
    for name, value in rows.items():
        print(f"| {name} | {value / 1e6:.1f} | {value / single:.2f} | {promised[name]} |")
    return {name: value / single for name, value in rows.items()}


def _largest_path(state: SearchState) -> list[int]:
    """The candidate of each decision with the most activations: expansion 6, the largest kernel."""
    names = state.problem.space.candidates
    largest = [max(row, key=lambda name: ("MBConv6" in name, name)) for row in names]
    return [row.index(name) for row, name in zip(names, largest, strict=True)]


# Searches -------------------------------------------------------------------------------


def print_time(epochs: int) -> float:
    """One complete search, as a user makes it."""
    start = time.monotonic()
    found = ProxylessG(digits_task()).run(problem(TIMED_LIMIT_MS), epochs)
    seconds = time.monotonic() - start
    best = found.best
    assert best is not None
    print(
        f"\nA complete Proxyless-G run, {epochs} epochs, {TIMED_LIMIT_MS} ms: {seconds:.0f} s "
        f"(promised: under 600); {best.accuracy:.1f} % with the supernet's weights, "
        f"{best.latency_ms:.3f} ms",
        flush=True,
    )
    return seconds


def print_term(seeds: int) -> tuple[float, float]:
    """With and without the latency term: ratio of latencies, difference of accuracies."""
    task = digits_task()
    trained = TrainedAccuracy(problem().space, task, epochs=RETRAINING, test=True)
    rows = []
    for seed in range(seeds):
        row = []
        for strength, limit in ((None, LIMIT_MS), (0.0, float("inf"))):
            searcher = ProxylessG(task, strength=strength)
            best = searcher.run(problem(limit), EPOCHS, seed=seed).best
            assert best is not None
            row += [best.latency_ms, float(trained([best.architecture])[0])]
        rows.append(row)
        print(f"  seed {seed}: {np.round(row, 3).tolist()}", file=sys.stderr, flush=True)
    values = np.array(rows)
    ratio, difference = values[:, 2] / values[:, 0], values[:, 3] - values[:, 1]
    spread = [f"{v.mean():.3f} +- {v.std(ddof=1):.3f}" for v in values.T]
    print(
        f"\nProxyless-G with and without the latency term, {EPOCHS} epochs, {seeds} seeds (mean +- "
        f"standard deviation); networks trained on their own for {RETRAINING} epochs\n"
    )
    print("| search | latency (ms) | test accuracy (%) |")
    print("|---|---|---|")
    print(f"| with the term, {LIMIT_MS} ms | {spread[0]} | {spread[1]} |")
    print(f"| without | {spread[2]} | {spread[3]} |")
    print(
        f"\nwithout / with: {ratio.mean():.3f} +- {ratio.std(ddof=1):.3f} (promised: 1.5), "
        f"accuracy {difference.mean():+.2f} points (promised: within 1)",
        flush=True,
    )
    return float(ratio.mean()), float(abs(difference.mean()))


def print_lightnas() -> float:
    """Five targets, one run each: the largest miss."""
    print(f"\nLightNAS, one run of {EPOCHS} epochs a target\n")
    print("| T (ms) | derived (ms) | miss | E[LAT] at the end | most probable (ms) | accuracy |")
    print("|---|---|---|---|---|---|")
    misses = []
    for target in TARGETS_MS:
        searcher = LightNAS(digits_task())
        given = problem(target)
        state = SearchState(searcher, given, EPOCHS, 0)
        while state.epoch < EPOCHS:
            state.run_epoch()
        best = state.steps[-1]
        probable = float(given.latency_ms(state.parameters.most_probable()[None])[0])
        with torch.no_grad():
            expected = float(expected_latency(state.predictor, state.parameters.probabilities()))
        misses.append(abs(best.latency_ms / target - 1))
        print(
            f"| {target} | {best.latency_ms:.3f} | {best.latency_ms / target - 1:+.2%} | "
            f"{expected:.3f} | {probable:.3f} | {best.accuracy:.1f} |",
            flush=True,
        )
    return max(misses)


def main() -> int:
    """Print what was asked for; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="memory,time,term,lightnas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=50, help="of the run that is timed")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    broken = []
    if "memory" in wanted:
        memory = print_memory()
        broken += ["weight step's memory"] if memory["weights"] > 1.25 else []
        broken += ["architecture step's memory"] if memory["architecture"] > 2.25 else []
    if "time" in wanted and print_time(arguments.epochs) >= 600:
        broken.append("time of a run")
    if "term" in wanted:
        ratio, difference = print_term(arguments.seeds)
        broken += ["latency without the term"] if ratio < 1.5 else []
        broken += ["accuracy with the term"] if difference > 1 else []
    if "lightnas" in wanted and print_lightnas() > 0.03:
        broken.append("LightNAS")
    print("\n".join(f"BROKEN: {what}" for what in broken) or "\nall promises kept")
    return int(arguments.check and bool(broken))


if __name__ == "__main__":
    sys.exit(main())
