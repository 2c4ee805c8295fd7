"""Reading a store: each row that is read was checked, and a missing one is told."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    InvalidValueError,
    NotEnoughDataError,
    TargetMismatchError,
)
from latprof.measurement.quiet.target_constant import Constant
from latprof.measurement.records import KernelProfile, PairedSamples, Subject, Target
from latprof.measurement.store import schema
from latprof.measurement.store.checked_rows import CheckedTable, checked_table
from latprof.measurement.store.database import damaged_store, take_turn, translated_error
from latprof.measurement.store.ledgers import stated_count
from latprof.measurement.store.rows import (
    campaign_of,
    constant_of,
    kernel_of,
    measurement_of,
    samples_of,
    subject_of,
    target_of,
)
from latprof.measurement.visits import VisitKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from latprof.measurement.visits import Measurement

#: Rows with raw runs that are in memory together.
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, repr=False)
class StoredTarget(ShortRepr):
    """A target of a store, its reference network, and the versions of its constant so far."""

    target: Target
    reference: str
    constants: tuple[Constant, ...]
    measurements: int

    @property
    def reference_ms(self) -> float | None:
        """The constant that holds, in ms; None where none is frozen yet."""
        return self.constants[-1].reference_ms if self.constants else None


class StoreReader:
    """What a store holds. Every method raises StoreError for damage, naming table and row.

    Parameters
    ----------
    engine : Engine
        Of a database with the tables of :mod:`latprof.measurement.store.schema`.
    location : str
        For messages.
    version : int
        The schema's: rows of version 1 have no checksums, and their number is not known.
    """

    def __init__(self, engine: sa.Engine, location: str, version: int) -> None:
        self.location, self.version = location, version
        self._engine = engine
        #: Told where a transaction has to wait for another process.
        self.on_wait: Callable[[str], None] = lambda _text: None

    # Access ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the database's errors into ours."""
        try:
            yield
        except exc.DBAPIError as error:
            raise translated_error(error, self.location) from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction for tables of other modules: kept as a whole, or not at all."""
        with self.errors(), self._engine.begin() as connection:
            take_turn(connection, self.location, self.on_wait)
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection to which everything looks as at one moment, whoever writes meanwhile."""
        engine = self._engine
        if engine.dialect.name != "sqlite":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self.errors(), engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextlib.contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turn what a damaged row raises into a StoreError."""
        try:
            yield
        except (
            *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
            *(RecursionError, InvalidValueError),
        ) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise damaged_store(self.location, f"{what}: {reason}") from None

    def checked(self, table: sa.Table) -> CheckedTable:
        """The checks of a table's rows in this store."""
        return checked_table(table, checksums=self.version > 1)

    def checked_rows(
        self, connection: sa.Connection, table: sa.Table, parent: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Every row of a table, or of a parent in it, in the order they came; none is missing."""
        checked = self.checked(table)
        query = sa.select(*checked.columns).order_by(table.c.id)
        if parent:
            query = query.where(table.c[schema.PARENTS[table.name]] == parent)
        count = 0
        for values in self.checked_stream(connection, checked, query, in_order=True):
            count += 1
            yield values
        self._check_count(connection, table, count, parent)

    def checked_stream(
        self,
        connection: sa.Connection,
        checked: CheckedTable,
        query: sa.Select[Any],
        *,
        in_order: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The rows of a query for :attr:`CheckedTable.columns`.

        Those of a query that asks for the order of their numbers are ``in_order``: SQLite does not
        look whether they are, and gives rows of exchanged pages as they lie.
        """
        at, last = checked.names.index("id"), -math.inf
        for row in connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE}):
            try:
                values = checked.values(row)
                if in_order and values["id"] <= last:
                    raise ValueError("it is not in the order of the rows")
            except ValueError as error:
                what = f"table {checked.table.name}, row {str(row[at])[:30]}: {error}"
                raise damaged_store(self.location, what) from None
            last = values["id"]
            yield values

    def _check_count(
        self, connection: sa.Connection, table: sa.Table, count: int, parent: int
    ) -> None:
        if self.version == 1:
            return
        with self.reading(f"table {table.name}"):
            stated = stated_count(connection, table, parent)
            if stated != count:
                raise ValueError(f"{count} rows where {stated} were stored")

    # Targets -----------------------------------------------------------------------------------

    def targets(self) -> list[StoredTarget]:
        """Every target of the store, in the order they came."""
        measured = schema.measurements.c
        query = sa.select(measured.target_id, sa.func.count()).group_by(measured.target_id)
        with self.snapshot() as connection:
            counts = dict(map(tuple, connection.execute(query)))
            found = []
            for values, target in self._targets(connection):
                count = counts.pop(values["id"], 0)
                self._check_count(connection, schema.measurements, count, values["id"])
                constants = self._constants(connection, values)
                found.append(StoredTarget(target, values["reference"], constants, count))
        if counts:
            what = "table measurements: rows of a target that is not there"
            raise damaged_store(self.location, what)
        return found

    def _targets(self, connection: sa.Connection) -> Iterator[tuple[dict[str, Any], Target]]:
        for values in self.checked_rows(connection, schema.targets):
            with self.reading(f"table targets, row {values['id']}"):
                target = target_of(values)
            yield values, target

    def _constants(
        self, connection: sa.Connection, target: Mapping[str, Any]
    ) -> tuple[Constant, ...]:
        """The versions of the constant of a target's row; the first may be of an older schema."""
        found = []
        if schema.has_table(self.version, schema.constants):
            for row in self.checked_rows(connection, schema.constants, target["id"]):
                with self.reading(f"table constants, row {row['id']}"):
                    found.append(constant_of(row))
        if target["reference_ms"] is not None and (not found or found[0].number > 1):
            found.insert(0, Constant(target["reference_ms"], 1))
        return tuple(found)

    def _target_row(self, connection: sa.Connection, target: Target) -> dict[str, Any] | None:
        """The row of a target; None where it is not known, and no row is damaged."""
        checked = self.checked(schema.targets)
        query = sa.select(*checked.columns).where(schema.targets.c.key == target.key)
        found = [*self.checked_stream(connection, checked, query)] or [
            values for values, known in self._targets(connection) if known == target
        ]
        return found[0] if found else None

    def _rows_of(
        self, connection: sa.Connection, table: sa.Table, target: Target
    ) -> Iterator[dict[str, Any]]:
        row = self._target_row(connection, target)
        return iter(()) if row is None else self.checked_rows(connection, table, row["id"])

    def stored_target(self, target: Target) -> StoredTarget:
        """The store's record of ``target``; raises TargetMismatchError where it has none."""
        table = schema.measurements
        with self.snapshot() as connection:
            row = self._target_row(connection, target)
            if row is not None:
                query = sa.select(sa.func.count()).where(table.c.target_id == row["id"])
                count = int(connection.execute(query).scalar() or 0)
                self._check_count(connection, table, count, row["id"])
                constants = self._constants(connection, row)
                return StoredTarget(target, row["reference"], constants, count)
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

    # Visits ------------------------------------------------------------------------------------

    def finished_visits(self, target: Target) -> set[VisitKey]:
        """Every visit that needs no more work: it has samples, and nothing disturbed it."""
        with self.snapshot() as connection:
            subjects = self._subjects(connection)
            return {
                VisitKey(self._subject(subjects, row), row["label"], row["visit"])
                for row in self._rows_of(connection, schema.measurements, target)
                if row["failure_code"] is None and not row["disturbed"]
            }

    def last_campaigns(self, target: Target) -> dict[tuple[str, str, str, int], int]:
        """For each (kind, space, key, label) the number of the last campaign that visited it."""
        table = schema.measurements
        last = sa.func.max(table.c.campaign_id)
        with self.snapshot() as connection:
            row = self._target_row(connection, target)
            subjects = self._subjects(connection)
            query = (
                sa.select(table.c.subject_id, table.c.label, last)
                .where(table.c.target_id == (row or {}).get("id"), table.c.campaign_id.is_not(None))
                .group_by(table.c.subject_id, table.c.label)
            )
            found = {}
            with self.reading("table measurements"):
                for subject_id, label, campaign in connection.execute(query):
                    subject = subjects[subject_id]
                    found[subject.kind, subject.space, subject.key, int(label)] = int(campaign)
        return found

    def measurements(self, target: Target) -> Iterator[Measurement]:
        """Every visit to every network on ``target``, in the order they were stored."""
        with self.snapshot() as connection:
            subjects = self._subjects(connection)
            for row in self._rows_of(connection, schema.measurements, target):
                subject = self._subject(subjects, row)
                with self.reading(f"table measurements, row {row['id']}"):
                    measurement = measurement_of(row, subject, target)
                yield measurement

    def last_visit(self, target: Target) -> int:
        """The row of the last visit on ``target``; 0 where there is none."""
        table = schema.measurements
        with self.snapshot() as connection:
            known = self._target_row(connection, target)
            query = sa.select(sa.func.max(table.c.id))
            last = connection.execute(query.where(table.c.target_id == (known or {}).get("id")))
            return int(last.scalar() or 0)

    def visits_after(
        self, target: Target, number: int
    ) -> Iterator[tuple[int, int | None, Measurement]]:
        """Visits that came after the row ``number``: row, number of the campaign, the visit."""
        table = schema.measurements
        checked, of_networks = self.checked(table), self.checked(schema.subjects)
        with self.snapshot() as connection:
            known = self._target_row(connection, target)
            later = table.c.target_id == (known or {}).get("id"), table.c.id > number
            query = sa.select(*checked.columns).where(*later).order_by(table.c.id)
            rows = [*self.checked_stream(connection, checked, query, in_order=True)]
            numbers = sorted({row["subject_id"] for row in rows})
            query = sa.select(*of_networks.columns).where(schema.subjects.c.id.in_(numbers))
            found = self.checked_stream(connection, of_networks, query) if rows else ()
            subjects = {values["id"]: subject_of(values) for values in found}
        for row in rows:
            subject = self._subject(subjects, row)
            with self.reading(f"table measurements, row {row['id']}"):
                measurement = measurement_of(row, subject, target)
            yield row["id"], row["campaign_id"], measurement

    def first_visits(self, target: Target) -> Iterator[tuple[Subject, PairedSamples]]:
        """Each network on ``target``, and the samples of the first visit that has some."""
        with self.snapshot() as connection:
            subjects = self._subjects(connection)
            seen = set()
            for row in self._rows_of(connection, schema.measurements, target):
                if row["failure_code"] is not None or row["subject_id"] in seen:
                    continue
                seen.add(row["subject_id"])
                with self.reading(f"table measurements, row {row['id']}"):
                    samples = samples_of(row["samples"])
                yield self._subject(subjects, row), samples

    def spaces(self) -> set[str]:
        """Descriptions of the search spaces of whose architectures the store knows some."""
        with self.snapshot() as connection:
            subjects = self._subjects(connection).values()
        return {each.space for each in subjects if each.kind == "architecture"}

    def _subjects(self, connection: sa.Connection) -> dict[int, Subject]:
        """Every network by the number of its row."""
        found = {}
        for values in self.checked_rows(connection, schema.subjects):
            with self.reading(f"table subjects, row {values['id']}"):
                found[values["id"]] = subject_of(values)
        return found

    def _subject(self, subjects: Mapping[int, Subject], row: Mapping[str, Any]) -> Subject:
        with self.reading(f"table subjects, row {row['subject_id']}"):
            return subjects[row["subject_id"]]

    # Kernels and campaigns ---------------------------------------------------------------------

    def subjects_with_kernels(self, target: Target) -> set[Subject]:
        """The networks whose kernels are stored."""
        with self.snapshot() as connection:
            subjects = self._subjects(connection)
            rows = self._rows_of(connection, schema.kernel_profiles, target)
            return {self._subject(subjects, row) for row in rows}

    def kernel_profiles(self, target: Target) -> Iterator[tuple[Subject, KernelProfile]]:
        """Every network whose kernels were timed on ``target``, in the order they were stored."""
        with self.snapshot() as connection:
            known = self._target_row(connection, target)
            if known is None:
                return
            subjects = self._subjects(connection)
            groups = groupby(self._kernels(connection, known["id"]), itemgetter("profile_id"))
            profile_id, kernels = next(groups, (0, iter(())))
            for row in self.checked_rows(connection, schema.kernel_profiles, known["id"]):
                of_profile = []
                if profile_id == row["id"]:
                    of_profile = [*kernels]
                    profile_id, kernels = next(groups, (0, iter(())))
                with self.reading(f"table kernel_profiles, row {row['id']}"):
                    profile = _profile(row, of_profile)
                yield self._subject(subjects, row), profile
        if profile_id:
            raise damaged_store(self.location, "table kernels: some are of no profile")

    def _kernels(self, connection: sa.Connection, target_id: int) -> Iterator[dict[str, Any]]:
        """The kernels of a target, profile by profile, in the order they ran."""
        checked, profiles = self.checked(schema.kernels), schema.kernel_profiles
        query = (
            sa.select(*checked.columns)
            .join_from(schema.kernels, profiles)
            .where(profiles.c.target_id == target_id)
            .order_by(schema.kernels.c.profile_id, schema.kernels.c.position)
        )
        return self.checked_stream(connection, checked, query)

    def campaigns(self, target: Target) -> list[dict[str, Any]]:
        """The collections on ``target``: start and end (Unix time), plan, protocol, host."""
        found = []
        with self.snapshot() as connection:
            for row in self._rows_of(connection, schema.campaigns, target):
                with self.reading(f"table campaigns, row {row['id']}"):
                    found.append(campaign_of(row))
        return found


def _profile(row: Mapping[str, Any], kernels: list[dict[str, Any]]) -> KernelProfile:
    stated = row.get("kernel_count", len(kernels))
    if len(kernels) != stated:
        raise ValueError(f"{len(kernels)} kernels where {stated} were stored")
    times = tuple(map(kernel_of, kernels))
    return KernelProfile(times, samples_of(row["samples"]), row["started_at"], row["process"])
