"""Reads what this process has been given so far, in about a microsecond: see ``run_usage``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from latprof.measurement.run_usage import RunUsage

if sys.platform == "win32":
    resource: Any = None
else:
    import resource

_TASKS = Path("/proc/self/task")


class UsageMeter:
    """Reads the counters of this process between the runs of a burst.

    Made at the start of a burst, closed at its end (a ``with`` statement): it holds one open file
    for each thread of the process. The kernel is asked for the waiting time only after a run in
    which a thread stopped running: nobody waits who never stopped.

    Parameters
    ----------
    tasks : Path
        The folder of this process's threads; where it, or ``schedstat`` in it, is missing, the
        waiting time is not known.
    read_usage : callable
        Returns (processor time in s of user and kernel, voluntary, involuntary switches).
    """

    def __init__(
        self,
        tasks: Path = _TASKS,
        read_usage: Callable[[], tuple[float, int, int]] | None = None,
    ) -> None:
        self._read_usage = read_usage or _of_this_process
        self._files: list[int] = []
        with contextlib.suppress(OSError):
            for task in tasks.iterdir():
                with contextlib.suppress(OSError):
                    self._files.append(os.open(task / "schedstat", os.O_RDONLY))
        self._last = self._read_usage()
        self._waited_ns = self._waited()
        self._preempted_before = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files:
            os.close(file)

    def begin(self) -> None:
        """Read the counters: a run begins."""
        before, self._last = self._last, self._read_usage()
        self._preempted_before = max(self._last[2] - before[2], 0)
        if self._last[1:] != before[1:] and self._waited_ns is not None:
            self._waited_ns = max(self._waited() or 0, self._waited_ns)  # between two runs

    def run(self) -> RunUsage:
        """What was given since :meth:`begin`: a run has ended.

        A preemption since the run before is one of this run, which finds its caches cold.
        """
        now = self._read_usage()
        (cpu_before_s, voluntary_before, preempted_before), self._last = self._last, now
        cpu_s, voluntary, preempted = now
        waited_us: int | None = None
        if self._waited_ns is not None:
            before_ns, waited_us = self._waited_ns, 0
            if voluntary > voluntary_before or preempted > preempted_before:
                now_ns = self._waited()
                self._waited_ns = max(now_ns or 0, before_ns)
                waited_us = (self._waited_ns - before_ns) // 1000
        cpu_us = max(round((cpu_s - cpu_before_s) * 1e6), 0)
        preempted = max(preempted - preempted_before, 0) + self._preempted_before
        return RunUsage(cpu_us, waited_us, preempted)

    def _waited(self) -> int | None:
        """Nanoseconds that all threads have waited for a core; None where it is not known."""
        total, known = 0, False
        for file in self._files:
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int(os.pread(file, 96, 0).split()[1])
                known = True
        return total if known else None


def _of_this_process() -> tuple[float, int, int]:
    found = resource.getrusage(resource.RUSAGE_SELF)
    return found.ru_utime + found.ru_stime, found.ru_nvcsw, found.ru_nivcsw


def has_usage() -> bool:
    """Whether this system counts what a process is given."""
    return resource is not None
