"""The contract of a predictor."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.calibration import COVERAGE, Calibration, calibrate, check_share
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.fitting.grid import all_choices, is_small
from latprof.predictors.fitting.repeated import distinct_rows

if TYPE_CHECKING:
    import torch

    from latprof.measurement.records import Target
    from latprof.predictors.fitting.trees import TreeEnsemble

Floats: TypeAlias = NDArray[np.float64]
Batch: TypeAlias = Sequence[Architecture] | NDArray[np.integer[Any]]

#: What a fitted predictor saves: file names inside a pack, and their bytes. Never a pickle.
PackFiles: TypeAlias = dict[str, bytes]

#: Latencies above this, some thirty years, are no latencies, and a pack may not state them.
_LARGEST_MS = 1e12


@dataclass(frozen=True, eq=False)
class Terms:
    """A fitted predictor as ``intercept_ms`` plus factors plus trees."""

    intercept_ms: float
    factors: tuple[Factor, ...] = ()
    trees: TreeEnsemble | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted latencies of n architectures, with the interval and the target they hold for.

    Parameters
    ----------
    latency_ms, low_ms, high_ms : array of shape (n,)
        The prediction, and the ends of its interval.
    coverage : float
        Share of measurements that fall inside such intervals, for networks drawn as the training
        rows were; 0 where the interval is not known and both ends are the prediction.
    target : Target or None
        Where these milliseconds hold.
    distance : array of shape (n,), optional
        From the training rows; above 1 is outside their region, where intervals may be too narrow
        (see :meth:`Predictor.distance`). None where it is not known.
    """

    latency_ms: Floats
    low_ms: Floats
    high_ms: Floats
    coverage: float
    target: Target | None
    distance: Floats | None = None

    def __len__(self) -> int:
        return len(self.latency_ms)


