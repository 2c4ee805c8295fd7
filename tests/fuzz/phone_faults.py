"""Twelve kinds of fault at twenty moments of a collection from the test phone.

A collection of a few small networks through the real adbd, an adb server and the runner meets one
fault; what it left is resumed after the fault is over. No visit may be lost, made twice or of
another network, nothing may hang, and an error that ends the first run has its kind's code.
"""

import contextlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest
from adb_phone import Phone
from phone_profiles import PROFILES
from phone_station import Station

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import LatprofError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.runtimes.android.measuring import phone_session
from latprof.profilers.runtimes.android.measuring.adb_litert import AdbLiteRT
from latprof.profilers.runtimes.android.measuring.phone_lines import PhoneLines
from latprof.profilers.runtimes.android.runner import runner_client
from latprof.profilers.runtimes.android.runner.runner_client import RunnerTimeouts
from latprof.profilers.runtimes.android.transport.adb_server import AdbServerLink
from latprof.profilers.runtimes.android.transport.base import Timeouts
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from tests.fuzz.outcomes import BAD

MOMENTS, SEEDS = 20, 5
#: How large a network's images are: their CPU times are far enough apart to tell them.
RESOLUTIONS = (32, 96, 224)
#: Least times of one network differ by less than this factor, those of two by more.
_TELLING = 3.0
#: Nothing of a disturbed computer is looked at here.
PROTOCOL = PairedProtocol(
    rounds=1,
    visits=2,
    burst_ms=1.0,
    reference_loads=1,
    max_drift=1e9,
    max_withheld=1e9,
    max_load=1e9,
)
OPTIONS = RunOptions()
#: The times of one run: of each request, of waiting for a phone, of the whole.
REQUESTS = RunnerTimeouts(start_s=20, open_s=20, load_s=20, plan_s=20, kernels_s=20, ask_s=20)
RECONNECT_S, LONGEST_S = 30.0, 240.0
#: Of a fault that lasts: the phone is given up after so long.
SHORT = RunnerTimeouts(start_s=3, open_s=3, load_s=3, plan_s=3, kernels_s=3, ask_s=3)
SHORT_RECONNECT_S = 2.0

#: Each kind: whether it lasts until the first run ended, and the codes that this may end with.
KINDS = {
    "offline": (True, {"device-offline", "connection-lost"}),
    "unauthorised": (True, {"unauthorized"}),
    "cut": (False, set()),
    "hang": (True, {"timeout", "device-offline", "connection-lost"}),
    "reboot": (False, set()),
    "slow link": (False, set()),
    "disk full": (True, {"device-full"}),
    "garbage": (False, set()),
    "runner killed": (False, set()),
    "adbd killed": (False, set()),
    "server killed": (False, set()),
    "duplicate serial": (True, {"device", "device-offline"}),
}
#: What a command may end with that meets its fault before it measures.
FIRST_CODES = {"device-offline", "connection-lost", "timeout"}
#: What a visit that met the fault may have failed with, before it was made again.
VISIT_CODES = {
    "connection-lost",
    "runtime-failed",
    "timeout",
    "device-offline",
    "device",
}


def networks(seed):
    """Networks of other architectures each time, so that they have to be pushed."""
    spaces = [ProxylessSpace(widths=(16,) * 9, resolution=r, num_classes=10) for r in RESOLUTIONS]
    return [NetworkSource.of_architecture(s, s.sample(1, seed=seed)[0]) for s in spaces]


