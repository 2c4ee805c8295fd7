"""A phone on a cable without any adb program: transfers as adbd's USB side takes them."""

import queue
import struct
import sys
from types import SimpleNamespace

import pytest
from adb_shell.adb_message import AdbMessage

from latprof.errors import DeviceOfflineError
from latprof.profilers.runtimes.android.transport import adb_direct
from latprof.profilers.runtimes.android.transport.adb_direct import connect
from latprof.profilers.runtimes.android.transport.base import Deadline
from latprof.profilers.runtimes.android.transport.usb_cables import usb_phones

PACKET = 512
BANNER = b"device::ro.product.model=Pixel;features=shell_v2,cmd"
LONG_S = 120.0


class FakeUsbTransport:
    """adbd behind a cable: it takes a header of 24 bytes, then data up to a packet not full.

    ``left`` are transfers of an earlier connection, ``stale`` packets of one that come late.
    """

    def __init__(self, serial="A1", left=(), stale=()):
        self.serial_number, self.port_path = serial, [1, 3]
        endpoints = [
            SimpleNamespace(getAddress=lambda a=a: a, getMaxPacketSize=lambda: PACKET)
            for a in (0x81, 0x01)
        ]
        self._setting = SimpleNamespace(iterEndpoints=lambda: iter(endpoints))
        self._coming, self._stale = queue.Queue(), list(stale)
        for each in left:
            self._coming.put(each)
        self._header, self._data = None, b""
        self.got, self.reading, self.closed_while_read = [], 0, None

    def connect(self, _timeout_s):
        pass

    def close(self):
        self.closed_while_read = bool(self.reading)

    def bulk_write(self, data, _timeout_s):
        if self._header is None:
            assert len(data) == 24, "a header is a transfer of its own"
            self._header, self._data = struct.unpack("<6I", data), b""
            if self._header[3] == 0:
                self._take()
            return len(data)
        self._data += data
        if len(data) % PACKET or not data:  # a read of adbd's ends here
            assert len(self._data) == self._header[3]
            self._take()
        return len(data)

    def bulk_read(self, size, timeout_s):
        self.reading += 1
        try:
            found = self._coming.get(timeout=timeout_s)
        except queue.Empty:
            raise RuntimeError("LIBUSB_ERROR_TIMEOUT [-7]") from None
        finally:
            self.reading -= 1
        assert len(found) <= size, "LIBUSB_ERROR_OVERFLOW"
        return found

    def say(self, kind, first, second, data=b""):
        self._coming.put(AdbMessage(kind, first, second, data).pack())
        if data:
            self._coming.put(data)

    def _take(self):
        header, self._header = self._header, None
        kind, stream = struct.pack("<I", header[0]), header[1]
        self.got.append((kind, self._data))
        if kind == b"CNXN":
            for each in self._stale:
                self.say(*each)
            self.say(b"CNXN", 0x01000000, 1 << 20, BANNER)
        elif kind in {b"OPEN", b"WRTE"}:
            self.say(b"OKAY", 7, stream)


@pytest.fixture
def cables(monkeypatch):
    """Transports that libusb finds."""
    found = []
    there = SimpleNamespace(find_all_adb_devices=lambda: iter(found))
    module = SimpleNamespace(UsbTransport=there)
    monkeypatch.setitem(sys.modules, "adb_shell.transport.usb_transport", module)
    monkeypatch.setattr(adb_direct, "LOOK_S", 0.02)
    return found


@pytest.mark.parametrize("size", [1, PACKET - 1, PACKET, 2 * PACKET, 65_544])
def test_data_of_any_size_arrives_whole(cables, size):
    cable = FakeUsbTransport()
    cables.append(cable)
    deadline = Deadline(LONG_S, "a test")
    with connect("A1", LONG_S) as link:
        assert link.is_exclusive
        assert "shell_v2" in link.features
        with link.open("exec:cat", deadline) as stream:
            stream.write(bytes(size), deadline)
            stream.write(b"x", deadline)  # after what came before was taken
    kinds = [kind for kind, _ in cable.got]
    assert kinds == [b"CNXN", b"OPEN", b"WRTE", b"WRTE", b"CLSE"]
    assert cable.got[2][1] == bytes(size)
    assert cable.closed_while_read is False


def test_what_an_earlier_connection_left_is_passed_over(cables):
    stale = [(b"WRTE", 3, 1, b"old"), (b"CLSE", 3, 1)]
    cables.append(FakeUsbTransport(left=[b"half a packet", b"x" * PACKET], stale=stale))
    with connect("A1", LONG_S) as link:
        assert "cmd" in link.features


def test_a_phone_that_may_not_be_opened_keeps_no_other_from_being_used(cables):
    class Forbidden(FakeUsbTransport):
        serial_number = property(lambda _self: 1 / 0, lambda _self, _value: None)

    forbidden = Forbidden()
    forbidden.port_path = [1, 2, 4]
    cables += [forbidden, FakeUsbTransport("B2")]
    listed = [(phone.serial, phone.state) for phone in usb_phones()]
    assert listed == [("usb:1-2.4", "no permissions"), ("B2", "device")]
    connect("B2", LONG_S).close()
    with pytest.raises(DeviceOfflineError, match="no phone answers at C3"):
        connect("C3", LONG_S)


def test_what_libusb_refuses_is_said_with_what_to_do(cables, monkeypatch):
    def refuse(*_given):
        raise RuntimeError("LIBUSB_ERROR_BUSY [-6]")

    monkeypatch.setattr(FakeUsbTransport, "connect", refuse)
    cables.append(FakeUsbTransport())
    with pytest.raises(DeviceOfflineError, match=r"LIBUSB_ERROR_BUSY.*another program has"):
        connect("A1", LONG_S)
