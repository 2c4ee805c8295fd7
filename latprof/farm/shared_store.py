"""A store for the threads of one process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from latprof.measurement.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa


class SharedStore(Store):
    """A store that the threads of one process use in turn.

    One transaction at a time: the devices of a farm would else wait for SQLite's lock, which is
    handed on by chance.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turn = threading.RLock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction, when no other thread has one."""
        with self._turn, super().transaction() as connection:
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A snapshot, when no other thread has a transaction."""
        with self._turn, super().snapshot() as connection:
            yield connection
