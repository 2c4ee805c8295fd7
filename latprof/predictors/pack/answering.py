"""Predicting networks that come as graphs: ONNX files, members of the pack's space or not."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.errors import CoverageError, PackSpaceError

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.operators import Network
    from latprof.measurement.records import Target
    from latprof.predictors.kernels.operator_costs import OperatorCost
    from latprof.predictors.pack.pack import Pack


@dataclass(frozen=True, repr=False)
class Answer(ShortRepr):
    """The predicted latency of one network.

    ``how`` is ``"architecture"`` where the network belongs to the pack's space (then
    ``architecture`` is its spelling, the interval holds, ``upper_ms`` is the bound that was asked
    for and ``distance`` is above 1 outside the region of the training networks) or
    ``"operators"`` where its operators' costs are summed (then ``coverage`` is the share of its
    work that is within the range of the training data; the interval is that of the training
    networks only, and NaN below full coverage). Latencies in milliseconds.
    """

    name: str
    target: Target | None
    latency_ms: float
    low_ms: float
    high_ms: float
    how: str
    architecture: str | None = None
    coverage: float = 1.0
    unknown: tuple[str, ...] = ()
    operators: tuple[OperatorCost, ...] = ()
    upper_ms: float | None = None
    distance: float | None = None

    def _repr_html_(self) -> str:
        known = math.isfinite(self.low_ms) and math.isfinite(self.high_ms)
        interval = f"{self.low_ms:.3f} to {self.high_ms:.3f} ms" if known else "not known"
        rows = [("latency", f"{self.latency_ms:.3f} ms"), ("interval", interval)]
        if self.upper_ms is not None:
            rows.append(("upper bound", f"{self.upper_ms:.3f} ms"))
        rows.append(("coverage", f"{self.coverage:.0%}"))
        rows.append(("target", "unknown" if self.target is None else self.target.describe()))
        return html_table(self.name, rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values."""
        values = dataclasses.asdict(self)
        values["target"] = None if self.target is None else self.target.to_dict()
        return values


def predict_architectures(
    pack: Pack, architectures: list[Architecture], *, upper: float | None = None
) -> list[Answer]:
    """Predict architectures of the pack's space, with a bound at the share ``upper`` if given."""
    if not architectures:
        return []
    predicted = pack.predict(architectures)
    rows: list[Any] = [None] * len(architectures)
    bounds = rows if upper is None else pack.predictor.predict(architectures, upper=upper).tolist()
    return [
        Answer(
            name=str(architecture),
            target=pack.target,
            latency_ms=float(predicted.latency_ms[row]),
            low_ms=float(predicted.low_ms[row]),
            high_ms=float(predicted.high_ms[row]),
            how="architecture",
            architecture=str(architecture),
            upper_ms=bounds[row],
            distance=None if predicted.distance is None else float(predicted.distance[row]),
        )
        for row, architecture in enumerate(architectures)
    ]


def predict_network(
    pack: Pack, network: Network, name: str, *, strict: bool = False, upper: float | None = None
) -> Answer:
    """Predict a network that was read from a model.

    Parameters
    ----------
    pack : Pack
    network : Network
    name : str
        What the answer calls it.
    strict : bool
        Refuse a network whose operators the pack does not all know.
    upper : float, optional
        A share such as 0.95: also the latency that measurements stay below with this probability,
        where the network is of the pack's space.

    Raises
    ------
    CoverageError
        With ``strict``, naming the unknown operators.
    PackSpaceError
        When the network is not of the pack's space and the pack knows nothing else.
    """
    architecture = _member(pack, network)
    if architecture is not None:
        answer = predict_architectures(pack, [architecture], upper=upper)[0]
        return dataclasses.replace(answer, name=name)
    if pack.operator_costs is None:
        raise PackSpaceError(
            f"{name} is not of the pack's space {pack.predictor.space.name}, and the pack has no "
            "operator costs",
            hint="train a pack with this version of latprof, or save the predictor again",
        )
    found = pack.operator_costs.predict(network)
    unknown = (*found.unknown_kinds, *(f"{kind} of this size" for kind in found.unknown_sizes))
    if strict and found.coverage < 1:
        raise CoverageError(
            f"the pack knows only {found.coverage:.0%} of {name}; unknown: {', '.join(unknown)}",
            unknown,
            hint="leave out --strict for a guess, or collect networks with such operators",
        )
    # Operators outside the training range may take any time: there is no interval then.
    spread = found.interval_relative if found.coverage == 1 else math.nan
    return Answer(
        name=name,
        target=pack.target,
        latency_ms=found.latency_ms,
        low_ms=found.latency_ms * (1 - min(spread, 1.0)),
        high_ms=found.latency_ms * (1 + spread),
        how="operators",
        coverage=found.coverage,
        unknown=unknown,
        operators=found.per_operator,
    )


def _member(pack: Pack, network: Network) -> Architecture | None:
    """The architecture that ``network`` is, where it is one and runs as the pack's target does."""
    space = pack.predictor.space
    shapes = [shape for _, shape in network.inputs]
    wanted = None if pack.target is None else pack.target.input_shape
    if wanted is not None and shapes != [wanted]:
        return None
    return space.recognize(network)
