"""A user's own code, named as ``module:name``: found where they stand, and nowhere run by itself.

Nothing is imported from the working directory but what is named here, and only for the time of the
import (docs/security.md).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latprof.common.own_code.calling import called
from latprof.errors import OwnCodeError, UsageError


def load_named(text: str, field: str) -> Any:
    """What ``module:name`` names, of a module that can be imported, from the working directory too.

    Parameters
    ----------
    text : str
        ``"module:name"``; the name may have points in it.
    field : str
        The argument that it is the value of, for messages.

    Raises
    ------
    UsageError
        For a module or a name that is not there, and for whatever the module raises.
    """
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise UsageError(f"`{field}` takes module:name", field=field, got=text[:200])
    if module.endswith(".py") or "/" in module:
        hint = f"{Path(module).stem}:{name}, in the folder of that file"
        raise UsageError("a module is written without its path", field=field, hint=hint)
    found: Any = None
    try:
        with called(f"the import of {module}"), folder_searched_last(Path.cwd()):
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
    except OwnCodeError as error:
        where = getattr(sys.modules.get(module), "__file__", None)
        raise OwnCodeError(
            f"{text} cannot be imported: {error.problem}" + (f" (found {where})" if where else ""),
            field=field,
            hint="modules are searched where Python is installed, then in the working directory",
        ) from error.__cause__
    return found


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
