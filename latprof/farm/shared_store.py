"""A store for the threads of one process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from latprof.measurement.store.database import take_turn
from latprof.measurement.store.ledgers import lock_table
from latprof.measurement.store.schema import targets
from latprof.measurement.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

#: Transactions that are kept together, at most: each thread waits for all of them.
_MOST_TOGETHER = 32


class _Together:
    """Transactions of several threads that are kept together, each a savepoint of one."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.number = 0
        self.error: exc.SQLAlchemyError | None = None
        self._ended = threading.Event()

    def end(self) -> None:
        """Keep them, or where one broke the connection none."""
        try:
            if self.error is None:
                self.connection.commit()
        except exc.SQLAlchemyError as error:
            self.error = error
        finally:
            # What the database refuses to take back it has not kept either.
            with contextlib.suppress(exc.SQLAlchemyError):
                self.connection.close()
            self._ended.set()

    def await_end(self) -> None:
        """Return when what was done is on the disk; raises the database's error where it is not."""
        self._ended.wait()
        if self.error is not None:
            raise self.error


class SharedStore(Store):
    """A store that the threads of one process use in turn.

    One transaction at a time: the devices of a farm would else wait for SQLite's lock, which is
    handed on by chance. Those of threads that wait for their turn are kept together, since what a
    transaction costs is its way to the disk; each thread continues when its own is there. A
    transaction that fails leaves the others as they are, unless the database itself failed.

    ``has_failed`` says whether the database itself has failed in any thread.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turn = threading.RLock()
        self._count = threading.Lock()
        #: Threads that wait for their turn.
        self.coming = 0
        self._reading = 0
        self.has_failed = False
        self._together: _Together | None = None

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the database's errors into ours, and remember that there was one."""
        with super().errors():
            try:
                yield
            except exc.IntegrityError:  # a row that is there already
                raise
            except exc.DBAPIError:
                self.has_failed = True
                raise

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction, when no other thread has one; on leaving it is kept."""
        with self.errors():
            with self._my_turn():
                together = self._together = self._together or self._begin()
                try:
                    with together.connection.begin_nested():
                        yield together.connection
                except exc.IntegrityError:
                    raise
                except exc.SQLAlchemyError as error:
                    together.error = error
                    raise
                finally:
                    together.number += 1
                    if self._is_last(together):
                        self._together = None
                        together.end()
            together.await_end()

    def _is_last(self, together: _Together) -> bool:
        """Whether nobody comes who would keep what was done, or nobody should."""
        is_full = together.number >= _MOST_TOGETHER or together.error is not None
        return is_full or self._reading > 0 or not self.coming

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        """Whoever has the turn sees how many come after it."""
        with self._count:
            self.coming += 1
        with self._turn:
            with self._count:
                self.coming -= 1
            yield

    def _begin(self) -> _Together:
        connection = self._engine.connect()
        try:
            take_turn(connection, self.location, self.on_wait)
            # First the lock that is the first of all in other processes' transactions, too.
            lock_table(connection, targets)
        except BaseException:
            self.has_failed = True
            connection.close()
            raise
        return _Together(connection)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A snapshot, when no other thread has a transaction."""
        with self._turn, super().snapshot() as connection:
            self._reading += 1  # of this thread alone, as long as it has the turn
            try:
                yield connection
            finally:
                self._reading -= 1
