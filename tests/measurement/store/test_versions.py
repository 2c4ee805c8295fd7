"""Stores of every version are read as they are, and upgraded on a copy before they are written to.

``versions/version_N.db`` was made by the code of that time: 24 networks with kernels, a failed and
a disturbed visit, a search of three steps.
"""

import contextlib
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from latprof.errors import DiskFullError, StoreError, StoreVersionError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.quiet.target_constant import Constant, Tie
from latprof.measurement.store import salvage, schema, upgrade
from latprof.measurement.store.store import Store
from latprof.measurement.store.trails import Trails

VERSIONS = Path(__file__).parent / "versions"


@pytest.fixture(params=[1, 2])
def number(request):
    return request.param


@pytest.fixture
def old(number, tmp_path):
    return Path(shutil.copy(VERSIONS / f"version_{number}.db", tmp_path / "lat.db"))


def content(path):
    """All that is read from a store."""
    with Store.open(path) as store:
        known = TargetLabels.of(store)
        return (
            known.stored,
            known.labels,
            known.visits,
            list(known.store.kernel_profiles(known.target)),
            known.campaigns,
            Trails(store).searches(),
            Trails(store).steps(1),
            store.finished_visits(known.target),
        )


def same(first, second):
    for a, b in zip(first, second, strict=True):
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        else:
            assert a == b


def test_there_is_a_fixture_of_every_version():
    names = {path.name for path in VERSIONS.glob("*.db")}
    assert names == {f"version_{n}.db" for n in range(1, schema.SCHEMA_VERSION + 1)}


def test_an_old_store_is_read_as_it_is(old):
    before = old.read_bytes()
    same(content(old), content(VERSIONS / "version_2.db"))
    same(content(old)[1:], content(VERSIONS / "version_3.db")[1:])
    assert old.read_bytes() == before
    with Store.open(old) as store, pytest.raises(StoreVersionError, match="opened for reading"):
        store.add(next(store.measurements(store.only_target().target)))


def test_the_first_constant_of_an_old_store_holds_and_says_that_nothing_is_known_of_it(old):
    with Store.open(old, create=True) as store:
        target = store.only_target().target
        first = TargetLabels.of(store).constant
        assert first.number == 1
        assert math.isnan(first.doubt)
        better = Constant(3.4, doubt=0.01, ties={"other": Tie(0.1, 0.002, 8)}, found={"bursts": 9})
        assert store.freeze_constant(target, better, after=0) == first  # not the one that holds
        assert store.freeze_constant(target, better, after=1) == replace(better, number=2)
    with Store.open(old) as store:
        assert TargetLabels.of(store).constant == replace(better, number=2)
        assert [c.number for c in store.only_target().constants] == [1, 2]
    assert salvage.inspect_store(old).is_whole


def test_a_store_opened_for_writing_is_upgraded_and_the_old_file_kept(old, number):
    expected = content(old)
    mode = old.stat().st_mode
    Store.open(old, create=True).close()

    kept = old.with_name(f"lat.db.version-{number}")
    assert sorted(each.name for each in old.parent.iterdir()) == [old.name, kept.name]
    assert old.stat().st_mode == mode
    same(content(old), expected)
    same(content(kept), expected)
    assert salvage.inspect_store(old).is_whole
    assert salvage.inspect_store(old).version == schema.SCHEMA_VERSION
    with Store.open(old) as store:
        target = store.only_target().target
        assert not store.add(next(store.measurements(target)))  # it knows its visits


def test_an_upgrade_waits_for_others_and_gives_up(old, monkeypatch):
    monkeypatch.setattr(upgrade, "WAIT_S", 0.3)
    with Store.open(old) as reading:
        assert reading.targets()
        with pytest.raises(StoreError, match="another process has it open"):
            Store.open(old, create=True)
    Store.open(old, create=True).close()


def test_several_processes_may_upgrade_it_at_the_same_moment(old):
    code = "import sys; from latprof.measurement import Store; Store.open(sys.argv[1], create=True)"
    running = [subprocess.Popen([sys.executable, "-c", code, old]) for _ in range(3)]
    assert [process.wait(timeout=900) for process in running] == [0, 0, 0]
    assert salvage.inspect_store(old).is_whole


@pytest.mark.parametrize("fails", ["hardlink_to", "replace"])
def test_an_upgrade_that_fails_leaves_the_store_as_it_was(old, monkeypatch, fails):
    before = content(old)

    def full(*_arguments):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    if fails == "hardlink_to":
        monkeypatch.setattr(Path, "hardlink_to", full)
    with pytest.raises(DiskFullError):
        Store.open(old, create=True)
    same(content(old), before)
    assert not list(old.parent.glob(".*"))


@pytest.mark.parametrize("number", [1])
def test_a_damaged_old_store_is_not_upgraded(old):
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE kernels SET latency_ms = -1e9 WHERE id = 7")
        connection.commit()
    with pytest.raises(StoreError, match=r"table kernels, row 7: latency_ms is -1000000000\.0"):
        Store.open(old, create=True)
    assert salvage.inspect_store(old).version == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE measurements SET samples = printf('%.*c', 200000, '[') WHERE id = 3",
        "UPDATE measurements SET process = x'ff00' WHERE id = 3",
        "UPDATE measurements SET conditions = CAST(x'7bff7d' AS TEXT) WHERE id = 3",
        "UPDATE measurements SET label = 'x' WHERE id = 3",
        "UPDATE measurements SET started_at = 1e300 WHERE id = 3",
        "UPDATE measurements SET started_at = 9e999 WHERE id = 3",
        "UPDATE measurements SET wall_s = '' WHERE id = 3",
        "UPDATE kernels SET position = '1,2,3' WHERE id = 3",
        "UPDATE kernels SET latency_ms = -1e9 WHERE id = 3",
        "UPDATE kernels SET input_shapes = '3' WHERE id = 3",
        "UPDATE subjects SET kind = '' WHERE id = 3",
        'UPDATE targets SET key = replace(key, \'"threads":1\', \'"threads":"1"\')',
    ],
)
@pytest.mark.parametrize("number", [1])
def test_values_of_old_stores_are_checked(old, change):
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(StoreError, match=r"lat\.db is damaged.*latprof doctor") as caught:
        content(old)
    assert len(str(caught.value)) < 1000
    assert not salvage.inspect_store(old).is_whole
