"""Phones without any adb program, over TCP or USB: adb's own protocol through adb-shell.

Transports, framing and signatures are adb-shell's. Its streams are not used: their time-outs hold
for one packet and not for a call, a refused push is misread, and a shell tells no exit status.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from latprof.common.extras import require
from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    LatprofError,
)
from latprof.profilers.runtimes.android.transport.base import (
    START_ANEW,
    ByteStream,
    Deadline,
    PhoneLink,
    checked_serial,
)
from latprof.profilers.runtimes.android.transport.keys import key_files
from latprof.profilers.runtimes.android.transport.usb_cables import (
    USB_HINTS,
    opened_cable,
    usb_packet_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_PORT = 5555
_VERSION = 0x01000000  # with checksums: what every adbd accepts
_LARGEST = 1 << 20
_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3
_OF_STREAMS = frozenset({b"OPEN", b"OKAY", b"WRTE", b"CLSE"})
_BANNER = b"host::features=shell_v2,cmd,stat_v2\0"
#: How long one look for a packet takes, in which a deadline may pass, and its end at most.
LOOK_S, _END_S = 1.0, 10.0
#: Packets that wait to be read, more than adb's protocol has of a stream.
_MOST_WAITING = 16
#: How long a packet without data may take that no call waits for.
_ACKNOWLEDGE_S = 5.0
#: How often a connection that is reset before it is greeted is tried, and the pause: adbd resets
#: one that gets the number of an earlier one, which it takes a second to give up.
_ATTEMPTS, _AGAIN_S = 20, 0.25
_NO_PROTOCOL = "protocol"
_CHECK_THE_WAY = "check the cable, or `adb tcpip 5555` for Wi-Fi"


def connect(serial: str, timeout_s: float = 20.0) -> DirectLink:
    """A link to the phone at HOST:PORT, or on a USB cable by its serial.

    Raises
    ------
    DeviceOfflineError, DeviceUnauthorizedError, ConnectionLostError, MeasurementTimeoutError
    MissingDependencyError
        Where adb-shell is not installed (``pip install 'latprof[android]'``).
    """
    require("android", "a phone without an adb server", "adb_shell")
    deadline = Deadline(timeout_s, f"the connection to {serial}")
    for attempt in range(_ATTEMPTS):
        transport = _transport(checked_serial(serial), deadline)
        try:
            return DirectLink(serial, transport, deadline)
        except ConnectionLostError as error:
            transport.close()
            if error.field == _NO_PROTOCOL or attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(min(_AGAIN_S, deadline.left_s()))
        except BaseException:
            transport.close()
            raise
    raise AssertionError


def _transport(serial: str, deadline: Deadline) -> Any:
    host, colon, port = serial.rpartition(":")
    try:
        if colon and port.isdigit():
            from adb_shell.transport.tcp_transport import TcpTransport

            transport = TcpTransport(host.strip("[]"), int(port))
            transport.connect(deadline.left_s())
            # The library leaves Nagle's algorithm on, which delays each small file by 40 ms.
            if connected := getattr(transport, "_connection", None):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return transport
        return opened_cable(serial, deadline.left_s())
    except TimeoutError:
        raise deadline.passed() from None
    except Exception as error:  # noqa: BLE001 - the transports have no common base
        why = str(error)[:200]
        raise DeviceOfflineError(
            f"no phone answers at {serial}: {why}",
            hint=next((hint for word, hint in USB_HINTS.items() if word in why), _CHECK_THE_WAY),
        ) from None


class DirectLink(PhoneLink):
    """A connection to adbd that carries any number of streams.

    A thread of its own reads packets and hands them to their streams.
    """

    def __init__(self, serial: str, transport: Any, deadline: Deadline) -> None:
        self.serial = serial
        self.is_exclusive = "Usb" in type(transport).__name__
        self._packet_bytes = usb_packet_bytes(transport)
        self._transport = transport
        self._sending = threading.Lock()
        self._streams: dict[int, _PacketStream] = {}
        self._last = 0
        self._broken: str | None = None
        self._closed = False
        self.features, self._largest = self._greet(deadline)
        self._reading = threading.Thread(target=self._read_all, daemon=True, name="adb packets")
        self._reading.start()

    def open(self, service: str, deadline: Deadline) -> ByteStream:
        with self._sending:
            self._last += 1
            stream = _PacketStream(self, self._last)
            self._streams[stream.number] = stream
        self.send(b"OPEN", stream.number, 0, service.encode() + b"\0", deadline)
        stream.wait_until_open(service, deadline)
        return stream

    def close(self) -> None:
        self._closed = True
        thread = getattr(self, "_reading", None)
        if thread is None or thread is threading.current_thread():
            self._transport.close()
            return
        if self.is_exclusive:  # libusb must not lose a device that is being read
            thread.join(_END_S)
        self._transport.close()
        thread.join(_END_S)

    # Packets ---------------------------------------------------------------------------------

    def send(self, kind: bytes, first: int, second: int, data: bytes, deadline: Deadline) -> None:
        """Send one packet, whole."""
        from adb_shell.adb_message import AdbMessage

        header = AdbMessage(kind, first, second, data).pack()
        with self._sending:
            if self._broken:
                raise ConnectionLostError(self._broken)
            for part in self._transfers(header, data):
                self._write(part, deadline)

    def _transfers(self, header: bytes, data: bytes) -> tuple[bytes, ...]:
        """What is written in one go.

        Over USB adbd reads header and data as transfers of their own, each up to a packet that is
        not full: data that fills its last one is followed by an empty transfer.
        """
        if not self.is_exclusive:
            return (header + data,)
        is_full = len(data) % self._packet_bytes == 0
        return (header, *([data] if data else []), *([b""] if data and is_full else []))

    def _write(self, part: bytes, deadline: Deadline) -> None:
        left = memoryview(part)
        while True:
            try:
                left = left[self._transport.bulk_write(bytes(left), deadline.left_s()) :]
            except Exception as error:  # noqa: BLE001 - the transports have no common base
                deadline.left_s()
                raise self._lost(error) from None
            if not left:
                return

    def forget(self, number: int) -> None:
        """Take a stream out; what still comes for it is dropped."""
        self._streams.pop(number, None)

    @property
    def largest(self) -> int:
        """Most bytes of data in one packet."""
        return self._largest

    def _lost(self, error: object) -> ConnectionLostError:
        self._broken = f"the connection to {self.serial} broke: {str(error)[:200]}"
        return ConnectionLostError(self._broken)

    def _packet(self, left_s: Any) -> tuple[bytes, int, int, bytes]:
        """The next packet; ``left_s`` says before each look how long it may take."""
        header = self._exactly(24, left_s)
        number, first, second, size, _checksum, magic = struct.unpack("<6I", header)
        if number ^ magic != 0xFFFFFFFF or size > _LARGEST:
            raise ConnectionLostError(
                f"{self.serial} answers with what is not adb's protocol",
                field=_NO_PROTOCOL,
                hint="a phone that asks for TLS needs an adb server: run `adb start-server`",
            )
        return struct.pack("<I", number), first, second, self._exactly(size, left_s)

    def _exactly(self, n: int, left_s: Any) -> bytes:
        have = b""
        while len(have) < n:
            try:
                more = self._transport.bulk_read(n - len(have), left_s())
            except Exception as error:  # noqa: BLE001 - the transports have no common base
                if "timed out" in str(error).lower() or "TIMEOUT" in str(error):
                    continue
                raise self._lost(error) from None
            if not (more or self.is_exclusive):  # an empty transfer is no end
                raise self._lost("the phone closed it")
            have += more
        return have

    def _read_all(self) -> None:
        """Hand each packet to its stream until the connection ends."""
        try:
            while not self._closed:
                kind, first, second, data = self._packet(self._look_s)
                stream = self._streams.get(second)
                if stream is not None:
                    stream.take(kind, first, data)
        except BaseException as error:  # noqa: BLE001 - whoever waits for a packet must learn of it
            why = getattr(error, "problem", error)
            self._broken = self._broken or f"the connection to {self.serial} broke: {why}"
        for stream in list(self._streams.values()):
            stream.lose(self._broken or "")

    def _look_s(self) -> float:
        if self._closed:
            raise ConnectionLostError("closed")
        return LOOK_S

    # The greeting ----------------------------------------------------------------------------

    def _greet(self, deadline: Deadline) -> tuple[frozenset[str], int]:
        """Say who this is; sign what the phone asks; show a key to confirm where none is known."""
        self.send(b"CNXN", _VERSION, _LARGEST, _BANNER, deadline)
        answer = self._greeting(deadline)
        offers = self._offers()
        while answer[0] == b"AUTH" and answer[1] == _TOKEN:
            number, offer = next(offers, (0, None))
            if offer is None:
                raise self._unauthorized()
            self.send(b"AUTH", number, 0, offer(answer[3]), deadline)
            with self._confirmation(number):
                answer = self._greeting(deadline)
        kind, _, largest, data = answer
        if kind != b"CNXN":
            raise DeviceError(
                f"{self.serial} asks for a way to connect that is not spoken here",
                hint="run `adb start-server` and try again through it",
            )
        found = dict(
            item.split("=", 1)
            for item in data.rstrip(b"\0").decode("utf-8", "replace").split("::", 1)[-1].split(";")
            if "=" in item
        )
        return frozenset(found.get("features", "").split(",")), min(largest, _LARGEST)

    def _greeting(self, deadline: Deadline) -> tuple[bytes, int, int, bytes]:
        """The next packet that is none of a stream: on a cable some may be left of an earlier one.

        Those are of streams that nobody has any more.
        """
        while True:
            answer = self._packet(deadline.left_s)
            if answer[0] not in _OF_STREAMS:
                return answer

    def _offers(self) -> Iterator[tuple[int, Any]]:
        """Signatures by each key, then the first key to be confirmed."""
        from adb_shell.auth.sign_pythonrsa import PythonRSASigner

        keys = key_files()
        for place in keys:
            signer = PythonRSASigner(priv=place.read_text())
            yield _SIGNATURE, signer.Sign
        public = keys[0].with_name(keys[0].name + ".pub").read_bytes()
        yield _PUBLIC_KEY, lambda _token: public + b"\0"

    @contextlib.contextmanager
    def _confirmation(self, number: int) -> Iterator[None]:
        from latprof.errors import MeasurementTimeoutError

        try:
            yield
        except (MeasurementTimeoutError, ConnectionLostError):
            if number == _PUBLIC_KEY:
                raise self._unauthorized() from None
            raise

    def _unauthorized(self) -> DeviceUnauthorizedError:
        return DeviceUnauthorizedError(
            f"{self.serial} has not allowed this computer",
            hint="unlock the phone and confirm `Allow USB debugging`, then run the command again",
        )


class _PacketStream(ByteStream):
    """One stream of a connection."""

    def __init__(self, link: DirectLink, number: int) -> None:
        self._link = link
        self.number = number
        self._remote = 0
        self._packets: queue.SimpleQueue[tuple[bytes, int, bytes]] = queue.SimpleQueue()
        self._kept = b""
        self._ready = False  # whether the phone has taken the last packet
        self._ended = False

    def take(self, kind: bytes, remote: int, data: bytes) -> None:
        """A packet for this stream came; called by the reading thread."""
        if self._packets.qsize() > _MOST_WAITING:  # each is to be acknowledged before the next
            raise ConnectionLostError(f"{self._link.serial} sends without being asked to")
        self._packets.put((kind, remote, data))

    def lose(self, why: str) -> None:
        """The connection broke; called by the reading thread."""
        self._packets.put((b"LOST", 0, why.encode()))

    def wait_until_open(self, service: str, deadline: Deadline) -> None:
        while not self._ready:
            self._one(deadline)
            if self._ended:
                raise DeviceError(
                    f"{self._link.serial} refuses the service {service[:60]}", hint=START_ANEW
                )

    def read(self, deadline: Deadline, most: int = 1 << 16) -> bytes:
        while not self._kept and not self._ended:
            self._one(deadline)
        data, self._kept = self._kept[:most], self._kept[most:]
        return data

    def write(self, data: bytes, deadline: Deadline) -> None:
        for start in range(0, len(data), self._link.largest):
            while not self._ready and not self._ended:
                self._one(deadline)
            if self._ended:
                raise ConnectionLostError(f"{self._link.serial} ended the stream")
            self._ready = False
            part = data[start : start + self._link.largest]
            self._link.send(b"WRTE", self.number, self._remote, part, deadline)

    def waiting(self) -> bool:
        while not self._packets.empty():
            self._handle(*self._packets.get(), Deadline(_ACKNOWLEDGE_S, "an acknowledgement"))
        return bool(self._kept) or self._ended

    def close(self) -> None:
        self._link.forget(self.number)
        if self._remote and not self._ended:
            self._ended = True
            end = Deadline(_ACKNOWLEDGE_S, "closing a stream")
            with contextlib.suppress(LatprofError):
                self._link.send(b"CLSE", self.number, self._remote, b"", end)

    def _one(self, deadline: Deadline) -> None:
        try:
            packet = self._packets.get(timeout=deadline.left_s())
        except queue.Empty:
            raise deadline.passed() from None
        self._handle(*packet, deadline)

    def _handle(self, kind: bytes, remote: int, data: bytes, deadline: Deadline) -> None:
        if kind == b"LOST":
            self._ended = True
            raise ConnectionLostError(data.decode("utf-8", "replace"))
        if kind == b"OKAY":
            self._remote, self._ready = remote, True
        elif kind == b"WRTE":
            self._kept += data
            self._link.send(b"OKAY", self.number, self._remote, b"", deadline)
        elif kind == b"CLSE":
            self._ended = True
