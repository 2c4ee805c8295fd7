"""Whether the phones' runner compares a network with the reference as this computer itself does.

Labels of ``adb:SERIAL:litert`` and ``cpu:litert`` are the ratio of a network to the reference,
times the reference's milliseconds. Both are measured here for each way with LiteRT's own library on
one core, without adb: ``direct`` is the interpreter that ``cpu:litert`` has, ``runner`` the
program that runs on phones, ``runner whole`` the same with models pushed whole instead of as
skeletons. The load is the unit of noise and the reference's loads lie in every ratio of their
process, so the ways take turns, a fresh process each, until the time is over. ``--program`` adds
another build of the runner, to compare before and after. ``--layout`` says, without any timing,
where the memory of models lies.

Each way's mean ratio and reference are printed as a multiple of the direct way's, with the standard
error over the processes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from latprof.datasets.spaces.named import get_space
from latprof.measurement.protocol import Rotation, calibrate, measure_paired
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import burst_medians, visit_ratio
from latprof.profilers.base import Profiler, RunOptions
from latprof.profilers.host.priority import take_precedence
from latprof.profilers.runtimes.android.library import RuntimeLibrary
from latprof.profilers.runtimes.android.measuring import phone_session, work_folder
from latprof.profilers.runtimes.android.measuring.adb_litert import AdbLiteRT
from latprof.profilers.runtimes.android.runner.runner_client import RunnerClient, runner_program
from latprof.profilers.runtimes.cpu.cpu_litert import CpuLiteRT
from latprof.profilers.visits.network_source import NetworkSource, reference_network

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

ABI = "x86_64-linux"
DIRECT, RUNNER, WHOLE = "direct", "runner", "runner whole"
#: Counted runs in every burst, the same both ways: a burst's later runs are faster.
RUNS = 4

Found: TypeAlias = dict[str, list[dict[str, Any]]]


# One process -----------------------------------------------------------------------------------


def networks(n: int) -> list[NetworkSource]:
    """Networks of the space of the paper's supernet."""
    space = get_space("proxyless")
    return [NetworkSource.of_architecture(space, each) for each in space.sample(n, seed=0)]


def litert() -> Path:
    """LiteRT's library in its wheel."""
    found = importlib.util.find_spec("ai_edge_litert")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("libLiteRt.so")


@contextlib.contextmanager
def profiler(way: str, core: int, program: Path, folder: Path) -> Iterator[Profiler]:
    """What loads and runs networks one way."""
    options = RunOptions(cores=(core,))
    if way == DIRECT:
        yield CpuLiteRT(options)
        return
    from local_phone import FACTS, LocalPhone

    phone: Any = LocalPhone
    path = litert()
    digest, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    library = RuntimeLibrary(
        "litert", "x86_64", "litert", path.name, digest, size, str(path), 0, path
    )
    settings: tuple[tuple[Any, str, Any], ...] = (
        (work_folder, "WORK_FOLDER", str(folder)),
        (phone_session, "open_phone", lambda *_: phone(folder)),
        (phone_session, "prepare_again", lambda *_: None),
        (phone_session, "runner_program", lambda _abi: program),
        (AdbLiteRT, "facts", FACTS),
        (AdbLiteRT, "runtime_library", library),
    )
    for owner, name, value in settings:  # for the life of this process
        setattr(owner, name, value)
    made = AdbLiteRT.at("local")(options)
    yield made
    made.close()


def visit_all(way: str, core: int, program: Path, n: int) -> dict[str, Any]:
    """Visit networks in this process; the ratio of each, and the reference's milliseconds."""
    take_precedence()
    os.sched_setaffinity(0, {core})
    protocol = PairedProtocol()
    with tempfile.TemporaryDirectory() as folder, profiler(way, core, program, Path(folder)) as use:

        def load(network: NetworkSource) -> Any:
            use.random_weights = way != WHOLE
            model = use.load(network.model(1))
            calibrate(model, run_bursts=use.run_bursts)
            return model

        own = reference_network()[1]
        reference = Rotation([load(own) for _ in range(protocol.reference_loads)])
        ratios, own_ms = [], []
        for network in networks(n):
            model = load(network)
            samples = measure_paired(
                model,
                reference,
                protocol,
                target_runs=RUNS,
                reference_runs=RUNS,
                run_bursts=use.run_bursts,
            )
            ratios.append(math.log(visit_ratio(samples)))
            own_ms += burst_medians(samples)[1].tolist()
            del model
    return {"ratios": ratios, "reference_ms": own_ms}


# All processes ---------------------------------------------------------------------------------


