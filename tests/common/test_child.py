"""Processes of ours: what they see, what bounds them, and that nothing of them is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command_line import LONGEST_S

from latprof.common.children.child import ENDED_WELL, Child, kill_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

WITH_DESCENDANTS = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
other_session = subprocess.Popen(["sleep", "1000"], start_new_session=True)
orphan = subprocess.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], capture_output=True)
open(os.path.join(os.environ["TMPDIR"], "left"), "w").close()
pids = [os.getpid(), os.getppid(), child.pid, other_session.pid, int(orphan.stdout)]
print(*pids, os.environ["TMPDIR"], flush=True)
"""
HANG = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass\n"


def script(folder, text):
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


def described(line):
    *pids, folder = line.split()
    return [int(pid) for pid in pids], Path(folder.decode())


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_the_end_of(pids):
    deadline = time.monotonic() + LONGEST_S
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{alive} live on"
        time.sleep(0.01)


@pytest.mark.parametrize("ending", ["close", "kill", "kill_all", "its own end", "its death"])
def test_nothing_that_it_started_is_left(tmp_path, ending):
    child = Child(script(tmp_path, WITH_DESCENDANTS + "sys.stdin.read()"))
    pids, folder = described(child.read_line(LONGEST_S, 1000))
    assert pids[0] == child.pid
    assert all(map(is_alive, pids))
    assert (folder / "left").exists()
    if ending == "its own end":
        child.end_input()
        assert child.wait(LONGEST_S) == ENDED_WELL
    elif ending == "its death":
        os.kill(pids[0], signal.SIGSEGV)
        assert child.wait(LONGEST_S) == "was killed by SIGSEGV"
    elif ending == "kill_all":
        kill_all()
    else:
        getattr(child, ending)()
    assert not any(map(is_alive, pids))
    assert not folder.exists()
    child.kill()


OWNER = """
import sys, time
from latprof.common.children.child import Child
child = Child(sys.argv[1])
print(child.read_line(120.0, 1000).decode(), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("victims", [["owner"], ["keeper"], ["child"], ["owner", "child"]])
def test_a_hung_one_does_not_outlive_a_kill(tmp_path, victims):
    path = script(tmp_path, WITH_DESCENDANTS + HANG)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, path], stdout=subprocess.PIPE)
    with owner:
        pids, folder = described(owner.stdout.readline())
        named = {"owner": owner.pid, "child": pids[0], "keeper": pids[1]}
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):  # the first's death may have ended it
                os.kill(named[victim], signal.SIGKILL)
        if victims == ["keeper"]:  # it would have ended the others
            wait_for_the_end_of(pids[:2])
            for pid in pids[2:]:
                os.kill(pid, signal.SIGKILL)
        else:
            wait_for_the_end_of(pids)
            end = time.monotonic() + LONGEST_S
            while folder.exists():  # removed once all of them have ended
                assert time.monotonic() < end
                time.sleep(0.01)
        owner.kill()


def test_a_fork_of_the_owner_keeps_nothing_alive(tmp_path):
    path = script(tmp_path, WITH_DESCENDANTS + HANG)
    forking = OWNER.replace(
        "time.sleep", "import os; os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep"
    )
    owner = subprocess.Popen([sys.executable, "-c", forking, path], stdout=subprocess.PIPE)
    forked = set()
    try:
        pids, _ = described(owner.stdout.readline())
        forked = {int(owner.stdout.readline()) for _ in range(2)} - {owner.pid}
        owner.kill()
        wait_for_the_end_of(pids)
        assert all(map(is_alive, forked))
    finally:
        for pid in (owner.pid, *forked):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        owner.wait()
        owner.stdout.close()


def test_it_imports_nothing_from_the_working_directory(tmp_path, monkeypatch):
    for name in ("dataclasses", "json", "sitecustomize", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('from the working directory')")
    (tmp_path / "latprof").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""), prepend=os.pathsep)
    text = (
        "import dataclasses, json, subprocess, sys, latprof.errors\n"
        "subprocess.run([sys.executable, '-c', 'import json'], check=True)\nprint('fine')"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Child(script(elsewhere, text)) as child:
        assert child.read_all(LONGEST_S, 1000) == b"fine\n"


def test_its_telemetry_is_off_whatever_was_set(tmp_path, monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    with Child(script(tmp_path, "import os\nprint(os.environ['ORT_DISABLE_TELEMETRY'])")) as child:
        assert child.read_line(LONGEST_S, 10) == b"1"


def test_a_hang_ends_at_the_deadline_whether_it_reads_or_writes(tmp_path):
    with Child(script(tmp_path, HANG)) as child:
        with pytest.raises(TimeoutError):
            child.read_line(0.2, 10)
        with pytest.raises(TimeoutError):
            child.write(b"x" * (1 << 22), 0.2)
        with pytest.raises(TimeoutError):
            child.read(1, 0.2)
        assert child.wait(0.1) is None
        child.kill()
        assert child.wait(LONGEST_S) == "was killed by SIGKILL"


def test_an_endless_line_is_bounded(tmp_path):
    with Child(script(tmp_path, "while True: print('x' * 99999, end='')")) as child:
        with pytest.raises(ValueError, match="more than 1000000"):
            child.read_line(LONGEST_S, 1_000_000)
        with pytest.raises(ValueError, match="more than 1000000"):
            child.read_all(LONGEST_S, 1_000_000)


def test_lines_and_bytes_come_as_they_were_written(tmp_path):
    text = (
        "import sys\nfor line in sys.stdin.buffer:\n"
        "    sys.stdout.buffer.write(line * 2)\n    sys.stdout.flush()"
    )
    with Child(script(tmp_path, text)) as child:
        child.write(b"one\ntwo\n", LONGEST_S)
        assert child.read_line(LONGEST_S, 3) == b"one"
        assert child.read(6, LONGEST_S) == b"one\ntw"
        child.write(b"x" * 300_000 + b"\n", LONGEST_S)
        child.end_input()
        rest = child.read_all(LONGEST_S, 1 << 20)
        assert rest == b"o\ntwo\n" + (b"x" * 300_000 + b"\n") * 2
        with pytest.raises(EOFError):
            child.read_line(LONGEST_S, 10)
        with pytest.raises(BrokenPipeError):
            child.write(b"more", LONGEST_S)


def test_its_status_is_told_and_sigint_is_ignored(tmp_path):
    with Child(
        script(tmp_path, "import os, signal\nos.kill(0, signal.SIGINT)\nos._exit(7)")
    ) as child:
        assert child.wait(LONGEST_S) == "ended with status 7"


def test_a_bare_one_has_the_standard_library_alone(tmp_path):
    text = "import json, sys\ntry: import numpy\nexcept ImportError: print(*sys.argv[1:])"
    with Child(script(tmp_path, text), "a", "b", bare=True) as child:
        assert child.read_all(LONGEST_S, 100) == b"a b\n"
