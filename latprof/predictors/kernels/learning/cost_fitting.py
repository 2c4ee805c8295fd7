"""Fitting costs that are linear in work to the latencies of whole networks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.predictors.kernels.work_rates import WORK, kind_of, rated, work_of

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

Floats: TypeAlias = NDArray[np.float64]

_FOLDS = 5
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_CONFIDENCE = 0.9
#: Sizes of a kind below which its timed kernels say nothing of other sizes.
_FEWEST_SIZES = 8


@dataclass(frozen=True, eq=False, repr=False)
class TabulatedWork(ShortRepr):
    """The work of n networks by kind of operator.

    ``sums`` has shape (n, kinds, 4); ``low`` and ``high``, shape (kinds, 3), are each kind's least
    and largest sizes.
    """

    kinds: list[str]
    sums: Floats
    low: Floats
    high: Floats

    @property
    def varied(self) -> NDArray[np.bool_]:
        """Whose sums differ between the networks, shape (kinds,)."""
        spread: Floats = np.ptp(self.sums, axis=0)
        differs: NDArray[np.bool_] = (spread > 1e-9 * self.sums.max(axis=0)).any(axis=1)
        return differs

    @property
    def shares(self) -> tuple[Floats, Floats]:
        """Least and largest share of each kind in a network's rated work, shape (kinds, 2) each."""
        work = rated(self.sums)
        shares = work / np.maximum(work.sum(axis=1, keepdims=True), 1.0)
        return shares.min(axis=0), shares.max(axis=0)


@dataclass(frozen=True, eq=False, repr=False)
class FittedCosts(ShortRepr):
    """Coefficients of shape (kinds, 4).

    ``shared`` is what all kinds are drawn towards, ``half_width`` the relative half-width of a 90 %
    interval of networks left out.
    """

    coefficients: Floats
    shared: Floats
    ridge: float
    half_width: float


def tabulate(networks: Sequence[Iterable[Operator]]) -> TabulatedWork:
    """Sum the work of every network by kind."""
    rows = [
        (index, kind_of(operator), work_of(operator))
        for index, operators in enumerate(networks)
        for operator in operators
    ]
    kinds = sorted({kind for _, kind, _ in rows})
    position = {kind: i for i, kind in enumerate(kinds)}
    which = np.array([position[kind] for _, kind, _ in rows])
    work = np.array([values for *_, values in rows])
    sums = np.zeros((len(networks), len(kinds), len(WORK)))
    np.add.at(sums, (np.array([index for index, *_ in rows]), which), work)
    low = np.full((len(kinds), 3), np.inf)
    high = np.zeros((len(kinds), 3))
    np.minimum.at(low, which, work[:, :3])
    np.maximum.at(high, which, work[:, :3])
    return TabulatedWork(kinds, sums, low, high)


def kernel_times(kernels: Iterable[tuple[Operator, float]]) -> dict[str, Floats]:
    """The median time of each kind and size of operator that was timed as a kernel.

    By kind, shape (m, 4): multiply-accumulates, activation elements, weights, milliseconds.
    """
    times: dict[tuple[str, tuple[float, ...]], list[float]] = {}
    for operator, latency_ms in kernels:
        if latency_ms > 0 and operator.output_shapes:
            times.setdefault((kind_of(operator), work_of(operator)[:3]), []).append(latency_ms)
    tables: dict[str, list[tuple[float, ...]]] = {}
    for (kind, work), found in sorted(times.items()):
        tables.setdefault(kind, []).append((*work, float(np.median(found))))
    return {kind: np.array(table) for kind, table in tables.items()}


