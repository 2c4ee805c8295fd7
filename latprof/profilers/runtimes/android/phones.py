"""Phones that can be reached from here: found, chosen by serial, and connected to.

A running adb server is asked; an adb program is started only where no server answers; without
either, adb-shell speaks to phones itself. The server is never stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.extras import is_installed
from latprof.common.files import write_atomically
from latprof.errors import (
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    LatprofError,
    MeasurementTimeoutError,
    MissingDependencyError,
    UsageError,
)
from latprof.profilers.runtimes.android.owner import file_name, phones_folder
from latprof.profilers.runtimes.android.transport import adb_direct
from latprof.profilers.runtimes.android.transport.adb_server import (
    AdbServer,
    adb_program,
    error_of,
)
from latprof.profilers.runtimes.android.transport.base import (
    Deadline,
    ListedPhone,
    PhoneLink,
    Timeouts,
    checked_serial,
)
from latprof.profilers.runtimes.android.transport.services import PhoneServices
from latprof.profilers.runtimes.android.transport.usb_cables import usb_phones

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Most seconds for an adb server to answer, or to start where an adb program is there.
SERVER_S, _START_S = 5.0, 15.0
#: Most seconds for a phone to be paired.
_PAIRING_S = 30.0
#: How long a phone that is between two states is looked at again, and how often.
_BETWEEN_S, _LOOK_AGAIN_S = 10.0, 0.25
#: How adb's interface is known on a USB bus: class, subclass, protocol.
_ADB_INTERFACE = ("ff", "42", "01")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def list_phones(timeout_s: float = 10.0) -> tuple[ListedPhone, ...]:
    """All phones that are there, usable or not, within ``timeout_s``.

    An adb program is started only where no server answers and a phone seems to be on a cable.
    """
    deadline = Deadline(timeout_s, "the list of phones")
    server = server_here(deadline, start=_phone_on_a_cable())
    if server is not None:
        return tuple(server.phones(deadline.left_s()))
    return tuple(usb_phones())


def open_phone(serial: str = "", timeouts: Timeouts | None = None) -> PhoneServices:
    """Connect to a phone; the caller closes ``.link``.

    Parameters
    ----------
    serial : str
        As ``adb devices`` lists it, HOST:PORT, or the phone's own ``ro.serialno`` over whichever
        way it is there, or was last over Wi-Fi; empty where one phone is there, or
        ``ANDROID_SERIAL`` says which.
    timeouts : Timeouts, optional

    Raises
    ------
    UsageError
        Where two phones are there and no serial says which.
    DeviceOfflineError, DeviceUnauthorizedError, ConnectionLostError, MeasurementTimeoutError
    MissingDependencyError
        Where neither an adb program nor adb-shell is installed.
    """
    times = timeouts or Timeouts()
    serial = serial or os.environ.get("ANDROID_SERIAL", "")
    deadline = Deadline(times.connect_s, f"the connection to {serial or 'the phone'}")
    server = server_here(deadline, start=True)
    if server is None and not is_installed("adb_shell"):
        raise MissingDependencyError("adb-shell", "android", "a phone without an adb program")
    if serial:
        checked_serial(serial)
    listed = _listed(server, serial, deadline)
    if serial and _is_address(serial) and serial not in {phone.serial for phone in listed}:
        return PhoneServices(_link_to_address(server, serial, deadline), times)
    try:
        chosen = _chosen(server, serial, listed, deadline)
    except DeviceOfflineError:
        if link := _link_where_it_was(server, serial, listed, deadline):
            return PhoneServices(link, times)
        raise
    return PhoneServices(link_to(server, chosen, deadline), times)


def _listed(server: AdbServer | None, serial: str, deadline: Deadline) -> tuple[ListedPhone, ...]:
    """Phones that are there, as soon as the one that is meant is no more between two states.

    While a connection begins, its key is looked at, and after a cut Wi-Fi is offline for a moment.
    """
    until = time.monotonic() + _BETWEEN_S
    while True:
        listed = tuple(server.phones(deadline.left_s()) if server else usb_phones())
        states = {phone.state for phone in listed if serial in ("", phone.serial)}
        passing = {"authorizing", "connecting"} | ({"offline"} if _is_address(serial) else set())
        if not states or not states <= passing or time.monotonic() >= until:
            return listed
        time.sleep(_LOOK_AGAIN_S)


def remember_address(serial: str, address: str) -> None:
    """Keep the HOST:PORT at which a phone is, by its own serial; nothing for a phone on a cable.

    A server that has started anew lists no phone over Wi-Fi, and without one none is listed at all.
    """
    if not _is_address(address) or address == serial:
        return
    with suppress(LatprofError, OSError):
        if _address_of(serial) != address:
            write_atomically(_address_file(serial), address.encode())


def pair_phone(address: str, code: str) -> None:
    """Pair with a phone over Wi-Fi, through an adb server; raises DeviceError."""
    server = server_here(Deadline(_PAIRING_S, f"pairing with {address}"), start=True)
    if server is None:
        raise DeviceError(
            "no adb server is there, through which phones are paired",
            field="server",
            hint="install Android's platform tools, or use a cable",
        )
    server.pair(address, code, _PAIRING_S)


def remedy(phone: ListedPhone) -> str:
    """What to do about a phone that cannot be used; empty for one that can."""
    return _REMEDIES.get(phone.state, "plug it in again" if phone.state != "device" else "")


_REMEDIES = {
    "device": "",
    "offline": "plug it in again, or wait until it has started",
    "unauthorized": "unlock it and confirm `Allow USB debugging`",
    "authorizing": "unlock it and confirm `Allow USB debugging`",
    "connecting": "wait a moment",
    "no permissions": "this user may not use the USB device: install udev rules for Android "
    "(Debian: android-sdk-platform-tools-common) and plug it in again",
    "recovery": "start Android on it",
    "sideload": "start Android on it",
    "bootloader": "start Android on it: `fastboot reboot`",
    "rescue": "start Android on it",
    "host": "that is no phone",
}


def _chosen(
    server: AdbServer | None, serial: str, listed: Sequence[ListedPhone], deadline: Deadline
) -> str:
    """The serial by which the phone that is meant can be reached."""
    usable = [phone for phone in listed if phone.state == "device"]
    if serial:
        same = [phone for phone in listed if phone.serial == serial]
        if len(same) > 1:
            raise DeviceError(
                f"two phones have the serial {serial}",
                field="serial",
                hint="unplug one, or name the other way to it: HOST:PORT",
            )
        if same and same[0].state == "device":
            return serial
        # Over the other way: cable and Wi-Fi are one phone.
        n = len(usable)
        whose = [(phone.serial, identity_of(server, phone.serial, deadline, n)) for phone in usable]
        found = [(reached, boot) for reached, (own, boot) in whose if own == serial]
        if len({boot for _, boot in found}) > 1:
            ways = ", ".join(reached for reached, _ in found)
            raise DeviceError(
                f"two phones have the serial {serial}: {ways}",
                field="serial",
                hint="unplug one, or name it as `latprof devices` lists it",
            )
        if found:
            return found[0][0]
        raise _unusable(same[0]) if same else _absent(serial, listed)
    if len(usable) == 1:
        return usable[0].serial
    if not usable:
        raise _unusable(listed[0]) if len(listed) == 1 else _absent("", listed)
    owns = {identity_of(server, phone.serial, deadline, len(usable)) for phone in usable}
    if len(owns) == 1 and ("", "") not in owns:  # one phone, over cable and Wi-Fi: the cable
        return min(usable, key=lambda phone: _is_wireless(phone.serial)).serial
    raise UsageError(
        f"{len(usable)} phones are there: {', '.join(phone.serial for phone in usable)}",
        field="serial",
        hint=f"say which one, for example adb:{usable[0].serial}; as a target with the runtime: "
        f"adb:{usable[0].serial}:litert",
    )


def _unusable(phone: ListedPhone) -> DeviceError:
    kind: type[DeviceError] = {
        "unauthorized": DeviceUnauthorizedError,
        "authorizing": DeviceUnauthorizedError,
    }.get(phone.state, DeviceOfflineError)
    what = f"is {phone.state}"
    if phone.state == "no permissions":
        what = "may not be opened by this user"
    elif kind is DeviceUnauthorizedError:
        what = "has not allowed this computer"
    return kind(
        f"the phone {phone.serial} {what}",
        field="serial",
        hint=f"{remedy(phone)}, then run the command again",
    )


def _absent(serial: str, listed: Sequence[ListedPhone]) -> DeviceOfflineError:
    there = ", ".join(f"{phone.serial} ({phone.state})" for phone in listed)
    return DeviceOfflineError(
        f"no phone {serial} is there" if serial else "no phone is there that can be used",
        field="serial",
        expected=f"one of {there}" if there else None,
        hint="`latprof devices` says what to do about each"
        if there
        else "switch on USB debugging on the phone (Settings, Developer options), plug it in, and "
        "see `latprof devices`",
    )


def identity_of(
    server: AdbServer | None, serial: str, deadline: Deadline, among: int = 1
) -> tuple[str, str]:
    """The phone's own serial and its boot's id; empty where it does not answer.

    A silent one of several, ``among`` so many, leaves the others their share of the time.
    """
    script = (
        's=$(getprop ro.serialno); echo "${s:-$(getprop ro.boot.serialno)}"; '
        "cat /proc/sys/kernel/random/boot_id"
    )
    try:
        each = Deadline(deadline.left_s() / among, f"asking {serial} who it is")
        with link_to(server, serial, each) as link:
            run = PhoneServices(link).run(["sh", "-c", script], timeout_s=each.left_s())
    except LatprofError:
        deadline.left_s()
        return "", ""
    own, boot = [*run.stdout.splitlines(), "", ""][:2]
    return own.strip(), boot.strip()


def link_to(server: AdbServer | None, serial: str, deadline: Deadline) -> PhoneLink:
    """A link to a phone that is there: through the server where one is, else latprof's own."""
    if server is not None:
        return server.link(serial, deadline.left_s())
    return adb_direct.connect(serial, deadline.left_s())


