"""Timings by other programs in a store, and a store's timings for other programs."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.common.files import digest, path_text, write_atomically
from latprof.common.short_reprs import ShortRepr
from latprof.workflows.arguments import PathLike, StoreLike, open_store

if TYPE_CHECKING:
    from latprof.datasets.importers.files.benchmark_files import (
        BenchmarkFile,
        BenchmarkRuns,
        ProcessRuns,
    )
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import PairedSamples, Target
    from latprof.measurement.store.store import Store
    from latprof.profilers.profiling import Profile

#: What stands in for the reference network: timings by others have none, so that their label is a
#: multiple of one millisecond by the clock.
CLOCK = "the clock, 1 ms"
_MOST_WARMUPS = 10


@dataclass(frozen=True, repr=False)
class ImportResult(ShortRepr):
    """What was imported.

    Parameters
    ----------
    target : Target
        What the timings hold for, as far as the file says it.
    benchmarks : tuple of str
        Names of the benchmarks in the file.
    visits : int
        Processes that were added, each as a visit.
    known : int
        Processes that the store held already.
    """

    target: Target
    benchmarks: tuple[str, ...]
    visits: int
    known: int

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "target": self.target.to_dict(),
            "benchmarks": list(self.benchmarks),
            "visits_added": self.visits,
            "visits_known": self.known,
        }


@needs("collect", "pandas", "scipy", "sqlalchemy")
def import_runs(path: PathLike, store: StoreLike = "latprof.db", *, tag: str = "") -> ImportResult:
    """Import the timings in a file of pyperf or pytest-benchmark.

    They become measurements of a target of their own, ``imported:pyperf`` or
    ``imported:pytest-benchmark`` on the processor that the file names, and are never mixed with
    latprof's. A process is a visit. There is no reference network, so what disturbed the host is
    not divided out. The same file again adds nothing.

    Parameters
    ----------
    path : path
    store : path, URL or Store
        Made where there is none.
    tag : str
        What this state of the sources is called, for :func:`latprof.history`.

    Raises
    ------
    DataSetError
        For a file of another kind, and one of pytest-benchmark without single rounds.
    """
    from latprof.datasets.importers.files.benchmark_files import read_benchmark_file
    from latprof.measurement.records import Target

    found = read_benchmark_file(path_text(path, "path"))
    target = Target(
        "imported",
        found.device_name,
        found.program,
        found.version,
        precision="not stated",
        threads=0,
    )
    with open_store(store, create=True) as opened:
        added, known = _add(opened, target, found, digest(path), tag)
    names = tuple(each.name for each in found.benchmarks)
    return ImportResult(target, names, added, known)


def _add(
    store: Store, target: Target, found: BenchmarkFile, file: str, tag: str
) -> tuple[int, int]:
    """Add what the store lacks; counts of processes that were added, and that were known."""
    from latprof.measurement.across.revisions import NETWORKS, SOURCE, Revision
    from latprof.measurement.records import PairedProtocol

    store.add_target(target, CLOCK)
    numbers: dict[str, int] = defaultdict(int)
    known = 0
    for measurement in store.measurements(target):
        key = measurement.subject.key
        numbers[key] = max(numbers[key], measurement.visit + 1)
        known += measurement.process.startswith(f"{file}/")
    if known:
        return 0, known
    keys = {each.name: _key(each, found, file) for each in found.benchmarks}
    most = max(len(each.processes) for each in found.benchmarks)
    campaign = store.start_campaign(
        target,
        {"imported": file, NETWORKS: keys},
        PairedProtocol(visits=min(most, 10_000)).to_dict(),
        {SOURCE: Revision(found.commit, found.branch, tag).to_dict()},
        found.started_at or None,
    )
    added = 0
    for each in found.benchmarks:
        for measurement in _visits(each, target, keys[each.name], file, numbers[keys[each.name]]):
            added += store.add(measurement, campaign)
    store.end_campaign(campaign)
    store.freeze_reference_ms(target, 1.0)
    return added, 0


def _key(runs: BenchmarkRuns, found: BenchmarkFile, file: str) -> str:
    """Names the state of a benchmark: that of its commit, or else that of the file."""
    state = file if found.modified else found.commit or file
    return hashlib.sha256(f"{runs.name}\n{state}".encode()).hexdigest()


def _visits(runs: BenchmarkRuns, target: Target, key: str, file: str, first: int) -> Any:
    """Each process as a visit beside a clock that takes 1 ms for every run."""
    from latprof.measurement.records import PairedSamples, Subject
    from latprof.measurement.visits import Measurement

    for number, process in enumerate(runs.processes):
        warmups = process.warmups_ms[:_MOST_WARMUPS]
        clock = (1.0,) * (len(warmups) + 1)
        yield Measurement(
            subject=Subject("model", key, runs.name),
            target=target,
            label=0,
            visit=first + number,
            started_at=process.started_at,
            wall_s=sum((*warmups, *process.runs_ms)) / 1e3,
            load_s=0.0,
            process=f"{file}/{number}",
            samples=PairedSamples(
                ((*warmups, *process.runs_ms),), (clock, clock), dropped_runs=len(warmups)
            ),
        )


def runs_of(measured: TargetLabels) -> BenchmarkFile:
    """The counted runs of a store's target by the clock, a process for each visit.

    The facts beside them have the label, with what the host did divided out.
    """
    from latprof.datasets.importers.files.benchmark_files import BenchmarkFile, BenchmarkRuns
    from latprof.measurement.across.revisions import Revision

    labels = measured.labels
    rows = labels[labels["label"] == 0].to_dict("records")
    facts = {
        row["subject"]: _facts(
            measured.target, *(row[name] for name in ("latency_ms", "low_ms", "high_ms"))
        )
        | {"latprof_sha256": row["subject"]}
        for row in rows
    }
    names: dict[str, str] = {}
    processes: dict[str, list[ProcessRuns]] = defaultdict(list)
    for made in measured.store.measurements(measured.target):
        key = made.subject.key
        if made.samples is None or made.label or key not in facts:
            continue
        if made.samples.counted_runs:
            names[key] = made.subject.name
            processes[key].append(_process(made.samples, made.started_at))
    counts = Counter(names.values())
    known = [Revision.of_campaign(campaign) for campaign in measured.campaigns]
    revision = known[-1] if known else Revision()
    return BenchmarkFile(
        "latprof",
        "",
        measured.target.device_name,
        revision.commit,
        revision.branch,
        min((each.started_at for found in processes.values() for each in found), default=0.0),
        tuple(
            BenchmarkRuns(
                names[key] if counts[names[key]] == 1 else f"{names[key]} {key[:12]}",
                tuple(processes[key]),
                facts[key],
            )
            for key in processes
        ),
    )


def _process(samples: PairedSamples, started_at: float) -> ProcessRuns:
    """A visit as a process of a benchmark's runner."""
    from latprof.datasets.importers.files.benchmark_files import ProcessRuns

    warmups = samples.target[0][: samples.dropped_runs]
    return ProcessRuns(samples.counted_runs, warmups, started_at)


