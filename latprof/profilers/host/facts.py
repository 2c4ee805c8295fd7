"""What this host is: its processor's name, and the facts that stand beside measurements.

Everything is read through a :class:`Host`, whose root may be a made-up tree. What spoils timings
here is judged in :mod:`latprof.profilers.host.checks`.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from latprof.common.cores import allowed_cores
from latprof.measurement.quiet.conditions import cgroup_cpu_folders, read_text

_CPU = "sys/devices/system/cpu"
_CPUINFO_BYTES = 1 << 20
#: Instruction sets that change how fast a network runs, by the flag that shows them.
_VECTOR_FEATURES = {
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "avx_vnni": "avx-vnni",
    "avx512f": "avx512",
    "avx512_vnni": "avx512-vnni",
    "avx512_bf16": "avx512-bf16",
    "avx512_fp16": "avx512-fp16",
    "amx_tile": "amx",
    "asimd": "neon",
    "asimdhp": "neon-fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}
_IMPLIED = {"avx": "avx2", "avx2": "avx512", "fma": "avx512", "sve": "sve2"}


@dataclass(frozen=True)
class Host:
    """Where the facts of a host are read, and how a test replaces them.

    Parameters
    ----------
    root : Path
        Folder that holds ``proc`` and ``sys``.
    environ : mapping of str to str
        Environment variables.
    allowed_cores : frozenset of int
        Cores this process may run on.
    window_s : float
        Length in seconds of the window over which counters are compared.
    sleep : callable
        Waits the given seconds.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    allowed_cores: frozenset[int] = field(default_factory=allowed_cores)
    window_s: float = 0.5
    sleep: Callable[[float], None] = time.sleep

    def read(self, path: str, limit: int = 65536) -> str:
        """Content of a file below the root, stripped; empty where it cannot be read."""
        return read_text(self.root / path, limit).strip("\0 \t\n")

    def number(self, path: str) -> float | None:
        """The number a file holds, or None."""
        try:
            return float(self.read(path, 64))
        except ValueError:
            return None

    def paths(self, pattern: str) -> list[str]:
        """Paths below the root that match a glob pattern, in natural order."""
        try:
            found = [path.relative_to(self.root).as_posix() for path in self.root.glob(pattern)]
        except OSError:
            return []
        return sorted(found, key=lambda p: [int(s) if s.isdigit() else s for s in _SPLIT.split(p)])

    @property
    def cpuinfo(self) -> dict[str, str]:
        """First core's entry of ``/proc/cpuinfo``, keys in lower case."""
        entry = self.read("proc/cpuinfo", _CPUINFO_BYTES).split("\n\n")[0]
        pairs = (line.partition(":") for line in entry.splitlines())
        return {key.strip().lower(): value.strip() for key, _, value in pairs}

    @property
    def online_cores(self) -> frozenset[int]:
        """Cores of the machine; those allowed where the list is not visible."""
        return parse_cores(self.read(f"{_CPU}/online")) or self.allowed_cores

    @property
    def cpu_quota(self) -> float | None:
        """Cores' worth of time that the control group allows, or None where it sets no limit."""
        for folder in cgroup_cpu_folders(self.root):
            fields = read_text(folder / "cpu.max", 64).split()
            if not fields:
                fields = [
                    read_text(folder / f"cpu.cfs_{name}_us", 64).strip()
                    for name in ("quota", "period")
                ]
            if len(fields) == 2 and all(f.isdigit() and int(f) > 0 for f in fields):
                return int(fields[0]) / int(fields[1])
        return None

    @property
    def virtualization(self) -> str:
        """Name of the hypervisor as far as it shows, ``""`` on a physical machine."""
        if "hypervisor" not in self.cpuinfo.get("flags", "").split():
            kind = self.read("sys/hypervisor/type", 64)
            return kind if kind and kind != "none" else ""
        vendor = self.read("sys/class/dmi/id/sys_vendor", 128)
        product = self.read("sys/class/dmi/id/product_name", 128)
        return " ".join(filter(None, (vendor, product))) or "unnamed hypervisor"

    @property
    def governor(self) -> str:
        """Frequency governors of the allowed cores, ``""`` where they are not visible."""
        names = {
            self.read(f"{_CPU}/cpu{core}/cpufreq/scaling_governor", 64)
            for core in self.allowed_cores
        }
        return ", ".join(sorted(filter(None, names)))

    @property
    def turbo(self) -> bool | None:
        """Whether the clock may rise above its nominal rate, None where it is not visible."""
        disabled = self.number(f"{_CPU}/intel_pstate/no_turbo")
        if disabled is not None:
            return disabled == 0
        boost = self.number(f"{_CPU}/cpufreq/boost")
        return None if boost is None else boost != 0


_SPLIT = re.compile(r"(\d+)")


def parse_cores(text: str) -> frozenset[int]:
    """Read a kernel's list of cores, for example ``"0-3,8"``; empty for anything else."""
    cores: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part.strip())
        if not match:
            return frozenset()
        first = int(match[1])
        cores.update(range(first, int(match[2] or first) + 1))
    return frozenset(cores)