def _link_to_address(server: AdbServer | None, serial: str, deadline: Deadline) -> PhoneLink:
    """A phone at HOST:PORT that no server lists yet; a server keeps it in its list."""
    if server is None:
        return adb_direct.connect(serial, deadline.left_s())
    said = server.ask(f"host:connect:{serial}", deadline)
    if not said.startswith(("connected to", "already connected")):
        raise (
            error_of(said)
            if "authenticat" in said
            else DeviceOfflineError(
                f"no phone answers at {serial}: {said.strip()[:200]}",
                field="serial",
                hint="check the address; Android 11 and later must be paired first "
                "(`latprof android pair HOST:PORT --code CODE`)",
            )
        )
    return server.link(serial, deadline.left_s())


def _address_file(serial: str) -> Path:
    return phones_folder() / f"{file_name(serial)}.address"


def _address_of(serial: str) -> str:
    """Where a phone was last over Wi-Fi; empty where that is not known."""
    with suppress(LatprofError, OSError, UnicodeDecodeError):
        found = checked_serial(_address_file(serial).read_text(encoding="utf-8"))
        return found if _is_address(found) else ""
    return ""


def _link_where_it_was(
    server: AdbServer | None, serial: str, listed: Sequence[ListedPhone], deadline: Deadline
) -> PhoneLink | None:
    """A link to a phone that is not listed, where it was last over Wi-Fi; None without it."""
    address = _address_of(serial) if serial else ""
    if not address or address in {phone.serial for phone in listed}:
        return None
    with suppress(LatprofError):
        link = _link_to_address(server, address, deadline)
        if identity_of(server, address, deadline)[0] == serial:
            return link
        link.close()
    return None


