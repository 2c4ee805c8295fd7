"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

from latprof.common.extras import missing_extra


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package that hands on names of its modules.

    The names stand once, in the stub that type checkers read: ``__init__.pyi`` beside the
    package's ``__init__.py`` has one line ``from package.module import name as name`` for each. It
    is read when the first of them is asked for, so importing a module inside the package costs
    nothing. ``__all__`` is made of it too.

    A name whose module needs a library that is not installed raises MissingDependencyError, which
    names the extra.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    """
    homes = functools.cache(functools.partial(_homes, package))

    def load(name: str) -> Any:
        value: Any
        if name == "__all__":
            value = sorted(homes())
        elif name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        else:
            try:
                value = getattr(importlib.import_module(homes()[name]), name)
            except ModuleNotFoundError as error:
                raise missing_extra(error, f"{package}.{name}") or error from None
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes()})

    return load, names


def _homes(package: str) -> dict[str, str]:
    """Return the module that each name of a package's stub is imported from."""
    import ast  # only where a name is asked for
    import pkgutil

    stub = ast.parse(pkgutil.get_data(package, "__init__.pyi") or b"")
    return {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.name != "__version__"
    }
