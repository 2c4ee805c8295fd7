"""Databases: how a store is opened, and what the database's errors mean."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc

from latprof.common.files import output_error, what_is_at
from latprof.errors import DiskFullError, OutputPathError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = r"(postgres|mysql|maria|sqlite|oracle|mssql|cockroach|redshift|snowflake|duckdb|db2)"
#: A URL with a user and a password that lacks a slash or two.
_LIKE_A_URL = re.compile(rf"\s*{_KINDS}[\w+ ]*:.*@", re.IGNORECASE | re.DOTALL)
#: SQLite's own spellings of a database in memory, and those within a URL.
_KEEPS_NOTHING = re.compile(r":memory:|[?&](mode=memory|vfs=memdb)\b|%3amemory%3a", re.IGNORECASE)
_IN_MEMORY = re.compile(rf"\s*(:memory:$|file:.*({_KEEPS_NOTHING.pattern}))", re.IGNORECASE)
_SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)
#: What SQLite and PostgreSQL say of a row's number that is there already, not of its content.
_NUMBER_TWICE = re.compile(
    r"UNIQUE constraint failed: \w+\.id$|unique constraint \"(?!latprof_)\w+_pkey\""
)
#: Bytes of the longest value; raw runs of a visit take some thousand.
_LONGEST_VALUE = 1 << 26
_LOCK_TIMEOUT_S = 30.0  # how long another process may hold the file
#: How long a writer waits for its turn among others, and after which it is told, in seconds.
TURN_TIMEOUT_S, TURN_TOLD_S = 300.0, 10.0
#: Between two attempts to get the turn, on average: at first, and for whoever has waited for long.
_ATTEMPT_S, _SOONEST_S = 0.01, 0.002


class OpenedDatabase:
    """A database, open: a file or a server's.

    ``location`` is for messages; ``file`` is None for a server's; ``engine`` makes connections, and
    goes with :meth:`close`.
    """

    def __init__(self, engine: sa.Engine, location: str, file: Path | None = None) -> None:
        self.engine, self.location, self.file = engine, location, file
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._was = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        """Which file has the name now; None for none, and for a server's database."""
        try:
            found = None if self.file is None else self.file.stat()
        except OSError:
            return None
        return None if found is None else (found.st_dev, found.st_ino)

    @property
    def was_replaced(self) -> bool:
        """Whether the file's name is another file's now, as after an upgrade."""
        return self._was is not None and self._identity() != self._was

    @property
    def is_sqlite(self) -> bool:
        """Whether it is one of SQLite."""
        return self.engine.dialect.name == "sqlite"

    def keep_copy(self, folder: tempfile.TemporaryDirectory[str]) -> None:
        """Remove a folder at the end."""
        self._copy = folder

    def close(self) -> None:
        """Close its connections; what was committed is on the disk."""
        self.engine.dispose()
        if self._copy is not None:
            self._copy.cleanup()


class DuplicateError(Exception):
    """A row that may be there once is there already."""


def is_database_url(text: str) -> bool:
    """Whether a store's location is meant as a URL, well formed or not; else it is a file."""
    return any(("://" in text, _IN_MEMORY.match(text), _LIKE_A_URL.match(text)))


def database_url(text: str) -> sa.URL:
    """Read a database URL; raises UsageError for one that cannot be read or that keeps nothing.

    No message quotes more of it than the kind of database: what is malformed may hold a password
    anywhere.
    """
    if _IN_MEMORY.match(text):
        raise _keeps_nothing()
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError):
        raise _no_url() from None
    if url.get_backend_name() != "sqlite":
        if any("@" in (part or "") for part in (url.host, url.database)):  # of the password
            raise _no_url()
    elif _KEEPS_NOTHING.search(text) or url.database in (None, ""):
        raise _keeps_nothing()
    return url


def _no_url() -> UsageError:
    return UsageError(
        "not a database URL",
        field="store",
        expected="DIALECT://USER:PASSWORD@HOST/DATABASE",
        hint="special characters of a password are written with %, as in %40 for @",
    )


def _keeps_nothing() -> UsageError:
    return UsageError(
        "a database in memory would lose every measurement", field="store", hint="name a file"
    )


