"""Phones, as far as they can be tried without one: the test phone against this computer itself.

The test phone is the real adbd with the x86-64 runner and the library of LiteRT's own wheel
(``tests/support/adb_phone.py``; it needs Debian's packages: ``make debian-packages``, and root).

``journey``: N ProxylessNAS networks are measured through it and, in turn with it, directly with
``cpu:litert`` and the same library; printed are the mean ratio of the labels and the RMSE of each
by 5-fold cross-validation. With ``--folder`` its stores are kept there, and the same command
resumes; ``--minutes`` ends it between two parts, and prints what is there. ``visits``: what a
visit through it takes beyond its runs, with the library's own loading apart, and by what was asked
of the phone; and what that makes of 5,000 networks as slow as the paper's; ``--minutes`` ends
these, too. ``skeletons``: the latency of networks whose weights the runner fills against the same
networks pushed whole.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from phone_station import station

from latprof.datasets.spaces.named import get_space
from latprof.measurement.labels import TargetLabels
from latprof.measurement.protocol import runs_per_burst
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import combine_visits, visit_ratio
from latprof.measurement.store.store import Store
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.training.cross_validation import cross_validated_predictions
from latprof.predictors.training.stored_training import stored_rows
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.android.answers import OpenShell
from latprof.profilers.runtimes.android.measuring.adb_litert import AdbLiteRT
from latprof.profilers.runtimes.android.runner.runner_client import RunnerClient
from latprof.profilers.runtimes.android.runner.runner_records import PlanResult, RunnerModel
from latprof.profilers.runtimes.android.transport.services import PhoneServices
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource, reference_network

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from latprof.measurement.quiet.target_constant import Constant

#: The core that both ways measure on.
CORE = 1


def networks(n: int, seed: int = 0) -> list[NetworkSource]:
    """Networks of the space that the paper's supernet has."""
    space = get_space("proxyless")
    return [NetworkSource.of_architecture(space, each) for each in space.sample(n, seed=seed)]


# Journey -------------------------------------------------------------------------------------


