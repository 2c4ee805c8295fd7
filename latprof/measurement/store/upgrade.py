"""Upgrading a store of an older version: tables and columns are added, no value changes.

A file is upgraded on a copy beside it, which takes its name when it is complete and on the disk;
the file as it was keeps a name of its own, ``STORE.version-N``. It is done alone: where another
process has the store open, this waits for it, and gives up with StoreError. What is interrupted, or
finds the disk full, leaves the store as it was. A server's database is upgraded in one transaction.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from latprof.common.files import output_error, sync_directory
from latprof.errors import StoreError, StoreVersionError
from latprof.measurement.store import schema
from latprof.measurement.store.checked_rows import checked_table
from latprof.measurement.store.database import (
    OpenedDatabase,
    make_engine,
    sqlite_url,
    translated_error,
)
from latprof.measurement.store.ledgers import begin_ledgers, count_all
from latprof.measurement.store.store_reader import StoreReader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

WAIT_S = 30.0  # for other processes that have the file open
_ROWS_AT_ONCE = 500
_SUFFIX = ".upgrade"


def upgrade(database: OpenedDatabase) -> None:
    """Upgrade a store to this version; nothing is done where another process just did it.

    Raises StoreError for damaged rows and where another process has the store open, DiskFullError
    and OutputPathError.
    """
    try:
        if database.file is not None:
            database.engine.dispose()
            _upgrade_file(Path(os.path.realpath(database.file)), database.location)
        elif database.engine.dialect.name in {"postgresql", "sqlite"}:
            with database.engine.begin() as connection:
                _upgrade_tables(connection, database)
        else:
            raise StoreVersionError(
                f"{database.location} is of an older version",
                hint="it can be read; collect into a new store",
            )
    except exc.DBAPIError as error:
        raise translated_error(error, database.location) from None


def _upgrade_file(path: Path, location: str) -> None:
    with _alone(path, location) as old:
        version = _states_version(old)
        if version == str(schema.SCHEMA_VERSION):
            return
        temporary = _copy(path)
        try:
            _backup(old, temporary)
            copy = OpenedDatabase(make_engine(sqlite_url(temporary)), location)
            try:
                with copy.engine.begin() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    _upgrade_tables(connection, copy)
            finally:
                copy.close()
            _replace(old, path, temporary, version)
        except sqlite3.Error as error:
            raise translated_error(exc.DBAPIError("", (), error), location) from None
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(path: Path, location: str) -> Iterator[sqlite3.Connection]:
    """A connection that no other process can have beside it; raises StoreError after a while."""
    end = time.monotonic() + WAIT_S
    while True:
        connection = sqlite3.connect(path, isolation_level=None, timeout=0.0)
        try:
            # SQLite leaves the write-ahead log only where nobody else has the file open.
            if connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",):
                # The lock stays after a transaction: SQLite copies nothing inside of one.
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("COMMIT")
                break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                connection.close()
                raise translated_error(exc.DBAPIError("", (), error), location) from None
        except sqlite3.DatabaseError as error:
            connection.close()
            raise translated_error(exc.DBAPIError("", (), error), location) from None
        connection.close()
        if time.monotonic() > end:
            raise StoreError(
                f"{location} is of an older version, and another process has it open",
                hint="let it end, then run the same command again",
            )
        time.sleep(0.02 + 0.1 * int.from_bytes(os.urandom(1)) / 255)
    try:
        yield connection
    finally:
        connection.close()


def _states_version(connection: sqlite3.Connection) -> str:
    query = "SELECT value FROM latprof_meta WHERE name = 'schema_version'"
    return str(connection.execute(query).fetchone()[0])


def _copy(path: Path) -> Path:
    """An empty file for the copy, beside the store, with its permissions."""
    try:
        for left in path.parent.glob(f".{glob.escape(path.name[:40])}.*{_SUFFIX}"):
            left.unlink(missing_ok=True)  # of an upgrade that was killed
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:40]}.", suffix=_SUFFIX, dir=path.parent
        )
        os.fchmod(handle, path.stat().st_mode & 0o7777)
        os.close(handle)
    except OSError as error:
        raise output_error(path, error) from None
    return Path(name)


def _backup(old: sqlite3.Connection, to: Path) -> None:
    """Copy by SQLite: to open and close the file otherwise would give this process's locks up."""
    with contextlib.closing(sqlite3.connect(to)) as connection:
        old.backup(connection)


def _replace(old: sqlite3.Connection, path: Path, temporary: Path, version: str) -> None:
    """Give the copy the file's name, and the file its own; what was there under that name stays."""
    kept = path.with_name(f"{path.name}.version-{version}")
    try:
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if not os.path.lexists(kept):
            try:
                kept.hardlink_to(path)
            except OSError:  # a file system without links
                _backup(old, kept)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise output_error(path, error) from None


def _upgrade_tables(connection: sa.Connection, database: OpenedDatabase) -> None:
    """Add what later versions have, in this transaction."""
    present = set(sa.inspect(connection).get_table_names())
    if schema.constants.name in present:
        return
    if schema.ledgers.name in present:
        schema.metadata.create_all(connection)
        begin_ledgers(connection, [schema.constants])
    else:
        _upgrade_first(connection, database, present)
    version = sa.update(schema.meta).where(schema.meta.c.name == "schema_version")
    connection.execute(version.values(value=str(schema.SCHEMA_VERSION)))


def _upgrade_first(
    connection: sa.Connection, database: OpenedDatabase, present: Collection[str]
) -> None:
    """Add what version 1 does not have."""
    reader = StoreReader(database.engine, database.location, 1)
    for table in schema.CHECKED:
        if table.name in present:
            _add_column(connection, table.c.checksum)
    _add_column(connection, schema.kernel_profiles.c.kernel_count)
    schema.metadata.create_all(connection)
    begin_ledgers(connection)
    for table in schema.CHECKED:
        _add_checksums(connection, table, reader)
        count_all(connection, table)
        if not database.is_sqlite:
            statement = f"ALTER TABLE {table.name} ALTER COLUMN checksum SET NOT NULL"
            connection.exec_driver_sql(statement)


def _add_column(connection: sa.Connection, column: sa.Column[object]) -> None:
    kind = column.type.compile(connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}")


def _add_checksums(connection: sa.Connection, table: sa.Table, reader: StoreReader) -> None:
    """Write each row's checksum; raises StoreError for a row that is damaged already."""
    old, new = reader.checked(table), checked_table(table)
    change = sa.update(table).where(table.c.id == sa.bindparam("this"))
    added = sorted(schema.ADDED_COLUMNS & {column.name for column in table.columns})
    last = 0
    while True:
        query = sa.select(*old.columns).where(table.c.id > last).order_by(table.c.id)
        limited = query.limit(_ROWS_AT_ONCE)
        rows = [*reader.checked_stream(connection, old, limited, in_order=True)]
        if not rows:
            return
        last = rows[-1]["id"]
        values = []
        for row in rows:
            if table is schema.kernel_profiles:
                row["kernel_count"] = _kernel_count(connection, row["id"])
            sealed = new.sealed(row)
            values.append({"this": row["id"], **{f"new_{name}": sealed[name] for name in added}})
        set_to: dict[str, sa.BindParameter[Any]] = {
            name: sa.bindparam(f"new_{name}") for name in added
        }
        connection.execute(change.values(set_to), values)


def _kernel_count(connection: sa.Connection, profile_id: int) -> int:
    kernels = schema.kernels
    query = sa.select(sa.func.count()).where(kernels.c.profile_id == profile_id)
    return int(connection.execute(query).scalar_one())
