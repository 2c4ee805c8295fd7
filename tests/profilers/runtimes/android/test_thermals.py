"""Temperatures are read from what phones print, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phone_profiles import BATTERY, PROFILES

from latprof.profilers.runtimes.android.state import parse_state
from latprof.profilers.runtimes.android.thermals import (
    Battery,
    Thermals,
    parse_battery,
    parse_thermals,
)

SKIN = {
    "pixel-3a": (0, 31.6, 30.2, None),
    "pixel-4": (0, 29.5, 28.9, 39.0),
    "pixel-6": (0, 33.4, 29.1, 39.0),
    "pixel-8": (0, 32.0, 28.0, 39.0),
    "fold": (0, 31.5, 28.0, 39.0),
    "samsung": (0, 31.8, 29.0, None),
    "xiaomi": (1, 36.1, 33.0, 36.0),
    "no-sensors": (0, None, None, None),
}


def told(profile):
    thermals = parse_thermals(PROFILES[profile].thermals)
    return thermals.status, thermals.skin_c, thermals.battery_c, thermals.skin_limit_c


@pytest.mark.parametrize("profile", sorted(SKIN))
def test_each_phones_page_is_read(profile):
    assert told(profile) == SKIN[profile]


SKINS = """Current temperatures from HAL:
\tTemperature{mValue=45.0, mType=3, mName=VIRTUAL-SKIN-CHARGE, mStatus=0}
\tTemperature{mValue=33.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
Temperature static thresholds from HAL:
"""


@pytest.mark.parametrize(
    "line",
    [
        "TemperatureThreshold{{mType=3, mName={}, mHotThrottlingThresholds={}, mCold=[NaN]}}",
        "{{.type = SKIN, .name = {}, .hotThrottlingThresholds = {}, .coldThrottling = [NaN]}}",
        "TemperatureThreshold{{type: SKIN, name: {}, hotThrottlingThresholds: {}, cold: [NaN]}}",
    ],
)
def test_a_skin_sensor_is_held_against_its_own_limit(line):
    limits = [("VIRTUAL-SKIN", "[NaN, 39.0, 43.0]"), ("VIRTUAL-SKIN-CHARGE", "[NaN, 50.0]")]
    found = parse_thermals(SKINS + "\n".join(line.format(*each) for each in limits))
    assert (found.skin_c, found.skin_limit_c) == (45.0, 50.0)
    found = parse_thermals(SKINS + line.format("another", "[NaN, 41.0]"))
    assert (found.skin_c, found.skin_limit_c) == (45.0, 41.0)  # no limit of its own


def test_cached_values_voltages_and_currents_are_no_temperatures():
    names = {
        sensor.name: sensor.celsius
        for sensor in parse_thermals(PROFILES["pixel-6"].thermals).sensors
    }
    assert names["BIG"] == 66.5  # 37.0 is cached
    assert not {"ocp_cpu2", "vdroop1"} & set(names)
    assert not {"vbat", "ibat"} & {
        s.name for s in parse_thermals(PROFILES["pixel-4"].thermals).sensors
    }


def test_a_status_is_that_of_the_skin_where_no_line_tells_it_or_somebody_has_set_it():
    page = PROFILES["xiaomi"].thermals
    lines = [line for line in page.splitlines() if "Thermal Status" not in line]
    assert parse_thermals("\n".join(lines)).status == 1
    is_set = page.replace("Override: false", "Override: true").replace("Status: 1", "Status: 6")
    assert parse_thermals(is_set).status == 1


def test_a_line_that_android_does_not_print_is_left_out_and_those_below_it_are_read():
    values = ("33,4", "33400.0", "-40.0", "3_3.4", "0x21", "nan", "1e999", "33.4 C", "\u0663\u0663")
    lines = [f"\tTemperature{{mValue={v}, mType=3, mName=x, mStatus=0}}" for v in values]
    lines += ["\tTemperature{mValue=44.0, mType=3, mName=x, mStatus=0, mMaker=5}"]
    page = PROFILES["pixel-6"].thermals
    head = "Current temperatures from HAL:\n"
    odd = page.replace(head, head + "\n".join(lines) + "\n")
    for text in (odd, odd.replace("\n", "\r\n")):
        assert parse_thermals(text) == parse_thermals(page)


@pytest.mark.parametrize(
    "text",
    ["", "Can't find service: thermalservice", "Thermal Status: 99", "Thermal Status: 1" * 3],
)
def test_of_other_text_nothing_is_known(text):
    assert parse_thermals(text) == Thermals()


@given(st.text(alphabet="Temperaur{}mValueTypNStush=,.:-0123456789 \n\tNaNinfe", max_size=300))
def test_what_is_read_of_any_text_is_a_temperature(noise):
    page = PROFILES["pixel-6"].thermals
    for text in (noise, page[:400] + noise + page[400:], page.replace("33.4", noise[:20])):
        thermals = parse_thermals(text)
        assert thermals.status is None or 0 <= thermals.status <= 6
        for sensor in thermals.sensors:
            assert 1 <= sensor.celsius <= 130
            assert sensor.kind in {0, 1, 2, 3, 4, 5, 9}


def test_a_battery_is_read():
    battery = parse_battery(BATTERY)
    assert (battery.level_percent, battery.powered, battery.celsius) == (87.0, True, 29.1)


def test_values_of_a_maker_below_androids_own_and_values_that_stand_still_are_not_read():
    more = "Charger:\n  temperature: 4200\n  level: 3\n  status: 5\n  USB powered: false\n"
    assert parse_battery(BATTERY + more) == parse_battery(BATTERY)
    set_by_hand = BATTERY.replace(":\n", ":\n  (UPDATES STOPPED -- use 'reset' to restart)\n", 1)
    assert parse_battery(set_by_hand) == Battery()
    for odd in ("29100", "-50", "29,1", "0", "29.1 C"):
        page = BATTERY.replace("temperature: 291", f"temperature: {odd}")
        assert parse_battery(page).celsius is None


def test_a_page_of_blanks_is_read_in_one_pass():
    """Hours, where each blank line were looked through from each other one."""
    page = PROFILES["pixel-6"].thermals
    for blank in ("\n", " ", "\t\r\n", " \x0b\x0c"):
        many = blank * 300_000
        assert parse_thermals(many) == Thermals()
        assert parse_battery(many) == Battery()
        assert parse_thermals(page + many + "\n" + page).skin_c == 33.4
    state = parse_state({"power": "\n" * 1_000_000 + "  mWakefulness=Awake\r\n"})
    assert state.wakefulness == "Awake"


@pytest.mark.parametrize("text", ["", "level: x\nscale: 0", "Can't find service: battery"])
def test_a_battery_that_tells_nothing(text):
    battery = parse_battery(text)
    assert (battery.level_percent, battery.powered, battery.celsius) == (None, None, None)
