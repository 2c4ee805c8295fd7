"""Preempted runs are told from slow ones: what a burst takes when nobody takes its core away."""

import dataclasses
import math

import numpy as np
import pytest

from latprof.errors import HostBusyError
from latprof.measurement.quiet.busy import (
    BUSY_HALF_WIDTH,
    MOST_TIMES,
    TOO_WIDE,
    WIDE_HALF_WIDTH,
    busy_share,
    needs_more,
    refuse_too_busy,
)
from latprof.measurement.quiet.preemption import (
    of_one_kind,
    paired_times,
    preempted_share,
    times_of,
    waiting_share,
)
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


def times(*bursts, dropped_runs=0):
    """What a run takes in each of these bursts of one side, by each kind of runs."""
    durations, usage = zip(*(burst(*runs) for runs in bursts), strict=True)
    (found,) = times_of([(durations, usage)], dropped_runs)
    return found


def own(*runs):
    return of_one_kind(times(runs))[0]


def test_runs_that_kept_their_core_count_alone():
    assert own(run(1.0), run(1.2), run(1.1), run(9.0, 3, 30.0)) == pytest.approx(1.1)


def test_the_first_run_after_a_preemption_counts_for_cold_caches_and_is_left_out():
    after = run(1.5)
    warm = [run(1.0), run(1.02), run(1.04), run(1.06)]
    assert own(run(1.0), run(2.0, 1, 4.0), after, *warm) == pytest.approx(1.02)
    dropped = times([run(2.0, 1, 4.0), after, *warm], dropped_runs=1)
    assert of_one_kind(dropped) == [pytest.approx(1.03)]


def test_few_undisturbed_runs_are_the_fastest_ones_and_do_not_stand_for_the_others():
    slow = [run(3.0, 1, 4.0)] * 3
    found = times([run(2.0), *slow])[0]
    assert math.isnan(found.undisturbed)
    assert found.with_core == pytest.approx(3.0, rel=1e-3)
    assert found.free == 2.0


def test_a_run_longer_than_a_slice_counts_with_the_time_that_it_had_a_core():
    assert own(run(12.0, 3, 12.0), run(12.1, 3, 20.0), run(12.2, 3, 8.0)) == pytest.approx(
        12.1, rel=1e-3
    )


def test_what_a_preemption_costs_is_found_and_taken_off():
    runs = [run(4.0, number % 3, 4.0, cold_ms=0.3) for number in range(12)]
    assert own(*runs) == pytest.approx(4.0, rel=2e-3)
    few = runs[:3]
    assert own(*few) == pytest.approx(4.3, rel=2e-3), "too few to tell"


def test_no_more_than_a_part_of_a_run_is_taken_off():
    costly = [run(4.0, number % 2, cold_ms=8.0) for number in range(12)]
    short = [run(0.1, 40)] * 2
    assert 0 < times(costly, short)[1].with_core < 0.1


def test_both_sides_of_a_ratio_are_of_one_kind():
    """Free runs of the short one, and none of the long one: the short one has cold caches, too."""
    short = [run(1.0), run(1.0, 1, 4.0, cold_ms=0.2), run(1.0)] * 2
    long = [run(3.0, 1, 4.0, cold_ms=0.6), run(3.0, 1, 4.0, cold_ms=0.6)]
    target, reference = burst(*long), burst(*short)
    samples = PairedSamples((target[0],), (reference[0],) * 2, 0, (target[1],), (reference[1],) * 2)
    of_target, of_reference = paired_times(samples)
    assert math.isnan(of_target[0].undisturbed)
    expected = of_target[0].with_core / of_reference[0].with_core
    assert visit_ratio(samples) == pytest.approx(expected)


def test_time_that_a_quota_held_back_is_not_the_runs():
    """The kernel does not call it waiting; the processor time does not have it."""
    assert own((53.0, RunUsage(3001, 5, 1)), (54.0, RunUsage(3101, 7, 1))) == pytest.approx(3.051)


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
    (found,) = times_of([([(9.0, 1.0, 3.0, 2.0)], [])], 1)
    assert of_one_kind(found) == [2.0]


class Core:
    """A core that others share, in slices; after each of theirs a run finds its caches cold."""

    def __init__(self, generator, loops):
        self._generator, self._loops, self.cold_ms = generator, loops, 0.0
        self._left_ms = SLICE_MS * generator.random()
        self._owed_ms = 0.0  # of the last preemption's cost

    def run(self, own_ms):
        """A run's duration and usage: half of a preemption's cost may fall on the next run."""
        needed = own_ms * math.exp(0.02 * self._generator.standard_normal()) + self._owed_ms
        self._owed_ms = cpu_ms = taken_ms = 0.0
        preempted = 0
        while self._loops and needed > self._left_ms:
            cpu_ms, needed = cpu_ms + self._left_ms, needed - self._left_ms
            self._left_ms = SLICE_MS * (1 + (self._generator.random() < 0.2))
            late = needed < self.cold_ms
            needed += self.cold_ms / (2 if late else 1)
            self._owed_ms += self.cold_ms / 2 if late else 0.0
            taken_ms += SLICE_MS * self._loops
            preempted += 1
        self._left_ms -= needed
        return cpu_ms + needed + taken_ms, RunUsage(
            round(1000 * (cpu_ms + needed)) + 1, round(1000 * taken_ms), preempted
        )


