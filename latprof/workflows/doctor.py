"""What spoils timings on this host or a phone, and what a target or a store lacks."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_FINDING, EXIT_OK, UnknownNameError, UsageError

if TYPE_CHECKING:
    from latprof.profilers.host.checks import Check
    from latprof.workflows.arguments import PathLike

#: Longest time for the run of a small network, compilation included, in seconds.
_TRIAL_S = 120.0
#: What it means that a row number was given and is of no row.
_UNUSED = "rows were lost before a repair, or another program has deleted some and counted anew"


@dataclass(frozen=True, repr=False)
class DoctorResult(ShortRepr):
    """What was checked, on this host or in a store.

    ``checks`` are records with ``name``, ``status`` (``"OK"``, ``"WARN"``: timings are noisier than
    need be, or ``"FAIL"``: do not trust them), ``finding`` and ``remedy``.
    """

    checks: tuple[Check, ...]

    @property
    def exit_status(self) -> int:
        """1 where a check fails, else 0."""
        return EXIT_FINDING if any(c.status == "FAIL" for c in self.checks) else EXIT_OK

    def to_dict(self) -> list[dict[str, Any]]:
        """Return the checks as plain JSON values."""
        return [dataclasses.asdict(check) for check in self.checks]


def doctor(
    store: PathLike | None = None,
    *,
    repair: PathLike | None = None,
    record: PathLike | None = None,
    target: str | None = None,
) -> DoctorResult:
    """Find what spoils timings on this host or a phone, or what a target or a store lacks.

    Entry points of other packages whose names are taken are found too.

    Parameters
    ----------
    store : path or URL, optional
        The store whose file and rows are all checked; the host is not checked then. Or a phone, as
        ``"adb:SERIAL"``, or ``"adb"`` where one is there; nothing is changed on it.
    repair : path, optional
        A new file: all that is whole in the store is saved into it. The store itself is only read.
    record : path, optional
        A zip file into which a phone's raw answers are written, without its serial.
    target : str, optional
        A target's spelling: its runtime, version and device are checked too, and a small network is
        run on it. Of a target elsewhere (a phone, a computer over SSH) that is checked in place of
        this host.

    Raises
    ------
    StoreError
        Where ``store`` is no store at all.
    UnknownNameError
        For a target that does not exist.
    OutputPathError
        Where ``repair`` is there already or cannot be written, or ``record`` cannot.
    UsageError, DeviceOfflineError, DeviceUnauthorizedError, MeasurementTimeoutError
        Where the phone cannot be reached.
    """
    if store is not None and target is not None:
        raise UsageError(
            "a store or a target is checked, not both", field="target", hint="name one of them"
        )
    serial = _serial_in(store if target is None else target)
    if record is not None and serial is None:
        raise UsageError("`record` is for a phone", field="record", hint="name it: adb:SERIAL")
    if serial is not None:
        if repair is not None:
            raise UsageError("`repair` is for a store", field="repair", hint="leave it out")
        found = _phone_checks(serial, record)
        more = () if target is None else _target_checks(target)
        return DoctorResult((*more, *found.checks))
    if store is not None:
        return _store_checks(os.fspath(store), repair)
    if repair is not None:
        raise UsageError("`repair` is for a store", field="repair", hint="name the store first")
    from latprof.profilers.host.checks import Check
    from latprof.registry import entry_point_problems

    taken = [
        Check("other packages", "WARN", problem.problem, problem.hint or "")
        for problem in entry_point_problems()
    ]
    first = [] if target is None else _target_checks(target)
    failed = any(check.status == "FAIL" for check in first[:1])
    return DoctorResult((*first, *_host_checks(None if failed else target), *taken))


def _host_checks(target: str | None) -> list[Check]:
    """Of the computer that the target's measuring processes run on."""
    from latprof.profilers.base import RunOptions
    from latprof.profilers.host.checks import Check, run_checks
    from latprof.profilers.targets import profiler_class

    profiler = None if target is None else profiler_class(target)(RunOptions())
    if profiler is None or profiler.measuring_host is None:
        return [*run_checks()]
    return [Check(**each) for each in profiler.surroundings()["checks"]]