def shown_url(url: sa.URL) -> str:
    """A URL for messages: without its password, also where that is an option behind ``?``."""
    query = {name: "***" if _SECRET.search(name) else value for name, value in url.query.items()}
    return url.set(query=query).render_as_string().replace("%2A%2A%2A", "***")


def make_engine(url: sa.URL) -> sa.Engine:
    """An engine for a database; raises UsageError where no library for it is installed."""
    try:
        engine = sa.create_engine(url)
    except exc.NoSuchModuleError:
        raise UsageError(f"unknown kind of database: {url.drivername}", field="store") from None
    except ImportError as error:
        raise UsageError(
            f"a {url.drivername} database needs {error.name}, which is not installed",
            field="store",
            hint="install it, or name a file",
        ) from None
    except (exc.ArgumentError, ValueError, TypeError):
        raise UsageError(
            f"a {url.drivername} database has no such URL",
            field="store",
            hint="sqlite:///relative/path.db, or sqlite:////absolute/path.db"
            if url.get_backend_name() == "sqlite"
            else None,
        ) from None
    if engine.dialect.driver == "pysqlite":
        sa.event.listen(engine, "connect", _limit)
    return engine


def open_database(location: str | Path, *, create: bool) -> OpenedDatabase:
    """Open a file or a URL; raises as :meth:`latprof.measurement.store.store.Store.open`.

    A file that may only be read, alone or with its folder, is opened for reading.
    """
    text = str(location)
    if is_database_url(text):
        url = database_url(text)
        plain = url.get_backend_name() == "sqlite" and not url.query and url.database
        opened = OpenedDatabase(make_engine(url), shown_url(url), Path(plain) if plain else None)
        if opened.is_sqlite:
            sa.event.listen(opened.engine, "connect", configure_sqlite)
        return opened
    path = Path(text)
    _check_file(path, create=create)
    if create or all(os.access(place, os.W_OK) for place in (path, path.parent)):
        opened = OpenedDatabase(make_engine(sqlite_url(path)), text, path)
        sa.event.listen(opened.engine, "connect", configure_sqlite)
        return opened
    return _open_to_read(path, text)


def sqlite_url(path: Path, **query: str) -> sa.URL:
    """URL of a SQLite file, with SQLite's own options."""
    if not query:
        return sa.URL.create("sqlite", database=str(path))
    database = f"file:{quote(str(path))}"
    return sa.URL.create("sqlite", database=database, query={"uri": "true", **query})


def _check_file(path: Path, *, create: bool) -> None:
    """Raise StoreError or OutputPathError where there can be no store."""
    found = what_is_at(path)
    if found == "directory":
        raise StoreError(f"{path} is a directory, not a store")
    if found == "special":
        raise StoreError(f"{path} is a device or a pipe, not a store")
    if found is None:
        if not create:
            raise StoreError(f"no store at {path}", hint="make one with latprof collect")
        if what_is_at(path.parent) != "directory":
            raise OutputPathError(
                f"cannot make the store {path}: no directory {path.parent}", field="store"
            )


def _open_to_read(path: Path, text: str) -> OpenedDatabase:
    """Open a file beside which nothing can be written.

    Where there is no write-ahead log, the file is complete in itself, and is read as one that never
    changes. A log has rows that the file has not, and SQLite reads it only with an index file,
    which whoever writes now has made; where nobody does, a copy of both is read.
    """
    log, index = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))
    if not log.exists() or not log.stat().st_size:
        return OpenedDatabase(make_engine(sqlite_url(path, immutable="1")), text, path)
    if index.exists():
        return OpenedDatabase(make_engine(sqlite_url(path, mode="ro")), text, path)
    folder = tempfile.TemporaryDirectory(prefix="latprof-store-")
    copy = Path(folder.name) / "store.db"
    try:
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name("store.db-wal"))
    except OSError as error:
        folder.cleanup()
        raise output_error(copy, error) from None
    opened = OpenedDatabase(make_engine(sqlite_url(copy)), text, path)
    opened.keep_copy(folder)
    return opened


