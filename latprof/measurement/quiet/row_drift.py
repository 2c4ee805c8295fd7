"""What follows the order in which rows were measured, not the networks: a host that heats or ages.

A smooth of what a predictor leaves of rows that it had not seen, over their order. It counts only
where it predicts rows left out of the smooth, and where the order says nothing of the networks: of
rows that are sorted by architecture, neighbours are alike for other reasons.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

#: Rows below which nothing is told.
FEWEST_ROWS = 200
#: Widths that are tried, in rows and in shares of them: standard deviations of a normal kernel.
#: What disturbs a phone lasts for a few rows, what heats it for many.
_ROWS, _SHARES = (2.0, 4.0, 16.0), (0.005, 0.02, 0.08)
#: Residuals count as at most so many robust standard deviations.
_LARGEST = 3.0
#: How many standard errors the smooth has to lower the squared error by.
_DEVIATIONS = 3.0


def drift_of_order(order: Floats, residuals_ms: Floats, predicted_ms: Floats) -> Floats | None:
    """The drift of n rows in ms, shape (n,), of mean 0; None where there is none to be seen.

    Parameters
    ----------
    order : array of shape (n,)
        When or as which a row was measured; only its ranks count.
    residuals_ms : array of shape (n,)
        Measured less predicted by models that had not seen the row.
    predicted_ms : array of shape (n,)
        These predictions. Where the order foretells them, nothing is a drift.
    """
    if len(residuals_ms) < FEWEST_ROWS or np.ptp(order) == 0:
        return None
    ranks = np.argsort(order, kind="stable")
    smooth = _best_smooth(residuals_ms[ranks])
    if smooth is None or _best_smooth(predicted_ms[ranks]) is not None:
        return None
    found = np.empty(len(ranks))
    found[ranks] = smooth - smooth.mean()
    return found


def _best_smooth(values: Floats) -> Floats | None:
    """The smooth of n values in their order that predicts them best without themselves."""
    rows = len(values)
    centre = float(np.median(values))
    scale = 1.4826 * float(np.median(np.abs(values - centre)))
    clipped = np.clip(values - centre, -_LARGEST * scale, _LARGEST * scale)
    clipped = clipped - clipped.mean()
    best: tuple[float, Floats] | None = None
    for width in (*_ROWS, *(share * rows for share in _SHARES)):
        smooth = _of_neighbours(clipped, width)
        gain = clipped**2 - (clipped - smooth) ** 2
        clear = gain.mean() > _DEVIATIONS * gain.std(ddof=1) / np.sqrt(rows)
        if clear and (best is None or gain.mean() > best[0]):
            best = (float(gain.mean()), smooth)
    return None if best is None else best[1]


def _of_neighbours(values: Floats, width: float) -> Floats:
    """Each value's neighbours, weighted by a normal kernel, without the value itself."""
    reach = min(int(4 * width), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    kernel[reach] = 0.0

    def summed(values: Floats) -> Floats:
        return np.convolve(values, kernel, mode="full")[reach : reach + len(values)]

    smooth: Floats = summed(values) / summed(np.ones(len(values)))
    return smooth
