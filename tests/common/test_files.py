"""Files are written whole, and what is no file is never replaced by one."""

import contextlib
import os
import sqlite3
import stat
import threading

import pytest

from latprof.common.files import check_output, what_is_at, write_atomically
from latprof.errors import OutputPathError


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"old")
    assert write_atomically(path, b"new") == path
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_atomically(path, b"content")
    reader.join(timeout=600)
    assert read == [b"content"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_stays_a_device(tmp_path):
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_bytes(b"")
    except OSError:
        pytest.skip("may not make a device here")
    write_atomically(path, b"content")
    assert stat.S_ISCHR(path.stat().st_mode)


@pytest.mark.parametrize("name", [".", "missing/out", "a" * 5000, "a\0b"])
def test_what_cannot_be_written_is_one_error(tmp_path, name):
    with pytest.raises(OutputPathError, match="cannot write") as raised:
        write_atomically(tmp_path / name, b"content")
    assert "\0" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_at_a_path(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    assert what_is_at(tmp_path / "file") == "file"
    assert what_is_at(tmp_path) == "directory"
    assert what_is_at(tmp_path / "pipe") == "special"
    assert what_is_at(tmp_path / "missing") is None
    assert what_is_at(tmp_path / ("a" * 5000)) is None


def test_a_store_is_never_replaced(tmp_path):
    path = tmp_path / "lat.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE visits (ratio REAL)")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(OutputPathError, match="it is a database"):
        write_atomically(path, b"a pack")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_is_refused_before_the_work(tmp_path):
    path = tmp_path / "lat.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE visits (ratio REAL)")
    with pytest.raises(OutputPathError, match="it is a database"):
        check_output(path)


def test_what_is_read_or_written_too_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"model")
    (tmp_path / "link").symlink_to("model.onnx")
    for path, other in (
        ("model.onnx", tmp_path / "model.onnx"),
        ("./link", "model.onnx"),
        ("new.csv", tmp_path / "new.csv"),
    ):
        with pytest.raises(OutputPathError, match="named for something else"):
            check_output(path, others=[None, "a\0b", object(), other])
    check_output("model.onnx", others=[None, "new.csv", "model", "postgresql://h/model.onnx"])
    os.mkfifo("pipe")
    check_output("pipe", others=["pipe"])  # a terminal may be read and written
