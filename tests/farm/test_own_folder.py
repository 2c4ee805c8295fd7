"""The folder of a process of a farm."""

import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from latprof.farm.own_folder import own_folder

STAYS = (
    "import sys, time\n"
    "from latprof.farm.own_folder import own_folder\n"
    "with own_folder() as folder:\n"
    "    (folder / 'model.onnx').touch()\n"
    "    print(folder, flush=True)\n"
    "    sys.stdin.read()\n"
)


def begin():
    """A process that has a folder until its input ends; it and the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAYS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_it_goes_with_its_process_and_that_of_a_killed_one_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "latprof-farm-file").touch()
    (tmp_path / "latprof-farm-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    killed, left = begin()
    alive, there = begin()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert {left.parent, there.parent} == {tmp_path}
    assert (left / "model.onnx").exists()
    with own_folder() as mine, own_folder() as other:
        assert mine != other
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert not left.exists()
        assert (there / "model.onnx").exists()
    alive.communicate("")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["elsewhere", "latprof-farm-file", "latprof-farm-link"]
