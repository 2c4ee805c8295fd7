"""Databases: how a store is opened, and what the database's errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from latprof.errors import DiskFullError, OutputPathError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import exc


class DuplicateError(Exception):
    """A row that may be there once is there already."""


def file_url(path: Path, *, create: bool) -> sa.URL:
    """URL of a SQLite file; raises StoreError or OutputPathError where there can be none."""
    if path.is_dir():
        raise StoreError(f"{path} is a directory, not a store")
    if not path.exists():
        if not create:
            raise StoreError(f"no store at {path}", hint="make one with latprof collect")
        if not path.parent.is_dir():
            raise OutputPathError(
                f"cannot make the store {path}: no directory {path.parent}", field="store"
            )
    return sa.URL.create("sqlite", database=str(path))


def configure_sqlite(connection: Any, _record: object) -> None:
    """Make a new connection durable: what is committed survives the process and the power."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def translated_error(error: exc.DatabaseError, location: str) -> Exception:
    """The error to raise for what a database said; DuplicateError is for the store alone."""
    reason = str(error.orig)
    if "UNIQUE constraint" in reason or "unique constraint" in reason:
        return DuplicateError()
    if "disk is full" in reason or "No space left" in reason:
        return DiskFullError(
            f"the disk of {location} is full",
            hint="what was measured before is kept; make room and run the same command again",
        )
    if any(words in reason for words in ("readonly", "unable to open", "Permission denied")):
        return OutputPathError(f"{location} cannot be written: {reason}", field="store")
    if "not a database" in reason or "malformed" in reason or "encrypted" in reason:
        return StoreError(f"{location} is not a latprof store: {reason}")
    if "disk I/O error" in reason:
        return StoreError(f"{location} cannot be read or written: {reason}")
    return StoreError(f"{location}: {reason}")
