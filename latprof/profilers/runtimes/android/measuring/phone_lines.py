"""Lines over a stream of a phone: what the runner's client speaks through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.errors import DeviceError, MeasurementTimeoutError
from latprof.profilers.runtimes.android.transport.base import Deadline

if TYPE_CHECKING:
    from latprof.profilers.runtimes.android.transport.base import ByteStream


class PhoneLines:
    """Satisfies the client's ``LineStream`` over a program on a phone.

    Parameters
    ----------
    stream : ByteStream
        The program's input and output.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def write(self, content: bytes, timeout_s: float) -> None:
        try:
            self._stream.write(content, Deadline(timeout_s, "a request to the runner"))
        except MeasurementTimeoutError:
            raise TimeoutError from None
        except DeviceError as error:
            raise BrokenPipeError(str(error)) from None

    def read_line(self, timeout_s: float, most: int) -> bytes:
        deadline = Deadline(timeout_s, "the runner's answer")
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > most:
                break
            self._buffer += self._more(deadline)
        if not 0 <= end <= most:
            raise ValueError(f"a line of more than {most} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _more(self, deadline: Deadline) -> bytes:
        try:
            more = self._stream.read(deadline)
        except MeasurementTimeoutError:
            raise TimeoutError from None
        except DeviceError as error:
            raise BrokenPipeError(str(error)) from None
        if not more:
            raise EOFError
        return more
