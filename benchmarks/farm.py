"""A farm's figures, with simulated devices: what is lost, how fast it is, what waits.

Scheduler, workers and collections are processes of this computer (``tests/support``). ``sharing``:
two processes that run the same collection on one store, against one of them. ``writers``: eight
processes into one store. ``merging``: ten hosts' stores, three of them copies in part. ``empty``:
visits that take no time. ``idle``: 20 devices with visits of 1 s. ``pooled``: two specimens that
differ by 5 % and share the visits. ``thousand``: 1,000 devices on 10 workers. ``keys``: what
listens where, and who is let in. ``kills``: scheduler, workers, collection and the store's
PostgreSQL are killed, and the network cut, at random moments, and started anew, until all visits
are made; what starts is forked from a process that has imported what it needs, so that no wait is
for a busy computer's imports.

What was found is kept in the folder of ``--kept``. Without names of parts those are run that are
not there yet; ``kills`` and ``pooled`` continue where ``--minutes`` cut them off. At last the table
of all parts is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import farm_processes
import numpy as np
import psutil
import shared_collector
from farm_victims import Farm, cli, collect_words, database, program, worker_words

from latprof.farm import make_keys
from latprof.measurement.labels import TargetLabels
from latprof.measurement.store.merging import merge_stores
from latprof.measurement.store.store import Store
from latprof.profilers.campaign.sharing import LOOK_EVERY_S

#: What differs between two specimens, as a factor, and how many networks tell it.
FACTOR = 1.05
POOLED_NETWORKS = 500

Values: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Bounds:
    """Where a part keeps its files, and how far it goes; ``until`` is of the monotonic clock."""

    folder: Path
    until: float
    kills: int
    visits: int
    seconds: float

    @property
    def left_s(self) -> float:
        """What is left of the time."""
        return min(max(self.until - time.monotonic(), 1.0), 86_400.0)


def kills(bounds: Bounds) -> Values:
    """Kill all there is at random moments."""
    with database(bounds.folder / "postgresql") as server:
        with Farm(bounds.folder, server, bounds.visits) as farm:
            farm.run(bounds.kills, bounds.until)
        found: Values = farm.outcome()
    found["done"] &= found["kills"] >= bounds.kills
    # Those that are not there when the collection has ended are lost, too.
    found["lost"] += found["visits"] - found["made"] if found["done"] else 0
    return found


def sharing(bounds: Bounds) -> Values:
    """Two processes with one store, against one."""

    def together(name: str, processes: int) -> tuple[float, int]:
        start = time.monotonic()
        place = bounds.folder / name
        running = shared_collector.begun(
            *(
                shared_collector.start(place, 0.25, visits=60, look_every_s=LOOK_EVERY_S)
                for _ in range(processes)
            )
        )
        lines = [line for each in running for line in shared_collector.read(each)]
        shared_collector.ended(*running)
        visits = [line for line in lines if not line.startswith("{")]
        return time.monotonic() - start, len(visits) - len(set(visits))

    alone_s, _ = together("one.db", 1)
    shared_s, twice = together("two.db", 2)
    return {"twice": twice, "alone_s": alone_s, "shared_s": shared_s, "share": shared_s / alone_s}


def writers(bounds: Bounds) -> Values:
    """Eight processes that write to one store for a time."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[3])\n"
        "from stored_visits import TARGET, measurement\n"
        "from latprof.measurement.store.store import Store\n"
        "end, number, longest_s = time.monotonic() + float(sys.argv[4]), 0, 0.0\n"
        "with Store.open(sys.argv[1], create=True) as store:\n"
        "    store.add_target(TARGET, 'r')\n"
        "    while (start := time.monotonic()) < end:\n"
        "        assert store.add(measurement(sys.argv[2], visit=number)); number += 1\n"
        "        longest_s = max(longest_s, time.monotonic() - start)\n"
        "print(number, longest_s)"
    )
    found: Values = {"seconds": bounds.seconds, "errors": [], "lost": [], "rates": []}
    found["longest_s"] = []
    with database() as server:
        places = [str(bounds.folder / "writers.db"), *([server.url] if server else [])]
        for place in places:
            Store.open(place, create=True).close()
            words = [str(Path(farm_processes.__file__).parent), str(bounds.seconds)]
            running = [
                subprocess.Popen(
                    [sys.executable, "-c", code, place, str(n), *words],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for n in range(8)
            ]
            written = [each.communicate()[0].split() for each in running]
            rows = sum(int(words[0]) for words in written if words)
            longest_s = max((float(words[1]) for words in written if words), default=math.nan)
            found["longest_s"].append(round(longest_s, 2))
            with Store.open(place) as store:
                stored = store.targets()[0].measurements
            found["errors"].append(sum(each.returncode != 0 for each in running))
            found["lost"].append(rows - stored)
            found["rates"].append(rows / bounds.seconds)
    return found


def merging(bounds: Bounds) -> Values:
    """Ten hosts' stores, three of them the same in part."""
    from stored_visits import TARGET, measurement

    paths = [bounds.folder / f"host-{number}.db" for number in range(10)]
    for number, path in enumerate(paths):
        if number in {7, 8, 9}:
            shutil.copy(paths[number - 7], path)
        with Store.open(path, create=True) as store:
            store.add_target(TARGET, "r")
            for visit in range(200):
                store.add(measurement(f"{visit % 20}", visit=visit, process=f"host-{number}/1"))
    merge_stores(paths, bounds.folder / "merged.db")
    every = set()
    for path in paths:
        with Store.open(path) as store:
            every |= {(m.key.subject, m.process, m.started_at) for m in store.measurements(TARGET)}
    with Store.open(bounds.folder / "merged.db") as store:
        merged = [(m.key.subject, m.process, m.started_at) for m in store.measurements(TARGET)]
    once = len(merged) == len(set(merged)) and set(merged) == every
    return {"visits": len(merged), "once": once}


@contextlib.contextmanager
def simulated(
    bounds: Bounds, workers: Sequence[str], devices: int, seconds: float, **variables: str
) -> Iterator[tuple[str, psutil.Process]]:
    """A farm of workers with devices whose visits take so long; its address and scheduler."""
    with contextlib.ExitStack() as stack:
        found, address = stack.enter_context(farm_processes.scheduler(bounds.folder))
        words = [worker_words(address, label, seconds, devices) for label in workers]
        started = [program(bounds.folder, each, EMPTY="1", **variables) for each in words]
        for one in map(stack.enter_context, started):
            one.wait_for("joined")
        yield address, psutil.Process(found.pid)


def cpu_s(times: Any) -> float:
    """Seconds on the processor."""
    return float(times.user + times.system)


def collected(bounds: Bounds, words: list[str]) -> tuple[bool, float]:
    """Run a collection within the time; whether it is complete, and its processor time."""
    limit = ["--time-limit", f"{bounds.left_s:.0f}s"]
    said = bounds.folder / "said"
    with said.open("w") as file:
        collection = psutil.Popen(
            [sys.executable, *cli(*words, *limit)],
            env=farm_processes.environment(bounds.folder),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        used_s = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            while collection.poll() is None:
                used_s = cpu_s(collection.cpu_times())
                time.sleep(0.2)
    assert collection.wait() in {0, 5}, said.read_text()
    cut_off = "the time limit is reached" in said.read_text()
    return collection.returncode == 0 and not cut_off, used_s


def speed(
    bounds: Bounds, workers: int, devices: int, seconds: float, networks: int, visits: int
) -> Values:
    """How fast a collection's visits are, from the first to the last of each device.

    ``idle`` is the share of the devices' time between visits; what a visit takes the scheduler and
    the collection is their processes' time on the processor.
    """
    store = bounds.folder / "lab.db"
    names = [f"h{number}" for number in range(workers)]
    with simulated(bounds, names, devices, seconds) as (address, scheduler):
        before_s = cpu_s(scheduler.cpu_times())
        done, used_s = collected(bounds, collect_words(address, store, networks, visits))
        scheduler_s = cpu_s(scheduler.cpu_times()) - before_s
    first, last, number, idle_shares = [], [], 0, []
    with Store.open(store) as opened:
        for stored in opened.targets():
            made = list(opened.measurements(stored.target))
            starts = [visit.started_at for visit in made]
            ends = [visit.started_at + visit.wall_s for visit in made]
            first.append(min(starts))
            last.append(max(ends))
            number += len(made)
            idle_shares.append(1 - sum(v.wall_s for v in made) / (max(ends) - min(starts)))
    return {
        "done": done and len(idle_shares) == workers * devices,
        "devices": len(idle_shares),
        "visits": number,
        "rate": number / (max(last) - min(first)),
        "idle": sum(idle_shares) / len(idle_shares),
        "scheduler_ms": 1000 * scheduler_s / number,
        "collection_ms": 1000 * used_s / number,
    }


def empty(bounds: Bounds) -> Values:
    """Visits that take no time: what scheduler, client and store take for each."""
    return speed(bounds, workers=2, devices=4, seconds=0.0, networks=100, visits=4)


def idle(bounds: Bounds) -> Values:
    """20 devices with visits of 1 s."""
    return speed(bounds, workers=4, devices=5, seconds=1.0, networks=15, visits=4)


def thousand(bounds: Bounds) -> Values:
    """1,000 devices on 10 workers."""
    return speed(bounds, workers=10, devices=100, seconds=10.0, networks=5, visits=2)


def pooled(bounds: Bounds) -> Values:
    """Two specimens that share the visits, against one that makes them all."""
    factors = {"FACTOR_a": str(FACTOR**-0.5), "FACTOR_b": str(FACTOR**0.5)}
    errors, factor, done = {}, math.nan, True
    for hosts in ("a", "ab"):
        store = bounds.folder / f"{hosts}.db"
        with simulated(bounds, list(hosts), 1, 0.02, **factors) as (address, _):
            words = collect_words(address, store, POOLED_NETWORKS)
            done &= collected(bounds, [*words, "--pool"])[0]
        with Store.open(store) as opened:
            known = TargetLabels.of(opened)
            keys = [farm_processes.true_ratio(key) for key in known.labels["subject"]]
            off = np.log(known.labels["ratio"].to_numpy() / np.array(keys))
            errors[hosts] = float(np.std(off))
            if len(hosts) == 2:
                factor = known.specimens["sim@b"] / known.specimens["sim@a"]
    return {
        "done": done,
        "one": errors["a"],
        "two": errors["ab"],
        "share": errors["ab"] / errors["a"],
        "factor": factor,
        "off": factor / FACTOR - 1,
    }


def keys(bounds: Bounds) -> Values:
    """What a farm without keys listens on; whom one with keys lets in."""
    folder, found = bounds.folder, set[tuple[str, int]]()
    with contextlib.ExitStack() as stack:
        scheduler, address = stack.enter_context(farm_processes.scheduler(folder))
        worker = stack.enter_context(farm_processes.worker(folder, address, "a", seconds=0.1))
        words = cli(*collect_words(address, folder / "lab.db", 4))
        client = stack.enter_context(program(folder, words))
        while client.process.poll() is None:
            with contextlib.suppress(psutil.Error, OSError):  # it has ended meanwhile
                found |= farm_processes.listening(scheduler.pid, worker.pid, client.pid)
            time.sleep(0.1)
    own, others = make_keys(folder / "keys"), make_keys(folder / "others")
    with contextlib.ExitStack() as stack:
        _, address = stack.enter_context(farm_processes.scheduler(folder, own))
        stack.enter_context(farm_processes.worker(folder, address, "a", keys=own))
        plain = address.replace("tls:", "tcp:")
        asked = [
            [*words, *shown]
            for to, shown in ((address, ["--keys", str(others)]), (plain, []))
            for words in (
                ["farm", "status", to],
                ["farm", "join", to, "--only", "fake:clock", "--host-label", "b"],
                [*collect_words(to, folder / "none.db", 1), "--queue-timeout", "1s"],
            )
        ]
        ended = [farm_processes.latprof(folder, *words) for words in asked]
        refused = [each.returncode == 4 and "no farm answers" in each.stderr for each in ended]
        inside = farm_processes.latprof(folder, "farm", "status", address, "--keys", own, "--json")
        names = [each["name"] for each in json.loads(inside.stdout)["devices"]]
    return {
        "done": bool(found) and names == ["sim@a"],
        "listened": len(found),
        "beyond": len({place for place, _ in found} - farm_processes.LOOPBACK),
        "asked": len(asked),
        "let_in": len(asked) - sum(refused),
    }


#: What each part does, and for how many minutes at the most, of such as cannot be cut off.
PARTS: dict[str, tuple[Callable[[Bounds], Values], float]] = {
    "sharing": (sharing, 4.0),
    "writers": (writers, 3.0),
    "merging": (merging, 1.0),
    "empty": (empty, 3.0),
    "idle": (idle, 3.0),
    "pooled": (pooled, 1.0),
    "thousand": (thousand, 7.0),
    "keys": (keys, 3.0),
    "kills": (kills, 1.0),
}
_COSTS = " (each takes the scheduler {scheduler_ms:.1f} ms, the collection {collection_ms:.1f} ms)"
#: Of each part: what the figure is, what is promised, what was found, and whether that is kept.
Figure: TypeAlias = tuple[str, str, str, str, Callable[[Values], bool]]
FIGURES: tuple[Figure, ...] = (
    (
        "kills",
        "{kills} kills over {visits} visits: lost, twice, wrong device, late (60 s), tracebacks",
        "0, 0, 0, 0, 0",
        "{lost}, {twice}, {wrong}, {late}, {tracebacks} (longest wait of one {longest_s:.0f} s)",
        lambda v: not v["lost"] + v["twice"] + v["wrong"] + v["late"] + v["tracebacks"],
    ),
    (
        "writers",
        "8 processes into one store for {seconds:g} s, SQLite and PostgreSQL: errors",
        "[0, 0]",
        "{errors}",
        lambda v: not any(v["errors"]) and len(v["errors"]) == 2,
    ),
    (
        "writers",
        "the same: rows lost ({rates[0]:.0f} and more rows a second)",
        "[0, 0]",
        "{lost}",
        lambda v: not any(v["lost"]) and len(v["lost"]) == 2,
    ),
    (
        "writers",
        "the same: the longest that a row took, in seconds",
        "-",
        "{longest_s}",
        lambda v: len(v["longest_s"]) == 2,
    ),
    (
        "sharing",
        "two processes, one command, one store: visits made twice",
        "0",
        "{twice}",
        lambda v: v["twice"] == 0,
    ),
    (
        "sharing",
        "the same: time against one process ({alone_s:.0f} s)",
        "0.55",
        "{share:.2f}",
        lambda v: v["share"] <= 0.55,
    ),
    (
        "merging",
        "10 stores merged, 3 of them the same in part: {visits} visits, each once",
        "True",
        "{once}",
        lambda v: bool(v["once"]),
    ),
    (
        "empty",
        "empty visits a second" + _COSTS,
        "150",
        "{rate:.0f}",
        lambda v: v["rate"] >= 150,
    ),
    (
        "idle",
        "20 devices, visits of 1 s: device time idle" + _COSTS,
        "3 %",
        "{idle:.1%}",
        lambda v: v["idle"] <= 0.03,
    ),
    (
        "pooled",
        "two specimens pooled: RMSE of labels ({two:.3%}) against one specimen's ({one:.3%})",
        "1.1",
        "{share:.2f}",
        lambda v: v["share"] <= 1.1,
    ),
    (
        "pooled",
        "the same: the factor, {factor:.4f}, is off by",
        "0.5 %",
        "{off:+.2%}",
        lambda v: abs(v["off"]) <= 0.005,
    ),
    (
        "thousand",
        "{devices} devices on 10 workers, visits of 10 s: visits a second" + _COSTS,
        "-",
        "{rate:.0f} ({idle:.0%} idle)",
        lambda v: v["devices"] == 1000,
    ),
    (
        "keys",
        "without keys: what listens ({listened}) beyond this computer",
        "0",
        "{beyond}",
        lambda v: v["beyond"] == 0,
    ),
    (
        "keys",
        "with keys: clients and workers ({asked}) with none, or others, that are let in",
        "0",
        "{let_in}",
        lambda v: v["let_in"] == 0,
    ),
)


def kept_values(folder: Path) -> dict[str, Values]:
    """What the parts have found so far."""
    found = {part: folder / f"{part}.json" for part in PARTS}
    return {part: json.loads(path.read_text()) for part, path in found.items() if path.exists()}


def print_table(kept: Mapping[str, Values]) -> None:
    """Print each figure that was found."""
    rows = [("figure", "promised", "found", "when, and the load before")]
    for part, figure, goal, printed, is_met in FIGURES:
        if values := kept.get(part):
            state = "" if is_met(values) else " MISSED"
            state += "" if values["done"] else " (not complete)"
            when = f"{values['at']}, {values['load']:.1f}"
            rows.append((figure.format(**values), goal, printed.format(**values) + state, when))
        else:
            rows.append((f"{part}: not run yet", goal, "-", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        )


def main() -> None:
    """Print the figures that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--kept", type=Path, default=Path(".benchmarks/farm"), metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=math.inf, help="to go on for, at most")
    parser.add_argument("--kills", type=int, default=200, help="how often something is killed")
    parser.add_argument("--visits", type=int, default=2000, help="over which that is done")
    parser.add_argument("--seconds", type=float, default=60.0, help="of writing by eight processes")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"no part {part}; there are {', '.join(PARTS)}")
    # What was started is ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder, until = arguments.kept.resolve(), time.monotonic() + 60 * arguments.minutes
    kept = kept_values(folder)
    left = [part for part in PARTS if not kept.get(part, {}).get("done")]
    for part in arguments.parts or left:
        do, minutes = PARTS[part]
        if time.monotonic() + 60 * minutes > until:
            print(f"no time left for {part}", file=sys.stderr)
            continue
        place = folder / part
        if part not in left or part not in {"kills", "pooled"}:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, exist_ok=True)
        load = os.getloadavg()[0]
        bounds = Bounds(place, until, arguments.kills, arguments.visits, arguments.seconds)
        found = {
            "done": True,
            **do(bounds),
            "at": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M}",
            "load": load,
        }
        (folder / f"{part}.json").write_text(json.dumps(found))
        if found["done"]:
            shutil.rmtree(place, ignore_errors=True)
    print_table(kept_values(folder))


if __name__ == "__main__":
    main()
