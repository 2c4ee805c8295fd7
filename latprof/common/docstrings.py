"""Libraries that cannot be imported where Python leaves docstrings out (``-OO``)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType


class _Loader(SourceFileLoader):
    """Compiles with docstrings, whatever Python was told; compiled files are left alone."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = compile(self.get_data(path), path, "exec", dont_inherit=True, optimize=0)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, library: str) -> None:
        self.library = library

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self.library:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


def keep_docstrings(library: str) -> None:
    """Have a library imported with its docstrings, which it works on, also under ``-OO``.

    Does nothing where Python keeps docstrings, or where the library is imported already.
    """
    if sys.flags.optimize < 2 or library in sys.modules:
        return
    if not any(isinstance(f, _Finder) and f.library == library for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder(library))
