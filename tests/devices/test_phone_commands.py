"""What a person does with a phone around measuring, against the real adbd."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from adb_phone import Phone
from command_line import run_latprof
from free_port import free_port
from phone_profiles import PROFILES
from recorded_phone import RecordedProfile

import latprof
from latprof.errors import (
    DeviceError,
    DeviceOfflineError,
    DeviceUnauthorizedError,
    MissingDependencyError,
    OutputPathError,
    UsageError,
)
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.android import phones
from latprof.profilers.runtimes.android.answers import ask_all
from latprof.profilers.runtimes.android.measuring.adb_litert import AdbLiteRT
from latprof.profilers.runtimes.android.owner import owned, owner_of
from latprof.profilers.runtimes.android.phones import open_phone
from latprof.profilers.runtimes.android.preparation import Preparation, prepared_phone
from latprof.profilers.runtimes.android.state import STATE_QUESTIONS, parse_state
from latprof.profilers.runtimes.android.transport.adb_server import AdbServer
from latprof.profilers.runtimes.android.transport.base import ListedPhone, Timeouts

LONG = Timeouts(connect_s=120.0, run_s=120.0)
SETTING = "settings.global.stay_on_while_plugged_in"
SERIAL = PROFILES["pixel-6"].serial


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, and a port at which no adb server answers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
    for name in ("ADB_VENDOR_KEYS", "ANDROID_SERIAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(phones, "adb_program", lambda: None)
    return tmp_path


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    with Phone(PROFILES["pixel-6"], tmp_path_factory.mktemp("phone")) as made:
        yield made


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    with Phone(PROFILES["pixel-8"], tmp_path_factory.mktemp("other")) as made:
        yield made


@pytest.fixture
def well(phone):
    """The phone as it is at first."""
    phone.link.heal()
    for name in (SETTING, "fixed-performance-mode", "log"):
        (phone.root / "answers" / name).unlink(missing_ok=True)
    for name, text in phone.profile.answers().items():
        if name.startswith("answers/"):
            (phone.root / name).write_text(text)
    return phone


@pytest.fixture
def server(home):
    """An adb server, of Debian's package."""
    program = shutil.which("adb")
    subprocess.run([program, "start-server"], check=True, capture_output=True)
    yield partial(subprocess.run, check=False, capture_output=True, text=True)
    subprocess.run([program, "kill-server"], check=False, capture_output=True)


def connected(phone):
    """A phone that the server knows as usable."""
    subprocess.run([shutil.which("adb"), "connect", phone.serial], check=True, capture_output=True)
    open_phone(phone.serial, LONG).link.close()


# Which phone ------------------------------------------------------------------------------------


def test_one_phone_needs_no_serial_and_its_own_serial_names_it_over_wifi(well, server):
    connected(well)
    for name in ("", well.serial, SERIAL):
        services = open_phone(name, LONG)
        with services.link:
            assert services.link.serial == well.serial


def test_its_own_serial_finds_a_phone_that_no_server_lists_any_more(well, server):
    connected(well)
    assert AdbLiteRT.at(well.serial)(RunOptions()).facts.serial == SERIAL
    subprocess.run([shutil.which("adb"), "kill-server"], check=True, capture_output=True)
    services = open_phone(SERIAL, LONG)
    with services.link:
        assert services.link.serial == well.serial


def test_a_serial_that_two_phones_have_names_none(server, monkeypatch):
    listed = [ListedPhone("A", "device"), ListedPhone("A", "device")]
    monkeypatch.setattr(AdbServer, "phones", lambda *_: listed)
    with pytest.raises(DeviceError, match=r"two phones have the serial A.*unplug one"):
        open_phone("A", LONG)


def test_a_serial_that_nobody_has_names_those_that_are_there(well, other, server):
    connected(well)
    connected(other)
    with pytest.raises(DeviceOfflineError, match=r"no phone nobody is there .*127\.0\.0\.1"):
        open_phone("nobody", LONG)


def test_one_phone_over_two_ways_is_one(well, server):
    connected(well)
    twice = f"localhost:{well.link.port}"
    subprocess.run([shutil.which("adb"), "connect", twice], check=True, capture_output=True)
    services = open_phone("", LONG)
    services.link.close()
    (found,) = [d for d in latprof.devices() if d.phone is not None]
    assert len(found.phone.serials) == 2
    assert found.phone.facts.serial == SERIAL


