"""Predictors by name; each module is loaded when its predictor is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latprof.errors import UnknownNameError
from latprof.predictors.base import Predictor
from latprof.registry import PREDICTORS, make, option_names

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace


def predictor_names() -> list[str]:
    """Names of the predictors that measurements alone fit, other packages' included, sorted."""
    return PREDICTORS.names()


def predictor_class(name: str, *, special: bool = False) -> type[Predictor]:
    """The predictor of that name; with ``special`` also one that is fitted to more, as packs hold.

    Raises
    ------
    UnknownNameError
        Where there is no such predictor; it lists what exists.
    EntryPointError
        Where the predictor is another package's and cannot be loaded.
    """
    ordinary = special or name in PREDICTORS.built_in
    if not ordinary and name not in predictor_names():
        raise UnknownNameError("predictor", name, predictor_names())
    found: type[Predictor] = PREDICTORS.load(name, Predictor)
    return found


def make_predictor(name: str, space: SearchSpace, **parameters: Any) -> Predictor:
    """Make an unfitted predictor, for example ``make_predictor("hybrid", space, seed=1)``.

    Raises as :func:`predictor_class`, and InvalidValueError for parameters that it does not have or
    refuses.
    """
    made: Predictor = make(f"predictor {name}", predictor_class(name), parameters, space)
    return made


def seeded_predictor(name: str, space: SearchSpace, seed: int) -> Predictor:
    """Make an unfitted predictor, with the seed where it takes one; raises as make_predictor."""
    factory = predictor_class(name)
    parameters = {"seed": seed} if "seed" in option_names(factory) else {}
    made: Predictor = make(f"predictor {name}", factory, parameters, space)
    return made
