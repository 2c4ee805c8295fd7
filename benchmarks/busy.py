"""Do numbers hold on a busy machine? Networks measured beside busy loops, against a quiet host.

Twenty networks of 0.1 to 60 ms are measured when nothing else runs; then again beside 1, 2 and 4
busy loops and beside processes that fill the memory's bandwidth, which this command starts and
ends itself, and once more when nothing else runs (`again`). A quiet label is the mean of both, and
their rows say what the quiet host itself changed meanwhile. Printed for each load: the bias, the
worst network, how many numbers were refused ("host too busy"), in how many the 90 % interval holds
the quiet label, and how many were recognised as measured beside a memory hog; then how `compare`
judges a network against itself, and against ratios 3 % larger. The loads end with this command, or
after ten minutes.

Where latprof may, it goes before other programs (docs/measuring.md), and little is left of such a
load; `--stand-back` shows what its statistics are worth without.

`--only` takes parts (`quiet`, `1`, `2`, `4`, `hog`, `again`, `references`, `compare`), whose
results are kept in the file of `--state`, so that each part can have a quiet moment of its own.
Comparisons are kept one by one, up to `--times` for each load, and end after `--minutes`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.proxyless import MOBILE_CHOICES, MOBILE_WIDTHS, ProxylessSpace
from latprof.errors import HostBusyError
from latprof.measurement.comparison import compare_pairs
from latprof.measurement.quiet.busy import (
    busy_share,
    is_too_busy,
    needs_more,
    others_doubt,
)
from latprof.measurement.quiet.preemption import preempted_share
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import (
    burst_medians,
    combine_visits,
    counted_runs,
    visit_ratios,
)
from latprof.profilers.base import RunOptions
from latprof.profilers.comparing import measure_in_turn
from latprof.profilers.host.host_report import HostReport, VisitSeen
from latprof.profilers.profiling import half_width_of, process_ratios
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource, reference_network
from latprof.profilers.visits.references import chain
from latprof.profilers.visits.schedule import (
    KnownReferences,
    MadeVisit,
    MakeMeasurer,
    PlannedVisit,
    Schedule,
)

TARGET = "cpu:onnxruntime"
LOADS = ("quiet", "1", "2", "4", "hog", "again")
PARTS = (*LOADS, "references", "compare")
#: Loads beside which networks are compared.
COMPARED_BESIDE = ("2", "4")
#: Measuring processes that share a load's visits.
PROCESSES = 4
_LOOP = "while True: pass"
_HOG = "import numpy as np\na, b = np.zeros(1 << 24), np.ones(1 << 24)\nwhile True: np.copyto(a, b)"
_LONGEST_S = 600
#: Width, resolution and last choices of networks like the references, from the shortest on.
_SIZES = (
    *((0.25, 32), (0.25, 48), (0.25, 64), (0.5, 32), (0.25, 96), (0.5, 64)),
    *((0.5, 96), (1.0, 64), (0.75, 96), (1.0, 96), (0.75, 160), (1.0, 160)),
)
#: Networks of other spaces: name, resolution, seed.
_OTHERS = (
    *(("nasbench201", 0, 4), ("nasbench201", 0, 10), ("nasbench-macro", 0, 9)),
    *(("mnasnet", 64, 5), ("mnasnet", 128, 6), ("fbnet", 0, 7)),
    *(("ofa-mobilenetv3", 0, 8), ("proxyless", 224, 3)),
)


def networks(number: int) -> list[NetworkSource]:
    """The networks, every kind among the first ones."""
    found = []
    for width, resolution in _SIZES:
        widths = tuple(max(8, int(c * width) // 8 * 8) for c in MOBILE_WIDTHS)
        space = ProxylessSpace(widths=widths, resolution=resolution)
        found.append(NetworkSource.of_architecture(space, Architecture(space.name, MOBILE_CHOICES)))
    for place, (name, resolution, seed) in enumerate(_OTHERS):
        options = {"resolution": resolution} if resolution else {}
        other = get_space(name, **options)
        source = NetworkSource.of_architecture(other, other.sample(3, seed=seed)[2])
        found.insert(2 * place + 1, source)
    return found[:number]


def _name(source: NetworkSource) -> str:
    """A name that no other network has."""
    return f"{source.subject.key} of {source.subject.space}"


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """Busy loops, or two memory hogs, as long as the block lasts."""
    count, code = (2, _HOG) if name == "hog" else (int(name) if name.isdigit() else 0, _LOOP)
    end = f"import signal\nsignal.alarm({_LONGEST_S})\n"
    started = [subprocess.Popen([sys.executable, "-c", end + code]) for _ in range(count)]
    try:
        time.sleep(1.0 if started else 0.0)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(
    sources: Sequence[NetworkSource], known: KnownReferences, protocol: PairedProtocol
) -> dict[str, Any]:
    """What each network's visits give: ratio, half-width, refusal, reference, memory's state."""
    _, reference = reference_network()
    make = partial(ProcessMeasurer, TARGET, RunOptions(), reference, protocol)
    schedule = Schedule(make, protocol, references=known)
    made: dict[str, list[MadeVisit]] = defaultdict(list)
    left, planned = list(sources), 0
    while left:
        numbers = range(planned, planned + protocol.visits)
        visits = [PlannedVisit(source, 0, number) for number in numbers for source in left]
        for visit in schedule.measure(visits, PROCESSES):
            made[_name(visit.planned.network)].append(visit)
        planned += protocol.visits
        left = [
            source for source in left if _needs_more(planned, protocol.visits, made[_name(source)])
        ]
    return {key: _result(visits) for key, visits in made.items()}


def _needs_more(planned: int, usual: int, visits: Sequence[MadeVisit]) -> bool:
    half_width, samples = _judged(visits)
    return needs_more(planned, usual, half_width, busy_share(samples))


def _judged(visits: Sequence[MadeVisit]) -> tuple[float, list[Any]]:
    samples = [visit.samples for visit in visits]
    return half_width_of(samples, [visit.process for visit in visits]), samples


def _result(visits: Sequence[MadeVisit]) -> dict[str, Any]:
    half_width, samples = _judged(visits)
    share = busy_share(samples)
    seen = [VisitSeen.of(visit.visit) for visit in visits]
    return {
        "ratio": combine_visits(visit_ratios(samples)),
        "half_width": half_width,
        "refused": is_too_busy(half_width, share),
        "taken": share,
        "preempted": float(np.mean([*map(preempted_share, samples)])),
        "visits": len(visits),
        "reference": samples[0].reference_name,
        "reference_ms": float(np.median([burst_medians(each)[1] for each in samples])),
        "processes": process_ratios(samples, [visit.process for visit in visits]).tolist(),
        "latency_ms": float(np.median([m for s in samples for b in s.target for m in b[1:]])),
        "runs": min(counted_runs(each)[0] for each in samples),
        "memory": _median(each.quotient for each in seen),
        "others_gb_s": _median(each.others_gb_s for each in seen),
    }


def _median(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def print_loads(state: dict[str, Any]) -> None:
    """The table of loads against the quiet labels."""
    if "quiet" not in state:
        return
    quiet = _quiet_labels(state)
    base_memory = float(np.nanmedian([one["memory"] for one in quiet.values()]))
    times = sorted(one["latency_ms"] for one in quiet.values())
    print(f"{len(quiet)} networks of {times[0]:.2f} to {times[-1]:.1f} ms")
    print("load    given  refused   bias    mean |error|    worst   held   preempted  memory hog")
    for name in LOADS:
        if name not in state:
            continue
        pairs = [(one, quiet[key]) for key, one in state[name].items() if key in quiet]
        given = [(one, label) for one, label in pairs if not one["refused"]]
        errors = np.array([one["ratio"] / label["ratio"] - 1 for one, label in given])
        held = sum(_holds(one, label, base_memory) for one, label in given)
        hogs = sum(_host(one, base_memory).has_memory_hog for one, _ in pairs)
        share = np.nanmean([one["preempted"] for one, _ in pairs])
        worst = errors[np.abs(errors).argmax()] if len(errors) else math.nan
        print(
            f"{name:6}{len(given):6d}{len(pairs) - len(given):9d}{errors.mean():+9.2%}"
            f"{np.abs(errors).mean():13.2%}{worst:+12.2%}{held:4d}/{len(given):<4d}"
            f"{share:8.0%}{hogs:8d}/{len(pairs)}"
        )


def _quiet_labels(state: dict[str, Any]) -> dict[str, Any]:
    """Each network's quiet label: the mean of before and after the loads, where both are known."""
    found = {}
    for key, one in state["quiet"].items():
        again = state.get("again", {}).get(key, one)
        ratio = math.sqrt(one["ratio"] * again["ratio"])
        halves = [one["half_width"]] if again is one else [one["half_width"], again["half_width"]]
        half = math.hypot(*halves, math.log(again["ratio"] / one["ratio"])) / len(halves)
        found[key] = one | {"ratio": ratio, "half_width": half}
    return found


