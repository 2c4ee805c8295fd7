"""A run's usage is the difference of the process's counters around it."""

import pytest

from latprof.measurement.run_usage import RunUsage, TimedRuns, is_free, usage_of
from latprof.profilers.host.usage_meter import UsageMeter
from latprof.profilers.runtimes.running import timed_runs


class Counters:
    """A process's counters as a test sets them; ``waited_ns`` of two threads."""

    def __init__(self, folder):
        self.cpu_s, self.voluntary, self.preempted = 0.0, 0, 0
        self.folder = folder

    def wait(self, *waited_ns):
        for number, ns in enumerate(waited_ns):
            task = self.folder / str(number)
            task.mkdir(parents=True, exist_ok=True)
            (task / "schedstat").write_text(f"5000 {ns} 7\n")

    def read(self):
        return self.cpu_s, self.voluntary, self.preempted


@pytest.fixture
def counters(tmp_path):
    found = Counters(tmp_path / "task")
    found.wait(1000, 2000)
    return found


def test_a_run_says_what_it_was_given(counters):
    with UsageMeter(counters.folder, counters.read) as meter:
        meter.begin()
        counters.cpu_s, counters.preempted = 0.004, 2
        counters.wait(3_001_000, 502_000)
        assert meter.run() == RunUsage(cpu_us=4000, waited_us=3500, preempted=2)

        meter.begin()
        counters.cpu_s = 0.005
        assert meter.run() == RunUsage(cpu_us=1000, waited_us=0, preempted=0)


def test_a_thread_that_waits_for_a_core_after_it_slept_has_waited(counters):
    with UsageMeter(counters.folder, counters.read) as meter:
        meter.begin()
        counters.voluntary = 1
        counters.wait(1000, 90_000)
        assert meter.run() == RunUsage(0, 88, 0)


def test_without_schedstat_the_waiting_time_is_not_known(counters, tmp_path):
    with UsageMeter(tmp_path / "nothing", counters.read) as meter:
        meter.begin()
        counters.cpu_s, counters.preempted = 0.001, 1
        assert meter.run() == RunUsage(1000, None, 1)


def test_counters_that_go_back_count_as_nothing(counters):
    counters.cpu_s, counters.preempted = 1.0, 5
    with UsageMeter(counters.folder, counters.read) as meter:
        meter.begin()
        counters.cpu_s, counters.preempted, counters.voluntary = 0.5, 4, 9
        counters.wait(0, 0)
        assert meter.run() == RunUsage(0, 0, 0)


def test_the_runs_of_this_host_are_counted():
    found = timed_runs(lambda: sum(range(100_000)), 5, "a runtime")
    assert isinstance(found, TimedRuns)
    assert len(found) == len(usage_of(found)) == 5
    assert sum(usage.cpu_us for usage in found.usage) > 0


def test_a_run_is_free_where_nothing_took_its_core():
    assert is_free(1.0, RunUsage(1000, 1, 0))
    assert is_free(1.0, RunUsage(1000, None, 0))
    assert not is_free(1.0, RunUsage(1000, 500, 0))
    assert not is_free(1.0, RunUsage(1000, 0, 1))


def test_durations_of_a_device_of_its_own_have_no_usage():
    assert usage_of([1.0, 2.0]) == ()


def test_waiting_between_two_runs_belongs_to_neither_and_leaves_the_next_cold_caches(counters):
    with UsageMeter(counters.folder, counters.read) as meter:
        meter.begin()
        assert meter.run() == RunUsage(0, 0, 0)
        counters.preempted = 1
        counters.wait(1000, 9_000_000)
        meter.begin()
        assert meter.run() == RunUsage(0, 0, 1)
        meter.begin()
        assert meter.run() == RunUsage(0, 0, 0)
