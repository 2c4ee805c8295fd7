"""Temperatures of a phone, as ``dumpsys thermalservice`` and ``dumpsys battery`` tell them.

Formats are those of Android's ThermalManagerService (``Temperature{mValue=.., mType=.., mName=..,
mStatus=..}``) and BatteryService. Android 9 and older have no thermal service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile

#: android.os.Temperature.TYPE_*: CPU, GPU, battery, skin, USB port, power amplifier, and NPU; the
#: types 6 to 8 are voltages, currents and charge, and -1 says nothing.
_TEMPERATURES = frozenset({0, 1, 2, 3, 4, 5, 9})
_BATTERY, _SKIN = 2, 3
#: What a sensor of a phone that runs can read, degrees Celsius; others are switched off or broken.
_LOW_C, _HIGH_C = 1.0, 130.0
#: android.os.BatteryManager.BATTERY_STATUS_*: charging, discharging, not charging, full.
_CHARGING = {"2": True, "3": False, "4": False, "5": False}
#: android.os.PowerManager.THERMAL_STATUS_*: none to shutdown.
_HIGHEST_STATUS = 6

_SENSOR = re.compile(
    r"Temperature\{\s*mValue=([^,{}]{1,32}),\s*mType=(-?\d{1,3}),\s*mName=([^{}]{0,80}?),"
    r"\s*mStatus=(-?\d{1,3})\s*\}"
)
#: As android.os prints it, and as HALs in HIDL (``.type = SKIN``) and AIDL (``type: SKIN``) do.
_THRESHOLD = re.compile(
    r"[{ .]m?type ?[=:] ?(SKIN|-?\d{1,3}),\s*[.]?m?name ?[=:] ?([^{}]{0,80}?),"
    r"\s*[.]?m?hotThrottlingThresholds ?[=:] ?\[([^\]{}]{0,200})\]",
    re.IGNORECASE,
)
#: Blanks of one line: those of many would be looked through again from each of them.
_BEGIN, _GAP, _END = r"^[ \t]*", r"[ \t]*", r"[ \t\r]*$"
_SECTION = re.compile(f"{_BEGIN}Current temperatures from HAL:{_END}", re.MULTILINE)
_FACT = re.compile(rf"{_BEGIN}([A-Za-z][A-Za-z ]{{0,40}}):{_GAP}(\S{{1,20}}){_END}", re.MULTILINE)
_STATUS = re.compile(rf"{_BEGIN}Thermal Status:{_GAP}(\d{{1,3}}){_END}", re.MULTILINE)
#: A status, or a battery's values, that somebody has set for a test and the phone does not measure.
_STATUS_IS_SET = re.compile(f"{_BEGIN}IsStatusOverride:{_GAP}true{_END}", re.MULTILINE)
_BATTERY_IS_SET = "UPDATES STOPPED"
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{1,12})?(E-?\d{1,2})?", re.ASCII)


@dataclass(frozen=True)
class Sensor:
    """One temperature: the sensor's name, its type by Android's numbers, degrees Celsius."""

    name: str
    kind: int
    celsius: float
    status: int


@dataclass(frozen=True)
class Thermals:
    """What a phone tells of its heat; None where it does not.

    Parameters
    ----------
    status : int or None
        0 (none) to 6 (shutdown), as ``PowerManager.getCurrentThermalStatus`` counts.
    skin_c, battery_c : float or None
        Degrees Celsius; the warmest of several sensors.
    skin_limit_c : float or None
        Where the phone begins to throttle by its skin: the limit of the warmest sensor, or the
        least one where that has none.
    sensors : tuple of Sensor
    """

    status: int | None = None
    skin_c: float | None = None
    battery_c: float | None = None
    skin_limit_c: float | None = None
    sensors: tuple[Sensor, ...] = ()


def parse_thermals(text: str) -> Thermals:
    """Read what ``dumpsys thermalservice`` printed; of any other text nothing is known.

    Cached temperatures, voltages and currents are never taken for temperatures.
    """
    sensors = _sensors(text)
    found = None if _STATUS_IS_SET.search(text) else _STATUS.search(text)
    status = int(found[1]) if found else None
    if status is None:  # some print it with each sensor alone
        status = max((s.status for s in sensors if s.kind == _SKIN), default=None)
    if status is not None and not 0 <= status <= _HIGHEST_STATUS:
        status = None
    skin, battery = _warmest(sensors, _SKIN), _warmest(sensors, _BATTERY)
    return Thermals(
        status=status,
        skin_c=skin.celsius if skin else None,
        battery_c=battery.celsius if battery else None,
        skin_limit_c=_skin_limit(text, skin.name if skin else ""),
        sensors=sensors,
    )


def _sensors(text: str) -> tuple[Sensor, ...]:
    """Those of the one section that has no cached values: up to the first line of another kind.

    A temperature that is not written as Android does it, by a maker's own service, is left out.
    """
    begin = _SECTION.search(text)
    if begin is None:
        return ()
    lines = (line.strip() for line in text[begin.end() :].splitlines())
    section = takewhile(lambda line: line.startswith("Temperature{"), filter(None, lines))
    sensors = []
    for found in filter(None, map(_SENSOR.fullmatch, section)):
        value, kind, name, status = found.groups()
        celsius = _number(value)
        if int(kind) in _TEMPERATURES and celsius is not None and _LOW_C <= celsius <= _HIGH_C:
            sensors.append(Sensor(name, int(kind), celsius, int(status)))
    return tuple(sensors)


def _warmest(sensors: tuple[Sensor, ...], kind: int) -> Sensor | None:
    of_kind = (sensor for sensor in sensors if sensor.kind == kind)
    return max(of_kind, key=lambda sensor: sensor.celsius, default=None)


def _skin_limit(text: str, name: str) -> float | None:
    """The first threshold of the skin's sensor of this name, else the least of the skin's."""
    limits: dict[str, float] = {}
    for kind, sensor, listed in _THRESHOLD.findall(text):
        values = [value for item in listed.split(",") if (value := _number(item)) is not None]
        is_skin = kind.upper() in {str(_SKIN), "SKIN"}
        if is_skin and values and _LOW_C <= values[0] <= _HIGH_C:
            limits[sensor] = min(values[0], limits.get(sensor, values[0]))
    return limits.get(name, min(limits.values(), default=None))


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text.strip()) else None


@dataclass(frozen=True)
class Battery:
    """What a phone tells of its battery; None where it does not.

    Parameters
    ----------
    level_percent : float or None
        Charge, 0 to 100.
    powered : bool or None
        Whether a cable or a pad supplies it.
    celsius : float or None
        Its temperature.
    charging : bool or None
        Whether its charge grows.
    """

    level_percent: float | None = None
    powered: bool | None = None
    celsius: float | None = None
    charging: bool | None = None


def parse_battery(text: str) -> Battery:
    """Read what ``dumpsys battery`` printed; of any other text nothing is known.

    Nothing is known either where its values stand still (``dumpsys battery unplug`` and the like).
    Makers print more below Android's own values, in which their names may come again.
    """
    if _BATTERY_IS_SET in text:
        return Battery()
    values = dict(reversed(_FACT.findall(text)))
    level, scale = (_number(values.get(name, "")) for name in ("level", "scale"))
    percent = 100 * level / scale if level is not None and scale else None
    tenths = _number(values.get("temperature", ""))
    celsius = tenths / 10 if tenths is not None else None
    powered = [values[name] == "true" for name in values if name.endswith("powered")]
    return Battery(
        level_percent=percent if percent is not None and 0 <= percent <= 100 else None,
        powered=any(powered) if powered else None,
        celsius=celsius if celsius is not None and _LOW_C <= celsius <= _HIGH_C else None,
        charging=_CHARGING.get(values.get("status", "")),
    )
