"""Searchers by name; each module is loaded when its searcher is asked for."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latprof.errors import InvalidValueError, MissingDependencyError, UnknownNameError

if TYPE_CHECKING:
    from latprof.searchers.base import Searcher

#: Module and class of each method.
_CLASSES = {
    "fbnet": ("differentiable.fbnet", "FBNetSearch"),
    "lightnas": ("differentiable.lightnas", "LightNAS"),
    "proxyless-g": ("differentiable.proxyless", "ProxylessG"),
    "proxyless-r": ("differentiable.proxyless", "ProxylessR"),
    "evolution": ("evaluating.evolution", "EvolutionSearch"),
    "mnas": ("evaluating.mnas", "MnasSearch"),
    "netadapt": ("evaluating.netadapt", "NetAdaptSearch"),
    "nsga2": ("evaluating.nsga2", "NSGA2Search"),
    "random": ("evaluating.random_search", "RandomSearch"),
}


#: Methods that train one network with all candidates in it; their budget counts epochs, and they
#: are given a task's images as ``task``.
GRADIENT_METHODS = frozenset({"fbnet", "lightnas", "proxyless-g", "proxyless-r"})


def searcher_names() -> list[str]:
    """Names that :func:`get_searcher` knows, sorted."""
    return sorted(_CLASSES)


def get_searcher(name: str, **options: Any) -> Searcher:
    """Make a searcher, for example ``get_searcher("evolution", population=64)``.

    Raises UnknownNameError, which lists what exists, InvalidValueError for unknown options, and
    MissingDependencyError where the method's library is not installed.
    """
    if name not in _CLASSES:
        raise UnknownNameError("search method", str(name), _CLASSES)
    module, class_name = _CLASSES[name]
    try:
        found = getattr(importlib.import_module(f"latprof.searchers.{module}"), class_name)
    except ImportError as error:
        raise MissingDependencyError(str(error.name), "search", f"search method {name}") from None
    known = option_names(found)
    for option in options:
        if option not in known:
            raise InvalidValueError(
                f"search method {name} has no option {option!r}",
                field=option,
                expected=", ".join(known) or "none",
            )
    _check_types(name, found, options)
    searcher: Searcher = found(**options)
    return searcher


def _check_types(name: str, found: type[Searcher], options: Mapping[str, Any]) -> None:
    """Raise InvalidValueError for an option of another type than its default's."""
    defaults: dict[str, inspect.Parameter] = {}
    for owner in found.__mro__:
        if "__init__" in vars(owner) and owner is not object:
            defaults = dict(inspect.signature(owner).parameters) | defaults
    for option, value in options.items():
        parameter = defaults[option]
        optional = value is None and "None" in str(parameter.annotation)
        if not optional and not _fits(value, parameter.default):
            raise InvalidValueError(
                f"option {option!r} of search method {name} is of another type",
                field=option,
                expected=f"such as {parameter.default!r}",
                got=repr(value)[:100],
            )


def _fits(value: object, default: object) -> bool:
    match default:
        case bool() | str():
            return type(value) is type(default)
        case int():
            return isinstance(value, int) and not isinstance(value, bool)
        case float():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and math.isfinite(value)  # type: ignore[arg-type]
        case tuple():
            if not isinstance(value, tuple | list) or len(value) != len(default):
                return False
            return all(map(_fits, value, default))
    return True


def option_names(found: type[Searcher]) -> list[str]:
    """Names of a searcher's options, those it hands on to its base included."""
    names: list[str] = []
    for owner in found.__mro__:
        if "__init__" not in vars(owner) or owner is object:
            continue
        parameters = inspect.signature(owner).parameters.values()
        names += [p.name for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in names]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names
