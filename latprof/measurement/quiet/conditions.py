"""The state of the host around a measurement, read in well under a millisecond.

A pair of readings, before and after, tells whether the hypervisor or the control group took time
away meanwhile. What is not visible on a host is left out, never guessed.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

_ROOT = Path("/")
_FREQUENCY = "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
#: The kernel counts a core's time in ticks of this many seconds.
_TICK_S = 1 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)
#: So far a difference of two counters may be off by the moments at which ticks fall.
_UNSURE_S = 2 * _TICK_S


def read_conditions(root: Path = _ROOT) -> dict[str, float]:
    """Read the host's state now.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are found.

    Returns
    -------
    dict of str to float
        ``monotonic_s`` (now) and ``process_cpu_s`` (this process, so far), and of these the ones
        visible here: ``load1`` (runnable tasks, average of a minute), ``total_jiffies``,
        ``idle_jiffies`` and ``steal_jiffies`` (since boot, of the cores this process may use),
        ``clock_mhz`` (first core), ``memory_available_bytes``, ``throttled_us`` (time the control
        group's quota held its processes back).
    """
    values = {"monotonic_s": time.monotonic(), "process_cpu_s": time.process_time()}
    load = _fields(root / "proc/loadavg")
    if load:
        _put(values, "load1", load[0])
    jiffies = cpu_jiffies(root, _allowed_cores())
    if jiffies:
        values["total_jiffies"] = sum(jiffies[:8])
        values["idle_jiffies"] = jiffies[3] + jiffies[4]
        values["steal_jiffies"] = jiffies[7]
    _put(values, "clock_mhz", _clock_mhz(root))
    for line in read_text(root / "proc/meminfo", 512).splitlines():
        if line.startswith("MemAvailable:"):
            _put(values, "memory_available_bytes", line.split()[1], 1024)
    throttled = cgroup_cpu_stat(root).get("throttled_usec")
    if throttled is not None:
        values["throttled_us"] = throttled
    return values


def steal_fraction(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Share of all cores' time that the hypervisor gave to others between two readings.

    NaN where it is unknown: nothing was visible, or no tick of the clock lies between.
    """
    try:
        total = after["total_jiffies"] - before["total_jiffies"]
        steal = after["steal_jiffies"] - before["steal_jiffies"]
    except KeyError:
        return math.nan
    return min(max(steal / total, 0.0), 1.0) if total > 0 else math.nan


def withheld_fraction(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Share of the time wanted between two readings that was not given.

    By the hypervisor (steal, over the time that the cores were wanted) and by the control group's
    quota (over the time between). Less than two ticks of the kernel's clock count as none. NaN
    where neither is visible.
    """
    elapsed_s = _difference(before, after, "monotonic_s")
    total_s, idle_s, steal_s = (
        _TICK_S * _difference(before, after, f"{name}_jiffies")
        for name in ("total", "idle", "steal")
    )
    throttled_s = _difference(before, after, "throttled_us") / 1e6
    if not elapsed_s > 0 or (math.isnan(steal_s) and math.isnan(throttled_s)):
        return math.nan
    wanted_s = max(total_s - idle_s, elapsed_s) if total_s >= idle_s else elapsed_s
    stolen = steal_s / wanted_s if steal_s >= _UNSURE_S else 0.0
    return stolen + (throttled_s / elapsed_s if throttled_s > 0 else 0.0)


def other_load(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Share that other processes took of what this one left of the cores between two readings.

    Of one core at least: where this process fills the only core, all that others take counts. Two
    ticks of the kernel's clock are in doubt and left out. NaN where its counters are not visible.
    """
    elapsed_s = _difference(before, after, "monotonic_s")
    own_s = _difference(before, after, "process_cpu_s")
    total_s, idle_s, steal_s = (
        _TICK_S * _difference(before, after, f"{name}_jiffies")
        for name in ("total", "idle", "steal")
    )
    others_s = total_s - idle_s - steal_s - own_s
    if not elapsed_s > 0 or math.isnan(others_s):
        return math.nan
    return max(others_s - _UNSURE_S, 0.0) / max(total_s - own_s, elapsed_s)


def _difference(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float:
    return after.get(name, math.nan) - before.get(name, math.nan)


def cpu_jiffies(root: Path = _ROOT, cores: Collection[int] = ()) -> list[float]:
    """Ticks since boot: user, nice, system, idle, iowait, irq, softirq, steal.

    Summed over ``cores`` where the kernel lists each of them, else over all. Empty where
    ``/proc/stat`` is not visible or older than steal time.
    """
    rows: dict[str, list[float]] = {}
    for line in read_text(root / "proc/stat", 1 << 20).splitlines():
        name, *fields = line.split() or [""]
        if not name.startswith("cpu"):
            break
        with contextlib.suppress(ValueError):
            rows[name] = [float(field) for field in fields[:8]]
    complete = {name: ticks for name, ticks in rows.items() if len(ticks) == 8}
    chosen = [f"cpu{core}" for core in cores]
    if chosen and all(name in complete for name in chosen):
        return [sum(column) for column in zip(*(complete[name] for name in chosen), strict=True)]
    return complete.get("cpu", [])


def _allowed_cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def cgroup_cpu_stat(root: Path = _ROOT) -> dict[str, float]:
    """Counters of this process's control group (version 2, else 1), times in microseconds."""
    for folder in cgroup_cpu_folders(root):
        text = read_text(folder / "cpu.stat", 4096)
        if not text:
            continue
        values: dict[str, float] = {}
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            _put(values, name, value)
        if "throttled_time" in values:  # version 1 counts nanoseconds
            values["throttled_usec"] = values.pop("throttled_time") / 1000
        return values
    return {}


def cgroup_cpu_folders(root: Path = _ROOT) -> list[Path]:
    """Folders where this process's control group may keep its processor settings, likeliest first.

    In a container the path is the host's while the tree shows only the container's own group.
    """
    second, first = "", ""
    for line in read_text(root / "proc/self/cgroup", 4096).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            second = path.strip("/")
        elif "cpu" in controllers.split(","):
            first = path.strip("/")
    base = root / "sys/fs/cgroup"
    return list(dict.fromkeys((base / second, base, base / "cpu" / first, base / "cpu")))


def read_text(path: Path, limit: int = 65536) -> str:
    """First ``limit`` bytes of a file as text; empty where it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            return (file.read(limit) or b"").decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _fields(path: Path) -> list[str]:
    """Words of a file's first line."""
    return next(iter(read_text(path, 1024).splitlines()), "").split()


def _clock_mhz(root: Path) -> str:
    """Clock of the first core in MHz, from the frequency driver or else the processor's list."""
    driver = read_text(root / _FREQUENCY, 32).strip()
    if driver.isdigit():
        return str(int(driver) / 1000)
    for line in read_text(root / "proc/cpuinfo", 4096).splitlines():
        if line.startswith("cpu MHz"):
            return line.partition(":")[2].strip()
    return ""


def _put(values: dict[str, float], name: str, text: str, factor: float = 1.0) -> None:
    """Store a number, unless ``text`` is none."""
    try:
        number = float(text) * factor
    except ValueError:
        return
    if math.isfinite(number):
        values[name] = number
