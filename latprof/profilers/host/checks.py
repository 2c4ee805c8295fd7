"""What spoils timings on a host, and what to do about it: the checks behind ``latprof doctor``.

Every check is a function of the host and of one :class:`Window`, two readings of the kernel's
counters a moment apart. What cannot be seen is said to be invisible, never taken for good.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from latprof.measurement.quiet.conditions import cgroup_cpu_stat
from latprof.profilers.host.facts import Host, parse_cores
from latprof.profilers.host.host_window import Window, counted_cores, observe

Status = Literal["OK", "WARN", "FAIL"]

INVISIBLE = "not visible here (container / virtual machine)"
_CPU = "sys/devices/system/cpu"
_MIN_MEMORY_GIB = 1.0
#: By so many ticks of the kernel's clock may a difference of two counters be off.
_UNSURE_TICKS = 2
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TVM_NUM_THREADS",
)


@dataclass(frozen=True)
class Check:
    """One finding about the host: ``remedy`` is empty where nothing needs to be done."""

    name: str
    status: Status
    finding: str
    remedy: str = ""


def run_checks(host: Host | None = None, *, momentary: bool = False) -> list[Check]:
    """Judge everything that spoils timings on a host, in about two seconds at most.

    The checks are in the order to show them. ``momentary`` ones are those of what is happening now
    and may be over in a minute; they take the host's window and some milliseconds.
    """
    host = host or Host()
    window = observe(host)
    return [check(host, window) for check in (_MOMENTARY if momentary else _CHECKS)]


# The checks, in the order they are shown ---------------------------------------------------


def _governor(host: Host, _: Window) -> Check:
    name = "frequency governor"
    governor = host.governor
    if not governor:
        return Check(name, "OK", INVISIBLE)
    if governor == "performance":
        return Check(name, "OK", governor)
    return Check(
        name,
        "WARN",
        f"{governor}: the clock follows the load",
        "sudo cpupower frequency-set --governor performance",
    )


def _turbo(host: Host, _: Window) -> Check:
    name = "turbo clock"
    if host.turbo is None:
        return Check(name, "OK", INVISIBLE)
    if not host.turbo:
        return Check(name, "OK", "off")
    intel = host.read(f"{_CPU}/intel_pstate/no_turbo", 8)
    switch = f"1 | sudo tee /{_CPU}/intel_pstate/no_turbo" if intel else ""
    switch = switch or f"0 | sudo tee /{_CPU}/cpufreq/boost"
    return Check(
        name, "WARN", "on: the clock depends on temperature and neighbours", f"echo {switch}"
    )


def _load(host: Host, window: Window) -> Check:
    name = "load now"
    if not window.total:
        return Check(name, "WARN", INVISIBLE, "make sure that nothing else runs")
    cores = len(counted_cores(host))
    busy, idle = cores * (1 - window.idle_share), cores * window.idle_share
    finding = f"{busy:.2f} of {cores} cores busy over {window.wall_s:.1f} s"
    remedy = "stop other work, or wait until it ends"
    if idle < 0.9:
        return Check(name, "FAIL", f"{finding}: no core is free", remedy)
    unsure = _UNSURE_TICKS * cores / window.total
    if busy - unsure > max(0.1, 0.05 * cores):
        return Check(name, "WARN", finding, remedy)
    return Check(name, "OK", finding)


def _busy_processes(host: Host, window: Window) -> Check:
    name = "other processes"
    if not host.paths("proc/[0-9]*"):
        return Check(name, "OK", INVISIBLE)
    ticks_per_s = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    shares = [(t / ticks_per_s / window.wall_s, n, pid) for t, n, pid in window.processes]
    busy = [f"{n} (pid {pid}) {100 * share:.0f} %" for share, n, pid in shares if share >= 0.05]
    if not busy:
        return Check(name, "OK", "none takes 5 % of a core")
    return Check(name, "WARN", "busy: " + ", ".join(busy[:5]), "stop them while measuring")


def _cores(host: Host, _: Window) -> Check:
    name = "cores"
    allowed, online = len(host.allowed_cores), len(host.online_cores)
    if allowed < online:
        return Check(
            name,
            "WARN",
            f"this process may use {allowed} of {online} cores; others may use the same ones",
            "reserve the cores (isolcpus or an exclusive cpuset)",
        )
    if online == 1:
        return Check(
            name, "WARN", "one core: the system's own work interrupts runs", "use two cores or more"
        )
    return Check(name, "OK", f"all {online}")


def _quota(host: Host, window: Window) -> Check:
    name = "processor quota"
    quota = host.cpu_quota
    remedy = "raise or remove the container's CPU limit"
    if window.throttled_us > 0:
        finding = f"held back for {window.throttled_us / 1000:.1f} ms just now"
        return Check(name, "FAIL", finding, remedy)
    past = cgroup_cpu_stat(host.root).get("throttled_usec", 0.0)
    if quota is not None and quota < len(host.online_cores):
        finding = f"{quota:g} cores' worth of time, held back for {past / 1e6:.1f} s so far"
        return Check(name, "WARN" if quota >= 1 else "FAIL", finding, remedy)
    return Check(name, "OK", "none")


def _siblings(host: Host, _: Window) -> Check:
    name = "hyper-threads"
    groups = {
        parse_cores(host.read(f"{_CPU}/cpu{core}/topology/thread_siblings_list", 256))
        for core in host.allowed_cores
    } - {frozenset()}
    if not groups:
        return Check(name, "OK", INVISIBLE)
    if max(map(len, groups)) == 1:
        return Check(name, "OK", "each core is a whole one, as far as it shows")
    return Check(
        name,
        "WARN",
        "two logical cores share one physical core",
        "use at most half the cores, or echo off | sudo tee /sys/devices/system/cpu/smt/control",
    )


def _virtual_machine(host: Host, _: Window) -> Check:
    name = "virtual machine"
    if not host.virtualization:
        return Check(name, "OK", "no hypervisor seen")
    return Check(
        name,
        "WARN",
        f"{host.virtualization}: clock and caches are shared with machines that cannot be seen",
        "keep paired measurement on; use bare metal for absolute numbers",
    )


def _steal(_: Host, window: Window) -> Check:
    name = "steal time"
    if not window.total:
        return Check(name, "OK", INVISIBLE)
    finding = f"{100 * window.steal_share:.1f} % over {window.wall_s:.1f} s"
    if window.steal_share > 0.02 and window.jiffies[7] > _UNSURE_TICKS:
        return Check(name, "FAIL", finding, "measure later, or on a machine that is not shared")
    if window.steal_share > 0:
        return Check(name, "WARN", finding, "measure later, or on a machine that is not shared")
    return Check(name, "OK", finding)


def _swap(host: Host, window: Window) -> Check:
    name = "swap"
    values = _memory_kib(host)
    if "SwapTotal" not in values:
        return Check(name, "OK", INVISIBLE)
    used = values["SwapTotal"] - values.get("SwapFree", 0)
    remedy = "free memory, then sudo swapoff -a"
    if window.swapped_pages > 0:
        return Check(name, "FAIL", f"{window.swapped_pages:.0f} pages moved just now", remedy)
    if used > 0:
        return Check(name, "WARN", f"{used / 1024:.0f} MiB in use", remedy)
    return Check(name, "OK", "none in use")


def _memory(host: Host, _: Window) -> Check:
    name = "free memory"
    values = _memory_kib(host)
    if "MemAvailable" not in values:
        return Check(name, "OK", INVISIBLE)
    gib = values["MemAvailable"] / 2**20
    if gib < _MIN_MEMORY_GIB:
        return Check(name, "WARN", f"{gib:.1f} GiB", f"free at least {_MIN_MEMORY_GIB:g} GiB")
    return Check(name, "OK", f"{gib:.1f} GiB")


def _memory_kib(host: Host) -> dict[str, int]:
    rows = re.findall(r"^(\w+):\s+(\d+) kB$", host.read("proc/meminfo"), re.MULTILINE)
    return {key: int(value) for key, value in rows}


def _thread_settings(host: Host, _: Window) -> Check:
    name = "thread settings"
    found = [f"{key}={host.environ[key]}" for key in _THREAD_VARIABLES if host.environ.get(key)]
    if not found:
        return Check(name, "OK", "no variable of the environment changes them")
    return Check(
        name,
        "WARN",
        ", ".join(found),
        f"unset {' '.join(item.partition('=')[0] for item in found)}; use --threads",
    )


def _clock_source(host: Host, _: Window) -> Check:
    name = "clock source"
    source = host.read(f"{_CLOCK}/current_clocksource", 64)
    if not source:
        return Check(name, "OK", INVISIBLE)
    if source in {"hpet", "acpi_pm", "jiffies", "refined-jiffies"}:
        return Check(
            name,
            "WARN",
            f"{source}: each reading takes microseconds",
            f"echo tsc | sudo tee /{_CLOCK}/current_clocksource",
        )
    return Check(name, "OK", source)


_CLOCK = "sys/devices/system/clocksource/clocksource0"


def _thermal(host: Host, _: Window) -> Check:
    name = "thermal throttling"
    paths = host.paths(f"{_CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [count for count in map(host.number, paths) if count is not None]
    if not counts:
        return Check(name, "OK", INVISIBLE)
    if max(counts) > 0:
        finding = f"{max(counts):.0f} times since boot"
        return Check(name, "WARN", finding, "improve cooling, or lower the highest clock")
    return Check(name, "OK", "never since boot")


def _huge_pages(host: Host, _: Window) -> Check:
    name = "huge pages"
    modes = host.read("sys/kernel/mm/transparent_hugepage/enabled", 128)
    chosen = re.search(r"\[(\w+)\]", modes)
    return Check(name, "OK", chosen[1] if chosen else INVISIBLE)


def _power(host: Host, _: Window) -> Check:
    name = "power supply"
    supplies = host.paths("sys/class/power_supply/*")
    states = [host.read(f"{path}/status", 32) for path in supplies]
    if "Discharging" in states:
        return Check(name, "WARN", "on battery: clocks are lowered", "connect the power supply")
    return Check(name, "OK", "mains, or no battery seen")


def _timer(_: Host, __: Window) -> Check:
    name = "timer"
    steps = []
    for _i in range(200):
        first = second = time.perf_counter_ns()
        while second == first:
            second = time.perf_counter_ns()
        steps.append(second - first)
    step_us = float(np.median(steps)) / 1000
    if step_us > 10:
        return Check(name, "WARN", f"steps of {step_us:.1f} us", "see the clock source")
    return Check(name, "OK", f"steps of {step_us:.2f} us")


def _steady_clock(host: Host, _: Window) -> Check:
    """Time a small fixed workload again and again: products of matrices that fit the cache."""
    name = "steady speed"
    generator = np.random.default_rng(0)
    left = generator.standard_normal((128, 128))
    right = generator.standard_normal((128, 128))
    durations: list[float] = []
    end = time.perf_counter() + host.window_s
    while time.perf_counter() < end or len(durations) < 20:
        start = time.perf_counter()
        for _i in range(4):
            # Not a BLAS product, which may start threads of its own.
            np.einsum("ij,jk->ik", left, right, optimize=False)
        durations.append(time.perf_counter() - start)
    low, middle, high = np.percentile(durations[2:], [5, 50, 95])
    spread = float((high - low) / middle)
    finding = f"a fixed loop varies by {100 * spread:.0f} % (5th to 95th percentile)"
    if spread > 0.1:
        return Check(name, "WARN", finding, "keep paired measurement on; find what else runs")
    return Check(name, "OK", finding)


_CHECKS: tuple[Callable[[Host, Window], Check], ...] = (
    _load,
    _busy_processes,
    _steady_clock,
    _governor,
    _turbo,
    _thermal,
    _power,
    _cores,
    _siblings,
    _quota,
    _virtual_machine,
    _steal,
    _memory,
    _swap,
    _thread_settings,
    _clock_source,
    _timer,
    _huge_pages,
)
#: Of these, what is happening now.
_MOMENTARY = (_load, _busy_processes, _quota, _steal, _swap)
