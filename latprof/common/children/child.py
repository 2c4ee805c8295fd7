"""A child process with pipes, deadlines and bounds, which takes all it started along at its end."""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from latprof.common import telemetry

_KEEPER = str(Path(__file__).with_name("keeper.py"))
_ROOT = str(Path(__file__).parents[3])
#: What an orderly end of the keeper may take, after which it is killed; the child goes with it.
_KEEPER_S = 5.0
_CHUNK = 1 << 16
#: What :meth:`Child.wait` says of an end without a fault.
ENDED_WELL = "ended with status 0"


class Child:
    """A process of ours: a module, or a script by its path, run by this Python.

    It imports nothing from the working directory (``-P``), has the runtimes' telemetry switched
    off (:mod:`latprof.common.telemetry`), a session and a folder for temporary files of its own. It
    ends, with all that it has started and that folder, when :meth:`close` or :meth:`kill` is
    called, and when this process ends in any way, ``kill -9`` included
    (:mod:`latprof.common.children.keeper`). SIGINT is ignored in it.

    Its stdin and stdout are pipes for :meth:`write`, :meth:`read_line` and :meth:`read`, which are
    for one thread at a time. A context manager.

    Parameters
    ----------
    what : str
        A module's name, or the path of a script (``.py``).
    *arguments : str
        ``sys.argv[1:]`` of it.
    stderr : file, optional
        Where its stderr goes; nowhere unless given.
    environment : mapping, optional
        Variables beside those of this process.
    bare : bool
        With nothing but the standard library (``-I -S``); for a script.

    Raises
    ------
    OSError
        Where the system has no process left to give.
    """

    def __init__(
        self,
        what: str,
        *arguments: str,
        stderr: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        bare: bool = False,
    ) -> None:
        self._lifeline, theirs = socket.socketpair()
        folder, self._buffer = _temporary_folder(), bytearray()
        try:
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - this Python, and a file of ours
                    [
                        *(sys.executable, "-P", *(("-I", "-S") if bare else ()), _KEEPER),
                        *(str(theirs.fileno()), str(os.getpid()), folder, "" if bare else _ROOT),
                        *(what, *arguments),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL if stderr is None else stderr,
                    env=_environment(environment or {}),
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    bufsize=0,
                )
        except BaseException:
            self._lifeline.close()
            if folder:
                Path(folder).rmdir()
            raise
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)
        self._pid: int | None = None
        _ALIVE.add(self)

    @property
    def pid(self) -> int:
        """The child's process id, for as long as it lives; waits until it has started."""
        if self._pid is None:
            with self._lifeline.makefile("rb") as told:
                # A child that could not start: the keeper's, which has ended or is about to.
                self._pid = int(told.readline() or self._process.pid)
        return self._pid

    def write(self, content: bytes, timeout_s: float) -> None:
        """Write all of ``content`` to its stdin.

        Raises TimeoutError after so many seconds, BrokenPipeError where it has ended or closed it.
        """
        deadline = time.monotonic() + timeout_s
        view = memoryview(content)
        while view:
            _wait_for(self._stdin, selectors.EVENT_WRITE, deadline)
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(self._stdin.fileno(), view) :]

    def read_line(self, timeout_s: float, most: int) -> bytes:
        """The next line of its stdout, without the line's end.

        Raises TimeoutError after so many seconds, ValueError for a line of more than ``most``
        bytes, EOFError where it has ended or closed its stdout.
        """
        deadline = time.monotonic() + timeout_s
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > most:
                break
            self._fill(deadline)
        if not 0 <= end <= most:
            raise ValueError(f"a line of more than {most} bytes")
        return self._take(end, 1)

    def read(self, size: int, timeout_s: float) -> bytes:
        """The next ``size`` bytes of its stdout; raises TimeoutError and EOFError as above."""
        deadline = time.monotonic() + timeout_s
        while len(self._buffer) < size:
            self._fill(deadline)
        return self._take(size, 0)

    def read_all(self, timeout_s: float, most: int) -> bytes:
        """All that comes until it closes its stdout; raises TimeoutError, ValueError as above."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(EOFError):
            while len(self._buffer) <= most:
                self._fill(deadline)
            raise ValueError(f"an answer of more than {most} bytes")
        return self._take(len(self._buffer), 0)

    def end_input(self) -> None:
        """Close its stdin."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def wait(self, timeout_s: float) -> str | None:
        """Wait for its end: "ended with status 1", "was killed by SIGSEGV"; None after so long."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        if code >= 0:
            return f"ended with status {code}"
        with contextlib.suppress(ValueError):  # a signal without a name
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"

    def close(self, grace_s: float = 0.0) -> None:
        """Close its stdin, wait so long for its end, and kill what is left."""
        self.end_input()
        if grace_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        self.kill()

    def begin_to_kill(self) -> None:
        """Have it killed, as :meth:`kill` does; do not wait for it."""
        self._lifeline.close()

    def kill(self) -> None:
        """Kill it and everything it started, at once; no harm where it has ended."""
        self.begin_to_kill()
        try:
            self._process.wait(_KEEPER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.end_input()
        self._stdout.close()
        _ALIVE.discard(self)

    def __del__(self) -> None:
        if self in _ALIVE:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def _fill(self, deadline: float) -> None:
        _wait_for(self._stdout, selectors.EVENT_READ, deadline)
        try:
            chunk = os.read(self._stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            raise EOFError
        self._buffer += chunk

    def _take(self, size: int, skip: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[: size + skip]
        return taken


_ALIVE: weakref.WeakSet[Child] = weakref.WeakSet()


def kill_all() -> None:
    """Kill every child of this process, and wait for their end."""
    alive = list(_ALIVE)
    for child in alive:
        child.begin_to_kill()
    for child in alive:
        child.kill()


atexit.register(kill_all)


def _wait_for(pipe: IO[bytes], event: int, deadline: float) -> None:
    if pipe.closed:
        raise BrokenPipeError
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError


def _temporary_folder() -> str:
    try:
        return tempfile.mkdtemp(prefix="latprof-")
    except OSError:  # there is no place for any: the child may need none
        return ""


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a child; Python's own there and in what it starts."""
    found = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1", **more}
    telemetry.switch_off(found, whatever_is_set=True)
    # An empty entry is the working directory, and mostly an accident of `$PYTHONPATH:/a/folder`.
    path = [entry for entry in found.get("PYTHONPATH", "").split(os.pathsep) if entry]
    found["PYTHONPATH"] = os.pathsep.join(path)
    return found
