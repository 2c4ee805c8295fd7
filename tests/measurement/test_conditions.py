"""Conditions of the host, read from made-up trees and from this one."""

import math
import os
import subprocess
import sys

import pytest

from latprof.measurement.quiet.conditions import (
    cgroup_cpu_stat,
    cpu_jiffies,
    other_load,
    read_conditions,
    steal_fraction,
    withheld_fraction,
)

STAT = "cpu  100 5 50 800 20 3 2 {steal} 7 0\ncpu0 1 2 3\n"


def _tree(root, **files):
    """Write files whose names have ``__`` for the slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def _visible(root):
    """What is read of the host, without the two clocks that are always there."""
    values = read_conditions(root)
    assert values.pop("monotonic_s") > 0
    assert values.pop("process_cpu_s") > 0
    return values


def test_everything_visible_is_read(tmp_path):
    root = _tree(
        tmp_path,
        proc__loadavg="0.25 0.10 0.05 1/200 4711\n",
        proc__stat=STAT.format(steal=20),
        proc__meminfo="MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 64 kB\n",
        proc__self__cgroup="0::/user/me\n",
        sys__devices__system__cpu__cpu0__cpufreq__scaling_cur_freq="2500000\n",
        **{"sys__fs__cgroup__user__me__cpu.stat": "usage_usec 9\nthrottled_usec 1500\n"},
    )

    assert _visible(root) == {
        "load1": 0.25,
        "total_jiffies": 1000.0,
        "idle_jiffies": 820.0,
        "steal_jiffies": 20.0,
        "clock_mhz": 2500.0,
        "memory_available_bytes": 65536.0,
        "throttled_us": 1500.0,
    }


def test_what_is_not_visible_is_left_out(tmp_path):
    assert _visible(tmp_path) == {}


@pytest.mark.parametrize(
    "files",
    [
        {"proc__loadavg": "", "proc__stat": "", "proc__meminfo": ""},
        {"proc__loadavg": "x y", "proc__stat": "cpu a b c", "proc__meminfo": "MemAvailable: x kB"},
        {"proc__stat": "cpu  1 2 3 4\n", "proc__cpuinfo": "cpu MHz : fast"},
        {"proc__loadavg": "nan", "proc__stat": "\0\0\0", "proc__self__cgroup": "\n:\n0::"},
        {"proc__self__cgroup": "9:cpu", "sys__fs__cgroup__cpu.stat": "throttled_usec\n\n x y z"},
    ],
)
def test_odd_content_is_left_out(tmp_path, files):
    assert _visible(_tree(tmp_path, **files)) == {}


def test_the_clock_is_read_from_the_processors_list_where_no_driver_shows_it(tmp_path):
    root = _tree(tmp_path, proc__cpuinfo="processor : 0\ncpu MHz\t\t: 2600.5\n")

    assert _visible(root) == {"clock_mhz": 2600.5}


def test_throttled_time_of_the_older_control_groups_is_in_nanoseconds(tmp_path):
    root = _tree(tmp_path, proc__self__cgroup="4:cpu,cpuacct:/box\n0::/\n")
    folder = root / "sys/fs/cgroup/cpu/box"
    folder.mkdir(parents=True)
    (folder / "cpu.stat").write_text("nr_periods 1\nthrottled_time 5000\n")

    assert cgroup_cpu_stat(root) == {"nr_periods": 1.0, "throttled_usec": 5.0}


def test_the_steal_fraction_is_that_of_the_time_between(tmp_path):
    before = read_conditions(_tree(tmp_path, proc__stat=STAT.format(steal=20)))
    after = {**before, "steal_jiffies": 45.0, "total_jiffies": before["total_jiffies"] + 100}

    assert steal_fraction(before, after) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"total_jiffies": 1.0}, {"total_jiffies": 2.0}),
        ({"total_jiffies": 5.0, "steal_jiffies": 1.0},) * 2,
        (
            {"total_jiffies": 5.0, "steal_jiffies": 1.0},
            {"total_jiffies": 4.0, "steal_jiffies": 0.0},
        ),
    ],
)
def test_the_steal_fraction_is_unknown_where_nothing_shows_it(before, after):
    assert math.isnan(steal_fraction(before, after))


def test_the_steal_fraction_stays_within_its_limits():
    before = {"total_jiffies": 0.0, "steal_jiffies": 5.0}

    assert steal_fraction(before, {"total_jiffies": 1.0, "steal_jiffies": 4.0}) == 0.0
    assert steal_fraction(before, {"total_jiffies": 1.0, "steal_jiffies": 9.0}) == 1.0


BEFORE = {
    "monotonic_s": 10.0,
    "process_cpu_s": 1.0,
    "total_jiffies": 5000.0,
    "idle_jiffies": 3000.0,
    "steal_jiffies": 100.0,
    "throttled_us": 0.0,
}


def _later(**changes):
    return {name: value + changes.get(name, 0) for name, value in BEFORE.items()}


def test_time_withheld_is_steal_of_the_wanted_time_and_throttling():
    per_s = os.sysconf("SC_CLK_TCK")
    ticks = {"total_jiffies": 4 * per_s, "idle_jiffies": 2 * per_s, "steal_jiffies": 0.4 * per_s}

    assert withheld_fraction(BEFORE, _later(monotonic_s=1.0, **ticks)) == pytest.approx(0.2)
    after = _later(monotonic_s=1.0, throttled_us=0.3e6, **ticks)
    assert withheld_fraction(BEFORE, after) == pytest.approx(0.5)
    only_throttled = {"monotonic_s": 11.0, "throttled_us": 0.3e6}
    assert withheld_fraction(BEFORE, only_throttled) == pytest.approx(0.3)


def test_one_tick_of_steal_in_a_short_moment_is_no_evidence():
    assert withheld_fraction(BEFORE, _later(monotonic_s=0.02, steal_jiffies=1)) == 0
    assert withheld_fraction(BEFORE, _later(monotonic_s=0.02, steal_jiffies=2)) >= 0.5


CORES = """cpu  10 0 0 10 0 0 0 4 0 0
cpu0 1 0 0 9 0 0 0 1 0 0
cpu1 2 0 0 8 0 0 0 1 0 0
cpu2 9 0 0 1 0 0 0 1 0 0
intr 1 2 3
"""


@pytest.mark.parametrize(
    ("cores", "expected"),
    [((), [10, 10, 4]), ((0,), [1, 9, 1]), ((0, 1), [3, 17, 2]), ((0, 7), [10, 10, 4])],
)
def test_ticks_are_those_of_the_cores_asked_for(tmp_path, cores, expected):
    ticks = cpu_jiffies(_tree(tmp_path, proc__stat=CORES), cores)

    assert [ticks[0], ticks[3], ticks[7]] == expected


def _load(cores, idle, own=1.0):
    """Of others, in a second in which ``own`` cores worked for this process."""
    per_s = os.sysconf("SC_CLK_TCK")
    after = _later(
        monotonic_s=1.0, process_cpu_s=own, total_jiffies=cores * per_s, idle_jiffies=idle * per_s
    )
    return other_load(BEFORE, after)


def test_the_load_of_others_is_their_share_of_the_spare_cores():
    unsure = 2 / os.sysconf("SC_CLK_TCK")
    assert _load(cores=4, idle=1.5) == pytest.approx((1.5 - unsure) / 3)
    assert _load(cores=4, idle=3) == 0
    assert _load(cores=64, idle=60) < 0.1, "a few busy cores of many are no load"
    assert _load(cores=1, idle=0, own=0.5) == pytest.approx(0.5 - unsure)
    assert _load(cores=2, idle=0, own=1.5) == pytest.approx(0.5 - unsure)


@pytest.mark.parametrize("function", [withheld_fraction, other_load])
@pytest.mark.parametrize("after", [{}, BEFORE, {"monotonic_s": 11.0}])
def test_what_cannot_be_seen_is_not_known(function, after):
    assert math.isnan(function(BEFORE, after))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_host_shows_its_load_and_memory():
    conditions = read_conditions()

    assert conditions["total_jiffies"] > conditions["steal_jiffies"] >= 0
    assert conditions["memory_available_bytes"] > 0
    assert conditions["load1"] >= 0


def test_the_module_loads_no_heavy_library():
    code = (
        "import sys, latprof.measurement.quiet.conditions;"
        "print(sorted({'numpy', 'psutil', 'onnx'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"