def crowded(
    target_ms, reference_ms, generator, loops, *, waiting_is_known=True, cold_ms=(0.2, 0.2)
):
    """A visit on a core that ``loops`` others share; what each network loses by cold caches."""
    core = Core(generator, loops)

    def runs(own_ms):
        core.cold_ms = cold_ms[own_ms == reference_ms]
        found = [core.run(own_ms) for _ in range(max(2, round(16 / own_ms)) + 1)]
        if not waiting_is_known:
            found = [(ms, usage._replace(waited_us=None)) for ms, usage in found]
        return burst(*found)

    made = [runs(own_ms) for own_ms in (reference_ms, target_ms) * 2 + (reference_ms,)]
    (target, target_usage), (reference, reference_usage) = (
        zip(*part, strict=True) for part in (made[1::2], made[::2])
    )
    return PairedSamples(target, reference, 1, target_usage, reference_usage)


@pytest.mark.parametrize("loops", [1, 2, 4])
@pytest.mark.parametrize(
    ("target_ms", "reference_ms"),
    [(0.2, 0.25), (0.8, 0.25), (0.8, 1.6), (2.0, 1.3), (3.0, 1.3), (6.0, 3.5), (12, 3.5), (60, 45)],
)
def test_ratios_hold_on_a_crowded_core(loops, target_ms, reference_ms):
    generator = np.random.default_rng(loops)
    visits = [crowded(target_ms, reference_ms, generator, loops) for _ in range(40)]
    ratios = [visit_ratio(samples) for samples in visits]
    assert np.mean(ratios) == pytest.approx(target_ms / reference_ms, rel=0.015)
    if target_ms > SLICE_MS:
        assert preempted_share(visits[0]) > 0.5
        assert 0 < waiting_share(visits[0]) < 1


@pytest.mark.parametrize(("target_ms", "reference_ms"), [(0.2, 0.25), (0.8, 1.6), (2.0, 1.3)])
@pytest.mark.parametrize("cold_ms", [(0.3, 0.1), (0.1, 0.3)])
def test_networks_that_lose_more_or_less_by_cold_caches_lose_it_from_no_ratio(
    cold_ms, target_ms, reference_ms
):
    """Left in it would be 0.2 ms of each slice: 5 %."""
    generator = np.random.default_rng(0)
    ratios = [
        visit_ratio(crowded(target_ms, reference_ms, generator, 2, cold_ms=cold_ms))
        for _ in range(60)
    ]
    assert np.mean(ratios) == pytest.approx(target_ms / reference_ms, rel=0.02)


def test_a_container_without_schedstat_and_a_niceness_of_19_change_no_ratio():
    generator = np.random.default_rng(3)
    visits = [crowded(3.0, 1.5, generator, 40, waiting_is_known=False) for _ in range(40)]
    assert np.mean([visit_ratio(samples) for samples in visits]) == pytest.approx(2.0, rel=0.015)
    assert busy_share(visits) > 0.3
    assert all(math.isnan(waiting_share(samples)) for samples in visits)


def test_a_quiet_visit_has_the_median_of_its_runs():
    samples = crowded(2.0, 1.0, np.random.default_rng(0), 0)
    plain = dataclasses.replace(samples, target_usage=(), reference_usage=())
    assert visit_ratio(samples) == visit_ratio(plain)
    assert preempted_share(samples) == 0


def samples_of_share(share):
    usage = tuple(RunUsage(1001, 0, number < 10 * share) for number in range(10))
    return PairedSamples(((1.0,) * 10,), ((1.0,) * 10,) * 2, 0, (usage,), (usage,) * 2)


def test_a_network_gets_more_visits_until_the_interval_is_narrow_or_they_are_too_many():
    busy, quiet = (busy_share([samples_of_share(share)]) for share in (0.4, 0.0))
    assert busy == pytest.approx(0.4)
    assert needs_more(8, 8, 2 * BUSY_HALF_WIDTH, busy)
    assert not needs_more(8, 8, BUSY_HALF_WIDTH / 2, busy)
    assert not needs_more(8 * MOST_TIMES, 8, 2 * BUSY_HALF_WIDTH, busy)
    assert not needs_more(8, 8, 2 * BUSY_HALF_WIDTH, quiet)
    assert needs_more(8, 8, 2 * WIDE_HALF_WIDTH, quiet)
    unknown = busy_share([PairedSamples(((1.0,),), ((1.0,),) * 2, 0)])
    assert not needs_more(8, 8, 2 * BUSY_HALF_WIDTH, unknown)


def test_short_runs_that_are_seldom_preempted_tell_a_busy_host_by_their_waiting():
    generator = np.random.default_rng(0)
    visits = [crowded(0.1, 0.1, generator, 4) for _ in range(5)]
    assert preempted_share(visits[0]) < 0.1
    assert busy_share(visits) > 0.5


def test_of_many_threads_that_wait_no_more_than_all_their_time_is_taken():
    usage = (RunUsage(1001, 77_000, 0),) * 10  # 99 threads of 1 ms on two cores
    samples = PairedSamples(((1.0,) * 10,), ((1.0,) * 10,) * 2, 0, (usage,), (usage,) * 2)
    assert waiting_share(samples) == pytest.approx(77)
    assert busy_share([samples]) == 1


def test_a_host_that_is_too_busy_gives_no_number():
    refuse_too_busy(TOO_WIDE / 2, 0.9)
    refuse_too_busy(TOO_WIDE * 2, 0.0)
    refuse_too_busy(math.nan, 0.9)
    with pytest.raises(HostBusyError, match="host too busy: 90% of the runs"):
        refuse_too_busy(TOO_WIDE * 2, 0.9)
