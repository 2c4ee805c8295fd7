"""How numbers are written in remarks and in the command line's tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

_FAMILY = re.compile(r"\(family (\d+) model (\d+)")
_NO_NEWS = re.compile(
    r"\((?:R|TM)\)|\b(?:Intel|AMD|NVIDIA|Processor|CPU|GeForce|Tesla|with Radeon Graphics)\b|@.*"
)
_MOST, _MOST_DETAIL = 22, 12
#: Of several devices that are alike, some may share what others lack.
_TURNS = 3
#: What a spreadsheet takes for a formula at the begin of a cell, in East Asia wide signs too.
_BEGINS_A_FORMULA = (*"=+-@", *"\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")


def milliseconds(value: float, digits: int = 3) -> str:
    """A time with so many decimals; a short one with two significant digits, never as 0."""
    small = 0 < abs(value) < 10 ** (1 - digits)
    return f"{value:.2g}" if small else f"{value:.{digits}f}"


def short_device(name: str) -> str:
    """A device's name for a narrow table: the long ones are in JSON.

    ``"Intel(R) Xeon(R) Processor (family 6 model 167 stepping 1, ...)"`` is ``"Xeon (6/167)"``.
    """
    family = _FAMILY.search(name)
    return _shortened(name, f"{family[1]}/{family[2]}" if family else "")


def _shortened(name: str, detail: str) -> str:
    brand = " ".join(_NO_NEWS.sub(" ", name.partition(" (")[0]).split()) or name
    tail = f" ({detail})" if detail else ""
    most = _MOST - len(tail)
    return (brand if len(brand) <= most else f"{brand[: most - 3].rstrip()}...") + tail


def short_devices(names: Iterable[str]) -> dict[str, str]:
    """Short names of the devices of one table: those that would be alike say how they differ.

    ``"EPYC (25/17)"`` twice becomes ``"EPYC (avx2)"`` and ``"EPYC (avx512)"``.
    """
    short = {name: short_device(name) for name in names}
    words = {name: [word.strip("(),") for word in name.split()] for name in short}
    for _ in range(_TURNS):
        for alike in _alike(short):
            common = set.intersection(*(set(words[name]) for name in alike))
            for name in alike:
                own = next((word for word in words[name] if word not in common), "")
                short[name] = _shortened(name, own[:_MOST_DETAIL]) if own else short[name]
    return short


def _alike(short: Mapping[str, str]) -> list[list[str]]:
    """The names that share a short one, a list each."""
    groups: dict[str, list[str]] = {}
    for name, each in short.items():
        groups.setdefault(each, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def interval(low: float, high: float) -> str:
    """Both ends of an interval of milliseconds, or that it is not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "n/a (needs 2 visits)"
    return f"{milliseconds(low)} to {milliseconds(high)}"


def no_formula(value: object) -> object:
    """A cell that no spreadsheet runs: an apostrophe before a text that begins a formula.

    A carriage return would end the row, and what follows begin another cell: it is written out.
    """
    if not isinstance(value, str):
        return value
    mark = "'" if value.startswith(_BEGINS_A_FORMULA) else ""
    return mark + value.replace("\r", "\\r")
