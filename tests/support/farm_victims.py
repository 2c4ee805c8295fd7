"""A farm whose every process is killed at random moments, and started anew, until all is measured.

What it has come to is kept in a folder, so that a later call continues. Processes start at once
(:mod:`farm_nursery`): what is waited for is the farm, not the imports of a busy computer.
"""

import contextlib
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import farm_processes
import postgres
from farm_nursery import WORKER, Nursery
from free_port import free_port

from latprof.errors import StoreError
from latprof.measurement.store.store import Store

HOSTS = ("a", "b", "c", "d")
#: Visits to each network.
VISITS = 8
#: How long a collection waits for what is not there, in seconds.
DEADLINE_S = 60.0
#: What a simulated visit takes, in seconds.
_VISIT_S = 0.4
_LOOK_EVERY_S = 0.5


def cli(*words: str) -> list[str]:
    """A command line of latprof, for this Python."""
    return ["-c", "from latprof.cli.main import main; main()", *words]


def collect_words(
    address: str, store: Path | str, networks: int, visits: int = VISITS
) -> list[str]:
    """The words of a collection on all simulated devices."""
    words = f"collect --space proxyless --resolution 64 -n {networks} --visits {visits} -q --json"
    fixed = f"--repeat-fraction 0 --target fake:clock --queue-timeout {DEADLINE_S:g}s"
    return [*words.split(), *fixed.split(), "--farm", address, "--store", str(store)]


def worker_words(address: str, label: str, seconds: float, devices: int = 1) -> list[str]:
    """The words of a worker with simulated devices."""
    return [farm_processes.__file__, address, "-", label, str(devices), str(seconds)]


def program(folder: Path, words: list[str], **variables: str) -> farm_processes.Program:
    """A process of the farm."""
    env = farm_processes.environment(folder) | variables
    return farm_processes.Program(*words, env=env)


