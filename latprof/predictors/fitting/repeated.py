"""Rows of the same network, measured more than once.

A fold that leaves one of them out would still train on the others, and errors on rows left out
would say nothing of networks that were never measured. So they count as one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Choices: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class DistinctRows(ShortRepr):
    """Measured networks, each once, in the order in which they first came.

    Parameters
    ----------
    choices : array of shape (m, decisions)
    mean_ms, first_ms : array of shape (m,)
        Mean of a network's latencies, and the first of them: a single measurement, as new ones are.
    numbers : array of shape (n,)
        Which of the m each of the n rows is.
    """

    choices: Choices
    mean_ms: Floats
    first_ms: Floats
    numbers: Integers


def distinct_rows(choices: Choices, latency_ms: Floats) -> DistinctRows:
    """Merge rows of the same network, given by canonical choices, shape (n, decisions)."""
    _, first, number = np.unique(choices, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(choices):
        return DistinctRows(choices, latency_ms, latency_ms, np.arange(len(choices)))
    order = np.argsort(first)
    numbers = np.argsort(order)[number.ravel()]
    first = first[order]
    mean_ms = np.bincount(numbers, latency_ms) / np.bincount(numbers)
    return DistinctRows(choices[first], mean_ms, latency_ms[first], numbers)
