"""Trails of searches live in the store beside measurements."""

import sqlite3

import pytest

from latprof.errors import StoreError
from latprof.measurement.store.store import Store
from latprof.measurement.store.trails import Trails, TrailStep

PLAN = {"method": "evolution", "seed": 0}
STEPS = [TrailStep(f"1,{i}", 90.0 + i, 4.0 - i / 10, 4.1) for i in range(3)]


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.db", create=True) as opened:
        yield opened


def test_steps_come_back_in_order(store):
    trails = Trails(store)
    number = trails.begin(PLAN)
    for place in (2, 0, 1):
        trails.add(number, place, STEPS[place])
    assert trails.steps(number) == STEPS


def test_the_same_plan_is_the_same_search_and_another_is_not(store):
    trails = Trails(store)
    first = trails.begin(PLAN)
    trails.add(first, 0, STEPS[0])
    assert trails.begin(dict(PLAN)) == first
    other = trails.begin(PLAN | {"seed": 1})
    assert other != first
    assert trails.steps(other) == []
    assert [(s.number, s.steps, s.ended_at) for s in trails.searches()] == [
        (first, 1, None),
        (other, 0, None),
    ]


def test_a_step_made_again_replaces_the_old_one(store):
    trails = Trails(store)
    number = trails.begin(PLAN)
    trails.add(number, 0, STEPS[0])
    trails.add(number, 0, STEPS[1])
    assert trails.steps(number) == [STEPS[1]]


def test_the_end_is_recorded(store):
    trails = Trails(store)
    number = trails.begin(PLAN)
    trails.end(number)
    (found,) = trails.searches()
    assert found.plan == PLAN
    assert found.ended_at >= found.started_at


def test_a_store_without_searches_has_none(store):
    assert Trails(store).searches() == []
    assert Trails(store).steps(1) == []


def test_steps_are_on_the_disk_at_once(tmp_path):
    path = tmp_path / "s.db"
    with Store.open(path, create=True) as writing:
        number = Trails(writing).begin(PLAN)
        Trails(writing).add(number, 0, STEPS[0])
        with Store.open(path) as reading:
            assert Trails(reading).steps(number) == STEPS[:1]


def test_a_store_with_measurements_takes_searches(collected, tmp_path):
    copy = tmp_path / "lat.db"
    with sqlite3.connect(collected) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    with Store.open(copy) as store:
        before = [stored.measurements for stored in store.targets()]
        Trails(store).begin(PLAN)
        assert [stored.measurements for stored in store.targets()] == before


@pytest.mark.parametrize("damage", ["accuracy = 'much'", "architecture = x'00'"])
def test_a_damaged_step_is_refused(tmp_path, damage):
    path = tmp_path / "s.db"
    with Store.open(path, create=True) as store:
        number = Trails(store).begin(PLAN)
        Trails(store).add(number, 0, STEPS[0])
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE search_steps SET {damage}")
    with Store.open(path) as store, pytest.raises(StoreError, match="damaged"):
        Trails(store).steps(number)


def test_a_search_that_was_lost_is_not_begun_anew(tmp_path):
    path = tmp_path / "s.db"
    with Store.open(path, create=True) as store:
        Trails(store).begin(PLAN)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM searches")
    connection.close()
    with Store.open(path, create=True) as store, pytest.raises(StoreError, match="1 were stored"):
        Trails(store).begin(PLAN)
