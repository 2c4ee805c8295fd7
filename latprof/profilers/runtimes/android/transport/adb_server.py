"""Phones through the adb server that developers have running, by its own protocol.

A request is four hexadecimal digits of length and the text; an answer is ``OKAY`` or ``FAIL``, a
length and the reason (OVERVIEW.TXT of Android's adb). The server is never stopped, and an adb
program is started only where no server answers.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
from pathlib import Path

from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    UsageError,
)
from latprof.profilers.runtimes.android.transport.base import (
    ByteStream,
    Deadline,
    ListedPhone,
    PhoneLink,
    checked_serial,
)
from latprof.profilers.runtimes.android.transport.usb_cables import USB_HINTS

_PORT = 5037
_LONGEST_REASON, _LONGEST_LINE = 4096, 1024
#: A line of the list. A serial may hold blanks: ``adb-X (2)._adb-tls-connect._tcp`` of Wi-Fi, or
#: ``(no serial number)``. One state has two words; an explanation follows.
_LISTED = re.compile(
    r"(\S.*?)\s+(device|offline|unauthorized|authorizing|connecting|bootloader|recovery|sideload"
    r"|rescue|host|detached|unknown|no permissions)(?!\S)(.*)|(\S+)\s+(\S+)(.*)"
)
#: What a server says that does not know a request.
_UNKNOWN = "unknown host service"


def server_address() -> tuple[str, int]:
    """Where the server listens, by adb's own variables; raises UsageError for a wrong one."""
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", str(_PORT))
    host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS", "127.0.0.1")
    if found := re.fullmatch(r"tcp:(?:(.+):)?(\d+)", os.environ.get("ADB_SERVER_SOCKET", "")):
        host, port = found[1] or host, found[2]
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise UsageError(
            "not a port",
            field="ANDROID_ADB_SERVER_PORT",
            got=port[:40],
            hint="set it to the port of the adb server, or unset it",
        )
    return host, int(port)


