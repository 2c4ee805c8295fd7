"""The store keeps what it acknowledged, once, and refuses what it cannot read."""

import contextlib
import dataclasses
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from stored_visits import TARGET, measurement

from latprof.errors import (
    DiskFullError,
    NotEnoughDataError,
    OutputPathError,
    StoreError,
    StoreVersionError,
    TargetMismatchError,
    UsageError,
)
from latprof.measurement.labels import TargetLabels, freeze_reference
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    PairedSamples,
)
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Failure


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as opened:
        opened.add_target(TARGET, "reference")
        yield opened


def test_a_measurement_comes_back_as_it_was_stored(store):
    stored = measurement(conditions={"before": {"load1": 0.5}, "after": {"load1": 0.7}})
    assert store.add(stored)
    (found,) = store.measurements(TARGET)
    assert found == stored
    assert found.subject.name == stored.subject.name


def test_a_failure_is_a_row_too_and_does_not_finish_the_visit(store):
    failed = measurement(samples=None, failure=Failure("timeout", "too long"))
    store.add(failed)
    assert list(store.measurements(TARGET)) == [failed]
    assert store.finished_visits(TARGET) == set()


def test_ratios_are_taken_over_the_runs_that_all_visits_made(store):
    """The third run of a burst is faster; a process may settle on more runs than another."""
    burst, reference = (9.0, 10.0, 8.0), (8.0, 5.0, 3.0)
    longer = PairedSamples((burst, burst), (reference,) * 3)
    store.add(measurement(visit=0, process="host/1", samples=longer))
    assert TargetLabels.of(store).visits["ratio"].tolist() == [pytest.approx(9 / 4)]
    assert TargetLabels.of(store).reference_ms == pytest.approx(4.0)
    assert [s for _, s in store.first_visits(TARGET)] == [longer]
    shorter = PairedSamples((burst[:2],) * 2, (reference[:2],) * 3)
    store.add(measurement(visit=1, process="host/2", samples=shorter))
    visits = TargetLabels.of(store).visits
    assert visits["ratio"].tolist() == [pytest.approx(2.0)] * 2
    assert TargetLabels.of(store).reference_ms == pytest.approx(5.0)
    assert visits[["target_runs", "reference_runs"]].to_numpy().tolist() == [[1, 1]] * 2
    # Another network with long bursts keeps its own; the reference is one for all.
    store.add(measurement("b", samples=PairedSamples((burst,) * 2, (reference[:2],) * 3)))
    assert TargetLabels.of(store).visits["ratio"].iloc[2] == pytest.approx(9 / 5)


def test_a_store_without_visits_has_no_first_visits(store):
    store.add(measurement(samples=None, failure=Failure("timeout", "too long")))
    assert [*store.first_visits(TARGET)] == []


def test_two_collections_may_make_one_store_at_the_same_moment(tmp_path):
    def make(_number):
        with Store.open(tmp_path / "new.db", create=True) as opened:
            opened.add_target(TARGET, "reference")
            return opened.stored_target(TARGET).reference

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(16))) == {"reference"}


def test_a_store_opens_when_whoever_makes_it_at_this_moment_is_done(tmp_path):
    """SQLite itself refuses to change to a write-ahead log while another process writes."""
    path = tmp_path / "new.db"
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            opened = pool.submit(lambda: Store.open(path, create=True))
            with pytest.raises(TimeoutError):
                opened.result(timeout=0.2)
            other.execute("COMMIT")
            opened.result().close()


def test_one_visit_counts_once_however_many_processes_store_it(store, tmp_path):
    with Store.open(tmp_path / "lat.db") as other:
        assert store.add(measurement())
        assert not other.add(measurement())
        assert other.add(measurement(visit=1))
    assert len(list(store.measurements(TARGET))) == 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE measurements SET samples = '{{{'",
        "UPDATE measurements SET samples = NULL",
        "UPDATE measurements SET samples = '3'",
        "UPDATE measurements SET samples = '{\"target\": []}'",
        "UPDATE measurements SET samples = replace(samples, '5.0', '-5.0')",
        "UPDATE measurements SET samples = replace(samples, '5.0', '0')",
        "UPDATE measurements SET samples = replace(samples, '5.0', 'NaN')",
        "UPDATE measurements SET samples = replace(samples, '5.0', '\"5\"')",
        "UPDATE measurements SET conditions = '[]'",
        "UPDATE measurements SET wall_s = 'long'",
        "UPDATE targets SET reference_ms = 'slow'",
        "UPDATE targets SET reference_ms = -5",
        "UPDATE targets SET key = '[]'",
        "UPDATE targets SET key = '{\"a\": 1}'",
        "UPDATE targets SET key = 'nothing'",
    ],
)
def test_a_damaged_row_is_named_and_never_a_number(store, tmp_path, change):
    store.add(measurement())
    with contextlib.closing(sqlite3.connect(tmp_path / "lat.db")) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(StoreError, match=r"lat\.db is damaged"):
        TargetLabels.of(store).labels  # noqa: B018 - it reads


@contextlib.contextmanager
def every_transaction_begins_with(pragma):
    """What SQLite answers to it, in the connection of the store, a row a transaction."""
    answers = []

    def execute(connection):
        result = connection.exec_driver_sql(f"PRAGMA {pragma}")
        answers.append(result.scalar() if result.returns_rows else None)

    sa.event.listen(sa.Engine, "begin", execute)
    try:
        yield answers
    finally:
        sa.event.remove(sa.Engine, "begin", execute)


def test_a_password_in_a_url_is_not_shown():
    with pytest.raises(UsageError) as raised:
        Store.open("nonsense://me:secret@host/name")
    assert "secret" not in str(raised.value)


