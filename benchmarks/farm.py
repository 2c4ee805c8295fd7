"""A farm's figures, with simulated devices: what is lost, how fast it is, what waits.

Scheduler, workers and collections are processes of this computer (``tests/support``). ``kills``:
scheduler, workers, collection and the store's PostgreSQL are killed, and the network cut, at random
moments, and started anew, until all visits are made. ``sharing``: two processes that run the same
collection on one store, against one of them. ``writers``: eight processes into one store.
``merging``: ten hosts' stores, three of them copies in part. ``empty``: visits that take no time.
``idle``: 20 devices with visits of 1 s. ``pooled``: two specimens that differ by 5 % and share the
visits. ``thousand``: 1,000 devices on 10 workers.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import farm_processes
import numpy as np
import postgres
import psutil
import shared_collector

from latprof.errors import StoreError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.store.merging import merge_stores
from latprof.measurement.store.store import Store

#: Visits to each network of a benchmark's collection.
VISITS = 8
#: How long a collection waits for what is not there, in seconds.
DEADLINE_S = 60.0
#: What differs between two specimens, as a factor.
FACTOR = 1.05


def collect_words(
    address: str, store: Path | str, networks: int, visits: int = VISITS
) -> list[str]:
    """The words of a collection on all simulated devices."""
    words = f"collect --space proxyless --resolution 64 -n {networks} --visits {visits} -q --json"
    fixed = f"--repeat-fraction 0 --target fake:clock --queue-timeout {DEADLINE_S:g}s"
    return [*words.split(), *fixed.split(), "--farm", address, "--store", str(store)]


def counted(path: Path | str) -> dict[str, Counter[Any]]:
    """How often each visit counts, by the host in its target."""
    with Store.open(path) as store:
        return {
            stored.target.host: Counter(m.key for m in store.measurements(stored.target) if m.ok)
            for stored in store.targets()
        }


class Victims:
    """A farm's processes, each started anew when it has ended, and what the store acknowledged."""

    hosts = ("a", "b", "c", "d")
    networks = 2000 // (len(hosts) * VISITS)

    def __init__(self, folder: Path, database: postgres.Server | None) -> None:
        self.database = database
        self.store: Path | str = folder / "kills.db" if database is None else database.url
        self._folder, port = folder, free_port()
        address = f"tcp://127.0.0.1:{port}"
        self._cable = farm_processes.Cable(port)
        collection = collect_words(self._cable.address, self.store, self.networks)
        self._words = {"scheduler": cli("farm", "start", "--port", str(port))}
        for host in self.hosts:  # two of them are at the end of a cable
            way = address if host in self.hosts[::2] else self._cable.address
            self._words[host] = worker_words(way, host, 0.4)
        self._words["collection"] = cli(*collection)
        self._alive: dict[str, farm_processes.Program] = {}
        self.killed = Counter[str]()
        self.lost, self.longest_s, self.late, self._last_s = 0, 0.0, 0, time.monotonic()
        self._acknowledged: set[Any] = set()

    @property
    def names(self) -> list[str]:
        """What can be killed."""
        return [*self._words, "network", *(["database"] if self.database else [])]

    def start(self) -> bool:
        """Start what has ended; returns whether the collection had, with all visits made."""
        self._cable.mend()
        found = self._alive.get("collection")
        done = found is not None and found.process.poll() == 0
        for name, words in self._words.items():
            if name not in self._alive or self._alive[name].process.poll() is not None:
                self._alive[name] = program(self._folder, words)
        return done

    def kill(self, name: str) -> None:
        """Kill one of them; the database is back at once."""
        if name == "network":
            self._cable.cut()
        elif name == "database":
            assert self.database is not None
            self.database.stop()
            self.database.start()
        else:
            self._alive[name].kill()
        self.killed["worker" if name in self.hosts else name] += 1

    def look(self) -> None:
        """See that what was in the store still is."""
        with contextlib.suppress(StoreError):  # its tables are not all there yet
            found = {(host, key) for host, keys in counted(self.store).items() for key in keys}
            self.lost += len(self._acknowledged - found)
            if len(found) > len(self._acknowledged):
                waited_s = time.monotonic() - self._last_s
                self.longest_s = max(self.longest_s, waited_s)
                self.late += waited_s > DEADLINE_S
                self._last_s = time.monotonic()
            self._acknowledged = found

    def end(self) -> None:
        """End all."""
        for each in self._alive.values():
            each.__exit__()
        self._cable.__exit__()