def fit_costs(table: TabulatedWork, latency_ms: Floats, given_ms: Floats) -> FittedCosts:
    """Fit every kind's coefficients to the networks' latencies less ``given_ms``.

    The ridge is chosen, and the interval found, on networks left out of the fit (5 folds).
    """
    design = table.sums.reshape(len(table.sums), -1) / latency_ms[:, None]
    shared_design = table.sums.sum(axis=1) / latency_ms[:, None]
    target = 1.0 - given_ms / latency_ms
    residuals = _left_out_residuals(design, shared_design, target)
    ridge = min(_RIDGES, key=lambda ridge: float(np.mean(residuals[ridge] ** 2)))
    solver = _Solver(design, shared_design, target)
    coefficients = solver.coefficients(ridge).reshape(len(table.kinds), len(WORK))
    return FittedCosts(coefficients, solver.shared, ridge, _conformal(np.abs(residuals[ridge])))


def fit_kernels(times: Floats) -> Floats | None:
    """Coefficients of one kind from its timed kernels, shape (m, 4); None for too few sizes."""
    if len(times) < _FEWEST_SIZES:
        return None
    work = np.column_stack([times[:, :3], np.ones(len(times))])
    design = _Compressed(work / times[:, 3:], np.ones(len(times)))
    return _ridge_nnls(design, np.zeros(len(WORK)), 1e-9)


def _left_out_residuals(
    design: Floats, shared_design: Floats, target: Floats
) -> dict[float, Floats]:
    """Relative errors (measured over predicted, less 1) of networks left out, by ridge."""
    fold = np.random.default_rng(0).permutation(len(design)) % _FOLDS
    predicted = {ridge: np.empty(len(design)) for ridge in _RIDGES}
    for held_out in range(_FOLDS):
        inside = fold != held_out
        solver = _Solver(design[inside], shared_design[inside], target[inside])
        for ridge, values in predicted.items():
            values[~inside] = design[~inside] @ solver.coefficients(ridge)
    given = 1.0 - target
    return {ridge: 1.0 / np.maximum(v + given, 1e-9) - 1.0 for ridge, v in predicted.items()}


class _Solver:
    """Fits coefficients to the target: the rows of both designs are divided by their latencies."""

    def __init__(self, design: Floats, shared_design: Floats, target: Floats) -> None:
        self.shared = _ridge_nnls(
            _Compressed(shared_design, target), np.zeros(shared_design.shape[1]), 1e-9
        )
        self._design = _Compressed(design, target)
        self._prior = np.tile(self.shared, design.shape[1] // len(self.shared))

    def coefficients(self, ridge: float) -> Floats:
        """Coefficients of the kinds, drawn towards the shared ones."""
        return _ridge_nnls(self._design, self._prior, ridge)


class _Compressed:
    """``design @ x = target`` with the same least-squares solutions and few rows."""

    def __init__(self, design: Floats, target: Floats) -> None:
        rows = len(design)
        # Columns scaled to a root mean square of 1, so that penalties weigh latency, not units.
        scale = np.sqrt(np.mean(design**2, axis=0))
        self.used = scale > 0
        self.scale = scale[self.used]
        both = np.hstack([design[:, self.used] / self.scale, target[:, None]])
        factor: Floats = np.linalg.qr(both).R / math.sqrt(rows)
        self.matrix, self.target = factor[:, :-1], factor[:, -1]


def _ridge_nnls(design: _Compressed, prior: Floats, ridge: float) -> Floats:
    """Non-negative least squares with a penalty on the distance to ``prior``.

    Coefficients of columns that are zero everywhere are the prior's.
    """
    from scipy.optimize import nnls  # not needed to predict

    if not design.used.any():  # kernels without work: scipy's solver crashes on no columns
        return prior.copy()
    weight = math.sqrt(ridge)
    rows = np.vstack([design.matrix, weight * np.eye(len(design.scale))])
    scaled_prior = prior[design.used] * design.scale
    solution, _ = nnls(rows, np.concatenate([design.target, weight * scaled_prior]))
    result = prior.copy()
    result[design.used] = solution / design.scale
    return result


def _conformal(errors: Floats) -> float:
    """Quantile of n absolute errors that covers a new one with the confidence stated here."""
    rank = math.ceil((len(errors) + 1) * _CONFIDENCE)
    return float(np.sort(errors)[min(rank, len(errors)) - 1])
