"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latprof.common.extras import missing_extra


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package that hands on names of its modules.

    Type checkers read the imports under ``TYPE_CHECKING`` instead, so a package has both, and calls
    this where they do not look::

        if not TYPE_CHECKING:
            __getattr__, __dir__ = lazy_names(__name__, {"rewards": ["HARD", "SOFT"]})

    A name whose module needs a library that is not installed raises MissingDependencyError, which
    names the extra.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    modules : mapping
        Modules inside the package, each with the names it defines.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as error:
            raise missing_extra(error, f"{package}.{name}") or error from None
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