def _facts(target: Target, latency_ms: float, low_ms: float, high_ms: float) -> dict[str, str]:
    """What stands beside the runs by the clock: the label."""
    return {
        "latprof_latency_ms": f"{latency_ms:.6g}",
        "latprof_low_ms": f"{low_ms:.6g}",
        "latprof_high_ms": f"{high_ms:.6g}",
        "latprof_target": target.describe(),
    }


def write_profiles(path: PathLike, profiles: Sequence[Profile], started_at: float) -> Path:
    """Write profiles as pytest-benchmark does: a benchmark each, with all counted runs.

    A network that was measured again has the number of the time behind its name.
    """
    from latprof.datasets.importers.files.benchmark_files import (
        BenchmarkFile,
        BenchmarkRuns,
        pytest_benchmark_text,
    )
    from latprof.profilers.host.git_revision import revision_here

    revision = revision_here()
    times: Counter[str] = Counter()
    benchmarks = []
    for each in profiles:
        times[each.name] += 1
        again = "" if times[each.name] == 1 else f" ({times[each.name]})"
        processes = tuple(_process(samples, started_at) for samples in each.samples)
        facts = _facts(each.target, each.latency_ms, *each.interval_ms)
        benchmarks.append(BenchmarkRuns(f"{each.name}{again}", processes, facts))
    device = profiles[0].target.device_name if profiles else ""
    found = BenchmarkFile(
        "latprof", "", device, revision.commit, revision.branch, started_at, tuple(benchmarks)
    )
    return write_atomically(path, pytest_benchmark_text(found).encode())


def write_runs(
    measured: TargetLabels, pyperf: PathLike | None, pytest_benchmark: PathLike | None
) -> list[Path]:
    """Write the runs in the format of each program that a file is named for."""
    from latprof.datasets.importers.files.benchmark_files import pyperf_text, pytest_benchmark_text

    found = runs_of(measured)
    formats = ((pyperf, pyperf_text), (pytest_benchmark, pytest_benchmark_text))
    return [
        write_atomically(path, text(found).encode()) for path, text in formats if path is not None
    ]
