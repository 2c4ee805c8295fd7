"""The check-up of a phone: what spoils timings there, and what can be done about it.

What a phone does not show is said to be invisible, never taken for good.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from latprof.profilers.host.checks import Check
from latprof.profilers.runtimes.android.libraries.library_file import SYSTEMS

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.checkup.phone_questions import CheckupAnswers
    from latprof.profilers.runtimes.android.state import CoreState

INVISIBLE = "not visible on this phone"
#: android.os.PowerManager.THERMAL_STATUS_*.
STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_MODERATE = 2
#: Margin to the skin's limit below which a campaign soon throttles, degrees Celsius.
_SKIN_MARGIN_C = 4.0
_WARM_BATTERY_C, _HOT_BATTERY_C = 38.0, 43.0
_LOW_PERCENT, _EMPTY_PERCENT, _FULL_PERCENT = 40.0, 15.0, 95.0
_CLOCK_TOLERANCE = 0.02
_SPACE_WARN_KB, _SPACE_FAIL_KB = 1 << 20, 200 << 10
_MEMORY_WARN_KB = 700 << 10
_BUSY_WARN, _BUSY_FAIL = 0.5, 1.5
_JUST_STARTED_S = 300.0
_APP = re.compile(r"^[ \t]*\+?(\d{1,4}(?:\.\d+)?)% \d{1,7}/([\w.:@/-]{1,80}):", re.MULTILINE)


def run_phone_checks(found: CheckupAnswers) -> list[Check]:
    """Judge all that spoils timings on a phone, in the order to show it."""
    return [check(found) for check in _CHECKS]


def checkup_facts(found: CheckupAnswers) -> dict[str, str]:
    """Facts of a phone that stand beside measurements, in the order to show them."""
    facts, state = found.facts, found.state
    system = found.raw.get("system", "").splitlines()
    clusters = (
        f"{','.join(map(str, cluster.cores))}: "
        + (f"{cluster.largest_khz / 1e6:.2f} GHz" if cluster.largest_khz else "not visible")
        for cluster in facts.clusters
    )
    return {
        "phone": f"{facts.maker} {facts.model}",
        "soc": facts.soc,
        "cores": "; ".join(clusters),
        "android": f"{facts.android} (API level {facts.sdk})",
        "build": facts.build,
        "kernel": system[0] if system else "not visible",
        "governor": ", ".join(sorted({core.governor for core in state.cores} - {""}))
        or "not visible",
    }


def _phone(found: CheckupAnswers) -> Check:
    name, facts = "phone", found.facts
    abi = facts.abis[0] if facts.abis else "no ABI"
    text = f"{facts}, {abi}, build {facts.build}"
    if abi in SYSTEMS:
        return Check(name, "OK", text)
    return Check(
        name, "FAIL", f"{text}: there is no runner for {abi}", "take a phone with 64-bit Android"
    )


def _started(found: CheckupAnswers) -> Check:
    name = "since start"
    seconds = _number(found.files.get("/proc/uptime", "").split(" ")[0])
    if seconds is None:
        return Check(name, "OK", INVISIBLE)
    if seconds < _JUST_STARTED_S:
        return Check(name, "WARN", f"{seconds:.0f} s", "wait five minutes: apps are still starting")
    return Check(name, "OK", f"{seconds / 3600:.1f} hours")


def _thermal_status(found: CheckupAnswers) -> Check:
    name, status = "thermal status", found.state.thermals.status
    if status is None:
        return Check(
            name,
            "WARN",
            f"{INVISIBLE}: only its clocks show that it throttles",
            "keep the phone cool: a fan, no case, out of the sun",
        )
    text = f"{status} ({STATUSES[status]})"
    if status >= _MODERATE:
        return Check(name, "FAIL", f"{text}: it throttles", _COOL)
    if status:
        return Check(name, "WARN", text, _COOL)
    return Check(name, "OK", text)


_COOL = "let it cool: no case, no charging pad, out of the sun; a fan helps most"


def _skin(found: CheckupAnswers) -> Check:
    name, thermals = "skin temperature", found.state.thermals
    if thermals.skin_c is None:
        return Check(name, "WARN", INVISIBLE, "measure in a cool place; watch the clocks")
    text = f"{thermals.skin_c:.1f} C"
    limit = thermals.skin_limit_c
    if limit is None:
        return Check(name, "OK", f"{text}; where it throttles is {INVISIBLE}")
    text += f", throttles from {limit:.1f} C"
    if thermals.skin_c >= limit and thermals.status != 1:  # light: it still runs at full clocks
        return Check(name, "FAIL", text, _COOL)
    if thermals.skin_c > limit - _SKIN_MARGIN_C:
        return Check(name, "WARN", text, _COOL)
    return Check(name, "OK", text)


def _battery_heat(found: CheckupAnswers) -> Check:
    name, celsius = "battery temperature", found.state.battery_c
    if celsius is None:
        return Check(name, "WARN", INVISIBLE, "feel its back: it should be cool")
    text = f"{celsius:.1f} C"
    if celsius >= _HOT_BATTERY_C:
        return Check(name, "FAIL", text, _COOL)
    return Check(name, "WARN" if celsius >= _WARM_BATTERY_C else "OK", text, _COOL)


def _battery(found: CheckupAnswers) -> Check:
    name, battery = "battery", found.state.battery
    if battery.level_percent is None:
        return Check(name, "WARN", INVISIBLE, "see that it is charged")
    text = f"{battery.level_percent:.0f} %"
    if battery.level_percent < _EMPTY_PERCENT:
        return Check(name, "FAIL", f"{text}: phones lower their clocks", "charge it first")
    if battery.level_percent < _LOW_PERCENT:
        return Check(name, "WARN", text, "charge it first: a campaign takes hours")
    return Check(name, "OK", text)


def _charging(found: CheckupAnswers) -> Check:
    name, battery = "charging", found.state.battery
    if battery.powered is None:
        return Check(name, "WARN", INVISIBLE, "connect it by a cable to a computer's USB port")
    if not battery.powered:
        return Check(name, "WARN", "on its battery", "connect it by a cable: clocks may be lower")
    full = battery.level_percent is not None and battery.level_percent >= _FULL_PERCENT
    if battery.charging and not full:
        return Check(
            name,
            "WARN",
            "it charges, which warms it",
            "wait until it is full, or use a computer's USB port and not a fast charger",
        )
    return Check(name, "OK", "powered" + (", full" if full else ""))


def _saver(found: CheckupAnswers) -> Check:
    name, value = "battery saver", found.settings.get("low_power", "")
    if value == "1":
        return Check(
            name,
            "FAIL",
            "on: clocks are lowered",
            "switch it off in Settings, Battery",
        )
    return Check(name, "OK", "off" if value in {"0", "null"} else INVISIBLE)


def _clocks(found: CheckupAnswers) -> Check:
    """Limits below what the cores can do; each cluster once."""
    name, cores = "clock limits", found.state.cores
    limits = [core for core in cores if core.limit_khz and core.largest_khz]
    if not limits:
        return Check(
            name, "WARN", INVISIBLE, "a throttled phone can then be seen by its times alone"
        )
    lowered = [
        c for c in limits if (c.limit_khz or 0) < (c.largest_khz or 0) * (1 - _CLOCK_TOLERANCE)
    ]
    if lowered:
        return Check(
            name,
            "FAIL",
            f"limited: {', '.join(_limit(core) for core in _one_a_cluster(lowered))}",
            "let it cool, and switch Battery Saver off; a limit that stays is the phone's own",
        )
    return Check(name, "OK", ", ".join(_limit(core) for core in _one_a_cluster(limits)))


def _one_a_cluster(cores: list[CoreState]) -> list[CoreState]:
    seen: dict[tuple[int | None, int | None], CoreState] = {}
    for core in cores:
        seen.setdefault((core.limit_khz, core.largest_khz), core)
    return list(seen.values())


def _limit(core: CoreState) -> str:
    limit, largest = (core.limit_khz or 0) / 1e6, (core.largest_khz or 0) / 1e6
    return (
        f"core {core.core}: {limit:.2f}"
        + (f" of {largest:.2f}" if limit < largest else "")
        + " GHz"
    )


def _governor(found: CheckupAnswers) -> Check:
    name = "frequency governor"
    names = sorted({core.governor for core in found.state.cores if core.governor})
    if not names:
        return Check(name, "OK", INVISIBLE)
    if "powersave" in names:
        return Check(name, "FAIL", ", ".join(names), "switch Battery Saver off, or start it anew")
    if "performance" in names:
        return Check(name, "OK", ", ".join(names))
    return Check(
        name,
        "OK",
        f"{', '.join(names)}: the clock follows the load, and is read at every visit",
    )


def _screen(found: CheckupAnswers) -> Check:
    name, on = "screen", found.state.screen_on
    if on is None:
        return Check(name, "WARN", INVISIBLE, "keep it on: clocks are lower while it is off")
    if on:
        return Check(name, "OK", "on")
    return Check(
        name,
        "WARN",
        f"off ({found.state.wakefulness}): clocks may be lower",
        "nothing to do: measuring switches it on, and off again at the end",
    )


def _cores(found: CheckupAnswers) -> Check:
    name = "cores for the shell"
    listed = re.search(r"Cpus_allowed_list:\s*([\d,-]{1,80})", found.raw.get("allowed", ""))
    if not listed:
        return Check(name, "OK", INVISIBLE)
    allowed = _numbers(listed[1])
    online = _numbers(found.files.get("/sys/devices/system/cpu/online", "")) or allowed
    missing = {core for cluster in found.facts.clusters for core in cluster.cores} - allowed
    off = {core for cluster in found.facts.clusters for core in cluster.cores} - online
    if missing or off:
        kept = ", ".join(str(core) for core in sorted(missing | off))
        return Check(
            name, "WARN", f"without {kept}", "switch the screen on, or choose others with --cores"
        )
    return Check(name, "OK", f"all {len(allowed)}")


def _load(found: CheckupAnswers) -> Check:
    name = "other apps"
    readings = [
        [int(word) for word in line.split()[1:9]]
        for line in found.raw.get("load", "").splitlines()
        if re.fullmatch(r"cpu +\d{1,18}( \d{1,18}){7,11}", line.strip())
    ]
    if len(readings) != 2:
        return Check(name, "WARN", INVISIBLE, "close all apps, and switch synchronising off")
    used = [b - a for a, b in zip(*readings, strict=True)]
    total, idle = sum(used), used[3] + used[4]
    cores = len(found.state.cores) or 1
    busy = cores * (total - idle) / total if total > 0 else 0.0
    apps = ", ".join(f"{app} {share} %" for share, app in _APP.findall(found.apps)[:3])
    text = f"{busy:.1f} of {cores} cores busy" + (
        f" ({apps})" if apps and busy > _BUSY_WARN else ""
    )
    remedy = "close all apps; airplane mode with USB stops synchronising"
    if busy > _BUSY_FAIL:
        return Check(name, "FAIL", text, remedy)
    return Check(name, "WARN" if busy > _BUSY_WARN else "OK", text, remedy)


def _memory(found: CheckupAnswers) -> Check:
    name = "free memory"
    listed = re.search(r"MemAvailable:\s*(\d{1,12}) kB", found.raw.get("meminfo", ""))
    if not listed:
        return Check(name, "OK", INVISIBLE)
    free = int(listed[1])
    return Check(
        name,
        "WARN" if free < _MEMORY_WARN_KB else "OK",
        f"{free / (1 << 20):.1f} GiB",
        "close all apps",
    )


def _space(found: CheckupAnswers) -> Check:
    name = "free space"
    # The last line may be broken before the numbers: size, used, available, percent.
    listed = re.search(
        r"(\d{1,15})\s+(\d{1,15})\s+(\d{1,15})\s+\d{1,3}%", found.raw.get("space", "")
    )
    if not listed:
        return Check(name, "WARN", INVISIBLE, "see that 1 GB is free")
    free = int(listed[3])
    text, remedy = f"{free / (1 << 20):.1f} GiB at /data/local/tmp", "make room: 1 GB is plenty"
    if free < _SPACE_FAIL_KB:
        return Check(name, "FAIL", text, remedy)
    return Check(name, "WARN" if free < _SPACE_WARN_KB else "OK", text, remedy)


def _numbers(text: str) -> set[int]:
    """A kernel's list of cores, for example ``0-3,8``."""
    found: set[int] = set()
    for part in text.strip().split(","):
        if match := re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part):
            found |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text) else None


_CHECKS: tuple[Callable[[CheckupAnswers], Check], ...] = (
    _phone,
    _thermal_status,
    _skin,
    _battery_heat,
    _battery,
    _charging,
    _saver,
    _clocks,
    _governor,
    _cores,
    _screen,
    _load,
    _memory,
    _space,
    _started,
)
