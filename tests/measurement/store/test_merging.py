"""Stores of several hosts joined: each visit once, none lost, targets apart."""

import contextlib
import dataclasses
import math
import shutil
import sqlite3
from pathlib import Path

import pytest
from stored_visits import TARGET, measurement

from latprof.errors import OutputPathError, StoreError, TargetMismatchError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.quiet.target_constant import Constant
from latprof.measurement.records import KernelProfile, KernelTime
from latprof.measurement.store.merging import merge_stores
from latprof.measurement.store.salvage import inspect_store
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Failure

PHONE = dataclasses.replace(TARGET, device="adb:1", device_name="a phone")
KERNELS = (KernelTime(0, "Conv", "conv", ("conv",), 0.5, ((1, 3),), ((1, 3),)),)


def write(path, visits, target=TARGET, reference="reference"):
    with Store.open(path, create=True) as store:
        store.add_target(target, reference)
        for visit in visits:
            assert store.add(dataclasses.replace(visit, target=target))
    return path


def visits_of(path, target=TARGET):
    with Store.open(path) as store:
        return list(store.measurements(target))


def on_host(host, count=4, name="a", **changes):
    return [measurement(name, visit=i, process=f"{host}/1", **changes) for i in range(count)]


def test_the_visits_of_two_hosts_are_all_there_with_numbers_of_their_own(tmp_path):
    first = write(tmp_path / "a.db", on_host("one"))
    second = write(tmp_path / "b.db", [*on_host("two"), *on_host("two", name="b")])
    counts = merge_stores([first, second], tmp_path / "c.db")
    found = visits_of(tmp_path / "c.db")
    assert len(found) == counts.added["measurements"] == 12
    assert len({(each.subject, each.label, each.visit) for each in found}) == 12
    stored = [*visits_of(first), *visits_of(second)]
    assert [dataclasses.replace(each, visit=0) for each in found] == [
        dataclasses.replace(each, visit=0) for each in stored
    ]
    assert inspect_store(tmp_path / "c.db").is_whole


def test_a_copy_that_grew_adds_only_what_is_new(tmp_path):
    first = write(tmp_path / "a.db", on_host("one"))
    shutil.copy(first, tmp_path / "b.db")
    write(tmp_path / "b.db", [measurement(visit=7, process="one/2")])
    counts = merge_stores([first, tmp_path / "b.db", first], tmp_path / "c.db")
    assert sorted(each.visit for each in visits_of(tmp_path / "c.db")) == [0, 1, 2, 3, 7]
    assert counts.known["measurements"] == 8


def test_failed_and_disturbed_visits_come_along(tmp_path):
    failed = measurement(samples=None, failure=Failure("timeout", "too long"), process="one/1")
    disturbed = measurement(disturbed=True, process="one/1", started_at=5.0)
    first = write(tmp_path / "a.db", [failed, disturbed, *on_host("one", 1)])
    second = write(tmp_path / "b.db", on_host("two", 1))
    merge_stores([first, second], tmp_path / "c.db")
    found = visits_of(tmp_path / "c.db")
    assert sum(each.failure is not None for each in found) == 1
    assert sum(each.disturbed for each in found) == 1
    assert len(found) == 4


def test_targets_stay_apart_and_kernels_come_once(tmp_path):
    first = write(tmp_path / "a.db", on_host("one"))
    second = write(tmp_path / "b.db", on_host("two"), PHONE)
    samples = on_host("one")[0].samples
    for path, target in ((first, TARGET), (second, PHONE)):
        with Store.open(path, create=True) as store:
            profile = KernelProfile(KERNELS, samples, 3.0, "one/1")
            assert store.add_kernels(on_host("x")[0].subject, target, profile)
    shutil.copy(first, tmp_path / "copy.db")
    merge_stores([first, second, tmp_path / "copy.db"], tmp_path / "c.db")
    with Store.open(tmp_path / "c.db") as store:
        assert [each.target for each in store.targets()] == [TARGET, PHONE]
        for target in (TARGET, PHONE):
            ((_, profile),) = store.kernel_profiles(target)
            assert profile.kernels == KERNELS
    assert inspect_store(tmp_path / "c.db").is_whole


def constant(path, *constants):
    with Store.open(path, create=True) as store:
        for each in constants:
            store.freeze_constant(TARGET, each)


def test_the_constant_in_less_doubt_holds(tmp_path):
    first = write(tmp_path / "a.db", on_host("one"))
    second = write(tmp_path / "b.db", on_host("two"))
    third = write(tmp_path / "d.db", on_host("three"))
    constant(first, Constant(5.0, doubt=0.1))
    constant(second, Constant(4.0, doubt=0.01))
    constant(third, Constant(4.5, doubt=0.05))
    counts = merge_stores([first, second, third], tmp_path / "c.db")
    with Store.open(tmp_path / "c.db") as store:
        found = store.stored_target(TARGET).constants
        assert [each.reference_ms for each in found] == [5.0, 4.0]
        assert [each.number for each in found] == [1, 2]
        assert math.isclose(TargetLabels.of(store).reference_ms, 4.0)
    assert len(counts.constants) == 2


def test_a_constant_of_the_second_store_serves_where_the_first_has_none(tmp_path):
    first = write(tmp_path / "a.db", on_host("one"))
    second = write(tmp_path / "b.db", on_host("two"))
    constant(second, Constant(4.0, doubt=0.01))
    merge_stores([first, second], tmp_path / "c.db")
    with Store.open(tmp_path / "c.db") as store:
        assert store.stored_target(TARGET).reference_ms == 4.0


def test_what_cannot_be_joined_leaves_nothing(tmp_path):
    first = write(tmp_path / "a.db", on_host("one"))
    other = write(tmp_path / "b.db", on_host("two"), reference="another network")
    with pytest.raises(TargetMismatchError, match="different reference"):
        merge_stores([first, other], tmp_path / "c.db")
    (tmp_path / "bad.db").write_bytes(b"no store")
    with pytest.raises(StoreError):
        merge_stores([first, tmp_path / "bad.db"], tmp_path / "c.db")
    assert not list(tmp_path.glob("c.db*"))
    with pytest.raises(OutputPathError, match="is there already"):
        merge_stores([first, other], first)


VERSION_1 = Path(__file__).parent / "versions" / "version_1.db"


def test_a_store_of_the_first_version_without_searches_is_joined(tmp_path):
    old = Path(shutil.copy(VERSION_1, tmp_path))
    execute(old, "DROP TABLE search_steps", "DROP TABLE searches")
    counts = merge_stores([old], tmp_path / "c.db")
    assert counts.added["measurements"] + counts.known["measurements"] == 90
    assert counts.added["kernel_profiles"] == 24
    assert inspect_store(tmp_path / "c.db").is_whole


@pytest.mark.parametrize("name", ["campaigns", "subjects", "targets", "kernel_profiles"])
def test_rows_without_what_they_belong_to_are_damage(tmp_path, name):
    old = Path(shutil.copy(VERSION_1, tmp_path))
    execute(old, f"DELETE FROM {name}")
    with pytest.raises(StoreError, match=f"table {name}: row 1 is missing"):
        merge_stores([old], tmp_path / "c.db")
    assert not list(tmp_path.glob("c.db*"))


def execute(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
