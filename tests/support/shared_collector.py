"""A process that collects with computed times, for tests of several with one store.

``python shared_collector.py STORE VISITS SECONDS I/N LOOK`` says that it is ready, waits for a
line, prints each visit that it has made as soon as the store has it, and at last what it did as
JSON. Each visit takes so many seconds, and so many are between two looks at what others do.
"""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

from kept_networks import networks_of

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign import sharing
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = networks_of(SPACE, 6)
REFERENCE = networks_of(SPACE, 1, seed=9)[0]
TARGET = FakeProfiler(RunOptions()).target((1, 3, 32, 32))
VISITS = 12
TOTAL = VISITS * len(NETWORKS)


def start(
    path: str | Path,
    seconds: float,
    shard: str = "1/1",
    visits: int = VISITS,
    look_every_s: float = 0.1,
) -> subprocess.Popen[str]:
    numbers = [str(visits), str(seconds), shard, str(look_every_s)]
    words = [sys.executable, __file__, str(path), *numbers]
    root, pipe = Path(__file__).parents[2], subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=root)


def begun(*processes: subprocess.Popen[str]) -> tuple[subprocess.Popen[str], ...]:
    """Let processes begin at one moment, however long each took to start."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        print(file=process.stdin, flush=True)
    return processes


def read(process: subprocess.Popen[str], lines: int | None = None) -> list[str]:
    """So many lines of a process, or all of them."""
    found: list[str] = []
    while (lines is None or len(found) < lines) and (line := process.stdout.readline()):
        found.append(line.strip())
    return found


def ended(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class SlowMeasurer(InProcessMeasurer):
    """Each visit takes some seconds."""

    seconds = 0.0

    def visit(self, network):
        time.sleep(self.seconds)
        return super().visit(network)


class TellingStore(Store):
    """Prints what add has returned from."""

    def add(self, measurement, campaign_id=None, *rest):
        added = super().add(measurement, campaign_id, *rest)
        line = f"{measurement.subject.key} {measurement.label} {measurement.visit} {added}"
        print(line, flush=True)
        return added


def plan_of(visits, shard=(1, 1)):
    return Plan(NETWORKS, PairedProtocol(visits=visits), repeat_fraction=0.0, shard=shard)


def main(path, visits, seconds, shard, look_every_s):
    number, shards = shard.split("/")
    plan = plan_of(int(visits), (int(number), int(shards)))
    SlowMeasurer.seconds = float(seconds)
    sharing.LOOK_EVERY_S = float(look_every_s)
    print("ready", flush=True)
    sys.stdin.readline()

    def make(reference_runs):
        profiler = FakeProfiler(RunOptions(), noise=0.001)
        return SlowMeasurer(profiler, REFERENCE, plan.protocol, "p", reference_runs)

    with TellingStore.open(path, create=True) as store:
        outcome = collect(plan, store, TARGET, "r", make, networks_per_process=30)
    print(json.dumps(dataclasses.asdict(outcome)), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(*sys.argv[1:])
