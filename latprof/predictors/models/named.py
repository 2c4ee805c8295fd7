"""Predictors by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from latprof.errors import InvalidValueError, UnknownNameError
from latprof.predictors.models.boosted_trees import XGBoostPredictor
from latprof.predictors.models.hybrid import HybridPredictor
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.models.lookup_table import LookupTablePredictor
from latprof.predictors.models.transfer import TransferPredictor

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Predictor

#: Predictors by the name that the command line takes and packs carry.
PREDICTORS: dict[str, type[Predictor]] = {
    kind.name: kind
    for kind in (LookupTablePredictor, LinearPredictor, XGBoostPredictor, HybridPredictor)
}
#: Kinds that a pack may hold, by name: also those that are fitted to more than measurements.
KINDS: dict[str, type[Predictor]] = {**PREDICTORS, TransferPredictor.name: TransferPredictor}


def predictor_names() -> list[str]:
    """Names that :func:`make_predictor` knows, sorted."""
    return sorted(PREDICTORS)


def predictor_class(name: str) -> type[Predictor]:
    """The predictor of that name; raises UnknownNameError, which lists what exists."""
    if name not in PREDICTORS:
        raise UnknownNameError("predictor", name, PREDICTORS)
    return PREDICTORS[name]


def predictor_kind(name: str) -> type[Predictor]:
    """The kind of predictor that a pack calls so; raises UnknownNameError."""
    if name not in KINDS:
        raise UnknownNameError("predictor", name, KINDS)
    return KINDS[name]


def make_predictor(name: str, space: SearchSpace, **parameters: Any) -> Predictor:
    """Make an unfitted predictor, for example ``make_predictor("hybrid", space, seed=1)``.

    Raises UnknownNameError, which lists what exists, and InvalidValueError for other parameters.
    """
    kind: Callable[..., Predictor] = predictor_class(name)
    try:
        return kind(space, **parameters)
    except TypeError as error:
        raise InvalidValueError(f"predictor {name}: {error}") from None
