"""Files of pyperf and pytest-benchmark: the timings of programs, in JSON.

pyperf's format is version 1.0 of its documentation: ``benchmarks``, each with ``runs`` of
processes, whose ``values`` are seconds of a loop, beside ``warmups``. pytest-benchmark's is that of
``--benchmark-json``: ``benchmarks`` with ``stats``, whose ``data``, the seconds of each round, is
there with ``--benchmark-save-data``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latprof._version import __version__
from latprof.common.checked_json import Fields
from latprof.common.short_reprs import ShortRepr
from latprof.datasets.importers.files.reading import read_text
from latprof.errors import DataSetError, shown

_MOST_BYTES = 32 << 20
_MOST_OBJECTS = 100_000
#: Of one process.
_MOST_RUNS = 1_000_000
_SHORTEST_S, _LONGEST_S = 1e-12, 1e6
#: Unix time at the end of the year 9999, the last that a store takes.
_LATEST_S = 253_402_300_799.0


@dataclass(frozen=True, repr=False)
class ProcessRuns(ShortRepr):
    """The timed runs of one process, in milliseconds, and those before that do not count."""

    runs_ms: tuple[float, ...]
    warmups_ms: tuple[float, ...] = ()
    started_at: float = 0.0


@dataclass(frozen=True, repr=False)
class BenchmarkRuns(ShortRepr):
    """One benchmark.

    Parameters
    ----------
    name : str
    processes : tuple of ProcessRuns
    facts : mapping of str to str
        What the file says of it beside its times.
    """

    name: str
    processes: tuple[ProcessRuns, ...]
    facts: Mapping[str, str]


@dataclass(frozen=True, repr=False)
class BenchmarkFile(ShortRepr):
    """What a file holds.

    Parameters
    ----------
    program, version : str
        What wrote it: ``"pyperf"`` or ``"pytest-benchmark"``, and which.
    device_name : str
        The processor, as far as the file says it.
    commit, branch : str
        Of the sources, where the file says it.
    started_at : float
        Unix time in seconds; 0 where it is not known.
    benchmarks : tuple of BenchmarkRuns
    modified : bool
        The sources were not those of the commit.
    """

    program: str
    version: str
    device_name: str
    commit: str
    branch: str
    started_at: float
    benchmarks: tuple[BenchmarkRuns, ...]
    modified: bool = False


def read_benchmark_file(path: str | Path) -> BenchmarkFile:
    """Read a file of either program; raises DataSetError for anything else."""
    try:
        values = json.loads(read_text(path, _MOST_BYTES), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataSetError(f"{path} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise DataSetError(f"{path} holds no benchmarks", expected="an object of JSON")
    fields = Fields(str(path), values, DataSetError)
    found = _of_pytest(fields) if "machine_info" in values else _of_pyperf(fields)
    names = [each.name for each in found.benchmarks]
    if not names or len({*names}) < len(names):
        raise DataSetError(
            f"{path} holds {'two benchmarks of one name' if names else 'no benchmark'}"
        )
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


# pyperf ------------------------------------------------------------------------------------------


def _of_pyperf(fields: Fields) -> BenchmarkFile:
    version = fields.text("version", 40)
    common = _texts(fields.values.get("metadata"))
    found = []
    for each in fields.objects("benchmarks", _MOST_OBJECTS):
        own = common | _texts(each.values.get("metadata"))
        runs = each.objects("runs", _MOST_OBJECTS)
        if runs:
            own |= _texts(runs[0].values.get("metadata"))
        if own.get("unit", "second") != "second":
            raise DataSetError(f"{each.what} is no time", expected="second", got=own["unit"])
        processes = [_pyperf_run(run) for run in runs if run.values.get("values")]
        name = own.pop("name", "")
        if not name or not processes:
            raise DataSetError(f"{each.what} has no name or no values")
        found.append(BenchmarkRuns(name, tuple(processes), own))
    facts = found[0].facts if found else {}
    started = [process.started_at for each in found for process in each.processes]
    return BenchmarkFile(
        "pyperf",
        facts.get("perf_version") or facts.get("pyperf_version") or version,
        facts.get("cpu_model_name") or facts.get("hostname") or "unknown processor",
        facts.get("commit_id", ""),
        facts.get("commit_branch", ""),
        min(filter(None, started), default=0.0),
        tuple(found),
    )


def _pyperf_run(run: Fields) -> ProcessRuns:
    warmups = run.values.get("warmups") or []
    if not isinstance(warmups, list) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in warmups
    ):
        run.wrong("warmups", "pairs of loops and seconds")
    metadata = _texts(run.values.get("metadata"))
    return ProcessRuns(
        _milliseconds(run, "values", run.values.get("values")),
        _milliseconds(run, "warmups", [pair[1] for pair in warmups]) if warmups else (),
        _unix(metadata.get("date", "")),
    )


def _texts(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict):
        return {}
    return {
        _text(key)[:100]: _text(value)[:1000]
        for key, value in metadata.items()
        if isinstance(value, str | int | float)
    }


def _text(value: object) -> str:
    """A value as text that can be written: JSON may hold halves of a character."""
    return str(value)[:1000].encode("utf-8", "backslashreplace").decode()


# pytest-benchmark --------------------------------------------------------------------------------

#: What it writes in the place of a commit or a branch where it knows none.
_NO_COMMIT = ("unversioned", "unknown", "(unknown)", "(detached head)")


def _of_pytest(fields: Fields) -> BenchmarkFile:
    machine = fields.fields("machine_info").values
    commit = _texts(fields.values.get("commit_info"))
    commit = {key: value for key, value in commit.items() if value not in _NO_COMMIT}
    said = _texts(dict(fields.values))
    started_at = _unix(said.get("datetime", ""))
    found = []
    for each in fields.objects("benchmarks", _MOST_OBJECTS):
        stats = each.fields("stats")
        if "data" not in stats.values:
            raise DataSetError(
                f"{each.what} has no single rounds",
                hint="run pytest with --benchmark-save-data, too",
            )
        runs = ProcessRuns(_milliseconds(stats, "data", stats.values["data"]), (), started_at)
        name = each.text("fullname" if "fullname" in each.values else "name", 1000)
        if not name:
            raise DataSetError(f"{each.what} has no name")
        found.append(BenchmarkRuns(name, (runs,), _texts(each.values.get("extra_info"))))
    return BenchmarkFile(
        "pytest-benchmark",
        said.get("version", "unknown")[:40],
        _processor(machine),
        commit.get("id", "")[:64],
        commit.get("branch", "")[:200],
        started_at,
        tuple(found),
        modified=commit.get("dirty") == "True",
    )


def _processor(machine: Mapping[str, Any]) -> str:
    known = {**_texts(machine), **_texts(machine.get("cpu"))}
    names = map(known.get, ("brand_raw", "processor", "machine"))
    return next(filter(None, names), "unknown processor")[:200]


# Both --------------------------------------------------------------------------------------------


def _milliseconds(fields: Fields, name: str, seconds: object) -> tuple[float, ...]:
    if not isinstance(seconds, list) or not 0 < len(seconds) <= _MOST_RUNS:
        fields.wrong(name, f"a list of at most {_MOST_RUNS:,} seconds")
    for value in seconds:
        if type(value) not in (int, float) or not _SHORTEST_S <= value <= _LONGEST_S:
            raise DataSetError(f"{fields.what}: {name} holds no time", got=shown(value, 60))
    return tuple(1e3 * value for value in seconds)


def _unix(text: str) -> float:
    """Unix time of a date from 1970 on; 0 for anything else, which no visit has begun at."""
    try:
        moment = dt.datetime.fromisoformat(text)
        unix_s = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
    return unix_s if 0 <= unix_s <= _LATEST_S else 0.0


def _iso(unix_s: float) -> str:
    return dt.datetime.fromtimestamp(unix_s, dt.UTC).replace(tzinfo=None).isoformat(" ")


def pyperf_text(found: BenchmarkFile) -> str:
    """The file as pyperf reads it: a run for each process, the benchmark's facts beside."""
    texts = {"unit": "second", "cpu_model_name": found.device_name, "commit_id": found.commit}
    document = {
        "version": "1.0",
        "metadata": _metadata(texts | {"commit_branch": found.branch}) | {"loops": 1},
        "benchmarks": [
            {
                "metadata": _metadata(dict(each.facts) | {"name": each.name or "unnamed"}),
                "runs": [*map(_run_for_pyperf, each.processes)],
            }
            for each in found.benchmarks
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _metadata(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts as pyperf takes them: one line each, and none that is empty."""
    lines = {name: " ".join(text.split()) for name, text in texts.items()}
    return {name: line for name, line in lines.items() if line}


def _run_for_pyperf(process: ProcessRuns) -> dict[str, Any]:
    seconds = [ms / 1e3 for ms in process.runs_ms]
    run: dict[str, Any] = {
        "metadata": {
            "date": _iso(process.started_at),
            "duration": sum(seconds) + sum(process.warmups_ms) / 1e3,
        },
        "values": seconds,
    }
    if process.warmups_ms:
        run["warmups"] = [[1, ms / 1e3] for ms in process.warmups_ms]
    return run


def pytest_benchmark_text(found: BenchmarkFile) -> str:
    """The file as pytest-benchmark reads it, with the data of single rounds."""
    document = {
        "machine_info": {"processor": found.device_name, "cpu": {"brand_raw": found.device_name}},
        "commit_info": {"id": found.commit, "branch": found.branch},
        "benchmarks": [*_benchmarks_for_pytest(found.benchmarks)],
        "datetime": _iso(found.started_at),
        "version": f"latprof-{__version__}",
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _benchmarks_for_pytest(benchmarks: Sequence[BenchmarkRuns]) -> Iterator[dict[str, Any]]:
    for each in benchmarks:
        data = [ms / 1e3 for process in each.processes for ms in process.runs_ms]
        yield {
            "group": None,
            "name": each.name,
            "fullname": each.name,
            "params": None,
            "param": None,
            "extra_info": dict(each.facts),
            "options": {"disable_gc": False, "timer": "perf_counter", "warmup": True},
            "stats": _stats(data),
        }


def _stats(data: Sequence[float]) -> dict[str, Any]:
    """What pytest-benchmark states of rounds in seconds, by its own definitions."""
    ordered = sorted(data)
    mean = statistics.fmean(data)
    stddev = statistics.stdev(data) if len(data) > 1 else 0.0
    q1, median, q3 = (
        statistics.quantiles(ordered, n=4, method="inclusive") if len(data) > 1 else ordered * 3
    )
    fence = 1.5 * (q3 - q1)
    inside = [value for value in ordered if q1 - fence <= value <= q3 + fence]
    of_iqr = len(data) - len(inside)
    of_stddev = sum(abs(value - mean) > stddev for value in data)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": of_iqr,
        "stddev_outliers": of_stddev,
        "outliers": f"{of_stddev};{of_iqr}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": 1 / mean,
        "total": math.fsum(data),
        "data": list(data),
        "iterations": 1,
    }
