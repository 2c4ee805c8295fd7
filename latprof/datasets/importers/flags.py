"""What a column of latencies shows about itself: measured or made up, rounded, heavy-tailed.

Flags come from the numbers, never from the device's name.
"""

from __future__ import annotations

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
        ``"synthetic"``: least squares on the one-hot labels, fitted on every row but each fifth,
        predicts each fifth with a root mean square error below 0.1 % of the mean. No two runs of a
        network agree that well. ``"integer-rounded"``: whole milliseconds, all of them.
        ``"heavy-tailed"``: of those held-out residuals at least 0.5 % are further than 5 robust
        standard deviations (1.4826 times the median absolute deviation) from their median.
        What the additive model misses counts as residual too, so that blocks that act strongly on
        each other can pass for a heavy tail. ``"drift"``: a smooth of these residuals over the
        order of the rows predicts rows that it was not made of, and that order foretells no
        latency (:mod:`latprof.measurement.quiet.row_drift`). With fewer rows than would tell,
        nothing is flagged.
    """
    found = set()
    if len(latency_ms) >= _MIN_ROWS and np.all(latency_ms == np.round(latency_ms)):
        found.add(INTEGER_ROUNDED)
    left_out = None if labels is None else _left_out(latency_ms, labels)
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


def held_out_residuals(latency_ms: Floats, labels: Labels) -> Floats | None:
    """Residuals in ms of an additive model on every fifth row, fitted on the others.

    None where the rows are fewer than two for each label, and so do not tell.
    """
    left_out = _left_out(latency_ms, labels)
    return None if left_out is None else left_out[1]


def _left_out(latency_ms: Floats, labels: Labels) -> tuple[NDArray[np.int64], Floats] | None:
    """The rows that were left out, and their residuals; see :func:`held_out_residuals`."""
    one_hot = _one_hot(labels)
    test = np.arange(len(latency_ms)) % 5 == 0
    train = ~test
    if train.sum() < max(2 * one_hot.shape[1], _MIN_ROWS):
        return None
    # A label that no training row has cannot be predicted.
    unseen = one_hot[train].sum(axis=0) == 0
    known = test & ~one_hot[:, unseen].any(axis=1)
    if not known.any():
        return None
    centre, scale = latency_ms[train].mean(), np.abs(latency_ms[train]).mean()
    design = np.column_stack([np.ones(len(one_hot)), one_hot])
    gram = design[train].T @ design[train]
    gram[np.diag_indices_from(gram)] += 1e-9 * train.sum()
    target = (latency_ms - centre) / scale
    coefficients = np.linalg.solve(gram, design[train].T @ target[train])
    residuals: Floats = (target[known] - design[known] @ coefficients) * scale
    return np.flatnonzero(known), residuals


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
