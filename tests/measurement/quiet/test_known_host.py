"""What quiet moments have told of this host is there for busy ones, and never needed."""

import dataclasses
import json
import math

import pytest

from latprof.measurement.quiet.known_host import KnownHost
from latprof.measurement.quiet.target_constant import Constant, Tie
from latprof.measurement.records import Target

TARGET = Target("cpu", "a processor", "onnxruntime", "1.0", input_shape=(1, 3, 32, 32))
QUIET = Constant(3.5, doubt=0.008, found={"bursts": 24})
BUSY = Constant(4.6, doubt=0.09, ties={"small": Tie(0.07, 0.01, 12)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "host.json"


def test_a_busy_moment_gets_the_constant_of_a_quiet_one_and_says_so(path):
    assert KnownHost(path).settle(TARGET, "ref", BUSY) is BUSY, "nothing is known yet"
    assert KnownHost(path).settle(TARGET, "ref", QUIET) is QUIET
    found = KnownHost(path).settle(TARGET, "ref", BUSY)
    assert found.reference_ms == 3.5
    assert 0.05 < found.doubt < 0.055, "hosts change, and no other moment has confirmed it"
    assert found.ties == BUSY.ties
    assert "of a quiet moment of this host, 20" in found.describe()


def test_it_holds_for_all_shapes_and_for_no_other_target_or_reference(path):
    KnownHost(path).remember(TARGET, "ref", QUIET)
    known = KnownHost(path)
    assert known.constant(dataclasses.replace(TARGET, input_shape=None), "ref") is not None
    for other in ({"threads": 2}, {"device_name": "another"}, {"batch_size": 8}):
        assert known.constant(dataclasses.replace(TARGET, **other), "ref") is None
    assert known.constant(TARGET, "sibling") is None


def test_the_newest_is_kept_and_what_was_remembered_is_no_news(path):
    known = KnownHost(path)
    known.remember(TARGET, "ref", dataclasses.replace(QUIET, found={"found_at": 2000.0}))
    older = Constant(9.0, doubt=0.001, found={"found_at": 1000.0})
    known.settle(TARGET, "ref", older)
    assert known.constant(TARGET, "ref").reference_ms == 3.5
    found = known.settle(TARGET, "ref", BUSY)
    assert found is not BUSY
    again = known.settle(TARGET, "ref", found)
    assert again is found
    assert known.constant(TARGET, "ref").found["remembered_at"] == 2000.0


def at(minutes, reference_ms, doubt=0.008):
    return Constant(reference_ms, doubt=doubt, found={"found_at": 1e9 + 60.0 * minutes})


def test_the_shortest_of_the_last_moments_counts_and_its_doubt_reaches_to_the_next(path):
    known = KnownHost(path)
    for minutes, doubt in ((0, 0.05), (8, 0.05), (12, 0.01)):
        known.settle(TARGET, "ref", at(minutes, 0.210 if minutes else 0.212))
        found = known.constant(TARGET, "ref")
        assert found.doubt == pytest.approx(doubt, abs=0.006), "8 minutes later is the same moment"
    assert found.is_quiet
    assert found.reference_ms == 0.210
    assert found.found["remembered_at"] == 1e9, "the moment's begin"


def test_what_a_busy_host_takes_less_time_for_was_not_remembered_of_a_quiet_one(path):
    """Once 0.242 ms were remembered of a moment that looked quiet, and printed for 0.210 ms."""
    known, now = KnownHost(path), Constant(0.210, doubt=0.09)
    known.settle(TARGET, "ref", at(0, 0.242))
    assert known.settle(TARGET, "ref", now) is now
    slower = known.settle(TARGET, "ref", Constant(0.26, doubt=0.09))
    assert slower.reference_ms == 0.242
    assert slower.widening > 0.04, "no other moment says so"


def test_a_moment_that_looks_quiet_and_takes_longer_than_others_is_not_taken_for_quiet(path):
    known = KnownHost(path)
    for minutes in (0, 60):
        known.settle(TARGET, "ref", at(minutes, 0.210))
    slow = known.settle(TARGET, "ref", at(120, 0.242))
    assert slow.reference_ms == 0.210
    assert slow.is_quiet
    again = [known.settle(TARGET, "ref", at(minutes, 0.242)) for minutes in range(180, 480, 60)]
    assert again[0].reference_ms == 0.210
    assert again[-1].reference_ms == 0.242, "the host has changed"


def test_a_constant_that_is_not_much_better_is_not_used(path):
    KnownHost(path).remember(TARGET, "ref", dataclasses.replace(QUIET, doubt=0.019))
    slightly = Constant(3.6, doubt=0.021)
    assert KnownHost(path).settle(TARGET, "ref", slightly) is slightly


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"format_version": 1}',
        b'{"format_version": 2, "constants": {}, "memory_quotients": {}}',
        b'{"format_version": 1, "constants": [], "memory_quotients": {}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_no_file(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    known = KnownHost(path)
    assert known.constant(TARGET, "ref") is None
    assert math.isnan(known.memory_quotient("a processor"))
    known.remember(TARGET, "ref", QUIET)
    assert known.constant(TARGET, "ref").reference_ms == 3.5


@pytest.mark.parametrize("moments", [{}, [1.0, 2.0], [[0.0, 0.01, 9.0]], [["a", 0.01, 9.0]]])
def test_damaged_moments_are_left_out(path, moments):
    known = KnownHost(path)
    known.remember(TARGET, "ref", QUIET)
    values = json.loads(path.read_text())
    (constant,) = values["constants"].values()
    constant["found"]["moments"] = moments
    path.write_text(json.dumps(values))
    assert known.constant(TARGET, "ref").reference_ms == 3.5
    known.remember(TARGET, "ref", at(0, 3.4))
    assert known.constant(TARGET, "ref").reference_ms <= 3.5


@pytest.mark.parametrize("damage", [{"reference_ms": -1.0}, {"doubt": "x"}, {"found": []}, None])
def test_a_damaged_constant_is_none(path, damage):
    known = KnownHost(path)
    known.remember(TARGET, "ref", QUIET)
    values = json.loads(path.read_text())
    (key,) = values["constants"]
    values["constants"][key] = damage and {**values["constants"][key], **damage}
    path.write_text(json.dumps(values))
    assert known.constant(TARGET, "ref") is None
    assert known.settle(TARGET, "ref", BUSY) is BUSY


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    known = KnownHost(tmp_path / "file" / "host.json")
    assert known.settle(TARGET, "ref", QUIET) is QUIET
    known.remember_memory("a processor", [2.0])
    assert math.isnan(known.memory_quotient("a processor"))


def test_the_file_does_not_grow_for_ever(path):
    known = KnownHost(path)
    known.remember(TARGET, "oldest", dataclasses.replace(QUIET, found={"found_at": 1.0}))
    values = json.loads(path.read_text())
    (kept,) = values["constants"].values()
    values["constants"] |= {f"ref{n}": {**kept, "found": {"found_at": 9.0}} for n in range(199)}
    path.write_text(json.dumps(values))
    assert known.constant(TARGET, "oldest") is not None
    known.remember(TARGET, "newest", QUIET)
    assert known.constant(TARGET, "oldest") is None
    assert known.constant(TARGET, "newest") is not None
    known.remember_memory("a processor", [2.0] * 100)
    assert len(json.loads(path.read_text())["memory_quotients"]["a processor"]) < 100


def test_the_memory_of_a_quiet_host_is_known_by_processor(path):
    known = KnownHost(path)
    known.remember_memory("a processor", [2.2, 2.6])
    known.remember_memory("a processor", [2.4, math.nan, -1.0])
    assert known.memory_quotient("a processor") == 2.4
    assert math.isnan(known.memory_quotient("another"))
