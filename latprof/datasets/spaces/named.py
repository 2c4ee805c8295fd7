"""Search spaces by name; each module is loaded when its space is asked for."""

from __future__ import annotations

import json
from typing import Any

from latprof.common.own_code.calling import called
from latprof.common.own_code.users_code import load_named
from latprof.datasets.spaces.base import SearchSpace
from latprof.datasets.spaces.own.checked_space import checked_space
from latprof.errors import InvalidValueError, UnknownNameError, UsageError
from latprof.registry import SPACES, make


def space_names() -> list[str]:
    """Names that :func:`get_space` knows, those of other packages included, sorted."""
    return SPACES.names(special=True)


def get_space(name: str, **options: Any) -> SearchSpace:
    """Make a search space, for example ``get_space("proxyless", resolution=192)``.

    ``get_space("mixed-precision", base="fbnet")`` is one that is made of another, and
    ``get_space("my_space:ResNetSpace")`` one of your own: a class, a space that is made already, or
    a function that returns one, in a module that can be imported, from the working directory too,
    or in a file (``"path/to/my_space.py:ResNetSpace"``).

    Raises
    ------
    UnknownNameError
        Where there is no such space; it lists what exists.
    UsageError
        For a module or a name in it that is not there, or is no search space.
    OwnCodeError
        For what your own space raises, or says of itself that cannot be.
    InvalidValueError
        For options that the space does not have or refuses.
    EntryPointError
        Where the space is another package's and cannot be loaded.
    """
    if isinstance(name, str) and ":" in name:
        return _own_space(name, options)
    try:
        found = SPACES.load(name, SearchSpace)
    except UnknownNameError as unknown:
        if "." in str(name) or "/" in str(name):  # a file or a module without what is in it
            unknown.hint = f"one of your own is given with its name, {name}:NAME"
        raise
    with called(f"space {name}"):
        space: SearchSpace = make(f"space {name}", found, options)
    return checked_space(space)


def _own_space(text: str, options: dict[str, Any]) -> SearchSpace:
    """The space that ``module:name`` is, or makes."""
    found = load_named(text, "space")
    if not isinstance(found, SearchSpace) and callable(found):
        with called(text):
            found = make(f"space {text}", found, options)
    elif options:
        raise UsageError(f"{text} is made already and takes no options", field=min(options))
    if not isinstance(found, SearchSpace):
        raise UsageError(
            f"{text} is no search space",
            field="space",
            expected="a class of latprof.SearchSpace, a space, or a function that returns one",
            got=type(found).__name__,
        )
    checked_space(found)
    if ":" in found.name or (found.name in SPACES and found.source_digest):
        raise InvalidValueError(
            f"the name of {text} is taken" if found.name in SPACES else f"{text} has no name",
            field="space",
            expected="an attribute `name` of its own, without a colon",
            got=repr(found.name),
        )
    return found


def space_from_description(text: str) -> SearchSpace:
    """Rebuild a space from :attr:`SearchSpace.description`; raises as :func:`get_space`.

    A description says of a space of your own what it is called, not where it is: UnknownNameError.
    """
    try:
        values = json.loads(text)
        name, options = str(values["name"]), dict(values["options"])
        own = bool(values.get("source"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InvalidValueError(
            "not the description of a search space", got=str(text)[:80]
        ) from None
    if "name" in options:
        raise InvalidValueError(f"space {name} has no option 'name'", field="name")
    if own:
        error = UnknownNameError("space", name, space_names())
        error.hint = "it is one of your own: give it as `space`, MODULE:NAME"
        raise error
    try:
        return get_space(name, **options)
    except UnknownNameError as unknown:
        unknown.hint = f"install the package that brings it; {unknown.hint}"
        raise
