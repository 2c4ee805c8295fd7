"""Checks of the options that search spaces are made with."""

from __future__ import annotations

from collections.abc import Sequence

from latprof.errors import InvalidValueError

_LARGEST = 1 << 16


def whole_option(name: str, value: object, least: int = 1, most: int = _LARGEST) -> int:
    """Return an option that is a whole number; raises InvalidValueError for any other value."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidValueError(
            f"{name} is not possible",
            field=name,
            expected=f"a whole number from {least} to {most}",
            got=repr(value)[:80],
        )
    return int(value)


def whole_options(
    name: str, values: object, count: int, least: int = 1, most: int = _LARGEST
) -> tuple[int, ...]:
    """Return an option that is ``count`` whole numbers; raises InvalidValueError otherwise."""
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != count:
        raise InvalidValueError(
            f"{name} is not possible",
            field=name,
            expected=f"{count} whole numbers",
            got=repr(values)[:80],
        )
    return tuple(whole_option(name, value, least, most) for value in values)
