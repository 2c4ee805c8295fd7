"""Searchers by name; each module is loaded when its searcher is asked for."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from latprof.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    from latprof.searchers.base import Searcher

#: Module and class of each method.
_CLASSES = {
    "evolution": ("evolution", "EvolutionSearch"),
    "mnas": ("mnas", "MnasSearch"),
    "netadapt": ("netadapt", "NetAdaptSearch"),
    "nsga2": ("nsga2", "NSGA2Search"),
    "random": ("random_search", "RandomSearch"),
}


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
    found = getattr(importlib.import_module(f"latprof.searchers.{module}"), class_name)
    known = list(inspect.signature(found).parameters)
    for option in options:
        if option not in known:
            raise InvalidValueError(
                f"search method {name} has no option {option!r}",
                field=option,
                expected=", ".join(known) or "none",
            )
    searcher: Searcher = found(**options)
    return searcher
