"""The estimator contract of scikit-learn, kept without importing it.

``sklearn.base.clone``, ``cross_val_score`` and ``GridSearchCV`` take what derives from
:class:`Estimator`; a test runs them. scikit-learn is loaded only where it asks for its own tags.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from latprof.common.short_reprs import short
from latprof.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class Estimator(ABC):
    """A regressor whose ``__init__`` stores its arguments, unchanged, under their names.

    ``fit`` returns self and sets attributes that end in ``_``; the same rows and arguments give
    the same predictions.
    """

    @abstractmethod
    def predict(self, architectures: Any) -> NDArray[np.float64]:
        """Predict n values, shape (n,)."""

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Names of the arguments of ``__init__``, in its order."""
        return tuple(inspect.signature(cls.__init__).parameters)[1:]

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - scikit-learn's signature
        """Return the arguments of ``__init__``: ``type(p)(**p.get_params())`` is p, unfitted.

        ``deep`` is scikit-learn's: it would also open arguments that are estimators to be fitted,
        and there are none.
        """
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self, **parameters: Any) -> Self:
        """Set arguments of ``__init__``; what was learned stays until the next ``fit``.

        Raises InvalidValueError for a name that is none of them.
        """
        known = self.parameter_names()
        for name in parameters:
            if name not in known:
                raise InvalidValueError(
                    f"{type(self).__name__} has no parameter {name!r}", expected=", ".join(known)
                )
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def clone(self) -> Self:
        """Return an unfitted copy with the same arguments."""
        return type(self)(**self.get_params(deep=False))

    @property
    def fitted(self) -> bool:
        """Whether ``fit`` has been called, or the learned state was loaded."""
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))

    def check_fitted(self) -> None:
        """Raise InvalidValueError before ``fit``."""
        if not self.fitted:
            raise InvalidValueError(f"this {type(self).__name__} is not fitted yet; call fit first")

    def score(self, architectures: Any, latency_ms: ArrayLike) -> float:
        """Coefficient of determination R^2 of the predictions of n rows; 1 is best.

        ``1 - sum (y - p)^2 / sum (y - mean y)^2``. For constant latencies it is 1 where all
        predictions are exact and 0 otherwise, as scikit-learn has it. Raises InvalidValueError
        for ``latency_ms`` of another shape than (n,), and what ``predict`` raises.
        """
        measured = np.asarray(latency_ms, dtype=np.float64)
        predicted = self.predict(architectures)
        if measured.shape != predicted.shape:
            raise InvalidValueError(
                "latency_ms has the wrong shape",
                expected=str(predicted.shape),
                got=str(measured.shape),
            )
        residual = float(np.sum((measured - predicted) ** 2))
        total = float(np.sum((measured - measured.mean()) ** 2))
        if total == 0:
            return 1.0 if residual == 0 else 0.0
        return 1.0 - residual / total

    # scikit-learn's own questions ----------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        """A regressor with one output, as scikit-learn's meta-estimators ask for it."""
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True, positive_only=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(categorical=True, positive_only=True),
        )

    def __sklearn_clone__(self) -> Self:
        """Spaces and other devices' predictors are shared by copies, not copied or unfitted."""
        return self.clone()

    def __sklearn_is_fitted__(self) -> bool:
        return self.fitted

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{name}={short(value)}" for name, value in self.get_params(deep=False).items()
        )
        return f"{type(self).__name__}({arguments})"
