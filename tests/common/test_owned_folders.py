"""A killed process leaves its folder for temporary files; the next command removes it."""

import os
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
