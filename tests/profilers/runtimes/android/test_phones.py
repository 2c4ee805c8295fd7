"""Pairing through an adb server, here one of a few lines: Debian's is older than pairing."""

import socket
import threading

import pytest

import latprof
from latprof.errors import DeviceError, InvalidValueError
from latprof.profilers.runtimes.android import phones

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