def journey(place: Any, n: int, visits: int, folder: Path, minutes: float) -> None:
    """Collect both ways in turn, a part of the networks at a time; train; compare."""
    words = ["--space", "proxyless", "--visits", str(visits), "--repeat-fraction", "0", "--quiet"]
    ways = {"phone": place.target, "direct": "cpu:litert"}
    stores = {way: folder / f"{way}.db" for way in ways}
    parts, progress = min(10, max(1, n // 5)), folder / f"parts-of-{n}-{visits}"
    done = int(progress.read_text()) if progress.exists() else 0
    start, longest = time.monotonic(), 0.0
    for part in range(done + 1, parts + 1):
        begun = time.monotonic()
        if begun - start + longest > 60 * minutes:
            break
        count = str(n * part // parts)
        for way, target in ways.items():
            more = ["--target", target, "--cores", str(CORE), "--store", str(stores[way])]
            made = place.run("collect", *words, "-n", count, *more, status=None)
            if made.returncode:
                print(made.stderr[-2000:], file=sys.stderr)
            print(f"{way}: {count} of {n}", file=sys.stderr, flush=True)
        progress.write_text(str(part))
        longest = max(longest, time.monotonic() - begun)
    _compare_ways(stores, visits)


def _compare_ways(stores: Mapping[str, Path], visits: int) -> None:
    labels = {way: _latencies(path) for way, path in stores.items()}
    both = sorted(labels["phone"].keys() & labels["direct"].keys())
    ratio = np.array([labels["phone"][key] / labels["direct"][key] for key in both])
    print(f"networks measured both ways          {len(both)}, {visits} visits each")
    print(f"mean ratio of labels, phone/direct   {ratio.mean():.4f}")
    found = [_constant(stores[way]) for way in ("phone", "direct")]
    doubts = ", ".join(f"{100 * each.doubt:.1f} %" for each in found)
    quotient = found[0].reference_ms / found[1].reference_ms
    print(f"  of it the reference's constants    {quotient:.4f}, each known within {doubts}")
    print(f"spread of the ratios (SD)            {ratio.std():.4f}")
    errors = {way: _rmse(path) for way, path in stores.items()}
    for way, rmse in errors.items():
        print(f"RMSE by 5-fold cross-validation, {way:8}{rmse:.4f} ms")
    print(f"phone's against the direct one's     {errors['phone'] / errors['direct']:.3f}")


def _latencies(path: Path) -> dict[str, float]:
    with Store.open(str(path)) as store:
        table = TargetLabels.of(store, None).labels
        first = table[table["label"] == 0]
        return dict(zip(first["subject"], first["latency_ms"], strict=True))


def _constant(path: Path) -> Constant:
    """The reference's milliseconds in a store, and how far they are known."""
    with Store.open(str(path)) as store:
        return TargetLabels.of(store, None).constant


def _rmse(path: Path) -> float:
    with Store.open(str(path)) as store:
        rows = stored_rows(TargetLabels.of(store, None))
    choices = rows.space.choices(rows.architectures)
    predictor = make_predictor("hybrid", rows.space)
    predicted = cross_validated_predictions(predictor, choices, rows.latency_ms)
    return float(np.sqrt(np.mean((predicted - rows.latency_ms) ** 2)))


# One visit -----------------------------------------------------------------------------------

RUNS, FILLING, LIBRARY = "runs", "reading and filling the file", "the library's loading"
#: What a visit asks of a phone.
ASKED = (
    (OpenShell, "ask", "its shell"),
    (PhoneServices, "run", "other commands"),
    (PhoneServices, "push", "files"),
    (RunnerClient, "load_and_run", "loading and calibrating, beyond these"),
    (RunnerClient, "run_cycle", "the cycle and clocks, beyond its runs"),
)
#: The paper's campaign: networks, and milliseconds of each.
PAPER_NETWORKS, PAPER_MS = 5000, 78.0


@contextlib.contextmanager
def timed_requests() -> Iterator[dict[str, float]]:
    """Seconds spent in each kind of request; whoever asks may set them back to 0."""
    spent = dict.fromkeys((RUNS, FILLING, LIBRARY, *(name for _, _, name in ASKED)), 0.0)

    def timing(method: Any, name: str) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            found = method(*arguments, **options)
            spent[name] += time.perf_counter() - start
            for made in found if isinstance(found, tuple) else ():
                if isinstance(made, PlanResult):
                    runs_s = sum(run.wall_ns for burst in made.bursts for run in burst.runs) / 1e9
                    spent[name] -= runs_s
                    spent[RUNS] += runs_s
                elif isinstance(made, RunnerModel):
                    spent[name] -= (made.read_ns + made.load_ns) / 1e9
                    spent[FILLING] += made.read_ns / 1e9
                    spent[LIBRARY] += made.load_ns / 1e9
            return found

        return timed

    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in ASKED]
    try:
        for owner, name, text in ASKED:
            setattr(owner, name, timing(getattr(owner, name), text))
        yield spent
    finally:
        for owner, name, method in kept:
            setattr(owner, name, method)


def visits(place: Any, n: int, minutes: float) -> None:
    """Visit networks in this process, so long at most; print what is not spent in runs."""
    with place.in_this_process():
        profiler = AdbLiteRT.at(place.phone.serial)(RunOptions(cores=(CORE,)))
        _, reference = reference_network()
        protocol = PairedProtocol()
        measurer = InProcessMeasurer(profiler, reference, protocol, "benchmark")
        chosen = networks(max(1, n // 4))
        for network in chosen:  # converted, and pushed
            measurer.visit(network)
        found: dict[str, list[float]] = defaultdict(list)
        end = time.monotonic() + 60 * minutes
        with timed_requests() as spent:
            for number in range(n):
                if time.monotonic() > end:
                    n = number
                    break
                spent.update(dict.fromkeys((*spent, RUNS), 0.0))
                start = time.perf_counter()
                made = measurer.visit(chosen[number % len(chosen)])
                beyond_s = time.perf_counter() - start - spent.pop(RUNS)
                assert made.samples is not None, made.failure
                found["beyond its runs"].append(beyond_s)
                found["without the library's loading"].append(beyond_s - spent[LIBRARY])
                for name, seconds in spent.items():
                    found[f"  {name}"].append(seconds)
                found["  this computer's own"].append(beyond_s - sum(spent.values()))
        profiler.close()
    print(f"visits: {n}; milliseconds")
    print(f"{'':40} {'median':>8} {'99th percentile':>16}")
    for name, values in found.items():
        median, tail = 1e3 * np.percentile(values, [50, 99])
        print(f"{name:40} {median:8.1f} {tail:16.1f}")
    _print_paper(protocol, float(np.median(found["beyond its runs"])))


def _print_paper(protocol: PairedProtocol, beyond_s: float) -> None:
    """What a campaign of the paper's networks would take, reference and network equally slow."""
    burst = runs_per_burst(PAPER_MS, protocol) + protocol.dropped_runs
    runs = burst * (2 * protocol.rounds + 1) + 2  # of the cycle, and to calibrate
    number = PAPER_NETWORKS * protocol.visits
    of_runs, all_of_it = (
        number * s / 3600 for s in (runs * PAPER_MS / 1e3, runs * PAPER_MS / 1e3 + beyond_s)
    )
    print(
        f"{PAPER_NETWORKS:,} networks of {PAPER_MS:g} ms, {protocol.visits} visits of {runs} runs: "
        f"{all_of_it:.1f} hours by calculation, of which {of_runs:.1f} are runs"
    )


# Skeletons -----------------------------------------------------------------------------------


def skeletons(place: Any, n: int) -> None:
    """Compare each network's ratios, filled and whole, visited in turn."""
    with place.in_this_process():
        profiler = AdbLiteRT.at(place.phone.serial)(RunOptions(cores=(CORE,)))
        _, reference = reference_network()
        measurer = InProcessMeasurer(profiler, reference, PairedProtocol(), "benchmark")
        folder = Path(tempfile.mkdtemp())
        ratios = []
        for number, network in enumerate(networks(n)):
            path = folder / f"{number}.onnx"
            model = network.model(1)
            assert isinstance(model, bytes)
            path.write_bytes(model)
            pair = (network, dataclasses.replace(network, path=path))
            found: list[list[float]] = [[], []]
            for _ in range(8):
                for side, each in enumerate(pair):
                    made = measurer.visit(each)
                    assert made.samples is not None, made.failure
                    found[side].append(visit_ratio(made.samples))
            filled, whole = (combine_visits(np.array(side)) for side in found)
            ratios.append(filled / whole)
        profiler.close()
    _print_ratio("skeleton against the whole file", ratios)


def _print_ratio(name: str, ratios: Sequence[float] | NDArray[np.float64]) -> None:
    values = np.asarray(ratios)
    print(f"{name}: mean {values.mean():.4f}, SD {values.std():.4f}, {len(values)} networks")


def main() -> None:
    """Print the figures that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phone", description=__doc__)
    parser.add_argument("what", nargs="*", default=["journey", "visits", "skeletons"])
    parser.add_argument("-n", type=int, default=200, help="networks of the journey")
    parser.add_argument("--visits", type=int, default=8, help="fresh loads of each network")
    parser.add_argument("--folder", type=Path, help="where the journey's stores are kept")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of parts, or of visits")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    with station() as place, tempfile.TemporaryDirectory() as folder:
        if "visits" in arguments.what:
            visits(place, max(8, arguments.n), arguments.minutes)
        if "skeletons" in arguments.what:
            skeletons(place, max(2, arguments.n // 20))
        if "journey" in arguments.what:
            kept = arguments.folder or Path(folder)
            kept.mkdir(parents=True, exist_ok=True)
            journey(place, arguments.n, arguments.visits, kept.resolve(), arguments.minutes)


if __name__ == "__main__":
    main()
