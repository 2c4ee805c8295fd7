"""How busy the memory is: what a cache still holds after others ran."""

import os

import pytest

from latprof.profilers.host.memory_probe import memory_quotient, reread_factor


class Cache:
    """A clock of what reading costs: 1 ms a read, and more of what others replaced meanwhile."""

    def __init__(self, lost):
        self.lost, self.now_ns, self.left_s = iter(lost), 0, []
        self._next = 1.0

    def read(self):
        self.now_ns += round(1e6 * self._next)
        self._next = 1.0

    def leave(self, seconds):
        if hasattr(os, "sched_getaffinity"):
            assert len(os.sched_getaffinity(0)) == 1, "another core may have another cache"
        self.left_s.append(seconds)
        self._next = next(self.lost)


@pytest.mark.parametrize(
    ("lost", "factor"),
    [((1.0, 1.0), 1.0), ((5.0, 4.0), 4.0), ((1.1, 6.0), 1.1)],
    ids=["nobody", "a stream through memory", "something once"],
)
def test_what_was_read_is_read_again_after_others_had_the_cores(lost, factor):
    cache = Cache(lost)
    assert reread_factor(cache.read, lambda: cache.now_ns, cache.leave) == pytest.approx(factor)
    assert len(cache.left_s) == 2
    assert sum(cache.left_s) <= 0.02, "cheap beside a visit"


def test_a_clock_that_does_not_move_is_no_error():
    assert reread_factor(lambda: None, lambda: 0, lambda _seconds: None) == 1.0


def test_on_this_host_both_are_answers():
    allowed = os.sched_getaffinity(0)
    assert memory_quotient() > 0
    assert reread_factor() > 0.2
    assert os.sched_getaffinity(0) == allowed
