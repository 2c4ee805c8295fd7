"""Work that a signal must not cut off: who still needs a moment when the command has to end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS: list[float] = []


@contextmanager
def needs_time_to_end(seconds: float) -> Iterator[None]:
    """Within this context, a command that gets a signal has so many seconds to leave it."""
    _SECONDS.append(seconds)
    try:
        yield
    finally:
        _SECONDS.remove(seconds)


def seconds_to_end() -> float:
    """Most seconds that anybody needs; 0 where nobody does."""
    return max(_SECONDS, default=0.0)
