"""The store: every measurement of every target, in one file that survives whatever happens."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from latprof.errors import LatprofError, StoreVersionError, TargetMismatchError, UsageError
from latprof.measurement.quiet.target_constant import Constant
from latprof.measurement.store import schema
from latprof.measurement.store.database import (
    DuplicateError,
    OpenedDatabase,
    damaged_store,
    open_database,
)
from latprof.measurement.store.ledgers import (
    MissingLedgerError,
    insert_rows,
    lock_table,
    update_row,
)
from latprof.measurement.store.preparing import prepare
from latprof.measurement.store.rows import (
    row_of_constant,
    row_of_kernel,
    row_of_measurement,
    samples_to_json,
    to_json,
)
from latprof.measurement.store.store_reader import StoredTarget, StoreReader
from latprof.measurement.store.upgrade import upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from latprof.measurement.records import KernelProfile, Subject, Target
    from latprof.measurement.visits import Measurement

__all__ = ["Store", "StoredTarget"]


class Store(StoreReader):
    """Measurements in a database: SQLite in one file, or any SQLAlchemy URL.

    What :meth:`add` has returned from is on the disk: with SQLite each measurement is its own
    transaction, in a write-ahead log with ``synchronous=FULL``. A store may be read while it is
    being written; several processes may write to it. Not safe to share between threads. Every row
    is checked when it is read; damage is a StoreError that names the table and the row.

    Use :meth:`open`, best in a ``with`` statement.
    """

    def __init__(self, database: OpenedDatabase, version: int) -> None:
        super().__init__(database.engine, database.location, version)
        self._database = database
        self._ids: dict[tuple[str, ...], int] = {}
        self._adding = threading.Lock()

    @classmethod
    def open(cls, location: str | Path, *, create: bool = False) -> Self:
        """Open a store.

        Parameters
        ----------
        location : str or Path
            A file, or a SQLAlchemy URL (recognised by ``://``).
        create : bool
            Open it for writing: make the store where there is none, and upgrade one of an older
            version, whose file is kept beside it (:mod:`latprof.measurement.store.upgrade`).

        Raises
        ------
        StoreError
            When there is no store and ``create`` is not set, or the file is something else. Reading
            a damaged row raises it too.
        UsageError
            For a URL of a database that does not exist here, or that keeps nothing.
        StoreVersionError
            When it was written with a schema that is not known here.
        OutputPathError
            When it should be made or upgraded and cannot be.
        """
        while True:
            database = open_database(location, create=create)
            try:
                version = prepare(database, create=create)
                if version == schema.SCHEMA_VERSION or not create:
                    return cls(database, version)
                upgrade(database)
                database.close()  # what it is now is opened anew
            except BaseException as error:
                database.close()
                # Another process may upgrade it at this moment: then the file is another.
                if not (isinstance(error, LatprofError) and database.was_replaced):
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the store on disk is complete at any time."""
        self._database.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that changes rows; raises StoreVersionError for an old store."""
        if self.version < schema.SCHEMA_VERSION:
            raise StoreVersionError(
                f"{self.location} is of an older version and was opened for reading",
                expected=f"version {schema.SCHEMA_VERSION}",
                got=f"version {self.version}",
                hint="a command that writes, such as latprof collect, upgrades it",
            )
        try:
            with self.transaction() as connection:
                yield connection
        except MissingLedgerError as error:
            what = f"table {schema.ledgers.name}: no count of the rows of {error}"
            raise damaged_store(self.location, what) from None

    # Writing -------------------------------------------------------------------------------

    def add(
        self,
        measurement: Measurement,
        campaign_id: int | None = None,
        also: Callable[[sa.Connection], None] = lambda _connection: None,
    ) -> bool:
        """Store one measurement; on return it is durable.

        ``also`` is done in the same transaction. Returns False, and stores nothing, when another
        process has stored this very visit.
        """
        row = {
            "subject_id": self._subject_id(measurement.subject),
            "target_id": self._target_id(measurement.target),
            "campaign_id": campaign_id,
            **row_of_measurement(measurement),
        }
        try:
            with self.writing() as connection:
                insert_rows(connection, schema.measurements, [row])
                also(connection)
        except DuplicateError:
            return False
        return True

    def add_kernels(self, subject: Subject, target: Target, profile: KernelProfile) -> bool:
        """Store a network's per-kernel times; return False where it has some already."""
        row = {
            "subject_id": self._subject_id(subject),
            "target_id": self._target_id(target),
            "started_at": profile.started_at,
            "process": profile.process,
            "samples": samples_to_json(profile.samples),
        }
        rows = [row_of_kernel(kernel) for kernel in profile.kernels]
        row["kernel_count"] = len(rows)
        try:
            with self.writing() as connection:
                number = insert_rows(connection, schema.kernel_profiles, [row])
                if rows:
                    numbered = [{"profile_id": number, **r} for r in rows]
                    insert_rows(connection, schema.kernels, numbered)
        except DuplicateError:
            return False
        return True

    def add_target(self, target: Target, reference: str) -> None:
        """Make a target known, with the name of its reference network.

        Raises TargetMismatchError when the store has this target with another reference.
        """
        row = {"key": target.key, "reference": reference}
        with self.writing() as connection:
            lock_table(connection, schema.targets)
            found = self._target_row(connection, target)
            if found is None:
                insert_rows(connection, schema.targets, [row])
        known = reference if found is None else found["reference"]
        if known != reference:
            raise TargetMismatchError(
                f"{target.spelling} has another reference network in {self.location}",
                expected=known,
                got=reference,
                hint="collect into another store",
            )

    def start_campaign(
        self,
        target: Target,
        plan: Mapping[str, Any],
        protocol: Mapping[str, Any],
        host: Mapping[str, Any],
        started_at: float | None = None,
    ) -> int:
        """Record that a collection starts, now unless a Unix time is given; return its number."""
        row = {
            "target_id": self._target_id(target),
            "started_at": time.time() if started_at is None else started_at,
            "plan": to_json(plan),
            "protocol": to_json(protocol),
            "host": to_json(host),
        }
        with self.writing() as connection:
            return insert_rows(connection, schema.campaigns, [row])

    def end_campaign(self, campaign_id: int, ended_at: float | None = None) -> None:
        """Record that a collection has done all it was asked to, now unless a time is given."""
        changes = {"ended_at": time.time() if ended_at is None else ended_at}
        with self.writing() as connection:
            self.change_row(connection, schema.campaigns, campaign_id, changes)

    def freeze_reference_ms(self, target: Target, reference_ms: float) -> float:
        """Write down what a millisecond is on ``target``; return the constant that then holds.

        A constant that is frozen already stays. When to freeze is not decided here: see
        :class:`latprof.measurement.labels.TargetLabels`.
        """
        return self.freeze_constant(target, Constant(reference_ms)).reference_ms

    def freeze_constant(self, target: Target, constant: Constant, after: int = 0) -> Constant:
        """Add a version of a target's constant; return the constant that then holds.

        Nothing is added where the last version is not ``after``, the one that the caller knows:
        another process was here first.
        """
        with self.writing() as connection:
            lock_table(connection, schema.targets)
            row = self._target_row(connection, target)
            if row is None:
                raise TargetMismatchError(f"{self.location} holds nothing of {target.describe()}")
            known = self._constants(connection, row)
            if (known[-1].number if known else 0) != after:
                return known[-1]
            added = replace(constant, number=after + 1)
            if not known:
                row["reference_ms"] = added.reference_ms
                update_row(connection, schema.targets, row, {})
            new = {"target_id": row["id"], **row_of_constant(added)}
            insert_rows(connection, schema.constants, [new])
        return added

    def change_row(
        self, connection: sa.Connection, table: sa.Table, number: int, changes: Mapping[str, Any]
    ) -> None:
        """Change columns of a row, where it is there, in a transaction of :meth:`writing`."""
        lock_table(connection, table)
        checked = self.checked(table)
        query = sa.select(*checked.columns).where(table.c.id == number)
        for row in self.checked_stream(connection, checked, query):
            update_row(connection, table, row, changes)

    # Helpers -------------------------------------------------------------------------------

    def _target_id(self, target: Target) -> int:
        cached = self._ids.get(("target", target.key))
        if cached is None:
            with self.snapshot() as connection:
                row = self._target_row(connection, target)
            if row is None:
                raise UsageError("a target is made known by add_target before it is measured")
            cached = self._ids["target", target.key] = int(row["id"])
        return cached

    def _subject_id(self, subject: Subject) -> int:
        """Return the number of a network's row, which is added where it is new."""
        identity = {"kind": subject.kind, "space": subject.space, "key": subject.key}
        known = (*identity.values(),)
        if known in self._ids:
            return self._ids[known]
        with self._adding:  # many devices come to a new network at once
            if known not in self._ids:
                with self.writing() as connection:
                    lock_table(connection, schema.subjects)
                    checked = self.checked(schema.subjects)
                    query = sa.select(*checked.columns).filter_by(**identity)
                    found = [*self.checked_stream(connection, checked, query)]
                    row = {**identity, "name": subject.name}
                    number = (
                        found[0]["id"] if found else insert_rows(connection, schema.subjects, [row])
                    )
                self._ids[known] = number
            return self._ids[known]
