"""The trails of searches, kept in a store beside its measurements.

The two tables are made when the first search is kept: a store without them is whole, and one with
them is read by every program that knows the other tables.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError
from latprof.measurement.store.rows import json_object, to_json

if TYPE_CHECKING:
    from latprof.measurement.store.store import Store

_metadata = sa.MetaData()

#: One row a search. ``plan`` is JSON: all that its steps follow from; ``ended_at`` is NULL until it
#: is done.
_searches = sa.Table(
    "searches",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("plan", sa.Text, nullable=False, unique=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)

#: The steps of a search in their order; ``architecture`` is the space's spelling.
_steps = sa.Table(
    "search_steps",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("search_id", sa.ForeignKey("searches.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("architecture", sa.Text, nullable=False),
    sa.Column("accuracy", sa.Float, nullable=False),
    sa.Column("latency_ms", sa.Float, nullable=False),
    sa.Column("bound_ms", sa.Float, nullable=False),
    sa.UniqueConstraint("search_id", "number", name="one_step"),
)


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
        """Number of the search with this plan, which is made known where it is new."""
        text = to_json(plan)
        with self._store.transaction() as connection:
            _metadata.create_all(connection)
            query = sa.select(_searches.c.id).where(_searches.c.plan == text)
            found = connection.execute(query).scalar()
            if found is None:
                row = {"plan": text, "started_at": time.time()}
                key = connection.execute(sa.insert(_searches), row).inserted_primary_key
                assert key is not None
                found = key[0]
        return int(found)

    def add(self, search: int, number: int, step: TrailStep) -> None:
        """Keep a step; on return it is durable. A step that is there already is replaced."""
        row = {
            "architecture": step.architecture,
            "accuracy": step.accuracy,
            "latency_ms": step.latency_ms,
            "bound_ms": step.bound_ms,
        }
        this = sa.and_(_steps.c.search_id == search, _steps.c.number == number)
        with self._store.transaction() as connection:
            if not connection.execute(sa.update(_steps).where(this).values(row)).rowcount:
                row |= {"search_id": search, "number": number}
                connection.execute(sa.insert(_steps), row)

    def end(self, search: int) -> None:
        """Record that a search is done."""
        with self._store.transaction() as connection:
            connection.execute(
                sa.update(_searches).where(_searches.c.id == search).values(ended_at=time.time())
            )

    def steps(self, search: int) -> list[TrailStep]:
        """The steps of a search, in their order; empty for one that is not there."""
        columns = (
            _steps.c.architecture,
            _steps.c.accuracy,
            _steps.c.latency_ms,
            _steps.c.bound_ms,
        )
        query = sa.select(*columns).where(_steps.c.search_id == search).order_by(_steps.c.number)
        with self._store.transaction() as connection:
            rows = connection.execute(query).all() if _present(connection) else []
        with self._store.reading(f"search {search}"):
            return [_step(*row) for row in rows]

    def searches(self) -> list[StoredSearch]:
        """Every search of the store, in the order they came."""
        count = sa.func.count(_steps.c.id)
        columns = (_searches.c.id, _searches.c.plan, _searches.c.started_at, _searches.c.ended_at)
        query = (
            sa.select(*columns, count)
            .join_from(_searches, _steps, isouter=True)
            .group_by(*columns)
            .order_by(_searches.c.id)
        )
        with self._store.transaction() as connection:
            rows = connection.execute(query).all() if _present(connection) else []
        with self._store.reading("a search"):
            return [StoredSearch(row[0], json_object(row[1]), *row[2:]) for row in rows]


def _step(architecture: object, *numbers: object) -> TrailStep:
    """A row as a step; what a damaged database may hold in its place is refused."""
    if not isinstance(architecture, str) or not all(isinstance(n, float) for n in numbers):
        raise InvalidValueError("a step is a spelling and three numbers")
    return TrailStep(architecture, *numbers)  # type: ignore[arg-type]


def _present(connection: sa.Connection) -> bool:
    return sa.inspect(connection).has_table(_searches.name)
