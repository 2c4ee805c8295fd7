"""A store for the threads of one process: kept together, and each failure is one thread's own."""

import contextlib
import threading
import time

import pytest
import sqlalchemy as sa
from stored_visits import TARGET, measurement

from latprof.errors import StoreError
from latprof.farm.shared_store import SharedStore
from latprof.measurement.store.claims import Claims
from latprof.measurement.visits import VisitKey

THREADS, VISITS = 8, 30


@pytest.fixture
def store(tmp_path):
    with SharedStore.open(tmp_path / "lat.db", create=True) as opened:
        opened.add_target(TARGET, "r")
        yield opened


def commits(monkeypatch):
    """Collects the connections that keep something, each time that one does."""
    found = []
    commit = sa.Connection.commit

    def counted(connection):
        found.append(connection)
        commit(connection)

    monkeypatch.setattr(sa.Connection, "commit", counted)
    return found


def in_threads(do, store=None):
    """Do something in several threads at once; returns what each returned or raised.

    With a store, they all wait for their turn in it before the first has it.
    """
    found: list[object] = [None] * THREADS

    def run(number):
        try:
            found[number] = do(number)
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    with contextlib.nullcontext() if store is None else store.snapshot():
        for thread in threads:
            thread.start()
        while store is not None and store.coming < THREADS:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    return found


def test_threads_that_wait_share_the_way_to_the_disk(store, monkeypatch):
    for number in range(THREADS):  # networks are known
        store.add(measurement(f"n{number}"))
    made = commits(monkeypatch)
    assert all(in_threads(lambda number: store.add(measurement(f"n{number}", visit=1)), store))
    assert len(made) == 1
    found = in_threads(lambda _number: store.add(measurement("n0", visit=2)), store)
    assert sorted(found) == [False] * (THREADS - 1) + [True], "the same visit counts once"
    assert store.targets()[0].measurements == 2 * THREADS + 1


def test_threads_with_claims_lose_nothing(store, tmp_path):
    def collect(number):
        seen = []
        with Claims(store, TARGET) as claims:
            for visit in range(VISITS):
                mine = measurement(f"n{number}", visit=visit)
                assert claims.take([mine.key], 1).ours
                same = measurement("same", visit=visit)
                seen.append((store.add(mine), store.add(same)))
        return seen

    found = in_threads(collect)
    assert all(mine for seen in found for mine, _ in seen)
    for visit in range(VISITS):
        assert sum(seen[visit][1] for seen in found) == 1, "the same visit counts once"
    with SharedStore.open(tmp_path / "lat.db") as other:
        kept = {made.key for made in other.measurements(TARGET)}
    assert len(kept) == (THREADS + 1) * VISITS
    assert VisitKey(measurement("n0").subject, 0, VISITS - 1) in kept


def test_a_database_that_fails_fails_all_that_were_to_be_kept_together(store, monkeypatch):
    for number in range(THREADS):  # networks are known
        store.add(measurement(f"n{number}"))

    def refuse(_connection):
        raise sa.exc.OperationalError("COMMIT", {}, Exception("database or disk is full"))

    assert not store.add(measurement("n0"))
    assert not store.has_failed, "the same visit twice is no failure"
    with monkeypatch.context() as patch:
        patch.setattr(sa.Connection, "commit", refuse)
        found = in_threads(lambda number: store.add(measurement(f"n{number}", visit=1)), store)
    assert all("is full" in str(error) for error in found)
    assert store.has_failed
    assert store.targets()[0].measurements == THREADS
    assert all(in_threads(lambda number: store.add(measurement(f"n{number}", visit=1))))
    assert store.targets()[0].measurements == 2 * THREADS


def test_a_transaction_that_fails_leaves_others_and_may_be_within_a_snapshot(store):
    for number in range(THREADS):
        store.add(measurement(f"n{number}"))

    def either(number):
        if number % 2:
            return store.add(measurement(f"n{number}", visit=1))
        with store.writing() as connection:
            store.change_row(connection, sa.table("nothing"), 1, {})
        return None

    found = in_threads(either, store)
    assert [kept is True for kept in found] == [False, True] * (THREADS // 2)
    with store.snapshot():
        assert store.add(measurement("within"))
    with pytest.raises(StoreError), store.writing() as connection:
        connection.execute(sa.text("SELECT * FROM no_such_table"))
    assert store.targets()[0].measurements == THREADS + THREADS // 2 + 1
