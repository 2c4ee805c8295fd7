"""Joining stores: what several hosts measured into one, each visit once.

A visit is the same visit in two stores where target, network, label, process and start are the
same: one of them was copied, or grew out of a copy. Other visits of the same number are further
visits and get numbers of their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from latprof.common.files import check_output, what_is_at
from latprof.errors import OutputPathError, TargetMismatchError
from latprof.measurement.store import schema
from latprof.measurement.store.database import damaged_store
from latprof.measurement.store.ledgers import insert_rows, update_row
from latprof.measurement.store.rows import constant_of, row_of_constant
from latprof.measurement.store.store import Store

if TYPE_CHECKING:
    from latprof.measurement.store.store_reader import StoreReader

Row: TypeAlias = dict[str, Any]
Identity: TypeAlias = tuple[Any, ...]

_ROWS_AT_ONCE = 500


@dataclass
class MergeCounts:
    """What came of each table: rows that were added, and rows that were there already.

    ``constants`` has a sentence for each target whose constant differs between the stores.
    """

    added: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)

    def count(self, table: sa.Table, added: int, known: int) -> None:
        """Add to a table's counts."""
        self.added[table.name] = self.added.get(table.name, 0) + added
        self.known[table.name] = self.known.get(table.name, 0) + known


def merge_stores(sources: Iterable[str | Path], to: str | Path) -> MergeCounts:
    """Write what several stores hold into a new one.

    Of a target's constants those of the first store stay, and the last one of a later store is
    added as a new version where it is less in doubt. A network's kernels come from the first store
    that has them, and so does a search.

    Parameters
    ----------
    sources : iterable of path or URL
        At least one; they are only read.
    to : path
        A new file.

    Raises
    ------
    OutputPathError
        Where ``to`` is there already, or cannot be written.
    StoreError
        For a source that is no store, or is damaged; nothing is written then.
    TargetMismatchError
        Where two stores have one target with different reference networks.
    """
    path = Path(to)
    if what_is_at(path):
        raise OutputPathError(f"{path} is there already", field="output", hint="name a new file")
    check_output(path)
    counts = MergeCounts()
    try:
        with Store.open(path, create=True) as merged, merged.writing() as connection:
            joined = _Joined(connection, counts)
            for source in sources:
                with Store.open(source) as opened, opened.snapshot() as reading:
                    joined.add_store(opened, reading)
    except BaseException:
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        raise
    return counts


