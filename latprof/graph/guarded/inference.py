"""onnx's shape inference and inliner in guarded children: what kills them is an error here.

87 bytes can ask shape inference for all memory, and 173 make onnx abort its process. A child is
started early, answers one request at a time, and is kept for the next; as many are kept as threads
asked at once, up to a few. It dies with this process, and another takes its place when it dies.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from latprof.errors import ModelFileError, RuntimeFailedError, UnknownCostsError
from latprof.graph.guarded.inferring_process import (
    ANSWER,
    DONE,
    INFER,
    INLINE,
    OUT_OF_MEMORY,
    REFUSED,
    REQUEST,
)

#: CPU time that the inferences of one model may take together.
CPU_SECONDS = 6.0
#: Memory of a request beyond the model: its bytes times the first, and the second.
_MEMORY_FACTOR, _MEMORY_BYTES = 12, 200 << 20
_WALL_SECONDS = 60.0
_END_SECONDS = 2.0
_KEPT = 4
_PIECE = 1 << 20
_CODE = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from latprof.graph.guarded.inferring_process import main; main(sys.argv[2], int(sys.argv[3]))"
)


@dataclass
class Allowance:
    """CPU time that is left to the requests about one model."""

    cpu_seconds: float = CPU_SECONDS


def start_early() -> None:
    """Start a child for the first model that will be read, unless one waits; never raises."""
    with contextlib.suppress(RuntimeFailedError):
        _pool.give_back(_pool.take())


def inferred(data: bytes, label: str, allowance: Allowance) -> bytes:
    """Infer a serialised model's shapes, with data propagation.

    Returns a serialised model with nothing but its graph's inputs, outputs and values. Raises
    UnknownCostsError where onnx refuses, ModelFileError where it crashes or takes too much, and
    RuntimeFailedError where no process can be started.
    """
    problem = f"{label}: shapes cannot be inferred"
    done, answer = _ask(INFER, data, problem, allowance)
    if not done:
        raise UnknownCostsError(f"{problem}: {_reason(answer)}")
    return answer


def inlined(data: bytes, label: str) -> bytes:
    """Write a serialised model's functions out in its graph; ModelFileError where onnx refuses."""
    problem = f"{label} has functions that cannot be written out"
    done, answer = _ask(INLINE, data, problem, Allowance())
    if not done:
        raise ModelFileError(f"{problem}: {_reason(answer)}")
    return answer


def _reason(answer: bytes) -> str:
    return " ".join(answer.decode(errors="replace").split())[:300]


def _ask(what: int, data: bytes, problem: str, allowance: Allowance) -> tuple[bool, bytes]:
    """Whether a child did what was asked, with the model that came of it or onnx's reason."""
    while True:
        child = _pool.take()
        fresh = not child.answered
        try:
            status, content = child.ask(what, data, allowance)
        except _EndedError as error:
            _pool.end(child)
            if error.may_be_chance and not fresh:
                continue  # it may have died while it waited
            raise ModelFileError(f"{problem}: {error}", hint="the file may be damaged") from None
        except BaseException:
            _pool.end(child)
            raise
        if status == OUT_OF_MEMORY:
            _pool.end(child)
            raise ModelFileError(f"{problem}: it would take too much memory")
        _pool.give_back(child)
        return status == DONE, content


class _EndedError(Exception):
    """A child has ended, or was given up, before it answered."""

    def __init__(self, reason: str, *, may_be_chance: bool = False) -> None:
        super().__init__(reason)
        self.may_be_chance = may_be_chance


