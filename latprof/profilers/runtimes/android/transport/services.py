"""Commands and files on a phone, over any link: adb's shell and sync protocols.

The protocols are those of SERVICES.TXT, SYNC.TXT and shell_protocol.h of Android's adb.
"""

from __future__ import annotations

import re
import secrets
import shlex
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.errors import (
    ConnectionLostError,
    DeviceDiskFullError,
    DeviceError,
    InputFileError,
    OutputPathError,
)
from latprof.profilers.runtimes.android.transport.base import START_ANEW, Deadline, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from latprof.profilers.runtimes.android.transport.base import ByteStream, PhoneLink

_STDOUT, _STDERR, _EXIT = 1, 2, 3
#: Largest part of a file in one message of the sync protocol.
_CHUNK = 64 << 10
#: Largest packet of a shell; adbd sends no larger ones.
_LARGEST_PACKET = 1 << 20
#: What a system says of a full disk, and what to do about one.
NO_SPACE = "No space left"
MAKE_ROOM = "make room on the phone, 1 GB is plenty, and run the same command again"
#: Longest path of the sync protocol.
_LONGEST_PATH = 1024


@dataclass(frozen=True)
class Ended:
    """A command that ended: its exit status, and what it wrote."""

    status: int
    stdout: str
    stderr: str


class PhoneServices:
    """What is done on a phone: commands, files, a program to talk to.

    Parameters
    ----------
    link : PhoneLink
    timeouts : Timeouts
    """

    def __init__(self, link: PhoneLink, timeouts: Timeouts | None = None) -> None:
        self.link = link
        self.timeouts = timeouts or Timeouts()

    def run(
        self,
        words: Sequence[str],
        *,
        timeout_s: float | None = None,
        most_bytes: int = 4 << 20,
    ) -> Ended:
        """Run a command, its words quoted for the phone's shell, and wait for its end.

        Raises
        ------
        DeviceError
            Where it writes more than ``most_bytes``.
        ConnectionLostError, MeasurementTimeoutError
        """
        seconds = timeout_s if timeout_s is not None else self.timeouts.run_s
        deadline = Deadline(seconds, f"`{words[0]}` on {self.link.serial}")
        command = shlex.join(words)
        if "shell_v2" in self.link.features:
            with self.link.open(f"shell,v2,raw:{command}", deadline) as stream:
                return _ended_v2(stream, deadline, most_bytes, self.link.serial)
        mark = secrets.token_hex(8)  # which no output can hold by chance
        with self.link.open(f"shell:{command} 2>&1; echo {mark}=$?", deadline) as stream:
            return _ended_v1(stream, deadline, most_bytes, self.link.serial, mark)

    def start(self, words: Sequence[str]) -> ByteStream:
        """Start a program whose input and output are the stream's; it ends with the stream."""
        deadline = Deadline(self.timeouts.connect_s, f"the start of `{words[0]}`")
        return self.link.open(f"exec:exec {shlex.join(words)}", deadline)

    def push(
        self,
        content: bytes | Path,
        remote: str,
        *,
        mode: int = 0o644,
        timeout_s: float | None = None,
    ) -> None:
        """Write a file on the phone.

        Raises
        ------
        InputFileError
            Where the file here cannot be read.
        OutputPathError
            Where the phone refuses the path, with the phone's words.
        DeviceDiskFullError, ConnectionLostError, MeasurementTimeoutError
        """
        seconds = timeout_s if timeout_s is not None else self.timeouts.push_s
        deadline = Deadline(seconds, f"writing {remote} on {self.link.serial}")
        path = _checked_path(remote)
        with self.link.open("sync:", deadline) as stream:
            name = path + f",{mode | 0o100000}".encode()
            try:
                stream.write(b"SEND" + struct.pack("<I", len(name)) + name, deadline)
                for chunk in _chunks(content):
                    if stream.waiting():  # a refusal comes while data flows
                        break
                    stream.write(b"DATA" + struct.pack("<I", len(chunk)) + chunk, deadline)
                else:
                    stream.write(b"DONE" + struct.pack("<I", 0), deadline)
            except ConnectionLostError:
                if not stream.waiting():
                    raise
            self._check(_sync_answer(stream, deadline, self.link.serial), remote)

    def pull(
        self, remote: str, *, most_bytes: int = 64 << 20, timeout_s: float | None = None
    ) -> bytes:
        """Read a file of the phone.

        Raises
        ------
        DeviceError
            Where the phone refuses, with its words, or the file is larger than ``most_bytes``.
        ConnectionLostError, MeasurementTimeoutError
        """
        seconds = timeout_s if timeout_s is not None else self.timeouts.pull_s
        deadline = Deadline(seconds, f"reading {remote} of {self.link.serial}")
        path = _checked_path(remote)
        parts: list[bytes] = []
        with self.link.open("sync:", deadline) as stream:
            stream.write(b"RECV" + struct.pack("<I", len(path)) + path, deadline)
            while True:
                kind, size = _sync_header(stream, deadline, self.link.serial)
                if kind == b"DONE":
                    return b"".join(parts)
                if kind == b"FAIL":
                    self._check((kind, stream.exactly(min(size, 4096), deadline)), remote)
                if kind != b"DATA" or size > _CHUNK:
                    raise _garbled(self.link.serial)
                parts.append(stream.exactly(size, deadline))
                if len(parts[-1]) < size:
                    raise ConnectionLostError(
                        f"{self.link.serial} broke off while {remote} was read"
                    )
                if sum(map(len, parts)) > most_bytes:
                    raise DeviceError(
                        f"{remote} of {self.link.serial} is larger than expected",
                        expected=f"at most {most_bytes} bytes",
                        hint=START_ANEW,
                    )

    def _check(self, answer: tuple[bytes, bytes], remote: str) -> None:
        kind, text = answer
        if kind == b"OKAY":
            return
        words = text.decode("utf-8", "replace")
        if NO_SPACE in words:
            raise DeviceDiskFullError(
                f"{self.link.serial} has no space left for {remote}", hint=MAKE_ROOM
            )
        raise OutputPathError(
            f"{self.link.serial} refuses {remote}: {words[:300]}",
            field="remote",
            hint="run `latprof android clean`, and the same command again",
        )


