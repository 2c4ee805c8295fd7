"""Latency of any ONNX network, from what a search space's measurements say about its operators.

A network's latency is taken as the sum over its operators of a cost that is linear in the
operator's work: multiply-accumulates, activation elements, weights, and 1 for the operator itself.
Each kind of operator has coefficients of its own. Not all of them can be identified from end-to-end
times: what every network of a space has exactly once (stem, pool, classifier) cannot. Such an
operator is known only where a kernel of its size was timed. Everything else is a guess, by a
roofline of what was seen on the target; no operator is answered faster than the best seen there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.checked_json import Fields, to_json
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.graph.fusion import fuse
from latprof.predictors.kernels.kind_costs import KindCost, at_least_zero, nearest_kind
from latprof.predictors.kernels.work_rates import WORK, WorkRates, kind_of, rated, work_of

if TYPE_CHECKING:
    from latprof.graph.operators import Network, Operator
    from latprof.predictors.kernels.learning.cost_fitting import TabulatedWork

Floats: TypeAlias = NDArray[np.float64]

#: Fewest networks to fit on.
MIN_NETWORKS = 10
#: How far a kind's share of the work may lie outside that in training networks.
SHARE_TOLERANCE = 0.1

#: 1 - the first; 2 - which kinds varied and their shares, timed kernels, the target's rates.
_FORMAT = 2
#: Multiply-accumulates a value moved in a mobile network, for costs of format 1.
_MACS_PER_VALUE = 20.0


@dataclass(frozen=True)
class OperatorCost:
    """What one operator of a network costs, and whether measurements of its like say so.

    ``floor_ms`` is what it would take at the best rates seen on the target, where that is known.
    """

    name: str
    kind: str
    latency_ms: float
    known: bool
    floor_ms: float = 0.0


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
        Share of ``latency_ms``, from 0 to 1, in operators that are known: of a kind that the
        training networks identify and a size within theirs, or timed as a kernel.
    unknown_kinds : tuple of str
        Kinds of operators that training does not know at all, sorted.
    unknown_sizes : tuple of str
        Kinds that it knows only at other sizes, sorted.
    interval_relative : float
        Half the width of a 90 % interval of networks like those of the training, as a fraction of
        ``latency_ms``: for any other network too narrow. NaN where it is not known.
    """

    latency_ms: float
    per_operator: tuple[OperatorCost, ...]
    coverage: float
    unknown_kinds: tuple[str, ...]
    unknown_sizes: tuple[str, ...]
    interval_relative: float


