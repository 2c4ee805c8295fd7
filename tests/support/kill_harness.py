"""Collects into a store and is killed, again and again; test_kill.py runs it in its own process.

Each round forks a child that collects from a fake profiler and reports every visit that the store
has acknowledged; the parent kills it after a random moment and compares the store with what was
reported.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = [NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(60)]
PROTOCOL = PairedProtocol(visits=20)
TARGET = FakeProfiler(RunOptions()).target((1, 3, 32, 32))
PLAN = Plan(NETWORKS, PROTOCOL)


class AcknowledgingStore(Store):
    """Tells what add has returned from."""

    acknowledge = -1

    def add(self, measurement, campaign_id=None):
        added = super().add(measurement, campaign_id)
        subject = measurement.subject.key
        line = f"{subject} {measurement.label} {measurement.visit}\n"
        os.write(self.acknowledge, line.encode())
        return added


def collect_until_killed(path, pipe):
    with AcknowledgingStore.open(path, create=True) as store:
        store.acknowledge = pipe
        os.write(pipe, b"ready\n")
        collect(
            PLAN,
            store,
            TARGET,
            "r",
            lambda _runs: InProcessMeasurer(FakeProfiler(RunOptions()), NETWORKS[0], PROTOCOL),
        )


def round_of(path, lines, delay_s):
    """Fork, kill ``delay_s`` after so many lines of the child; return the acknowledged visits.

    Its first line says that the store is open, each further one acknowledges a visit.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        try:
            collect_until_killed(path, writable)
        finally:
            os._exit(0)
    os.close(writable)
    content = b""
    while content.count(b"\n") < lines and (chunk := os.read(readable, 1 << 16)):
        content += chunk
    time.sleep(delay_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while chunk := os.read(readable, 1 << 16):
        content += chunk
    os.close(readable)
    # The last line may be cut off: then nobody has read the acknowledgement.
    return {tuple(line.split()) for line in content.decode().split("\n")[1:-1]}


def stored_visits(path):
    with Store.open(path) as store:
        return {
            (key.subject.key, str(key.label), str(key.number))
            for key in store.finished_visits(TARGET)
        }


def main(directory, kills):
    path = Path(directory) / "lat.db"
    chance = random.Random(2)
    acknowledged = set()
    with_progress = 0
    for _ in range(kills):
        found = round_of(path, chance.choice((1, 2, 2)), chance.uniform(0.0, 0.1))
        with_progress += bool(found)
        overlap = found & acknowledged
        assert not overlap, f"measured again although acknowledged: {sorted(overlap)[:3]}"
        acknowledged |= found
        lost = acknowledged - stored_visits(path)
        assert not lost, f"acknowledged and lost: {sorted(lost)[:3]}"
    print(f"{kills} kills, {with_progress} with progress, {len(acknowledged)} visits, none lost")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
