"""Packs: a fitted predictor with what it holds for and how good it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof._version import __version__
from latprof.common.extras import require
from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.errors import CoverageError, InvalidValueError, NotEnoughDataError, PackSpaceError
from latprof.predictors.kernels.operator_costs import MIN_NETWORKS, OperatorCostModel
from latprof.predictors.pack.prediction import Prediction

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.graph.operators import Operator
    from latprof.measurement.quiet.target_constant import Constant
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.base import Batch, Choices, Floats, Predictor
    from latprof.predictors.fitting.evaluation import Metrics
    from latprof.predictors.pack.origin import Origin

#: Choices, shape (n, decisions), and latencies in ms, shape (n,).
Rows: TypeAlias = "tuple[Choices, Floats]"

#: Architectures whose predicted latencies stand for measured ones that are not there.
_SAMPLED = 500


@dataclass(frozen=True, eq=False, repr=False)
class HeldOut(ShortRepr):
    """The rows that were not trained on: spelled architectures, and latencies of shape (n,)."""

    architectures: tuple[str, ...]
    measured_ms: Floats
    predicted_ms: Floats

    def __post_init__(self) -> None:
        rows = (len(self.architectures),)
        if self.measured_ms.shape != rows or self.predicted_ms.shape != rows:
            raise InvalidValueError("held-out rows have different lengths")


def now_as_text() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _nothing() -> Mapping[str, bytes]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Pack:
    """A fitted predictor, and everything that a predicted number has to carry.

    Parameters
    ----------
    predictor : Predictor
        Fitted.
    target : Target, optional
        Where its milliseconds hold; None where nobody said.
    metrics : Metrics, optional
        Of the predictor on the held-out rows.
    comparison : mapping of str to Metrics
        Of all predictors tried on the same split, by name.
    noise_floor : NoiseFloor, optional
        How well the measurements repeat.
    reference : str
        Name of the reference network of the measurements.
    reference_ms : float, optional
        The constant that their ratios were multiplied with.
    constant : Constant, optional
        The same with its version in the store, its doubt and how it was found; None in packs of
        older versions and of measurements without one.
    training_rows : int
    interval_coverage, interval_relative : float
        Share of measurements inside the intervals, and half of the typical (median) interval as a
        share of the prediction; 0 and 0 where they are not known. In packs of format 1 all
        intervals are ``prediction * (1 +- interval_relative)``.
    held_out : HeldOut, optional
    created_at : str
        UTC, ISO 8601.
    latprof_version : str
    operator_costs : OperatorCostModel, optional
        What answers for networks outside the space.
    extra_files : mapping of str to bytes
        Files of others, kept as they are.
    origin : Origin, optional
        Whose measurements they are, where somebody else published them.
    """

    predictor: Predictor
    target: Target | None = None
    metrics: Metrics | None = None
    comparison: Mapping[str, Metrics] = field(default_factory=lambda: MappingProxyType({}))
    noise_floor: NoiseFloor | None = None
    reference: str = ""
    reference_ms: float | None = None
    constant: Constant | None = None
    training_rows: int = 0
    interval_coverage: float = 0.0
    interval_relative: float = 0.0
    held_out: HeldOut | None = None
    created_at: str = field(default_factory=now_as_text)
    latprof_version: str = __version__
    operator_costs: OperatorCostModel | None = None
    extra_files: Mapping[str, bytes] = field(default_factory=_nothing)
    origin: Origin | None = None

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        target: Target | None = None,
        rows: Rows | None = None,
        kernels: Iterable[tuple[Operator, float]] = (),
    ) -> Pack:
        """Make a pack of a fitted predictor: its intervals, and costs of operators of any network.

        Both come from the rows that it was fitted to. Where there are none (it came from a file),
        and for the costs where there are fewer than ten, or it knows more than its rows (a transfer
        rests on other devices), they come from what it predicts for 500 sampled architectures. The
        pack has no held-out rows, and so no metrics.

        Parameters
        ----------
        predictor : Predictor
        target : Target, optional
        rows : pair of arrays, optional
            Choices and latencies that the predictor was fitted to; where they are left out, those
            that it remembers, each network once.
        kernels : iterable of (Operator, float), optional
            Operators of the space's networks that were timed as kernels on the target, and their
            milliseconds: they answer for operators that whole networks say nothing of.

        Raises
        ------
        InvalidValueError
            For a predictor that is not fitted.
        """
        predictor.check_fitted()
        space, calibration = predictor.space, predictor.calibration_
        rows = rows or _remembered_rows(predictor)
        if rows is None or len(rows[0]) < MIN_NETWORKS or predictor.beyond_rows:
            basis = space.sample_choices(min(_SAMPLED, space.num_architectures))
            basis_ms = None
        else:
            basis, basis_ms = rows
        count = 0 if calibration is None else calibration.rows
        pack = cls(predictor, target, training_rows=count if rows is None else len(rows[0]))
        predicted = _predicted(pack, basis)
        typical = predicted if rows is None or basis_ms is not None else _predicted(pack, rows[0])
        coverage, relative = (0.0, 0.0) if typical is None else typical.typical_interval()
        costs = (
            None
            if predicted is None
            else _operator_costs(pack, basis, predicted, basis_ms, kernels)
        )
        return dataclasses.replace(
            pack, interval_coverage=coverage, interval_relative=relative, operator_costs=costs
        )

    def with_costs_of(self, rows: Rows, kernels: Iterable[tuple[Operator, float]] = ()) -> Pack:
        """The pack with operator costs fitted anew to measured rows and timed kernels.

        What it predicts of its space's architectures stays as it is.
        """
        predicted = self.predict(rows[0])
        costs = _operator_costs(self, rows[0], predicted, rows[1], kernels)
        return dataclasses.replace(self, operator_costs=costs)

    def to_frame(self) -> pd.DataFrame:
        """The held-out networks, a row each: architecture, measured_ms, predicted_ms."""
        require("collect", "a DataFrame", "pandas")
        import pandas as pd

        found = self._held_out
        return pd.DataFrame(
            {
                "architecture": list(found.architectures),
                "measured_ms": found.measured_ms,
                "predicted_ms": found.predicted_ms,
            }
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the held-out networks, predicted over measured; return the axes."""
        from latprof.common.axes import axes_of

        ax, found = axes_of(ax), self._held_out
        ax.scatter(found.measured_ms, found.predicted_ms, 12)
        ax.axline((0.0, 0.0), slope=1.0, color="grey", linewidth=0.8)
        if len(found.measured_ms):
            both = np.concatenate([found.measured_ms, found.predicted_ms])
            ends = (float(both.min()) * 0.98, float(both.max()) * 1.02)
            ax.set(xlim=ends, ylim=ends)
        ax.set(xlabel="measured, ms", ylabel="predicted, ms")
        return ax

    @property
    def _held_out(self) -> HeldOut:
        return self.held_out or HeldOut((), np.empty(0), np.empty(0))

    @property
    def space(self) -> SearchSpace:
        """The search space that the predictor knows."""
        return self.predictor.space

    def predict(self, architectures: Batch) -> Prediction:
        """Predict n architectures of :attr:`space`, with intervals; raises as Predictor.predict."""
        choices = self.space.canonical(self.space.choices(architectures))
        latency = self.predictor.predict(choices)
        calibration = self.predictor.calibration_
        if calibration is None:  # a pack of format 1: one width, as a share of the prediction
            if not self.interval_relative > 0:  # no error is known: no interval either
                unknown = np.full_like(latency, np.nan)
                return Prediction(latency, unknown, unknown, self.interval_coverage, self.target)
            ends = [latency * max(1 - self.interval_relative, 0.0)]
            ends.append(latency * (1 + self.interval_relative))
            low, high = np.minimum(*ends), np.maximum(*ends)  # a prediction may be below 0
            return Prediction(latency, low, high, self.interval_coverage, self.target)
        low, high, coverage = calibration.interval(choices, latency)
        distance = calibration.distance(choices)
        return Prediction(latency, low, high, coverage, self.target, distance)

    def check_space(self, space: SearchSpace) -> None:
        """Raise PackSpaceError unless the pack is for ``space``."""
        if difference := space.difference_from(self.space.description):
            raise PackSpaceError(
                f"the pack was trained on another search space: {difference}",
                expected=space.description,
                got=self.space.description,
                hint="train a pack for this space, or ask about the pack's",
            )

    def __repr__(self) -> str:
        return f"<Pack: {', '.join(f'{name} {value}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        return html_table("Predictor pack", self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        """What it is, in a few words each."""
        facts = [("predictor", self.predictor.name), ("space", self.space.name)]
        facts.append(("target", "unknown" if self.target is None else self.target.describe()))
        networks = getattr(self.predictor, "networks_", "unpruned")
        if networks != "unpruned":
            facts.append(("networks", networks))
        if self.training_rows:
            facts.append(("training rows", f"{self.training_rows:,}"))
        if self.metrics is not None:
            facts.append(("held-out error", f"{self.metrics.rmse_percent:.2f} % RMSE"))
        if self.noise_floor is not None:
            facts.append(("noise floor", f"{100 * self.noise_floor.relative:.2f} %"))
        if self.interval_coverage:
            interval = f"+-{100 * self.interval_relative:.1f} %"
            facts.append((f"{self.interval_coverage:.0%} interval", interval))
        if self.origin is not None:
            facts.append(("measurements", self.origin.describe()))
        return facts


def _remembered_rows(predictor: Predictor) -> Rows | None:
    """What a predictor was fitted to, each network once; None where it came from a file."""
    rows = getattr(predictor, "rows_", None)
    return None if rows is None else (rows.choices, rows.mean_ms)


def _predicted(pack: Pack, choices: Choices) -> Prediction | None:
    """Predictions with intervals; None where a lookup table has gaps."""
    try:
        return pack.predict(choices)
    except CoverageError:
        return None


def _operator_costs(
    pack: Pack,
    choices: Choices,
    predicted: Prediction,
    latency_ms: Floats | None,
    kernels: Iterable[tuple[Operator, float]],
) -> OperatorCostModel | None:
    """Operator costs that agree with a pack's predictor; None for fewer than ten architectures.

    Where there are only predictions to fit them to, their interval is the product of their own and
    the predictor's; NaN, not known, where the predictor has none.
    """
    batch_size = 1 if pack.target is None else pack.target.batch_size
    try:
        architectures = pack.space.architectures(choices)
        networks = [pack.space.operators(each, batch_size) for each in architectures]
        costs = OperatorCostModel().fit(
            networks, predicted.latency_ms if latency_ms is None else latency_ms, kernels
        )
    except (NotEnoughDataError, InvalidValueError):
        return None
    if latency_ms is None:
        coverage, relative = predicted.typical_interval()
        both = (1 + costs.interval_relative_) * (1 + relative) - 1
        costs.interval_relative_ = both if coverage else math.nan
    return costs
