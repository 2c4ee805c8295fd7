"""What phones do while they are measured, and what cannot be measured on them: whole commands."""

import json
import os
import signal
import sqlite3
import time

import pytest
from command_line import LONGEST_S
from phone_campaigns import SMALL, STATUS, await_no_runner, small_model, visits_of

from latprof.graph.convert.to_tflite import tflite_bytes

pytestmark = pytest.mark.usefixtures("cool")


def test_a_phone_that_throttles_is_waited_for_and_its_visits_are_not_used(station, tmp_path):
    store = tmp_path / "hot.db"
    hot = station.phone.profile.thermals.replace("mValue=33.4", "mValue=41.0").replace(
        "Thermal Status: 0", "Thermal Status: 1"
    )
    words = ("--target", "adb:litert", "-n", "3", "--store", store)
    process = station.start("collect", *SMALL, *words)
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and len(visits_of(store)) > 1):
        assert time.monotonic() < end
        time.sleep(0.02)
    station.phone.answer("dumpsys.thermalservice", hot)
    seen = len(visits_of(store))
    time.sleep(8)  # a look and more
    assert len(visits_of(store)) <= seen + 1  # the one that was being made
    station.phone.answer("dumpsys.thermalservice", station.phone.profile.thermals)
    _, error = process.communicate(timeout=LONGEST_S)
    assert "the phone cools down (thermal status 1)" in error or len(visits_of(store)) == seen
    for _, code, disturbed, text in visits_of(store):
        found = json.loads(text)
        throttled = "phone-throttled" in found.get("disturbances", ())
        assert code is None
        assert throttled == bool(found["after"]["phone_throttled"])
        assert disturbed or not throttled


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_phone_is_put_back_however_a_collection_ends(station, tmp_path, how):
    before = station.files_outside()
    store = tmp_path / "cut.db"
    words = ("--target", "adb:litert", "-n", "300", "--mode", "fixed-performance", "--store", store)
    process = station.start("collect", *SMALL, *words)
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and len(visits_of(store)) > 1):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert station.phone.asked("fixed-performance-mode") == "true\n"
    os.kill(process.pid, how)
    process.communicate(timeout=LONGEST_S)
    ends = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
    assert process.returncode == ends[how]
    if how == signal.SIGKILL:  # the next start puts it back
        words = ("profile", small_model(tmp_path / "m.onnx"), "--visits", "2")
        station.run(*words, "--target", "adb:litert", status=STATUS)
    assert station.phone.asked("fixed-performance-mode") == "false\n"
    (station.phone.root / "answers/fixed-performance-mode").unlink()
    assert station.files_outside() == before
    await_no_runner(station)
    with sqlite3.connect(store) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_runner_that_hangs_costs_one_visit_and_its_time_out(station, tmp_path):
    store = tmp_path / "hang.db"
    words = ("--target", "adb:litert", "-n", "2", "--timeout", "20", "--store", store)
    process = station.start("collect", *SMALL, *words)
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and visits_of(store)):
        assert time.monotonic() < end
        time.sleep(0.02)
    for number in station.phone.processes("runner-"):
        os.kill(number, signal.SIGSTOP)
    _, error = process.communicate(timeout=4 * LONGEST_S)
    assert "Traceback" not in error
    found = visits_of(store)
    assert [row[1] for row in found if row[1] is not None] in ([], ["timeout"])
    assert len({row[0] for row in found if row[1] is None}) == 2


def test_a_second_latprof_says_who_has_the_phone(station, tmp_path):
    store = tmp_path / "one.db"
    process = station.start(
        "collect", *SMALL, "--target", "adb:litert", "-n", "300", "--store", store
    )
    end = time.monotonic() + LONGEST_S
    while not (store.exists() and visits_of(store)):
        assert time.monotonic() < end
        time.sleep(0.02)
    done = station.run(
        "profile", small_model(tmp_path / "m.onnx"), "--target", "adb:litert", status=4
    )
    assert f"process {process.pid}" in done.stderr
    process.terminate()
    process.communicate(timeout=LONGEST_S)


# Bad input ---------------------------------------------------------------------------------------


def refused(station, status, *words, **more):
    """What a command says in one line."""
    done = station.run(*words, status=status, **more)
    (line,) = [row for row in done.stderr.splitlines() if row.startswith("latprof:")]
    return line


def test_what_cannot_be_measured_is_said_in_one_line_with_the_next_thing_to_do(station, tmp_path):
    model = small_model(tmp_path / "m.onnx")
    fake = tmp_path / "fake.tflite"
    fake.write_bytes(b"this is no TFLite file at all")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(tflite_bytes(model.read_bytes())[:600])
    real = tmp_path / "real.tflite"
    real.write_bytes(tflite_bytes(model.read_bytes()))
    odd = small_model(tmp_path / "odd.onnx", "NonZero")

    def profile(what, target="adb:litert", status=4, *more):
        return refused(station, status, "profile", what, "--target", target, *more)

    assert "is not a TFLite file" in profile(fake, status=3)
    assert "[unsupported]" in profile(damaged)
    assert "runs no TFLite files" in profile(real, "cpu:onnxruntime")
    assert "NonZero" in profile(odd)
    assert "no phone nobody is there" in profile(model, "adb:nobody:litert")
    assert "big" in profile(model, "adb:litert", 2, "--cores", "medium")
    assert "fewer cores than threads" in profile(model, "adb:litert", 2, "--threads", "2")
    assert "no such core" in profile(model, "adb:litert", 2, "--cores", "7")


def test_a_phone_without_space_says_so_and_the_same_command_resumes(station, tmp_path):
    place, store = "/data/local/tmp/filler", tmp_path / "full.db"
    words = ("collect", *SMALL, "--target", "adb:litert", "-n", "1", "--store", store)
    fill = f"rm -rf /data/local/tmp/latprof; dd if=/dev/zero of={place} bs=4096 2>/dev/null; true"
    station.shell(["sh", "-c", fill])
    lines = [refused(station, 4, *words)]
    station.shell(["/usr/bin/truncate", "-s", f"-{1 << 20}", place])  # room for the journal alone
    lines.append(refused(station, 4, *words))
    for line in lines:
        assert "[device-full]" in line
        assert "make room on the phone" in line
    assert "MB free at /data/local/tmp/latprof" in lines[1]
    assert station.phone.asked("settings.global.stay_on_while_plugged_in") == ""
    station.shell(["rm", place])
    station.run(*words, status=STATUS)
    made = [row for row in visits_of(store) if row[1] is None]
    assert len(made) >= 2  # one that was disturbed is made again


def test_no_library_and_one_for_another_abi(station, tmp_path):
    elsewhere = {"XDG_DATA_HOME": str(tmp_path)}
    model = small_model(tmp_path / "m.onnx")
    words = ("profile", model, "--target", "adb:litert")
    assert "latprof android setup" in refused(station, 4, *words, environment=elsewhere)
