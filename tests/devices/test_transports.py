"""Each way to a phone, against the real adbd: commands, files, time-outs, faults.

Through the adb server of Debian's package (29) and one of 2025 (36), and without any, by adb-shell.
"""

import contextlib
import os
import shutil
import subprocess
import time
from functools import partial

import pytest
from adb_phone import Phone
from command_line import LONGEST_S
from free_port import free_port
from newer_adb import newer_adb
from phone_profiles import PROFILES

from latprof.errors import (
    ConnectionLostError,
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    MeasurementTimeoutError,
    OutputPathError,
)
from latprof.profilers.runtimes.android.phone_facts import read_phone_facts
from latprof.profilers.runtimes.android.transport import adb_direct
from latprof.profilers.runtimes.android.transport.adb_server import AdbServer
from latprof.profilers.runtimes.android.transport.base import Deadline
from latprof.profilers.runtimes.android.transport.services import PhoneServices


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder of its own, where keys are made; and an adb server of its own."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.delenv("ADB_VENDOR_KEYS", raising=False)
        yield folder


@pytest.fixture(scope="module")
def phone(tmp_path_factory, home):
    with Phone(PROFILES["pixel-6"], tmp_path_factory.mktemp("phone")) as made:
        yield made


@contextlib.contextmanager
def a_server(program):
    """The server of an adb program, at a port of its own."""
    port = free_port()
    adb = [program, "-P", str(port)]
    subprocess.run([*adb, "start-server"], check=True, capture_output=True)
    yield AdbServer(("127.0.0.1", port))
    subprocess.run([*adb, "kill-server"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def server(home):
    with a_server(shutil.which("adb")) as made:
        yield made


@pytest.fixture(scope="module")
def newer_server(home, tmp_path_factory):
    program = newer_adb(tmp_path_factory.mktemp("adb"))
    told = subprocess.run([program, "version"], check=True, capture_output=True, text=True).stdout
    assert "Version 36." in told
    with a_server(program) as made:
        yield made


def linked_by_server(server, phone):
    server.ask(f"host:connect:{phone.serial}", Deadline(LONGEST_S, "connect"))
    end = time.monotonic() + LONGEST_S
    while {p.serial: p.state for p in server.phones()}.get(phone.serial) != "device":
        assert time.monotonic() < end
        time.sleep(0.05)
    return server.link(phone.serial, LONGEST_S)


@pytest.fixture(params=["server", "newer_server", "direct"])
def services(request, phone):
    phone.link.heal()
    if request.param == "direct":
        link = adb_direct.connect(phone.serial, LONGEST_S)
    else:
        link = linked_by_server(request.getfixturevalue(request.param), phone)
    with link:
        yield PhoneServices(link)
    phone.link.heal()


def test_a_command_tells_its_status_and_both_outputs(services):
    ended = services.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (ended.status, ended.stdout, ended.stderr) == (7, "out\n", "err\n")


def test_a_phone_without_shell_v2_tells_the_status_too(services):
    services.link.features = frozenset()
    ended = services.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (ended.status, ended.stdout) == (7, "out\nerr\n")


@pytest.mark.parametrize("word", ["$(touch /tmp/x)", "a b", "'", '"', "`id`", "; id", "*", "ä\n"])
def test_words_reach_the_phone_as_they_are(services, word):
    assert services.run(["printf", "%s", word]).stdout == word


def test_a_file_goes_there_and_back(services):
    content = os.urandom(3_000_001)
    services.push(content, "/data/local/tmp/file", mode=0o755)
    assert services.pull("/data/local/tmp/file") == content
    mode = services.run(["stat", "-c", "%a", "/data/local/tmp/file"]).stdout
    assert int(mode, 8) & 0o700 == 0o700
    with pytest.raises(DeviceError, match="larger than expected"):
        services.pull("/data/local/tmp/file", most_bytes=1000)


def test_a_refused_push_is_told_in_the_phones_words(services):
    with pytest.raises(OutputPathError, match="No such file or directory"):
        services.push(bytes(20 << 20), "/proc/none/file")
    assert services.run(["echo", "alive"]).stdout == "alive\n"


def test_a_missing_file_is_told_in_the_phones_words(services):
    with pytest.raises(OutputPathError, match="No such file"):
        services.pull("/data/local/tmp/nothing")


def test_a_time_limit_holds_over_a_call_whose_output_trickles(services):
    with pytest.raises(MeasurementTimeoutError, match=r"longer than 0\.5 s"):
        services.run(["sh", "-c", "while true; do echo x; sleep 0.05; done"], timeout_s=0.5)


def test_output_without_end_is_refused(services):
    with pytest.raises(DeviceError, match="wrote more than"):
        services.run(["yes"], most_bytes=100_000, timeout_s=LONGEST_S)


def test_a_program_is_talked_to_and_ends_with_its_stream(services, phone):
    deadline = Deadline(LONGEST_S, "cat")
    with services.start(["cat"]) as stream:
        stream.write(b"hello\n", deadline)
        assert stream.exactly(6, deadline) == b"hello\n"
        assert phone.processes("cat")
    end = time.monotonic() + LONGEST_S
    while phone.processes("cat"):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("way", ["push", "pull"])
def test_a_cable_that_is_cut_in_a_file_is_a_lost_connection(services, phone, way):
    place = "/data/local/tmp/file"
    carry = partial(services.push, bytes(50 << 20), place, timeout_s=LONGEST_S)
    if way == "pull":
        carry()
        carry = partial(services.pull, place, timeout_s=LONGEST_S)
    phone.link.carried, phone.link.cut_after = 0, 1_000_000
    with pytest.raises((ConnectionLostError, DeviceOfflineError)):
        carry()


def test_a_cable_that_is_cut_in_a_command_is_a_lost_connection(services, phone):
    deadline = Deadline(LONGEST_S, "cat")
    with services.start(["cat"]) as stream:
        stream.write(b"hello\n", deadline)
        assert stream.exactly(6, deadline) == b"hello\n"
        phone.link.cut()
        with contextlib.suppress(ConnectionLostError):
            assert stream.read(deadline) == b""


def test_a_phone_that_falls_silent_ends_at_the_time_limit(services, phone):
    phone.link.carried, phone.link.silent_after = 0, 0
    with pytest.raises(MeasurementTimeoutError):
        services.run(["echo", "x"], timeout_s=0.5)


def test_noise_is_refused(phone, home):
    phone.link.garbage_after = phone.link.carried
    try:
        with pytest.raises(ConnectionLostError, match="not adb's protocol"):
            adb_direct.connect(phone.serial, LONGEST_S)
    finally:
        phone.link.heal()


def test_a_phone_that_is_not_there(server):
    with pytest.raises(DeviceOfflineError, match="no such phone"):
        server.link("nobody")
    with pytest.raises(DeviceOfflineError):
        adb_direct.connect("127.0.0.1:9", LONGEST_S)


def test_a_phone_says_what_it_is_over_each_way(services):
    facts = read_phone_facts(services)
    assert (facts.model, facts.serial) == ("Pixel 6", "0A1B2C3D4E5F")
    assert [cluster.cores for cluster in facts.clusters] == [(0, 1, 2, 3), (4, 5), (6, 7)]


def connected_within(serial, *limits_s):
    """A link; of limits that end before this computer has shown its key the next one is tried."""
    for limit_s in limits_s[:-1]:
        with contextlib.suppress(MeasurementTimeoutError):
            return adb_direct.connect(serial, limit_s)
    return adb_direct.connect(serial, limits_s[-1])


def test_a_phone_that_asks_for_a_key_is_unauthorized_until_it_lists_it(tmp_path, home):
    with Phone(PROFILES["pixel-8"], tmp_path, with_keys=True) as locked:
        with pytest.raises(DeviceUnauthorizedError, match="Allow USB debugging"):
            connected_within(locked.serial, 2.0, 10.0, LONGEST_S)
        private = home / ".android" / "adbkey"
        assert private.stat().st_mode & 0o777 == 0o600
        locked.allow(private.with_name("adbkey.pub"))
        locked.reboot()
        with adb_direct.connect(locked.serial, LONGEST_S) as link:
            assert PhoneServices(link).run(["getprop", "ro.product.model"]).stdout == "Pixel 8\n"
