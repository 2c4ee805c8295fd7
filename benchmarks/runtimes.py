"""The same networks through every runtime of this processor.

Usage: ``python -m benchmarks.runtimes [--store FILE] [--only cpu:torch,...] [--page FILE]``

Every installed runtime measures the same 100 architectures of ProxylessNAS (15 untuned by TVM),
one image, one thread, into one store; what the store already holds is not measured again. Printed:
milliseconds, the spread of repeats (a fifth of the networks, measured again in a later pass), the
rank correlations, what a run takes beyond the runtime's own clock or loop, and how well each
runtime is predicted from packs of three others and 10 networks of its own: the packs learn from
the 100, the 10 are chosen as ``latprof collect --plan transfer`` does and measured on that runtime
alone, and the rank correlation is over its measurements of the 100, which nothing learned from.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr

from latprof.datasets.spaces.named import get_space
from latprof.measurement.across.side_by_side import SideBySide, side_by_side
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.predictors.models.hybrid import HybridPredictor
from latprof.predictors.models.transfer_predictor import TransferPredictor, choose_for_transfer
from latprof.predictors.training.stored_training import stored_block_times, stored_rows
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection
from latprof.profilers.targets import profiler_class, target_spellings
from latprof.profilers.visits.network_source import NetworkSource
from latprof.reports.rendering.page import write_report
from latprof.reports.side_by_side_report import build_side_by_side_report

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, Choices, SearchSpace
    from latprof.measurement.across.side_by_side import Floats
    from latprof.measurement.records import Target
    from latprof.predictors.models.block_times import BlockTimes
    from latprof.profilers.base import Profiler

NETWORKS = 100
#: Of runtimes that are too slow for more.
FEW = {"cpu:tvm": 15}
#: Promised largest spread of repeats, largest overhead, least rank correlation of a transfer.
LARGEST_CV, LARGEST_OVERHEAD, LEAST_RHO = 0.015, 0.03, 0.97
TRANSFER_ROWS = 10
SEED = 11
TURNS, RUNS = 9, 10


def installed() -> list[str]:
    """Targets of this processor that can be measured here."""
    names = [name for name in target_spellings() if name.startswith("cpu:")]
    return [name for name in names if profiler_class(name).availability().state == "ready"]


def collect(store: Store, spelling: str) -> None:
    """Measure what the store lacks of one runtime."""
    few = FEW.get(spelling)
    collection = Collection.of_space(
        get_space("proxyless"),
        few or NETWORKS,
        seed=SEED,
        target=spelling,
        options=RunOptions(),
        protocol=PairedProtocol(visits=2) if few else PairedProtocol(),
    )
    _, outcome = collection.run(store, repeat_fraction=0.2, seed=SEED, timeout_s=900.0)
    print(f"{spelling}: {outcome.made} visits, {outcome.resumed} found done", file=sys.stderr)


def print_side_by_side(data: SideBySide) -> float:
    """Milliseconds and spreads; returns the largest spread."""
    print("\n| target | networks | mean (ms) | times the fastest | CV of repeats | repeated |")
    print("|---|---|---|---|---|---|")
    largest = 0.0
    for i, name in enumerate(data.names):
        floor = data.noise_floors[i]
        assert floor is not None
        largest = max(largest, floor.relative)
        print(
            f"| {name} | {data.measured[i]} | {data.latency_ms[:, i].mean():.3f} | "
            f"{data.relative[i]:.2f} | {floor.percent:.2f} % | {floor.pairs} ({floor.method}) |"
        )
    print(f"\nSpearman's rank correlation over {len(data.networks)} networks\n")
    print(f"| | {' | '.join(data.names)} |")
    print("|---" * (len(data.names) + 1) + "|")
    for name, row in zip(data.names, data.spearman, strict=True):
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |", flush=True)
    return largest


# What a run takes beyond the runtime itself ---------------------------------------------


def print_overheads(spellings: Sequence[str], count: int = 10) -> float:
    """A run as latprof times it over what the runtime's own clock says; the largest excess.

    Only of networks that take more than 2 ms. The runtime's clock is ONNX Runtime's profiler (of
    the same runs), OpenVINO's request (of the same runs), TVM's ``time_evaluator``, torch's
    benchmark timer, and for LiteRT, which has none, a loop between two readings of the clock; the
    last three take turns with latprof's runs. Medians of 9 turns of 10 runs.
    """
    space = get_space("proxyless")
    print("\n| target | networks | run (ms) | by the runtime's clock (ms) | more: mean, largest |")
    print("|---|---|---|---|---|")
    largest = 0.0
    for spelling in spellings:
        profiler = profiler_class(spelling)(RunOptions())
        rows = []
        few = FEW.get(spelling, 3 * count) // 3
        for architecture in space.sample(min(count, few), seed=SEED):
            model = NetworkSource.of_architecture(space, architecture).model(1)
            rows.append(_CLOCKS[spelling](profiler, model))
        run, inner = np.array([np.median(np.array(pairs), axis=0) for pairs in rows]).T
        excess = (run / inner - 1)[inner > 2]
        print(
            f"| {spelling} | {len(excess)} of over 2 ms | {run.mean():.3f} | {inner.mean():.3f} | "
            f"{excess.mean():+.2%}, {excess.max():+.2%} |",
            flush=True,
        )
        largest = max(largest, float(excess.max()))
    return largest


#: Pairs of milliseconds: a run as latprof times it, and by the runtime's clock.
Pairs = list[tuple[float, float]]


def _onnxruntime(profiler: Profiler, model: bytes | Path) -> Pairs:
    loaded: Any = profiler.load_profiled(model)
    durations = [loaded.run(1)[0] for _ in range(TURNS * RUNS)]
    events = json.loads(Path(loaded.session.end_profiling()).read_text("utf-8"))
    inner = [event["dur"] / 1000 for event in events if event.get("name") == "model_run"]
    return list(zip(durations, inner, strict=True))[RUNS:]


def _openvino(profiler: Profiler, model: bytes | Path) -> Pairs:
    loaded: Any = profiler.load(model)
    loaded.run(RUNS)
    return [(loaded.run(1)[0], loaded.request.latency) for _ in range(TURNS * RUNS)]


def _torch(profiler: Profiler, model: bytes | Path) -> Pairs:
    import torch
    from torch.utils.benchmark import Timer

    loaded: Any = profiler.load(model)
    with torch.inference_mode():
        timer = Timer("run(*inputs)", globals={"run": loaded.call, "inputs": loaded.inputs})
        return _in_turn(loaded, lambda: 1000 * timer.timeit(RUNS).median)


def _tvm(profiler: Profiler, model: bytes | Path) -> Pairs:
    import tvm

    loaded: Any = profiler.load(model)
    evaluate = loaded.machine.time_evaluator("invoke_stateful", tvm.cpu(), number=1)
    return _in_turn(loaded, lambda: 1000 * evaluate("main").mean, turns=3, runs=2)


def _litert(profiler: Profiler, model: bytes | Path) -> Pairs:
    loaded: Any = profiler.load(model)
    invoke = loaded.interpreter.invoke

    def loop() -> float:
        start = time.perf_counter()
        for _ in range(RUNS):
            invoke()
        return 1000 * (time.perf_counter() - start) / RUNS

    return _in_turn(loaded, loop)


def _in_turn(
    loaded: Any, inner: Callable[[], float], *, turns: int = TURNS, runs: int = RUNS
) -> Pairs:
    loaded.run(runs)
    return [(float(np.median(loaded.run(runs))), inner()) for _ in range(turns)]


_CLOCKS: dict[str, Callable[[Profiler, bytes | Path], Pairs]] = {
    "cpu:litert": _litert,
    "cpu:onnxruntime": _onnxruntime,
    "cpu:openvino": _openvino,
    "cpu:torch": _torch,
    "cpu:tvm": _tvm,
}


# Transfer between runtimes -----------------------------------------------------------------


def print_transfer(store: Store, data: SideBySide) -> float:
    """Each runtime from 10 of its networks and packs of three others; returns the least rho."""
    space = get_space("proxyless")
    choices = space.choices([space.parse(name) for name in data.networks])
    fitted = [HybridPredictor(space).fit(choices, latency) for latency in data.latency_ms.T]
    print(
        f"\n{TRANSFER_ROWS} networks of one runtime, packs of others: over the rest of "
        f"{len(choices)} networks"
    )
    print("\n| target | packs | and kernels | latencies only | packs alone | fitted to the 100 |")
    print("|---|---|---|---|---|---|")
    least = 1.0
    for i, target in enumerate(data.targets):
        sources = [fitted[j] for j in range(len(fitted)) if j != i][:3]
        chosen = choose_for_transfer(space, sources, TRANSFER_ROWS)
        measured = measure_chosen(store, target, space, space.architectures(chosen))
        unseen = ~(choices[:, None] == chosen).all(axis=2).any(axis=1)
        others, truth = choices[unseen], data.latency_ms[unseen, i]
        rhos = []
        for times in (kernel_times(store, target, chosen), None):
            predictor = TransferPredictor(space, sources, times).fit(chosen, measured)
            rhos.append(_rho(predictor.predict(others), truth))
        alone = ", ".join(f"{_rho(source.predict(others), truth):.4f}" for source in sources)
        own = _rho(fitted[i].out_of_fold_ms_[unseen], truth)
        least = min(least, rhos[0])
        cells = (data.names[i], str(len(sources)), *(f"{r:.4f}" for r in rhos), alone, f"{own:.4f}")
        print(f"| {' | '.join(cells)} |", flush=True)
    return least


def kernel_times(store: Store, target: Target, chosen: Choices) -> BlockTimes | None:
    """Times of the blocks of these architectures; None from a runtime that tells none."""
    measured = TargetLabels.of(store, target)
    times = stored_block_times(measured, stored_rows(measured).space)
    return None if times is None else times.of(chosen)


def measure_chosen(
    store: Store, target: Target, space: SearchSpace, chosen: Sequence[Architecture]
) -> Floats:
    """Milliseconds of these architectures, measured where the store lacks them; kernels, too."""
    collection = Collection.of_architectures(
        space,
        chosen,
        {"chosen": len(chosen)},
        target=target.spelling,
        options=RunOptions.of_target(target),
    )
    collection.run(store, repeat_fraction=0.0, ops=True)
    labels = TargetLabels.of(store, target).labels
    found = labels[labels["label"] == 0].set_index("name")["latency_ms"]
    return found.loc[[str(architecture) for architecture in chosen]].to_numpy(dtype=np.float64)


def _rho(predicted: Floats, measured: Floats) -> float:
    return float(spearmanr(predicted, measured).statistic)


def main() -> int:
    """Collect, print, write the page; 1 where --check finds a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="kept and gone on with; else made and dropped")
    parser.add_argument("--only", default="", help="runtimes, with commas; all installed ones else")
    parser.add_argument("--page", type=Path, help="also write the report page")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    spellings = arguments.only.split(",") if arguments.only else installed()
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.store or Path(folder) / "runtimes.db"
        with Store.open(path, create=True) as store:
            for spelling in spellings:
                collect(store, spelling)
            sources = TargetLabels.all_of(store)
            everything = side_by_side(sources)
            many = side_by_side([s for s in sources if s.target.spelling not in FEW])
            if max(print_side_by_side(everything), print_side_by_side(many)) > LARGEST_CV:
                broken.append("spread of repeats")
            if arguments.page:
                write_report(build_side_by_side_report(everything), arguments.page)
            if len(many.names) > 3 and print_transfer(store, many) < LEAST_RHO:
                broken.append("transfer between runtimes")
    if print_overheads(spellings) > LARGEST_OVERHEAD:
        broken.append("overhead of a run")
    print("\n".join(f"BROKEN: {what}" for what in broken) or "\nall promises kept")
    return int(arguments.check and bool(broken))


if __name__ == "__main__":
    sys.exit(main())
