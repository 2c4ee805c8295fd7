"""Rows that are checked: each value against its column, and all of them against the checksum.

A row's checksum is the BLAKE2b hash (8 bytes, hexadecimal) of a JSON list without spaces, in ASCII:
the table's name, then the values of its columns in the order of the schema, without the checksum
itself. A float stands there as Python's ``repr`` has it, a truth value as true or false.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from latprof.measurement.store.schema import ADDED_COLUMNS

#: Seconds after 1970 at the end of the year 9999.
_LATEST_S = 253_402_300_799.0
_LONGEST = 1e12
#: Limits of numbers, by table and column or by column alone.
_LIMITS: Mapping[str, tuple[float, float]] = {
    "started_at": (0.0, _LATEST_S),
    "ended_at": (0.0, _LATEST_S),
    "wall_s": (0.0, _LONGEST),
    "load_s": (0.0, _LONGEST),
    "label": (0, 1_000_000),
    "visit": (0, 1 << 53),
    "position": (0, 1 << 53),
    "number": (0, 1 << 53),
    "id": (1, 1 << 62),
    "kernels.latency_ms": (0.0, _LONGEST),
    "reference_ms": (5e-324, _LONGEST),
}

Check = Callable[[Any], Any]


class CheckedTable:
    """A table's columns, in order, with the check of each.

    Parameters
    ----------
    table : Table
        One of :data:`latprof.measurement.store.schema.CHECKED`.
    checksums : bool
        Whether its rows have checksums: not in version 1.
    """

    def __init__(self, table: sa.Table, *, checksums: bool) -> None:
        self.table, self.checksums = table, checksums
        added = frozenset[str]() if checksums else ADDED_COLUMNS
        self.columns = tuple(column for column in table.columns if column.name not in added)
        self.names = tuple(c.name for c in self.columns if c.name != "checksum")
        self._checks = tuple(
            (c.name, _check_of(c), bool(c.nullable)) for c in self.columns if c.name != "checksum"
        )
        self._at = None if not checksums else [c.name for c in self.columns].index("checksum")

    def values(self, row: Sequence[Any]) -> dict[str, Any]:
        """The values of a row of :attr:`columns`; raises ValueError for a damaged one."""
        values = list(row)
        stated = None if self._at is None else values.pop(self._at)
        for index, (name, check, nullable) in enumerate(self._checks):
            value = values[index]
            if value is None:
                if not nullable:
                    raise ValueError(f"{name} is missing")
                continue
            try:
                values[index] = check(value)
            except (ValueError, TypeError, OverflowError):
                raise ValueError(f"{name} is {_short(value)}") from None
        if self._at is not None and stated != _checksum(self.table.name, values):
            raise ValueError("its checksum is another")
        return dict(zip(self.names, values, strict=True))

    def sealed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A whole row with its checksum, to be written; missing values are NULL."""
        given = [values.get(name) for name in self.names]
        row = [
            None if value is None else _stored(column, value)
            for column, value in zip(self._without_checksum(), given, strict=True)
        ]
        return dict(zip(self.names, row, strict=True)) | {
            "checksum": _checksum(self.table.name, row)
        }

    def _without_checksum(self) -> list[sa.Column[Any]]:
        return [column for column in self.columns if column.name != "checksum"]


@cache
def checked_table(table: sa.Table, *, checksums: bool = True) -> CheckedTable:
    """The checks of a table; made once."""
    return CheckedTable(table, checksums=checksums)


def _checksum(table: str, values: Sequence[Any]) -> str:
    text = json.dumps([table, *values], separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _stored(column: sa.Column[Any], value: Any) -> Any:
    """A value as the database gives it back."""
    if isinstance(column.type, sa.Float):
        return float(value) + 0.0  # SQLite forgets the sign of -0.0
    if isinstance(column.type, sa.Boolean):
        return bool(value)
    return operator.index(value) if isinstance(column.type, sa.Integer) else str(value)


def _check_of(column: sa.Column[Any]) -> Check:
    limits = _LIMITS.get(f"{column.table.name}.{column.name}", _LIMITS.get(column.name))
    if isinstance(column.type, sa.Float):
        return _float_within(*(limits or (-math.inf, math.inf)))
    if isinstance(column.type, sa.Boolean):
        return _truth
    if isinstance(column.type, sa.Integer):
        return _whole_within(*(limits or (-(1 << 62), 1 << 62)))
    return _text


def _float_within(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        if (
            not isinstance(value, float | int)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            raise ValueError
        return float(value) + 0.0

    return check


def _whole_within(low: float, high: float) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    return check


def _truth(value: Any) -> bool:
    if value not in {0, 1}:
        raise ValueError
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - one error for a damaged value
    return value


def _short(value: Any) -> str:
    """A value in an error's line."""
    if isinstance(value, str | bytes):
        value = value[:60]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