@contextlib.contextmanager
def database() -> Iterator[postgres.Server | None]:
    """A PostgreSQL server; None where there is none."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(postgres.server())
        except BaseException as missing:  # noqa: BLE001 - pytest's own skip is no Exception
            print(f"without PostgreSQL: {missing}")
            found = None
        yield found


def kills(folder: Path, number: int, seed: int = 0) -> None:
    """Kill all there is at random moments."""
    chance = random.Random(seed)
    with database() as server:
        victims, done = Victims(folder, server), False
        while not (done and victims.killed.total() >= number):
            done |= victims.start()
            time.sleep(chance.uniform(0.5, 4.0))
            victims.look()
            if victims.killed.total() < number:
                victims.kill(chance.choice(victims.names))
        victims.end()
        made = counted(victims.store)
    total = victims.networks * VISITS * len(victims.hosts)
    twice = sum(count > 1 for keys in made.values() for count in keys.values())
    wrong = sum(host not in victims.hosts for host in made)
    lost = victims.lost + total - sum(map(len, made.values()))
    print(f"kills: {victims.killed.total()} ({dict(victims.killed)}) over {total} visits")
    print(
        f"  lost {lost}, made twice {twice}, of a wrong device {wrong}, waits of more than "
        f"{DEADLINE_S:g} s {victims.late}; each 0 (longest {victims.longest_s:.0f} s)"
    )


def cli(*words: str) -> list[str]:
    """A command line of latprof, for this Python."""
    return ["-c", "from latprof.cli.main import main; main()", *words]


def worker_words(address: str, label: str, seconds: float, devices: int = 1) -> list[str]:
    """The words of a worker with simulated devices."""
    return [farm_processes.__file__, address, "-", label, str(devices), str(seconds)]


def program(folder: Path, words: list[str]) -> farm_processes.Program:
    """A process of the farm."""
    return farm_processes.Program(*words, env=farm_processes.environment(folder))


def free_port() -> int:
    """A port that nobody listens on now."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def sharing(folder: Path) -> None:
    """Two processes with one store, against one."""

    def together(name: str, processes: int) -> tuple[float, int]:
        start = time.monotonic()
        running = [shared_collector.start(folder / name, 0.25, visits=60) for _ in range(processes)]
        lines = [line for each in running for line in shared_collector.read(each)]
        shared_collector.ended(*running)
        visits = [line for line in lines if not line.startswith("{")]
        return time.monotonic() - start, len(visits) - len(set(visits))

    alone_s, _ = together("one.db", 1)
    shared_s, twice = together("two.db", 2)
    print(f"two processes, one store: {twice} visits made twice, 0")
    print(f"  time against one process: {shared_s / alone_s:.2f} ({alone_s:.0f} s), at most 0.55")