def adb_program() -> Path | None:
    """The adb program of this computer: in the path, or in an Android SDK."""
    found = shutil.which("adb")
    places = [Path(found)] if found else []
    kits = (os.environ.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"))
    places += [Path(kit) / "platform-tools" / "adb" for kit in kits if kit]
    return next((place for place in places if os.access(place, os.X_OK)), None)


class SocketStream(ByteStream):
    """A stream over a socket."""

    def __init__(self, connected: socket.socket, peer: str) -> None:
        self._socket = connected
        self._peer = peer

    def read(self, deadline: Deadline, most: int = 1 << 16) -> bytes:
        try:
            self._socket.settimeout(deadline.left_s())
            _acknowledge_at_once(self._socket)
            return self._socket.recv(most)
        except TimeoutError:
            raise deadline.passed() from None
        except OSError as error:
            raise self._lost(error) from None

    def write(self, data: bytes, deadline: Deadline) -> None:
        sent = memoryview(data)
        try:
            while sent:
                self._socket.settimeout(deadline.left_s())
                sent = sent[self._socket.send(sent) :]
        except TimeoutError:
            raise deadline.passed() from None
        except OSError as error:
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> ConnectionLostError:
        return ConnectionLostError(f"the connection to {self._peer} broke: {error.strerror}")

    def waiting(self) -> bool:
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        self._socket.close()


def _acknowledge_at_once(connected: socket.socket) -> None:
    """Have the system acknowledge what comes next without a delay, where it can be told to.

    The server holds a small piece back until the one before it is acknowledged (Nagle's algorithm),
    which a system puts off for 40 ms: two answers in a row would wait that long.
    """
    if quick := getattr(socket, "TCP_QUICKACK", None):
        connected.setsockopt(socket.IPPROTO_TCP, quick, 1)


class AdbServer:
    """The server at an address.

    Parameters
    ----------
    address : (str, int)
        Host and port; default: :func:`server_address`.
    """

    def __init__(self, address: tuple[str, int] | None = None) -> None:
        self.address = address or server_address()

    def answers(self, timeout_s: float = 2.0) -> bool:
        """Whether a server is there."""
        try:
            self.ask("host:version", Deadline(timeout_s, "the adb server"))
        except (DeviceError, TimeoutError):
            return False
        return True

    def phones(self, timeout_s: float = 10.0) -> list[ListedPhone]:
        """All phones that the server knows, usable or not."""
        deadline = Deadline(timeout_s, "the list of phones")
        text = self.ask("host:devices-l", deadline)
        found = []
        lines = (line[:_LONGEST_LINE] for line in text.splitlines())
        for match in filter(None, map(_LISTED.fullmatch, lines)):
            serial, state, rest = match.groups()[:3] if match[1] else match.groups()[3:]
            facts = dict(word.split(":", 1) for word in rest.split() if ":" in word)
            found.append(ListedPhone(serial, state, facts))
        return found

    def link(self, serial: str, timeout_s: float = 20.0) -> AdbServerLink:
        """A link to one phone; raises DeviceOfflineError or DeviceUnauthorizedError."""
        deadline = Deadline(timeout_s, f"the connection to {serial}")
        try:
            text = self.ask(f"host-serial:{checked_serial(serial)}:features", deadline)
        except DeviceError as error:  # a server that is older than features are
            if _UNKNOWN not in error.problem:
                raise
            text = ""
        return AdbServerLink(self, serial, frozenset(text.strip().split(",")))

    def pair(self, address: str, code: str, timeout_s: float = 30.0) -> None:
        """Pair with the phone at HOST:PORT by the code that it shows (Android 11 and later).

        Raises DeviceError where the phone, or a server older than adb 30, refuses.
        """
        request = f"host:pair:{code}:{checked_serial(address)}"
        said = self.ask(request, Deadline(timeout_s, f"pairing with {address}"))
        if "Successfully paired" not in said:
            raise DeviceError(
                f"{address} was not paired: {said.strip()[:200]}",
                field="code",
                hint="the address and the code are those of the dialogue that is open on the phone",
            )

    def ask(self, request: str, deadline: Deadline) -> str:
        """The answer to a request that has one."""
        with self.open(request, deadline) as stream:
            size = _hexadecimal(stream.exactly(4, deadline))
            answer = stream.exactly(size, deadline)
        if len(answer) < size:
            raise ConnectionLostError(_BROKE_OFF)
        return answer.decode("utf-8", "replace")

    def open(self, request: str, deadline: Deadline) -> SocketStream:
        """A stream on which a request was made and accepted."""
        host, port = self.address
        try:
            connected = socket.create_connection(self.address, deadline.left_s())
        except TimeoutError:
            raise deadline.passed() from None
        except OSError as error:
            raise ConnectionLostError(
                f"no adb server at {host}:{port}: {error.strerror or error}",
                hint="start one with `adb start-server`",
            ) from None
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = SocketStream(connected, "the adb server")
        try:
            ask_on(stream, request, deadline)
        except BaseException:
            stream.close()
            raise
        return stream


class AdbServerLink(PhoneLink):
    """A phone behind an adb server."""

    def __init__(self, server: AdbServer, serial: str, features: frozenset[str]) -> None:
        self.server = server
        self.serial = serial
        self.features = features

    def open(self, service: str, deadline: Deadline) -> ByteStream:
        stream = self.server.open(f"host:transport:{checked_serial(self.serial)}", deadline)
        try:
            ask_on(stream, service, deadline)
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """Nothing is open between two services."""


def ask_on(stream: ByteStream, request: str, deadline: Deadline) -> None:
    """Make a request and read its OKAY; a FAIL is raised as what it says."""
    body = request.encode()
    if len(body) > 0xFFFF:
        raise UsageError(
            "a command is too long for adb",
            field="command",
            got=f"{len(body)} bytes",
            hint="give fewer words",
        )
    stream.write(f"{len(body):04x}".encode() + body, deadline)
    status = stream.exactly(4, deadline)
    if status == b"FAIL":
        size = min(_hexadecimal(stream.exactly(4, deadline)), _LONGEST_REASON)
        raise error_of(stream.exactly(size, deadline).decode("utf-8", "replace"))
    if status != b"OKAY":
        raise _no_server(status)


_BROKE_OFF = "the adb server broke off its answer"
_UPDATE = "install newer Android platform tools, and end the old server: `adb kill-server`"
_ALLOW = "unlock the phone and confirm `Allow USB debugging`, then run the command again"
_PLUG_IN, _LIST = "plug it in again, or wait until it has started", "`latprof devices` lists phones"
_NOT_ALLOWED = "the phone has not allowed this computer"
#: Words of a refusal, and its error with what to do; the first that fits counts.
_REFUSALS: dict[str, tuple[type[DeviceError], str, str | None]] = {
    _UNKNOWN: (DeviceError, "the adb server is too old: {}", _UPDATE),
    "(no|insufficient) permissions": (
        DeviceError,
        "this user may not open it",
        USB_HINTS["ACCESS"],
    ),
    "unauthorized|authorizing|authenticat": (DeviceUnauthorizedError, _NOT_ALLOWED, _ALLOW),
    "offline|connecting": (DeviceOfflineError, "the phone is offline", _PLUG_IN),
    "not found|no devices|unknown host": (DeviceOfflineError, "no such phone: {}", _LIST),
    "^(closed|device closed|protocol fault)$": (
        ConnectionLostError,
        "the phone closed it: {}",
        None,
    ),
    "more than one": (DeviceError, "two phones have this serial: {}", "unplug one"),
    "": (DeviceError, "adb refuses: {}", "plug it in again, and run the same command again"),
}


def error_of(reason: str) -> DeviceError:
    """The error for what a server, or a phone's adbd, says."""
    said = reason.strip()[:300]
    kind, text, hint = next(row for words, row in _REFUSALS.items() if re.search(words, said))
    return kind(text.format(said), hint=hint)


def _hexadecimal(text: bytes) -> int:
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", text):
        raise _no_server(text)
    return int(text, 16)


def _no_server(said: bytes) -> ConnectionLostError:
    """The error for four bytes that no server says, or the fewer of one that was ended."""
    if len(said) < 4:
        return ConnectionLostError(_BROKE_OFF)
    return ConnectionLostError(
        "what answers is not an adb server",
        hint="end the program that has its port, or name another: ANDROID_ADB_SERVER_PORT",
    )
