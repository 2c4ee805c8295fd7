"""Preempted runs are told from slow ones: what a burst takes when nobody takes its core away."""

import math

import numpy as np
import pytest

from latprof.errors import HostBusyError
from latprof.measurement.quiet.busy import (
    BUSY_HALF_WIDTH,
    MOST_TIMES,
    TOO_WIDE,
    busy_share,
    needs_more,
    refuse_too_busy,
)
from latprof.measurement.quiet.preemption import own_times, preempted_share, waiting_share
from latprof.measurement.records import PairedSamples
from latprof.measurement.run_usage import RunUsage
from latprof.measurement.statistics import visit_ratio

SLICE_MS = 4.0


def run(own_ms, preempted=0, taken_ms=0.0, threads=1, cold_ms=0.0):
    """A run's duration and usage: others took so much of its time, and its caches went cold."""
    cpu_ms = own_ms + cold_ms * preempted
    usage = RunUsage(round(1000 * cpu_ms * threads) + 1, round(1000 * taken_ms), preempted)
    return cpu_ms + taken_ms, usage


def burst(*runs):
    durations, usage = zip(*runs, strict=True)
    return durations, usage


def own(*runs):
    durations, usage = burst(*runs)
    return own_times([durations], [usage], 0)[0]


def test_runs_that_kept_their_core_count_alone():
    assert own(run(1.0), run(9.0, 3, 30.0), run(1.2), run(1.1)) == pytest.approx(1.1)


def test_a_run_longer_than_a_slice_counts_with_the_time_that_it_had_a_core():
    assert own(run(12.0, 3, 12.0), run(12.1, 3, 20.0), run(12.2, 3, 8.0)) == pytest.approx(
        12.1, rel=1e-3
    )


def test_of_preempted_runs_those_that_were_preempted_least_count():
    assert own(run(12.0, 2, 8, cold_ms=0.12), run(12.0, 9, 36, cold_ms=0.12)) == pytest.approx(
        12.24, rel=1e-3
    )


def test_time_that_a_quota_held_back_is_not_the_runs():
    """The kernel does not call it waiting; the processor time does not have it."""
    durations, usage = (53.0, 54.0), (RunUsage(3001, 5, 1), RunUsage(3101, 7, 1))
    assert own_times([durations], [usage], 0) == [pytest.approx(3.051)]


def test_on_several_threads_the_time_that_they_waited_is_taken_off():
    assert own(run(10.0, 2, 6.0, threads=2), run(10.2, 2, 5.0, threads=2)) == pytest.approx(
        10.1, rel=1e-3
    )


def test_without_schedstat_one_thread_has_its_processor_time_and_several_their_free_runs():
    alone = [(20.0, RunUsage(12_003, None, 2)), (25.0, RunUsage(12_007, None, 2))]
    assert own(*alone) == pytest.approx(12.005)
    several = [(20.0, RunUsage(39_003, None, 2)), (12.0, RunUsage(23_007, None, 0))]
    assert own(*several) == 12.0
    assert own(several[0]) == 20.0  # nothing better is known


def test_a_processor_clock_of_ticks_says_nothing():
    ticks = [(14.0, RunUsage(10_000, 2000, 1)), (13.0, RunUsage(0, 1000, 1))]
    assert own(*ticks) == pytest.approx(12.0)
    assert own(*[(ms, usage._replace(waited_us=None)) for ms, usage in ticks]) == 13.5


def test_bursts_without_usage_have_their_median():
    assert own_times([(9.0, 1.0, 3.0, 2.0)], [], 1) == [2.0]


def crowded(target_ms, reference_ms, generator, loops):
    """A visit on a core that ``loops`` others share: each slice is followed by theirs."""

    def runs(own_ms, number):
        found = []
        for _ in range(number):
            preempted = int(generator.poisson(own_ms / SLICE_MS)) if loops else 0
            noise = math.exp(0.01 * generator.standard_normal())
            taken = preempted * SLICE_MS * loops
            found.append(run(own_ms * noise, preempted, taken, cold_ms=0.1))
        return burst(*found)

    def bursts(own_ms, number):
        count = max(2, round(16 / own_ms))
        return zip(*(runs(own_ms, count) for _ in range(number)), strict=True)

    target, target_usage = bursts(target_ms, 2)
    reference, reference_usage = bursts(reference_ms, 3)
    return PairedSamples(tuple(target), tuple(reference), 0, target_usage, reference_usage)


@pytest.mark.parametrize("loops", [1, 2, 4])
@pytest.mark.parametrize(("target_ms", "reference_ms"), [(0.2, 0.25), (3.0, 1.5), (60.0, 45.0)])
def test_ratios_hold_on_a_crowded_core(loops, target_ms, reference_ms):
    generator = np.random.default_rng(loops)
    visits = [crowded(target_ms, reference_ms, generator, loops) for _ in range(40)]
    ratios = [visit_ratio(samples) for samples in visits]
    assert np.mean(ratios) == pytest.approx(target_ms / reference_ms, rel=0.02)
    if target_ms > SLICE_MS:
        assert preempted_share(visits[0]) > 0.5
        assert 0 < waiting_share(visits[0]) < 1


def samples_of_share(share):
    usage = tuple(RunUsage(1001, 0, number < 10 * share) for number in range(10))
    return PairedSamples(((1.0,) * 10,), ((1.0,) * 10,) * 2, 0, (usage,), (usage,) * 2)


def test_a_busy_host_gets_more_visits_until_the_interval_is_narrow_or_they_are_too_many():
    busy, quiet = [samples_of_share(0.4)], [samples_of_share(0.0)]
    assert busy_share(busy) == pytest.approx(0.4)
    assert needs_more(8, 8, 2 * BUSY_HALF_WIDTH, busy)
    assert not needs_more(8, 8, BUSY_HALF_WIDTH / 2, busy)
    assert not needs_more(8 * MOST_TIMES, 8, 2 * BUSY_HALF_WIDTH, busy)
    assert not needs_more(8, 8, 2 * BUSY_HALF_WIDTH, quiet)
    assert not needs_more(8, 8, 2 * BUSY_HALF_WIDTH, [PairedSamples(((1.0,),), ((1.0,),) * 2, 0)])


def test_a_host_that_is_too_busy_gives_no_number():
    refuse_too_busy(TOO_WIDE / 2, [samples_of_share(0.9)])
    refuse_too_busy(TOO_WIDE * 2, [samples_of_share(0.0)])
    with pytest.raises(HostBusyError, match="host too busy: 90% of runs preempted"):
        refuse_too_busy(TOO_WIDE * 2, [samples_of_share(0.9)])
