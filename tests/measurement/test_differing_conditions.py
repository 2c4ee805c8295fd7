"""Two stores name what was different when they were filled."""

import dataclasses

import pytest
from command_line import run_latprof

import latprof
from latprof.errors import TargetMismatchError
from latprof.measurement.across.differing_conditions import differing_conditions
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedSamples, Subject, Target
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Measurement

PHONE = Target(
    "adb:A1", "Pixel 6 build X/1", "litert", "litert 0123", "float32", 1, 1, (1, 3, 8, 8)
)
READINGS = {
    "phone_skin_c": 31.0,
    "phone_battery_c": 29.0,
    "phone_limit_mhz": 2802.0,
    "phone_clock_mhz": 2790.0,
}


def charging(status, finding):
    return {"name": "charging", "status": status, "finding": finding, "remedy": ""}


QUIET = charging("OK", "no")


def store_of(path, target=PHONE, readings=READINGS, governor="schedutil", disturbed=0, check=QUIET):
    """A store of ten visits to one network."""
    subject = Subject("model", "key", "net")
    with Store.open(path, create=True) as store:
        store.add_target(target, "reference")
        host = {"facts": {"governor": governor, "memory": str(path)}, "checks": [check]}
        campaign = store.start_campaign(target, {}, {"visits": 10}, host)
        for visit in range(10):
            store.add(
                Measurement(
                    subject=subject,
                    target=target,
                    label=0,
                    visit=visit,
                    started_at=float(visit),
                    wall_s=1.0,
                    load_s=0.1,
                    process=str(visit % 3),
                    samples=PairedSamples(((2.0, 2.0 + visit / 1e4),), ((1.0, 1.0),) * 2, 0),
                    disturbed=visit < disturbed,
                    conditions={"before": readings, "after": readings},
                ),
                campaign,
            )
    return path


def differing(tmp_path, **second):
    a, b = store_of(tmp_path / "a.db"), store_of(tmp_path / "b.db", **second)
    with Store.open(a) as one, Store.open(b) as other:
        found = differing_conditions(TargetLabels.of(one), TargetLabels.of(other))
    return {each.name: (each.a, each.b) for each in found}


def test_stores_that_were_filled_alike_differ_in_nothing(tmp_path):
    assert differing(tmp_path) == {}


@pytest.mark.parametrize(
    ("second", "name", "values"),
    [
        (
            {"readings": READINGS | {"phone_skin_c": 38.5}},
            "skin temperature",
            ("31 C", "38.5 C"),
        ),
        ({"readings": READINGS | {"phone_skin_c": 32.0}}, "", None),
        (
            {"readings": READINGS | {"phone_limit_mhz": 2252.0}},
            "clock limit of the cores",
            ("2802 MHz", "2252 MHz"),
        ),
        ({"governor": "powersave"}, "governor", ("schedutil", "powersave")),
        ({"disturbed": 4}, "disturbed visits", ("0 %", "40 %")),
        (
            {"check": charging("WARN", "by a pad")},
            "charging",
            ("no (OK)", "by a pad (WARN)"),
        ),
        ({"check": charging("OK", "87 %")}, "", None),
        (
            {"target": dataclasses.replace(PHONE, device_name="Pixel 6 build X/2")},
            "device_name",
            ("Pixel 6 build X/1", "Pixel 6 build X/2"),
        ),
        (
            {"target": dataclasses.replace(PHONE, cores="6")},
            "cores",
            ("none", "6"),
        ),
        (
            {"target": dataclasses.replace(PHONE, runtime_version="litert 4567")},
            "runtime_version",
            ("litert 0123", "litert 4567"),
        ),
    ],
)
def test_what_differs_is_named_with_both_values(tmp_path, second, name, values):
    assert differing(tmp_path, **second) == ({name: values} if name else {})


def test_compare_lists_them_beside_its_verdicts(tmp_path):
    a = store_of(tmp_path / "a.db")
    b = store_of(tmp_path / "b.db", readings=READINGS | {"phone_battery_c": 41.0})
    result = latprof.compare(a, b)
    assert [each.name for each in result.conditions] == ["battery temperature"]
    assert result.to_dict()[0]["conditions"][0]["b"] == "41 C"
    shown = run_latprof("compare", a, b).stdout
    assert "battery temperature     29 C  41 C" in shown


def test_compare_says_of_other_targets_what_else_differs(tmp_path):
    a = store_of(tmp_path / "a.db")
    hot = READINGS | {"phone_skin_c": 44.0}
    b = store_of(tmp_path / "b.db", dataclasses.replace(PHONE, device="adb:B2"), hot)
    notes = []
    with pytest.raises(TargetMismatchError, match=r"adb:A1.*adb:B2"):
        latprof.compare(a, b, on_note=notes.append)
    assert notes == ["skin temperature: 31 C in A, 44 C in B"]
