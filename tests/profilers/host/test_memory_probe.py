"""How busy the memory is: copies beside the other cores' work and without it."""

import math
import os
import threading

import pytest

from latprof.profilers.host import memory_probe
from latprof.profilers.host.memory_probe import memory_quotient, slowdown_beside_others


@pytest.fixture
def three_cores(monkeypatch):
    """A process with precedence on cores 0 to 2; what each of its threads is pinned to, by name."""
    pinned, copied = [], []
    monkeypatch.setattr(memory_probe, "has_precedence", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2}, raising=False)
    monkeypatch.setattr(
        os,
        "sched_setaffinity",
        lambda _pid, cores: pinned.append((threading.current_thread().name, set(cores))),
        raising=False,
    )

    def copy_ns(_to, _source, _times):
        others = [t for t in threading.enumerate() if t.name.startswith("other core")]
        copied.append(len(others))
        return (0.5 if others else 0.9) * 1.1 ** len(copied)  # the host gets slower

    monkeypatch.setattr(memory_probe, "_copy_ns", copy_ns)
    monkeypatch.setattr(memory_probe, "_MOST_BLOCKS", 10**9)
    return pinned, copied


def test_the_other_cores_are_taken_away_for_every_second_copy_and_given_back(three_cores):
    pinned, copied = three_cores
    before = threading.active_count()
    assert slowdown_beside_others() == pytest.approx(1.8, rel=0.01)
    assert sorted(copied) == [0] * (len(copied) // 2) + [2] * (len(copied) // 2)
    assert copied[:4] == [2, 0, 0, 2]
    own = [cores for name, cores in pinned if not name.startswith("other core")]
    assert own == [{0}, {0, 1, 2}]
    taken = [cores for name, cores in pinned if name.startswith("other core")]
    assert taken.count({1}) == taken.count({2}) == len(copied) // 2
    assert threading.active_count() == before


@pytest.mark.parametrize("cores", [{0}, set(range(64))])
def test_nothing_is_taken_from_one_core_or_from_many(three_cores, monkeypatch, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cores, raising=False)
    assert math.isnan(slowdown_beside_others())
    assert three_cores == ([], [])


def test_who_does_not_go_before_others_takes_nothing_from_them(three_cores, monkeypatch):
    monkeypatch.setattr(memory_probe, "has_precedence", lambda: False)
    assert math.isnan(slowdown_beside_others())
    assert three_cores == ([], [])


def test_on_this_host_both_are_answers(monkeypatch):
    allowed = os.sched_getaffinity(0)
    monkeypatch.setattr(memory_probe, "has_precedence", lambda: True)
    assert memory_quotient() > 0
    beside = slowdown_beside_others()
    assert beside > 0 or math.isnan(beside)
    assert os.sched_getaffinity(0) == allowed
