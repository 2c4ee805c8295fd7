"""Search spaces by name; each module is loaded when its space is asked for."""

from __future__ import annotations

import json
from typing import Any

from latprof.datasets.spaces.base import SearchSpace
from latprof.errors import InvalidValueError, UnknownNameError
from latprof.registry import SPACES, make


def space_names() -> list[str]:
    """Names that :func:`get_space` knows, those of other packages included, sorted."""
    return SPACES.names(special=True)


def get_space(name: str, **options: Any) -> SearchSpace:
    """Make a search space, for example ``get_space("proxyless", resolution=192)``.

    ``get_space("mixed-precision", base="fbnet")`` is one that is made of another.

    Raises
    ------
    UnknownNameError
        Where there is no such space; it lists what exists.
    InvalidValueError
        For options that the space does not have or refuses.
    EntryPointError
        Where the space is another package's and cannot be loaded.
    """
    space: SearchSpace = make(f"space {name}", SPACES.load(name, SearchSpace), options)
    return space


def space_from_description(text: str) -> SearchSpace:
    """Rebuild a space from :attr:`SearchSpace.description`; raises as :func:`get_space`."""
    try:
        values = json.loads(text)
        name, options = str(values["name"]), dict(values["options"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidValueError(
            "not the description of a search space", got=str(text)[:80]
        ) from None
    if "name" in options:
        raise InvalidValueError(f"space {name} has no option 'name'", field="name")
    try:
        return get_space(name, **options)
    except UnknownNameError as error:
        error.hint = f"install the package that brings it; {error.hint}"
        raise