class _Child:
    """A running child, used by one thread at a time."""

    def __init__(self) -> None:
        self.answered = 0
        root = str(Path(__file__).parents[3])
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-S", "-c", _CODE, root, _extension(), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
                process_group=0,  # a terminal's Ctrl-C is the parent's to answer
            )
        except (OSError, ValueError, TypeError) as error:
            raise RuntimeFailedError(
                f"no process can be started to read models in: {error}",
                hint=f"see that {sys.executable!r} is Python, and how many processes are allowed",
            ) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet; one that has is reaped."""
        return self._process.poll() is None

    def ask(self, what: int, data: bytes, allowance: Allowance) -> tuple[int, bytes]:
        """Status and content of the answer; raises _EndedError without one."""
        deadline = time.monotonic() + _WALL_SECONDS
        if allowance.cpu_seconds <= 0:
            raise _EndedError(f"it takes more than {CPU_SECONDS:g} s")
        memory = _MEMORY_FACTOR * len(data) + _MEMORY_BYTES
        self._write(REQUEST.pack(what, memory, allowance.cpu_seconds, len(data)), deadline)
        self._write(data, deadline)
        status, seconds, length = ANSWER.unpack(self._read(ANSWER.size, deadline))
        if status not in {DONE, REFUSED, OUT_OF_MEMORY} or length > 4 * len(data) + _PIECE * 16:
            raise _EndedError("the answer is too long")
        content = self._read(length, deadline)
        allowance.cpu_seconds -= max(seconds, 0.0)
        self.answered += 1
        return status, content

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._stdin.fileno(), select.POLLOUT, deadline)
            try:
                view = view[os.write(self._stdin.fileno(), view[:_PIECE]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._ended() from None

    def _read(self, length: int, deadline: float) -> bytes:
        parts, left = [], length
        while left:
            self._wait(self._stdout.fileno(), select.POLLIN, deadline)
            try:
                part = os.read(self._stdout.fileno(), min(left, _PIECE))
            except BlockingIOError:
                continue
            if not part:
                raise self._ended()
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        waiter = select.poll()
        waiter.register(descriptor, event)
        if not waiter.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise _EndedError(f"it takes more than {_WALL_SECONDS:g} s")

    def _ended(self) -> _EndedError:
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return _EndedError("the process that reads models closed its pipes")
        if status == -signal.SIGXCPU:
            return _EndedError(f"it takes more than {CPU_SECONDS:g} s")
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return _EndedError(f"onnx crashed ({name})", may_be_chance=True)

    def close(self) -> None:
        """Close its pipes, on which it ends by itself."""
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def end(self, *, kill: bool) -> None:
        """See that it has ended and is reaped."""
        self.close()
        if not kill:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
                return
        self._process.kill()
        self._process.wait()

    def disown(self) -> None:
        """After a fork: it is the parent's child, and not this process's."""
        self.close()
        self._process.returncode = 0


class _Pool:
    """Children that wait for a model, and all that run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Child] = []
        self._all: set[_Child] = set()

    def take(self) -> _Child:
        """A child that waits, or a new one."""
        while True:
            with self._lock:
                child = self._waiting.pop() if self._waiting else None
            if child is None:
                child = _Child()
                with self._lock:
                    self._all.add(child)
                return child
            if child.runs:
                return child
            self.end(child)

    def give_back(self, child: _Child) -> None:
        """Keep a child for the next model; beyond a few it ends."""
        with self._lock:
            kept = len(self._waiting) < _KEPT
            if kept:
                self._waiting.append(child)
        if not kept:
            self.end(child)

    def end(self, child: _Child) -> None:
        """End a child that is not waiting."""
        with self._lock:
            self._all.discard(child)
        child.end(kill=True)

    def close(self) -> None:
        """End all that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._all.difference_update(waiting)
        for child in waiting:
            child.close()
        for child in waiting:
            child.end(kill=False)

    def after_fork(self) -> None:
        """Forget the children, which are the parent's."""
        theirs: Iterable[_Child] = self._all
        self.__init__()  # type: ignore[misc]
        for child in theirs:
            child.disown()


def _extension() -> str:
    """Where onnx's compiled part is, found without importing onnx."""
    spec = find_spec("onnx")
    folders = (spec.submodule_search_locations if spec else None) or ()
    for folder in folders:
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder) / f"onnx_cpp2py_export{suffix}"
            if path.exists():
                return str(path)
    raise RuntimeFailedError(
        "onnx is not installed as a package with a compiled part",
        hint="pip install --force-reinstall onnx",
    )


_pool = _Pool()
atexit.register(_pool.close)
os.register_at_fork(after_in_child=_pool.after_fork)