def _host(one: dict[str, Any], base_memory: float) -> HostReport:
    others = one.get("others_gb_s", math.nan)
    return HostReport(memory=one["memory"], quiet_memory=base_memory, others_gb_s=others)


def _holds(one: dict[str, Any], label: dict[str, Any], base_memory: float) -> bool:
    """Whether the interval, as it is printed, holds the quiet label, which has one of its own."""
    others = others_doubt(one["taken"], has_hog=_host(one, base_memory).has_memory_hog)
    half = math.hypot(one["half_width"], label["half_width"], others)
    return abs(math.log(one["ratio"] / label["ratio"])) <= half


def references(sources: Sequence[NetworkSource], state: dict[str, Any]) -> dict[str, Any]:
    """Each network's ratio to the reference next to its own, and the tie between the two."""
    protocol = PairedProtocol()
    found: dict[str, Any] = {}
    for source in sources:
        own = state["quiet"][_name(source)]["reference"]
        if not own:
            continue
        (_, neighbour) = chain(own)[-1]
        known = KnownReferences(of_network={source.subject: neighbour})
        other = measure([source], known, protocol)[_name(source)]
        tie = state.setdefault("ties", {}).get(own)
        if tie is None:
            tie = state["ties"][own] = _tie(own, neighbour, protocol)
        by_own = state["quiet"][_name(source)]["ratio"] * tie
        found[_name(source)] = other["ratio"] / by_own - 1
    return found


