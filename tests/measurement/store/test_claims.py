"""A visit is claimed by one process at a time, and a dead process's claims are free."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from stored_visits import TARGET, measurement

from latprof.measurement.store import claims as module
from latprof.measurement.store.claims import LEASE_S, Claims
from latprof.measurement.store.store import Store

VISITS = [measurement(visit=number).key for number in range(6)]
#: Claims the second visit, says so, and waits to be killed.
CLAIM = """
import sys, time
sys.path.insert(0, sys.argv[2])
from stored_visits import TARGET, measurement
from latprof.measurement.store.claims import Claims
from latprof.measurement.store.store import Store
with Store.open(sys.argv[1]) as store, Claims(store, TARGET) as claims:
    claims.take([measurement(visit=1).key], 1)
    print("claimed", flush=True)
    time.sleep(900)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lat.db"


@pytest.fixture
def store(path):
    with Store.open(path, create=True) as opened:
        opened.add_target(TARGET, "reference")
        yield opened


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def rows(store):
    with store.transaction() as connection:
        found = [
            connection.execute(sa.text(f"SELECT count(*) FROM latprof_{name}")).scalar()
            for name in ("claims", "claimants")
        ]
    return tuple(found)


def test_two_campaigns_never_have_one_visit(store, path):
    with Store.open(path) as other, Claims(store, TARGET) as one, Claims(other, TARGET) as two:
        first, second = one.take(VISITS, 2), two.take(VISITS, 3)
        assert first.ours == {*VISITS[:2]}
        assert second.ours == {*VISITS[2:5]}
        assert second.held == {*VISITS[:2]}
        assert one.take(VISITS[:3], 9).held == {VISITS[2]}
        assert (one.others, two.others) == (1, 1)


def test_campaigns_of_one_open_store_have_claims_of_their_own(store):
    with Claims(store, TARGET) as one, Claims(store, TARGET) as two:
        assert one.take(VISITS[:1], 1).ours == {VISITS[0]}
        assert two.take(VISITS[:1], 1).held == {VISITS[0]}
        assert rows(store) == (1, 1)


def test_what_was_given_up_is_not_made_again_by_others(store, path):
    with Store.open(path) as other, Claims(store, TARGET) as one, Claims(other, TARGET) as two:
        one.take(VISITS, 3)
        with store.writing() as connection:
            one.settle(connection, VISITS[0], counts=False)
            one.settle(connection, VISITS[1], counts=True)
        taken = two.take(VISITS[:3], 9)
        assert taken.settled == {VISITS[0]}
        assert taken.ours == {VISITS[1]}, "whether it is stored is the store's to say"
        assert taken.held == {VISITS[2]}


def test_nothing_is_left_when_nobody_collects(store, path):
    with Store.open(path) as other, Claims(other, TARGET) as two:
        with Claims(store, TARGET) as one:
            one.take(VISITS, 6)
            with store.writing() as connection:
                one.settle(connection, VISITS[0], counts=False)
        assert two.take(VISITS, 9).ours == {*VISITS[1:]}, "given up when its campaign ended"
    assert rows(store) == (0, 0)


def foreign(store, visit, beat=0):
    """A claim by a process of a host that nobody here can look at; or its next sign of life."""
    with store.writing() as connection:
        delete = sa.text("DELETE FROM latprof_claimants WHERE name = 'far'")
        insert = sa.text("INSERT INTO latprof_claimants VALUES ('far', 'elsewhere', :beat, 0)")
        connection.execute(delete)
        connection.execute(insert, {"beat": beat})
    if not beat:
        with Claims(store, TARGET) as other:
            other.take([visit], 1)
            with store.writing() as connection:
                connection.execute(sa.text("UPDATE latprof_claims SET claimant='far', holder='it'"))


def test_the_lease_of_another_host_ends_when_it_gives_no_sign_of_life(store):
    clock = Clock()
    with Claims(store, TARGET, clock) as claims:
        foreign(store, VISITS[0])
        assert claims.take(VISITS[:1], 1).held == {VISITS[0]}
        clock.now += LEASE_S - 1
        foreign(store, VISITS[0], beat=1)
        assert claims.take(VISITS[:1], 1).held
        clock.now += LEASE_S - 1
        assert claims.take(VISITS[:1], 1).held, "it gave one in between"
        clock.now += 1
        assert claims.take(VISITS[:1], 1).ours == {VISITS[0]}
        assert claims.others == 0


def test_a_clock_that_jumps_ends_no_lease(store, monkeypatch):
    with Claims(store, TARGET, Clock()) as claims:
        foreign(store, VISITS[0])
        claims.take(VISITS[:1], 1)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3 * 3600)
        assert claims.take(VISITS[:1], 1).held


def test_a_killed_process_of_this_host_holds_nothing(store, path):
    support = str(Path(sys.modules["stored_visits"].__file__).parent)
    child = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(path), support], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "claimed\n"
        with Claims(store, TARGET, Clock()) as claims:
            assert claims.others == 1
            assert claims.take(VISITS, 9).held == {VISITS[1]}
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert claims.take(VISITS, 9).ours == {*VISITS}
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_that_measures_long_counts_itself_up(store, monkeypatch):
    monkeypatch.setattr(module, "BEAT_S", 0.02)

    def beats():
        with store.transaction() as connection:
            return connection.execute(sa.text("SELECT beat FROM latprof_claimants")).scalar()

    with Claims(store, TARGET) as claims:
        claims.take(VISITS, 1)
        before = beats()
        deadline = time.monotonic() + 900
        while beats() < before + 3:
            assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "place", [b"a|b|c|1|2", 7, "{here}|" + "9" * 5000 + "|1", "{here}|\u0663|"]
)
def test_what_others_wrote_for_a_process_stops_nobody(store, place):
    with Claims(store, TARGET), store.writing() as connection:
        here = connection.execute(sa.text("SELECT place FROM latprof_claimants")).scalar()
        if isinstance(place, str):
            place = place.format(here="|".join(here.split("|")[:3]))
        values = {"name": "x", "place": place, "beat": "no number", "beat_at": -1.0}
        connection.execute(
            sa.text("INSERT INTO latprof_claimants VALUES (:name, :place, :beat, :beat_at)"), values
        )
    with Claims(store, TARGET) as claims:
        assert claims.take(VISITS[:1], 1).ours == {VISITS[0]}
