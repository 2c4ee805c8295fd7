"""Seeded splits of measured architectures."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.limits import INNER_SHARE, check_seed
from latprof.errors import InvalidValueError, shown

Indices: TypeAlias = NDArray[np.int64]


def split_rows(n: int, test_fraction: float = 0.2, seed: int = 0) -> tuple[Indices, Indices]:
    """Split n rows into training and test rows, both sorted, at random by ``seed``.

    The test set has ``n * test_fraction`` rows, rounded, at least 1 and at most n - 1. Raises
    InvalidValueError for fewer than 2 rows or a fraction outside (0, 1).
    """
    if n < 2 or not INNER_SHARE.takes(test_fraction):
        raise InvalidValueError(
            "a split needs 2 rows and a test fraction between 0 and 1",
            field="test_fraction",
            got=f"{n} rows, {shown(test_fraction)}",
        )
    count = min(max(round(n * test_fraction), 1), n - 1)
    order = np.random.default_rng(check_seed(seed)).permutation(n)
    return np.sort(order[count:]), np.sort(order[:count])
