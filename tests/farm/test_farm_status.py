"""What a farm's status says, as rows and as a page, and what a scheduler tells of its workers."""

from latprof.farm.announcing import FarmDevice
from latprof.farm.farm_connection import AnnouncedDevice, announced
from latprof.farm.farm_status import FarmStatus

HOSTILE = "<script>alert(1)</script>"


def device(name, **state):
    found = {"state": "idle", "made": 0, "failed": 0, **state}
    return AnnouncedDevice(FarmDevice(name, ("fake:clock",)), HOSTILE, "tls://h:1", "1", found)


def test_rows_have_devices_that_visits_wait_for_and_errors_are_apart():
    one = device("sim@a", state="measuring", made=7, failed=1, last_error=HOSTILE)
    found = FarmStatus("tls://h:8786", (one, device("sim@b")), {"sim@a": 2, "sim@gone": 3}, 0.0)
    assert [row[:4] for row in found.rows()] == [
        ("sim@a", HOSTILE, "measuring", "2"),
        ("sim@b", HOSTILE, "idle", "0"),
        ("sim@gone", "", "away", "3"),
    ]
    assert found.last_errors() == [("sim@a", HOSTILE)]
    assert found.summary() == "2 devices, 5 visits in work; visits wait for sim@gone"
    page = found.page()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3
    assert "prefers-color-scheme:dark" in page
    assert "http://" not in page
    assert "https://" not in page


def test_an_empty_farm_has_a_page_too():
    found = FarmStatus("tls://h:8786", (), {}, 0.0)
    assert found.summary() == "0 devices, 0 visits in work"
    assert "<table" not in found.page()


def test_workers_of_others_and_of_other_versions_are_no_errors():
    good = FarmDevice("sim@a", ("fake:clock",)).to_dict()
    workers = {
        "tcp://1": {"latprof": {"version": "1", "host": "a", "devices": [good]}},
        "tcp://2": {"latprof": {"version": "9", "devices": [{"called": "otherwise"}, 3, good]}},
        "tcp://3": {"latprof": "nothing"},
        "tcp://4": {},
    }
    found = announced({"workers": workers})
    assert [(each.device.name, each.host, each.version) for each in found] == [
        ("sim@a", "a", "1"),
        ("sim@a", "", "9"),
    ]
