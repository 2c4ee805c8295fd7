"""The contract of a predictor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.extras import require
from latprof.common.limits import INNER_SHARE
from latprof.common.short_reprs import ShortRepr
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.errors import InvalidValueError, NotEnoughDataError
from latprof.predictors.estimator import Estimator
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.calibration import COVERAGE, Calibration, calibrate
from latprof.predictors.fitting.repeated import DistinctRows, distinct_rows

if TYPE_CHECKING:
    from latprof.predictors.fitting.factors import Factor
    from latprof.predictors.fitting.trees import TreeEnsemble

Floats: TypeAlias = NDArray[np.float64]
Choices: TypeAlias = NDArray[np.uint8]
Batch: TypeAlias = Sequence[Architecture] | NDArray[np.integer[Any]]

#: What a fitted predictor saves: file names inside a pack, and their bytes. Never a pickle.
PackFiles: TypeAlias = dict[str, bytes]

#: Latencies above this, some thirty years, are no latencies, and a pack may not state them.
_LARGEST_MS = 1e12


@dataclass(frozen=True, eq=False, repr=False)
class Terms(ShortRepr):
    """A fitted predictor as ``intercept_ms`` plus factors plus trees."""

    intercept_ms: float
    factors: tuple[Factor, ...] = ()
    trees: TreeEnsemble | None = None


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(ShortRepr):
    """What fitting owes the contract, beside the learned state that it leaves in the predictor.

    Parameters
    ----------
    out_of_fold_ms : array of shape (n,)
        What models that had not seen a row predicted for it, in milliseconds. Intervals and upper
        bounds are made from it, so predictions of rows that were seen would make them too narrow.
    region : integer array of shape (m, decisions), optional
        Architectures that the predictor knows, where these are more than the rows:
        :meth:`Predictor.distance` counts from them.
    """

    out_of_fold_ms: Floats
    region: Choices | None = None


class Predictor(Estimator):
    """Predicts the latency of a search space's architectures, in milliseconds.

    The estimator contract of scikit-learn: ``__init__`` only stores its arguments, ``fit`` returns
    self, learned attributes end in ``_``, the same data and ``seed`` give the same predictor, and
    ``sklearn.base.clone``, ``cross_val_score`` and ``GridSearchCV`` take it. A fitted predictor is
    read-only and safe to share between threads.

    Subclasses set :attr:`name` and implement ``_fit``, ``_predict``, :meth:`to_files` and
    :meth:`from_files`; :meth:`terms` too where they are a sum of tables and trees, for gradients
    and transfers.

    Errors: InvalidValueError for architectures of another space, for values that are no latencies
    and before :meth:`fit`; NotEnoughDataError for too few rows; CoverageError for what is not
    known; PackError, and nothing else, for files that are missing or malformed. Arguments are left
    as they are, and a second :meth:`fit` forgets the first.
    :class:`latprof.testing.PredictorContract` checks all of this.

    Parameters
    ----------
    space : SearchSpace
        The space of the architectures it is fitted on and asked about.

    Attributes
    ----------
    out_of_fold_ms_ : array of shape (n,)
        What models that had not seen a training row predicted for it, in milliseconds. Not saved.
    rows_ : DistinctRows
        The networks that it was fitted to, each once. Not saved.
    drift_ms_ : array of shape (n,) or None
        What was taken off the training rows because it followed their order. Not saved.
    calibration_ : Calibration or None
        How far predictions can be trusted; None where that is not known.
    """

    #: The name that the command line takes and a pack's manifest carries.
    name: ClassVar[str] = ""
    #: Fewest training rows that :meth:`fit` accepts: what is left of ten after a fifth is held out.
    min_rows: ClassVar[int] = 8

    #: Whether predictions rest on more than the rows of :meth:`fit`, such as other devices'.
    beyond_rows: ClassVar[bool] = False

    space: SearchSpace
    out_of_fold_ms_: Floats
    rows_: DistinctRows
    drift_ms_: Floats | None = None
    calibration_: Calibration | None = None

    def fit(
        self, architectures: Batch, latency_ms: ArrayLike, *, order: ArrayLike | None = None
    ) -> Self:
        """Learn from n measured architectures; rows of the same network count as one, their mean.

        Parameters
        ----------
        architectures : sequence of Architecture, or integer array of shape (n, decisions)
        latency_ms : array of shape (n,)
            Measured latencies in milliseconds, all finite and above 0.
        order : array of shape (n,), optional
            When or as which each row was measured. Where rows left out show a drift over it
            (:mod:`latprof.measurement.quiet.row_drift`), that is taken off before the fit;
            predictions are of the mean, and intervals hold it.

        Raises
        ------
        NotEnoughDataError
            For fewer than ``min_rows`` different networks.
        InvalidValueError
            For lengths that differ, values that are not above 0 and at most 1e12, or architectures
            of another space.
        """
        require("train", f"fitting {self.name}", "scipy")
        choices = self.space.choices(architectures)
        target = _as_floats(latency_ms)
        if target.shape != (len(choices),):
            raise InvalidValueError(
                "latency_ms has the wrong shape",
                expected=f"({len(choices)},)",
                got=str(target.shape),
            )
        rows = distinct_rows(self.space.canonical(choices), target)
        if len(rows.choices) < self.min_rows:
            raise NotEnoughDataError(
                f"too few measured architectures to fit {self.name}",
                expected=f"at least {self.min_rows}",
                got=str(len(rows.choices)),
                hint="measure more with latprof collect",
            )
        if not np.all(np.isfinite(target) & (target > 0) & (target <= _LARGEST_MS)):
            raise InvalidValueError(
                "latency_ms holds values that are not finite and above 0",
                expected=f"milliseconds above 0 and up to {_LARGEST_MS:g}",
            )
        when = None if order is None else _order(order, len(choices))
        result = self._fit(rows.choices, rows.mean_ms)
        self.drift_ms_ = None
        if when is not None:
            from latprof.measurement.quiet.row_drift import drift_of_order  # not needed to predict

            unseen = result.out_of_fold_ms[rows.numbers]
            drift = drift_of_order(when, target - unseen, unseen)
            if drift is not None:
                self.drift_ms_ = drift
                steady = distinct_rows(self.space.canonical(choices), target - drift)
                result = self._fit(rows.choices, np.maximum(steady.mean_ms, target.min() / 2))
        region = rows.choices if result.region is None else result.region
        tables, left_out = space_tables(self.space), result.out_of_fold_ms
        self.calibration_ = calibrate(tables, rows.choices, left_out, rows.first_ms, region)
        self.out_of_fold_ms_ = left_out[rows.numbers]
        self.rows_ = rows
        return self

    def predict(self, architectures: Batch, *, upper: float | None = None) -> Floats:
        """Predict n latencies in milliseconds, shape (n,).

        Parameters
        ----------
        architectures : sequence of Architecture, or integer array of shape (n, decisions)
        upper : float, optional
            A share such as 0.95: return latencies that measurements stay below with this
            probability, for searches under a hard limit. It holds for architectures drawn as the
            training rows were; watch :meth:`distance`.

        Raises
        ------
        CoverageError
            Where the predictor does not know a part of an architecture; an unknown part is never
            counted as 0 ms.
        NotEnoughDataError
            Where the training rows are too few for ``upper``, or the predictor has no calibration.
        """
        choices = self._checked(architectures)
        latency = self._predicted(choices)
        if upper is None:
            return latency
        calibration = self._calibrated()
        return np.maximum(calibration.upper(choices, latency, upper), calibration.least_ms)

    def _predicted(self, choices: Choices) -> Floats:
        """Predictions of checked choices, none below half of the least latency measured."""
        latency = self._predict(choices)
        if self.calibration_ is not None:
            np.maximum(latency, self.calibration_.least_ms, out=latency)
        return latency

    def predict_interval(
        self, architectures: Batch, coverage: float = COVERAGE
    ) -> tuple[Floats, Floats]:
        """Ends in ms of n intervals that each hold the measurement with probability ``coverage``.

        Split-conformal, scaled by how difficult each architecture is. With too few training rows
        for ``coverage`` they promise n / (n + 1). Raises as :meth:`predict`.
        """
        INNER_SHARE.check("coverage", coverage)
        choices = self._checked(architectures)
        low, high, _ = self._calibrated().interval(choices, self._predicted(choices), coverage)
        return low, high

    def distance(self, architectures: Batch) -> Floats:
        """How far n architectures are from the training rows, shape (n,); above 1 is outside.

        Mahalanobis distance of their shape totals (multiply-accumulates by kind, elements moved,
        operators, weights) in units of the distance within which 99 % of the training rows lie.
        Raises NotEnoughDataError where the predictor has no calibration.
        """
        return self._calibrated().distance(self._checked(architectures))

    def _checked(self, architectures: Batch) -> Choices:
        self.check_fitted()
        return self.space.canonical(self.space.choices(architectures))

    def _calibrated(self) -> Calibration:
        self.check_fitted()
        if self.calibration_ is None:
            raise NotEnoughDataError(
                f"this {self.name} predictor does not know how far it can be trusted",
                hint="fit it to measurements: packs of format 1 and imported tables cannot tell",
            )
        return self.calibration_

    def terms(self) -> Terms | None:
        """The fitted predictor as a sum of tables and trees, or None where it is no such sum."""
        return None

    @abstractmethod
    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        """Learn from n distinct networks, given by checked choices of shape (n, decisions).

        Sets the learned attributes, each ending in ``_``, and returns what the contract is owed.
        """

    @abstractmethod
    def _predict(self, choices: Choices) -> Floats:
        """Predict from checked choices, shape (n, decisions)."""

    @abstractmethod
    def to_files(self) -> PackFiles:
        """Return the learned state as named plain data (JSON, raw arrays), for a pack."""

    @classmethod
    @abstractmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        """Rebuild a fitted predictor; raises PackError when a file is missing or malformed."""


def _order(order: ArrayLike, rows: int) -> Floats:
    values = np.asarray(order)
    if values.dtype.kind not in "fiu" or values.shape != (rows,) or not np.isfinite(values).all():
        raise InvalidValueError(
            "order is one finite number a row",
            field="order",
            expected=f"shape ({rows},)",
            got=f"{values.dtype} of shape {values.shape}",
        )
    return values.astype(np.float64)


def _as_floats(latency_ms: ArrayLike) -> Floats:
    values = np.asarray(latency_ms)
    if values.dtype.kind not in "fiu":
        raise InvalidValueError(
            "latency_ms is no array of numbers", expected="milliseconds", got=str(values.dtype)
        )
    return values.astype(np.float64)
