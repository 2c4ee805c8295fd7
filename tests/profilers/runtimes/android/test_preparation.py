"""Changes of a phone are undone though it cannot keep the journal of them any more."""

import json
import re

import pytest

from latprof.errors import DeviceDiskFullError, DeviceError, DiskFullError
from latprof.profilers.runtimes.android import journal as journals
from latprof.profilers.runtimes.android.journal import Journal
from latprof.profilers.runtimes.android.preparation import Preparation, prepare, restore
from latprof.profilers.runtimes.android.transport.services import Ended

STAY_ON = "stay_on_while_plugged_in"


class Phone:
    """Answers what a preparation asks, and keeps what it sets; its disk may be full."""

    def __init__(self):
        self.link = self
        self.serial = "A1"
        self.state = {STAY_ON: "0", "screen": "Asleep", "fixed": "false"}
        self.is_full, self.journal = False, None
        self.complaint = "sh: printf: No space left on device"
        self.refuses = frozenset()

    def run(self, words, **_more):
        text = " ".join(words)
        if "flock" in text:  # one command at a time
            words = words[4:]
        if "mWakefulness" in text:
            mark = re.search(r"echo ([0-9a-f]{16}) ", text)[1]
            told = {
                "started": "1",
                "boot": "b-1",
                "stay on": self.state[STAY_ON],
                "screen": f"mWakefulness={self.state['screen']}",
            }
            parts = [f"\n{mark} {name}\n{value}\n" for name, value in told.items()]
            return Ended(0, "".join([*parts, f"\n{mark}\n"]), "")
        if words[0] == "df":
            return Ended(0, "Filesystem 1K-blocks Used Available Use%\ntmpfs 99 99 0 100% /d\n", "")
        if "changes.json" in text:
            return self._keep(words, text)
        if words[0] in self.refuses:
            return Ended(255, "", "java.lang.SecurityException: Permission denial")
        if words[0] == "settings":
            self.state[STAY_ON] = words[4]
        elif words[0] == "input":
            self.state["screen"] = {"223": "Asleep", "224": "Awake"}[words[2]]
        elif words[0] == "cmd":
            self.state["fixed"] = words[3]
        return Ended(0, "", "")

    def _keep(self, words, text):
        if words[0] == "cat":
            return Ended(*((1, "", "") if self.journal is None else (0, self.journal, "")))
        if "printf" not in text:  # it is removed
            self.journal = None
        elif self.is_full:
            return Ended(1, "", self.complaint)
        else:
            self.journal = words[-1]
        return Ended(0, "", "")


def no_space(path, _content):
    raise DiskFullError(f"no space left for {path}")


@pytest.fixture
def phone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Phone()


@pytest.mark.parametrize("full", ["phone", "computer"])
def test_a_phone_is_put_back_all_the_same_where_a_disk_is_full(phone, tmp_path, monkeypatch, full):
    before = dict(phone.state)
    journal = Journal(phone, "A1")
    prepare(phone, journal, Preparation(fixed_performance=True))
    assert phone.state == {STAY_ON: "3", "screen": "Awake", "fixed": "true"}
    assert len(json.loads(phone.journal)["changes"]) == 3
    phone.is_full = full == "phone"
    if full == "computer":
        monkeypatch.setattr(journals, "write_atomically", no_space)
    restore(phone, Journal(phone, "A1"))
    assert phone.state == before
    assert phone.journal is None
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("complaint", ["sh: printf: No space left on device", ""])
def test_a_phone_that_is_full_already_is_not_changed(phone, tmp_path, complaint):
    before = dict(phone.state)
    phone.complaint = complaint
    phone.is_full = True
    with pytest.raises(DeviceDiskFullError, match=r"make room on the phone"):
        prepare(phone, Journal(phone, "A1"), Preparation())
    assert phone.state == before
    assert not list(tmp_path.rglob("*.json"))


def test_a_phone_that_keeps_its_screen_to_itself_is_measured_all_the_same(phone, tmp_path):
    """As a Xiaomi does, unless a second switch of its own allows it."""
    before, notes = dict(phone.state), []
    phone.refuses = {"settings", "input"}
    prepare(phone, Journal(phone, "A1"), Preparation(), notes.append)
    assert phone.state == before
    assert phone.journal is None
    assert not list(tmp_path.rglob("*.json"))
    (note,) = notes
    assert "SecurityException" in note
    assert "keep its screen on yourself" in note
    phone.refuses = {"cmd"}
    with pytest.raises(DeviceError, match=r"no fixed-performance mode.*leave the word"):
        prepare(phone, Journal(phone, "A1"), Preparation(fixed_performance=True))
    restore(phone, Journal(phone, "A1"))
    assert phone.state == before
