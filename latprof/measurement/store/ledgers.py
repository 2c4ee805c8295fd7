"""Ledgers: how many rows each table has, so that a missing row is seen.

A row's number comes from its table's ledger, which is counted up in the same transaction. That
comes first in the transaction and locks the ledger until it ends, so that writers at the same time
take turns and numbers have no gaps: what fails gives its number back.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from latprof.measurement.store.checked_rows import checked_table
from latprof.measurement.store.schema import CHECKED, PARENTS, ledgers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


# Built once: to build a statement takes longer than to run it.
_THIS = sa.and_(
    ledgers.c.table_name == sa.bindparam("of_table"), ledgers.c.parent == sa.bindparam("of_parent")
)
_COUNT_UP = (
    sa.update(ledgers)
    .where(_THIS)
    .values(
        {column: column + sa.bindparam("by") for column in (ledgers.c.row_count, ledgers.c.last_id)}
    )
)
_LAST_ID = sa.select(ledgers.c.last_id).where(_THIS)
_insert = functools.cache(sa.insert)


def _this(table: sa.Table, parent: int = 0) -> dict[str, Any]:
    """The values of one ledger's ``_THIS``."""
    return {"of_table": table.name, "of_parent": parent}


class MissingLedgerError(Exception):
    """A table's ledger is not there: the store is damaged."""


def begin_ledgers(connection: sa.Connection, tables: Sequence[sa.Table] = CHECKED) -> None:
    """The ledgers of empty tables."""
    rows = [
        {"table_name": table.name, "parent": 0, "row_count": 0, "last_id": 0} for table in tables
    ]
    connection.execute(sa.insert(ledgers), rows)


def lock_table(connection: sa.Connection, table: sa.Table) -> None:
    """Keep other writers out of a table until the transaction ends; nothing comes before it."""
    count_up(connection, table, 0)


def count_up(connection: sa.Connection, table: sa.Table, by: int, parent: int = 0) -> int:
    """Count rows that are about to be added; returns the last id of the table before them."""
    this = _this(table, parent)
    found = connection.execute(_COUNT_UP, this | {"by": by}).rowcount
    if not found and not parent:
        raise MissingLedgerError(table.name)
    if not found:
        row = {"table_name": table.name, "parent": parent, "row_count": by, "last_id": by}
        connection.execute(sa.insert(ledgers), row)
        return 0
    if parent:
        return 0
    return int(connection.execute(_LAST_ID, this).scalar_one()) - by


def count_all(connection: sa.Connection, table: sa.Table) -> None:
    """Write down what a table holds, which has been counted by nobody yet."""
    count, last = sa.func.count(), sa.func.coalesce(sa.func.max(table.c.id), 0)
    total, last_id = connection.execute(sa.select(count, last).select_from(table)).one()
    values = {"row_count": total, "last_id": last_id}
    connection.execute(sa.update(ledgers).where(_THIS).values(values), _this(table))
    name = PARENTS.get(table.name)
    if name is not None:
        of_parent = sa.select(table.c[name], count, last).group_by(table.c[name])
        for parent, part, last_of_parent in connection.execute(of_parent).all():
            row = {"table_name": table.name, "parent": parent, "row_count": part}
            connection.execute(sa.insert(ledgers), row | {"last_id": last_of_parent})


def insert_rows(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Add rows of one parent, each with its number and checksum; returns the first one's number."""
    first = count_up(connection, table, len(rows)) + 1
    parent = PARENTS.get(table.name)
    if parent is not None:
        count_up(connection, table, len(rows), rows[0][parent])
    checked = checked_table(table)
    sealed = [checked.sealed({**row, "id": first + index}) for index, row in enumerate(rows)]
    connection.execute(_insert(table), sealed)
    return first


def update_row(
    connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    """Change columns of a row that was read and checked since the table was locked."""
    sealed = checked_table(table).sealed({**row, **changes})
    connection.execute(sa.update(table).where(table.c.id == row["id"]).values(sealed))


def stated_count(connection: sa.Connection, table: sa.Table, parent: int = 0) -> int:
    """How many rows there should be; raises ValueError for a damaged ledger."""
    query = sa.select(ledgers.c.row_count).where(_THIS)
    count = connection.execute(query, _this(table, parent)).scalar()
    if count is None and parent:
        return 0
    if not isinstance(count, int) or count < 0:
        raise ValueError("its count of rows is damaged")
    return count


def ledger_findings(connection: sa.Connection, table: sa.Table) -> Iterator[str]:
    """What a table's ledgers say that its rows do not, beside the number of all of them."""
    count, last = sa.func.count(), sa.func.coalesce(sa.func.max(table.c.id), 0)
    query = sa.select(ledgers).where(ledgers.c.table_name == table.name)
    stated = {row.parent: row for row in connection.execute(query)}
    total = stated.pop(0, None)
    if total is not None:
        largest = connection.execute(sa.select(last)).scalar_one()
        if not isinstance(total.last_id, int) or _is_below(total.last_id, largest):
            yield f"the next row would get a number that a row has, up to {str(largest)[:30]}"
    name = PARENTS.get(table.name)
    if name is None:
        return
    of_parent = connection.execute(sa.select(table.c[name], count).group_by(table.c[name]))
    found = dict(map(tuple, of_parent))
    for parent in sorted({*found, *stated}, key=str):
        expected = stated[parent].row_count if parent in stated else 0
        if found.get(parent, 0) != expected:
            rows = f"{found.get(parent, 0)} rows where {str(expected)[:30]} were stored"
            yield f"{name} {str(parent)[:30]}: {rows}"


def _is_below(number: int, other: object) -> bool:
    return isinstance(other, int) and number < other


def unused_numbers(connection: sa.Connection, table: sa.Table) -> int:
    """Row numbers that were given and are of no row, though no row is missing by the count."""
    query = sa.select(ledgers.c.last_id, ledgers.c.row_count).where(_THIS)
    row = connection.execute(query, _this(table)).first()
    if row is None or not all(isinstance(value, int) for value in row):
        return 0
    last_id, row_count = map(int, row)
    return max(0, last_id - row_count)
