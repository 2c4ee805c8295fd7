"""A killed process leaves its folder for temporary files; the next command removes it."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_line import run_latprof

from latprof.common.children.owned_folders import OwnedFolder, remove_abandoned

KILLED = """
import os, signal
from latprof.common.children.owned_folders import OwnedFolder

folder = OwnedFolder().make()
open(os.path.join(folder.path, "large"), "w").close()
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
STAYS = """
import sys
from latprof.common.children.owned_folders import OwnedFolder

with OwnedFolder("latprof-farm-") as folder:
    (folder / "model.onnx").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""
HOUR_AGO = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def left_by_a_killed_process():
    command = [sys.executable, "-c", KILLED]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return Path(done.stdout.strip())


def test_what_a_killed_process_left_is_removed_and_nothing_else(place):
    left, own = left_by_a_killed_process(), OwnedFolder().make()
    (place / "latprof-somebody's").mkdir()
    (place / "other").mkdir()
    (place / "latprof-link").symlink_to(place / "other")
    remove_abandoned()
    assert left.is_dir(), "it may be about to get its lock"
    for path in place.iterdir():
        os.utime(path, HOUR_AGO, follow_symlinks=False)
    remove_abandoned()
    names = {path.name for path in place.iterdir()}
    assert names == {"latprof-somebody's", "other", "latprof-link", Path(own.path).name}
    own.remove()
    assert not Path(own.path).exists()


def test_the_next_command_removes_it(place):
    os.utime(left_by_a_killed_process(), HOUR_AGO)
    assert run_latprof("--version", process=True).returncode == 0
    assert list(place.iterdir()) == []


def begin():
    """A process that has a folder until its input ends; it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAYS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_a_folder_goes_with_its_process_and_that_of_a_killed_one_with_the_next(place):
    (place / "latprof-farm-file").touch()
    (place / "latprof-farm-link").symlink_to(place / "elsewhere")
    (place / "elsewhere").mkdir()
    killed, left = begin()
    alive, there = begin()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert {left.parent, there.parent} == {place}
    assert (left / "model.onnx").exists()
    for path in (left, there):
        os.utime(path, HOUR_AGO)
    with OwnedFolder("latprof-farm-") as mine, OwnedFolder("latprof-farm-") as other:
        assert mine != other
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert not left.exists()
        assert (there / "model.onnx").exists()
    alive.communicate("")
    rest = sorted(path.name for path in place.iterdir())
    assert rest == ["elsewhere", "latprof-farm-file", "latprof-farm-link"]