def test_two_phones_and_no_serial(well, tmp_path_factory, server):
    from dataclasses import replace

    profile = replace(PROFILES["pixel-4"], serial="B1")
    with Phone(profile, tmp_path_factory.mktemp("second")) as second:
        connected(well)
        connected(second)
        with pytest.raises(UsageError, match=r"2 phones are there: .*say which one, .*adb:"):
            open_phone("", LONG)
        done = run_latprof("doctor", "adb")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        listed = [d.phone.facts.serial for d in latprof.devices() if d.phone is not None]
        assert sorted(listed) == [SERIAL, "B1"]


def test_no_phone(home):
    done = run_latprof("doctor", "adb")
    assert done.returncode == 4
    assert "USB debugging" in done.stderr
    with pytest.raises(DeviceOfflineError, match=r"no phone answers at 127\.0\.0\.1:9"):
        open_phone("127.0.0.1:9", LONG)


def test_neither_an_adb_program_nor_adb_shell(monkeypatch):
    monkeypatch.setattr(phones, "is_installed", lambda _name: False)
    with pytest.raises(MissingDependencyError, match=r"latprof\[android\]"):
        open_phone("x")


def test_an_adb_program_is_started_only_where_no_server_answers(well, home, monkeypatch):
    program = home / "adb"
    started = home / "started"
    program.write_text(f'#!/bin/sh\necho "$*" >> {started}\nexec {shutil.which("adb")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(phones, "adb_program", lambda: program)
    try:
        for _ in range(2):
            open_phone(well.serial, LONG).link.close()
        assert [line.split()[2:] for line in started.read_text().splitlines()] == [["start-server"]]
    finally:
        subprocess.run([shutil.which("adb"), "kill-server"], check=True, capture_output=True)


def test_phones_that_cannot_be_used_are_listed_with_what_to_do(well, tmp_path, server):
    with Phone(PROFILES["pixel-8"], tmp_path, with_keys=True) as locked:
        connected(well)
        adb = shutil.which("adb")
        subprocess.run([adb, "connect", locked.serial], check=True, capture_output=True)
        end = time.monotonic() + 120
        while "unauthorized" not in server([adb, "devices"]).stdout:
            assert time.monotonic() < end
            time.sleep(0.1)
        found = {d.phone.serials[0]: d for d in latprof.devices() if d.phone is not None}
        assert found[well.serial].phone.state == "device"
        assert found[locked.serial].state == "unauthorized"
        assert "Allow USB debugging" in found[locked.serial].remedy
        with pytest.raises(DeviceUnauthorizedError, match="Allow USB debugging"):
            open_phone(locked.serial, LONG)
        shown = " ".join(run_latprof("devices").stdout.split())  # the table is wrapped
        assert "unauthorized" in shown
        assert "Pixel 6 (Tensor, 4x1.80 GHz + 2x2.25 GHz + 2x2.80 GHz, Android 14)" in shown
        listed = [
            each
            for each in json.loads(run_latprof("devices", "--json").stdout)
            if each.get("phone", {}).get("state") == "device"
        ]
        assert listed[0]["phone"]["clusters"][2] == {"cores": [6, 7], "largest_khz": 2802000}


def test_a_silent_phone_or_server_holds_no_list_up(well, server, monkeypatch):
    from latprof.profilers.runtimes.android import listing

    connected(well)
    monkeypatch.setattr(listing, "FACTS_S", 1.0)
    well.link.carried, well.link.silent_after = 0, 0
    (found,) = [d for d in latprof.devices() if d.phone is not None]
    assert found.phone.state == "silent"
    assert found.remedy


def test_a_server_that_hangs_is_said_and_left_alone(server, monkeypatch):
    monkeypatch.setattr(phones, "SERVER_S", 0.5)
    port = os.environ["ANDROID_ADB_SERVER_PORT"]
    (hanging,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if {"fork-server", f"tcp:{port}"} & set(process.info["cmdline"] or ())
        and port in " ".join(process.info["cmdline"])
    ]
    hanging.suspend()
    try:
        (row,) = [d for d in latprof.devices() if d.target == "adb"]
        assert "does not answer" in row.detail
        assert "kill-server" in row.remedy
        with pytest.raises(DeviceError, match="does not answer"):
            open_phone("x", LONG)
    finally:
        hanging.resume()
    assert AdbServer().answers(120.0)


# Check-up ---------------------------------------------------------------------------------------


def test_a_checkup_changes_nothing_and_records_what_is_played_back(well, tmp_path):
    path = tmp_path / "phone.zip"
    done = run_latprof("doctor", f"adb:{well.serial}", "--record", path)
    assert done.returncode == 1  # no library yet
    assert "android setup" in done.stdout
    assert "skin temperature     33.4 C, throttles from 39.0 C" in done.stdout
    assert well.asked() == ""
    with Phone(RecordedProfile(path), tmp_path / "again") as again:
        services = open_phone(again.serial, LONG)
        with services.link:
            state = parse_state(ask_all(services, STATE_QUESTIONS))
        assert state.thermals.skin_c == 33.4
        assert [core.largest_khz for core in state.cores][-1] == 2802000
        rows = {c.name: c.status for c in latprof.doctor(f"adb:{again.serial}").checks}
        assert rows["skin temperature"] == rows["clock limits"] == "OK"


@pytest.mark.parametrize(
    ("words", "status"),
    [(["doctor", "--record", "a.zip"], 2), (["doctor", "adb:x", "--repair", "a.db"], 2)],
)
def test_options_that_do_not_go_together(words, status):
    assert run_latprof(*words).returncode == status


# Preparation ------------------------------------------------------------------------------------


@pytest.fixture
def connect(well):
    return partial(open_phone, well.serial, LONG)


def test_a_phone_is_prepared_and_put_back(well, connect):
    well.answer(SETTING, "0\n")
    well.answer("dumpsys.power", well.asked("dumpsys.power").replace("=Awake", "=Asleep"))
    with prepared_phone(connect, SERIAL, Preparation(fixed_performance=True)):
        assert well.asked(SETTING) == "3\n"
        assert well.asked("fixed-performance-mode") == "true\n"
        assert "mWakefulness=Awake" in well.asked("dumpsys.power")
        assert "process" in owner_of(SERIAL)
    assert well.asked(SETTING) == "0\n"
    assert well.asked("fixed-performance-mode") == "false\n"
    assert "mWakefulness=Asleep" in well.asked("dumpsys.power")
    assert owner_of(SERIAL) == ""


def test_what_the_user_changes_meanwhile_is_left_alone(well, connect):
    notes = []
    with prepared_phone(connect, SERIAL, on_note=notes.append):
        well.answer(SETTING, "5\n")
    assert well.asked(SETTING) == "5\n"
    assert "left as it is" in notes[0]


def test_a_phone_without_the_mode_is_left_as_it_was(well, connect):
    well.answer("no-fixed-performance-mode", "")
    with (
        pytest.raises(DeviceError, match=r"no fixed-performance mode .*Android 11"),
        prepared_phone(connect, SERIAL, Preparation(fixed_performance=True)),
    ):
        pass
    (well.root / "answers/no-fixed-performance-mode").unlink()
    assert well.asked(SETTING) == ""


def test_a_phone_that_is_away_at_the_end_is_put_back_by_the_next_start(well, connect):
    notes = []
    with prepared_phone(connect, SERIAL, on_note=notes.append):
        well.halt()
    assert "could not be put back" in notes[0]
    well.boot()
    assert well.asked(SETTING) == "3\n"
    done = run_latprof("android", "restore", well.serial)
    assert done.stdout == f"{SERIAL}: 1 changes undone\n"
    assert well.asked(SETTING) == ""
    assert latprof.android("restore", well.serial).undone == 0
    assert (well.root / "data/local/tmp/latprof").exists()
    done = run_latprof("android", "clean", well.serial)
    assert done.stdout == f"{SERIAL}: 0 changes undone, what latprof wrote there removed\n"
    assert not (well.root / "data/local/tmp/latprof").exists()


def test_a_second_latprof_says_who_has_the_phone(connect):
    notes = []
    with (
        prepared_phone(connect, SERIAL),
        pytest.raises(DeviceError, match=rf"in use by .*process {os.getpid()} on"),
        prepared_phone(connect, SERIAL, wait_s=0.2, on_note=notes.append),
    ):
        pass
    assert "waiting up to 0.2 s" in notes[0]


def test_a_latprof_of_another_computer_is_seen_on_the_phone(connect, monkeypatch, tmp_path):
    with prepared_phone(connect, SERIAL):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
        services = connect()
        with (
            services.link,
            pytest.raises(DeviceError, match="in use by"),
            owned(services, SERIAL, wait_s=0.0),
        ):
            pass
    services = connect()
    with services.link, owned(services, SERIAL, wait_s=120.0):
        pass


def test_a_journal_from_a_phone_changes_nothing_else(well, connect):
    folder = well.root / "data/local/tmp/latprof"
    folder.mkdir(exist_ok=True)
    evil = [
        {"kind": "setting", "name": "adb_enabled", "before": "0", "wrote": "null", "boot_id": "x"},
        {
            "kind": "setting",
            "name": "stay_on_while_plugged_in",
            "before": "1; reboot",
            "wrote": "null",
            "boot_id": "x",
        },
        {"kind": "shell", "name": "x", "before": "reboot", "wrote": "null", "boot_id": "x"},
    ]
    (folder / "changes.json").write_text(json.dumps({"version": 1, "changes": evil}))
    latprof.android("restore", well.serial)
    assert well.asked() == ""


def test_the_phone_is_as_it_was_after_each_kind_of_end(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz",
            "phone-restore",
            "--count",
            "14",
            "--state",
            str(tmp_path),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in done.stdout.splitlines() if "restored " in line]) == 14


