"""Claims: which process makes which visits, so that several collect into one store.

A visit is claimed before it is made. Claims are no measurements: their two tables lie beside the
store's own in whatever version, are neither checked nor merged, and are empty while nobody
collects.

A claim is a lease. A process counts a number up while it lives; where that number has not changed
for :data:`LEASE_S` seconds by the monotonic clock of whoever looks, the process is dead and its
claims are free. So no clocks of two hosts are compared, and a clock that jumps ends no lease. A
process of the same host that has ended is seen at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import sqlalchemy as sa

from latprof.errors import LatprofError
from latprof.measurement.store.ledgers import lock_table
from latprof.measurement.store.schema import measurements

if TYPE_CHECKING:
    from latprof.measurement.records import Target
    from latprof.measurement.store.store import Store
    from latprof.measurement.visits import VisitKey

#: A process that gives no sign of life for so long is dead.
LEASE_S = 60.0
#: A process that measures does not wake up to give one more often than this.
BEAT_S = LEASE_S / 4

_tables = sa.MetaData()
#: ``place`` says where the process runs, ``beat`` counts up, ``beat_at`` is its own Unix time.
_claimants = sa.Table(
    "latprof_claimants",
    _tables,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("beat", sa.Integer, nullable=False),
    sa.Column("beat_at", sa.Float, nullable=False),
)
#: ``target`` and ``visit`` are digests; ``holder`` tells the campaigns of one process; a visit that
#: is ``settled`` was made, or given up, and is not to be made again while others collect.
_claims = sa.Table(
    "latprof_claims",
    _tables,
    sa.Column("target", sa.String(32), primary_key=True),
    sa.Column("visit", sa.String(32), primary_key=True),
    sa.Column("claimant", sa.String(32), nullable=False),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("settled", sa.Boolean, nullable=False),
)


# Built once: to build a statement takes longer than to run it.
_HELD = sa.and_(
    _claims.c.target == sa.bindparam("of_target"),
    _claims.c.visit == sa.bindparam("of_visit"),
    _claims.c.holder == sa.bindparam("by"),
)
_INSERT, _DELETE = sa.insert(_claims), sa.delete(_claims).where(_HELD)
_SETTLE = sa.update(_claims).where(_HELD).values(settled=True)


@dataclass(frozen=True)
class Taken:
    """What became of visits that were to be claimed: ours, others', and settled by others."""

    ours: frozenset[VisitKey]
    held: frozenset[VisitKey]
    settled: frozenset[VisitKey]


