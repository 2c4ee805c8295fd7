"""Collects into a store and is killed, again and again: nothing acknowledged is lost or repeated.

Each round forks a child that collects from a fake profiler and reports every visit that the store
has acknowledged; the parent kills it after a random moment and compares the store with what was
reported.
"""

import os
import random
import signal
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
from tests.fuzz.outcomes import BAD

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


def kill(numbers, seed, folder):
    """Kill a collection into one store so often; yields what became of it each time."""
    path = Path(folder) / f"{seed}-{numbers.start}.db"
    acknowledged = set()
    for number in numbers:
        chance = random.Random(f"{seed} {number}")
        found = round_of(path, chance.choice((1, 2, 2)), chance.uniform(0.0, 0.1))
        overlap = found & acknowledged
        acknowledged |= found
        lost = acknowledged - stored_visits(path)
        if overlap:
            yield "kills", BAD, f"{number}: measured again: {sorted(overlap)[:3]}"
        elif lost:
            yield "kills", BAD, f"{number}: acknowledged and lost: {sorted(lost)[:3]}"
        else:
            yield "kills", "nothing lost after visits" if found else "nothing lost", ""
