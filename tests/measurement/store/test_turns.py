"""Whoever writes to SQLite waits for its turn among other processes, not for a chance."""

import contextlib
import itertools
import sqlite3
from types import SimpleNamespace

import pytest
from stored_visits import TARGET, measurement

from latprof.errors import DiskFullError, StoreError
from latprof.farm.shared_store import SharedStore
from latprof.measurement.store import database
from latprof.measurement.store.store import Store


@pytest.fixture(params=[Store, SharedStore])
def store(request, tmp_path):
    with request.param.open(tmp_path / "lat.db", create=True) as opened:
        opened.add_target(TARGET, "reference")
        opened.add(measurement("known"))
        yield opened


@pytest.fixture
def other(store, tmp_path):
    """Another process's connection, which has the lock."""
    with contextlib.closing(
        sqlite3.connect(tmp_path / "lat.db", isolation_level=None, check_same_thread=False)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


class Clock:
    """Stands in for time: goes on where somebody sleeps."""

    def __init__(self, at_s=None, do=lambda: None):
        self.now, self.slept, self._at_s, self._do = 0.0, [], at_s, do

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        if self._at_s is not None and self.now >= self._at_s:
            self._at_s = None
            self._do()


def use(clock, monkeypatch):
    monkeypatch.setattr(
        database, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep)
    )
    return clock


def test_who_waits_gets_the_lock_when_it_is_free(store, other, monkeypatch):
    clock = use(Clock(100.0, lambda: other.execute("COMMIT")), monkeypatch)
    told = []
    store.on_wait = told.append
    assert store.add(measurement("known", visit=1))
    assert 100.0 <= clock.now < 100.1, "it asks often"
    assert [text.split()[:2] for text in told] == [["waiting", "for"]], "once"
    assert store.targets()[0].measurements == 2


def test_who_waits_asks_at_random_moments_and_more_often_with_time(store, other, monkeypatch):
    clock = use(Clock(20.0, lambda: other.execute("COMMIT")), monkeypatch)
    store.add(measurement("known", visit=1))
    at_first, at_last = clock.slept[:100], clock.slept[-100:]
    assert len(set(clock.slept)) > len(clock.slept) / 2
    assert min(clock.slept) > 0.0
    assert max(clock.slept) < 0.02
    assert sum(at_last) < sum(at_first) / 2


def test_a_lock_that_stays_with_another_process_is_named(store, other, monkeypatch):
    clock = use(Clock(), monkeypatch)
    with pytest.raises(StoreError, match="locked by another process for 300 s"):
        store.add(measurement("known", visit=1))
    assert clock.now < database.TURN_TIMEOUT_S + 1
    other.execute("COMMIT")
    assert store.add(measurement("known", visit=1)), "the store can be used again"


def test_a_store_is_not_made_twice_at_once(tmp_path, monkeypatch):
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL").close()
        other.execute("BEGIN IMMEDIATE")
        clock = use(Clock(5.0, lambda: other.execute("COMMIT")), monkeypatch)
        Store.open(tmp_path / "new.db", create=True).close()
    assert clock.now >= 5.0


def test_what_else_fails_at_the_begin_is_no_lock(store, monkeypatch):
    class Full:
        def __init__(self):
            self.said = itertools.count()

        def execute(self, words):
            if words.startswith("BEGIN"):
                next(self.said)
                raise sqlite3.OperationalError("database or disk is full")
            return SimpleNamespace(close=lambda: None)

    full = Full()
    connection = SimpleNamespace(
        dialect=SimpleNamespace(name="sqlite", driver="pysqlite"),
        connection=SimpleNamespace(driver_connection=full),
    )
    with pytest.raises(DiskFullError):
        database.take_turn(connection, "lat.db")
    assert next(full.said) == 1, "it is not tried again"


def test_reading_still_waits_for_who_has_the_file_alone(store):
    store.add(measurement("known", visit=1))
    with store.snapshot() as connection:
        waits_ms = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert waits_ms == 30_000
