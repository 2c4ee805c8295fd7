"""onnx's shape inference and inliner in guarded children: what kills them is an error here.

87 bytes can ask shape inference for all memory, and 173 make onnx abort its process. A child is
started early, answers one request at a time, and is kept for the next; as many are kept as threads
asked at once, up to a few. It dies with this process, and another takes its place when it dies.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from latprof.common.children.child import Child
from latprof.errors import ModelFileError, RuntimeFailedError, UnknownCostsError
from latprof.graph.guarded.inferring_process import (
    ANSWER,
    DONE,
    INFER,
    INLINE,
    OUT_OF_MEMORY,
    REQUEST,
)

#: CPU time that the inferences of one model may take together.
CPU_SECONDS = 6.0
_TOO_LONG = f"it takes more than {CPU_SECONDS:g} s"
#: Memory of a request beyond the model: its bytes times the first, and the second.
_MEMORY_FACTOR, _MEMORY_BYTES = 12, 200 << 20
_WALL_SECONDS = 60.0
_END_SECONDS = 2.0
#: An answer's bytes: those of the model times the first, and the second.
_ANSWER_FACTOR, _ANSWER_BYTES = 4, 16 << 20
_KEPT = 4
_ROOT = str(Path(__file__).parents[3])
_SCRIPT = str(Path(__file__).with_name("inferring_process.py"))


@dataclass
class Allowance:
    """CPU time that is left to the requests about one model."""

    cpu_seconds: float = CPU_SECONDS


def start_early() -> None:
    """Start a child for the first model that will be read, unless one waits; never raises."""
    with contextlib.suppress(RuntimeFailedError):
        _pool.give_back(_pool.take())


def end_children() -> None:
    """End the children that wait; the next model is read by a new one."""
    _pool.close()


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


class _Inferrer:
    """A running child, used by one thread at a time."""

    def __init__(self) -> None:
        self.answered = 0
        try:
            self._child = Child(_SCRIPT, _ROOT, _extension(), bare=True)
        except OSError as error:
            raise RuntimeFailedError(
                f"no process can be started to read models in: {error}",
                hint=f"see that {sys.executable!r} is Python, and how many processes are allowed",
            ) from None

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet; one that has is reaped."""
        return self._child.wait(0) is None

    def ask(self, what: int, data: bytes, allowance: Allowance) -> tuple[int, bytes]:
        """Status and content of the answer; raises _EndedError without one."""
        if allowance.cpu_seconds <= 0:
            raise _EndedError(_TOO_LONG)
        memory = _MEMORY_FACTOR * len(data) + _MEMORY_BYTES
        request = REQUEST.pack(what, memory, allowance.cpu_seconds, len(data))
        try:
            self._child.write(request + data, _WALL_SECONDS)
            status, seconds, length = ANSWER.unpack(self._child.read(ANSWER.size, _WALL_SECONDS))
            if length > _ANSWER_FACTOR * len(data) + _ANSWER_BYTES:
                raise _EndedError("what comes of it is too large")
            content = self._child.read(length, _WALL_SECONDS)
        except TimeoutError:
            raise _EndedError(_TOO_LONG) from None
        except (EOFError, OSError):
            raise self._ended() from None
        allowance.cpu_seconds -= max(seconds, 0.0)
        self.answered += 1
        return status, content

    def _ended(self) -> _EndedError:
        how = self._child.wait(_END_SECONDS) or "closed its pipes"
        if how.endswith("SIGXCPU"):
            return _EndedError(_TOO_LONG)
        return _EndedError(f"onnx's process {how}", may_be_chance=True)

    def end(self) -> None:
        """See that it has ended and is reaped."""
        self._child.kill()

    def end_orderly(self) -> None:
        """Let it end by itself, for a moment."""
        self._child.close(_END_SECONDS)


class _Pool:
    """Children that wait for a model, and all that run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Inferrer] = []
        self._all: set[_Inferrer] = set()

    def take(self) -> _Inferrer:
        """A child that waits, or a new one."""
        while True:
            with self._lock:
                child = self._waiting.pop() if self._waiting else None
            if child is None:
                child = _Inferrer()
                with self._lock:
                    self._all.add(child)
                return child
            if child.runs:
                return child
            self.end(child)

    def give_back(self, child: _Inferrer) -> None:
        """Keep a child for the next model; beyond a few it ends."""
        with self._lock:
            kept = len(self._waiting) < _KEPT
            if kept:
                self._waiting.append(child)
        if not kept:
            self.end(child)

    def end(self, child: _Inferrer) -> None:
        """End a child that is not waiting."""
        with self._lock:
            self._all.discard(child)
        child.end()

    def close(self) -> None:
        """End all that wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._all.difference_update(waiting)
        for child in waiting:
            child.end_orderly()

    def after_fork(self) -> None:
        """Forget the children, which are the parent's to end."""
        _theirs.append(self._all)
        self.__init__()  # type: ignore[misc]


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


_theirs: list[set[_Inferrer]] = []
_pool = _Pool()
atexit.register(end_children)
os.register_at_fork(after_in_child=_pool.after_fork)