def test_a_disturbed_visit_may_be_done_again_and_the_clean_one_counts(store):
    store.add(measurement(ratio=3.0, disturbed=True))
    assert store.finished_visits(TARGET) == set()
    store.add(measurement(ratio=2.0))
    store.add(measurement(visit=1, ratio=2.0))
    labels = TargetLabels.of(store).labels
    assert labels["ratio"].tolist() == [2.0]
    assert labels["latency_ms"].tolist() == [10.0]


def test_the_store_is_durable_and_in_wal_mode(store, tmp_path):
    connection = sqlite3.connect(tmp_path / "lat.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    with every_transaction_begins_with("synchronous") as answers:
        store.add(measurement())
    assert set(answers) == {2}


def test_the_reference_constant_is_frozen_once(store):
    store.add(measurement())
    assert store.stored_target(TARGET).reference_ms is None
    assert freeze_reference(store, TARGET) == 5.0
    slower = measurement(visit=1)
    store.add(dataclasses.replace(slower, samples=PairedSamples(((9.0, 9.0),), ((1.0, 1.0),) * 2)))
    assert freeze_reference(store, TARGET) == 5.0
    assert store.freeze_reference_ms(TARGET, 4.0) == 5.0
    assert TargetLabels.of(store).is_frozen
    assert TargetLabels.of(store).reference_ms == 5.0


def test_a_target_keeps_its_reference_network(store):
    with pytest.raises(TargetMismatchError, match="reference"):
        store.add_target(TARGET, "another")


def test_two_targets_are_never_mixed_unasked(store):
    store.add(measurement())
    other = dataclasses.replace(TARGET, threads=2)
    store.add_target(other, "reference")
    store.add(measurement(target=other))
    with pytest.raises(TargetMismatchError, match="2 targets"):
        store.only_target()
    with pytest.raises(TargetMismatchError, match="2 targets"):
        store.only_target("cpu:onnxruntime")
    assert store.only_target("2 threads").target == other
    with pytest.raises(TargetMismatchError, match="no targets"):
        store.only_target("cuda")


def test_an_empty_store_says_so(store):
    with pytest.raises(NotEnoughDataError, match="no measurements"):
        store.only_target()


def test_kernels_come_back_in_order_and_are_stored_once(store):
    subject = measurement().subject
    kernels = [
        KernelTime(i, "conv1x1", f"k{i}", (f"n{i}",), 0.5, ((1, 3),), ((1, 4),)) for i in range(3)
    ]
    profile = KernelProfile(tuple(kernels), measurement().samples, 1000.0, "host/1")
    assert store.add_kernels(subject, TARGET, profile)
    assert not store.add_kernels(subject, TARGET, profile)
    assert list(store.kernel_profiles(TARGET)) == [(subject, profile)]
    assert store.subjects_with_kernels(TARGET) == {subject}


def test_the_noise_floor_comes_from_networks_measured_again(store):
    for index in range(12):
        for visit in range(2):
            store.add(measurement(f"n{index}", visit=visit, ratio=2.0))
            store.add(measurement(f"n{index}", label=1, visit=visit, ratio=2.0 * 1.01))
    floor = TargetLabels.of(store).noise_floor
    assert floor is not None
    assert (floor.method, floor.pairs) == ("repeats", 12)
    assert floor.percent == pytest.approx(1 / 2**0.5)
    assert floor.rmse_ms == pytest.approx(0.1 / 2**0.5)


def test_without_repeats_the_noise_floor_comes_from_the_visits(store):
    for visit, ratio in enumerate((1.98, 2.0, 2.02, 2.0)):
        store.add(measurement(visit=visit, ratio=ratio))
    floor = TargetLabels.of(store).noise_floor
    assert floor is not None
    assert floor.method == "visits"
    assert 0.2 < floor.percent < 0.8


@pytest.mark.parametrize("content", [b"", b"not a database at all, only text\n" * 100])
def test_something_else_is_refused(tmp_path, content):
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(StoreError, match="not a latprof store"):
        Store.open(tmp_path / "x.db")


def test_a_truncated_store_is_refused_with_one_line(store, tmp_path):
    store.add(measurement())
    store.close()
    content = (tmp_path / "lat.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(content[: len(content) // 3])
    with pytest.raises(StoreError) as caught, Store.open(tmp_path / "cut.db") as cut:
        list(cut.measurements(TARGET))
    assert "\n" not in str(caught.value)


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="not a latprof store"):
        Store.open(path, create=True)


def test_a_store_of_another_version_is_refused(store, tmp_path):
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "lat.db")) as connection:
        connection.execute("UPDATE latprof_meta SET value='99' WHERE name='schema_version'")
        connection.commit()
    with pytest.raises(StoreVersionError, match="version 99"):
        Store.open(tmp_path / "lat.db")


def test_a_missing_store_is_made_only_when_asked(tmp_path):
    with pytest.raises(StoreError, match="no store at"):
        Store.open(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(StoreError, match="directory"):
        Store.open(tmp_path)
    with pytest.raises(OutputPathError, match="no directory"):
        Store.open(tmp_path / "no" / "lat.db", create=True)


def test_a_full_disk_keeps_what_was_acknowledged(store, tmp_path):
    store.add(measurement())
    with contextlib.closing(sqlite3.connect(tmp_path / "lat.db")) as connection:
        ((pages,),) = connection.execute("PRAGMA page_count")

    def fill():
        for visit in range(1, 400):
            store.add(measurement(visit=visit, conditions={"note": "x" * 2000}))

    with (
        every_transaction_begins_with(f"max_page_count={pages}"),
        pytest.raises(DiskFullError, match="is full") as caught,
    ):
        fill()
    assert caught.value.exit_status == 5
    assert measurement() in list(store.measurements(TARGET))
