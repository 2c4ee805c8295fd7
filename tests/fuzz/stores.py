"""Stores that are damaged by other programs or by the disk, through export, train and report.

Each must be refused with an error of latprof's, or give exactly what the whole store gives. Of what
is refused ``doctor`` sees the damage, and what it saves is whole.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from computed_store import fill_store

import latprof
from latprof.errors import LatprofError, StoreError
from latprof.measurement.store.salvage import inspect_store, save_whole_rows
from latprof.measurement.store.schema import CHECKED, ledgers, meta
from tests.fuzz.outcomes import BAD

Random: TypeAlias = np.random.Generator

#: What a column may hold where something else belongs.
VALUES: tuple[Any, ...] = (
    *(
        None,
        "",
        "x",
        "1,2,3",
        b"\xff\x00",
        b"1.5",
        "\x00",
        "1.5",
        "[" * 100_000,
        "{}",
        "[]",
        "null",
    ),
    *(0, 1, 2, -1, 7, 1e300, -1e9, float("inf"), float("-inf"), 2**62, -(2**62), 1e18, 0.5),
)
TABLES = [table.name for table in (*CHECKED, ledgers, meta)]
FILLED = [name for name in TABLES if name not in {"searches", "search_steps"}]


def judge(path: Path) -> dict[str, Any]:
    """All the numbers that three commands show of a store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latprof.export(path, csv=path.with_name("labels.csv"))
        latprof.export(path, csv=path.with_name("visits.csv"), visits=True)
        pack = latprof.train(path, predictor="linear", compare=False)
        page = latprof.report(path)
    return {
        "labels": path.with_name("labels.csv").read_text(encoding="utf-8"),
        "visits": path.with_name("visits.csv").read_text(encoding="utf-8"),
        "constant": pack.reference_ms,
        "predicted": pack.held_out.predicted_ms.tolist(),
        "page": [repr(section.tables) for section in page.content.sections],
    }


@cache
def whole() -> tuple[Path, dict[str, Any]]:
    """A store that is whole, and what it gives."""
    path = fill_store(Path(_folder().name) / "lat.db")
    return path, judge(path)


@cache
def _folder() -> TemporaryDirectory[str]:
    """Goes when the process ends."""
    return TemporaryDirectory(prefix="latprof-fuzz-")


def change_value(random: Random, path: Path) -> str:
    with _opened(path) as connection:
        table, row = _row(random, connection)
        column = str(random.choice(_columns(connection, table)))
        value = VALUES[int(random.integers(len(VALUES)))]
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
    return f"{table}.{column} of row {row} = {str(value)[:20]!r}"


def scale_value(random: Random, path: Path) -> str:
    """A number that is plausible, but another."""
    with _opened(path) as connection:
        table, row = _row(random, connection)
        column = str(random.choice(_columns(connection, table)))
        connection.execute(f"UPDATE {table} SET {column} = {column} * 1.5 WHERE rowid = {row}")
    return f"{table}.{column} of row {row} * 1.5"


def change_digit(random: Random, path: Path) -> str:
    with _opened(path) as connection:
        table, row = _row(random, connection)
        column = str(random.choice(_columns(connection, table)))
        old, new = (str(digit) for digit in random.choice(10, 2, replace=False))
        query = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE rowid = ?"
        connection.execute(query, (old, new, row))
    return f"{table}.{column} of row {row}: {new} for {old}"


def copy_value(random: Random, path: Path) -> str:
    """A value of another row."""
    with _opened(path) as connection:
        table, row = _row(random, connection)
        column = str(random.choice(_columns(connection, table)))
        other = f"(SELECT {column} FROM {table} WHERE rowid = {_row_of(random, connection, table)})"
        connection.execute(f"UPDATE {table} SET {column} = {other} WHERE rowid = {row}")
    return f"{table}.{column} of row {row} is another row's"


def delete_row(random: Random, path: Path) -> str:
    with _opened(path) as connection:
        table, row = _row(random, connection)
        connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
    return f"{table}: row {row} deleted"


def repeat_row(random: Random, path: Path) -> str:
    """A row once more, with another number; unique indexes are dropped for it."""
    with _opened(path) as connection:
        connection.execute("DROP INDEX one_visit")
        table, row = _row(random, connection)
        names = [n for n in _columns(connection, table) if n != "id"]
        columns = ", ".join(names)
        connection.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE rowid = {row}"
        )
    return f"{table}: row {row} twice"


