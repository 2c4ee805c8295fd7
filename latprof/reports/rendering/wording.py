"""How numbers are written in a report."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What stands where a number is not known.
UNKNOWN = "—"


def number(value: float, digits: int = 2) -> str:
    """A number with thousands separators and ``digits`` decimals; a dash where it is unknown."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else UNKNOWN


def score(value: float) -> str:
    """An accuracy or another score: two decimals of a percentage, four figures below 10."""
    if not math.isfinite(value):
        return UNKNOWN
    small = value != 0 and abs(value) < 10
    return f"{value:.4g}" if small else number(value)


def ms(value: float) -> str:
    """Milliseconds without their unit: four figures, three below 1 ms."""
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    power = math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max((3 if power >= 0 else 2) - power, 1), 5)}f}"


def ms_column(values: Iterable[float]) -> list[str]:
    """Milliseconds for one column of a table: the same decimals in every row."""
    listed = [float(value) for value in values]
    sizes = sorted(abs(v) for v in listed if math.isfinite(v) and v)
    middle = sizes[len(sizes) // 2] if sizes else 1.0
    digits = min(max(3 - math.floor(math.log10(middle)), 1), 4)
    return [number(value, digits) for value in listed]


def percent(fraction: float, digits: int | None = None) -> str:
    """A fraction in percent, with the sign behind a space that does not break: ``"1.2 %"``.

    Below 1 % there are two decimals.
    """
    if not math.isfinite(fraction):
        return UNKNOWN
    value = 100 * fraction
    places = digits if digits is not None else (2 if abs(value) < 1 else 1)
    return f"{value:,.{places}f}\u00a0%"


def duration(seconds: float) -> str:
    """A time span for people: ``"42 s"``, ``"7 min 30 s"``, ``"2 h 5 min"``."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def moment(unix_s: float) -> str:
    """A Unix time as date and time, UTC."""
    if not math.isfinite(unix_s):
        return UNKNOWN
    return dt.datetime.fromtimestamp(unix_s, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def count(value: int, noun: str, plural: str = "") -> str:
    """A count with its noun: ``count(2, "network")`` is ``"2 networks"``."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def short(name: str, length: int = 48) -> str:
    """A name cut in its middle where it is longer than ``length``."""
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[-(length - 1 - head) :]}"


def distinct(names: Sequence[str]) -> list[str]:
    """Names with a number behind each that occurred before, so that axes keep them apart."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
