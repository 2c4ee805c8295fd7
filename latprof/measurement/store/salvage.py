"""What is whole in a store and what is not; the whole part saved into a new file."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa
from sqlalchemy import exc

from latprof.common.files import check_output, what_is_at
from latprof.errors import InvalidValueError, LatprofError, OutputPathError, shortened
from latprof.measurement.store import schema
from latprof.measurement.store.checked_rows import checked_table
from latprof.measurement.store.database import (
    OpenedDatabase,
    make_engine,
    open_database,
    sqlite_url,
    translated_error,
)
from latprof.measurement.store.ledgers import (
    count_all,
    ledger_findings,
    stated_count,
    unused_numbers,
)
from latprof.measurement.store.preparing import (
    check_plain,
    make_tables,
    missing_rules,
    prepare,
    version_of_tables,
)
from latprof.measurement.store.rows import (
    campaign_of,
    constant_of,
    json_object,
    kernel_of,
    measurement_of,
    samples_of,
    subject_of,
    target_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from latprof.measurement.records import Subject, Target

#: Rows read with one query; where it fails, each half is tried, down to a single row.
_ROWS_AT_ONCE = 512
#: Queries of a table that may fail before the rest of it is given up.
_MOST_FAILURES = 20_000
#: As how many failures a query counts that finds no row: a damaged number may be any.
_EMPTY_RANGE = 10
#: Findings of a table that are told one by one.
_MOST_TOLD = 5


@dataclass
class TableState:
    """A table: rows that are whole, and what is known of the others.

    ``stated`` is how many rows its ledger says it has, None where that is not known; ``unused`` row
    numbers are of no row, as after a repair; ``findings`` are sentences, the first
    :data:`_MOST_TOLD`.
    """

    name: str
    whole: int = 0
    damaged: int = 0
    stated: int | None = None
    unused: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Rows of which nothing was found."""
        return 0 if self.stated is None else max(0, self.stated - self.whole - self.damaged)

    @property
    def is_whole(self) -> bool:
        """Whether all rows are there, none is damaged, and none is too many."""
        return not self.damaged and self.stated in {None, self.whole} and not self.findings

    def add(self, finding: str) -> None:
        """Keep a finding, once, unless there are many."""
        if len(self.findings) < _MOST_TOLD and finding not in self.findings:
            self.findings.append(finding)


@dataclass(frozen=True)
class StoreState:
    """What was found in a store.

    ``version`` is its schema's: nothing tells whether a row of version 1 was changed or is missing,
    only whether its values can be. ``file`` are SQLite's own findings about the file.
    """

    location: str
    version: int
    tables: tuple[TableState, ...]
    file: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.file and all(table.is_whole for table in self.tables)


def inspect_store(location: str | Path) -> StoreState:
    """Check the file and every row of a store.

    Raises StoreError for what is no store at all.
    """
    with _Salvage(location) as salvage:
        for _table, _rows in salvage.tables():
            pass
        return salvage.state()


def save_whole_rows(location: str | Path, to: str | Path) -> StoreState:
    """Save every whole row of a store into a new file; the old one is only read.

    A visit whose network or target is lost is lost, a profile that lacks a kernel with all its
    kernels; a visit of a lost campaign stays. Raises OutputPathError where ``to`` is there already.
    """
    path = Path(to)
    if what_is_at(path):
        raise OutputPathError(f"{path} is there already", field="repair", hint="name a new file")
    check_output(path)
    with _Salvage(location) as salvage:
        opened = OpenedDatabase(make_engine(sqlite_url(path)), str(path), path)
        try:
            with opened.engine.begin() as connection:
                make_tables(connection)
                for table, rows in salvage.tables():
                    _insert(connection, table, rows, salvage)
                for table in schema.CHECKED:
                    count_all(connection, table)
        except BaseException as error:
            opened.close()
            path.unlink(missing_ok=True)
            if isinstance(error, exc.DBAPIError):
                raise translated_error(error, str(path)) from None
            raise
        opened.close()
        return salvage.state()


def _insert(
    connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], salvage: _Salvage
) -> None:
    if not rows:
        return
    checked = checked_table(table)
    sealed = [checked.sealed(row) for row in rows]
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(table), sealed)
    except exc.IntegrityError:  # which of them is another's is found one by one
        for row, values in zip(rows, sealed, strict=True):
            try:
                with connection.begin_nested():
                    connection.execute(sa.insert(table), values)
            except exc.IntegrityError:
                salvage.lose(table, row, "another row is the same")