def swap_rows(random: Random, path: Path) -> str:
    with _opened(path) as connection:
        table, first = _row(random, connection)
        second = _row_of(random, connection, table)
        for old, new in ((first, -7), (second, first), (-7, second)):
            connection.execute(f"UPDATE {table} SET rowid = {new} WHERE rowid = {old}")
    return f"{table}: rows {first} and {second} swapped"


def drop_table(random: Random, path: Path) -> str:
    table = str(random.choice(TABLES))
    with _opened(path) as connection:
        connection.execute(f"DROP TABLE {table}")
    return f"{table} dropped"


def flip_bits(random: Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    places = random.integers(len(content), size=int(random.integers(1, 4)))
    for place in places:
        content[place] ^= 1 << int(random.integers(8))
    path.write_bytes(content)
    return f"bits at {places.tolist()}"


def change_schema_byte(random: Random, path: Path) -> str:
    """One byte of the first page: the header, and the text of the tables."""
    content = bytearray(path.read_bytes())
    place = int(random.integers(4096))
    content[place] = int(random.integers(256))
    path.write_bytes(content)
    return f"byte {place} = {content[place]}"


def zero_page(random: Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    page = int(random.integers(len(content) // 4096))
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    return f"page {page} is zeros"


def swap_pages(random: Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    first, second = (int(p) * 4096 for p in random.integers(len(content) // 4096, size=2))
    pieces = content[first : first + 4096], content[second : second + 4096]
    content[second : second + 4096], content[first : first + 4096] = pieces
    path.write_bytes(content)
    return f"pages at {first} and {second} swapped"


def truncate(random: Random, path: Path) -> str:
    content = path.read_bytes()
    length = int(random.integers(len(content)))
    path.write_bytes(content[:length])
    return f"cut at {length}"


DAMAGE: tuple[Callable[[Random, Path], str], ...] = (
    *(change_value, change_value, change_value, scale_value, change_digit, copy_value),
    *(delete_row, repeat_row, swap_rows, drop_table),
    *(flip_bits, flip_bits, flip_bits, change_schema_byte, zero_page, swap_pages, truncate),
)


def fuzz_stores(numbers: range, seed: int, folder: Path) -> Iterable[tuple[str, str, str]]:
    """Damage one store in many ways; every number that is shown must be the whole store's."""
    source, expected = whole()
    for number in numbers:
        random = np.random.default_rng((seed, number))
        path = folder / "lat.db"
        for left in folder.glob("lat.db*"):
            left.unlink()
        shutil.copyfile(source, path)
        damage = DAMAGE[number % len(DAMAGE)]
        try:
            what = damage(random, path)
        except sqlite3.Error:
            yield damage.__name__, "not possible", ""
            continue
        yield damage.__name__, *_outcome(path, expected, f"{number}: {what}")


def _outcome(path: Path, expected: dict[str, Any], what: str) -> tuple[str, str]:
    unseen = _unseen(path)
    try:
        found = judge(path)
    except StoreError as error:
        long = len(str(error)) > 500
        if long or unseen:
            return BAD, f"{what}: {unseen}; a message of {len(str(error))}: {error}"
        return "refused", ""
    except LatprofError as error:
        return f"refused [{error.code}]", ""
    except Exception as error:
        return BAD, f"{what}: {type(error).__name__}: {str(error)[:200]}"
    if unseen.startswith("what"):
        return BAD, f"{what}: {unseen}"
    changed = [name for name in expected if found[name] != expected[name]]
    return (BAD, f"{what}: other {', '.join(changed)}") if changed else ("the same", "")


def _unseen(path: Path) -> str:
    """What ``doctor`` does not see, or leaves in what it saves; empty where it sees damage."""
    saved = path.with_name("saved.db")
    saved.unlink(missing_ok=True)
    try:
        if inspect_store(path).is_whole:
            return "doctor sees nothing"
        save_whole_rows(path, saved)
        return "" if inspect_store(saved).is_whole else "what was saved is not whole"
    except LatprofError:
        return ""


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    """A connection of another program: without foreign keys and checks."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def _row(random: Random, connection: sqlite3.Connection) -> tuple[str, int]:
    """A table, one of those with rows, and the number of a row."""
    table = str(random.choice(FILLED))  # the store has no searches
    return table, _row_of(random, connection, table)


def _row_of(random: Random, connection: sqlite3.Connection, table: str) -> int:
    rows = connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid").fetchall()
    return int(rows[int(random.integers(len(rows)))][0])