def _limit(connection: sqlite3.Connection, _record: object) -> None:
    """What a file from outside may ask for: no value as large as the memory."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    connection.execute("PRAGMA trusted_schema=OFF").close()


def configure_sqlite(connection: Any, _record: object) -> None:
    """Make a new connection durable: what is committed survives the process and the power."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_LOCK_TIMEOUT_S * 1000:.0f}")
    _keep_a_write_ahead_log(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _keep_a_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Change the file to a write-ahead log, where it has none yet.

    SQLite refuses this at once while another process writes, whatever the busy time-out is.
    """
    end = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
        except UnicodeDecodeError as error:  # of what SQLite says of a damaged schema
            raise sqlite3.DatabaseError("malformed database schema") from error
        else:
            return


def take_turn(
    connection: sa.Connection,
    location: str,
    on_wait: Callable[[str], None] = lambda _text: None,
) -> None:
    """Begin a transaction that writes, when no other process has one.

    SQLite gives its lock to whoever happens to ask while it is free. Its own waiting asks ten times
    a second, between which processes that write all the time take turns: among eight of them one
    can wait for minutes. Here whoever waits asks at random moments and the more often the longer it
    has waited. Other databases have queues, and their transactions begin by themselves.

    Parameters
    ----------
    connection : Connection
        In which nothing was done yet.
    location : str
        For messages.
    on_wait : callable, optional
        Told once where the wait is long.

    Raises
    ------
    StoreError
        Where another process keeps the lock for :data:`TURN_TIMEOUT_S`.
    """
    if connection.dialect.name != "sqlite" or connection.dialect.driver != "pysqlite":
        return
    own: Any = connection.connection.driver_connection
    start, is_told = time.monotonic(), False
    own.execute("PRAGMA busy_timeout=0").close()
    try:
        while not _began(own, location):
            waited_s = time.monotonic() - start
            if waited_s >= TURN_TIMEOUT_S:
                raise StoreError(
                    f"{location} is locked by another process for {waited_s:.0f} s",
                    hint="let it end, then run the same command again",
                )
            if waited_s >= TURN_TOLD_S and not is_told:
                is_told = True
                on_wait(f"waiting for {location}, which another process has locked")
            wait_s = max(_ATTEMPT_S / (1.0 + waited_s), _SOONEST_S)
            time.sleep(wait_s * (0.5 + int.from_bytes(os.urandom(2)) / 65_536))
    finally:
        own.execute(f"PRAGMA busy_timeout={_LOCK_TIMEOUT_S * 1000:.0f}").close()


def _began(connection: sqlite3.Connection, location: str) -> bool:
    """Begin a transaction that writes; False where another process has one."""
    try:
        connection.execute("BEGIN IMMEDIATE").close()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return False
        raise translated_error(exc.DBAPIError("", (), error), location) from None
    except sqlite3.DatabaseError as error:
        raise translated_error(exc.DBAPIError("", (), error), location) from None
    return True


def translated_error(  # noqa: PLR0911 - one return a cause
    error: exc.DBAPIError, location: str
) -> Exception:
    """The error to raise for what a database said; DuplicateError is for the store alone."""
    reason = " ".join(str(error.orig).split())
    if _NUMBER_TWICE.search(reason):
        return damaged_store(location, f"a new row got the number of another: {reason}")
    if "UNIQUE constraint" in reason or "unique constraint" in reason:
        return DuplicateError()
    if "disk is full" in reason or "No space left" in reason:
        return DiskFullError(
            f"the disk of {location} is full",
            hint="what was measured before is kept; make room and run the same command again",
        )
    if any(words in reason for words in ("readonly", "unable to open", "Permission denied")):
        return OutputPathError(f"{location} cannot be written: {reason}", field="store")
    if "not a database" in reason or "encrypted" in reason:
        return StoreError(f"{location} is not a latprof store: {reason}")
    if any(words in reason for words in ("malformed", "Could not decode", "no such")):
        return damaged_store(location, reason)
    if "locked" in reason:
        return StoreError(
            f"{location} is locked by another process",
            hint="let it end, then run the same command again",
        )
    if "disk I/O error" in reason:
        return StoreError(f"{location} cannot be read or written: {reason}")
    hint = None
    if error.connection_invalidated or isinstance(error, exc.OperationalError):
        hint = "what was measured before is kept; run the same command again when it answers"
    return StoreError(f"{location}: {reason[:200]}", hint=hint)


def damaged_store(location: str, reason: str) -> StoreError:
    """The error for what a store holds and should not."""
    return StoreError(
        f"{location} is damaged: {reason[:200]}",
        hint=f"latprof doctor {location} says what else is, and saves what is whole",
    )
