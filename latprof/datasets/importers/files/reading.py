"""Reading files from outside: bounded, and never from something that is not a plain file."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.files import path_text, what_is_at
from latprof.errors import DataSetError

Floats: TypeAlias = NDArray[np.float64]

#: Larger than every file of the collections that are read here.
MAX_FILE_BYTES = 64 << 20
_MAX_CSV_BYTES = 16 << 20
_MAX_JSON_BYTES = 8 << 20
_MAX_ROWS = 1_000_000
_MAX_FIELD = 1 << 16
_GZIP = b"\x1f\x8b"
#: What stands between the fields of a CSV file, the usual one first.
_SEPARATORS = ",;\t"


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_FILE_BYTES) -> bytes:
    """Read a plain file of at most ``limit`` bytes; raises DataSetError for anything else."""
    file = Path(path_text(path, "path"))
    found = what_is_at(file)
    if found is None:
        raise DataSetError(f"there is no {file}".replace("\0", "\\0"))
    if found != "file":
        raise DataSetError(f"{file} cannot be read", expected="a file", got=f"a {found}")
    try:
        with file.open("rb") as opened:
            content = opened.read(limit + 1)
    except OSError as error:
        raise DataSetError(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise DataSetError(f"{file} is too large", expected=f"at most {limit >> 20} MiB")
    if not content:
        raise DataSetError(f"{file} is empty")
    if content.startswith(_GZIP):
        raise DataSetError(
            f"{file} is compressed", expected="the file itself", hint="unpack it first: gunzip FILE"
        )
    return content


def read_text(path: str | os.PathLike[str], limit: int = MAX_FILE_BYTES) -> str:
    """Read a plain UTF-8 file, a byte order mark left out; raises DataSetError."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataSetError(f"{path} is not text", expected="UTF-8") from None


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Number and content of each line, one at a time: lists of them can be far larger."""
    return enumerate(io.StringIO(text, newline=None), start=1)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raises DataSetError for what is none, or nested too deeply."""
    try:
        return json.loads(read_text(path, _MAX_JSON_BYTES))
    except RecursionError:
        raise DataSetError(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise DataSetError(f"{path} is not JSON: {str(error)[:200]}") from None


def read_csv(
    path: str | os.PathLike[str], required: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Read a CSV file with a header: the header, and rows of as many fields, blank ones left out.

    Commas are between the fields, or semicolons or tabs where the header has more of these.

    Raises DataSetError where a required column is missing, a name is there twice, or a row has
    another number of fields; the message names the line.
    """
    text = read_text(path, _MAX_CSV_BYTES)
    first = text.partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), strict=True, delimiter=max(_SEPARATORS, key=first.count)
    )
    rows: list[list[str]] = []
    try:
        header = next(reader, [])
        _check_header(path, header, required)
        for row in reader:
            if not any(map(str.strip, row)):
                continue
            if len(row) != len(header):
                raise DataSetError(
                    f"{path}, line {reader.line_num}: wrong number of fields",
                    expected=str(len(header)),
                    got=str(len(row)),
                )
            if len(rows) >= _MAX_ROWS or max(map(len, row)) > _MAX_FIELD:
                raise DataSetError(f"{path}, line {reader.line_num}: too long")
            rows.append(row)
    except csv.Error as error:
        raise DataSetError(f"{path}, line {reader.line_num}: not CSV: {error}") from None
    if not rows:
        raise DataSetError(f"{path} has no rows")
    return header, rows


def _check_header(path: str | os.PathLike[str], header: list[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        raise DataSetError(
            f"{path} has no column {missing[0]!r}", expected=f"the columns {', '.join(required)}"
        )
    if len(set(header)) < len(header):
        raise DataSetError(f"{path} has two columns of one name")


def number_of(text: str) -> float:
    """A finite number, or NaN for any other text."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def number_in(path: str | os.PathLike[str], what: str, value: Any) -> float:
    """Check that ``value`` is a plain finite number; DataSetError where it is not."""
    if type(value) not in {int, float} or not abs(value) < 1e12:
        raise DataSetError(f"{path}: {what} is malformed", expected="ms", got=kind_of(value))
    return float(value)


def numbers(
    path: str | os.PathLike[str], what: str, values: Any, length: int | None = None
) -> Floats:
    """Check that ``values`` is a list of plain numbers; returns shape (n,), float64.

    Raises DataSetError, which says which entry is none, or that there are too few or too many.
    """
    if not isinstance(values, list | tuple):
        raise DataSetError(
            f"{path}: {what} is no list", expected="a list of numbers", got=kind_of(values)
        )
    if length is not None and len(values) != length:
        raise DataSetError(
            f"{path}: {what} has the wrong length", expected=str(length), got=str(len(values))
        )
    for index, value in enumerate(values):
        if type(value) not in {int, float}:
            raise DataSetError(
                f"{path}: entry {index} of {what} is malformed",
                expected="a number",
                got=kind_of(value),
            )
    try:
        return np.array(values, dtype=np.float64).reshape(-1)
    except OverflowError:
        raise DataSetError(f"{path}: {what} holds a number that is too large") from None


def indices(path: str | os.PathLike[str], what: str, values: Any, length: int) -> list[int]:
    """Check that ``values`` is a list of ``length`` small whole numbers, or raise DataSetError."""
    if not isinstance(values, list | tuple) or len(values) != length:
        raise DataSetError(
            f"{path}: {what} is malformed",
            expected=f"a list of {length} numbers",
            got=kind_of(values),
        )
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 31:
            raise DataSetError(
                f"{path}: {what} is malformed", expected="whole numbers", got=kind_of(value)
            )
    return list(values)


def kind_of(value: Any) -> str:
    """What a value from a file is, in a few words; safe for values nested in any way."""
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, str | bytes):
        return repr(value[:40])
    if isinstance(value, bool | float) or value is None:
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 1 << 64 else "a very large number"
    return f"a {type(value).__name__}"
