"""Predicting networks that come as graphs: ONNX files, members of the pack's space or not."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latprof.common.framed import Framed
from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr, whole_percent
from latprof.errors import CoverageError, ModelFileError, PackSpaceError
from latprof.graph.fusion_rules import VIEWS
from latprof.predictors.pack.comparing_models import compared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Architecture
    from latprof.graph.operators import Network
    from latprof.measurement.records import Target
    from latprof.predictors.kernels.operator_costs import OperatorCost
    from latprof.predictors.pack.comparing_models import ComparedModel
    from latprof.predictors.pack.pack import Pack


#: Below this coverage an answer from kernels is shown as a guess.
_COVERED_ENOUGH = 0.9


@dataclass(frozen=True)
class CheaperKernel:
    """A cheaper configuration of one kernel, and what it would take in its place.

    ``place`` is the size of what the kernel writes, without the batch; ``instead`` says in words
    what is changed.
    """

    name: str
    kind: str
    place: str
    latency_ms: float
    instead: str
    instead_ms: float

    @property
    def saves_ms(self) -> float:
        """What the change saves."""
        return self.latency_ms - self.instead_ms

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        return (
            f"{self.name} ({self.kind}{where}): {self.latency_ms:.3g} ms; "
            f"{self.instead}: {self.instead_ms:.3g}"
        )


@dataclass(frozen=True, repr=False)
class Answer(ShortRepr, Framed):
    """The predicted latency of one network.

    ``how`` is ``"architecture"`` where the network belongs to the pack's space (then
    ``architecture`` is its spelling, the interval holds for ``interval_coverage`` of measurements,
    ``upper_ms`` is the bound that was asked for and ``distance`` is above 1 outside the region of
    the training networks), ``"kernels"`` where the predicted times of its kernels are summed, with
    an interval at every coverage, or ``"operators"`` where its operators' costs are summed: a guess
    without an interval (NaN, and ``interval_coverage`` 0). ``coverage`` is the share of
    ``latency_ms`` in operators that the pack's measurements know; ``unknown`` names the others.
    ``changes`` are cheaper configurations of its kernels, where they were asked for.
    ``differences`` says in what the model differs from what the pack was measured with.
    ``measured_here`` counts kernels that were measured on this host after the pack was made.
    ``uncertain`` says what of the model's work cannot be told without running it, such as how often
    a loop runs; what depends on it counts as not covered.
    Latencies in milliseconds.
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
    interval_coverage: float = 0.0
    differences: tuple[str, ...] = ()
    changes: tuple[CheaperKernel, ...] = ()
    measured_here: int = 0
    uncertain: tuple[str, ...] = ()

    @property
    def is_guess(self) -> bool:
        """Whether the answer rests on what was not measured.

        Summed operators without an interval, or kernels of which a tenth or more of the latency is
        outside the training range.
        """
        return self.how == "operators" or self.coverage < _COVERED_ENOUGH

    def _repr_html_(self) -> str:
        known = math.isfinite(self.low_ms) and math.isfinite(self.high_ms)
        interval = f"{self.low_ms:.3f} to {self.high_ms:.3f} ms" if known else "not known"
        name = f"{self.interval_coverage:.0%} interval" if self.interval_coverage else "interval"
        latency = f"~ {self.latency_ms:.3f} ms (a guess)"
        latency = latency if self.is_guess else f"{self.latency_ms:.3f} ms"
        rows = [("latency", latency), (name, interval)]
        if self.upper_ms is not None:
            rows.append(("upper bound", f"{self.upper_ms:.3f} ms"))
        rows.append(("coverage", f"{whole_percent(self.coverage)}: {self._coverage_meaning}"))
        if self.unknown:
            rows.append(("not covered", ", ".join(self.unknown)))
        rows += [("not certain", each) for each in self.uncertain]
        rows += [("differs", difference) for difference in self.differences]
        rows.append(("target", "unknown" if self.target is None else self.target.describe()))
        return html_table(self.name, rows)

    @property
    def _coverage_meaning(self) -> str:
        if self.how == "kernels":
            return "share of the latency from kernels within the training range"
        if not self.is_guess:
            return "an architecture of the pack's search space"
        return "share of the latency from operators that the pack's measurements know"

    def frame_rows(self) -> list[dict[str, Any]]:
        """One row."""
        return Answers([self]).frame_rows()

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values, ``coverage_meaning`` in words."""
        values = dataclasses.asdict(self)
        values |= {"is_guess": self.is_guess, "coverage_meaning": self._coverage_meaning}
        values["target"] = None if self.target is None else self.target.to_dict()
        return values


class Answers(list[Answer], Framed):
    """The answers for several networks: a list, which is a DataFrame of a row a network, too."""

    def frame_rows(self) -> list[dict[str, Any]]:
        """A row a network."""
        return [
            {
                "name": each.name,
                "latency_ms": each.latency_ms,
                "low_ms": each.low_ms,
                "high_ms": each.high_ms,
                "upper_ms": each.upper_ms,
                "interval_coverage": each.interval_coverage,
                "coverage": each.coverage,
                "is_guess": each.is_guess,
                "how": each.how,
                "architecture": each.architecture,
                "target": None if each.target is None else each.target.describe(),
            }
            for each in self
        ]


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
            distance=_rounded(predicted.distance, row),
            interval_coverage=predicted.coverage,
        )
        for row, architecture in enumerate(architectures)
    ]


def _rounded(distance: NDArray[np.float64] | None, row: int) -> float | None:
    """One row's, without digits that depend on the rows beside it."""
    return None if distance is None else round(float(distance[row]), 9)


