"""Latency of any ONNX network, from what a search space's measurements say about its operators.

A network's latency is taken as the sum over its operators of a cost that is linear in the
operator's work: multiply-accumulates, activation elements, weights, and 1 for the operator itself.
Each kind of operator has coefficients of its own. They cannot all be identified from end-to-end
times (a stem is in every network of a space), so a ridge shrinks them towards those that all share.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.checked_json import Fields, to_json
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.graph.fusion import fuse

if TYPE_CHECKING:
    from latprof.graph.operators import Network, Operator

Floats: TypeAlias = NDArray[np.float64]

#: What the cost of an operator is linear in, in the order of every coefficient array here.
WORK = ("macs", "activation_elements", "weights", "operators")
#: Fewest networks to fit on.
MIN_NETWORKS = 10
#: How far outside the training's sizes, as a factor, an operator still counts as known.
SIZE_TOLERANCE = 2.0

_FORMAT = 1
_FOLDS = 5
_RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_CONFIDENCE = 0.9
_SIZED = re.compile(r"(conv|depthwise|grouped|transposed)(\d+)(?:x\d+)*")


@dataclass(frozen=True)
class OperatorCost:
    """What one operator of a network costs, and whether training has seen its like."""

    name: str
    kind: str
    latency_ms: float
    known: bool


@dataclass(frozen=True)
class NetworkPrediction:
    """The predicted latency of one network.

    Parameters
    ----------
    latency_ms : float
        The sum of ``per_operator``; above 0.
    per_operator : tuple of OperatorCost
        Operators after fusion, in execution order.
    coverage : float
        Share, from 0 to 1, of the network's work (multiply-accumulates and activation elements)
        in operators of known kinds and sizes.
    unknown_kinds : tuple of str
        Kinds of operators that training never saw, sorted.
    unknown_sizes : tuple of str
        Kinds that training saw only at other sizes, sorted.
    interval_relative : float
        Half the width of a 90 % interval, as a fraction of ``latency_ms``. It comes from networks
        like those of the training; below full coverage it is a lower bound. NaN where it is not
        known.
    """

    latency_ms: float
    per_operator: tuple[OperatorCost, ...]
    coverage: float
    unknown_kinds: tuple[str, ...]
    unknown_sizes: tuple[str, ...]
    interval_relative: float


@dataclass(frozen=True, repr=False)
class KindCost(ShortRepr):
    """Cost of one kind of operator: milliseconds for each unit of :data:`WORK`, shape (4,).

    ``low`` and ``high``, shape (3,), are the least and largest macs, elements and weights of the
    training's operators of this kind.
    """

    coefficients: Floats
    low: Floats
    high: Floats

    def covers(self, work: Floats) -> bool:
        """Whether an operator's sizes lie within the training's, with some tolerance."""
        sizes = work[:3]
        return bool(
            np.all(sizes >= self.low / SIZE_TOLERANCE)
            and np.all(sizes <= self.high * SIZE_TOLERANCE)
        )


def work_of(operator: Operator) -> tuple[float, float, float, float]:
    """Work of one operator, in the order of :data:`WORK`."""
    weights = math.prod(operator.weight_shape) if operator.weight_shape else 0
    return (float(operator.macs), float(operator.activation_elements), float(weights), 1.0)


class OperatorCostModel:
    """Additive, non-negative costs of operators, learnt from whole networks' latencies.

    Read-only once fitted. Learned attributes: ``costs_`` (by kind), ``shared_`` (coefficients that
    all kinds share, shape (4,)), ``ms_per_work_`` and ``ms_per_operator_`` (plain averages, for
    operators that nothing resembles), ``interval_relative_`` and ``ridge_``.
    """

    costs_: dict[str, KindCost]
    shared_: Floats
    ms_per_work_: float
    ms_per_operator_: float
    interval_relative_: float
    ridge_: float

    def fit(
        self, networks_operators: Sequence[Sequence[Operator]], latency_ms: ArrayLike
    ) -> OperatorCostModel:
        """Learn from n networks' fused operators and their latencies in ms, shape (n,).

        The ridge is chosen, and the interval found, on networks left out of the fit (5 folds).

        Raises
        ------
        InvalidValueError
            For lengths that differ, latencies not finite and above 0, or a network of no operators.
        NotEnoughDataError
            For fewer than 10 networks.
        """
        latency = _checked_latency(networks_operators, latency_ms)
        kinds, work, low, high = _tabulate(networks_operators)
        totals = work.sum(axis=1)
        design = work.reshape(len(work), -1) / latency[:, None]
        shared_design = totals / latency[:, None]
        residuals = _left_out_residuals(design, shared_design)
        self.ridge_ = min(_RIDGES, key=lambda ridge: float(np.mean(residuals[ridge] ** 2)))
        self.interval_relative_ = _conformal(np.abs(residuals[self.ridge_]))
        solver = _Solver(design, shared_design)
        self.shared_ = solver.shared
        coefficients = solver.coefficients(self.ridge_).reshape(len(kinds), len(WORK))
        self.costs_ = {
            kind: KindCost(coefficients[i], low[i], high[i]) for i, kind in enumerate(kinds)
        }
        self.ms_per_work_ = float(latency.sum() / max(totals[:, :2].sum(), 1.0))
        self.ms_per_operator_ = float(latency.sum() / totals[:, 3].sum())
        return self

    def predict(self, network: Network) -> NetworkPrediction:
        """Predict a network as :func:`latprof.graph.reader.read_network` reads it.

        It is fused here. An operator that training has not seen is costed as the most similar kind
        it has, marked, and never free. Raises InvalidValueError before :meth:`fit`, and for a
        network without operators.
        """
        self.check_fitted()
        operators = fuse(network).operators
        if not operators:
            raise InvalidValueError(f"network {network.name!r} has no operators to predict")
        costs, works, new_sizes = [], [], set()
        for operator in operators:
            kind, work = operator.kind, np.array(work_of(operator))
            seen = kind in self.costs_
            resolved = bool(operator.output_shapes)
            known = seen and resolved and self.costs_[kind].covers(work)
            if seen and not known:
                new_sizes.add(kind)
            costs.append(OperatorCost(operator.name, kind, self._cost(kind, work, known), known))
            works.append(work[0] + work[1] if resolved else math.nan)
        shares = np.array(works)
        # The work of an operator with unknown shapes counts as the mean of the others.
        shares[np.isnan(shares)] = np.nanmean(shares) if np.isfinite(shares).any() else 1.0
        covered = np.array([cost.known for cost in costs])
        return NetworkPrediction(
            latency_ms=float(sum(cost.latency_ms for cost in costs)),
            per_operator=tuple(costs),
            coverage=float(shares[covered].sum() / shares.sum()),
            unknown_kinds=tuple(sorted({c.kind for c in costs} - set(self.costs_))),
            unknown_sizes=tuple(sorted(new_sizes)),
            interval_relative=self.interval_relative_,
        )

    def to_bytes(self) -> bytes:
        """Return the fitted model as JSON."""
        self.check_fitted()
        return to_json(
            {
                "format": _FORMAT,
                "work": WORK,
                "kinds": {
                    kind: {"coefficients": c.coefficients, "low": c.low, "high": c.high}
                    for kind, c in self.costs_.items()
                },
                "shared": self.shared_,
                "ms_per_work": self.ms_per_work_,
                "ms_per_operator": self.ms_per_operator_,
                "interval_relative": self.interval_relative_,
                "ridge": self.ridge_,
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> OperatorCostModel:
        """Rebuild a fitted model; raises PackError for what :meth:`to_bytes` did not make."""
        fields = Fields.of_json("operator costs", content)
        fields.integer("format", _FORMAT, _FORMAT)
        if fields.texts("work") != WORK:
            fields.wrong("work", ", ".join(WORK))
        kinds = fields.fields("kinds")
        model = cls()
        model.costs_ = {
            kind: KindCost(
                _at_least_zero(kinds.fields(kind), "coefficients", 4),
                _at_least_zero(kinds.fields(kind), "low", 3),
                _at_least_zero(kinds.fields(kind), "high", 3),
            )
            for kind in kinds.values
        }
        if not model.costs_:
            raise PackError("operator costs: there are no kinds")
        model.shared_ = _at_least_zero(fields, "shared", 4)
        model.ms_per_work_ = fields.number("ms_per_work", 1e-300)
        model.ms_per_operator_ = fields.number("ms_per_operator", 1e-300)
        interval = fields.optional_number("interval_relative", 0.0)
        model.interval_relative_ = math.nan if interval is None else interval
        model.ridge_ = fields.number("ridge", 0.0)
        return model

    def _cost(self, kind: str, work: Floats, known: bool) -> float:  # noqa: FBT001
        """Cost of an operator in ms; above 0 unless training found that the kind is free."""
        if known:
            return float(self.costs_[kind].coefficients @ work)
        nearest = self.costs_.get(kind) or self.costs_.get(_nearest(kind, self.costs_) or "")
        candidates = [nearest.coefficients @ work] if nearest else []
        candidates.append(self.shared_ @ work)
        candidates.append(self.ms_per_work_ * (work[0] + work[1]))
        return float(next((c for c in candidates if c > 0), self.ms_per_operator_))

    def check_fitted(self) -> None:
        if not hasattr(self, "costs_"):
            raise InvalidValueError("the operator costs are not fitted yet; call fit first")


def _checked_latency(networks: Sequence[Sequence[Operator]], latency_ms: ArrayLike) -> Floats:
    latency = np.asarray(latency_ms, dtype=np.float64)
    if latency.shape != (len(networks),):
        raise InvalidValueError(
            "latency_ms has the wrong shape", expected=f"({len(networks)},)", got=str(latency.shape)
        )
    if len(networks) < MIN_NETWORKS:
        raise NotEnoughDataError(
            "too few measured networks to fit operator costs",
            expected=f"at least {MIN_NETWORKS}",
            got=str(len(networks)),
            hint="measure more with latprof collect",
        )
    if not np.all(np.isfinite(latency) & (latency > 0)):
        raise InvalidValueError("latency_ms holds values that are not finite and above 0")
    if not all(networks):
        raise InvalidValueError("a network has no operators")
    return latency


def _tabulate(
    networks: Sequence[Iterable[Operator]],
) -> tuple[list[str], Floats, Floats, Floats]:
    """Sum the work of every network by kind.

    Returns the kinds, the sums of shape (n, kinds, 4), and each kind's least and largest sizes of
    shape (kinds, 3).
    """
    rows = [
        (index, operator.kind, work_of(operator))
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
    return kinds, sums, low, high


def _left_out_residuals(design: Floats, shared_design: Floats) -> dict[float, Floats]:
    """Relative errors (measured over predicted, less 1) of networks left out, by ridge."""
    fold = np.random.default_rng(0).permutation(len(design)) % _FOLDS
    predicted = {ridge: np.empty(len(design)) for ridge in _RIDGES}
    for held_out in range(_FOLDS):
        inside = fold != held_out
        solver = _Solver(design[inside], shared_design[inside])
        for ridge, values in predicted.items():
            values[~inside] = design[~inside] @ solver.coefficients(ridge)
    return {ridge: 1.0 / np.maximum(values, 1e-9) - 1.0 for ridge, values in predicted.items()}


class _Solver:
    """Fits coefficients to latencies of 1: the rows of both designs are divided by theirs."""

    def __init__(self, design: Floats, shared_design: Floats) -> None:
        self.shared = _ridge_nnls(
            _Compressed(shared_design), np.zeros(shared_design.shape[1]), 1e-9
        )
        self._design = _Compressed(design)
        self._prior = np.tile(self.shared, design.shape[1] // len(self.shared))

    def coefficients(self, ridge: float) -> Floats:
        """Coefficients of the kinds, drawn towards the shared ones."""
        return _ridge_nnls(self._design, self._prior, ridge)


class _Compressed:
    """``design @ x = 1`` with the same least-squares solutions and few rows."""

    def __init__(self, design: Floats) -> None:
        rows = len(design)
        # Columns scaled to a root mean square of 1, so that penalties weigh latency, not units.
        scale = np.sqrt(np.mean(design**2, axis=0))
        self.used = scale > 0
        self.scale = scale[self.used]
        target = np.ones((rows, 1))
        both = np.hstack([design[:, self.used] / self.scale, target])
        factor: Floats = np.linalg.qr(both).R / math.sqrt(rows)
        self.matrix, self.target = factor[:, :-1], factor[:, -1]


def _ridge_nnls(design: _Compressed, prior: Floats, ridge: float) -> Floats:
    """Non-negative least squares with a penalty on the distance to ``prior``.

    Coefficients of columns that are zero everywhere are the prior's.
    """
    from scipy.optimize import nnls  # not needed to predict

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


def _nearest(kind: str, known: Iterable[str]) -> str | None:
    """Return the most similar known kind, or None.

    Convolutions: the same family at the nearest kernel size, else dense ones. Matrix products: 1x1
    convolutions. All else moves data: additions, else pools.
    """
    names = sorted(known)
    match = _SIZED.fullmatch(kind)
    families = (match[1], "conv") if match else ("conv",) if kind == "linear" else ()
    size = int(match[2]) if match else 1
    for family in families:
        sizes = {
            name: int(m[2]) for name in names if (m := _SIZED.fullmatch(name)) and m[1] == family
        }
        if sizes:
            return min(sizes, key=lambda name: abs(math.log(sizes[name] / max(size, 1))))
    fallback = ("linear",) if families else ("add", "pool")
    return next((name for name in fallback if name in names), None)


def _at_least_zero(fields: Fields, name: str, length: int) -> Floats:
    values = fields.array(name, (length,))
    if np.any(values < 0):
        fields.wrong(name, "numbers of at least 0")
    return values
