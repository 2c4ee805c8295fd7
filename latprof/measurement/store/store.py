"""The store: every measurement of every target, in one file that survives whatever happens."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from sqlalchemy import exc

from latprof.errors import (
    InvalidValueError,
    NotEnoughDataError,
    StoreError,
    StoreVersionError,
    TargetMismatchError,
    UsageError,
)
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    Subject,
    Target,
)
from latprof.measurement.statistics import counted_runs
from latprof.measurement.store import schema
from latprof.measurement.store.database import (
    DuplicateError,
    configure_sqlite,
    database_url,
    file_url,
    is_database_url,
    make_engine,
    shown_url,
    translated_error,
)
from latprof.measurement.store.rows import (
    duration,
    json_object,
    kernel_of,
    measurement_of,
    row_of_kernel,
    row_of_measurement,
    samples_of,
    samples_to_json,
    subject_of,
    to_json,
)
from latprof.measurement.visits import VisitKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from latprof.measurement.visits import Measurement


#: What :func:`latprof.measurement.store.rows.subject_of` reads.
_SUBJECT = tuple(schema.subjects.c[name] for name in ("kind", "space", "key", "name"))


#: Rows with raw runs that are in memory together.
_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class StoredTarget:
    """A target of a store, its reference network and its frozen constant (None: not yet frozen)."""

    target: Target
    reference: str
    reference_ms: float | None
    measurements: int


class Store:
    """Measurements in a database: SQLite in one file, or any SQLAlchemy URL.

    What :meth:`add` has returned from is on the disk: with SQLite each measurement is its own
    transaction, in a write-ahead log with ``synchronous=FULL``. A store may be read while it is
    being written; several processes may write to it. Not safe to share between threads.

    Use :meth:`open`, best in a ``with`` statement.
    """

    def __init__(self, engine: sa.Engine, location: str) -> None:
        self.location = location
        self._engine = engine
        self._ids: dict[tuple[str, ...], int] = {}

    @classmethod
    def open(cls, location: str | Path, *, create: bool = False) -> Self:
        """Open a store.

        Parameters
        ----------
        location : str or Path
            A file, or a SQLAlchemy URL (recognised by ``://``).
        create : bool
            Make the store where there is none.

        Raises
        ------
        StoreError
            When there is no store and ``create`` is not set, or the file is something else. Reading
            a damaged row raises it too.
        UsageError
            For a URL of a database that does not exist here, or that keeps nothing.
        StoreVersionError
            When it was written with another schema.
        OutputPathError
            When it should be made and cannot be.
        """
        text = str(location)
        if is_database_url(text):
            url = database_url(text)
            text = shown_url(url)
        else:
            url = file_url(Path(text), create=create)
        store = cls(make_engine(url), text)
        if url.get_backend_name() == "sqlite":
            sa.event.listen(store._engine, "connect", configure_sqlite)
        try:
            with store._errors():
                store._prepare(create=create)
        except Exception:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the store on disk is complete at any time."""
        self._engine.dispose()

    def _prepare(self, *, create: bool) -> None:
        with self._engine.begin() as connection:
            if create and self._engine.dialect.name == "sqlite":
                # All tables or none: another process may make the same file at this moment.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            present = sa.inspect(connection).has_table(schema.meta.name)
            if present:
                query = sa.select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
                version = connection.execute(query).scalar()
                if version != str(schema.SCHEMA_VERSION):
                    raise StoreVersionError(
                        f"{self.location} was written with another schema",
                        expected=f"version {schema.SCHEMA_VERSION}",
                        got=f"version {version}",
                        hint="use the latprof version that wrote it, or collect into a new file",
                    )
                return
            if not create or sa.inspect(connection).get_table_names():
                raise StoreError(f"{self.location} is not a latprof store")
            schema.metadata.create_all(connection)
            rows = {"schema_version": str(schema.SCHEMA_VERSION), "created_by": "latprof"}
            connection.execute(
                sa.insert(schema.meta), [{"name": k, "value": v} for k, v in rows.items()]
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the database's errors into ours."""
        try:
            yield
        except exc.DBAPIError as error:
            raise translated_error(error, self.location) from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction for tables of other modules: kept as a whole, or not at all."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turn what a damaged row raises into a StoreError."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, InvalidValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise StoreError(
                f"{self.location} is damaged: {what} cannot be read: {reason}",
                hint="restore a copy, or collect into a new file",
            ) from None

    # Writing -------------------------------------------------------------------------------

    def add(self, measurement: Measurement, campaign_id: int | None = None) -> bool:
        """Store one measurement; on return it is durable.

        Returns False, and stores nothing, when another process has stored this very visit.
        """
        row = {
            "subject_id": self._subject_id(measurement.subject),
            "target_id": self._target_id(measurement.target),
            "campaign_id": campaign_id,
            **row_of_measurement(measurement),
        }
        try:
            with self._errors(), self._engine.begin() as connection:
                connection.execute(sa.insert(schema.measurements), row)
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
        try:
            with self._errors(), self._engine.begin() as connection:
                made = connection.execute(sa.insert(schema.kernel_profiles), row)
                key = made.inserted_primary_key
                assert key is not None
                connection.execute(
                    sa.insert(schema.kernels), [{"profile_id": key[0], **r} for r in rows]
                )
        except DuplicateError:
            return False
        return True

    def add_target(self, target: Target, reference: str) -> None:
        """Make a target known, with the name of its reference network.

        Raises TargetMismatchError when the store has this target with another reference.
        """
        table = schema.targets
        query = sa.select(table.c.reference).where(table.c.key == target.key)
        row = {"key": target.key, "reference": reference}
        known = next((found.reference for found in self._rows(query)), None)
        if known is None:
            # Another collection may add it at this moment.
            with (
                contextlib.suppress(DuplicateError),
                self._errors(),
                self._engine.begin() as connection,
            ):
                connection.execute(sa.insert(table), row)
            known = self._rows(query)[0].reference
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
        with self._errors(), self._engine.begin() as connection:
            key = connection.execute(sa.insert(schema.campaigns), row).inserted_primary_key
        assert key is not None
        return int(key[0])

    def end_campaign(self, campaign_id: int, ended_at: float | None = None) -> None:
        """Record that a collection has done all it was asked to, now unless a time is given."""
        table, values = (
            schema.campaigns,
            {"ended_at": time.time() if ended_at is None else ended_at},
        )
        with self._errors(), self._engine.begin() as connection:
            connection.execute(sa.update(table).where(table.c.id == campaign_id).values(values))

    def freeze_reference_ms(self, target: Target, reference_ms: float) -> float:
        """Write down what a millisecond is on ``target``; return the constant that then holds.

        A constant that is frozen already stays. When to freeze is not decided here: see
        :class:`latprof.measurement.labels.TargetLabels`.
        """
        table = schema.targets
        with self._errors(), self._engine.begin() as connection:
            unfrozen = sa.and_(table.c.key == target.key, table.c.reference_ms.is_(None))
            connection.execute(sa.update(table).where(unfrozen).values(reference_ms=reference_ms))
        stored = self.stored_target(target).reference_ms
        assert stored is not None
        return stored

    # Reading -------------------------------------------------------------------------------

    def targets(self) -> list[StoredTarget]:
        """Every target of the store, in the order they came."""
        table, counted = schema.targets, schema.measurements
        count = sa.func.count(counted.c.id)
        query = (
            sa.select(table.c.key, table.c.reference, table.c.reference_ms, count)
            .join_from(table, counted, isouter=True)
            .group_by(table.c.id)
            .order_by(table.c.id)
        )
        with self.reading("a target"):
            return [
                StoredTarget(Target.from_dict(json_object(key)), name, duration(value), number)
                for key, name, value, number in map(tuple, self._rows(query))
            ]

    def stored_target(self, target: Target) -> StoredTarget:
        """The store's record of ``target``; raises TargetMismatchError where it has none."""
        for stored in self.targets():
            if stored.target == target:
                return stored
        raise TargetMismatchError(f"{self.location} holds nothing of {target.describe()}")

    def only_target(self, spelling: str | None = None) -> StoredTarget:
        """The one target of the store, or the one that ``spelling`` names.

        ``spelling`` is the short form or any part of the full description. Raises
        TargetMismatchError when several fit (they are never mixed) or none does, and
        NotEnoughDataError for a store without measurements.
        """
        found = [stored for stored in self.targets() if stored.measurements]
        if not found:
            raise NotEnoughDataError(f"{self.location} holds no measurements")
        fitting = [
            stored
            for stored in found
            if spelling is None or spelling in (stored.target.spelling, stored.target.describe())
        ] or [s for s in found if spelling and spelling in s.target.describe()]
        if len(fitting) == 1:
            return fitting[0]
        names = "; ".join(stored.target.describe() for stored in fitting or found)
        raise TargetMismatchError(
            f"{self.location} holds {len(fitting) or 'no'} targets"
            + (f" that fit {spelling!r}" if spelling is not None else ", which are never mixed"),
            hint=f"choose one with --target and a part of its description: {names}",
        )

    def finished_visits(self, target: Target) -> set[VisitKey]:
        """Every visit that needs no more work: it has samples, and nothing disturbed it."""
        table = schema.measurements
        query = self._of_target(
            sa.select(*_SUBJECT, table.c.label, table.c.visit).join_from(table, schema.subjects),
            target,
            table,
        ).where(table.c.failure_code.is_(None), table.c.disturbed == sa.false())
        return {VisitKey(subject_of(row), row.label, row.visit) for row in self._rows(query)}

    def last_campaigns(self, target: Target) -> dict[tuple[str, str, str, int], int]:
        """For each (kind, space, key, label) the number of the last campaign that visited it."""
        table, subject = schema.measurements, schema.subjects
        names = (subject.c.kind, subject.c.space, subject.c.key, table.c.label)
        query = self._of_target(
            sa.select(*names, sa.func.max(table.c.campaign_id)).join_from(table, subject),
            target,
            table,
        ).where(table.c.campaign_id.is_not(None))
        rows = map(tuple, self._rows(query.group_by(*names)))
        return {(kind, space, key, label): last for kind, space, key, label, last in rows}

    def subjects_with_kernels(self, target: Target) -> set[Subject]:
        """The networks whose kernels are stored."""
        table = schema.kernel_profiles
        query = sa.select(*_SUBJECT).join_from(table, schema.subjects)
        return set(map(subject_of, self._rows(self._of_target(query, target, table))))

    def measurements(self, target: Target, limit: int | None = None) -> Iterator[Measurement]:
        """Every visit to every network on ``target``, in the order they were stored.

        With a ``limit`` the first so many that have samples.
        """
        table = schema.measurements
        query = self._of_target(
            sa.select(table, *_SUBJECT).join_from(table, schema.subjects).order_by(table.c.id),
            target,
            table,
        )
        if limit is not None:
            query = query.where(table.c.failure_code.is_(None)).limit(limit)
        for row in self._stream(query):
            with self.reading(f"measurement {row.id}"):
                measurement = measurement_of(row, target)
            yield measurement

    def kernel_profiles(self, target: Target) -> Iterator[tuple[Subject, KernelProfile]]:
        """Every network whose kernels were timed on ``target``, in the order they were stored."""
        table, kernel = schema.kernel_profiles, schema.kernels
        of_profile: dict[int, list[KernelTime]] = defaultdict(list)
        query = sa.select(kernel).join_from(kernel, table).order_by(kernel.c.position)
        for row in self._stream(self._of_target(query, target, table)):
            with self.reading(f"kernel {row.id}"):
                of_profile[row.profile_id].append(kernel_of(row))
        query = sa.select(table, *_SUBJECT).join_from(table, schema.subjects).order_by(table.c.id)
        for row in self._rows(self._of_target(query, target, table)):
            with self.reading(f"kernel profile {row.id}"):
                samples = samples_of(row.samples)
            kernels = tuple(of_profile.pop(row.id, ()))
            profile = KernelProfile(kernels, samples, row.started_at, row.process)
            yield subject_of(row), profile

    def campaigns(self, target: Target) -> list[dict[str, Any]]:
        """The collections on ``target``: start and end (Unix time), plan, protocol, host."""
        table = schema.campaigns
        query = self._of_target(sa.select(table).order_by(table.c.id), target, table)
        with self.reading("a campaign"):
            return [
                {
                    "id": row.id,
                    "started_at": row.started_at,
                    "ended_at": row.ended_at,
                    **{n: json_object(getattr(row, n)) for n in ("plan", "protocol", "host")},
                }
                for row in self._rows(query)
            ]

    def reference_runs(self, target: Target) -> int | None:
        """Counted runs in the reference's bursts of the first visit; None where there is none."""
        for measurement in self.measurements(target, limit=1):
            assert measurement.samples is not None
            return counted_runs(measurement.samples)[1]
        return None

    # Helpers -------------------------------------------------------------------------------

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._errors(), self._engine.connect() as connection:
            return connection.execute(query).all()

    def _stream(self, query: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        """Rows of a query whose raw runs need not be in memory all together."""
        with self._errors(), self._engine.connect() as connection:
            yield from connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)

    @staticmethod
    def _of_target(query: sa.Select[Any], target: Target, table: sa.Table) -> sa.Select[Any]:
        return query.join(schema.targets, table.c.target_id == schema.targets.c.id).where(
            schema.targets.c.key == target.key
        )

    def _target_id(self, target: Target) -> int:
        return self._identity(schema.targets, {"key": target.key}, {})

    def _subject_id(self, subject: Subject) -> int:
        identity = {"kind": subject.kind, "space": subject.space, "key": subject.key}
        return self._identity(schema.subjects, identity, {"name": subject.name})

    def _identity(self, table: sa.Table, identity: dict[str, str], rest: dict[str, str]) -> int:
        """Return a row's id, inserting the row where it may be made here."""
        cached = self._ids.get((table.name, *identity.values()))
        if cached is not None:
            return cached
        query = sa.select(table.c.id).filter_by(**identity)
        with self._errors(), self._engine.begin() as connection:
            found = connection.execute(query).scalar()
            if found is None and table is schema.targets:
                raise UsageError("a target is made known by add_target before it is measured")
            if found is None:
                with contextlib.suppress(exc.IntegrityError), connection.begin_nested():
                    connection.execute(sa.insert(table), identity | rest)
                found = connection.execute(query).scalar_one()
        self._ids[table.name, *identity.values()] = int(found)
        return int(found)