def processor_name(host: Host | None = None) -> str:
    """Name the processor so that another one reads differently, and this one always the same.

    Virtual machines often show only ``Intel(R) Xeon(R) Processor``; therefore family, model and
    stepping, nominal clock, sizes of the outer caches and the widest vector instructions follow.
    """
    host = host or Host()
    info = host.cpuinfo
    if not info:
        return _name_without_proc()
    if "model name" in info and "cpu family" in info:
        identity = (
            f"family {info['cpu family']} model {info.get('model', '?')} "
            f"stepping {info.get('stepping', '?')}"
        )
        name = info["model name"]
    else:
        name, identity = _arm_identity(host)
    clock = _nominal_mhz(host, info)
    details = [identity, f"{clock} MHz" if clock else "", *_caches(host), _vector_features(info)]
    return f"{' '.join(name.split())} ({', '.join(filter(None, details))})"


def host_facts(host: Host | None = None) -> dict[str, str]:
    """Facts that stand beside measurements, in the order to show them."""
    host = host or Host()
    memory = re.search(r"MemTotal:\s+(\d+) kB", host.read("proc/meminfo"))
    turbo = {True: "on", False: "off", None: "not visible"}[host.turbo]
    quota = host.cpu_quota
    allowed = f"{len(host.allowed_cores)} of {len(host.online_cores)}"
    return {
        "processor": processor_name(host),
        "cores": allowed + (f", quota {quota:g}" if quota is not None else ""),
        "memory": f"{int(memory[1]) / 2**20:.1f} GiB" if memory else "not visible",
        "governor": host.governor or "not visible",
        "turbo": turbo,
        "virtualization": host.virtualization or "none seen",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "onnxruntime": _version("onnxruntime"),
    }


def _version(package: str) -> str:
    from importlib import metadata  # slow to import, and not needed for a name

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _name_without_proc() -> str:
    """Name the processor on systems without ``/proc/cpuinfo``."""
    if sys.platform == "darwin":
        try:
            brand = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            brand = ""
        if brand:
            return brand
    return platform.processor() or platform.machine() or "unknown processor"


def _arm_identity(host: Host) -> tuple[str, str]:
    """Name of the board or architecture, and the core types: implementer, part and revision."""
    entries = host.read("proc/cpuinfo", _CPUINFO_BYTES).lower().split("\n\n")
    kinds: dict[str, int] = {}
    for entry in entries:
        pairs = (line.partition(":") for line in entry.splitlines())
        values = {key.strip(): value.strip() for key, _, value in pairs}
        if "cpu part" in values:
            kind = (
                f"{values.get('cpu implementer', '?')}/{values['cpu part']} "
                f"r{values.get('cpu variant', '?')}p{values.get('cpu revision', '?')}"
            )
            kinds[kind] = kinds.get(kind, 0) + 1
    board = host.read("proc/device-tree/model", 256) or host.cpuinfo.get("hardware", "")
    name = board or host.cpuinfo.get("model name") or f"{platform.machine()} processor"
    return name, " + ".join(f"{count}x {kind}" for kind, count in sorted(kinds.items()))


def _nominal_mhz(host: Host, info: Mapping[str, str]) -> int | None:
    """Nominal clock to 25 MHz: finer digits are calibrated anew at every boot."""
    named = re.search(r"@\s*([\d.]+)\s*GHz", info.get("model name", ""))
    base = host.number(f"{_CPU}/cpu0/cpufreq/base_frequency")
    ticks = re.fullmatch(r"[\d.]+", info.get("bogomips", "")) if "cpu family" in info else None
    if named:
        mhz = float(named[1]) * 1000
    elif base:
        mhz = base / 1000
    elif ticks:  # on x86, twice the rate of the time-stamp counter
        mhz = float(ticks[0]) / 2
    else:  # last, because switching the boost off changes it
        mhz = (host.number(f"{_CPU}/cpu0/cpufreq/cpuinfo_max_freq") or 0.0) / 1000
    return round(mhz / 25) * 25 if mhz > 0 else None


def _caches(host: Host) -> list[str]:
    """Sizes of the second and third level caches of the first core."""
    sizes: dict[str, str] = {}
    for path in host.paths(f"{_CPU}/cpu0/cache/index*"):
        level, kind = host.read(f"{path}/level", 8), host.read(f"{path}/type", 32)
        if level in {"2", "3"} and kind != "Instruction":
            sizes[level] = host.read(f"{path}/size", 32)
    if not sizes and "cache size" in host.cpuinfo:
        return [f"cache {host.cpuinfo['cache size'].replace(' KB', 'K')}"]
    return [f"L{level} {size}" for level, size in sorted(sizes.items()) if size]


def _vector_features(info: Mapping[str, str]) -> str:
    """Vector instruction sets, those that a wider one implies left out."""
    flags = set((info.get("flags") or info.get("features") or "").split())
    found = [name for flag, name in _VECTOR_FEATURES.items() if flag in flags]
    return " ".join(name for name in found if _IMPLIED.get(name) not in found)