# Files ------------------------------------------------------------------------------------------


def test_a_large_library_arrives_as_it_is(well, connect):
    block = random.Random(7).randbytes(1 << 20)
    content = b"".join(block[n:] + block[:n] for n in range(210))
    services = connect()
    with services.link:
        services.push(content, "/data/local/tmp/large", timeout_s=600.0)
        told = services.run(["sha256sum", "/data/local/tmp/large"]).stdout.split()[0]
        services.run(["rm", "/data/local/tmp/large"])
    assert told == hashlib.sha256(content).hexdigest()


def hostile_names():
    """500 names of files that a shell, a path or adb's protocol could take for more."""
    chance = random.Random(3)
    parts = [
        "..",
        "/",
        "$(touch /e)",
        "`touch /e`",
        ";touch /e",
        "|touch /e",
        "&",
        "'",
        '"',
        "\\",
        "\n",
        "\r",
        "\t",
        " ",
        "*",
        "?",
        "~",
        "-rf",
        "--",
        ",33188",
        ",0",
        "\x7f",
        "é",
        "漢",
        "%00",
        "$IFS",
        "{a,b}",
        "<",
        ">/e",
        "#",
        "!",
        "=",
        ":",
        "@",
        "DONE",
        "\x1b[2J",
    ]
    return ["".join(chance.choices(parts, k=chance.randint(1, 8))) for _ in range(500)]


