"""A measurer in a process of its own, which may crash or hang without ending the campaign."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from latprof.common.checked_json import MOST_JSON_BYTES, Fields
from latprof.common.children.child import Child
from latprof.common.limits import TIMEOUT
from latprof.errors import (
    DeviceError,
    InvalidValueError,
    MeasurementTimeoutError,
    RuntimeFailedError,
    error_from_code,
)
from latprof.measurement.records import KernelProfile, PairedProtocol
from latprof.measurement.visits import Failure, Visit
from latprof.profilers.base import WORKER_MODULE
from latprof.profilers.visits.sending import sent

if TYPE_CHECKING:
    from latprof.profilers.base import MeasuringHost, RunOptions
    from latprof.profilers.visits.network_source import NetworkSource

#: A visit that takes longer is given up, in seconds.
DEFAULT_TIMEOUT_S = 300.0
_Answer = TypeVar("_Answer")
#: Failures of the device itself: it would fail the next network too.
GONE = frozenset({"device-offline", "unauthorized", "device-full"})
#: What ends a measuring process; the next visit starts another.
_ENDINGS = (DeviceError, MeasurementTimeoutError)
#: Read of what a process that died had printed: its end.
_LOG_BYTES = 1 << 16


def check_timeout(timeout_s: float) -> None:
    """Raise InvalidValueError unless ``timeout_s`` can be waited for."""
    TIMEOUT.check("timeout", timeout_s)


class ProcessMeasurer:
    """Visits networks in a measuring process; satisfies ``Measurer``.

    The process starts at the first visit, and afresh after it crashed or was given up. A crash, a
    hang and a refusal are all values in the result.

    Parameters
    ----------
    target : str
        A target's short spelling.
    options : RunOptions
    reference : NetworkSource
        The target's reference network.
    protocol : PairedProtocol
    reference_runs : mapping of str to int, optional
        See :class:`latprof.profilers.visits.measurer.InProcessMeasurer`.
    timeout_s : float
        Longest time for one visit, without what the device had to be waited for.
    on_wait : callable, optional
        Takes what the process says that it waits for.
    elsewhere : MeasuringHost, optional
        The computer that the process runs on, where it is not this one. Files that it needs are
        sent there once; the times of its visits are by the clock here.
    """

    def __init__(
        self,
        target: str,
        options: RunOptions,
        reference: NetworkSource,
        protocol: PairedProtocol,
        reference_runs: Mapping[str, int] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        *,
        on_wait: Callable[[str], None] = lambda _waiting: None,
        elsewhere: MeasuringHost | None = None,
    ) -> None:
        check_timeout(timeout_s)
        self._on_wait, self._elsewhere = on_wait, elsewhere
        self._sent: set[str] = set()  # names of files that a process elsewhere has
        self._following: Sequence[NetworkSource] = ()
        self._configuration = {
            "target": target if elsewhere is None else elsewhere.target,
            "options": options.to_dict(),
            "reference": reference.to_dict(),
            "protocol": protocol.to_dict(),
            "host": platform.node() if elsewhere is None else elsewhere.name,
            "reference_runs": dict(reference_runs or {}),
        }
        self._batch_size = options.batch_size
        self._timeout_s = timeout_s
        self._process: Child | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._owed = 0  # answers that are still to come

    @property
    def pid(self) -> int | None:
        """The process's id; None where none runs."""
        return None if self._process is None else self._process.pid

    def expect(self, networks: Sequence[NetworkSource]) -> None:
        """Remember what the process is told of, for when it has to wait for its device."""
        self._following = networks

    def start(self) -> None:
        """Start the process unless there is one; do not wait for it."""
        with self._starting_over():
            if self._process is None:
                self._start()

    def await_start(self) -> None:
        """Wait until the process is ready."""
        with self._starting_over():
            self._collect_answers()

    def prepare(self, network: NetworkSource) -> None:
        """Have the process do ``Bench.prepare``; do not wait for it."""
        self.start()
        with self._starting_over():
            self._send({"do": "prepare"}, self._told(network))

    @contextlib.contextmanager
    def _starting_over(self) -> Iterator[None]:
        """A process that cannot be asked is ended; the next visit starts one, and tells why not."""
        try:
            yield
        except _ENDINGS:
            self.close()

    def visit(self, network: NetworkSource) -> Visit:
        started_at, start = time.time(), time.perf_counter()
        try:
            visit = self._ask("visit", network, _visit)
            if self._elsewhere is None:
                return visit
            return dataclasses.replace(visit, started_at=time.time() - visit.wall_s)
        except _ENDINGS as error:
            return Visit.failed(error, started_at, time.perf_counter() - start)

    def profile(self, network: NetworkSource) -> KernelProfile | Failure:
        started_at = time.time()
        try:
            found = self._ask("kernels", network, _kernels)
        except _ENDINGS as error:
            return Failure.of(error)
        if self._elsewhere is None or isinstance(found, Failure):
            return found
        return dataclasses.replace(found, started_at=started_at)

    def close(self) -> None:
        """End the process and all it started, at once if it is in the middle of something."""
        process, self._process = self._process, None
        if process is not None:
            process.close(grace_s=0.0 if self._owed else 0.5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self._log.close()

    def _ask(self, what: str, network: NetworkSource, read: Callable[[Fields], _Answer]) -> _Answer:
        """The process's answer; raises what ended it, one of ``_ENDINGS``."""
        told = self._told(network)  # what cannot be built ends no process
        try:
            if self._process is None:
                self._start()
            self._collect_answers()
            # What lies here cannot be fetched ahead from elsewhere.
            following = [] if self._elsewhere else [each.to_dict() for each in self._following]
            self._send({"do": what, "following": following}, told)
            return read(self._receive())
        except InvalidValueError as error:  # what a profiler of another package may bring
            self.close()
            raise RuntimeFailedError(
                f"the measuring process gave no usable answer: {error}"
            ) from None
        except _ENDINGS:
            self.close()
            raise

    def _told(self, network: NetworkSource) -> tuple[dict[str, Any], bytes]:
        """A network as it is handed over, with the files that a process elsewhere lacks."""
        if self._elsewhere is None:
            return network.handed_over(self._batch_size)
        if self._process is None:
            self._sent.clear()
        values, content, names = sent(network, self._batch_size, self._sent)
        self._sent.update(names)  # where they do not arrive, the process ends
        return values, content

    def _collect_answers(self) -> None:
        while self._owed:
            answer = self._receive()
            if "failure" in answer.values:
                why = _failure(answer)
                message = f"the measuring process cannot start: {why.message}"
                error = error_from_code(why.code, message)
                raise error if why.code in GONE else DeviceError(message)

    def _start(self) -> None:
        self._log.seek(0)
        self._log.truncate()
        if self._elsewhere is not None:
            self._process = self._elsewhere.start(self._log, self._timeout_s)
        else:
            try:
                self._process = Child(WORKER_MODULE, stderr=self._log)
            except OSError as error:
                raise DeviceError(f"the measuring process cannot start: {error.strerror}") from None
        self._owed = 0
        self._send(self._configuration)  # it says when it is ready

    def _send(
        self, values: Mapping[str, Any], told: tuple[dict[str, Any], bytes] | None = None
    ) -> None:
        """Write one request; ``told`` is a network as it is handed over."""
        assert self._process is not None
        content = b""
        if told is not None:
            network, content = told
            values = {**values, "network": network}
        with self._translated():
            self._process.write(json.dumps(values).encode() + b"\n" + content, self._timeout_s)
        self._owed += 1

    def _receive(self) -> Fields:
        """Wait for one answer, at most the time-out after each line that says why it takes long."""
        assert self._process is not None
        while True:
            with self._translated():
                line = self._process.read_line(self._timeout_s, MOST_JSON_BYTES)
                values = json.loads(line)
            waiting = values.get("waiting") if isinstance(values, dict) else None
            if not isinstance(waiting, str):
                break
            self._on_wait(waiting)
        self._owed -= 1
        return Fields("answer", values if isinstance(values, dict) else {}, InvalidValueError)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what becomes of a pipe into one of ``_ENDINGS``."""
        try:
            yield
        except TimeoutError:
            raise MeasurementTimeoutError(
                f"the visit took longer than {self._timeout_s:g} s",
                hint="allow more with --timeout",
            ) from None
        except (EOFError, OSError):
            raise self._death() from None
        except (ValueError, RecursionError):
            raise RuntimeFailedError("the measuring process gave no usable answer") from None

    def _death(self) -> DeviceError:
        assert self._process is not None
        if self._elsewhere is not None:
            return self._elsewhere.lost(self._process, self._log)
        how = self._process.wait(5.0) or "closed its output"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_BYTES))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:300]}" if lines else ""
        return RuntimeFailedError(f"the measuring process {how}{said}")


def _visit(answer: Fields) -> Visit:
    return Visit.from_dict(answer.fields("visit").values)


def _kernels(answer: Fields) -> KernelProfile | Failure:
    if "failure" in answer.values:
        return _failure(answer)
    return KernelProfile.from_dict(answer.fields("profile").values)


def _failure(answer: Fields) -> Failure:
    return Failure.from_dict(answer.fields("failure").values)
