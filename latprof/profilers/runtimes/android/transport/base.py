"""The seam to a phone: a link opens services of the phone's adbd as streams of bytes."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latprof.errors import InvalidValueError, MeasurementTimeoutError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: What to do about a phone that does not answer as one, and about one that is slow.
START_ANEW = "start the phone anew, and run the same command again"
_SLOW = "check that the phone is awake and connected, and run the same command again"
#: A serial as phones and emulators have them, or HOST:PORT; no other text is sent to a server.
_SERIAL = re.compile(r"(?! )[A-Za-z0-9._:\[\]@%() -]{1,128}(?<! )")


@dataclass(frozen=True)
class Timeouts:
    """How long each step may take, in seconds; each holds over the whole call.

    Parameters
    ----------
    connect_s : float
        Until a phone answers, its question whether this computer may connect included.
    run_s : float
        A command on the phone, from its start to its exit status.
    push_s, pull_s : float
        One file to the phone, or from it.
    """

    connect_s: float = 20.0
    run_s: float = 60.0
    push_s: float = 300.0
    pull_s: float = 60.0


class Deadline:
    """A point in time that ends a whole call, however the time was spent."""

    def __init__(self, seconds: float, doing: str) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._doing = doing

    def left_s(self) -> float:
        """Seconds left; raises MeasurementTimeoutError where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> MeasurementTimeoutError:
        """The error to raise when the time is over."""
        return MeasurementTimeoutError(
            f"{self._doing} took longer than {self._seconds:g} s", hint=_SLOW
        )


@dataclass(frozen=True)
class ListedPhone:
    """A phone as it is listed, before anything was asked of it.

    Parameters
    ----------
    serial : str
        What names it here: its serial, or HOST:PORT.
    state : str
        ``device`` where it can be used; else ``offline``, ``unauthorized``, ...
    facts : mapping of str to str
        What the list says besides: ``model``, ``product``, ...
    """

    serial: str
    state: str
    facts: dict[str, str] = field(default_factory=dict)


class ByteStream(ABC):
    """Bytes to and from a service on the phone."""

    @abstractmethod
    def read(self, deadline: Deadline, most: int = 1 << 16) -> bytes:
        """Some bytes, at least one and at most ``most``; empty at the end.

        Raises ConnectionLostError where the link breaks, MeasurementTimeoutError.
        """

    @abstractmethod
    def write(self, data: bytes, deadline: Deadline) -> None:
        """Send all of ``data``; raises as :meth:`read` does."""

    @abstractmethod
    def close(self) -> None:
        """End the stream; may be called again."""

    @abstractmethod
    def waiting(self) -> bool:
        """Whether :meth:`read` would answer at once."""

    def exactly(self, n: int, deadline: Deadline) -> bytes:
        """``n`` bytes, or fewer where the stream ends before; raises as :meth:`read` does."""
        parts: list[bytes] = []
        while n > 0 and (more := self.read(deadline, n)):
            parts.append(more)
            n -= len(more)
        return b"".join(parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class PhoneLink(ABC):
    """A way to one phone. Used by one thread at a time but for its streams, which have their own.

    Attributes
    ----------
    serial : str
        What the user calls the phone.
    features : frozenset of str
        What its adbd says that it can, for example ``shell_v2``.
    is_exclusive : bool
        Whether nobody else can connect to the phone in the same way at the same time.
    """

    serial: str
    features: frozenset[str]
    is_exclusive: bool = False

    @abstractmethod
    def open(self, service: str, deadline: Deadline) -> ByteStream:
        """Open a service of the phone's adbd, for example ``shell,v2,raw:id``.

        Raises
        ------
        DeviceOfflineError, DeviceUnauthorizedError, DeviceError
            By what the phone, or the server before it, says.
        ConnectionLostError, MeasurementTimeoutError
        """

    @abstractmethod
    def close(self) -> None:
        """End the link; may be called again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def checked_serial(text: str) -> str:
    """A serial that may stand in a request; raises InvalidValueError for another text."""
    if not _SERIAL.fullmatch(text):
        raise InvalidValueError(
            "not the serial of a phone",
            field="serial",
            expected="a serial as `adb devices` prints it, or HOST:PORT",
            got=repr(text[:80]),
            hint="`latprof devices` lists phones",
        )
    return text