class _Salvage:
    """A store that is read whatever is wrong with it, tables in the order of the schema."""

    def __init__(self, location: str | Path) -> None:
        self._database = open_database(location, create=False)
        try:
            with contextlib.suppress(exc.DBAPIError), self._database.engine.connect() as connection:
                if self._database.is_sqlite:
                    check_plain(connection, self._database.location)
            self.version = self._version()
        except BaseException:
            self._database.close()
            raise
        present = self._present()
        self._missing = {*schema.metadata.tables} - present
        self._tables = schema.tables_of(self.version, present)
        self.states = {table.name: TableState(table.name) for table in self._tables}
        self._targets: dict[int, Target] = {}
        self._subjects: dict[int, Subject] = {}
        self._ids: dict[str, set[int]] = {}
        self._kernels = Counter[int]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def state(self) -> StoreState:
        """What was found; complete when :meth:`tables` has been read to its end."""
        file = tuple(self._file_findings())
        return StoreState(self._database.location, self.version, (*self.states.values(),), file)

    def tables(self) -> Iterator[tuple[sa.Table, list[dict[str, Any]]]]:
        """Whole rows, some at a time, parents before their children."""
        for rows in self._rows(schema.kernels, TableState("kernels")):  # what profiles lack
            self._kernels.update(row["profile_id"] for row in rows)
        for table in self._tables:
            state = self.states[table.name]
            ids = self._ids[table.name] = set()
            state.stated = self._stated(table, state)
            for rows in self._rows(table, state):
                whole = [row for row in rows if self._is_whole(table, row, state)]
                ids.update(row["id"] for row in whole if table is not schema.kernels)
                state.whole += len(whole)
                yield table, whole
            if state.missing:
                missing = f"{state.missing} of {state.stated} rows are missing"
                state.findings.insert(0, missing)  # not behind what only follows from it
            elif state.stated is not None and state.whole + state.damaged > state.stated:
                state.add(f"more rows than the {state.stated} that were stored")
            if table is schema.constants and (state.missing or state.damaged):
                state.add("milliseconds are those of the last version that is whole")
            if table.name not in self._missing:
                self._check_table(table, state)

    def lose(self, table: sa.Table, row: Mapping[str, Any], why: str) -> None:
        """Take a row that was whole for a damaged one, and its children with it."""
        state = self.states[table.name]
        state.whole -= 1
        state.damaged += 1
        state.add(f"row {row['id']}: {why}")
        self._ids[table.name].discard(row["id"])

    def _present(self) -> set[str]:
        """The tables that are there; all where that cannot be told."""
        try:
            with self._database.engine.connect() as connection:
                return {*sa.inspect(connection).get_table_names()}
        except exc.DBAPIError:
            return {*schema.metadata.tables}

    def _check_table(self, table: sa.Table, state: TableState) -> None:
        """Check the counts of its rows, and what keeps a row from being there twice."""
        # What cannot be read of a table's definition is told by SQLite's own check.
        with (
            contextlib.suppress(exc.SQLAlchemyError),
            self._database.engine.connect() as connection,
        ):
            for rule in missing_rules(connection, table):
                state.add(rule)
            if self.version > 1 and schema.ledgers.name not in self._missing:
                for finding in ledger_findings(connection, table):
                    state.add(finding)
                state.unused = unused_numbers(connection, table)

    def _version(self) -> int:
        """The version that the store states, or the one that its tables have."""
        try:
            return prepare(self._database, create=False)
        except LatprofError:
            try:
                with self._database.engine.connect() as connection:
                    names = sa.inspect(connection).get_table_names()
                    if {schema.measurements.name, schema.targets.name} <= {*names}:
                        return version_of_tables(connection, names)
            except exc.DBAPIError:
                pass
            raise

    def _file_findings(self) -> Iterator[str]:
        """SQLite's own check of pages and indexes, and the store's of its version."""
        try:
            stated = prepare(self._database, create=False)
        except LatprofError as error:
            yield shortened(error.problem)
        else:
            if stated != self.version:
                yield f"it states version {stated}"
        if not self._database.is_sqlite:
            return
        try:
            with self._database.engine.connect() as connection:
                rows = connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST_TOLD})").all()
        except exc.DBAPIError as error:
            yield str(error.orig)
        else:
            yield from (str(row[0])[:200] for row in rows if row[0] != "ok")

    def _stated(self, table: sa.Table, state: TableState) -> int | None:
        if self.version == 1 or schema.ledgers.name in self._missing:
            return None
        try:
            with self._database.engine.connect() as connection:
                return stated_count(connection, table)
        except (exc.DBAPIError, ValueError) as error:
            reason = error.orig if isinstance(error, exc.DBAPIError) else error
            state.add(f"the count of its rows cannot be read: {str(reason)[:200]}")
            return None

    def _rows(self, table: sa.Table, state: TableState) -> Iterator[list[dict[str, Any]]]:
        """Rows that can be read and have their checksum; the others are told in ``state``."""
        if table.name in self._missing:
            state.add("the table is missing")
            return
        checked = checked_table(table, checksums=self.version > 1)
        query = sa.select(*checked.columns).order_by(table.c.id)
        at = checked.names.index("id")
        left = [self._range(table, state)]
        failures = 0
        while left:
            low, high = left.pop()
            if low > high:
                continue
            if failures > _MOST_FAILURES:
                state.add(f"rows from {low} to {high} were given up")
                return
            middle = min(high, low + _ROWS_AT_ONCE - 1)
            if middle < high:
                left.append((middle + 1, high))
            try:
                with self._database.engine.connect() as connection:
                    found = connection.execute(query.where(table.c.id.between(low, middle))).all()
            except exc.DBAPIError as error:
                failures += 1
                if low == middle:
                    state.damaged += 1
                    state.add(f"row {low}: {str(error.orig)[:100]}")
                else:
                    half = (low + middle) // 2
                    left += [(half + 1, middle), (low, half)]
                continue
            failures += 0 if found else _EMPTY_RANGE
            rows = []
            for row in found:
                try:
                    rows.append(checked.values(row))
                except ValueError as error:
                    state.damaged += 1
                    state.add(f"row {str(row[at])[:30]}: {error}")
            yield rows

    def _range(self, table: sa.Table, state: TableState) -> tuple[int, int]:
        """The least and the largest row number."""
        ledger = schema.ledgers.c
        queries: list[sa.Select[Any]] = [sa.select(sa.func.max(table.c.id))]
        queries += [sa.select(sa.func.min(table.c.id))]
        if self.version > 1 and schema.ledgers.name not in self._missing:
            this = sa.and_(ledger.table_name == table.name, ledger.parent == 0)
            queries.append(sa.select(ledger.last_id).where(this))
        found = [1, 0]
        for query in queries:
            try:
                with self._database.engine.connect() as connection:
                    number = connection.execute(query).scalar()
            except exc.DBAPIError as error:
                state.add(f"it cannot be read as a whole: {str(error.orig)[:200]}")
                continue
            if isinstance(number, int) and abs(number) < 1 << 40:
                found.append(number)
        return min(found[0], *found), max(found)

    def _is_whole(self, table: sa.Table, row: dict[str, Any], state: TableState) -> bool:
        """Whether a row's content can be read and all that it refers to is whole, too."""
        try:
            self._check_content(table, row)
        except (ValueError, TypeError, LookupError, AttributeError, InvalidValueError) as error:
            state.damaged += 1
            state.add(f"row {row['id']}: {str(error)[:200]}")
            return False
        return True

    def _check_content(self, table: sa.Table, row: dict[str, Any]) -> None:
        for name, parent in (
            ("target_id", schema.targets),
            ("subject_id", schema.subjects),
            ("profile_id", schema.kernel_profiles),
            ("search_id", schema.searches),
        ):
            if name in row and row[name] not in self._ids[parent.name]:
                raise ValueError(f"what it belongs to, row {row[name]} of {parent.name}, is lost")
        check: Callable[[dict[str, Any]], object] | None = {
            "targets": self._keep_target,
            "constants": constant_of,
            "subjects": self._keep_subject,
            "campaigns": campaign_of,
            "measurements": self._check_measurement,
            "kernel_profiles": self._check_profile,
            "kernels": kernel_of,
            "searches": _check_search,
        }.get(table.name)
        if check is not None:
            check(row)

    def _keep_target(self, row: dict[str, Any]) -> None:
        self._targets[row["id"]] = target_of(row)

    def _keep_subject(self, row: dict[str, Any]) -> None:
        self._subjects[row["id"]] = subject_of(row)

    def _check_measurement(self, row: dict[str, Any]) -> None:
        campaign = row["campaign_id"]
        if campaign is not None and campaign not in self._ids[schema.campaigns.name]:
            row["campaign_id"] = None
            if self.version == 1:  # nothing else tells
                lost = f"row {campaign}, of which there are visits, is missing"
                self.states[schema.campaigns.name].add(lost)
        measurement_of(row, self._subjects[row["subject_id"]], self._targets[row["target_id"]])

    def _check_profile(self, row: dict[str, Any]) -> None:
        samples_of(row["samples"])
        found = self._kernels[row["id"]]
        if row.setdefault("kernel_count", found) != found:
            raise ValueError(f"{found} of its {row['kernel_count']} kernels are whole")


def _check_search(row: dict[str, Any]) -> None:
    json_object(row["plan"])
