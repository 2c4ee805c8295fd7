"""Phones on USB cables by libusb1, through adb-shell's transport: found, opened, made ready."""

from __future__ import annotations

import contextlib
from typing import Any

from latprof.profilers.runtimes.android.transport.base import ListedPhone

#: A read that takes any packet, the longest pause in what is left on a cable, and most reads of it.
_READ_BYTES, _PAUSE_S, _MOST_LEFT = 1 << 14, 0.02, 256
#: The bit of the address of an endpoint that is read from, and the packet of USB 2.
_FROM_DEVICE, _PACKET_BYTES = 0x80, 512
#: What to do about libusb's errors, by a word of theirs.
USB_HINTS = {
    "ACCESS": "this user may not use the USB device: install udev rules for Android and plug it in "
    "again",
    "BUSY": "another program has the phone, such as an adb server of another user: end it",
}


def usb_phones() -> list[ListedPhone]:
    """Phones on the USB cables of this computer; none where libusb is not there."""
    with contextlib.suppress(ImportError, OSError):
        return [phone for phone, _ in _on_cables()]
    return []


def opened_cable(serial: str, timeout_s: float) -> Any:
    """adb-shell's transport to the phone with this serial, connected to; raises as libusb does."""
    found = [transport for phone, transport in _on_cables() if phone.serial == serial]
    if not found:
        raise LookupError("it is on no cable")
    (transport, *_) = found
    transport.connect(timeout_s)
    with contextlib.suppress(Exception):  # what a connection that was cut off left; ends by time
        for _ in range(_MOST_LEFT):
            transport.bulk_read(_READ_BYTES, _PAUSE_S)
    return transport


def usb_packet_bytes(transport: Any) -> int:
    """The largest packet that a transport writes, in bytes; that of USB 2 where it says nothing."""
    setting = getattr(transport, "_setting", None)
    endpoints = [] if setting is None else setting.iterEndpoints()
    writing = [each for each in endpoints if not each.getAddress() & _FROM_DEVICE]
    return max((each.getMaxPacketSize() for each in writing), default=_PACKET_BYTES)


def _on_cables() -> list[tuple[ListedPhone, Any]]:
    """Phones with their transports; one that may not be opened by the name of its port."""
    from adb_shell.transport.usb_transport import UsbTransport

    found = []
    for transport in UsbTransport.find_all_adb_devices():
        try:
            serial, state = str(transport.serial_number), "device"
        except Exception:  # noqa: BLE001 - libusb's errors have no base in common with Python's
            bus, *ports = transport.port_path
            serial, state = f"usb:{bus}-{'.'.join(map(str, ports))}", "no permissions"
        found.append((ListedPhone(serial, state, {"usb": "yes"}), transport))
    return found