def take_turns(ways: Mapping[str, tuple[str, Path]], core: int, n: int, minutes: float) -> Found:
    """Start a process for each way in turn while there is time."""
    found: Found = {name: [] for name in ways}
    end, longest_s = time.monotonic() + 60 * minutes, 0.0
    while time.monotonic() + longest_s < end:
        start = time.monotonic()
        for name, (way, program) in ways.items():
            words = ["--child", way, "--program", str(program), "--core", str(core), "-n", str(n)]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.runner_ratios", *words],
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
            )
            if done.returncode:
                sys.exit(done.stderr)
            found[name].append(json.loads(done.stdout))
        longest_s = max(longest_s, time.monotonic() - start)
    return found


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """A mean, and its standard error."""
    every = np.array(values)
    error = every.std(ddof=1) / math.sqrt(len(every)) if len(every) > 1 else math.nan
    return float(every.mean()), float(error)


def print_found(found: Found) -> None:
    """Print each way against the direct one."""
    print(f"processes a way: {len(found[DIRECT])}; multiples of the direct way's")
    print(f"{'':24}{'ratio to the reference':>26}{'reference ms':>22}{'label':>10}")

    def figures(name: str) -> tuple[tuple[float, float], tuple[float, float]]:
        every = found[name]
        ratio = mean_and_error([float(np.mean(each["ratios"])) for each in every])
        own = mean_and_error([math.log(np.median(each["reference_ms"])) for each in every])
        return ratio, own

    (ratio_0, error_0), (own_0, own_error_0) = figures(DIRECT)
    for name in found:
        (ratio, error), (own, own_error) = figures(name)
        with_error = 0.0 if name == DIRECT else math.hypot(error, error_0)
        with_own_error = 0.0 if name == DIRECT else math.hypot(own_error, own_error_0)
        print(
            f"{name:24}{math.exp(ratio - ratio_0):14.4f} +- {with_error:7.4f}  "
            f"{math.exp(own - own_0):11.4f} +- {with_own_error:7.4f}"
            f"{math.exp(ratio - ratio_0 + own - own_0):10.4f}"
        )


# Where memory lies -----------------------------------------------------------------------------


def print_layout(programs: Mapping[str, Path]) -> None:
    """Print how much of each load's memory lies in the heap, and in mappings of its own."""
    from local_phone import LocalPhone

    phone: Any = LocalPhone
    from latprof.graph.convert.to_tflite import tflite_skeleton
    from latprof.profilers.runtimes.android.measuring.phone_lines import PhoneLines

    model = reference_network()[1].model(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(tflite_skeleton(model))
        for name, program in programs.items():
            stream = phone(Path(folder)).start([str(program)])
            client = RunnerClient(PhoneLines(stream))
            client.open_library(str(litert()))
            print(f"{name}: MB of the heap, of other mappings")
            before = _memory_mb(client.greeting.pid)
            for number in (0, 1, 2, 3, 3, 3):
                if number == 3:
                    client.run_plan([(0, 1)])
                client.load(number, str(path))
                client.run_plan([(number, 1)])
                after = _memory_mb(client.greeting.pid)
                what = "reference" if number < 3 else "network"
                print(f"  {what:10}{after[0] - before[0]:8.1f}{after[1] - before[1]:8.1f}")
                if number == 3:
                    client.unload(number)
                before = _memory_mb(client.greeting.pid)
            stream.close()


def _memory_mb(pid: int) -> tuple[float, float]:
    """Megabytes of a process's heap and of its other private memory that are in use."""
    heap = other = 0
    where = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            where = words[5] if len(words) > 5 else "-"
        elif words[0] == "Private_Dirty:" and where == "[heap]":
            heap += int(words[1])
        elif words[0] == "Private_Dirty:" and where == "-":
            other += int(words[1])
    return heap / 1024, other / 1024


def main() -> None:
    """Print the figures that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runner_ratios", description=__doc__)
    parser.add_argument("-n", type=int, default=8, help="networks that each process visits")
    parser.add_argument("--minutes", type=float, default=7.0, help="to go on for, at most")
    parser.add_argument("--core", type=int, default=1, help="that all ways measure on")
    parser.add_argument("--program", type=Path, help="another build of the runner")
    parser.add_argument("--layout", action="store_true", help="print where memory lies instead")
    parser.add_argument("--child", choices=(DIRECT, RUNNER, WHOLE), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    own = runner_program(ABI)
    if arguments.child:
        found = visit_all(arguments.child, arguments.core, arguments.program, arguments.n)
        print(json.dumps(found))
        return
    ways = {DIRECT: (DIRECT, own), RUNNER: (RUNNER, own), WHOLE: (WHOLE, own)}
    if arguments.program is not None:
        ways["other program"] = RUNNER, arguments.program
    if arguments.layout:
        print_layout({name: path for name, (way, path) in ways.items() if way == RUNNER})
        return
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print_found(take_turns(ways, arguments.core, arguments.n, arguments.minutes))


if __name__ == "__main__":
    main()
