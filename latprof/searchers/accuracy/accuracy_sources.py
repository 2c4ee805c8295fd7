"""Accuracies out of files and out of other people's code, as sources for a search."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.common.files import digest, what_is_at
from latprof.common.own_code.calling import called
from latprof.common.own_code.users_code import load_named, module_of
from latprof.datasets.published.loading import check_parquet_size
from latprof.errors import (
    DataSetError,
    InputFileError,
    InvalidValueError,
    UsageError,
    did_you_mean,
)
from latprof.searchers.accuracy.tables import ArchitectureTable

if TYPE_CHECKING:
    import pandas as pd

    from latprof.datasets.importers.accuracies import ImportedAccuracies
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.searchers.base import AccuracySource

_TABLE_ENDINGS = {".csv", ".json", ".parquet"}
_MOST_COLUMNS = 10_000


def load_accuracy(
    given: str | os.PathLike[str] | AccuracySource, space: SearchSpace, column: str = ""
) -> AccuracySource:
    """The accuracy source that an argument names.

    Parameters
    ----------
    given : str, path or callable
        A function, which takes a list of n :class:`~latprof.Architecture` and returns n numbers;
        or ``"module:function"``, of a module that can be imported, from the working directory too.
        Or a file: the CSV of NAS-Bench-201 or the JSON of NAS-Bench-Macro as
        :mod:`latprof.datasets.importers` read them, or a CSV or Parquet file with a column
        ``architecture`` in the space's spelling.
    space : SearchSpace
        Of the architectures that will be asked about.
    column : str
        Of the file; may be left out where it has one column of accuracies, or one of that name.

    Raises
    ------
    UsageError
        For a module or function that is not there.
    DataSetError
        For a file that is missing, malformed, or of another space.
    InvalidValueError
        For a column that the file has not.
    """
    if callable(given):
        return given
    text = os.fspath(given)
    path = Path(text)
    if path.suffix == ".py" and what_is_at(path):
        raise UsageError("which function of it?", field="accuracy", expected=f"{path.stem}:NAME")
    if path.suffix.lower() in _TABLE_ENDINGS or what_is_at(path):
        return load_accuracy_table(path, space, column)
    if column:
        raise UsageError("a column is one of a table", field="column", got=column)
    return _function(text)


def load_accuracy_table(
    path: str | os.PathLike[str], space: SearchSpace, column: str = ""
) -> ArchitectureTable:
    """A table of accuracies; parameters and errors as of :func:`load_accuracy`."""
    frame = _frame(Path(path), space)
    if "architecture" not in frame:
        raise DataSetError(f"{path} has no column 'architecture'")
    names = [
        name
        for name in frame.columns
        if name not in {"", "architecture", "parameters", "flops"}
        and frame[name].dtype.kind in "fi"
    ]
    if not names:
        raise DataSetError(f"{path} has no column of numbers")
    chosen = column or ("accuracy" if "accuracy" in names else names[0] if len(names) == 1 else "")
    if chosen not in names:
        raise InvalidValueError(
            f"{path} has several columns" if not column else f"{path} has no such column",
            field="column",
            expected=" or ".join(names),
            got=column or "none",
            hint=did_you_mean(column, names),
        )
    try:
        rows = [space.parse(str(spelled)) for spelled in frame["architecture"]]
        return ArchitectureTable(space, rows, frame[chosen].to_numpy())
    except InvalidValueError as error:
        raise DataSetError(f"{path} is no table of accuracies of {space.name}: {error}") from None


def _frame(path: Path, space: SearchSpace) -> pd.DataFrame:
    """The rows of a file, whatever wrote it."""
    from latprof.datasets.importers import accuracies

    if what_is_at(path) != "file":
        raise InputFileError(f"{path} is no file".replace("\0", "\\0"), field="accuracy")
    if path.suffix.lower() == ".json":
        return _of_space(accuracies.load_nasbench_macro(path), space, path)
    require("data", "a table of accuracies", "pandas")
    import pandas as pd

    if path.suffix == ".parquet":
        require("data", "a table of accuracies", "pyarrow")
    if path.suffix != ".parquet":
        frame = _csv_frame(path)
    else:
        try:
            check_parquet_size(path)
            frame = pd.read_parquet(path)
        except DataSetError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a hostile file leads to
            raise DataSetError(f"{path} cannot be read: {type(error).__name__}") from None
    cells = frame.get("architecture", pd.Series(dtype=str)).astype(str).str.startswith("|")
    if "index" in frame and len(cells) and cells.all():
        return _of_space(accuracies.load_nasbench201_accuracies(path), space, path)
    return frame


def _csv_frame(path: Path) -> pd.DataFrame:
    """A CSV file of bounded size; columns of numbers are such."""
    import pandas as pd

    from latprof.datasets.importers.files.reading import read_csv

    header, rows = read_csv(path, [])
    if len(header) > _MOST_COLUMNS:
        raise DataSetError(f"{path} has too many columns", expected=f"at most {_MOST_COLUMNS}")
    frame = pd.DataFrame(rows, columns=header)
    for name in header:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if (numbers.notna() | (frame[name] == "")).all():
            frame[name] = numbers
    return frame


def _of_space(found: ImportedAccuracies, space: SearchSpace, path: Path) -> pd.DataFrame:
    if found.space is None or found.space.candidates != space.candidates:
        raise DataSetError(
            f"{path} has accuracies of another space", expected=space.name, got=found.name
        )
    return found.to_frame()


def _function(text: str) -> Callable[[Any], Any]:
    """``module:function``, imported as the user's own code."""
    module, _, name = text.partition(":")
    if not module or not name:
        raise UsageError(
            "an accuracy is a table's file or module:function", field="accuracy", got=text[:200]
        )
    found = load_named(text, "accuracy")
    if not callable(found):
        raise UsageError(f"{text} is no function", field="accuracy", got=type(found).__name__)
    function: Callable[[Any], Any] = found

    def ask(architectures: Any) -> Any:
        with called(text):
            return function(architectures)

    return ask


def accuracy_identity(given: str | os.PathLike[str] | AccuracySource) -> str:
    """What tells one source from another: its name, and a digest of its file or its source.

    The file of ``"module:function"`` is its module; what that one imports is not seen, nor what a
    function calls. A function with a closure, or without a source, has another identity each time.
    """
    if callable(given):
        return f"{accuracy_name(given)} {_source_digest(given)}"
    text = os.fspath(given)
    path = Path(text)
    if what_is_at(path) == "file":
        return f"{path.name} {digest(path)}"
    module = sys.modules.get(module_of(text)[0])
    return f"{text} {digest(getattr(module, '__file__', None) or '')}".strip()


def accuracy_name(given: str | os.PathLike[str] | AccuracySource) -> str:
    """What a source is called: a file's name, or the function's."""
    if callable(given):
        name = getattr(given, "__qualname__", type(given).__qualname__)
        return f"{getattr(given, '__module__', '')}:{name}"
    return Path(given).name


def accuracy_noun(name: str) -> str:
    """What the larger is better is called: "score" for a function that is called otherwise."""
    _, colon, function = name.partition(":")
    return "score" if colon and "acc" not in function.lower() else "accuracy"


def _source_digest(function: AccuracySource) -> str:
    """Of a plain function's source; a new one each time for what a source does not determine."""
    import hashlib
    import inspect
    import uuid

    try:
        if getattr(function, "__closure__", None) is None and inspect.isfunction(function):
            return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    except (OSError, TypeError):
        pass
    return uuid.uuid4().hex[:16]
