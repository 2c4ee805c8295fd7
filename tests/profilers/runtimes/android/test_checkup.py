"""The check-up of a phone: each profile, each thing that spoils timings, and recordings."""

import zipfile

import pytest
from phone_profiles import BATTERY, PROFILES
from recorded_phone import RecordedProfile, read_recording

from latprof.profilers.runtimes.android.checkup.phone_checks import run_phone_checks
from latprof.profilers.runtimes.android.checkup.phone_questions import (
    read_answers,
    read_files,
)
from latprof.profilers.runtimes.android.checkup.phone_recording import write_recording

LOAD = "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu  101 0 101 1100 0 0 0 0 0 0"
ARM64 = "[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a]"


def raw(name, **changes):
    """What a profile answers to each question."""
    files = PROFILES[name].answers()
    sysfs = {path: text.strip() for path, text in files.items() if path.startswith("sys/")}
    cores = sum(count for count, _ in PROFILES[name].clusters)

    def clock(core, kind):
        return sysfs[f"sys/devices/system/cpu/cpu{core}/cpufreq/{kind}"]

    kinds = ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq", "scaling_governor")
    found = {
        "getprop": files["answers/getprop"].replace("[x86_64]", "[arm64-v8a]"),
        "dumpsys.battery": files["answers/dumpsys.battery"],
        "dumpsys.power": "  mWakefulness=Awake",
        "dumpsys.thermalservice": files.get("answers/dumpsys.thermalservice", ""),
        "settings": "stay_on_while_plugged_in null\nlow_power 0",
        "files": "\n".join(f"/{path} {text}" for path, text in sysfs.items())
        + "\n/proc/uptime 5000.0 1.0",
        "clocks": "\n".join(
            " ".join([str(core), *(clock(core, kind) for kind in kinds)]) for core in range(cores)
        ),
        "allowed": f"Cpus_allowed_list:\t0-{cores - 1}",
        "meminfo": "MemAvailable:    4000000 kB",
        "space": "Filesystem 1K-blocks Used Available Use%\n/dev/x 9 9 9000000 50% /data",
        "load": LOAD,
    }
    return found | changes


def checks(name, **changes):
    return {c.name: c for c in run_phone_checks(read_answers(raw(name, **changes), "asked"))}


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_no_phone_that_is_well_fails(name):
    found = checks(name)
    assert [c.name for c in found.values() if c.status == "FAIL"] == []
    assert found["clock limits"].status == found["free space"].status == "OK"
    invisible = found["skin temperature"].status == "WARN"
    assert invisible == (name in {"pixel-1", "no-sensors"} or name == "xiaomi")


@pytest.mark.parametrize(
    ("check", "status", "changes"),
    [
        ("battery", "FAIL", {"dumpsys.battery": BATTERY.replace("level: 87", "level: 9")}),
        ("battery", "WARN", {"dumpsys.battery": BATTERY.replace("level: 87", "level: 30")}),
        ("battery", "WARN", {"dumpsys.battery": ""}),
        ("charging", "WARN", {}),
        ("charging", "OK", {"dumpsys.battery": BATTERY.replace("status: 2", "status: 4")}),
        ("charging", "WARN", {"dumpsys.battery": BATTERY.replace("USB powered: true", "")}),
        ("battery temperature", "FAIL", {"dumpsys.battery": BATTERY.replace("291", "447")}),
        ("battery saver", "FAIL", {"settings": "low_power 1"}),
        ("screen", "WARN", {"dumpsys.power": "  mWakefulness=Dozing"}),
        ("screen", "WARN", {"dumpsys.power": ""}),
        ("free space", "FAIL", {"space": "/dev/x 9 9 90000 99% /data"}),
        ("free memory", "WARN", {"meminfo": "MemAvailable: 300000 kB"}),
        ("other apps", "FAIL", {"load": LOAD.replace("101 0 101", "150 0 151")}),
        ("other apps", "WARN", {"load": ""}),
        ("cores for the shell", "WARN", {"allowed": "Cpus_allowed_list: 0-3"}),
        ("since start", "WARN", {"files": "/proc/uptime 30.0 1.0"}),
        ("phone", "FAIL", {"getprop": raw("pixel-6")["getprop"].replace("arm64-v8a", "armeabi")}),
        ("clock limits", "WARN", {"clocks": ""}),
        ("clock limits", "FAIL", {"clocks": "6 1000000 1500000 2802000 schedutil"}),
        ("frequency governor", "FAIL", {"clocks": "6 1000000 2802000 2802000 powersave"}),
    ],
)
def test_what_spoils_timings_is_found_with_a_remedy(check, status, changes):
    found = checks("pixel-6", **changes)[check]
    assert (found.status, bool(found.remedy) or status == "OK") == (status, True)


@pytest.mark.parametrize(
    ("celsius", "status"), [("33.4", "OK"), ("36.5", "WARN"), ("39.0", "FAIL")]
)
def test_the_skin_is_judged_by_the_phones_own_limit(celsius, status):
    page = PROFILES["pixel-6"].thermals.replace("33.4", celsius)
    assert (
        checks("pixel-6", **{"dumpsys.thermalservice": page})["skin temperature"].status == status
    )


def test_a_throttling_phone_fails():
    page = PROFILES["pixel-6"].thermals.replace("Thermal Status: 0", "Thermal Status: 3")
    found = checks("pixel-6", **{"dumpsys.thermalservice": page})["thermal status"]
    assert (found.status, "severe" in found.finding) == ("FAIL", True)


@pytest.mark.parametrize("name", sorted(raw("pixel-6")))
def test_a_phone_that_answers_nothing_or_noise_is_judged_all_the_same(name):
    if name == "getprop":
        return
    for text in ("", "Permission denied", "\x1b[2J" * 50, "9" * 4000, "-1 " * 100):
        assert len(checks("pixel-6", **{name: text})) == len(checks("pixel-6"))


# Recordings ------------------------------------------------------------------------------------


def test_a_recording_has_no_serial_and_is_read_as_the_phone_was(tmp_path):
    serial = PROFILES["pixel-6"].serial
    answers = raw("pixel-6", cpuinfo=f"processor: 0\nSerial\t\t: {serial.lower()}\n")
    found = read_answers(answers, "asked")
    path = write_recording(tmp_path / "phone.zip", found)
    with zipfile.ZipFile(path) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
    assert not any(serial.lower() in text.lower() for text in texts)
    again = read_recording(path)
    assert again.state == found.state
    assert again.facts.clusters == found.facts.clusters
    assert again.facts.serial != serial


def test_a_recording_is_played_back_as_a_profile(tmp_path):
    path = write_recording(tmp_path / "phone.zip", read_answers(raw("samsung"), "asked"))
    answers, own = RecordedProfile(path, abi="x86_64").answers(), PROFILES["samsung"].answers()
    for name, text in own.items():
        if name.startswith("sys/") or name == "answers/dumpsys.thermalservice":
            assert answers[name] == text
    assert "[ro.product.model]: [SM-S911B]" in answers["answers/getprop"]
    assert "[ro.product.cpu.abilist]: [x86_64]" in answers["answers/getprop"]


def test_files_of_a_recording_stay_below_sys_and_proc():
    text = "/etc/passwd x\n/sys/../etc/passwd x\n/sys/a b c\nsys/b x\n/proc/uptime 1 2"
    assert read_files(text) == {"/sys/a": "b c", "/proc/uptime": "1 2"}
