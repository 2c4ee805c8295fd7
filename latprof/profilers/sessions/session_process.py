"""A session of a model in a process of its own, as its starter sees it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from latprof.common.checked_json import MOST_JSON_BYTES, Fields
from latprof.common.children.child import Child
from latprof.errors import (
    DeviceError,
    InvalidValueError,
    LatprofError,
    MeasurementTimeoutError,
    RuntimeFailedError,
)
from latprof.measurement.visits import Failure
from latprof.profilers.sessions.load_figures import LoadFigures
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from latprof.profilers.base import RunOptions
    from latprof.profilers.visits.network_source import NetworkSource

_WORKER = "latprof.profilers.sessions.session_worker"


class SessionProcess:
    """One process with one session; a context manager.

    Parameters
    ----------
    target : str
        A target's short spelling.
    options : RunOptions
    network : NetworkSource
    timeout_s : float
        Longest time for loading and the first inference.

    Raises
    ------
    DeviceError
        Where the system has no process left to give.
    """

    def __init__(
        self,
        target: str,
        options: RunOptions,
        network: NetworkSource,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._timeout_s = timeout_s
        told, content = network.handed_over(options.batch_size)
        try:
            self._child = Child(_WORKER)
        except OSError as error:
            raise DeviceError(f"a session's process cannot start: {error.strerror}") from None
        self._send({"target": target, "options": options.to_dict(), "network": told}, content)

    def load(self) -> LoadFigures:
        """Wait until the model is loaded and ran; raises what the runtime said otherwise."""
        return LoadFigures.of(self._receive(self._timeout_s).values)

    def begin(self, start_s: float, end_s: float) -> None:
        """Have the model run between two moments of :func:`time.monotonic`."""
        self._send({"start_s": start_s, "end_s": end_s})

    def runs_ms(self, timeout_s: float) -> list[float]:
        """The durations of the runs that :meth:`begin` asked for."""
        values = self._receive(timeout_s).values.get("runs_ms")
        if not isinstance(values, list) or not all(
            type(v) in (int, float) and v > 0 for v in values
        ):
            raise RuntimeFailedError("a session gave no usable answer")
        return [float(value) for value in values]

    def close(self) -> None:
        """End the process."""
        self._child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _send(self, values: Mapping[str, Any], content: bytes = b"") -> None:
        with self._translated():
            self._child.write(json.dumps(values).encode() + b"\n" + content, self._timeout_s)

    def _receive(self, timeout_s: float) -> Fields:
        with self._translated():
            values = json.loads(self._child.read_line(timeout_s, MOST_JSON_BYTES))
        answer = Fields("answer", values if isinstance(values, dict) else {}, InvalidValueError)
        if "failure" in answer.values:
            raise Failure.from_dict(answer.fields("failure").values).error()
        return answer

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise MeasurementTimeoutError(
                f"loading the model took longer than {self._timeout_s:g} s",
                hint="allow more with --timeout",
            ) from None
        except (EOFError, OSError):
            how = self._child.wait(5.0) or "closed its output"
            raise RuntimeFailedError(f"a session's process {how}") from None
        except (ValueError, RecursionError):
            raise RuntimeFailedError("a session gave no usable answer") from None


def load_figures(
    target: str, options: RunOptions, network: NetworkSource, timeout_s: float = DEFAULT_TIMEOUT_S
) -> LoadFigures:
    """What loading a network and its first inference cost, in a fresh process.

    Figures without numbers where that fails: the visits say why.
    """
    try:
        with SessionProcess(target, options, network, timeout_s) as session:
            return session.load()
    except LatprofError:
        return LoadFigures()
