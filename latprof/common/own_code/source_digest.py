"""What a user's class or function is known by: a digest of its source and of all that it uses."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import io
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from latprof.common.own_code.calling import is_users_module


def source_digest(thing: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a class's or function's source.

    With it counts what its source mentions of its own module (constants, functions, classes), what
    those mention, its own bases, and modules of its folder that it imports; installed packages and
    Python's own modules do not, and neither do comments and blank lines. What has no file, such as
    a notebook's cell, counts by its functions alone, and what nobody can read by their code.
    """
    pieces: set[str] = set()
    while isinstance(thing, functools.partial):
        pieces.add(repr((thing.args, sorted(thing.keywords.items()))))
        thing = thing.func
    if not isinstance(thing, type) and not inspect.isroutine(thing):
        thing = type(thing)
    cells = getattr(thing, "__closure__", None) or ()
    pieces.update(repr(value) for value in map(_content, cells) if _is_plain(value))
    owners = list(inspect.getmro(thing)) if isinstance(thing, type) else [thing]
    seen: set[tuple[Path, int]] = set()
    for owner in filter(_is_users, owners):
        file = _file_of(owner)
        try:
            if file is not None:
                _SourceFile(file, pieces, seen).add(owner.__qualname__.partition(".")[0])
                continue
        except (OSError, SyntaxError, ValueError, RecursionError):
            pass  # it was written anew since, or in another encoding
        pieces.update(_without_file(owner))
    return hashlib.sha256("\0".join(sorted(pieces)).encode()).hexdigest()[:16]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None


def _is_plain(value: Any) -> bool:
    """Whether a value says all by how it is written, and stays what it is."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def _file_of(owner: Any) -> Path | None:
    """The file of a class or function; None for what was made in a notebook, or at a prompt."""
    found = [getattr(sys.modules.get(owner.__module__), "__file__", None)]
    members = map(inspect.unwrap, vars(owner).values() if isinstance(owner, type) else [owner])
    found += [member.__code__.co_filename for member in members if inspect.isfunction(member)]
    return next((Path(file) for file in found if file and Path(file).is_file()), None)


def _is_users(thing: Any) -> bool:
    return is_users_module(str(getattr(thing, "__module__", "")))


class _SourceFile:
    """A module's file, whose statements are added to ``pieces`` as they are needed."""

    def __init__(self, path: Path, pieces: set[str], seen: set[tuple[Path, int]]) -> None:
        self._path, self._pieces, self._seen = path, pieces, seen
        text = path.read_text(encoding="utf-8")
        self._lines = text.splitlines()
        self._bound: dict[str, list[ast.stmt]] = defaultdict(list)
        for statement in ast.parse(text).body:
            for name in _bound_by(statement):
                self._bound[name].append(statement)

    def add(self, name: str) -> None:
        """Add the statements that bind ``name``, and what they use; all of the file for none."""
        if name not in self._bound:  # a lambda, or what was made at run time
            self.add_all()
            return
        for statement in self._bound[name]:
            if (self._path, statement.lineno) in self._seen:
                continue
            self._seen.add((self._path, statement.lineno))
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                self._pieces.add(self._text(statement))
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and node.id in self._bound:
                    self.add(node.id)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    self._add_imported(node)

    def add_all(self) -> None:
        """Add every statement that binds a name."""
        for name in list(self._bound):
            self.add(name)

    def _text(self, statement: ast.stmt) -> str:
        decorators = getattr(statement, "decorator_list", ())
        first = min([statement.lineno, *(each.lineno for each in decorators)])
        return _without_comments("\n".join(self._lines[first - 1 : statement.end_lineno]))

    def _add_imported(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                self._add_module(alias.name, 0, "*")
            else:
                self._add_module(node.module or "", node.level, alias.name)

    def _add_module(self, module: str, level: int, name: str) -> None:
        """Add what is imported from a file of the user's; nothing of an installed module."""
        file = self._find(module, level)
        inner = None if name == "*" else self._find(f"{module}.{name}".strip("."), level)
        if inner is not None:
            _SourceFile(inner, self._pieces, self._seen).add_all()
        elif file is not None:
            found = _SourceFile(file, self._pieces, self._seen)
            if name == "*":
                found.add_all()
            else:
                found.add(name)

    def _find(self, module: str, level: int) -> Path | None:
        """The file of a module in this one's folder, or in the folders of its package."""
        roots = [self._path.parent]
        if level:
            roots = [self._path.parents[min(level, len(self._path.parents)) - 1]]
        while not level and (roots[-1] / "__init__.py").is_file():
            roots.append(roots[-1].parent)
        for root in roots if module else ():
            path = root.joinpath(*module.split("."))
            for file in (path.with_suffix(".py"), path / "__init__.py"):
                if file.is_file():
                    return file
        return None


def _bound_by(statement: ast.stmt) -> set[str]:
    """The names of a module that one of its statements binds."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(each.asname or each.name).partition(".")[0] for each in statement.names}
    inside: set[str] = set()
    for field in ("body", "orelse", "handlers", "finalbody"):
        for each in getattr(statement, field, ()):
            inside |= _bound_by(each)
    return inside | {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _without_comments(text: str) -> str:
    lines = text.splitlines()
    for token in _tokens(text):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _tokens(text: str) -> Iterable[tokenize.TokenInfo]:
    try:
        return list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):  # a piece that does not stand alone
        return []


def _without_file(owner: Any) -> set[str]:
    """The functions of a class, or a function, that are in no file."""
    members = [owner] if not isinstance(owner, type) else list(vars(owner).values())
    pieces = {
        f"{name}={value!r}"
        for name, value in (vars(owner).items() if isinstance(owner, type) else ())
        if _is_plain(value) and not name.startswith("__")
    }
    for member in members:
        function = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "func", member))
        function = getattr(function, "__func__", function)
        if not inspect.isfunction(function):
            continue
        try:
            pieces.add(_without_comments(inspect.getsource(function)))
        except (OSError, TypeError):
            pieces.add(repr((function.__code__.co_code, function.__code__.co_names)))
            pieces.update(repr(c) for c in function.__code__.co_consts if not inspect.iscode(c))
    return pieces