class Predictor(ABC):
    """Predicts the latency of a search space's architectures, in milliseconds.

    The estimator contract of scikit-learn: ``__init__`` only stores its arguments, ``fit`` returns
    self, learned attributes end in ``_``, the same data and ``seed`` give the same predictor.
    A fitted predictor is read-only and safe to share between threads.

    Parameters
    ----------
    space : SearchSpace
        The space of the architectures it is fitted on and asked about.
    """

    #: The name that the command line takes and a pack's manifest carries.
    name: ClassVar[str] = ""
    #: Fewest training rows that :meth:`fit` accepts: what is left of ten after a fifth is held out.
    min_rows: ClassVar[int] = 8

    space: SearchSpace
    #: What models that had not seen a training row predicted for it, shape (n,), in milliseconds;
    #: there after :meth:`fit`, not saved. Intervals are made from it.
    out_of_fold_ms_: Floats
    #: How far predictions can be trusted; None where that is not known.
    calibration_: Calibration | None = None

    def fit(self, architectures: Batch, latency_ms: ArrayLike) -> Self:
        """Learn from n measured architectures; rows of the same network count as one, their mean.

        Parameters
        ----------
        architectures : sequence of Architecture, or integer array of shape (n, decisions)
        latency_ms : array of shape (n,)
            Measured latencies in milliseconds, all finite and above 0.

        Raises
        ------
        NotEnoughDataError
            For fewer than ``min_rows`` different networks.
        InvalidValueError
            For lengths that differ, values that are not above 0 and at most 1e12, or architectures
            of another space.
        """
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
        self.__dict__.pop("_torch_modules", None)
        self._fit(rows.choices, rows.mean_ms)
        tables, left_out = space_tables(self.space), self.out_of_fold_ms_
        known = self._known_region(rows.choices)
        self.calibration_ = calibrate(tables, rows.choices, left_out, rows.first_ms, known)
        self.out_of_fold_ms_ = left_out[rows.numbers]
        return self

    def _known_region(self, choices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Architectures whose region the fitted predictor knows: here the training rows."""
        return choices

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

    def _predicted(self, choices: NDArray[np.uint8]) -> Floats:
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
        check_share("coverage", coverage)
        choices = self._checked(architectures)
        low, high, _ = self._calibrated().interval(choices, self._predicted(choices), coverage)
        return low, high

    def typical_interval(self, architectures: Batch) -> tuple[float, float]:
        """Coverage of 90 % intervals, and half of the median one as a share of the prediction.

        0 and 0 where the predictor has no calibration, or there is no architecture.
        """
        choices = self._checked(architectures)
        if self.calibration_ is None or not len(choices):
            return 0.0, 0.0
        latency = self._predicted(choices)
        low, high, coverage = self.calibration_.interval(choices, latency)
        # A model may predict 0 ms; the interval is then wide, not endless.
        shares = (high - low) / 2 / np.maximum(latency, 1e-3 * float(np.abs(latency).max()))
        return coverage, float(min(np.median(shares), 1e3))

    def distance(self, architectures: Batch) -> Floats:
        """How far n architectures are from the training rows, shape (n,); above 1 is outside.

        Mahalanobis distance of their shape totals (multiply-accumulates by kind, elements moved,
        operators, weights) in units of the distance within which 99 % of the training rows lie.
        Raises NotEnoughDataError where the predictor has no calibration.
        """
        return self._calibrated().distance(self._checked(architectures))

    def _checked(self, architectures: Batch) -> NDArray[np.uint8]:
        self._check_fitted()
        return self.space.canonical(self.space.choices(architectures))

    def _calibrated(self) -> Calibration:
        self._check_fitted()
        if self.calibration_ is None:
            raise NotEnoughDataError(
                f"this {self.name} predictor does not know how far it can be trusted",
                hint="fit it to measurements: packs of format 1 and imported tables cannot tell",
            )
        return self.calibration_

    # Gradients ---------------------------------------------------------------------------

    def expected_latency(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Expected latency in ms of independent decisions, differentiable.

        ``E[LAT] = sum_i sum_j p_ij F(o_ij)`` (ProxylessNAS, equation 2) for additive predictors,
        exact; so are tables over several decisions. For boosted trees it is a surrogate: what
        single decisions and pairs of them explain
        (:func:`~latprof.predictors.gradients.expectation.surrogate_error` tells its error).

        Parameters
        ----------
        probabilities : torch.Tensor of shape (..., decisions, most candidates)
            Each decision's probabilities sum to 1. Where a decision has fewer candidates than
            another the rest is padding: it has no influence, and its gradient is 0.

        Returns
        -------
        torch.Tensor of shape (...)

        Raises
        ------
        InvalidValueError
            For another shape, or what is no tensor of floating-point numbers.
        CoverageError
            Where the predictor does not know a candidate.
        MissingDependencyError
            Where torch is not installed.
        """
        from latprof.predictors.gradients.expectation import check_probabilities, outside_inference

        self._check_fitted()
        check_probabilities(probabilities)
        modules: dict[object, torch.nn.Module] = self.__dict__.setdefault("_torch_modules", {})
        where = (probabilities.device, probabilities.dtype)
        if where not in modules:
            # Kept for later calls, which may want gradients where this one does not.
            with outside_inference():
                modules[where] = self.as_torch().to(*where)
        latency: torch.Tensor = modules[where](probabilities)
        return latency

    def as_torch(self) -> torch.nn.Module:
        """A module that computes :meth:`expected_latency`: buffers, no parameters.

        Raises as :meth:`expected_latency`.
        """
        from latprof.predictors.gradients.expectation import expectation_of, torch_module

        self._check_fitted()
        sizes = self.space.num_choices.tolist()
        terms = self._terms()
        if terms is None or (terms.trees is not None and len(terms.trees)):
            if is_small(sizes):  # a latency for every architecture: exact, whatever made it
                grid = self.predict(all_choices(sizes)).reshape(sizes)
                terms = Terms(0.0, (Factor(tuple(range(len(sizes))), grid),))
            elif terms is None:
                raise InvalidValueError(f"the {self.name} predictor has no expected latency")
        return torch_module(expectation_of(terms, sizes))

    def save(self, path: str | os.PathLike[str], target: Target | None = None) -> None:
        """Save the fitted predictor as a pack, with ``target`` as where its milliseconds hold.

        The pack has no held-out figures and no interval; those come from
        :func:`latprof.predictors.training.split_training.train`. Raises InvalidValueError before
        :meth:`fit`, OutputPathError and DiskFullError.
        """
        from latprof.predictors.pack.pack import Pack, save_pack

        save_pack(Pack(predictor=self, target=target), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: SearchSpace | None = None) -> Self:
        """Load the predictor of a pack; see :func:`latprof.predictors.pack.pack.load_pack`.

        Raises PackError, also where the pack holds another kind of predictor than this class.
        """
        from latprof.predictors.pack.pack import load_pack

        predictor = load_pack(path, space=space).predictor
        if not isinstance(predictor, cls):
            raise PackError(
                f"pack {os.fspath(path)} holds another predictor",
                expected=cls.name,
                got=predictor.name,
                hint="Predictor.load takes any",
            )
        return predictor

    def get_params(self) -> dict[str, Any]:
        """Return the arguments of ``__init__``: ``type(p)(**p.get_params())`` is p, unfitted."""
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names}

    def clone(self) -> Self:
        """Return an unfitted copy with the same arguments."""
        return type(self)(**self.get_params())

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` has been called."""
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    def _check_fitted(self) -> None:
        if not self.fitted:
            raise InvalidValueError(f"the {self.name} predictor is not fitted yet; call fit first")

    @abstractmethod
    def _fit(self, choices: NDArray[np.uint8], latency_ms: Floats) -> None:
        """Learn from checked choices, shape (n, decisions), and latencies, shape (n,)."""

    @abstractmethod
    def _predict(self, choices: NDArray[np.uint8]) -> Floats:
        """Predict from checked choices, shape (n, decisions)."""

    def _terms(self) -> Terms | None:
        """The fitted predictor as a sum of tables and trees, or None where it is no such sum."""
        return None

    @abstractmethod
    def to_files(self) -> PackFiles:
        """Return the learned state as named plain data (JSON, raw arrays), for a pack."""

    @classmethod
    @abstractmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        """Rebuild a fitted predictor; raises PackError when a file is missing or malformed."""


def _as_floats(latency_ms: ArrayLike) -> Floats:
    values = np.asarray(latency_ms)
    if values.dtype.kind not in "fiu":
        raise InvalidValueError(
            "latency_ms is no array of numbers", expected="milliseconds", got=str(values.dtype)
        )
    return values.astype(np.float64)
