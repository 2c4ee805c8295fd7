"""How busy the memory is: what other programs go through, and what copying takes.

A neighbour that fills the memory's bandwidth slows a network's large layers and leaves its runs
their cores: neither preemptions nor waiting show it. Two probes do:

- How much memory the programs beside this one go through in a moment: the kernel's marks of what
  was referenced are cleared and read again (``clear_refs`` and ``smaps_rollup``, proc(5); as Gregg
  estimates working sets, "Working Set Size Estimation", 2018). Whoever only computes marks next to
  nothing, whatever memory it holds.
- A copy in memory beside one in the cache, in processor time. Other machines on the same hardware
  are in it, and it says something only beside what the quiet host gave.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.measurement.quiet.conditions import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: Copied from one place to another; the first is beyond any core's own caches.
_LARGE_BYTES, _SMALL_BYTES = 32 << 20, 64 << 10
_TRIES = 2
#: With so many times the quiet host's quotient something else fills the memory's bandwidth.
HOG_FACTOR = 1.35
#: Programs with less memory stay in the caches; those with more would take too long to look at.
_LEAST_BYTES, _MOST_BYTES = 64 << 20, 4 << 30
#: For so long, in seconds, is watched what they reference.
_WATCHED_S = 0.01
#: Written to ``clear_refs``, it clears the marks of all pages.
_CLEAR_MARKS = "1"
_PROC = Path("/proc")


def memory_quotient() -> float:
    """Processor time to copy a byte in memory over that in the cache, the lesser of two tries."""
    large, small = _buffers()
    return min(_copy_ns(*large, 1) for _ in range(_TRIES)) / min(
        _copy_ns(*small, _LARGE_BYTES // _SMALL_BYTES // 4) for _ in range(_TRIES)
    )


def others_memory_gb_s(
    root: Path = _PROC,
    leave: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> float:
    """Gigabytes a second that the busiest other program goes through, by pages; in about 15 ms.

    Pages of which one line was read count whole, and what is gone through twice in that time counts
    once. 0 where none that runs has enough memory, NaN where that is not to be known: without
    ``clear_refs``, and of other users' programs without the privilege.
    """
    if not (root / "self" / "clear_refs").exists():
        return math.nan
    running, watched = [*_running(root)], list[tuple[Path, float]]()
    for program in running:
        with contextlib.suppress(OSError):
            (program / "clear_refs").write_text(_CLEAR_MARKS)
            watched.append((program, clock()))
    if not watched:
        return math.nan if running else 0.0
    leave(_WATCHED_S)
    rates = [0.0]
    for program, begun in watched:
        referenced = re.search(
            r"^Referenced: +(\d+) kB$", read_text(program / "smaps_rollup"), re.MULTILINE
        )
        if referenced is not None:
            rates.append(1024 * int(referenced[1]) / max(clock() - begun, _WATCHED_S) / 1e9)
    return max(rates)


def _running(root: Path) -> Iterator[Path]:
    """Other programs of which a thread runs or waits for a core, with enough memory."""
    page = os.sysconf("SC_PAGE_SIZE")
    for program in root.iterdir():
        if not program.name.isdigit() or int(program.name) == os.getpid():
            continue
        fields = _fields(program)
        if len(fields) > 21 and _LEAST_BYTES <= page * int(fields[21]) <= _MOST_BYTES:
            with contextlib.suppress(OSError):
                if any(_fields(task)[:1] == ["R"] for task in (program / "task").iterdir()):
                    yield program


def _fields(folder: Path) -> list[str]:
    """A process's or a thread's state, and what follows it in ``stat``; empty where it is gone."""
    return read_text(folder / "stat", 4096).rpartition(")")[2].split()


@cache
def _buffers() -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    return tuple(
        (np.zeros(size, np.uint8), np.ones(size, np.uint8)) for size in (_LARGE_BYTES, _SMALL_BYTES)
    )  # type: ignore[return-value]


def _copy_ns(to: NDArray[Any], source: NDArray[Any], times: int) -> float:
    """Processor time for a byte, in ns."""
    start = time.thread_time_ns()
    for _ in range(times):
        np.copyto(to, source)
    return max(time.thread_time_ns() - start, 1) / (times * source.size)
