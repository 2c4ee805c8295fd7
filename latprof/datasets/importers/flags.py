"""What a column of latencies shows about itself: measured or made up, rounded, heavy-tailed.

Flags come from the numbers, never from the device's name.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.measurement.quiet.row_drift import drift_of_order

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.integer]

#: A sum of table entries: an additive model of the choices fits held-out rows exactly.
SYNTHETIC = "synthetic"
#: Whole milliseconds only.
INTEGER_ROUNDED = "integer-rounded"
#: More far outliers around the additive model than measuring noise makes.
HEAVY_TAILED = "heavy-tailed"
#: Latencies follow the order of the rows, whatever the networks: the device changed meanwhile.
DRIFT = "drift"

#: Held-out error of an additive model, as a fraction of the mean, below which no clock was read.
SYNTHETIC_ERROR = 1e-3
#: Parts of the rows, drawn at random, each predicted by a fit to the others. In a file sorted by
#: architecture each fifth row may be a network with the same last operation.
_FOLDS = 5
#: Relative distance from a whole millisecond that is rounding: files in seconds are multiplied.
_ROUNDING = 1e-9
#: An outlier is further from the additive model than this many robust standard deviations.
OUTLIER_DEVIATIONS = 5.0
#: Share of outliers from which a column is heavy-tailed; of normal noise 6 in 10 million are.
OUTLIER_SHARE = 0.005
_MIN_ROWS = 20


def detect_flags(latency_ms: Floats, labels: Labels | None) -> frozenset[str]:
    """Tell what a column is from its numbers.

    Parameters
    ----------
    latency_ms : array of shape (n,)
        The usable rows.
    labels : array of shape (n, positions) or None
        What each row has at each position; None where the rows are not of one space, and only
        rounding can be told.

    Returns
    -------
    frozenset of str
        ``"synthetic"``: least squares on the one-hot labels, fitted to four fifths of the rows
        drawn at random, predicts the rest, each fifth in turn, with a root mean square error below
        0.1 % of the mean. No two runs of a network agree that well. ``"integer-rounded"``: whole
        milliseconds, all of them. ``"heavy-tailed"``: of those held-out residuals at least 0.5 %
        are further than 5 robust standard deviations (1.4826 times the median absolute deviation)
        from their median.
        What the additive model misses counts as residual too, so that blocks that act strongly on
        each other can pass for a heavy tail. ``"drift"``: a smooth of these residuals over the
        order of the rows predicts rows that it was not made of, and that order foretells no
        latency (:mod:`latprof.measurement.quiet.row_drift`). With fewer rows than would tell,
        nothing is flagged.
    """
    found = set()
    if len(latency_ms) >= _MIN_ROWS and _whole(latency_ms):
        found.add(INTEGER_ROUNDED)
    left_out = None if labels is None else held_out_residuals(latency_ms, labels)
    if left_out is None:
        return frozenset(found)
    rows, residuals = left_out
    if np.sqrt(np.mean(residuals**2)) < SYNTHETIC_ERROR * latency_ms.mean():
        found.add(SYNTHETIC)
    elif outlier_share(residuals) >= OUTLIER_SHARE:
        found.add(HEAVY_TAILED)
    if SYNTHETIC not in found:
        predicted = latency_ms[rows] - residuals
        if drift_of_order(rows.astype(np.float64), residuals, predicted) is not None:
            found.add(DRIFT)
    return frozenset(found)


def held_out_residuals(
    latency_ms: Floats, labels: Labels
) -> tuple[NDArray[np.int64], Floats] | None:
    """Rows left out of an additive model, a fifth of them at a time, and their residuals in ms.

    Without rows that alone have some label; None where the rows are fewer than two for each label,
    and so do not tell.
    """
    one_hot = _one_hot(labels)
    rows = len(latency_ms)
    if rows - math.ceil(rows / _FOLDS) < max(2 * one_hot.shape[1], _MIN_ROWS):
        return None
    folds = np.random.default_rng(0).permutation(rows) % _FOLDS
    centre, scale = latency_ms.mean(), np.abs(latency_ms).mean()
    target = (latency_ms - centre) / scale
    design = np.column_stack([np.ones(rows), one_hot])
    gram, moments = design.T @ design, design.T @ target
    residuals = np.full(rows, np.nan)
    for fold in range(_FOLDS):
        held = folds == fold
        tested = design[held]
        others = gram - tested.T @ tested
        # A label that no other row has cannot be predicted; the counts are exact.
        unseen = tested[:, others.diagonal() == 0].any(axis=1)
        others[np.diag_indices_from(others)] += 1e-9 * (rows - len(tested))
        coefficients = np.linalg.solve(others, moments - tested.T @ target[held])
        missed = target[held] - tested @ coefficients
        residuals[held] = np.where(unseen, np.nan, missed * scale)
    known = np.flatnonzero(np.isfinite(residuals))
    return (known, residuals[known]) if len(known) else None


def _whole(latency_ms: Floats) -> bool:
    """Whether all are whole milliseconds, but for what a change of units rounds."""
    whole = np.round(latency_ms)
    return bool(np.all((whole > 0) & (np.abs(latency_ms - whole) <= _ROUNDING * whole)))


def outlier_share(residuals: Floats) -> float:
    """Share of residuals further than 5 robust standard deviations from their median."""
    distance = np.abs(residuals - np.median(residuals))
    scale = 1.4826 * np.median(distance)
    return float(np.mean(distance > OUTLIER_DEVIATIONS * scale)) if scale > 0 else 0.0


def _one_hot(labels: Labels) -> Floats:
    columns = []
    for position in labels.T:
        values, index = np.unique(position, return_inverse=True)
        encoded = np.zeros((len(position), len(values)))
        encoded[np.arange(len(position)), index.ravel()] = 1.0
        columns.append(encoded)
    return np.hstack(columns)
