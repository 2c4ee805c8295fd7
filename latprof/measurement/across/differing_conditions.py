"""What was different when two stores were filled: the first place to look when numbers differ."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from latprof.measurement.labels import TargetLabels

#: Readings around visits whose medians are compared: what each is, its unit, and how far two
#: medians may lie apart, as a share of the larger one or as such.
_READINGS: dict[str, tuple[str, str, float, float]] = {
    "clock_mhz": ("clock", "MHz", 0.03, 0.0),
    "load1": ("load", "", 0.0, 0.5),
    "phone_skin_c": ("skin temperature", "C", 0.0, 2.0),
    "phone_battery_c": ("battery temperature", "C", 0.0, 2.0),
    "phone_battery_percent": ("battery", "%", 0.0, 20.0),
    "phone_status": ("thermal status", "", 0.0, 0.4),
    "phone_clock_mhz": ("clock of the cores", "MHz", 0.03, 0.0),
    "phone_least_clock_mhz": ("least clock of a visit", "MHz", 0.03, 0.0),
    "phone_limit_mhz": ("clock limit of the cores", "MHz", 0.01, 0.0),
    "phone_load1": ("load of the phone", "", 0.0, 1.0),
    "gpu_temperature_c": ("GPU temperature", "C", 0.0, 5.0),
    "gpu_clock_mhz": ("GPU clock", "MHz", 0.03, 0.0),
}
_CONSTANT_SHARE = 0.02
_DISTURBED_SHARE = 0.05
#: Facts of a host that change without changing a latency.
_NO_MATTER = frozenset({"memory"})


@dataclass(frozen=True)
class DifferingCondition:
    """One condition that two stores do not share.

    Parameters
    ----------
    name : str
        For example ``"device_name"`` or ``"skin temperature"``.
    a, b : str
        What it was in each store; medians of readings have their unit.
    kind : str
        ``"target"`` (an identity), ``"protocol"``, ``"host"`` (facts of the last campaign, and
        checks before it that came out differently) or ``"reading"`` (medians over all visits).
    """

    name: str
    a: str
    b: str
    kind: str

    def to_dict(self) -> dict[str, str]:
        """Return the condition as plain JSON values."""
        return asdict(self)


def differing_conditions(a: TargetLabels, b: TargetLabels) -> tuple[DifferingCondition, ...]:
    """What differs between the stores of two targets, identities first.

    Readings are held against each other by their medians over all visits, before and after each.
    """
    return (
        *_of_mappings(a.target.to_dict(), b.target.to_dict(), "target"),
        *_of_mappings({"reference": a.reference}, {"reference": b.reference}, "target"),
        *_of_mappings(a.protocol, b.protocol, "protocol"),
        *_of_mappings(_facts(a), _facts(b), "host"),
        *_checks(a, b),
        *_constants(a, b),
        *_of_readings(_readings(a), _readings(b)),
    )


def _of_mappings(
    a: Mapping[str, Any], b: Mapping[str, Any], kind: str
) -> Iterable[DifferingCondition]:
    for name in dict.fromkeys((*a, *b)):
        first, second = a.get(name), b.get(name)
        if first != second and a and b:
            yield DifferingCondition(name, _text(first), _text(second), kind)


def _text(value: object) -> str:
    return "not known" if value is None else str(value) or "none"


def _facts(measured: TargetLabels) -> dict[str, Any]:
    facts = measured.conditions.get("facts", {})
    return {name: value for name, value in facts.items() if name not in _NO_MATTER}


def _checks(a: TargetLabels, b: TargetLabels) -> Iterable[DifferingCondition]:
    """Checks before the last campaigns, such as of charging, one of which found more amiss."""
    first, second = (
        {each["name"]: (each["status"], each["finding"]) for each in side.conditions["checks"]}
        if side.conditions.get("checks")
        else {}
        for side in (a, b)
    )
    for name in (each for each in first if each in second):
        (status, finding), (other, other_finding) = first[name], second[name]
        if status != other:
            one, two = f"{finding} ({status})", f"{other_finding} ({other})"
            yield DifferingCondition(name, one, two, "host")


def _constants(a: TargetLabels, b: TargetLabels) -> Iterable[DifferingCondition]:
    first, second = a.reference_ms, b.reference_ms
    if abs(first - second) > _CONSTANT_SHARE * max(first, second):
        name = "the reference constant"
        yield DifferingCondition(name, f"{first:.3f} ms", f"{second:.3f} ms", "reading")


def _readings(measured: TargetLabels) -> dict[str, float]:
    """Medians of what was read around the visits; the share that was disturbed, and governors."""
    found: dict[str, list[float]] = defaultdict(list)
    disturbed = total = 0
    for measurement in measured.store.measurements(measured.target):
        total += 1
        disturbed += measurement.disturbed
        for moment in ("before", "after"):
            values = measurement.conditions.get(moment, {})
            for name in _READINGS:
                if name in values:
                    found[name].append(values[name])
    medians = {name: statistics.median(values) for name, values in found.items()}
    return medians | {"disturbed": disturbed / total if total else 0.0}


def _of_readings(a: Mapping[str, float], b: Mapping[str, float]) -> Iterable[DifferingCondition]:
    for name, (words, unit, share, difference) in _READINGS.items():
        if name in a and name in b:
            allowed = max(share * max(abs(a[name]), abs(b[name])), difference)
            if abs(a[name] - b[name]) > allowed:
                one, other = (f"{values[name]:.4g} {unit}".strip() for values in (a, b))
                yield DifferingCondition(words, one, other, "reading")
    if abs(a["disturbed"] - b["disturbed"]) > _DISTURBED_SHARE:
        one, other = (f"{100 * values['disturbed']:.0f} %" for values in (a, b))
        yield DifferingCondition("disturbed visits", one, other, "reading")
