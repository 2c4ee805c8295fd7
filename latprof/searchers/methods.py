"""Searchers by name; each module is loaded when its searcher is asked for."""

from __future__ import annotations

from typing import Any

from latprof.registry import SEARCHERS, make
from latprof.searchers.base import Searcher


def searcher_names() -> list[str]:
    """Names that :func:`get_searcher` knows, those of other packages included, sorted."""
    return SEARCHERS.names(special=True)


def searcher_class(name: str) -> type[Searcher]:
    """The search method of that name.

    Raises
    ------
    UnknownNameError
        Where there is no such method; it lists what exists.
    EntryPointError
        Where the method is another package's and cannot be loaded.
    MissingDependencyError
        Where the method's library is not installed.
    """
    found: type[Searcher] = SEARCHERS.load(name, Searcher)
    return found


def get_searcher(name: str, **options: Any) -> Searcher:
    """Make a searcher, for example ``get_searcher("evolution", population=64)``.

    Raises as :func:`searcher_class`, and InvalidValueError for options that it does not have or
    refuses.
    """
    searcher: Searcher = make(f"search method {name}", searcher_class(name), options)
    return searcher
