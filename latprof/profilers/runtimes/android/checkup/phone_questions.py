"""All that a phone is asked for a check-up, and that a recording keeps.

No question asks for accounts, apps, files or positions; a recording has no serial.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.profilers.runtimes.android.answers import ask_all
from latprof.profilers.runtimes.android.phone_facts import (
    PhoneFacts,
    parse_clusters,
    parse_properties,
    phone_facts,
)
from latprof.profilers.runtimes.android.state import STATE_QUESTIONS, PhoneState, parse_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latprof.profilers.runtimes.android.transport.services import PhoneServices

#: Most bytes of one answer that a recording keeps.
MOST_ANSWER_BYTES = 1 << 18
#: Properties that say what a phone is; others may hold what is the user's own.
PROPERTIES = (
    "ro.board.platform",
    "ro.build.fingerprint",
    "ro.build.version.release",
    "ro.build.version.sdk",
    "ro.hardware",
    "ro.product.cpu.abi",
    "ro.product.cpu.abilist",
    "ro.product.device",
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.serialno",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "sys.boot_completed",
)
#: Global settings that change how fast a phone is.
SETTINGS = ("stay_on_while_plugged_in", "low_power", "airplane_mode_on")
_CPU = "/sys/devices/system/cpu"
#: Small files, by patterns of the phone's shell.
FILES = (
    f"{_CPU}/online",
    f"{_CPU}/present",
    *(
        f"{_CPU}/cpu[0-9]*/cpufreq/{name}"
        for name in (
            "related_cpus",
            "cpuinfo_min_freq",
            "cpuinfo_max_freq",
            "scaling_min_freq",
            "scaling_max_freq",
            "scaling_cur_freq",
            "scaling_governor",
        )
    ),
    "/proc/sys/kernel/random/boot_id",
    "/proc/uptime",
)
_FILE = re.compile(r"(/[A-Za-z0-9_./-]{1,120}) ([ -~]{0,400})")

QUESTIONS = {
    "getprop": f"for n in {' '.join(PROPERTIES)}; do v=$(getprop $n); "
    '[ -n "$v" ] && echo "[$n]: [$v]"; done',
    "dumpsys.thermalservice": STATE_QUESTIONS["thermals"],
    "dumpsys.battery": STATE_QUESTIONS["battery"],
    "dumpsys.power": "dumpsys power | grep -E '^ *m(Wakefulness|StayOn|IsPowered|PlugType|"
    "ProximityPositive|BatteryLevel)[A-Za-z]*='",
    "settings": "; ".join(f'echo "{name} $(settings get global {name})"' for name in SETTINGS),
    "files": f'for f in {" ".join(FILES)}; do if read -r v < $f; then echo "$f $v"; fi; done',
    "clocks": STATE_QUESTIONS["clocks"],
    "allowed": "grep Cpus_allowed_list /proc/self/status",
    "cpuinfo": "cat /proc/cpuinfo",
    "meminfo": "head -n 5 /proc/meminfo",
    "space": "df -k /data/local/tmp",
    "load": "head -n 1 /proc/stat; sleep 1; head -n 1 /proc/stat",
    "zones": "for z in /sys/class/thermal/thermal_zone*; do read -r t < $z/type && "
    'read -r v < $z/temp && echo "$t $v"; done',
    "system": "uname -srm; id; getconf PAGESIZE",
}
#: What the check-up shows and a recording leaves out: names of apps.
_APPS = "dumpsys cpuinfo | head -n 12"


@dataclass(frozen=True)
class CheckupAnswers:
    """What a phone said: raw answers by the question's name, and what they mean.

    ``apps`` is of :data:`QUESTIONS` nothing: the busiest apps, which no recording keeps.
    """

    raw: Mapping[str, str]
    facts: PhoneFacts
    state: PhoneState
    apps: str = ""

    @property
    def files(self) -> dict[str, str]:
        """Small files of the phone by their paths."""
        return read_files(self.raw.get("files", ""))

    @property
    def settings(self) -> dict[str, str]:
        """Global settings by their names; ``null`` where one is not set."""
        pairs = (line.partition(" ") for line in self.raw.get("settings", "").splitlines())
        return {name: value.strip() for name, _, value in pairs if name in SETTINGS}


def ask_everything(services: PhoneServices) -> CheckupAnswers:
    """Ask a phone all questions in one round trip, about two seconds; raises DeviceError."""
    found = ask_all(services, QUESTIONS | {"apps": _APPS})
    apps = found.pop("apps")
    return read_answers(
        {name: text[:MOST_ANSWER_BYTES] for name, text in found.items()}, services.link.serial, apps
    )


def read_answers(raw: Mapping[str, str], asked: str, apps: str = "") -> CheckupAnswers:
    """What raw answers mean; ``asked`` names the phone in errors. Raises DeviceError."""
    files = read_files(raw.get("files", ""))
    lines = []
    for path, value in files.items():
        if found := re.fullmatch(rf"{_CPU}/cpu(\d+)/cpufreq/related_cpus", path):
            largest = files.get(path.replace("related_cpus", "cpuinfo_max_freq"), "")
            lines.append(f"{found[1]} {largest} : {value}")
    state = {
        "boot": files.get("/proc/sys/kernel/random/boot_id", ""),
        "thermals": raw.get("dumpsys.thermalservice", ""),
        "battery": raw.get("dumpsys.battery", ""),
        "power": raw.get("dumpsys.power", ""),
        "clocks": raw.get("clocks", ""),
    }
    facts = phone_facts(
        parse_properties(raw.get("getprop", "")), parse_clusters("\n".join(lines)), asked
    )
    return CheckupAnswers(raw, facts, parse_state(state), apps)


def read_files(text: str) -> dict[str, str]:
    """Paths and values of the answer ``files``: what is no path of a small file is left out."""
    found = (_FILE.fullmatch(line.strip()) for line in text.splitlines())
    return {
        match[1]: match[2]
        for match in found
        if match and ".." not in match[1] and match[1].startswith(("/sys/", "/proc/"))
    }
