"""How busy the memory is: copying what no cache holds, beside copying what one does.

A neighbour that fills the memory's bandwidth slows a network's large layers and leaves its runs
their cores: neither preemptions nor waiting show it. Two comparisons do, in processor time, so that
preemptions are in neither:

- The same copy with the other cores left to whatever runs on them, and with these cores taken away
  for as long as it lasts. What other machines on the same hardware do is in both. Only a process
  that goes before others can take cores away.
- A copy in memory beside one in the cache, whatever the clock is. Other machines are in it, and it
  says something only beside what the quiet host gave.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import threading
import time
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.profilers.host.priority import has_precedence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

#: Copied from one place to another; the first is beyond any core's own caches.
_LARGE_BYTES, _SMALL_BYTES = 32 << 20, 64 << 10
_TRIES = 2
#: With so many times the quiet host's quotient something else fills the memory's bandwidth.
HOG_FACTOR = 1.35
#: And where a copy takes so many times as long beside others as without them.
BESIDE_FACTOR = 1.1
#: By which ratios are in doubt then: networks use memory more or less than their reference.
HOG_DOUBT = 0.03
#: Pairs of copies beside others and without them.
_PAIRS = 2
#: More cores than this are not taken away from others.
_MOST_OTHERS = 7
#: Rounds of a hash that keep a core busy without its memory for about 0.1 s, at most.
_ROUNDS, _MOST_BLOCKS = 2000, 100
#: After which those who take a core away have it.
_SETTLED_S = 0.001


def memory_quotient() -> float:
    """Processor time to copy a byte in memory over that in the cache, the lesser of two tries."""
    large, small = _buffers()
    return min(_copy_ns(*large, 1) for _ in range(_TRIES)) / min(
        _copy_ns(*small, _LARGE_BYTES // _SMALL_BYTES // 4) for _ in range(_TRIES)
    )


def slowdown_beside_others() -> float:
    """How many times as long copying in memory takes beside what runs on the other cores.

    NaN where this process may not take the other cores away, or there are none, or too many.
    """
    if not hasattr(os, "sched_getaffinity") or not has_precedence():
        return math.nan
    allowed = os.sched_getaffinity(0)
    own, *others = sorted(allowed)
    if not 1 <= len(others) <= _MOST_OTHERS:
        return math.nan
    large, _ = _buffers()
    quotients = []
    try:
        os.sched_setaffinity(0, {own})
        for number in range(2 * _PAIRS):
            if number % 2:
                beside = _copy_ns(*large, 1)
            with _taken(others):
                alone = _copy_ns(*large, 1)
            if not number % 2:
                beside = _copy_ns(*large, 1)
            quotients.append(beside / alone)
    finally:
        os.sched_setaffinity(0, allowed)
    return median(quotients)


@contextlib.contextmanager
def _taken(cores: Collection[int]) -> Iterator[None]:
    """Threads of this process keep these cores busy, and their memory alone, inside the block."""
    ended = threading.Event()

    def keep(core: int) -> None:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {core})  # of this thread
            for _ in range(_MOST_BLOCKS):
                if ended.is_set():
                    break
                hashlib.pbkdf2_hmac("sha256", b"", b"", _ROUNDS)

    threads = [
        threading.Thread(target=keep, args=(core,), name=f"other core {core}") for core in cores
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(_SETTLED_S)
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


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
