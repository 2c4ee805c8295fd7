"""Devices that a host has: what a worker announces to the scheduler, one visit each at a time."""

from __future__ import annotations

import fnmatch
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from latprof.errors import InvalidValueError, LatprofError, did_you_mean
from latprof.profilers.campaign.collection import checked_label
from latprof.profilers.targets import availabilities, profiler_class

#: Before a device's name in the names of dask's resources.
_RESOURCE = "latprof "
#: A part of a target's spelling that stands for an address.
_ADDRESS = re.compile(r"(?<=:)([A-Z]+)(?=:)")
#: That of a GPU.
_NUMBER = "N"
_MOST_GPUS = 64
#: Of a device's resource there is so much on its worker, and each task takes one: what waits for
#: its turn. dask itself would have no device of a worker begin before the one whose task is next.
SLOTS = 6


@dataclass(frozen=True)
class FarmDevice:
    """A device of a farm.

    Parameters
    ----------
    name : str
        ``cpu@HOST``, ``cuda:0@HOST`` or, for a phone wherever it is plugged in, ``adb:SERIAL``.
    targets : tuple of str
        Spellings of what can be measured on it, as ``--target`` takes them.
    detail : str
        What it is.
    ways : mapping of str to str
        How its host itself spells a target, where otherwise: a phone that is reached over Wi-Fi.
        Not announced.
    """

    name: str
    targets: tuple[str, ...]
    detail: str = ""
    ways: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def resource(self) -> str:
        """The name of dask's resource, of which there are :data:`SLOTS`."""
        return _RESOURCE + self.name

    @property
    def host(self) -> str:
        """The host's label in targets; empty for a device that has a name of its own."""
        return self.name.partition("@")[2]

    def spelling(self, wanted: str) -> str:
        """The spelling of a target on this device; empty where it is another's.

        ``wanted`` is a target (``cpu:onnxruntime``: of any host), one without its address
        (``adb:litert``: of any phone), or one of a host (``cpu:onnxruntime@HOST``).
        """
        target, _, host = wanted.partition("@")
        if host and host != self.host:
            return ""
        fitting = [t for t in self.targets if target in (t, _without_address(t))]
        return fitting[0] if fitting else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the device as plain JSON values."""
        return {"name": self.name, "targets": list(self.targets), "detail": self.detail}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FarmDevice:
        """Rebuild a device from :meth:`to_dict`."""
        return cls(str(values["name"]), tuple(values["targets"]), str(values["detail"]))


def device_of(resource: str) -> str:
    """The name of the device that a dask resource stands for."""
    return resource.removeprefix(_RESOURCE)


def _without_address(spelling: str) -> str:
    first, _, rest = spelling.partition(":")
    return f"{first}:{rest.rpartition(':')[2]}"


def host_label(label: str = "") -> str:
    """The label of this host: the one that is given, or its name."""
    return checked_label(label) or re.sub(r"[^\w.-]", "-", platform.node())[:63] or "host"


def devices_here(label: str = "", only: Sequence[str] = ()) -> tuple[FarmDevice, ...]:
    """The devices of this host that can be measured now.

    Parameters
    ----------
    label : str
        The host's label, its name where not given.
    only : sequence of str
        Names of devices or targets, with ``*`` for any text; all devices where there is none.

    Raises
    ------
    InvalidValueError
        Where ``only`` names nothing that is here.
    """
    host = host_label(label)
    found: dict[str, FarmDevice] = {}
    names: dict[str, None] = {}
    for spelling, detail, way in [*_of_this_host(), *_phones()]:
        device = spelling.rpartition(":")[0]
        name = device if device.startswith("adb:") else f"{device}@{host}"
        names |= dict.fromkeys((name, spelling))
        if only and not any(fnmatch.fnmatchcase(n, p) for n in (name, spelling) for p in only):
            continue
        known = found.get(name, FarmDevice(name, (), detail))
        found[name] = replace(
            known, targets=(*known.targets, spelling), ways={**known.ways, spelling: way}
        )
    if only and not found:
        raise InvalidValueError(
            "no such device here",
            field="only",
            expected=", ".join(names) or "devices, of which there are none",
            got=", ".join(only),
            hint=did_you_mean(only[0], names),
        )
    return tuple(found.values())


def _of_this_host() -> list[tuple[str, str, str]]:
    """Targets of this host that are ready, with what they are; each GPU is one of its own."""
    found: list[tuple[str, str, str]] = []
    for pattern, there in availabilities().items():
        address = _ADDRESS.search(pattern)
        if there.state != "ready" or (address and address.group() != _NUMBER):
            continue  # phones are looked for apart; other computers offer themselves
        if not address:
            found.append((pattern, there.detail, pattern))
            continue
        for number in range(_MOST_GPUS):
            spelling = _ADDRESS.sub(str(number), pattern, count=1)
            try:
                one = profiler_class(spelling).availability()
            except LatprofError:
                break
            if one.state != "ready":
                break
            found.append((spelling, one.detail, spelling))
    return found


def _phones() -> list[tuple[str, str, str]]:
    """Phones that can be measured, by their own serial, with the way that they are reached."""
    from latprof.profilers.runtimes.android.listing import describe_phones

    try:
        listed = describe_phones()
    except LatprofError:  # no adb here
        return []
    return [
        (
            f"adb:{each.facts.serial}:{runtime}",
            str(each.facts),
            f"adb:{each.serials[0]}:{runtime}",
        )
        for each in listed
        if each.facts is not None
        for runtime in each.libraries
    ]
