"""Limits of parameters as data, and one wording for all of them."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latprof.errors import InvalidValueError, shown

#: What every random generator that latprof uses takes.
LARGEST_SEED = 2**63 - 1
_LARGEST = 1 << 16


@dataclass(frozen=True)
class Limit:
    """Which numbers a parameter takes.

    Parameters
    ----------
    low, high : float
        Least and largest value; both are taken themselves unless ``open_low`` or ``open_high``.
    whole : bool
        Whether it is a whole number.
    open_low, open_high : bool
        Whether the least or the largest value itself is not taken.
    optional : bool
        Whether None is taken, too.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    open_low: bool = False
    open_high: bool = False
    optional: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if not self.open_low and not self.open_high and math.isfinite(self.low + self.high):
            return f"{kind} from {self.low} to {self.high}"
        low = f"{'above' if self.open_low else 'of at least'} {self.low}"
        high = f"{'below' if self.open_high else 'at most'} {self.high}"
        low = low if self.low > -math.inf else ""
        high = high if self.high < math.inf else "finite" if self.open_high else ""
        return f"{kind} {' and '.join(filter(None, (low, high)))}"

    def takes(self, value: object) -> bool:
        """Whether ``value`` is such a number, Python's or NumPy's; never for a bool or NaN."""
        if value is None:
            return self.optional
        kind = numbers.Integral if self.whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            return False
        number: Any = value  # compared as it is: a float of a large whole number is another
        if not self.whole and not _has_float(number):
            return False
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return bool(above and below)

    def check(self, name: str, value: object) -> None:
        """Raise InvalidValueError, which names the parameter, unless it takes ``value``."""
        if not self.takes(value):
            raise InvalidValueError(
                f"{name} is out of range", field=name, expected=str(self), got=shown(value)
            )


def _has_float(number: Any) -> bool:
    """Whether a number has a float: a whole number may be too large for any."""
    try:
        float(number)
    except OverflowError:
        return False
    return True


ABOVE_0 = Limit(0, open_low=True)
#: Above 0, and finite.
POSITIVE = Limit(0, open_low=True, open_high=True)
#: At least 0, and finite.
NOT_NEGATIVE = Limit(0, open_high=True)
#: A share of something.
SHARE = Limit(0, 1)
#: A share, neither none nor all.
INNER_SHARE = Limit(0, 1, open_low=True, open_high=True)
#: A share, but not all.
NOT_ALL = Limit(0, 1, open_high=True)
#: Seconds: longer than any visit or download, and what the operating system can wait for.
TIMEOUT = Limit(0, 1e6, open_low=True)
SEED = Limit(0, LARGEST_SEED, whole=True)


def check_seed(seed: int) -> int:
    """Return ``seed``; raises InvalidValueError for one that no random generator here takes."""
    SEED.check("seed", seed)
    return seed


def whole(low: int, high: float = math.inf) -> Limit:
    """The limit of a whole number."""
    return Limit(low, high, whole=True)


_WHOLE = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:e[+-]?[0-9]{1,6})?|inf|infinity|nan)",
    re.IGNORECASE,
)


def read_number(text: str, *, is_whole: bool = False) -> float | None:
    """The number that a person wrote in ASCII digits; None for anything else.

    Python's own ``int`` and ``float`` take more: ``"1_0"``, numerals of other scripts, and
    ``"1e400"`` as infinity.
    """
    text = text.strip(" ")
    if is_whole:
        return int(text) if _WHOLE.fullmatch(text) else None
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return None if math.isinf(value) and "inf" not in text.lower() else value


def check_limits(record: object, limits: Mapping[str, Limit]) -> None:
    """Raise InvalidValueError for the first attribute of ``record`` outside its limit."""
    for name, limit in limits.items():
        limit.check(name, getattr(record, name))


def whole_option(name: str, value: object, least: int = 1, most: int = _LARGEST) -> int:
    """Return an option that is a whole number; raises InvalidValueError for any other value."""
    whole(least, most).check(name, value)
    assert isinstance(value, numbers.Integral)
    return int(value)


def whole_options(
    name: str, values: object, count: int, least: int = 1, most: int = _LARGEST
) -> tuple[int, ...]:
    """Return an option that is ``count`` whole numbers; raises InvalidValueError otherwise."""
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != count:
        raise InvalidValueError(
            f"{name} is out of range",
            field=name,
            expected=f"{count} whole numbers",
            got=shown(values),
        )
    return tuple(whole_option(name, value, least, most) for value in values)