def _is_wireless(serial: str) -> bool:
    """HOST:PORT, or the name by which a server finds a paired phone itself."""
    return _is_address(serial) or "._adb-tls-" in serial


def _is_address(serial: str) -> bool:
    host, colon, port = serial.rpartition(":")
    return bool(host and colon and port.isascii() and port.isdigit())


# The server ----------------------------------------------------------------------------------


def server_here(deadline: Deadline, *, start: bool) -> AdbServer | None:
    """The server that answers, started where it may be; None where there is none."""
    server = AdbServer()
    try:
        if server.answers(min(SERVER_S, deadline.left_s())):
            return server
    except MeasurementTimeoutError:
        host, port = server.address
        raise DeviceError(
            f"the adb server at {host}:{port} does not answer",
            field="server",
            hint="end it (`adb kill-server`, or its process), and run the command again",
        ) from None
    program = adb_program() if start and server.address[0] in _LOOPBACK else None
    if program is None:
        return None
    try:
        subprocess.run(  # noqa: S603 - the user's own adb
            [program, "-P", str(server.address[1]), "start-server"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            start_new_session=True,
            timeout=min(_START_S, deadline.left_s()),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return server if server.answers(min(SERVER_S, deadline.left_s())) else None


def _phone_on_a_cable() -> bool:
    """Whether a USB device has adb's interface; True where this system does not show it."""
    bus = Path("/sys/bus/usb/devices")
    if not sys.platform.startswith("linux"):
        return True
    names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    for place in bus.glob("*:*"):
        try:
            found = tuple((place / name).read_text().strip() for name in names)
        except OSError:
            continue
        if found == _ADB_INTERFACE:
            return True
    return False
