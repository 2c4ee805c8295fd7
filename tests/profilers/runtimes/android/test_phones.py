"""Pairing, and phones by name, through an adb server of a few lines: Debian's cannot pair."""

import socket
import threading
from dataclasses import replace

import pytest
from local_phone import FACTS

import latprof
from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    InvalidValueError,
    UsageError,
)
from latprof.profilers.runtimes.android import listing, phones
from latprof.profilers.runtimes.android.listing import PhoneListing
from latprof.profilers.runtimes.android.phones import open_phone, remember_address
from latprof.profilers.runtimes.android.transport import adb_direct
from latprof.profilers.runtimes.android.transport.adb_server import AdbServer, error_of
from latprof.profilers.runtimes.android.transport.base import ListedPhone, Timeouts
from latprof.workflows.doctor import doctor

GOOD, BAD = "Successfully paired to 192.168.1.5:37099 [guid=adb-1]", "Failed: Wrong password"


@pytest.fixture
def server(monkeypatch):
    """Answers one question after another; the list of what it was asked."""
    asked, answers = [], {"said": GOOD}
    listening = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listening.getsockname()[1]))

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                size = int(connection.recv(4), 16)
                asked.append(connection.recv(size).decode())
                text = "0029" if asked[-1] == "host:version" else answers["said"]
                connection.sendall(b"OKAY" + f"{len(text):04x}{text}".encode())

    threading.Thread(target=serve, daemon=True).start()
    yield asked, answers
    listening.close()


def test_a_phone_is_paired_by_its_code(server):
    asked, _ = server
    assert latprof.android("pair", "192.168.1.5:37099", code="123456").paired
    assert asked == ["host:version", "host:pair:123456:192.168.1.5:37099"]


def test_a_wrong_code_is_said(server):
    server[1]["said"] = BAD
    with pytest.raises(DeviceError, match=r"not paired: Failed: Wrong password.*dialogue"):
        latprof.android("pair", "192.168.1.5:37099", code="123456")


@pytest.mark.parametrize(
    ("address", "code"), [(None, "123456"), ("h:1", None), ("h:1", "12"), ("h", "123456")]
)
def test_what_the_phone_does_not_show(address, code):
    with pytest.raises(InvalidValueError, match=r"HOST:PORT and six digits"):
        latprof.android("pair", address, code=code)


def test_no_server_to_pair_through(monkeypatch):
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "9")
    monkeypatch.setattr(phones, "adb_program", lambda: None)
    with pytest.raises(DeviceError, match=r"no adb server is there.*cable"):
        latprof.android("pair", "h:1", code="123456")


# Which phone ------------------------------------------------------------------------------------


class Link:
    """A link to a phone by what it was asked for."""

    def __init__(self, serial, *_timeout):
        self.serial, self.is_closed = serial, False

    def close(self):
        self.is_closed = True


@pytest.fixture
def cables(monkeypatch, tmp_path):
    """No server, and a list of phones on cables."""
    listed = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    monkeypatch.setattr(phones, "server_here", lambda *_, **__: None)
    monkeypatch.setattr(phones, "is_installed", lambda _name: True)
    monkeypatch.setattr(phones, "usb_phones", lambda: listed)
    monkeypatch.setattr(adb_direct, "connect", Link)
    return listed


LISTED = """????????????           no permissions (missing udev rules?); see [http://x] usb:1-2
0A1B2C                 device usb:1-3 product:oriole model:Pixel_6 transport_id:4
192.168.1.5:5555       offline transport_id:5
adb-0A1B2C-x (2)._adb-tls-connect._tcp device product:oriole transport_id:6
(no serial number)     device usb:1-4 transport_id:7
7F                     asleep usb:1-5
broken
"""


def test_all_phones_of_a_list_are_read(server):
    server[1]["said"] = LISTED
    found = {phone.serial: phone for phone in phones.list_phones(60.0)}
    assert {serial: phone.state for serial, phone in found.items()} == {
        "????????????": "no permissions",
        "0A1B2C": "device",
        "192.168.1.5:5555": "offline",
        "adb-0A1B2C-x (2)._adb-tls-connect._tcp": "device",
        "(no serial number)": "device",
        "7F": "asleep",
    }
    assert "udev rules" in phones.remedy(found["????????????"])
    assert found["0A1B2C"].facts["model"] == "Pixel_6"


def test_a_server_that_is_older_than_features_or_breaks_off(monkeypatch):
    old = AdbServer(("127.0.0.1", 9))
    refusal = error_of("unknown host service")
    assert "install newer Android platform tools" in str(refusal)

    def refuse(_request, _deadline):
        raise refusal

    monkeypatch.setattr(old, "ask", refuse)
    assert "shell_v2" not in old.link("adb-X (2)._adb-tls-connect._tcp").features
    refusal = error_of("device 'X' not found")
    with pytest.raises(DeviceOfflineError):
        old.link("X")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("closed", ConnectionLostError),
        (
            "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set",
            DeviceUnauthorizedError,
        ),
        ("device still authorizing", DeviceUnauthorizedError),
        ("device still connecting", DeviceOfflineError),
        ("no devices/emulators found", DeviceOfflineError),
        ("insufficient permissions for device: udev rules wrong?", DeviceError),
        ("more than one device with serial A", DeviceError),
        ("{what}", DeviceError),
    ],
)
def test_each_refusal_of_a_server_has_its_kind_and_the_next_thing_to_do(said, kind):
    assert type(error_of(said)) is kind
    assert error_of(said).hint


