"""A bench in a process of its own, which may crash or hang without taking the campaign along."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from latprof.common.limits import Limit
from latprof.errors import (
    DeviceError,
    MeasurementTimeoutError,
    RuntimeFailedError,
)
from latprof.measurement.records import (
    Failure,
    KernelProfile,
    KernelTime,
    PairedProtocol,
    PairedSamples,
)
from latprof.profilers.runtimes.cuda.nvml import WORKER
from latprof.profilers.visits.measurer import Visit

if TYPE_CHECKING:
    from latprof.profilers.base import RunOptions
    from latprof.profilers.visits.network_source import Network

#: A visit that takes longer is given up, in seconds.
DEFAULT_TIMEOUT_S = 300.0
#: Longer than any visit, and what the operating system can wait for.
MAX_TIMEOUT_S = 1e6


def check_timeout(timeout_s: float) -> None:
    """Raise InvalidValueError unless ``timeout_s`` can be waited for."""
    Limit(0, MAX_TIMEOUT_S, open_low=True).check("timeout", timeout_s)


class RemoteBench:
    """Visits networks in a measuring process; satisfies ``Measurer``.

    The process starts at the first visit, and afresh after it crashed or was given up. A crash, a
    hang and a refusal are all values in the result.

    Parameters
    ----------
    target : str
        A target's short spelling.
    options : RunOptions
    reference : Network
        The target's reference network.
    protocol : PairedProtocol
    timeout_s : float
        Longest time for one visit.
    reference_runs : int, optional
        See :class:`latprof.profilers.visits.measurer.Bench`.
    """

    def __init__(
        self,
        target: str,
        options: RunOptions,
        reference: Network,
        protocol: PairedProtocol,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        reference_runs: int | None = None,
    ) -> None:
        check_timeout(timeout_s)
        self._configuration = {
            "target": target,
            "options": options.to_dict(),
            "reference": reference.to_dict(),
            "protocol": protocol.to_dict(),
            "host": platform.node(),
            "reference_runs": reference_runs,
        }
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._buffer = b""
        self._owed = 0  # answers that are still to come and that nobody waits for

    def expect(self, networks: Sequence[Network]) -> None:
        """Nothing: one process does one thing after the other."""

    def start(self) -> None:
        """Start the process unless there is one; do not wait for it."""
        with self._starting_over():
            if self._process is None:
                self._start()

    def await_start(self) -> None:
        """Wait until the process is ready."""
        with self._starting_over():
            self._collect_answers()

    def prepare(self, network: Network) -> None:
        """Have the process do ``Bench.prepare``; do not wait for it."""
        self.start()
        with self._starting_over():
            self._send({"do": "prepare", "network": network.to_dict()})
            self._owed += 1

    @contextlib.contextmanager
    def _starting_over(self) -> Iterator[None]:
        """A process that cannot be asked is ended; the next visit starts one, and tells why not."""
        try:
            yield
        except (DeviceError, MeasurementTimeoutError):
            self.close()

    def visit(self, network: Network) -> Visit:
        started_at, start = time.time(), time.perf_counter()
        answer = self._ask({"do": "visit", "network": network.to_dict()})
        wall_s = time.perf_counter() - start
        failure = _failure(answer)
        samples = None
        if failure is None:
            samples = PairedSamples.from_dict(answer["samples"])
        return Visit(
            started_at=answer.get("started_at", started_at),
            wall_s=answer.get("wall_s", wall_s),
            load_s=answer.get("load_s", 0.0),
            process=answer.get("process", ""),
            samples=samples,
            failure=failure,
            conditions=answer.get("conditions", {}),
        )

    def profile(self, network: Network) -> KernelProfile | Failure:
        answer = self._ask({"do": "kernels", "network": network.to_dict()})
        failure = _failure(answer)
        if failure is not None:
            return failure
        values = answer["profile"]
        return KernelProfile(
            tuple(map(_kernel, values["kernels"])),
            PairedSamples.from_dict(values["samples"]),
            values["started_at"],
            values["process"],
        )

    def close(self) -> None:
        """End the process, at once if it is in the middle of something."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self._log.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if self._process is None:
                self._start()
            self._collect_answers()
            self._send(request)
            return self._receive()
        except (DeviceError, MeasurementTimeoutError) as error:
            self.close()
            return {"failure": [error.code, str(error)]}

    def _collect_answers(self) -> None:
        while self._owed:
            answer = self._receive()
            self._owed -= 1
            if "failure" in answer:
                raise DeviceError(f"the measuring process cannot start: {answer['failure'][1]}")

    def _start(self) -> None:
        self._buffer, self._owed = b"", 1  # it says when it is ready
        self._log.seek(0)
        self._log.truncate()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
        self._send(self._configuration)

    def _send(self, values: Mapping[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(values).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._death() from None

    def _receive(self) -> dict[str, Any]:
        """Wait for one line, at most the time-out."""
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + self._timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise MeasurementTimeoutError(
                        f"the visit took longer than {self._timeout_s:g} s",
                        hint="allow more with --timeout",
                    )
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    raise self._death()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _death(self) -> RuntimeFailedError:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with status {code}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:300]}" if lines else ""
        return RuntimeFailedError(f"the measuring process {how}{said}")


def _failure(answer: Mapping[str, Any]) -> Failure | None:
    return Failure(*answer["failure"]) if "failure" in answer else None


def _kernel(values: Mapping[str, Any]) -> KernelTime:
    def shapes(name: str) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(shape) for shape in values[name])

    return KernelTime(
        position=values["position"],
        kind=values["kind"],
        name=values["name"],
        operators=tuple(values["operators"]),
        latency_ms=values["latency_ms"],
        input_shapes=shapes("input_shapes"),
        output_shapes=shapes("output_shapes"),
    )
