"""Work that a signal must not cut off: who still needs a moment when the command has to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_Result = TypeVar("_Result")
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


def run_to_its_end(work: Callable[[], _Result]) -> _Result:
    """Call ``work`` and return its result; an interrupt is raised once it has ended, not amid it.

    For what continues elsewhere, such as a command on a phone: whoever puts right what it does must
    not begin before it has done it. Raises what ``work`` raises.
    """
    begun, ended = threading.Lock(), threading.Event()
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        if begun.acquire(blocking=False):
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001  which is raised in the other thread
                errors.append(error)
            ended.set()

    try:
        threading.Thread(target=run, name="to its end").start()
        ended.wait()
    except KeyboardInterrupt:
        if not begun.acquire(blocking=False):  # else it does not begin any more
            ended.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]
