"""How numbers are written in remarks and in the command line's tables."""

from __future__ import annotations

import math
import re

_FAMILY = re.compile(r"\(family (\d+) model (\d+)")
_NO_NEWS = re.compile(
    r"\((?:R|TM)\)|\b(?:Intel|AMD|NVIDIA|Processor|CPU|GeForce|Tesla|with Radeon Graphics)\b|@.*"
)
_MOST = 22
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
    brand = " ".join(_NO_NEWS.sub(" ", name.partition(" (")[0]).split()) or name
    family = _FAMILY.search(name)
    tail = f" ({family[1]}/{family[2]})" if family else ""
    most = _MOST - len(tail)
    return (brand if len(brand) <= most else f"{brand[: most - 3].rstrip()}...") + tail


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
