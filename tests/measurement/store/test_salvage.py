"""What is damaged is told, and what is whole is saved."""

import contextlib
import dataclasses
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
from computed_store import fill_store

import latprof
from latprof.errors import OutputPathError, StoreError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.store.salvage import inspect_store, save_whole_rows
from latprof.measurement.store.store import Store


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fill_store(tmp_path_factory.mktemp("whole") / "lat.db", n=6)


@pytest.fixture
def store(whole, tmp_path):
    return Path(shutil.copy(whole, tmp_path / "lat.db"))


def execute(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def table(state, name):
    return next(table for table in state.tables if table.name == name)


def measured(path):
    with Store.open(path) as store:
        return list(store.measurements(store.only_target().target))


def test_a_whole_store_has_no_findings_and_is_saved_whole(store, tmp_path):
    assert inspect_store(store).is_whole
    assert save_whole_rows(store, tmp_path / "new.db").is_whole
    assert measured(tmp_path / "new.db") == measured(store)
    with Store.open(store) as first, Store.open(tmp_path / "new.db") as second:
        expected, found = (TargetLabels.of(each).labels for each in (first, second))
    assert found.equals(expected)


@pytest.mark.parametrize(
    ("damage", "name", "lost"),
    [
        (
            "UPDATE measurements SET samples = replace(samples, '3.', '4.') WHERE id = 2",
            "damaged",
            1,
        ),
        ("DELETE FROM measurements WHERE id = (SELECT max(id) FROM measurements)", "missing", 1),
        ("DELETE FROM measurements WHERE id = 2", "missing", 1),
        ("UPDATE measurements SET id = 1000 WHERE id = 2", "damaged", 1),
    ],
)
def test_a_changed_and_a_missing_row_are_seen(store, tmp_path, damage, name, lost):
    before = measured(store)
    execute(store, damage)
    with pytest.raises(StoreError, match="is damaged"):
        measured(store)
    content = store.read_bytes()
    state = save_whole_rows(store, tmp_path / "new.db")
    assert getattr(table(state, "measurements"), name) == lost
    assert store.read_bytes() == content
    assert len(measured(tmp_path / "new.db")) == len(before) - lost
    assert set(map(repr, measured(tmp_path / "new.db"))) <= set(map(repr, before))
    assert inspect_store(tmp_path / "new.db").is_whole


@pytest.mark.parametrize(
    ("damage", "name", "finding"),
    [
        (
            "UPDATE latprof_ledgers SET row_count = 9 WHERE parent AND table_name LIKE 'meas%'",
            "measurements",
            "target_id 1: .* rows where .* were stored",
        ),
        (
            "DELETE FROM latprof_ledgers WHERE parent = 1 AND table_name = 'kernel_profiles'",
            "kernel_profiles",
            "target_id 1: 6 rows where 0 were stored",
        ),
        (
            "UPDATE latprof_ledgers SET last_id = 3 WHERE parent = 0 AND table_name = 'subjects'",
            "subjects",
            "the next row would get a number that a row has, up to 6",
        ),
        ("DELETE FROM latprof_ledgers WHERE table_name = 'kernels'", "kernels", "the count of"),
        ("DROP TABLE kernels", "kernels", "the table is missing"),
        ("DROP TABLE searches", "searches", "the table is missing"),
        ("DROP TABLE constants", "constants", "the table is missing"),
        ("DELETE FROM campaigns", "campaigns", "1 of 1 rows are missing"),
        ("DELETE FROM targets", "targets", "1 of 1 rows are missing"),
        ("DELETE FROM kernels WHERE id = 7", "kernels", "1 of .* rows are missing"),
        (
            "UPDATE campaigns SET host = replace(host, 'cores', 'cares')",
            "campaigns",
            "its checksum is another",
        ),
        (
            "DELETE FROM constants",
            "constants",
            "milliseconds are those of the last version that is whole",
        ),
        (
            "DROP INDEX one_visit",
            "measurements",
            "no index keeps target_id, subject_id, label, visit from being there twice",
        ),
    ],
)
def test_what_is_missing_anywhere_is_seen_and_mended_by_a_repair(
    store, tmp_path, damage, name, finding
):
    execute(store, damage)
    state = save_whole_rows(store, tmp_path / "new.db")
    assert inspect_store(store) == state
    assert state.version == 3
    assert not table(state, name).is_whole
    assert any(re.search(finding, each) for each in table(state, name).findings)
    assert inspect_store(tmp_path / "new.db").is_whole


def test_without_counts_of_rows_nothing_of_the_rest_is_lost(store, tmp_path):
    expected = measured(store)
    with Store.open(store) as opened:
        constants = opened.only_target().constants
    execute(store, "DROP TABLE latprof_ledgers")
    state = save_whole_rows(store, tmp_path / "new.db")
    assert "table latprof_ledgers is missing" in state.file[0]
    assert measured(tmp_path / "new.db") == expected
    with Store.open(tmp_path / "new.db") as opened:
        assert opened.only_target().constants == constants


def test_a_table_without_its_indexes_is_seen(store):
    """As another program copies one."""
    execute(store, "ALTER TABLE subjects RENAME TO old")
    execute(store, "CREATE TABLE subjects AS SELECT * FROM old")
    found = table(inspect_store(store), "subjects").findings
    assert {each.partition(" from")[0] for each in found} == {
        "no index keeps id",
        "no index keeps kind, space, key",
    }


def test_a_visit_is_never_taken_for_stored_because_its_number_is(store):
    """The counts are behind the rows: the next number is one that another visit has."""
    execute(store, "UPDATE latprof_ledgers SET last_id = 3 WHERE table_name = 'measurements'")
    with Store.open(store, create=True) as opened:
        first = next(opened.measurements(opened.only_target().target))
        with pytest.raises(StoreError, match="a new row got the number of another"):
            opened.add(dataclasses.replace(first, visit=1000))


def test_the_numbers_of_lost_rows_are_told_after_a_repair(store, tmp_path):
    execute(store, "DELETE FROM measurements WHERE id IN (2, 3)")
    execute(store, "DELETE FROM kernel_profiles WHERE id = 4")
    save_whole_rows(store, tmp_path / "new.db")
    checks = {check.name: check for check in latprof.doctor(tmp_path / "new.db").checks}
    assert checks["table measurements"].status == "WARN"
    assert "2 row numbers are of no row" in checks["table measurements"].finding
    assert "before a repair" in checks["table measurements"].remedy
    assert checks["table subjects"].status == "OK"


def test_the_first_version_may_be_without_searches_and_not_without_what_visits_belong_to(tmp_path):
    old = Path(shutil.copy(Path(__file__).parent / "versions" / "version_1.db", tmp_path))
    for name in ("search_steps", "searches"):
        execute(old, f"DROP TABLE {name}")
    assert inspect_store(old).is_whole
    execute(old, "DELETE FROM campaigns")
    (lost,) = (each for each in inspect_store(old).tables if not each.is_whole)
    assert (lost.name, lost.findings) == (
        "campaigns",
        ["row 1, of which there are visits, is missing"],
    )


def test_a_visit_that_is_there_twice_is_saved_once_and_told(tmp_path):
    """Of a version without checksums, where each of the two could be the one."""
    old = Path(shutil.copy(Path(__file__).parent / "versions" / "version_1.db", tmp_path))
    execute(old, "DROP INDEX IF EXISTS one_visit")
    columns = "subject_id, target_id, label, visit, started_at, wall_s, load_s, process, disturbed"
    columns += ", conditions, samples"
    execute(
        old,
        f"INSERT INTO measurements (id, {columns}) "
        f"SELECT 1000, {columns} FROM measurements WHERE id = 5",
    )
    new = tmp_path / "new.db"
    state = table(save_whole_rows(old, new), "measurements")
    assert (state.whole, state.damaged) == (90, 1)
    assert state.findings[0] == "row 1000: another row is the same"
    assert inspect_store(new).is_whole
    assert len(measured(new)) == 90


def test_what_belongs_to_a_lost_row_is_lost_and_the_rest_is_saved(store, tmp_path):
    execute(store, "UPDATE subjects SET key = key || '1' WHERE id = 1")
    execute(store, "UPDATE kernels SET latency_ms = 2 * latency_ms WHERE id = 200")
    execute(store, "DELETE FROM campaigns")
    state = save_whole_rows(store, tmp_path / "new.db")
    assert table(state, "subjects").damaged == 1
    assert table(state, "measurements").damaged > 1
    assert table(state, "kernel_profiles").damaged == 2
    assert inspect_store(tmp_path / "new.db").is_whole
    with Store.open(tmp_path / "new.db") as store_of_rest:
        assert len(TargetLabels.of(store_of_rest).labels) >= 5


def test_pages_that_cannot_be_read_cost_the_rows_that_they_held(store, tmp_path):
    content = bytearray(store.read_bytes())
    with contextlib.closing(sqlite3.connect(store)) as connection:
        ((page,),) = (
            connection.execute(
                "SELECT max(pageno) FROM dbstat WHERE name = 'measurements' AND pagetype = 'leaf'"
            )
            if _has_dbstat(connection)
            else [(len(content) // 4096 // 2,)]
        )
    content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    store.write_bytes(content)
    state = save_whole_rows(store, tmp_path / "new.db")
    assert not state.is_whole
    assert state.file
    assert inspect_store(tmp_path / "new.db").is_whole


def _has_dbstat(connection):
    try:
        connection.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return True


def test_a_file_that_is_there_is_never_written(store, tmp_path):
    with pytest.raises(OutputPathError, match="is there already"):
        save_whole_rows(store, store)
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(StoreError, match="not a latprof store"):
        inspect_store(tmp_path / "text.db")
    assert not (tmp_path / "new.db").exists()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER TABLE campaigns RENAME TO c", f"CREATE VIEW Campaigns(id) AS {ENDLESS}"],
        ["ALTER TABLE kernels RENAME TO k", "CREATE VIRTUAL TABLE kernels USING fts5(id)"],
        ["ALTER TABLE subjects ADD x TEXT AS (hex(zeroblob(499999999)))"],
        ["CREATE TRIGGER t AFTER INSERT ON measurements BEGIN DELETE FROM subjects; END"],
    ],
)
def test_a_file_that_computes_what_it_tells_is_refused(store, statements):
    """An endless view in a table's place would be read for ever, and Ctrl-C would not end that."""
    for statement in statements:
        execute(store, statement)
    for read in (Store.open, lambda path: Store.open(path, create=True), inspect_store):
        with pytest.raises(StoreError, match="which no store has"):
            read(store)


def test_a_view_of_ones_own_and_another_encoding_change_nothing(store, tmp_path):
    expected = measured(store)
    with contextlib.closing(sqlite3.connect(store)) as connection:
        dump = "\n".join(connection.iterdump())
    with contextlib.closing(sqlite3.connect(tmp_path / "wide.db")) as connection:
        connection.execute("PRAGMA encoding='UTF-16'")
        connection.executescript(dump)
        connection.execute("CREATE VIEW slow AS SELECT * FROM measurements WHERE wall_s > 9")
    assert measured(tmp_path / "wide.db") == expected
    assert inspect_store(tmp_path / "wide.db").is_whole


def test_numbers_of_rows_that_no_store_reaches_are_soon_given_up(store):
    expected = table(inspect_store(store), "subjects").whole
    execute(store, "UPDATE latprof_ledgers SET last_id = 1 << 39 WHERE table_name = 'subjects'")
    found = table(inspect_store(store), "subjects")
    assert found.whole == expected
    assert "given up" in found.findings[0]


def test_a_value_as_large_as_memory_is_refused(store):
    execute(store, "UPDATE subjects SET name = hex(zeroblob(40000000)) WHERE id = 2")
    with pytest.raises(StoreError, match="too big"):
        measured(store)


def test_a_schema_that_is_no_utf_8_is_damaged(store):
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.execute("pragma journal_mode=delete")  # so that opening it reads the schema
        connection.execute("pragma writable_schema=on")
        connection.execute(
            "update sqlite_master set name=cast(x'e9e9' as text), sql='nothing' where rootpage=2"
        )
        connection.commit()
    for use in (inspect_store, Store.open, latprof.report):
        with pytest.raises(StoreError, match="malformed database schema"):
            use(store)


def leaf_pages(content, root):
    """Numbers of the pages below a table's first one, in the order of the rows."""
    page = content[(root - 1) * 4096 : root * 4096]
    assert page[0] == 5  # a page of pages
    cells = [int.from_bytes(page[at : at + 2]) for at in range(12, 12 + 2 * page[4], 2)]
    return [int.from_bytes(page[at : at + 4]) for at in (*cells, 8)]


def test_rows_of_exchanged_pages_are_no_rows_in_order(store):
    """SQLite gives them as they lie, whatever order is asked for."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'measurements'"
        ((root,),) = connection.execute(query)
    content = bytearray(store.read_bytes())
    first, second = ((number - 1) * 4096 for number in leaf_pages(content, root)[:2])
    pages = content[first : first + 4096], content[second : second + 4096]
    content[second : second + 4096], content[first : first + 4096] = pages
    store.write_bytes(content)
    with Store.open(store) as opened:
        target = opened.only_target().target
        for read in (opened.measurements(target), opened.visits_after(target, 0)):
            with pytest.raises(StoreError, match="not in the order of the rows"):
                list(read)
    assert not inspect_store(store).is_whole