class OperatorCostModel:
    """Additive, non-negative costs of operators, learnt from whole networks' latencies.

    Read-only once fitted. Learned attributes: ``costs_`` (by kind), ``rates_`` (the fastest and
    typical rates of the target), ``shared_`` (coefficients that all kinds are drawn towards, shape
    (4,)), ``ms_per_operator_`` (for operators without shapes), ``interval_relative_`` and
    ``ridge_``.
    """

    costs_: dict[str, KindCost]
    rates_: WorkRates
    shared_: Floats
    ms_per_operator_: float
    interval_relative_: float
    ridge_: float

    def fit(
        self,
        networks_operators: Sequence[Sequence[Operator]],
        latency_ms: ArrayLike,
        kernels: Iterable[tuple[Operator, float]] = (),
    ) -> OperatorCostModel:
        """Learn from n networks' fused operators and their latencies in ms, shape (n,).

        ``kernels`` are operators that were timed on the same target, and their milliseconds. The
        ridge is chosen, and the interval found, on networks left out of the fit (5 folds).

        Raises
        ------
        InvalidValueError
            For lengths that differ, latencies not finite and above 0, or a network of no operators.
        NotEnoughDataError
            For fewer than 10 networks.
        """
        from latprof.predictors.kernels.learning.cost_fitting import (
            fit_costs,
            kernel_times,
            tabulate,
        )

        latency = _checked_latency(networks_operators, latency_ms)
        table, timed = tabulate(networks_operators), kernel_times(kernels)
        totals, every = table.sums.sum(axis=1), np.vstack([np.empty((0, 4)), *timed.values()])
        self.rates_ = WorkRates.of(totals, latency, every, every[:, 3])
        self.ms_per_operator_ = float(latency.sum() / totals[:, 3].sum())
        least, largest = table.shares
        self.costs_ = {
            kind: _kind_of(table, i, least[i], largest[i], timed.get(kind))
            for i, kind in enumerate(table.kinds)
        }
        # What kernels say is not fitted again.
        given = self._given_ms(networks_operators)
        if np.any(
            given >= latency
        ):  # the profiler's cost is in them, or they are of other networks
            given = np.zeros(len(latency))
        else:
            table.sums[:, [len(cost.kernels) > 0 for cost in self.costs_.values()]] = 0.0
        found = fit_costs(table, latency, given)
        self.ridge_, self.shared_ = found.ridge, found.shared
        self.interval_relative_ = found.half_width
        self.costs_ = {
            kind: cost
            if cost.from_kernels
            else dataclasses.replace(cost, coefficients=found.coefficients[i])
            for i, (kind, cost) in enumerate(self.costs_.items())
        }
        return self

    def _given_ms(self, networks: Sequence[Sequence[Operator]]) -> Floats:
        """What timed kernels say of each network's operators, summed, shape (n,)."""
        known: dict[tuple[object, ...], float] = {}
        sums = np.zeros(len(networks))
        for row, operators in enumerate(networks):
            for operator in operators:
                work = work_of(operator)
                key = (kind_of(operator), *work)
                if key not in known:
                    known[key] = self.costs_[kind_of(operator)].kernel_ms(np.array(work)) or 0.0
                sums[row] += known[key]
        return sums

    def predict(self, network: Network) -> NetworkPrediction:
        """Predict a network as :func:`latprof.graph.reader.read_network` reads it.

        It is fused here. Timed kernels answer first. The rest is summed from the fitted costs where
        the network is composed as those of the training are; else each operator is costed by a
        roofline, or as the most similar kind where that is slower. What is not known is marked, and
        never free. Raises InvalidValueError before :meth:`fit`, and for a network without
        operators.
        """
        self.check_fitted()
        operators = fuse(network).operators
        if not operators:
            raise InvalidValueError(f"network {network.name!r} has no operators to predict")
        kinds = [kind_of(operator) for operator in operators]
        works = np.array([work_of(operator) for operator in operators])
        fitted = self._fitted(kinds, works)
        floors = self.rates_.floor_ms(works).tolist()
        guesses: dict[tuple[str, bytes], float] = {}  # many operators are alike
        costs = [
            self._cost(operator, kind, work, fitted_ms, floor_ms, guesses)
            for operator, kind, work, fitted_ms, floor_ms in zip(
                operators, kinds, works, fitted, floors, strict=True
            )
        ]
        latency = sum(cost.latency_ms for cost in costs)
        covered = sum(cost.latency_ms for cost in costs if cost.known)
        unknown = {cost.kind for cost in costs if not cost.known}
        sizes = {kind for kind in unknown if kind in self.costs_ and self._knows_some(kind)}
        return NetworkPrediction(
            latency_ms=float(latency),
            per_operator=tuple(costs),
            coverage=1.0 if not unknown else float(covered / latency),
            unknown_kinds=tuple(sorted(unknown - sizes)),
            unknown_sizes=tuple(sorted(sizes)),
            interval_relative=self.interval_relative_,
        )

    def _knows_some(self, kind: str) -> bool:
        return self.costs_[kind].varied or len(self.costs_[kind].kernels) > 0

    def _fitted(self, kinds: Sequence[str], works: Floats) -> list[float | None]:
        """Fitted costs of the operators that end-to-end times speak for; None for the others.

        Only the sum of a network like the training's is identified. So operators that would be
        faster than the fastest rate take from the costs of the others.
        """
        if not self._composed_alike(kinds, works):
            return [None] * len(kinds)
        found = [self.costs_.get(kind) for kind in kinds]
        untimed = np.array([cost is not None and not len(cost.kernels) for cost in found])
        costs = np.zeros(len(kinds))
        for row, cost in enumerate(found):
            if cost is not None and untimed[row]:
                costs[row] = cost.coefficients @ works[row]
        # A network's average says less of the bytes that one of its operators may move in a time.
        averages = not any(len(cost.kernels) for cost in self.costs_.values())
        by_macs, by_all = self.rates_.fastest[0] * works[:, 0], self.rates_.floor_ms(works)
        floors = np.where(averages & (by_macs > 0), by_macs, by_all) * untimed
        above = np.maximum(costs - floors, 0.0)
        whole = self.rates_.floor_ms(works[untimed].sum(axis=0))  # whose average it is a limit for
        spare = max(costs.sum() - floors.sum(), whole - floors.sum(), 0.0)
        shared = floors + (above * (spare / above.sum()) if above.sum() > 0 else 0.0)
        return [float(cost) if own else None for cost, own in zip(shared, untimed, strict=True)]

    def _composed_alike(self, kinds: Sequence[str], works: Floats) -> bool:
        """Whether each kind's part in the work is what it is in networks of the training."""
        names = list({*kinds, *self.costs_})
        rows = {kind: row for row, kind in enumerate(names)}
        parts = np.zeros((len(names), 2))
        work = rated(works)
        np.add.at(parts, [rows[kind] for kind in kinds], work)
        shares = parts / np.maximum(work.sum(axis=0), 1.0)
        nothing = np.zeros(2)
        known = [self.costs_.get(kind) for kind in names]
        low = np.array([nothing if cost is None else cost.least_share for cost in known])
        high = np.array([nothing if cost is None else cost.largest_share for cost in known])
        outside = (shares < low - SHARE_TOLERANCE) | (shares > high + SHARE_TOLERANCE)
        return not outside.any()

    def _cost(
        self,
        operator: Operator,
        kind: str,
        work: Floats,
        fitted_ms: float | None,
        floor_ms: float,
        guesses: dict[tuple[str, bytes], float],
    ) -> OperatorCost:
        name = operator.name
        if not operator.unknown:
            if not operator.output_shapes:
                return OperatorCost(name, kind, self.ms_per_operator_, known=False)
            found = self.costs_.get(kind)
            kernel_ms = None if found is None else found.kernel_ms(work)
            if kernel_ms is not None:
                return OperatorCost(name, kind, max(kernel_ms, floor_ms), known=True)
            if found is not None and fitted_ms is not None:
                return OperatorCost(name, kind, fitted_ms, found.varied and found.covers(work))
        key = kind, work.tobytes()
        if key not in guesses:
            guesses[key] = max(self._guess(kind, work), floor_ms or self.ms_per_operator_)
        return OperatorCost(name, kind, guesses[key], known=False)

    def _guess(self, kind: str, work: Floats) -> float:
        """Cost in ms of an operator that nothing measured speaks for, by what is most like it."""
        found = self.costs_.get(kind)
        alike = [] if found is None else found.nearest_kernel(work)
        likest = kind if found is not None and found.from_kernels else ""
        fitted = [name for name, cost in self.costs_.items() if cost.from_kernels]
        likest = likest or ("" if alike else nearest_kind(kind.partition(" ")[0], fitted) or "")
        guess = self.rates_.guess_ms(work, alike)
        if likest:
            guess = max(guess, float(self.costs_[likest].coefficients @ work))
        return guess

    def to_bytes(self) -> bytes:
        """Return the fitted model as JSON."""
        self.check_fitted()
        return to_json(
            {
                "format": _FORMAT,
                "work": WORK,
                "kinds": {kind: cost.to_dict() for kind, cost in self.costs_.items()},
                "fastest_ms": self.rates_.fastest,
                "typical_ms": self.rates_.typical,
                "shared": self.shared_,
                "ms_per_operator": self.ms_per_operator_,
                "interval_relative": self.interval_relative_,
                "ridge": self.ridge_,
            }
        )

    @classmethod
    def from_bytes(cls, content: bytes) -> OperatorCostModel:
        """Rebuild a fitted model; raises PackError for what :meth:`to_bytes` did not make."""
        fields = Fields.of_json("operator costs", content)
        version = fields.integer("format", 1, _FORMAT)
        if fields.texts("work") != WORK:
            fields.wrong("work", ", ".join(WORK))
        kinds = fields.fields("kinds")
        model = cls()
        model.costs_ = {
            kind: KindCost.of_fields(kinds.fields(kind), version) for kind in kinds.values
        }
        if not model.costs_:
            raise PackError("operator costs: there are no kinds")
        model.shared_ = at_least_zero(fields, "shared", 4)
        if version == 1:  # it has averages alone: a guess is as slow, and nothing is faster
            per_mac = fields.number("ms_per_work", 1e-300)
            averages = np.array([per_mac, per_mac * _MACS_PER_VALUE])
            model.rates_ = WorkRates(averages, averages)
        else:
            model.rates_ = WorkRates(
                at_least_zero(fields, "fastest_ms", 2), at_least_zero(fields, "typical_ms", 2)
            )
        model.ms_per_operator_ = fields.number("ms_per_operator", 1e-300)
        interval = fields.optional_number("interval_relative", 0.0)
        model.interval_relative_ = math.nan if interval is None else interval
        model.ridge_ = fields.number("ridge", 0.0)
        return model

    def check_fitted(self) -> None:
        if not hasattr(self, "costs_"):
            raise InvalidValueError("the operator costs are not fitted yet; call fit first")


def _kind_of(
    table: TabulatedWork, i: int, least: Floats, largest: Floats, timed: Floats | None
) -> KindCost:
    """What is known of a kind before whole networks' latencies are looked at."""
    from latprof.predictors.kernels.learning.cost_fitting import fit_kernels

    kernels = np.empty((0, 4)) if timed is None else timed
    fitted = fit_kernels(kernels)
    return KindCost(
        np.zeros(len(WORK)) if fitted is None else fitted,
        table.low[i],
        table.high[i],
        bool(table.varied[i]),
        least,
        largest,
        kernels,
        fitted is not None,
    )


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
