"""Small numeric steps that several sections share."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from latprof.reports.rendering.content import Series

Floats = NDArray[np.float64]

#: Most points of one cloud: what a browser shows without stutter.
MAX_POINTS = 2000


def floats(values: ArrayLike | pd.Series[Any]) -> Floats:
    """An array of float64; what is no number becomes NaN."""
    numbers = pd.to_numeric(pd.Series(values), errors="coerce")
    return numbers.to_numpy(dtype=np.float64)


def thin(n: int, limit: int = MAX_POINTS, keep: ArrayLike = ()) -> NDArray[np.intp]:
    """Indices of at most ``limit`` of n points, evenly spread, those of ``keep`` among them."""
    if n <= limit:
        return np.arange(n)
    kept = np.asarray(keep, dtype=np.intp)
    spread = np.linspace(0, n - 1, max(limit - len(kept), 2)).astype(np.intp)
    return np.union1d(spread, kept)


def histogram(values: ArrayLike, name: str, color: str) -> Series:
    """A histogram of finite values as bars around their bins' centres."""
    array = floats(values)
    array = array[np.isfinite(array)]
    counts, edges = np.histogram(array, bins=_bins(array))
    return Series(
        name=name,
        kind="bars",
        x=((edges[:-1] + edges[1:]) / 2).tolist(),
        y=counts.tolist(),
        color=color,
        hover=[f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)],
        width=float(edges[1] - edges[0]),
    )


def _bins(array: Floats) -> int:
    """Freedman and Diaconis' number of bins, within 8 and 40; 1 for equal values."""
    spread = float(np.ptp(array))
    if spread <= 1e-12 * float(np.abs(array).max(initial=1e-300)):
        return 1
    quartiles = float(np.subtract(*np.percentile(array, [75, 25])))
    width = 2 * quartiles / len(array) ** (1 / 3)
    return int(np.clip(np.ceil(spread / width) if width > 0 else 40, 8, 40))


def cumulative(values: ArrayLike, name: str, color: str) -> Series:
    """The cumulative share, in percent, of finite values: a curve of at most 400 steps."""
    array = np.sort(floats(values))
    array = array[np.isfinite(array)]
    share = 100 * np.arange(1, len(array) + 1) / max(len(array), 1)
    chosen = thin(len(array), 400)
    return Series(name, "steps", array[chosen].tolist(), share[chosen].tolist(), color)


def padded(*arrays: ArrayLike, share: float = 0.04) -> tuple[float, float]:
    """Limits of an axis that hold every finite value, with room at both ends."""
    values = np.concatenate([np.ravel(floats(a)) for a in arrays])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    room = (high - low) * share or abs(high) * share or 1.0
    return low - room, high + room


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """The 1, 2 and 5 of every decade between two limits."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = (step * 10.0**decade for decade in decades for step in (1, 2, 5))
    return tuple(place for place in places if low <= place <= high)


def above_zero(*series: Series) -> tuple[float, float]:
    """Limits of an upright axis from zero to a little above the highest of some series."""
    return 0.0, max([0.0, *(float(y) for part in series for y in part.y)]) * 1.08 or 1.0


def median_or_nan(values: ArrayLike | pd.Series[Any]) -> float:
    """Median of the finite values, NaN where there is none."""
    array = floats(values)
    array = array[np.isfinite(array)]
    return float(np.median(array)) if len(array) else float("nan")