def writers(folder: Path, seconds: float) -> None:
    """Eight processes that write to one store for a time."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[3])\n"
        "from stored_visits import TARGET, measurement\n"
        "from latprof.measurement.store.store import Store\n"
        "end, number = time.monotonic() + float(sys.argv[4]), 0\n"
        "with Store.open(sys.argv[1], create=True) as store:\n"
        "    store.add_target(TARGET, 'r')\n"
        "    while time.monotonic() < end:\n"
        "        assert store.add(measurement(sys.argv[2], visit=number)); number += 1\n"
        "print(number)"
    )
    places = {"SQLite": str(folder / "writers.db")}
    with database() as server:
        if server is not None:
            places["PostgreSQL"] = server.url
        for kind, place in places.items():
            Store.open(place, create=True).close()
            running = [
                subprocess.Popen(
                    [sys.executable, "-c", code, place, str(n), sys.path[0], str(seconds)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for n in range(8)
            ]
            written = [each.communicate()[0] for each in running]
            errors = sum(each.returncode != 0 for each in running)
            rows = sum(int(number or 0) for number in written)
            with Store.open(place) as store:
                stored = store.targets()[0].measurements
            rate = rows / seconds
            print(
                f"8 processes into {kind} for {seconds:g} s: {errors} errors, "
                f"{rows - stored} rows lost, each 0 ({rate:.0f} rows a second)"
            )


def merging(folder: Path) -> None:
    """Ten hosts' stores, three of them the same in part."""
    from stored_visits import TARGET, measurement

    paths = [folder / f"host-{number}.db" for number in range(10)]
    for number, path in enumerate(paths):
        if number in {7, 8, 9}:
            shutil.copy(paths[number - 7], path)
        with Store.open(path, create=True) as store:
            store.add_target(TARGET, "r")
            for visit in range(200):
                store.add(measurement(f"{visit % 20}", visit=visit, process=f"host-{number}/1"))
    merge_stores(paths, folder / "merged.db")
    every = set()
    for path in paths:
        with Store.open(path) as store:
            every |= {(m.key.subject, m.process, m.started_at) for m in store.measurements(TARGET)}
    with Store.open(folder / "merged.db") as store:
        merged = [(m.key.subject, m.process, m.started_at) for m in store.measurements(TARGET)]
    once = len(merged) == len(set(merged)) and set(merged) == every
    print(f"10 stores merged, 3 the same in part: {len(merged)} visits, each once: {once}, True")


@contextlib.contextmanager
def farm(
    folder: Path, workers: int, devices: int, seconds: float
) -> Iterator[tuple[str, psutil.Process]]:
    """A farm of simulated devices whose visits take so long; yields its address and scheduler."""
    os.environ["EMPTY"] = "1"
    with (
        farm_processes.scheduler(folder) as (found, address),
        contextlib.ExitStack() as stack,
    ):
        words = [worker_words(address, f"h{n}", seconds, devices) for n in range(workers)]
        for one in [stack.enter_context(program(folder, each)) for each in words]:
            one.wait_for("joined")
        yield address, psutil.Process(found.pid)


@dataclass(frozen=True)
class Speed:
    """Visits a second of all devices from the first to the last, and the share of time idle.

    What a visit takes the scheduler and the collection is their processes' time on the processor.
    """

    rate: float
    idle: float
    scheduler_ms: float
    collection_ms: float

    def costs(self) -> str:
        """What a visit takes, in words."""
        return (
            f"a visit takes the scheduler {self.scheduler_ms:.1f} ms and the collection "
            f"{self.collection_ms:.1f} ms of processor time"
        )


def cpu_s(times: Any) -> float:
    """Seconds on the processor."""
    return float(times.user + times.system)


