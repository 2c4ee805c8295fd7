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

from latprof.datasets.space import Architecture, SearchSpace
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError

if TYPE_CHECKING:
    from latprof.measurement.records import Target

Floats: TypeAlias = NDArray[np.float64]
Batch: TypeAlias = Sequence[Architecture] | NDArray[np.integer[Any]]

#: What a fitted predictor saves: file names inside a pack, and their bytes. Never a pickle.
PackFiles: TypeAlias = dict[str, bytes]


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
    """

    latency_ms: Floats
    low_ms: Floats
    high_ms: Floats
    coverage: float
    target: Target | None

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

    def fit(self, architectures: Batch, latency_ms: ArrayLike) -> Self:
        """Learn from n measured architectures.

        Parameters
        ----------
        architectures : sequence of Architecture, or integer array of shape (n, decisions)
        latency_ms : array of shape (n,)
            Measured latencies in milliseconds, all finite and above 0.

        Raises
        ------
        NotEnoughDataError
            For fewer than ``min_rows`` rows.
        InvalidValueError
            For lengths that differ, values that are not finite and above 0, or architectures of
            another space.
        """
        choices = self.space.choices(architectures)
        target = np.asarray(latency_ms, dtype=np.float64)
        if target.shape != (len(choices),):
            raise InvalidValueError(
                "latency_ms has the wrong shape",
                expected=f"({len(choices)},)",
                got=str(target.shape),
            )
        if len(choices) < self.min_rows:
            raise NotEnoughDataError(
                f"too few measured architectures to fit {self.name}",
                expected=f"at least {self.min_rows}",
                got=str(len(choices)),
                hint="measure more with latprof collect",
            )
        if not np.all(np.isfinite(target) & (target > 0)):
            raise InvalidValueError("latency_ms holds values that are not finite and above 0")
        self._fit(choices, target)
        return self

    def predict(self, architectures: Batch) -> Floats:
        """Predict n latencies in milliseconds, shape (n,).

        Raises CoverageError where the predictor does not know a part of an architecture; an unknown
        part is never counted as 0 ms.
        """
        self._check_fitted()
        return self._predict(self.space.choices(architectures))

    def save(self, path: str | os.PathLike[str], target: Target | None = None) -> None:
        """Save the fitted predictor as a pack, with ``target`` as where its milliseconds hold.

        The pack has no held-out figures and no interval; those come from
        :func:`latprof.predictors.training.train`. Raises InvalidValueError before :meth:`fit`,
        OutputPathError and DiskFullError.
        """
        from latprof.predictors.pack import Pack, save_pack

        save_pack(Pack(predictor=self, target=target), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: SearchSpace | None = None) -> Self:
        """Load the predictor of a pack; see :func:`latprof.predictors.pack.load_pack`.

        Raises PackError, also where the pack holds another kind of predictor than this class.
        """
        from latprof.predictors.pack import load_pack

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

    @abstractmethod
    def to_files(self) -> PackFiles:
        """Return the learned state as named plain data (JSON, raw arrays), for a pack."""

    @classmethod
    @abstractmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        """Rebuild a fitted predictor; raises PackError when a file is missing or malformed."""
