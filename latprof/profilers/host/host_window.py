"""The kernel's counters before and after a moment of waiting, for the checks of a host."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.measurement.quiet.conditions import cgroup_cpu_stat, cpu_jiffies

if TYPE_CHECKING:
    from latprof.profilers.host.facts import Host


@dataclass(frozen=True)
class Window:
    """Counters of the kernel before and after a moment of waiting.

    ``jiffies`` are ticks of all cores by state
    (:func:`latprof.measurement.quiet.conditions.cpu_jiffies`) and ``processes`` ticks and names of
    processes by id, both as differences.
    """

    wall_s: float
    jiffies: tuple[float, ...]
    processes: tuple[tuple[float, str, int], ...]
    swapped_pages: float
    throttled_us: float

    @property
    def total(self) -> float:
        """Ticks of all cores in the window; 0 where they are not visible."""
        return sum(self.jiffies)

    @property
    def idle_share(self) -> float:
        """Share of all cores' time that nobody used."""
        return (self.jiffies[3] + self.jiffies[4]) / self.total

    @property
    def steal_share(self) -> float:
        """Share of all cores' time that the hypervisor gave to others."""
        return self.jiffies[7] / self.total


def observe(host: Host) -> Window:
    """Read the counters, wait for the host's window, and read them again."""
    start = time.monotonic()
    before = _counters(host)
    host.sleep(host.window_s)
    after = _counters(host)
    jiffies = tuple(max(b - a, 0.0) for a, b in zip(before.jiffies, after.jiffies, strict=False))
    processes = (
        (ticks - before.processes[pid][0], name, pid)
        for pid, (ticks, name) in after.processes.items()
        if pid in before.processes and pid != os.getpid()
    )
    return Window(
        wall_s=max(time.monotonic() - start, 1e-9),
        jiffies=jiffies,
        processes=tuple(sorted((p for p in processes if p[0] > 0), reverse=True)),
        swapped_pages=after.swapped_pages - before.swapped_pages,
        throttled_us=after.throttled_us - before.throttled_us,
    )


@dataclass(frozen=True)
class _Counters:
    jiffies: list[float]
    processes: dict[int, tuple[float, str]]
    swapped_pages: float
    throttled_us: float


def _counters(host: Host) -> _Counters:
    pages = re.findall(r"^pswp(?:in|out) (\d+)$", host.read("proc/vmstat"), re.MULTILINE)
    return _Counters(
        cpu_jiffies(host.root, counted_cores(host)),
        _process_ticks(host),
        float(sum(map(int, pages))),
        cgroup_cpu_stat(host.root).get("throttled_usec", 0.0),
    )


def counted_cores(host: Host) -> frozenset[int]:
    """Cores whose ticks are counted: those this process may use, all where they are not listed."""
    text = host.read("proc/stat", 1 << 20)
    listed = all(re.search(rf"^cpu{core} ", text, re.MULTILINE) for core in host.allowed_cores)
    return host.allowed_cores if listed else host.online_cores


def _process_ticks(host: Host) -> dict[int, tuple[float, str]]:
    """Ticks used so far, and name, of every visible process by its id."""
    result = {}
    for path in host.paths("proc/[0-9]*"):
        # The name is in brackets and may itself hold brackets and spaces.
        head, _, tail = host.read(f"{path}/stat", 1024).rpartition(")")
        fields = tail.split()
        if len(fields) > 12 and fields[11].isdigit() and fields[12].isdigit():
            name = head.partition("(")[2]
            result[int(path.rpartition("/")[2])] = (float(fields[11]) + float(fields[12]), name)
    return result
