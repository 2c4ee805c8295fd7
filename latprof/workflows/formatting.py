"""How numbers are written in remarks and in the command line's tables."""

from __future__ import annotations


def milliseconds(value: float, digits: int = 3) -> str:
    """A time with so many decimals; a short one with two significant digits, never as 0."""
    small = 0 < abs(value) < 10 ** (1 - digits)
    return f"{value:.2g}" if small else f"{value:.{digits}f}"
