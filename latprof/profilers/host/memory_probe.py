"""How busy the memory is: what a cache still holds after others ran, and what copying takes.

A neighbour that fills the memory's bandwidth slows a network's large layers and leaves its runs
their cores: neither preemptions nor waiting show it. Two probes do, in processor time, so that
preemptions are in neither:

- What the last-level cache holds is read at once, and again after others had the cores for a moment
  (prime and probe: Osvik, Shamir and Tromer, CT-RSA 2006). Whoever streams through memory has
  replaced it by then; whoever computes has not. Both reads are of the same moment, so nothing has
  to be known of the quiet host.
- A copy in memory beside one in the cache, whatever the clock is. Other machines on the same
  hardware are in it, and it says something only beside what the quiet host gave.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: Copied from one place to another; the first is beyond any core's own caches.
_LARGE_BYTES, _SMALL_BYTES = 32 << 20, 64 << 10
_TRIES = 2
#: With so many times the quiet host's quotient something else fills the memory's bandwidth.
HOG_FACTOR = 1.35
#: And where reading again takes so many times as long after others ran.
REREAD_FACTOR = 2.0
#: By which ratios are in doubt then, for each time that reading again takes longer, and at most:
#: networks use memory more or less than their reference.
HOG_DOUBT, MOST_HOG_DOUBT = 0.02, 0.08
#: What is read again: more than a core's own cache holds, and a part of what all cores share.
_HELD_BYTES, _LINE_BYTES = 4 << 20, 64
#: So long others have the cores in between: a stream through memory is some 50 MB then.
_LEFT_S = 0.005


def memory_quotient() -> float:
    """Processor time to copy a byte in memory over that in the cache, the lesser of two tries."""
    large, small = _buffers()
    return min(_copy_ns(*large, 1) for _ in range(_TRIES)) / min(
        _copy_ns(*small, _LARGE_BYTES // _SMALL_BYTES // 4) for _ in range(_TRIES)
    )


def reread_factor(
    read: Callable[[], object] | None = None,
    clock_ns: Callable[[], int] = time.thread_time_ns,
    leave: Callable[[float], object] = time.sleep,
) -> float:
    """How many times as long reading what the cache held takes after others had the cores.

    The lesser of two tries, about 15 ms. 1 where it was still there; 3 to 8 where all of it comes
    from memory.
    """
    read = read or _reader()
    factors = []
    with _on_one_core():
        for _ in range(_TRIES):
            read()
            kept_ns = _taken_ns(read, clock_ns)
            leave(_LEFT_S)
            factors.append(_taken_ns(read, clock_ns) / kept_ns)
    return min(factors)


@contextlib.contextmanager
def _on_one_core() -> Iterator[None]:
    """Keep this thread where it reads: cores far apart share no cache."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _taken_ns(read: Callable[[], object], clock_ns: Callable[[], int]) -> int:
    start = clock_ns()
    read()
    return max(clock_ns() - start, 1)


@cache
def _reader() -> Callable[[], object]:
    """Reads one value of each line of the cache in an order that no prefetcher foresees."""
    lines = _HELD_BYTES // _LINE_BYTES
    values = np.ones((lines, _LINE_BYTES // 4), np.float32)
    order = np.random.default_rng(0).permutation(lines) * values.shape[1]
    found = np.empty(lines, np.float32)
    return lambda: np.take(values, order, out=found, mode="clip")


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
