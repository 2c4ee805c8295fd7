"""What a host is and what spoils its timings, read from made-up trees and from this host."""

import os
import platform
import sys

import pytest

from latprof.profilers.host.checks import INVISIBLE, run_checks
from latprof.profilers.host.facts import Host, host_facts, parse_cores, processor_name
from latprof.profilers.host.host_window import observe

CPU = "sys/devices/system/cpu"
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: {model}
model name\t: {name}
stepping\t: 7
cpu MHz\t\t: {mhz}
cache size\t: 36608 KB
flags\t\t: fpu sse sse2 avx fma avx2 avx512f avx512_vnni {flags}
bogomips\t: {bogomips}

processor\t: 1
model name\t: another
"""
PI = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
QUIET = "cpu  100 0 50 {idle} 0 0 0 {steal} 0 0\n"


def _cpuinfo(name="Intel(R) Xeon(R) Processor", **values):
    values = {"model": 85, "mhz": "2500.0", "flags": "", "bogomips": "5000.00", **values}
    return CPUINFO.format(name=name, **values)


@pytest.fixture
def tree(tmp_path):
    """Write files below a folder; return a function that makes the host they describe."""

    def make(files=None, **options):
        _write(tmp_path, files or {})
        options.setdefault("environ", {})
        options.setdefault("allowed_cores", frozenset({0, 1}))
        return Host(tmp_path, window_s=0.0, **options)

    return make


def _write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _check(host, name):
    return next(check for check in run_checks(host) if check.name == name)


# Names and facts -------------------------------------------------------------------------------


def test_a_processor_is_named_with_all_that_tells_it_apart(tree):
    host = tree({
        "proc/cpuinfo": _cpuinfo(),
        f"{CPU}/cpu0/cache/index0/level": "1\n",
        f"{CPU}/cpu0/cache/index2/level": "2\n",
        f"{CPU}/cpu0/cache/index2/type": "Unified\n",
        f"{CPU}/cpu0/cache/index2/size": "1024K\n",
        f"{CPU}/cpu0/cache/index3/level": "3\n",
        f"{CPU}/cpu0/cache/index3/type": "Unified\n",
        f"{CPU}/cpu0/cache/index3/size": "36608K\n",
    })  # fmt: skip

    assert processor_name(host) == (
        "Intel(R) Xeon(R) Processor (family 6 model 85 stepping 7, 2500 MHz, L2 1024K, L3 36608K, "
        "avx512 avx512-vnni)"
    )


@pytest.mark.parametrize(
    "other",
    [
        {"model": 106},
        {"name": "Intel(R) Xeon(R) Gold 6248"},
        {"flags": "amx_tile"},
        {"bogomips": "5800.00"},
    ],
)
def test_another_processor_reads_differently(tree, other):
    first = processor_name(tree({"proc/cpuinfo": _cpuinfo()}))

    assert processor_name(tree({"proc/cpuinfo": _cpuinfo(**other)})) != first


@pytest.mark.parametrize(
    "again", [{"mhz": "3701.2"}, {"bogomips": "4999.98"}, {"bogomips": "5000.34"}]
)
def test_the_same_processor_reads_the_same_after_another_boot(tree, again):
    first = processor_name(tree({"proc/cpuinfo": _cpuinfo()}))

    assert processor_name(tree({"proc/cpuinfo": _cpuinfo(**again)})) == first


def test_the_clock_in_a_processors_name_counts_first(tree):
    host = tree({"proc/cpuinfo": _cpuinfo(name="Intel(R) Xeon(R) CPU @ 2.20GHz")})

    assert "2200 MHz" in processor_name(host)


def test_a_board_is_named_with_its_core_types(tree):
    host = tree({
        "proc/cpuinfo": PI + "\n" + PI,
        "proc/device-tree/model": "Raspberry Pi 4 Model B\0",
        f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": "1800000\n",
    })  # fmt: skip

    name = processor_name(host)

    assert name == "Raspberry Pi 4 Model B (2x 0x41/0xd08 r0x0p3, 1800 MHz, neon)"


def test_a_host_without_a_processor_list_still_has_a_name(tree, monkeypatch):
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")

    monkeypatch.setattr(sys, "platform", "win32")
    assert processor_name(tree()) == "arm64"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert processor_name(tree())


@pytest.mark.parametrize(
    ("text", "cores"),
    [("0-3,8\n", {0, 1, 2, 3, 8}), ("0", {0}), ("", set()), ("a-b", set()), ("0-", set())],
)
def test_lists_of_cores_are_parsed(text, cores):
    assert parse_cores(text) == cores


def test_facts_are_in_order_and_never_missing(tree):
    host = tree({"proc/meminfo": "MemTotal:  2097152 kB\n", f"{CPU}/online": "0-3\n"})

    facts = host_facts(host)

    assert list(facts) == [
        "processor",
        "cores",
        "memory",
        "governor",
        "turbo",
        "virtualization",
        "kernel",
        "python",
        "numpy",
        "onnxruntime",
    ]
    assert (facts["cores"], facts["memory"], facts["governor"]) == (
        "2 of 4",
        "2.0 GiB",
        "not visible",
    )
    assert all(facts.values())


def test_this_host_has_facts():
    assert all(host_facts().values())
    assert processor_name() == processor_name()


# Checks ----------------------------------------------------------------------------------------


def test_nothing_visible_is_said_and_does_not_fail(tree):
    results = {check.name: check for check in run_checks(tree())}

    for name in ("frequency governor", "turbo clock", "swap", "free memory", "steal time"):
        assert results[name].finding == INVISIBLE
    assert results["load now"].status == "WARN"
    assert not [check for check in results.values() if check.status == "FAIL"]


@pytest.mark.parametrize("content", ["", "\0\xff", "x" * 5000, "-1", "cpu", "a:b:c\n" * 50])
def test_odd_content_never_breaks_a_check(tree, content):
    names = [
        "proc/stat", "proc/meminfo", "proc/vmstat", "proc/cpuinfo", "proc/self/cgroup",
        "proc/7/stat", "sys/fs/cgroup/cpu.stat", "sys/fs/cgroup/cpu.max",
        f"{CPU}/online", f"{CPU}/cpufreq/boost", f"{CPU}/cpu0/cpufreq/scaling_governor",
        f"{CPU}/cpu0/topology/thread_siblings_list", f"{CPU}/cpu0/cache/index3/level",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_count",
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "sys/kernel/mm/transparent_hugepage/enabled", "sys/class/power_supply/BAT0/status",
    ]  # fmt: skip
    host = tree(dict.fromkeys(names, content))

    assert {check.status for check in run_checks(host)} <= {"OK", "WARN", "FAIL"}
    assert processor_name(host)
    assert host_facts(host)


VISIBLE = [
    ("frequency governor", {f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n"}, "OK"),
    ("frequency governor", {f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n"}, "WARN"),
    ("turbo clock", {f"{CPU}/intel_pstate/no_turbo": "1\n"}, "OK"),
    ("turbo clock", {f"{CPU}/intel_pstate/no_turbo": "0\n"}, "WARN"),
    ("turbo clock", {f"{CPU}/cpufreq/boost": "0\n"}, "OK"),
    ("turbo clock", {f"{CPU}/cpufreq/boost": "1\n"}, "WARN"),
    ("cores", {f"{CPU}/online": "0-1\n"}, "OK"),
    ("cores", {f"{CPU}/online": "0-7\n"}, "WARN"),
    ("processor quota", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, "OK"),
    ("processor quota", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, "WARN"),
    ("processor quota", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, "FAIL"),
    (
        "processor quota",
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        "FAIL",
    ),
    ("processor quota", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, "OK"),
    ("hyper-threads", {f"{CPU}/cpu0/topology/thread_siblings_list": "0\n"}, "OK"),
    ("hyper-threads", {f"{CPU}/cpu0/topology/thread_siblings_list": "0,16\n"}, "WARN"),
    ("virtual machine", {"proc/cpuinfo": _cpuinfo()}, "OK"),
    ("virtual machine", {"proc/cpuinfo": _cpuinfo(flags="hypervisor")}, "WARN"),
    ("virtual machine", {"sys/hypervisor/type": "xen\n"}, "WARN"),
    ("swap", {"proc/meminfo": "SwapTotal: 0 kB\nSwapFree: 0 kB\n"}, "OK"),
    ("swap", {"proc/meminfo": "SwapTotal: 2048 kB\nSwapFree: 1024 kB\n"}, "WARN"),
    ("free memory", {"proc/meminfo": "MemAvailable: 9000000 kB\n"}, "OK"),
    ("free memory", {"proc/meminfo": "MemAvailable: 90000 kB\n"}, "WARN"),
    (
        "clock source",
        {"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc"},
        "OK",
    ),
    (
        "clock source",
        {"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"},
        "WARN",
    ),
    ("thermal throttling", {f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "0\n"}, "OK"),
    ("thermal throttling", {f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "12\n"}, "WARN"),
    ("huge pages", {"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never"}, "OK"),
    ("power supply", {"sys/class/power_supply/BAT0/status": "Charging\n"}, "OK"),
    ("power supply", {"sys/class/power_supply/BAT0/status": "Discharging\n"}, "WARN"),
]


@pytest.mark.parametrize(("name", "files", "status"), VISIBLE)
def test_what_is_visible_is_judged(tree, name, files, status):
    check = _check(tree(files), name)

    assert check.status == status
    assert check.finding != INVISIBLE
    assert bool(check.remedy) == (status != "OK")


def test_thread_settings_of_the_environment_are_named(tree):
    quiet = _check(tree(environ={"PATH": "/bin", "OMP_NUM_THREADS": ""}), "thread settings")
    loud = _check(tree(environ={"OMP_NUM_THREADS": "1"}), "thread settings")

    assert quiet.status == "OK"
    assert (loud.status, loud.finding) == ("WARN", "OMP_NUM_THREADS=1")
    assert "unset OMP_NUM_THREADS" in loud.remedy


def _stat(pid_name, ticks):
    return f"1 ({pid_name}) R " + " ".join(["0"] * 10) + f" {ticks} 0 0 0\n"


def test_in_a_cpuset_the_cores_of_others_are_no_room(tree, tmp_path):
    """Three cores are idle, and the only one that this process may use is taken."""
    row = "{name} {busy} 0 0 {idle} 0 0 0 0 0 0\n"

    def write(busy):
        rows = [("cpu ", busy, 4000), *((f"cpu{core}", 0, 1000) for core in range(3))]
        rows.append(("cpu3", busy, 1000 - busy))
        text = "".join(row.format(name=n, busy=b, idle=idle + busy) for n, b, idle in rows)
        (tmp_path / "proc/stat").write_text(text)

    files = {"proc/stat": "", f"{CPU}/online": "0-3"}
    host = tree(files, allowed_cores=frozenset({3}), sleep=lambda _: write(100))
    write(0)
    results = {check.name: check for check in run_checks(host)}
    assert results["load now"].status == "FAIL"
    assert "1.00 of 1 cores busy" in results["load now"].finding
    assert results["cores"].status == "WARN"
    write(0)
    anywhere = tree(files, allowed_cores=frozenset(range(4)), sleep=lambda _: write(100))
    write(0)
    assert _check(anywhere, "load now").status != "FAIL"


@pytest.mark.parametrize(
    ("after", "load", "steal"),
    [
        ({"idle": 200, "steal": 0}, "OK", "OK"),
        ({"idle": 160, "steal": 0}, "WARN", "OK"),
        ({"idle": 60, "steal": 0}, "FAIL", "OK"),
        ({"idle": 199, "steal": 1}, "OK", "WARN"),
        ({"idle": 180, "steal": 20}, "WARN", "FAIL"),
    ],
)
def test_load_and_steal_are_those_of_the_window(tree, tmp_path, after, load, steal):
    def pass_time(_):
        busy = 200 - after["idle"] - after["steal"]
        text = f"cpu  {100 + busy} 0 50 {1000 + after['idle']} 0 0 0 {9 + after['steal']} 0 0\n"
        (tmp_path / "proc/stat").write_text(text)

    files = {"proc/stat": QUIET.format(idle=1000, steal=9), f"{CPU}/online": "0-1"}
    results = {check.name: check for check in run_checks(tree(files, sleep=pass_time))}

    assert (results["load now"].status, results["steal time"].status) == (load, steal)


def test_busy_processes_are_named_and_this_one_is_not(tree, tmp_path):
    own = f"proc/{os.getpid()}/stat"
    before = {"proc/7/stat": _stat("make) (x", 100), "proc/8/stat": _stat("idle", 5)}

    def pass_time(_):
        _write(tmp_path, {"proc/7/stat": _stat("make) (x", 900), own: _stat("me", 900)})

    host = tree({**before, own: _stat("me", 1)}, sleep=pass_time)
    window = observe(host)
    _write(tmp_path, before)
    check = _check(host, "other processes")

    assert [(ticks, name, pid) for ticks, name, pid in window.processes] == [(800.0, "make) (x", 7)]
    assert check.status == "WARN"
    assert "make) (x (pid 7)" in check.finding
    assert "me (pid" not in check.finding


def test_swapping_and_throttling_in_the_window_fail(tree, tmp_path):
    quota = "sys/fs/cgroup/cpu.stat"
    files = {
        "proc/vmstat": "pswpin 5\npswpout 5\n",
        "proc/meminfo": "SwapTotal: 10 kB\nSwapFree: 10 kB\n",
        quota: "throttled_usec 100\n",
    }

    def pass_time(_):
        _write(tmp_path, {"proc/vmstat": "pswpin 5\npswpout 9\n", quota: "throttled_usec 4100\n"})

    results = {check.name: check for check in run_checks(tree(files, sleep=pass_time))}

    assert results["swap"].status == "FAIL"
    assert "4 pages" in results["swap"].finding
    assert results["processor quota"].status == "FAIL"
    assert "4.0 ms" in results["processor quota"].finding


def test_this_host_is_checked():
    results = run_checks()

    names = [check.name for check in results]
    assert len(names) == len(set(names)) >= 15
    for check in results:
        assert check.status in {"OK", "WARN", "FAIL"}
        assert check.finding
        assert "\n" not in check.finding + check.remedy
        assert bool(check.remedy) == (check.status != "OK")