class Place:
    """A phone in its station, with what a fault needs beside."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.station = Station(self.folder / "station", with_keys=True, space_mib=96)
        self.timers = []

    def __enter__(self):
        self.station.__enter__()
        self.station.take_library()
        self.allowed = (self.phone.root / "data/misc/adb/adb_keys").read_text()
        return self

    def __exit__(self, *error):
        self.station.__exit__(*error)

    @property
    def phone(self):
        return self.station.phone

    @contextlib.contextmanager
    def fault(self, kind, moment_of):
        """Have the fault come at an operation; it is over at the end at the latest."""
        begin = getattr(self, f"_{kind.replace(' ', '_')}")
        with contextlib.ExitStack() as over:
            with operations(moment_of, lambda: begin(over)):
                yield
            for timer in self.timers:
                timer.join()
            self.timers = []

    def later(self, seconds, do):
        timer = threading.Timer(seconds, do)
        self.timers.append(timer)
        timer.start()

    # The kinds ---------------------------------------------------------------------------------

    def _offline(self, over):
        self.phone.halt()
        over.callback(self._boot)

    def _unauthorised(self, over):
        keys = self.phone.root / "data/misc/adb/adb_keys"
        keys.write_text("")
        self.phone.reboot()
        self.station.connect(state="unauthorized")

        def allow():
            keys.write_text(self.allowed)
            self.phone.halt()
            self._boot()

        over.callback(allow)

    def _cut(self, over):
        self.phone.link.cut()

    def _hang(self, over):
        self.phone.link.silent_after = 0

        def heal():
            self.phone.link.heal()
            self.phone.link.cut()
            self.station.connect()

        over.callback(heal)

    def _reboot(self, over):
        self.phone.reboot()

    def _slow_link(self, over):
        self.phone.link.delay_s = 0.02
        over.callback(self.phone.link.heal)

    def _disk_full(self, over):
        filler = ["sh", "-c", "dd if=/dev/zero of=/data/local/tmp/filler bs=4096 2>/dev/null; true"]
        self.station.shell(filler)
        over.callback(self.station.shell, ["rm", "-f", "/data/local/tmp/filler"])

    def _garbage(self, over):
        self.phone.link.garbage_after = 0
        self.later(0.3, self._heal_and_cut)

    def _heal_and_cut(self):
        self.phone.link.heal()
        self.phone.link.cut()

    def _runner_killed(self, over):
        for process in self.phone.processes("runner-"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _adbd_killed(self, over):
        self.phone.halt()
        self.phone.boot(same_boot=True)

    def _server_killed(self, over):
        self.station.stop_server()

    def _duplicate_serial(self, over):
        other = Phone(PROFILES["pixel-1"], self.folder / f"other-{time.monotonic_ns()}")
        other.boot()
        self.station.connect(other.serial)
        self.phone.link.cut()

        def end():
            self.station.disconnect(other.serial)
            other.__exit__()
            shutil.rmtree(other.root.parent, ignore_errors=True)

        over.callback(end)

    def _boot(self):
        if self.phone.halted:
            self.phone.boot()
        self.station.connect()


@contextlib.contextmanager
def operations(moment_of, begin):
    """Count what is asked of the phone; ``begin`` is called before operation ``moment_of``."""
    count = 0
    real_open, real_write = AdbServerLink.open, PhoneLines.write

    def step():
        nonlocal count
        count += 1
        if count == moment_of:
            begin()

    def opened(self, *given):
        step()
        return real_open(self, *given)

    def written(self, *given):
        step()
        return real_write(self, *given)

    AdbServerLink.open, PhoneLines.write = opened, written
    try:
        yield
    finally:
        AdbServerLink.open, PhoneLines.write = real_open, real_write
    if count < moment_of:
        begin()


@contextlib.contextmanager
def at_most(seconds):
    """Raise TimeoutError here after so long."""

    def passed(_number, _frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, passed)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def timeouts(requests, reconnect_s):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phone_session, "REQUESTS", requests)
        patch.setattr(phone_session, "RECONNECT_S", reconnect_s)
        patch.setattr(runner_client, "TRANSFER_S", 2.0)
        seconds = requests.ask_s
        times = Timeouts(connect_s=seconds, run_s=seconds, push_s=seconds, pull_s=seconds)
        patch.setattr(phone_session, "TIMES", times)
        yield


def collected(serial, plan, store):
    """Run a collection in this process; the error that ended it, if one did."""
    profiler_class = AdbLiteRT.at(serial)
    profilers = []

    def make_measurer(runs):
        profilers.append(profiler_class(OPTIONS))
        return InProcessMeasurer(profilers[-1], plan.networks[0], PROTOCOL, "process", runs)

    try:
        target = profiler_class(OPTIONS).target((1, 3, 32, 32))
        result = collect(plan, store, target, "reference", make_measurer)
    except LatprofError as error:
        return error, None
    finally:
        for profiler in profilers:
            profiler.close()
    return None, result


def wrong_networks(store):
    """Visits whose CPU time is that of another network."""
    (target,) = [stored.target for stored in store.targets()]
    found = {}
    for made in store.measurements(target):
        if made.ok:
            time_us = min(run.cpu_us for burst in made.samples.target_usage for run in burst)
            found.setdefault(made.subject, []).append(time_us)
    return [
        f"{subject.name}: {values}"
        for subject, values in found.items()
        if max(values) > _TELLING * min(values)
    ]


def count_operations(place):
    """How many operations a collection without a fault has."""
    counted = 0

    def step():
        nonlocal counted
        counted += 1

    real_open, real_write = AdbServerLink.open, PhoneLines.write
    AdbServerLink.open = lambda self, *given: (step(), real_open(self, *given))[1]
    PhoneLines.write = lambda self, *given: (step(), real_write(self, *given))[1]
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            Store.open(Path(folder) / "x", create=True) as s,
        ):
            error, _ = collected(
                place.phone.serial, Plan(networks(time.monotonic_ns() % 1000), PROTOCOL), s
            )
    finally:
        AdbServerLink.open, PhoneLines.write = real_open, real_write
    assert error is None, error
    return counted


def one(place, kind, moment, chance, folder, total):
    """One fault: what became of the collection, and what is bad about it."""
    lasts, codes = KINDS[kind]
    plan = Plan(networks(chance.randrange(1 << 30)), PROTOCOL, repeat_fraction=0.0)
    wanted = {(s.subject, 0, number) for s in plan.networks for number in range(PROTOCOL.visits)}
    at = max(1, round((moment + chance.random()) * total / MOMENTS))
    serial = "0A1B2C3D4E5F" if kind == "duplicate serial" else place.phone.serial
    with Store.open(folder / "store.db", create=True) as store:
        limits = (SHORT, SHORT_RECONNECT_S) if lasts else (REQUESTS, RECONNECT_S)
        with timeouts(*limits), at_most(LONGEST_S), place.fault(kind, at):
            error, first = collected(serial, plan, store)
        if not store.targets():  # it came before anything was measured
            codes = codes | FIRST_CODES
        if error is not None and error.code not in codes:
            return f"ended with {error.code}: {error}"
        place.station.connect()
        with timeouts(REQUESTS, RECONNECT_S), at_most(LONGEST_S):
            again, _ = collected(serial, plan, store)
        if again is not None:
            return f"not resumed: {again.code}: {again}"
        return judged(store, wanted) or ("ended and resumed" if error else "went on", first)


def judged(store, wanted):
    """What is wrong with a store after all; empty for nothing."""
    (target,) = [stored.target for stored in store.targets()]
    made = [each for each in store.measurements(target) if each.ok]
    keys = [(m.subject, m.label, m.visit) for m in made]
    if set(keys) != wanted:
        return f"lost or invented: {set(keys) ^ wanted}"
    if len(keys) != len(set(keys)):
        return "made twice"
    failures = {m.failure.code for m in store.measurements(target) if m.failure is not None}
    if not failures <= VISIT_CODES:
        return f"visits failed with {failures - VISIT_CODES}"
    wrong = wrong_networks(store)
    return f"of the wrong network: {wrong}" if wrong else ""


def faults(numbers, seed, folder):
    """Faults by their numbers; yields what became of each."""
    with Place(Path(folder) / "place") as place, place.station.in_this_process():
        count_operations(place)  # the first has the library pushed
        total = count_operations(place)
        for number in numbers:
            kind = [*KINDS][number % len(KINDS)]
            moment = number // len(KINDS) % MOMENTS
            chance = random.Random(f"{seed} {number}")
            here = Path(folder) / str(number)
            here.mkdir()
            try:
                found = one(place, kind, moment, chance, here, total)
            except TimeoutError:
                found = f"hangs for {LONGEST_S} s"
            if isinstance(found, tuple):
                yield kind, found[0], ""
            else:
                yield kind, BAD, f"{number} {kind} at {moment}: {found}"
            place.station.connect()