class _Joined:
    """The new store: what each of its rows is, so that none comes twice."""

    def __init__(self, connection: sa.Connection, counts: MergeCounts) -> None:
        self._connection, self._counts = connection, counts
        self._known: dict[str, dict[Identity, int]] = {}
        self._rows: dict[int, Row] = {}  # targets
        self._constants: dict[int, Row] = {}  # the last one of each target
        self._next_visit: dict[Identity, int] = {}
        self._counted: set[Identity] = set()
        # Of one store: its rows' numbers with ours, and the numbers of those that are new here.
        self._new: dict[str, dict[int, int]] = {}
        self._fresh: dict[str, set[int]] = {}
        self._location = ""

    def add_store(self, store: StoreReader, reading: sa.Connection) -> None:
        """Add a store's rows, parents before their children."""
        self._new, self._fresh, self._location = {}, {}, store.location
        for table in schema.tables_of(store.version, sa.inspect(reading).get_table_names()):
            rows = store.checked_rows(reading, table)
            if table is schema.kernel_profiles and store.version == 1:
                rows = self._with_counts(rows, reading)
            if table is schema.constants:
                self._add_constants(store, rows)
            elif table in (schema.kernels, schema.steps):
                self._add_children(table, rows)
            else:
                self._add(table, rows)

    def _with_counts(self, rows: Iterable[Row], reading: sa.Connection) -> Iterator[Row]:
        """Profiles with the numbers of their kernels, which version 1 does not state."""
        profile = schema.kernels.c.profile_id
        query = sa.select(profile, sa.func.count()).group_by(profile)
        counts = dict(map(tuple, reading.execute(query)))
        for row in rows:
            yield row | {"kernel_count": counts.get(row["id"], 0)}

    def _add(self, table: sa.Table, rows: Iterable[Row]) -> None:
        """Add the rows that are not there; know the numbers of all."""
        self._known.setdefault(table.name, {})
        self._new[table.name], self._fresh[table.name] = {}, set()
        parent = schema.PARENTS.get(table.name, "")
        for _, several in groupby(rows, lambda row: row.get(parent)):
            for batch in _batches(several):
                self._add_batch(table, batch)

    def _add_batch(self, table: sa.Table, batch: Sequence[Row]) -> None:
        known, numbers = self._known[table.name], self._new[table.name]
        added: dict[Identity, Row] = {}
        theirs: dict[int, Identity] = {}
        for row in batch:
            own = self._with_our_numbers(row)
            identity = theirs[row["id"]] = _IDENTITIES[table.name](own)
            if identity in known:
                self._check(table, own, known[identity])
            elif identity not in added:
                if table is schema.measurements:
                    self._number(own)
                added[identity] = own
                self._fresh[table.name].add(row["id"])
        self._counts.count(table, len(added), len(batch) - len(added))
        if added:
            first = insert_rows(self._connection, table, [*added.values()])
            for number, (identity, own) in enumerate(added.items(), first):
                known[identity] = number
                if table is schema.targets:
                    self._rows[number] = own | {"id": number}
        numbers.update((their, known[identity]) for their, identity in theirs.items())

    def _with_our_numbers(self, row: Row) -> Row:
        """The row with the numbers of our parents in place of theirs."""
        own = {name: value for name, value in row.items() if name != "id"}
        for name in _PARENT_TABLES.keys() & own:
            if own[name] is not None:
                own[name] = self._our_number(name, own[name])
        return own

    def _our_number(self, name: str, their: int) -> int:
        """Our number for theirs of the row that a column names."""
        parent = _PARENT_TABLES[name].name
        found = self._new[parent].get(their)
        if found is None:
            what = f"table {parent}: row {their} is missing, to which others belong"
            raise damaged_store(self._location, what)
        return found

    def _check(self, table: sa.Table, row: Row, number: int) -> None:
        """See that a target has one reference; it gets a first constant, where it had none."""
        if table is not schema.targets:
            return
        ours = self._rows[number]
        if ours["reference"] != row["reference"]:
            raise TargetMismatchError(
                "the stores have one target with different reference networks",
                expected=ours["reference"],
                got=row["reference"],
            )
        if ours["reference_ms"] is None and row["reference_ms"] is not None:
            changes = {"reference_ms": row["reference_ms"]}
            update_row(self._connection, table, ours, changes)
            ours.update(changes)
        elif row["reference_ms"] not in (None, ours["reference_ms"]):
            self._counts.constants.append(
                f"the reference takes {ours['reference_ms']:.4g} ms in one store and "
                f"{row['reference_ms']:.4g} ms in another: ratios are kept, and all labels are "
                "multiplied by one of them"
            )

    def _number(self, row: Row) -> None:
        """Give a visit that counts a number of its own."""
        label = (row["target_id"], row["subject_id"], row["label"])
        if row["failure_code"] is None and not row["disturbed"]:
            if (*label, row["visit"]) in self._counted:
                row["visit"] = self._next_visit[label]
            self._counted.add((*label, row["visit"]))
        self._next_visit[label] = max(self._next_visit.get(label, 0), row["visit"] + 1)

    def _add_constants(self, store: StoreReader, rows: Iterable[Row]) -> None:
        """All versions of a target that is new; else the last one, where it is less in doubt."""
        for their, several in groupby(rows, lambda row: row["target_id"]):
            ours = self._our_number("target_id", their)
            found = [*several]
            before = self._constants.get(ours)
            if before is not None:
                with store.reading("a constant"):
                    if not _doubt(found[-1]) < _doubt(before):
                        continue
                    found = [_renumbered(found[-1], before["number"] + 1)]
            added = [{**row, "target_id": ours} for row in found]
            insert_rows(self._connection, schema.constants, added)
            self._counts.count(schema.constants, len(added), 0)
            self._constants[ours] = added[-1]

    def _add_children(self, table: sa.Table, rows: Iterable[Row]) -> None:
        """Rows of the parents that were added; those of the others are there."""
        name = "profile_id" if table is schema.kernels else schema.PARENTS[table.name]
        parents = _PARENT_TABLES[name].name
        fresh = self._fresh[parents]
        for their, several in groupby(rows, lambda row: row[name]):
            self._our_number(name, their)
            for batch in _batches(several):
                if their in fresh:
                    insert_rows(self._connection, table, [*map(self._with_our_numbers, batch)])
                added = len(batch) if their in fresh else 0
                self._counts.count(table, added, len(batch) - added)


def _doubt(row: Mapping[str, Any]) -> float:
    doubt = constant_of(row).doubt
    return doubt if math.isfinite(doubt) else math.inf


def _renumbered(row: Row, number: int) -> Row:
    return row_of_constant(dataclasses.replace(constant_of(row), number=number))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


#: What a column's number is of.
_PARENT_TABLES = {
    "target_id": schema.targets,
    "subject_id": schema.subjects,
    "campaign_id": schema.campaigns,
    "profile_id": schema.kernel_profiles,
    "search_id": schema.searches,
}


def _identity(*names: str) -> Callable[[Row], Identity]:
    # Raw runs are long texts, of which a number is enough.
    return lambda row: tuple(hash(row[n]) if n == "samples" else row[n] for n in names)


_IDENTITIES: dict[str, Callable[[Row], Identity]] = {
    "targets": _identity("key"),
    "subjects": _identity("kind", "space", "key"),
    "campaigns": _identity("target_id", "started_at", "plan", "host"),
    "measurements": _identity(
        *("target_id", "subject_id", "label", "process", "started_at"),
        *("samples", "failure_code", "failure_message"),
    ),
    "kernel_profiles": _identity("target_id", "subject_id"),
    "searches": _identity("plan"),
}
