"""The trails of searches, kept in a store beside its measurements.

In version 1 the two tables were made when the first search was kept: a store of it without them is
whole.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from latprof.common.short_reprs import ShortRepr
from latprof.measurement.store.ledgers import insert_rows, lock_table, update_row
from latprof.measurement.store.rows import json_object, to_json
from latprof.measurement.store.schema import searches, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latprof.measurement.store.store import Store


@dataclass(frozen=True)
class TrailStep:
    """One evaluated network: its spelling, accuracy, latency, and what had to keep the limit."""

    architecture: str
    accuracy: float
    latency_ms: float
    bound_ms: float


@dataclass(frozen=True, repr=False)
class StoredSearch(ShortRepr):
    """A search of a store: its number, plan, start and end (Unix time, None: not yet), steps."""

    number: int
    plan: Mapping[str, Any]
    started_at: float
    ended_at: float | None
    steps: int


class Trails:
    """The searches of one store.

    Parameters
    ----------
    store : Store
        Opened for writing where searches are added.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, plan: Mapping[str, Any]) -> int:
        """Number of the search with this plan, which is made known where it is new.

        All that are stored are read: one that a damaged store has lost is none that is new.
        """
        text = to_json(plan)
        with self._store.writing() as connection:
            lock_table(connection, searches)
            numbers = {row["plan"]: int(row["id"]) for row in self._all(connection, searches)}
            if text in numbers:
                return numbers[text]
            return insert_rows(connection, searches, [{"plan": text, "started_at": time.time()}])

    def add(self, search: int, number: int, step: TrailStep) -> None:
        """Keep a step; on return it is durable. A step that is there already is replaced."""
        row = {
            "architecture": step.architecture,
            "accuracy": step.accuracy,
            "latency_ms": step.latency_ms,
            "bound_ms": step.bound_ms,
        }
        this = sa.and_(steps.c.search_id == search, steps.c.number == number)
        checked = self._store.checked(steps)
        with self._store.writing() as connection:
            lock_table(connection, steps)
            query = sa.select(*checked.columns).where(this)
            found = [*self._store.checked_stream(connection, checked, query)]
            for stored in found:
                update_row(connection, steps, stored, row)
            if not found:
                new = row | {"search_id": search, "number": number}
                insert_rows(connection, steps, [new])

    def end(self, search: int) -> None:
        """Record that a search is done."""
        with self._store.writing() as connection:
            self._store.change_row(connection, searches, search, {"ended_at": time.time()})

    def steps(self, search: int) -> list[TrailStep]:
        """The steps of a search, in their order; empty for one that is not there."""
        with self._store.snapshot() as connection:
            if not self._present(connection):
                return []
            rows = [*self._store.checked_rows(connection, steps, search)]
        rows.sort(key=itemgetter("number"))
        names = ("architecture", "accuracy", "latency_ms", "bound_ms")
        return [TrailStep(*(row[name] for name in names)) for row in rows]

    def searches(self) -> list[StoredSearch]:
        """Every search of the store, in the order they came."""
        found = []
        with self._store.snapshot() as connection:
            if not self._present(connection):
                return []
            counts = Counter(row["search_id"] for row in self._all(connection, steps))
            for row in self._all(connection, searches):
                with self._store.reading(f"table searches, row {row['id']}"):
                    plan = json_object(row["plan"])
                times = (row["started_at"], row["ended_at"])
                found.append(StoredSearch(row["id"], plan, *times, counts[row["id"]]))
        return found

    def _all(self, connection: sa.Connection, table: sa.Table) -> Iterator[dict[str, Any]]:
        return self._store.checked_rows(connection, table)

    def _present(self, connection: sa.Connection) -> bool:
        return self._store.version > 1 or sa.inspect(connection).has_table(searches.name)