def _checked_path(remote: str) -> bytes:
    path = remote.encode()
    if not remote.startswith("/") or b"\0" in path or len(path) > _LONGEST_PATH - 16:
        raise OutputPathError(
            f"not a path on a phone: {remote[:100]!r}",
            field="remote",
            hint=f"give one that begins with / and has up to {_LONGEST_PATH - 16} bytes",
        )
    return path


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        for start in range(0, len(content), _CHUNK):
            yield content[start : start + _CHUNK]
        return
    try:
        with content.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise InputFileError(
            f"cannot read {content}: {error.strerror}", hint="check that it is there and readable"
        ) from None


def _sync_header(stream: ByteStream, deadline: Deadline, serial: str) -> tuple[bytes, int]:
    header = stream.exactly(8, deadline)
    if len(header) < 8:
        raise ConnectionLostError(f"{serial} broke off a file")
    return header[:4], struct.unpack("<I", header[4:])[0]


def _sync_answer(stream: ByteStream, deadline: Deadline, serial: str) -> tuple[bytes, bytes]:
    kind, size = _sync_header(stream, deadline, serial)
    if kind not in {b"OKAY", b"FAIL"} or size > _CHUNK:
        raise _garbled(serial)
    return kind, stream.exactly(size, deadline) if kind == b"FAIL" else b""


def _garbled(serial: str) -> ConnectionLostError:
    return ConnectionLostError(f"{serial} answers with what is not adb's protocol")


def _too_much(serial: str, most_bytes: int) -> DeviceError:
    return DeviceError(f"a command on {serial} wrote more than {most_bytes} bytes", hint=START_ANEW)


def _ended_v2(stream: ByteStream, deadline: Deadline, most_bytes: int, serial: str) -> Ended:
    """Read the packets of a shell of version 2: a number, a length and the bytes."""
    written: dict[int, list[bytes]] = {_STDOUT: [], _STDERR: []}
    total = 0
    while True:
        header = stream.exactly(5, deadline)
        if len(header) < 5:
            raise ConnectionLostError(f"{serial} broke off a command")
        number, size = struct.unpack("<BI", header)
        if size > _LARGEST_PACKET or number not in {_STDOUT, _STDERR, _EXIT}:
            raise _garbled(serial)
        body = stream.exactly(size, deadline)
        if len(body) < size:
            raise ConnectionLostError(f"{serial} broke off a command")
        if number == _EXIT:
            out, error = (b"".join(written[n]).decode("utf-8", "replace") for n in written)
            if not body:
                raise _garbled(serial)
            return Ended(body[0], out, error)
        written[number].append(body)
        total += size
        if total > most_bytes:
            raise _too_much(serial, most_bytes)


def _ended_v1(
    stream: ByteStream, deadline: Deadline, most_bytes: int, serial: str, mark: str
) -> Ended:
    """Read a shell of version 1, which mixes both outputs and tells no status."""
    parts, total = [], 0
    while more := stream.read(deadline):
        parts.append(more)
        total += len(more)
        if total > most_bytes:
            raise _too_much(serial, most_bytes)
    text = b"".join(parts).decode("utf-8", "replace").replace("\r\n", "\n")
    found = re.search(rf"{mark}=(\d{{1,3}})\s*\Z", text)
    if found is None:
        raise ConnectionLostError(f"{serial} broke off a command")
    return Ended(int(found[1]), text[: found.start()], "")
