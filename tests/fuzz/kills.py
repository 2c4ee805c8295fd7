"""Collects into a store and is killed, again and again: nothing acknowledged is lost or repeated.

Each round forks a collector that reports every visit that the store has acknowledged; after a
random moment the collector, its measuring process, or both are killed, and the store is compared
with what was reported. Every fourth collector measures with a fake profiler in its own process: it
acknowledges far more a second.
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import psutil
from command_line import LONGEST_S

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.testing.fakes import FakeProfiler
from tests.fuzz.outcomes import BAD

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = [NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(60)]
PROTOCOL = PairedProtocol(visits=20)
SHAPE = (1, 3, 32, 32)
PLAN = Plan(NETWORKS, PROTOCOL)
OPTIONS = RunOptions()
#: Whose death is tried, and what it collects from.
VICTIMS = ("collector alone", "parent", "worker", "both")


def target_of(victim):
    """The target of a round's collection, and what makes its measurer."""
    if victim == "collector alone":
        return FakeProfiler(OPTIONS).target(SHAPE), lambda _runs: InProcessMeasurer(
            FakeProfiler(OPTIONS), NETWORKS[0], PROTOCOL
        )
    return CpuOnnxRuntime(OPTIONS).target(SHAPE), lambda runs: ProcessMeasurer(
        "cpu:onnxruntime", OPTIONS, NETWORKS[0], PROTOCOL, runs
    )


class AcknowledgingStore(Store):
    """Tells what add has returned from."""

    acknowledge = -1

    def add(self, measurement, campaign_id=None, *rest):
        added = super().add(measurement, campaign_id, *rest)
        if measurement.ok and not measurement.disturbed:  # others are made again
            subject = measurement.subject.key
            line = f"{subject} {measurement.label} {measurement.visit}\n"
            os.write(self.acknowledge, line.encode())
        return added


def collect_until_killed(path, pipe, victim):
    target, make_measurer = target_of(victim)
    with AcknowledgingStore.open(path, create=True) as store:
        store.acknowledge = pipe
        os.write(pipe, b"ready\n")
        collect(PLAN, store, target, "r", make_measurer)


def round_of(path, lines, delay_s, victim):
    """Fork, kill ``delay_s`` after so many lines of the child.

    Its first line says that the store is open, each further one acknowledges a visit. Returns the
    acknowledged visits and the processes that are left.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            collect_until_killed(path, writable, victim)
        finally:
            os._exit(0)
    os.close(writable)
    content = b""
    while content.count(b"\n") < lines and (chunk := os.read(readable, 1 << 16)):
        content += chunk
    time.sleep(delay_s)
    descendants = psutil.Process(child).children(recursive=True)
    if victim in {"worker", "both"} and descendants:
        kill_one(descendants[-1])  # the one that measures
    if victim == "worker":
        time.sleep(delay_s)  # the collector goes on with another
        descendants += psutil.Process(child).children(recursive=True)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while chunk := os.read(readable, 1 << 16):
        content += chunk
    os.close(readable)
    _, left = psutil.wait_procs(descendants, timeout=LONGEST_S)
    # The last line may be cut off: then nobody has read the acknowledgement.
    return {tuple(line.split()) for line in content.decode().split("\n")[1:-1]}, left


def kill_one(process):
    """Kill a process unless it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def stored_visits(path, target):
    with Store.open(path) as store:
        return {
            (key.subject.key, str(key.label), str(key.number))
            for key in store.finished_visits(target)
        }


def kill(numbers, seed, folder):
    """Kill collections so often; yields what became of each."""
    acknowledged = {victim == "collector alone": set() for victim in VICTIMS}
    for number in numbers:
        victim = VICTIMS[number % len(VICTIMS)]
        alone = victim == "collector alone"
        path = Path(folder) / f"{seed}-{numbers.start}-{alone}.db"
        chance = random.Random(f"{seed} {number}")
        # A measuring process takes a second to start: some die before it has.
        longest_s = 0.1 if alone else chance.choice((0.2, 2.0))
        lines, delay_s = chance.choice((1, 2, 2)), chance.uniform(0.0, longest_s)
        found, left = round_of(path, lines, delay_s, victim)
        overlap = found & acknowledged[alone]
        acknowledged[alone] |= found
        lost = acknowledged[alone] - stored_visits(path, target_of(victim)[0])
        if overlap:
            yield victim, BAD, f"{number}: measured again: {sorted(overlap)[:3]}"
        elif lost:
            yield victim, BAD, f"{number}: acknowledged and lost: {sorted(lost)[:3]}"
        elif left:
            yield victim, BAD, f"{number}: live on: {left}"
        else:
            yield victim, "nothing lost after visits" if found else "nothing lost", ""
