"""Search spaces by name; each module is loaded when its space is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latprof.common.own_code.users_code import folder_searched_last, load_named, said
from latprof.datasets.spaces.base import SearchSpace
from latprof.errors import InvalidValueError, LatprofError, UnknownNameError, UsageError, shown
from latprof.registry import SPACES, make


def space_names() -> list[str]:
    """Names that :func:`get_space` knows, those of other packages included, sorted."""
    return SPACES.names(special=True)


def get_space(name: str, **options: Any) -> SearchSpace:
    """Make a search space, for example ``get_space("proxyless", resolution=192)``.

    ``get_space("mixed-precision", base="fbnet")`` is one that is made of another, and
    ``get_space("my_space:ResNetSpace")`` one of your own: a class, a space that is made already, or
    a function that returns one, in a module that can be imported, from the working directory too.

    Raises
    ------
    UnknownNameError
        Where there is no such space; it lists what exists.
    UsageError
        For a module or a name in it that is not there, or is no search space.
    InvalidValueError
        For options that the space does not have or refuses.
    EntryPointError
        Where the space is another package's and cannot be loaded.
    """
    if isinstance(name, str) and ":" in name:
        return _own_space(name, options)
    space: SearchSpace = make(f"space {name}", SPACES.load(name, SearchSpace), options)
    return space


def _own_space(text: str, options: dict[str, Any]) -> SearchSpace:
    """The space that ``module:name`` is, or makes."""
    found = load_named(text, "space")
    if not isinstance(found, SearchSpace) and callable(found):
        try:
            with folder_searched_last(Path.cwd()):
                found = make(f"space {text}", found, options)
        except LatprofError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
            raise UsageError(f"{text} made no space: {said(error)}", field="space") from None
    elif options:
        raise UsageError(f"{text} is made already and takes no options", field=min(options))
    if not isinstance(found, SearchSpace):
        raise UsageError(
            f"{text} is no search space",
            field="space",
            expected="a class of latprof.SearchSpace, a space, or a function that returns one",
            got=type(found).__name__,
        )
    if not isinstance(found.name, str) or not found.name.isprintable():
        raise InvalidValueError(
            f"{text} has no name",
            field="space",
            expected="an attribute `name`, text of its own",
            got=shown(found.name),
        )
    if not found.name or ":" in found.name or (found.name in SPACES and found.source_digest):
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
        error.hint = "it is one of your own: give it as `space`, MODULE:CLASS"
        raise error
    try:
        return get_space(name, **options)
    except UnknownNameError as unknown:
        unknown.hint = f"install the package that brings it; {unknown.hint}"
        raise