class Farm:
    """Processes of a farm, each started anew when it has ended, and what its store acknowledged.

    Parameters
    ----------
    folder : Path
        Keeps the store and what was seen.
    visits : int
        On all four devices together, at least.
    """

    def __init__(self, folder: Path, database: postgres.Server | None, visits: int) -> None:
        self._folder, self._database = Path(folder), database
        self.networks = math.ceil(visits / (len(HOSTS) * VISITS))
        self.visits = self.networks * len(HOSTS) * VISITS
        self.store = self._folder / "kills.db" if database is None else database.url
        self.seen: dict[str, Any] = {
            "killed": {},
            "lost": 0,
            "late": 0,
            "longest_s": 0.0,
            "done": False,
        }
        self._acknowledged: set[str] = set()
        self._kills: list[tuple[float, str]] = []
        with contextlib.suppress(FileNotFoundError):
            kept = json.loads((self._folder / "kills.json").read_text())
            self._acknowledged = set(kept.pop("acknowledged"))
            self.seen = kept
        self.killed = Counter[str](self.seen["killed"])
        #: Of each host how many visits are in the store, and since when.
        self._counts: dict[str, tuple[int, float]] = {}

    def __enter__(self):
        port = free_port()
        self._cable = farm_processes.Cable(port)
        self._words = {"scheduler": ["farm", "start", "--port", str(port)]}
        for host in HOSTS:  # two of them are at the end of a cable
            direct = f"tcp://127.0.0.1:{port}"
            way = direct if host in HOSTS[::2] else self._cable.address
            self._words[host] = [WORKER, way, "-", host, "1", str(_VISIT_S)]
        self._words["collection"] = collect_words(self._cable.address, self.store, self.networks)
        self._alive = {}
        self._nursery = Nursery(self._folder).__enter__()
        return self

    def __exit__(self, *exception):
        for alive in self._alive.values():
            self._check_last_words(alive)
        self._nursery.__exit__()
        self._cable.__exit__()
        self.seen["killed"] = dict(self.killed)
        kept = {**self.seen, "acknowledged": sorted(self._acknowledged)}
        (self._folder / "kills.json").write_text(json.dumps(kept))

    def run(self, kills: int, until: float, seed: int = 0) -> None:
        """Kill so many times, and see all visits made; stops at a time of the monotonic clock."""
        chance = random.Random(f"{seed} {self.killed.total()}")
        names = [*self._words, "network", *(["database"] if self._database else [])]
        while time.monotonic() < until:
            self.seen["done"] |= self._start()
            time.sleep(_LOOK_EVERY_S)
            left = kills - self.killed.total()
            if self.seen["done"] and left <= 0:
                break
            # As many as visits were made, so that some meet each part of the collection.
            made = self.visits if self.seen["done"] else self._look()
            if left > 0 and made * kills >= self.killed.total() * self.visits:
                time.sleep(chance.uniform(0.0, 2.0))
                for _ in range(min(left, chance.choice((1, 1, 2, 3)))):
                    self._kill(chance.choice(names))
                    time.sleep(chance.choice((0.0, 0.3)))
        for host, (count, since) in () if self.seen["done"] else self._counts.items():
            if count < self.networks * VISITS:  # cut off while it waits
                self._note_wait(host, since)
        self._compare()

    def _start(self):
        """Start what has ended; returns whether the collection had, with all visits made."""
        self._cable.mend()
        found = self._alive.get("collection")
        done = found is not None and found.poll() == 0
        for name, words in self._words.items():
            if name == "collection" and (done or self.seen["done"]):
                continue
            if name not in self._alive or self._alive[name].poll() is not None:
                if name in self._alive:
                    self._check_last_words(self._alive[name])
                self._alive[name] = self._nursery.start(words)
        return done

    def _check_last_words(self, ended):
        """Whoever ended by itself has said why, in a line; nobody has printed a traceback."""
        for line in ended.lines:
            if "Traceback" in line or "hush" in line:
                print("\n".join(ended.lines), file=sys.stderr)
                self.seen["tracebacks"] = self.seen.get("tracebacks", 0) + 1
                return

    def _kill(self, name):
        """Kill one of them; the database is back at once."""
        self._kills.append((time.monotonic(), name))
        if name == "network":
            self._cable.cut()
        elif name == "database":
            self._compare()
            self._database.stop()
            self._database.start()
        else:
            self._alive[name].kill()
        self.killed["worker" if name in HOSTS else name] += 1

    def _look(self):
        """How many visits the store has; how long each host's next one was waited for is noted."""
        with contextlib.suppress(StoreError):  # its tables are not all there yet
            with Store.open(self.store) as store:
                found = {stored.target.host: stored.measurements for stored in store.targets()}
            for host, count in found.items():
                before, since = self._counts.get(host, (count, math.nan))
                if count > before:
                    self._note_wait(host, since)
                if count > before or math.isnan(since):  # that is what it took to start
                    self._counts[host] = count, time.monotonic()
        return sum(count for count, _ in self._counts.values())

    def _note_wait(self, host, since):
        """How long the store had no visit more of a host."""
        waited_s = time.monotonic() - since
        self.seen["longest_s"] = max(self.seen["longest_s"], waited_s)
        if waited_s > DEADLINE_S:
            self.seen["late"] += 1
            killed = [f"{name} at {at - since:.0f} s" for at, name in self._kills if at >= since]
            print(f"{waited_s:.0f} s without a visit on {host}: {killed}", file=sys.stderr)

    def _compare(self):
        """See that what was in the store still is."""
        with contextlib.suppress(StoreError):
            found = {f"{host} {key}" for host, keys, _ in counted(self.store) for key in keys}
            self.seen["lost"] += len(self._acknowledged - found)
            self._acknowledged |= found

    def outcome(self) -> dict[str, Any]:
        """What it came to, as plain JSON values."""
        made = counted(self.store)
        return {
            "visits": self.visits,
            "kills": self.killed.total(),
            "killed": dict(self.killed),
            "made": sum(len(keys) for _, keys, _ in made),
            "lost": self.seen["lost"],
            "twice": sum(count > 1 for _, keys, _ in made for count in keys.values()),
            "wrong": sum(wrong for _, _, wrong in made),
            "late": self.seen["late"],
            "longest_s": self.seen["longest_s"],
            "tracebacks": self.seen.get("tracebacks", 0),
            "done": self.seen["done"],
        }


def counted(path):
    """Of each host in a target: how often each visit counts, and how many another host made."""
    found = []
    with Store.open(path) as store:
        for stored in store.targets():
            host = stored.target.host
            made = [m for m in store.measurements(stored.target) if m.ok]
            keys = Counter(f"{m.key.subject.key} {m.key.label} {m.key.number}" for m in made)
            wrong = sum(not m.process.startswith(f"{host}/") for m in made)
            found.append((host, keys, wrong))
    return found


@contextlib.contextmanager
def database(folder: Path | None = None) -> Iterator[postgres.Server | None]:
    """A PostgreSQL server; None where there is none."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(postgres.server(folder))
        except BaseException as missing:
            if isinstance(missing, (KeyboardInterrupt, SystemExit)):
                raise
            print(f"without PostgreSQL: {missing}", file=sys.stderr)
            found = None
        yield found