def _tie(name: str, neighbour: str, protocol: PairedProtocol) -> float:
    from latprof.profilers.visits.references import tie_source

    source = tie_source(name, neighbour)
    known = KnownReferences(of_network={source.subject: neighbour})
    return float(measure([source], known, protocol)[_name(source)]["ratio"])


def compare(
    times: int, minutes: float, pairs: dict[str, list[Any]], save: Callable[[], None]
) -> None:
    """Compare a network with itself under each load in turn, until there are so many of each."""
    end = time.monotonic() + 60 * minutes
    _, reference = reference_network()
    source = networks(10)[6]
    make = partial(ProcessMeasurer, TARGET, RunOptions(), reference, PairedProtocol())
    for name in COMPARED_BESIDE:
        pairs.setdefault(name, [])
    for name in itertools.cycle(COMPARED_BESIDE):
        if time.monotonic() > end or all(len(pairs[each]) >= times for each in COMPARED_BESIDE):
            return
        if len(pairs[name]) < times:
            with load(name):
                pairs[name].append(_in_turn(source, make))
            save()


def _in_turn(source: NetworkSource, make: MakeMeasurer) -> list[Any] | None:
    """Both sides' ratios, of shape (processes, visits) each; None where no number was given."""
    try:
        found = measure_in_turn(source, source, make)
    except HostBusyError:
        return None
    return [found.a.tolist(), found.b.tolist()]


def _verdicts(pairs: Sequence[Any], factor: float) -> list[str]:
    """What is said of each pair if the second took so many times as long."""
    return [
        compare_pairs("", pair[0], factor * np.array(pair[1])).verdict
        for pair in pairs
        if pair is not None
    ]


def main() -> None:
    """Measure the parts that are asked for and print what is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--visits", type=int, default=PairedProtocol().visits)
    parser.add_argument("--times", type=int, default=60, help="comparisons for each load")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end comparisons after")
    parser.add_argument(
        "--stand-back",
        action="store_true",
        help="measure as a user does who may not go before others (with a niceness of 1)",
    )
    parser.add_argument("--state", type=Path, help="file that keeps the results of parts")
    arguments = parser.parse_args()
    if arguments.stand_back:
        os.nice(1)
    parts = arguments.only.split(",")
    if unknown := sorted(set(parts) - {*PARTS, "none"}):
        parser.error(f"no part {unknown[0]}: {', '.join(PARTS)}")
    kept = arguments.state
    state = json.loads(kept.read_text()) if kept is not None and kept.exists() else {}
    sources = networks(arguments.networks)
    protocol = replace(PairedProtocol(), visits=arguments.visits)
    for part in parts:
        if part in LOADS:
            known = KnownReferences()
            if "quiet" in state and part != "quiet":
                quiet = {s.subject: state["quiet"][_name(s)] for s in sources}
                known.of_network = {each: one["reference"] for each, one in quiet.items()}
                known.runs_of_network = {
                    each: one["runs"] for each, one in quiet.items() if "runs" in one
                }
            with load(part):
                state[part] = measure(sources, known, protocol)
        elif part == "references":
            state[part] = references(sources, state)
        elif part == "compare":
            save = partial(_write, kept, state)
            compare(arguments.times, arguments.minutes, state.setdefault("pairs", {}), save)
        _write(kept, state)
    print_loads(state)
    print_rest(state)


def _write(kept: Path | None, state: dict[str, Any]) -> None:
    if kept is not None:
        kept.write_text(json.dumps(state))


def print_rest(state: dict[str, Any]) -> None:
    """What labels by two references, and comparisons under load, came to."""
    if errors := state.get("references"):
        worst = max(map(abs, errors.values()))
        print(f"labels by two references: {len(errors)} networks, differ by at most {worst:.2%}")
    for name, pairs in state.get("pairs", {}).items():
        same, slower = _verdicts(pairs, 1.0), _verdicts(pairs, 1.03)
        different = len(same) - same.count("no evidence")
        print(
            f"compare, {name} loops, {len(pairs)} times: itself called different {different}; 3 % "
            f"slower found {slower.count('slower')}, called faster {slower.count('faster')}; "
            f"refused {pairs.count(None)}"
        )


if __name__ == "__main__":
    main()