def speed(
    folder: Path, *, workers: int, devices: int, seconds: float, networks: int, visits: int
) -> Speed:
    """How fast the visits of a collection are."""
    store = folder / f"{workers}-{devices}-{seconds}.db"
    with farm(folder, workers, devices, seconds) as (address, scheduler):
        words = cli(*collect_words(address, store, networks, visits))
        before_s = cpu_s(scheduler.cpu_times())
        collection = psutil.Popen(
            [sys.executable, *words],
            env=farm_processes.environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        collection_s = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            while collection.poll() is None:
                collection_s = cpu_s(collection.cpu_times())
                time.sleep(0.2)
        said = collection.communicate()[0]
        assert collection.returncode == 0, said
        scheduler_s = cpu_s(scheduler.cpu_times()) - before_s
    first, last, number, idle = [], [], 0, []
    with Store.open(store) as opened:
        for stored in opened.targets():
            made = list(opened.measurements(stored.target))
            starts = [visit.started_at for visit in made]
            ends = [visit.started_at + visit.wall_s for visit in made]
            first.append(min(starts))
            last.append(max(ends))
            number += len(made)
            idle.append(1 - sum(visit.wall_s for visit in made) / (max(ends) - min(starts)))
    assert len(idle) == workers * devices
    return Speed(
        number / (max(last) - min(first)),
        sum(idle) / len(idle),
        1000 * scheduler_s / number,
        1000 * collection_s / number,
    )


def empty(folder: Path) -> None:
    """Visits that take no time: what scheduler, client and store take for each."""
    found = speed(folder, workers=2, devices=4, seconds=0.0, networks=100, visits=4)
    print(f"empty visits: {found.rate:.0f} a second, at least 150")
    print(f"  {found.costs()}")


def idle(folder: Path) -> None:
    """20 devices with visits of 1 s."""
    found = speed(folder, workers=4, devices=5, seconds=1.0, networks=15, visits=4)
    print(f"20 devices, visits of 1 s: {found.idle:.1%} of their time idle, at most 3 %")
    print(f"  {found.costs()}")


def thousand(folder: Path) -> None:
    """1,000 devices on 10 workers."""
    found = speed(folder, workers=10, devices=100, seconds=10.0, networks=5, visits=2)
    print(
        f"1,000 devices on 10 workers, visits of 10 s: {found.rate:.0f} visits a second, "
        f"{found.idle:.0%} idle"
    )
    print(f"  {found.costs()}")


def pooled(folder: Path) -> None:
    """Two specimens that share the visits, against one that makes them all."""
    os.environ.update(EMPTY="1", FACTOR_a=str(FACTOR**-0.5), FACTOR_b=str(FACTOR**0.5))
    errors, factor = {}, math.nan
    for hosts in ("a", "ab"):
        store = folder / f"{hosts}.db"
        with farm_processes.scheduler(folder) as (_, address), contextlib.ExitStack() as stack:
            for host in hosts:
                words = worker_words(address, host, 0.02)
                stack.enter_context(program(folder, words)).wait_for("joined")
            words = [*collect_words(address, store, 150), "--pool"]
            environment = farm_processes.environment(folder)
            subprocess.run(
                [sys.executable, *cli(*words)], env=environment, check=True, stdout=subprocess.PIPE
            )
        with Store.open(store) as opened:
            known = TargetLabels.of(opened)
            keys = [farm_processes.true_ratio(key) for key in known.labels["subject"]]
            off = np.log(known.labels["ratio"].to_numpy() / np.array(keys))
            errors[hosts] = float(np.std(off))
            if len(hosts) == 2:
                factor = known.specimens["sim@b"] / known.specimens["sim@a"]
    print(
        f"two specimens pooled: labels' RMSE {errors['ab']:.3%}, "
        f"{errors['ab'] / errors['a']:.2f} of one specimen's {errors['a']:.3%}, at most 1.1"
    )
    print(f"  the factor {factor:.4f}, {factor / FACTOR - 1:+.2%} off, at most 0.5 %")


def main() -> None:
    """Print the figures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    every = ("sharing", "writers", "merging", "empty", "idle", "pooled", "thousand", "kills")
    parser.add_argument("parts", nargs="*", default=every, metavar="PART", help=", ".join(every))
    parser.add_argument("--kills", type=int, default=200, help="how often something is killed")
    parser.add_argument("--seconds", type=float, default=60.0, help="of writing by eight processes")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in every:
            parser.error(f"no part {part}; there are {', '.join(every)}")
    for part in arguments.parts:
        with tempfile.TemporaryDirectory(prefix="latprof-farm-") as name:
            if part == "kills":
                kills(Path(name), arguments.kills)
            elif part == "writers":
                writers(Path(name), arguments.seconds)
            else:
                globals()[part](Path(name))


if __name__ == "__main__":
    main()