def test_of_two_phones_the_environment_names_one_as_for_adb(cables, monkeypatch):
    cables += [ListedPhone("A1", "device"), ListedPhone("B2", "device")]
    monkeypatch.setattr(phones, "identity_of", lambda _server, serial, *_: (serial, "boot"))
    with pytest.raises(UsageError, match="2 phones are there"):
        open_phone()
    monkeypatch.setenv("ANDROID_SERIAL", "B2")
    assert open_phone().link.serial == "B2"
    assert open_phone("A1").link.serial == "A1"


def test_a_silent_phone_leaves_the_others_their_share_of_the_time(cables, monkeypatch):
    shares_s = []

    def silent(_server, _serial, deadline):
        shares_s.append(deadline.left_s())
        raise deadline.passed()

    monkeypatch.setattr(phones, "link_to", silent)
    cables += [ListedPhone("A1", "device"), ListedPhone("B2", "device")]
    with pytest.raises(UsageError, match="2 phones are there"):
        open_phone("", Timeouts(connect_s=2000.0))
    assert len(shares_s) == 2
    assert max(shares_s) <= 1000.0


def test_a_phone_is_sought_where_it_was_last_over_wifi(cables, monkeypatch):
    there = {"192.168.1.5:5555": ("OWN", "boot")}
    monkeypatch.setattr(phones, "identity_of", lambda _s, serial, *_: there.get(serial, ("", "")))
    remember_address("OWN", "OWN")  # on a cable
    with pytest.raises(DeviceOfflineError, match="no phone OWN is there"):
        open_phone("OWN")
    remember_address("OWN", "192.168.1.5:5555")
    assert open_phone("OWN").link.serial == "192.168.1.5:5555"
    cables.append(ListedPhone("OWN", "device"))
    assert open_phone("OWN").link.serial == "OWN"
    cables[:] = [ListedPhone("OWN", "offline")]
    assert open_phone("OWN").link.serial == "192.168.1.5:5555"
    cables[:] = [ListedPhone("OWN", "no permissions")]
    assert open_phone("OWN").link.serial == "192.168.1.5:5555"
    there["192.168.1.5:5555"] = ("another", "boot")  # an address is lent to many
    with pytest.raises(DeviceOfflineError, match=r"OWN may not be opened by this user.*udev rules"):
        open_phone("OWN")


@pytest.mark.parametrize("wireless", ["192.168.1.5:5555", "adb-OWN-x._adb-tls-connect._tcp."])
def test_of_a_cable_and_wifi_to_one_phone_the_cable_is_taken(cables, monkeypatch, wireless):
    monkeypatch.setattr(phones, "identity_of", lambda *_: ("OWN", "boot"))
    cables += [ListedPhone(wireless, "device"), ListedPhone("OWN", "device")]
    assert open_phone().link.serial == "OWN"


@pytest.mark.parametrize(
    "target", ["adb:OWN", "adb:OWN:litert", "adb:OWN:onnxruntime", "adb:OWN:benchmark-model"]
)
def test_a_checkup_takes_a_phone_or_its_target(cables, target):
    with pytest.raises(DeviceOfflineError, match="no phone OWN is there"):
        doctor(target)


def test_without_an_adb_program_too_a_phone_that_asks_is_listed_so(cables, monkeypatch):
    cables.append(ListedPhone("A1", "device", {"usb": "yes"}))
    monkeypatch.setattr(adb_direct, "connect", lambda *_: _raise(error_of("device unauthorized")))
    (found,) = listing.describe_phones()
    assert found.state == "unauthorized"
    assert "confirm `Allow USB debugging`" in found.remedy
    busy = DeviceOfflineError("no phone answers at A1: BUSY", hint="end the other program")
    monkeypatch.setattr(adb_direct, "connect", lambda *_: _raise(busy))
    (found,) = listing.describe_phones()
    assert (found.state, found.remedy) == (
        "silent",
        "no phone answers at A1: BUSY: end the other program",
    )


def _raise(error):
    raise error


def test_a_phone_with_32_bits_is_listed_as_one_that_cannot_be_measured(monkeypatch):
    facts = replace(FACTS, abis=("armeabi-v7a", "armeabi"))
    there = (PhoneListing(("A1",), "device", "", facts),)
    monkeypatch.setattr(listing, "describe_phones", lambda: there)
    (found,) = [each for each in latprof.devices() if each.phone is not None]
    assert (found.target, found.state) == ("adb:A1:litert", "missing")
    assert "64-bit Android" in found.remedy


def test_a_phone_that_a_server_names_with_blanks_is_named_by_its_own_serial(monkeypatch):
    there = (PhoneListing(("adb-OWN-x (2)._adb-tls-connect._tcp",), "device", "", FACTS),)
    monkeypatch.setattr(listing, "describe_phones", lambda: there)
    assert "adb:OWN:litert" in [each.target for each in latprof.devices()]
