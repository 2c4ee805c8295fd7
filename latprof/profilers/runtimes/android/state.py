"""A phone's state at one moment: heat, clocks, power, screen."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.profilers.runtimes.android.thermals import (
    Battery,
    Thermals,
    parse_battery,
    parse_thermals,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


_MOST_CORES = 64
_CORE = re.compile(r"(\d{1,3})((?: +\S{1,64}){4})", re.ASCII)
_GOVERNOR = re.compile(r"[a-z0-9][a-z_0-9-]{0,31}")
_WAKEFULNESS = re.compile(r"^[ \t]*mWakefulness=(\w{1,20})[ \t\r]*$", re.MULTILINE)
_BOOT_ID = re.compile(r"[0-9a-f-]{36}")

#: Shell commands whose answers :func:`parse_state` reads.
STATE_QUESTIONS = {
    "boot": "cat /proc/sys/kernel/random/boot_id",
    "thermals": "dumpsys thermalservice",
    "battery": "dumpsys battery",
    "power": "dumpsys power | grep mWakefulness=",
    "clocks": (
        'r() { read -r v w 2>/dev/null < $1 || v=; echo -n "${v:--} "; }; '
        'for f in /sys/devices/system/cpu/cpu[0-9]*; do echo -n "${f##*/cpu} "; '
        "for n in scaling_cur_freq scaling_max_freq cpuinfo_max_freq scaling_governor; do "
        "r $f/cpufreq/$n; done; echo; done"
    ),
}


@dataclass(frozen=True)
class CoreState:
    """A core's clock: now, its limit now, and what it can do, in kHz; None where not visible."""

    core: int
    now_khz: int | None
    limit_khz: int | None
    largest_khz: int | None
    governor: str = ""


@dataclass(frozen=True)
class PhoneState:
    """What a phone tells of itself at one moment; None where it does not tell.

    Parameters
    ----------
    boot_id : str
        Another one after each start of the phone; empty where it is not visible.
    thermals : Thermals
        Status, skin and battery temperature by its sensors.
    battery : Battery
        Charge, power and the battery's own temperature.
    cores : tuple of CoreState
        By their numbers; without those that are off.
    wakefulness : str or None
        ``Awake`` where the screen is on; ``Asleep``, ``Dozing`` or ``Dreaming``.
    """

    boot_id: str
    thermals: Thermals
    battery: Battery
    cores: tuple[CoreState, ...]
    wakefulness: str | None

    @property
    def screen_on(self) -> bool | None:
        """Whether the screen is on."""
        return None if self.wakefulness is None else self.wakefulness == "Awake"

    @property
    def battery_c(self) -> float | None:
        """The battery's temperature by its own service, else by the thermal service."""
        own = self.battery.celsius
        return own if own is not None else self.thermals.battery_c


def parse_state(answers: Mapping[str, str]) -> PhoneState:
    """Read the answers to :data:`STATE_QUESTIONS`; what cannot be read is None or empty."""
    boot = answers.get("boot", "").strip()
    awake = _WAKEFULNESS.search(answers.get("power", ""))
    return PhoneState(
        boot_id=boot if _BOOT_ID.fullmatch(boot) else "",
        thermals=parse_thermals(answers.get("thermals", "")),
        battery=parse_battery(answers.get("battery", "")),
        cores=_cores(answers.get("clocks", "")),
        wakefulness=awake[1] if awake else None,
    )


def _cores(text: str) -> tuple[CoreState, ...]:
    found = {}
    for line in text.splitlines():
        match = _CORE.fullmatch(line.strip())
        words = match[2].split() if match else ["-"]
        if match and int(match[1]) < _MOST_CORES and set(words) != {"-"}:
            governor = words[3] if _GOVERNOR.fullmatch(words[3]) else ""
            now, limit, largest = map(_khz, words[:3])
            found[int(match[1])] = CoreState(int(match[1]), now, limit, largest, governor)
    return tuple(found[number] for number in sorted(found))


def _khz(text: str) -> int | None:
    return int(text) or None if re.fullmatch(r"\d{1,9}", text, re.ASCII) else None
