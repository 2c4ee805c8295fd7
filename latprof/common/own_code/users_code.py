"""A user's own code, named as ``module:name``: found where they stand, and nowhere run by itself.

Nothing is imported from the working directory, or another folder, but what is named here and what
that imports, for the time that it runs (docs/security.md).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latprof.common.files import what_is_at
from latprof.common.own_code.calling import called, search_in
from latprof.errors import OwnCodeError, UsageError


def load_named(text: str, field: str) -> Any:
    """What ``module:name`` names, of a module that can be imported, from the working directory too.

    Parameters
    ----------
    text : str
        ``"module:name"``, or ``"path/to/module.py:name"``; the name may have points in it.
    field : str
        The argument that it is the value of, for messages.

    Raises
    ------
    UsageError
        For a module or a name that is not there, and for whatever the module raises.
    """
    given, colon, name = text.partition(":")
    if not colon or not given or not name:
        raise UsageError(f"`{field}` takes module:name", field=field, got=text[:200])
    if "/" in given and not given.endswith(".py"):
        hint = f"{given}.py:{name}"
        raise UsageError("the path of a module ends in .py", field=field, hint=hint)
    path = Path(given) if given.endswith(".py") else None
    if path is not None and what_is_at(path) != "file":
        raise UsageError("there is no such file", field=field, got=given[:200])
    module, folder = module_of(text)
    search_in(folder)
    found: Any = None
    try:
        with called(f"the import of {module}"), folder_searched_last(folder):
            found = importlib.import_module(module)
            if path is not None and Path(found.__file__ or "").resolve() != path.resolve():
                raise UsageError(
                    f"another module is called {module}",
                    field=field,
                    expected="a file with a name of its own",
                    got=str(found.__file__),
                )
            for part in name.split("."):
                found = getattr(found, part)
    except OwnCodeError as error:
        where = getattr(sys.modules.get(module), "__file__", None)
        raise OwnCodeError(
            f"{text} cannot be imported: {error.problem}" + (f" (found {where})" if where else ""),
            field=field,
            hint="modules are searched where Python is installed, then in "
            + ("the working directory" if path is None else str(folder)),
        ) from error.__cause__
    return found


def module_of(text: str) -> tuple[str, Path]:
    """Of ``module:name`` the module's name, and the folder that it is searched in.

    Of the path of a file it is the folder of its package, or its own where it is in none.
    """
    given = text.partition(":")[0]
    if not given.endswith(".py"):
        return given, Path.cwd()
    path = Path(given).resolve()
    names, folder = [path.stem] * (path.stem != "__init__"), path.parent
    while folder.name and what_is_at(folder / "__init__.py") == "file":
        names.insert(0, folder.name)
        folder = folder.parent
    return ".".join(names), folder


@contextmanager
def folder_searched_last(folder: Path) -> Iterator[None]:
    """Find modules in a folder too, for the time of a user's own code, behind all others."""
    entry = str(folder)
    if entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