class Claims:
    """The claims of one campaign on the visits to one target; a context manager.

    On leaving, the claims on visits that were not settled are given up.

    Parameters
    ----------
    store : Store
        Open for writing.
    target : Target
    monotonic : callable
        The clock by which others' leases end.
    """

    def __init__(
        self, store: Store, target: Target, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._target = store, _digest(target.key)
        self._monotonic = monotonic
        self._holder = uuid.uuid4().hex
        self._seen: dict[str, tuple[int, float]] = {}
        #: Campaigns of others that hold visits to this target now.
        self.others = 0

    def __enter__(self) -> Self:
        self._claimant = _Claimant.of(self._store)
        with self._store.writing() as connection:
            self._look(connection)
        return self

    def __exit__(self, *exception: object) -> None:
        mine = sa.and_(_claims.c.holder == self._holder, _claims.c.settled == sa.false())
        # A store that cannot be written any more: the lease ends by itself.
        with contextlib.suppress(LatprofError), self._store.writing() as connection:
            connection.execute(sa.delete(_claims).where(mine))
        self._claimant.leave()

    def take(self, visits: Sequence[VisitKey], most: int) -> Taken:
        """Claim the first ``most`` of some visits that are free, and say whose the others are."""
        names = {_digest_of(visit): visit for visit in visits}
        ours, held, settled = set[str](), set[str](), set[str]()
        with self._store.writing() as connection:
            self._claimant.beat(connection)
            living = self._look(connection)
            query = sa.select(_claims).where(
                _claims.c.target == self._target, _claims.c.visit.in_([*names])
            )
            known = {row.visit: row for row in connection.execute(query)}
            free = []
            for name in names:
                row = known.get(name)
                if row is not None and row.holder == self._holder:
                    ours.add(name)
                elif row is not None and row.settled:
                    settled.add(name)
                elif row is not None and row.claimant in living:
                    held.add(name)
                else:
                    free.append(name)
            won = free[:most]
            self._claim(connection, won, known.keys())
        return Taken(
            *(frozenset(names[name] for name in s) for s in (ours | {*won}, held, settled))
        )

    def _claim(self, connection: sa.Connection, names: Iterable[str], known: Iterable[str]) -> None:
        known = set(known)
        holder = {"claimant": self._claimant.name, "holder": self._holder}
        new = []
        for name in names:
            key = {"target": self._target, "visit": name}
            if name in known:
                this = sa.and_(*(_claims.c[column] == value for column, value in key.items()))
                connection.execute(sa.update(_claims).where(this).values(holder))
            else:
                new.append(key | holder | {"settled": False})
        if new:
            connection.execute(_INSERT, new)

    def settle(self, connection: sa.Connection, visit: VisitKey, *, counts: bool) -> None:
        """In a transaction: a visit was made or given up. One that ``counts`` is in the store."""
        this = {"of_target": self._target, "of_visit": _digest_of(visit), "by": self._holder}
        connection.execute(_DELETE if counts else _SETTLE, this)

    def _look(self, connection: sa.Connection) -> set[str]:
        """The names of the claimants that are alive, this one among them."""
        living = set()
        now = self._monotonic()
        for row in connection.execute(sa.select(_claimants)):
            beat, since = self._seen.get(row.name, (-1, now))
            if beat != row.beat:
                since = now
            self._seen[row.name] = (row.beat, since)
            if row.name == self._claimant.name or (
                now - since < LEASE_S and not _has_ended(row.place)
            ):
                living.add(row.name)
        holders = sa.select(_claims.c.claimant, _claims.c.holder).where(
            _claims.c.target == self._target, _claims.c.settled == sa.false()
        )
        found = connection.execute(holders.distinct()).all()
        self.others = sum(r.claimant in living and r.holder != self._holder for r in found)
        return living


class _Claimant:
    """A process among those that collect into a store: its row, and a thread that counts it up.

    The thread does so only where no claim was taken for a while, as during a long visit.
    """

    _known: ClassVar[weakref.WeakKeyDictionary[Store, _Claimant]] = weakref.WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(self, store: Store) -> None:
        self.name = uuid.uuid4().hex
        self._store, self.users = weakref.ref(store), 0
        self._beat_at = time.monotonic()
        self._left = threading.Event()
        with store.writing() as connection:
            lock_table(connection, measurements)
            _tables.create_all(connection)
            rows = connection.execute(sa.select(_claimants)).all()
            if all(_has_ended(row.place) for row in rows):
                _empty(connection)
            row = {"name": self.name, "place": _place(), "beat": 0, "beat_at": time.time()}
            connection.execute(sa.insert(_claimants).values(row))
        threading.Thread(target=self._live, daemon=True).start()

    @classmethod
    def of(cls, store: Store) -> _Claimant:
        """The one of an open store, for one campaign more; each has to :meth:`leave`."""
        with cls._lock:
            found = cls._known.get(store)
            if found is None:
                found = cls._known[store] = cls(store)
            found.users += 1
            return found

    def leave(self) -> None:
        """One campaign is over; after the last one the process is no claimant any more."""
        with self._lock:
            self.users -= 1
            store = self._store()
            if self.users or store is None:
                return
            self._known.pop(store, None)
        self._left.set()
        with contextlib.suppress(LatprofError), store.writing() as connection:
            lock_table(connection, measurements)
            connection.execute(sa.delete(_claimants).where(_claimants.c.name == self.name))
            if not connection.execute(sa.select(_claimants.c.name)).first():
                _empty(connection)

    def beat(self, connection: sa.Connection) -> None:
        """Count up, first in a transaction: others wait until it ends."""
        lock_table(connection, measurements)
        this = sa.update(_claimants).where(_claimants.c.name == self.name)
        connection.execute(this.values(beat=_claimants.c.beat + 1, beat_at=time.time()))
        self._beat_at = time.monotonic()

    def _live(self) -> None:
        while not self._left.wait(max(self._beat_at + BEAT_S - time.monotonic(), 0.0)):
            store = self._store()
            if store is None:
                return
            if time.monotonic() - self._beat_at >= BEAT_S:
                self._beat_at = time.monotonic()  # also where it fails: not again at once
                with contextlib.suppress(LatprofError), store.writing() as connection:
                    self.beat(connection)
            del store


def _empty(connection: sa.Connection) -> None:
    for table in (_claims, _claimants):
        connection.execute(sa.delete(table))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _digest_of(visit: VisitKey) -> str:
    subject = visit.subject
    parts = (subject.kind, subject.space, subject.key, visit.label, visit.number)
    return _digest("\0".join(map(str, parts)))


def _place(pid: int | None = None) -> str:
    """Where a process runs: host, its start, the namespace of its processes, number, start.

    Two equal ones are one process. Without a number that of this process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink()
        pid = os.getpid() if pid is None else pid
        # After the command's name, which may hold anything: the state, and the 20th, the start.
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = status.rpartition(")")[2].split()
        start = "" if state in "ZX" else rest[18]
    except (OSError, IndexError, ValueError):
        return ""
    return "|".join((platform.node(), boot, str(space), str(pid), start))


def _has_ended(place: str) -> bool:
    """Whether a process of this very host has ended; others are not known of."""
    here, there = _place().split("|"), str(place).split("|")
    plain = len(there) == 5 and there[3].isdecimal() and len(there[3]) < 20
    if not plain or there[:3] != here[:3]:
        return False
    return _place(int(there[3])) != place