def is_target(text: str) -> bool:
    """Whether ``doctor`` takes a word for a target: it is one's spelling, and no file."""
    from latprof.common.files import what_is_at
    from latprof.profilers.targets import profiler_class

    if "://" in text or what_is_at(Path(text)):
        return False
    try:
        profiler_class(text)
    except UnknownNameError:
        device = text.partition(":")[0]
        return device in {"cpu", "cuda", "ssh", "tvm-rpc"} and Path(text).suffix != ".db"
    return True


def _target_checks(target: str) -> list[Check]:
    """What is installed, what it is, and whether it runs a small network."""
    from latprof.profilers.base import RunOptions
    from latprof.profilers.host.checks import Check
    from latprof.profilers.targets import profiler_class

    kind = profiler_class(target)
    found = kind.availability()
    if found.state != "ready":
        return [Check(target, "FAIL", found.detail, found.remedy)]
    identity = kind(RunOptions()).target(None)
    checks = [
        Check(target, "OK", f"{identity.runtime} {identity.runtime_version}"),
        Check("device", "OK", identity.device_name),
        Check("dtypes", "OK", ", ".join(kind.precisions)),
    ]
    return [*checks, _trial(target)]


def _trial(target: str) -> Check:
    """One visit to a small network, in a measuring process."""
    from latprof.datasets.spaces.proxyless import ProxylessSpace
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.base import RunOptions
    from latprof.profilers.host.checks import Check
    from latprof.profilers.visits.measurers import measurers
    from latprof.profilers.visits.network_source import NetworkSource

    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
    network = NetworkSource.of_architecture(space, space.sample(1)[0])
    protocol = PairedProtocol(rounds=1, burst_ms=1.0, reference_loads=1)
    with (
        measurers(target, RunOptions(), network, protocol, timeout_s=_TRIAL_S) as make,
        make({}) as measurer,
    ):
        visit = measurer.visit(network)
    if visit.failure is not None:
        return Check("a run", "FAIL", visit.failure.message, "")
    return Check("a run", "OK", f"a small network was loaded and run in {visit.wall_s:.1f} s")


def _serial_in(store: PathLike | None) -> str | None:
    """The serial of ``adb:SERIAL``, empty for ``adb``; None for what names no phone."""
    text = "" if store is None else os.fspath(store)
    if text == "adb" or text.startswith("adb:"):
        serial = text.removeprefix("adb").removeprefix(":")
        device, _, last = serial.rpartition(":")
        # A target, as `devices` lists it, names a runtime too.
        return device if last in {"litert", "onnxruntime", "benchmark-model"} else serial
    return None


def _phone_checks(serial: str, record: PathLike | None) -> DoctorResult:
    from latprof.common.files import check_output
    from latprof.profilers.runtimes.android.checkup.connection import check_phone
    from latprof.profilers.runtimes.android.checkup.phone_recording import write_recording

    if record is not None:
        check_output(record)
    found, checks = check_phone(serial)
    if record is not None:
        write_recording(record, found)
    return DoctorResult(tuple(checks))


def _store_checks(store: str, repair: PathLike | None) -> DoctorResult:
    """One check a table, and one of the file."""
    from latprof.measurement.store.salvage import inspect_store, save_whole_rows
    from latprof.profilers.host.checks import Check

    state = inspect_store(store) if repair is None else save_whole_rows(store, os.fspath(repair))
    remedy = f"latprof doctor {state.location} --repair NEW.db saves what is whole into a new file"
    if repair is not None:
        remedy = f"lost; {repair} has the rest"
    known = "every row has a checksum" if state.version > 1 else "rows have no checksums yet"
    checks = [Check("file", "OK", f"version {state.version}: {known}", "")]
    checks += [Check("file", "FAIL", finding, remedy) for finding in state.file]
    for table in state.tables:
        name = f"table {table.name}"
        if table.is_whole and table.unused:
            found = f"{table.whole} rows, all whole; {table.unused} row numbers are of no row"
            checks.append(Check(name, "WARN", found, _UNUSED))
            continue
        if table.is_whole:
            checks.append(Check(name, "OK", f"{table.whole} rows, all whole", ""))
            continue
        found = f"{table.whole} rows are whole, {table.damaged} damaged, {table.missing} missing"
        text = "; ".join((found, *table.findings))
        checks.append(Check(name, "FAIL", text, remedy))
    return DoctorResult(tuple(checks))