def test_hostile_names_stay_names(well, connect):
    """Each is written, read and removed as it is, or refused; nothing lies elsewhere."""
    folder = "/data/local/tmp/names"
    (well.root / folder[1:]).mkdir(exist_ok=True)
    before = _files(well.root)
    written = 0
    services = connect()
    with services.link:
        for number, name in enumerate(hostile_names()):
            inside = name.replace("/", "_").replace("..", "__")
            assert services.run(["printf", "%s", name]).stdout == name
            with contextlib.suppress(OutputPathError):
                services.push(str(number).encode(), f"{folder}/{inside}")
                assert services.pull(f"{folder}/{inside}") == str(number).encode()
                written += 1
        new = {path for path in _files(well.root) - before if not path.startswith(folder[1:])}
        services.run(["rm", "-rf", folder])
    assert new == set()
    assert written > 400


def _files(root):
    """All files of a phone's own folders."""
    shown = {root / name for name in ("proc", "sys", "dev", "usr", "lib", "lib64", "answers")}
    places = [place for place in root.iterdir() if place not in shown]
    found = {place for place in places if not place.is_dir()}
    for place in places:
        if place.is_dir() and not place.is_symlink():
            found |= {path for path in place.rglob("*") if not path.is_dir()}
    return {str(path.relative_to(root)) for path in found}
