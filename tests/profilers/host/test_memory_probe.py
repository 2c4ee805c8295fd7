"""How busy the memory is: what other programs go through in a moment."""

import math
import os
import subprocess
import sys

import pytest

from latprof.measurement.quiet.busy import HOG_GB_S
from latprof.profilers.host.memory_probe import memory_quotient, others_memory_gb_s

HOLDS = "x = bytearray(200 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint(flush=True)\n"
ONLY_COMPUTES = HOLDS + "while True: pass"
GOES_THROUGH = HOLDS + "while True: y = x[:]"


@pytest.fixture
def proc(tmp_path):
    """A folder like /proc; ``program`` adds one with its memory, and its threads' states."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "clear_refs").touch()
    (tmp_path / "meminfo").touch()

    def program(pid, mib, states="R", referenced_kb=0):
        folder = tmp_path / str(pid)
        for number, state in enumerate(states):
            task = folder / "task" / str(pid + number)
            task.mkdir(parents=True)
            (task / "stat").write_text(f"{pid + number} (a (b) c) {state} 1 2")
        pages = (mib << 20) // os.sysconf("SC_PAGE_SIZE")
        rest = " ".join(["0"] * 20)
        (folder / "stat").write_text(f"{pid} (a (b) c) {states[0]} {rest} {pages} 0")
        (folder / "clear_refs").write_text("")
        (folder / "smaps_rollup").write_text(f"Rss: 9 kB\nReferenced:    {referenced_kb} kB\n")
        return folder

    return tmp_path, program


def seen(root, left):
    now = iter([0.0, 0.0, 0.01, 0.02])
    return others_memory_gb_s(root, left.append, lambda: next(now))


def test_the_busiest_of_the_programs_that_run_counts(proc):
    root, program = proc
    hog = program(1000, 300, "SR", referenced_kb=250_000)
    small = program(2000, 20, referenced_kb=20_000)
    asleep = program(3000, 300, "SS", referenced_kb=300_000)
    own = program(os.getpid(), 300, referenced_kb=300_000)
    huge = program(4000, 9000, referenced_kb=300_000)
    left = []
    assert seen(root, left) == pytest.approx(1024 * 250_000 / 0.01 / 1e9)
    assert sum(left) <= 0.02, "cheap beside a visit"
    assert (hog / "clear_refs").read_text() == "1"
    for other in (small, asleep, own, huge):
        assert (other / "clear_refs").read_text() == "", "is let alone"


def test_nobody_who_runs_is_nothing_and_what_is_not_to_be_seen_is_unknown(proc, tmp_path):
    root, program = proc
    left = []
    assert seen(root, left) == 0.0
    forbidden = program(1000, 300)
    (forbidden / "clear_refs").unlink()
    (forbidden / "clear_refs").mkdir()
    assert math.isnan(seen(root, left))
    assert left == [], "nobody waits for nothing"
    assert math.isnan(others_memory_gb_s(tmp_path / "none"))


@pytest.mark.parametrize(("code", "hog"), [(GOES_THROUGH, True), (ONLY_COMPUTES, False)])
def test_on_this_host_a_stream_through_memory_is_told_from_a_loop_that_holds_as_much(
    tmp_path, code, hog
):
    assert memory_quotient() > 0
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            if not os.access(f"/proc/{other.pid}/clear_refs", os.W_OK):
                pytest.skip("this system marks no pages")
            for name in ("self", str(other.pid)):  # no other program of this host
                (tmp_path / name).symlink_to(f"/proc/{name}")
            looks = (others_memory_gb_s(tmp_path) > HOG_GB_S / 10 for _ in range(200 if hog else 3))
            assert any(looks) == hog
        finally:
            other.kill()