def is_member(pack: Pack, network: Network) -> bool:
    """Whether a network is of the pack's search space, as the pack's target runs it."""
    return _recognized(pack, compared(pack, network)) is not None


def _recognized(pack: Pack, found: ComparedModel) -> Architecture | None:
    apart = found.elsewhere or found.shape
    return None if apart else pack.predictor.space.recognize(found.network)


def predict_network(
    pack: Pack, network: Network, name: str, *, strict: bool = False, upper: float | None = None
) -> Answer:
    """Predict a network that was read from a model.

    Model and pack are compared: where the model's batch size or number format is another, no
    operator counts as known.

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
        With ``strict``, naming the unknown operators and the differences.
    ModelFileError
        For a network without operators that do work.
    PackSpaceError
        When the network is not of the pack's space and the pack knows nothing else.
    """
    if all(operator.op_type in VIEWS for operator in network.operators):
        raise ModelFileError(f"{name} has no operators to predict", expected="operators that work")
    found = compared(pack, network)
    architecture = _recognized(pack, found)
    if architecture is not None:
        answer = predict_architectures(pack, [architecture], upper=upper)[0]
        return dataclasses.replace(answer, name=name, differences=found.said)
    if pack.operator_costs is None:
        raise PackSpaceError(
            f"{name} is not of the pack's space {pack.predictor.space.name}, and the pack has no "
            "operator costs",
            hint="train a pack with this version of latprof, or save the predictor again",
        )
    predicted = pack.operator_costs.predict(found.network)
    coverage, operators = predicted.coverage, predicted.per_operator
    unknown = (
        *predicted.unknown_kinds,
        *(f"{kind} of this size" for kind in predicted.unknown_sizes),
        *network.unknown,
    )
    if found.elsewhere:
        coverage, unknown = 0.0, (*found.elsewhere, *unknown)
        operators = tuple(dataclasses.replace(each, known=False) for each in operators)
    if strict and coverage < 1:
        raise CoverageError(
            f"the pack knows only {whole_percent(coverage)} of {name}; unknown: "
            f"{', '.join(unknown)}",
            unknown,
            hint="leave out --strict for a guess, or collect networks with such operators",
        )
    return Answer(
        name=name,
        target=pack.target,
        latency_ms=predicted.latency_ms,
        low_ms=math.nan,
        high_ms=math.nan,
        how="operators",
        coverage=coverage,
        unknown=unknown,
        operators=operators,
        differences=found.said,
    )
