"""How busy the memory is: copying what no cache holds, beside copying what one does.

A neighbour that fills the memory's bandwidth slows a network's large layers and leaves its runs
their cores: neither preemptions nor waiting show it. The quotient of the two copies does, whatever
the clock is; both are taken in processor time, so that preemptions are not in it.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Copied from one place to another; the first is beyond any core's own caches.
_LARGE_BYTES, _SMALL_BYTES = 32 << 20, 64 << 10
_TRIES = 2
#: With so many times the quiet host's quotient something else fills the memory's bandwidth.
HOG_FACTOR = 1.35
#: By which ratios are in doubt then: networks use memory more or less than their reference.
HOG_DOUBT = 0.03


def memory_quotient() -> float:
    """Processor time to copy a byte in memory over that in the cache, the lesser of two tries."""
    large, small = _buffers()
    return min(_copy_ns(*large, 1) for _ in range(_TRIES)) / min(
        _copy_ns(*small, _LARGE_BYTES // _SMALL_BYTES // 4) for _ in range(_TRIES)
    )


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
