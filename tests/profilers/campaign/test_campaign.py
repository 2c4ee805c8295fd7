"""A campaign visits everything the plan says, spreads it, resumes it, and survives failures."""

import dataclasses
import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from kept_networks import networks_of

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, InvalidValueError
from latprof.measurement.labels import TargetLabels, labels
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import combine_visits, relative_half_width
from latprof.measurement.store.store import Store
from latprof.measurement.tables.label_table import label_table, noise_floor
from latprof.measurement.visits import Failure, Visit
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import reference_network
from latprof.profilers.visits.references import siblings
from latprof.testing.fakes import FakeClock, FakeProfiler, stepping

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = networks_of(SPACE, 6)
REFERENCE = networks_of(SPACE, 1, seed=9)[0]
PROTOCOL = PairedProtocol(visits=3)
TARGET = FakeProfiler(RunOptions()).target((1, 3, 32, 32))


def bench(**clock):
    seeds = itertools.count()  # no two processes have the same luck

    def make(reference_runs=None):
        profiler = FakeProfiler(RunOptions(), seed=next(seeds), **clock)
        return InProcessMeasurer(profiler, REFERENCE, PROTOCOL, "here", reference_runs)

    return make


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as opened:
        yield opened


def run(store, plan=None, make=None, **rest):
    return collect(plan or Plan(NETWORKS, PROTOCOL), store, TARGET, "r", make or bench(), **rest)


def test_every_network_gets_its_visits_and_repeats_in_other_passes(store):
    outcome = run(store)
    assert (outcome.made, outcome.resumed, outcome.failed) == (36, 0, 0)
    visits = TargetLabels.of(store).visits
    assert Counter(visits["label"]) == {0: 18, 1: 18}
    order = {(r.subject, r.label, r.visit): i for i, r in enumerate(visits.itertuples())}
    for network in NETWORKS:
        times = [order[network.subject.key, 0, visit] for visit in range(3)]
        assert times == sorted(times)
        assert times[1] >= len(NETWORKS), "the second visit belongs to the second pass"
        assert order[network.subject.key, 1, 0] > times[0]


def test_passes_visit_in_another_order_each_and_the_same_for_one_seed():
    first, again = (list(Plan(NETWORKS, PROTOCOL, seed=3).passes()) for _ in range(2))
    assert first == again
    names = [
        [visit.network.subject.key for visit in part if visit.label == 0] for part in first[:3]
    ]
    assert names[0] != names[1]
    assert sorted(names[0]) == sorted(names[1])


def test_the_same_call_resumes_and_a_larger_one_adds(store):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.done == 10:
            raise StopError

    with pytest.raises(StopError):
        run(store, on_progress=stop)
    assert not TargetLabels.of(store).is_frozen
    outcome = run(store)
    assert (outcome.made, outcome.resumed) == (26, 10)
    assert TargetLabels.of(store).is_frozen, "a complete campaign freezes the constant"
    more = networks_of(SPACE, 8)
    assert more[:6] == NETWORKS
    outcome = run(store, Plan(more, PROTOCOL))
    assert (outcome.made, outcome.resumed) == (12, 36)


def test_progress_counts_up_to_the_end(store):
    seen = []
    run(store, on_progress=seen.append)
    assert [p.done for p in seen] == list(range(1, 37))
    assert seen[-1].left == 0
    assert all(p.done + p.failed + p.left == p.total == 36 for p in seen)
    assert math.isnan(seen[0].left_s) or seen[0].left_s >= 0


def test_pairing_removes_what_the_clock_does(store):
    run(store, make=bench(clock=stepping(0.25, every=45), load_noise=0.005))
    visits = TargetLabels.of(store).visits
    kept = visits[~visits["disturbed"]].groupby("subject")
    raw = kept["raw_median_ms"].std() / kept["raw_median_ms"].mean()
    paired = kept["ratio"].std() / kept["ratio"].mean()
    assert paired.mean() < 0.02
    assert raw.mean() > 3 * paired.mean()


def test_a_visit_during_which_the_clock_jumps_is_marked_and_done_again(store):
    outcome = run(store, make=bench(clock=stepping(0.5, every=37)))
    assert outcome.repeated > 0
    visits = TargetLabels.of(store).visits
    assert visits["disturbed"].sum() >= outcome.repeated + outcome.disturbed
    clean = visits[~visits["disturbed"]]
    assert clean["drift"].max() <= PROTOCOL.max_drift


class Flaky:
    """A measurer that fails as told, then hands on to a bench."""

    def __init__(self, failures, code):
        self.failures, self.code, self.measurer = failures, code, bench()()

    def visit(self, network):
        if self.failures.get(network.subject.key, 0) > 0:
            self.failures[network.subject.key] -= 1
            failure = Failure(self.code, "told to")
            return Visit(started_at=1.0, wall_s=0.1, load_s=0.0, process="p", failure=failure)
        return self.measurer.visit(network)

    def expect(self, networks):
        pass

    def profile(self, network):
        return self.measurer.profile(network)

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def test_a_passing_failure_is_stored_and_tried_again(store):
    failures = {NETWORKS[0].subject.key: 2}
    outcome = run(store, make=lambda _runs: Flaky(failures, "runtime-failed"))
    assert (outcome.made, outcome.failed) == (36, 0)
    assert TargetLabels.of(store).visits["failure_code"].notna().sum() == 2


def test_a_final_failure_is_not_repeated_and_the_rest_goes_on(store):
    failures = {NETWORKS[0].subject.key: 1000}
    outcome = run(store, make=lambda _runs: Flaky(failures, "unsupported"))
    assert (outcome.made, outcome.failed) == (30, 6)
    assert 1000 - failures[NETWORKS[0].subject.key] == 1
    assert len(outcome.failures) == 1


def test_a_target_that_cannot_be_measured_at_all_ends_the_campaign_at_once(store):
    failures = {network.subject.key: 1000 for network in NETWORKS}
    with pytest.raises(DeviceError, match="told to"):
        run(store, make=lambda _runs: Flaky(failures, "device"))
    assert sum(failures.values()) == 1000 * len(NETWORKS) - 1


def test_a_device_that_goes_away_later_is_asked_again(store):
    asked = itertools.count()

    class Later(Flaky):
        def visit(self, network):
            return super().visit(network) if next(asked) >= 3 else self.measurer.visit(network)

    failures = {network.subject.key: 1 for network in NETWORKS}
    outcome = run(store, make=lambda _runs: Later(failures, "device"))
    assert (outcome.made, outcome.failed) == (36, 0)
    assert sum(failures.values()) == 0


def test_a_runtime_without_kernels_says_so_once(store):
    class Plain(Flaky):
        def profile(self, network):
            return Failure("device", "tells no kernels apart")

    outcome = run(store, Plan(NETWORKS, PROTOCOL, ops=True), make=lambda _runs: Plain({}, ""))
    assert outcome.made == 36
    assert [name for name, _ in outcome.failures] == ["kernels"]


def test_ops_store_kernels_of_every_network_once(store):
    run(store, Plan(NETWORKS, PROTOCOL, ops=True))
    profiles = list(store.kernel_profiles(TARGET))
    assert len(profiles) == len(NETWORKS)
    keys = {subject.key for subject, _ in profiles}
    assert keys == {network.subject.key for network in NETWORKS}


def test_a_finished_campaign_freezes_the_reference_constant(store):
    run(store)
    operators = len(SPACE.operators(SPACE.parse(REFERENCE.subject.key)))
    assert store.stored_target(TARGET).reference_ms > 0.1 * operators
    assert store.campaigns(TARGET)[0]["ended_at"] is not None


def test_the_floor_of_a_campaign_matches_its_noise(store):
    networks = networks_of(SPACE, 40)
    make = bench(load_noise=0.01)
    plan = Plan(networks, PairedProtocol(visits=4), repeat_fraction=1.0)
    collect(plan, store, TARGET, "r", make)
    floor = TargetLabels.of(store).noise_floor
    assert floor is not None
    assert floor.pairs == 40
    assert 0.3 < floor.percent < 1.0, "1 % a load over the root of 4 visits, and the reference's"


def test_kernels_are_timed_of_networks_that_were_measured_without(store):
    run(store)
    outcome = run(store, Plan(NETWORKS[:4], PROTOCOL, ops=True))
    assert (outcome.made, outcome.resumed) == (0, 24)
    assert {s.key for s, _ in store.kernel_profiles(TARGET)} == {
        network.subject.key for network in NETWORKS[:4]
    }


def test_what_a_process_does_to_all_its_networks_is_not_in_the_labels(store):
    """The reference's loads differ from process to process; every network of one bears it."""
    networks = networks_of(SPACE, 40)
    numbers = itertools.count()

    def make(_reference_runs):
        number = next(numbers)
        profiler = FakeProfiler(RunOptions(), load_noise=0.002, seed=number)
        lucky = LuckyReference(profiler, 1 + 0.05 * (number % 3 == 0))
        return InProcessMeasurer(lucky, REFERENCE, PairedProtocol(), process=f"host/{number}")

    collect(Plan(networks, PairedProtocol(visits=4), repeat_fraction=1.0), store, TARGET, "r", make)
    visits = TargetLabels.of(store).visits
    of_process = visits.groupby("process")["process_effect"].first()
    assert of_process.max() / of_process.min() == pytest.approx(1.05, abs=0.01)
    found = label_table(visits, 1.0)
    by_hand = visits.assign(apart=visits["ratio"] / visits["process_effect"])
    by_hand = by_hand.groupby(["subject", "label"])["apart"].agg(combine_visits)
    ratios = found.set_index(["subject", "label"])["ratio"]
    np.testing.assert_allclose(ratios, by_hand.reindex(ratios.index), rtol=1e-12)
    assert noise_floor(found, visits).percent < 0.2
    as_measured = label_table(visits.assign(process_effect=1.0), 1.0)
    assert noise_floor(as_measured, visits).percent > 0.5


class LuckyReference:
    """A profiler whose first three loads, the reference's, are slower by a factor."""

    def __init__(self, profiler, factor):
        self._profiler, self._factor, self._left = profiler, factor, 3

    def __getattr__(self, name):
        return getattr(self._profiler, name)

    def load(self, model):
        loaded = self._profiler.load(model)
        if self._left:
            self._left -= 1
            loaded.latency_ms *= self._factor
        return loaded


def precise(half_width=0.01, visits=3, max_visits=12, **rest):
    protocol = PairedProtocol(visits=visits, half_width=half_width, max_visits=max_visits)
    return Plan(NETWORKS, protocol, **rest)


def ratios(store):
    visits = TargetLabels.of(store).visits
    return visits[~visits["disturbed"]].groupby(["subject", "label"])["ratio"]


def test_visits_are_added_until_the_interval_is_narrow_enough(store):
    outcome = run(store, precise(max_visits=50), bench(load_noise=0.01))
    found = ratios(store)
    assert all(relative_half_width(group) <= 0.01 for _, group in found)
    counts = found.size()
    assert counts.min() >= 3
    assert counts.max() > counts.min(), "some networks need more than others"
    assert outcome.made == counts.sum()
    assert set(labels(store)["stopped_by"]) == {"half-width"}


def test_the_number_of_visits_stops_what_will_not_become_precise(store):
    seen = []
    run(store, precise(1e-6, max_visits=5), bench(load_noise=0.01), on_progress=seen.append)
    assert set(ratios(store).size()) == {5}
    assert set(labels(store)["stopped_by"]) == {"visits"}
    assert (seen[-1].total, seen[-1].done, seen[-1].left) == (60, 60, 0)


def test_a_narrower_interval_goes_on_from_the_visits_that_are_there(store):
    run(store, precise(0.02), bench(load_noise=0.01))
    before = ratios(store).size()
    outcome = run(store, precise(0.008, max_visits=60), bench(load_noise=0.01))
    assert outcome.resumed == before.sum()
    assert ratios(store).size().sum() == before.sum() + outcome.made
    again = run(store, precise(0.008, max_visits=60), bench(load_noise=0.01))
    assert again.made == 0


def test_a_failing_network_does_not_hold_up_the_precise_ones(store):
    failures = {NETWORKS[0].subject.key: 10_000}
    outcome = run(store, precise(), make=lambda _runs: Flaky(failures, "runtime-failed"))
    assert outcome.failed == 6, "three planned visits and three repeats, none beyond the plan"


class Slow(Flaky):
    """A visit takes as long as ``takes_s(number of visits so far)`` says, by a clock of its own."""

    def __init__(self, clock, takes_s):
        super().__init__({}, "")
        self.measurer = bench(load_noise=0.01)()  # so that no interval is ever as narrow as 1e-6
        self.clock, self.takes_s, self.visits = clock, takes_s, itertools.count(1)

    def visit(self, network):
        self.clock.advance(self.takes_s(next(self.visits)))
        return super().visit(network)


def run_slowly(store, plan, takes_s=lambda _number: 0.01):
    clock = FakeClock()
    measurer = Slow(clock, takes_s)
    return run(store, plan, make=lambda _runs: measurer, clock=clock)


def test_the_time_limit_ends_a_campaign_and_the_label_says_so(store):
    plan = Plan(NETWORKS, PairedProtocol(visits=200), time_limit_s=0.295)
    outcome = run_slowly(store, plan)
    assert (outcome.made, outcome.left) == (30, 12 * 200 - 30)
    assert outcome.elapsed_s == pytest.approx(0.3)
    assert set(labels(store)["stopped_by"]) == {"time"}
    assert store.only_target().reference_ms is None
    again = run_slowly(store, plan)
    assert (again.made, again.resumed) == (30, 30), "the same call resumes"


def test_a_time_limit_leaves_no_visits_that_were_never_planned(store):
    outcome = run_slowly(store, precise(1e-6, visits=1, max_visits=1000, time_limit_s=0.315))
    assert (outcome.made, outcome.left) == (32, 4), "the rest of the pass that was cut"


def test_a_limit_that_only_the_last_visit_reaches_leaves_nothing_undone(store):
    plan = Plan(NETWORKS, PROTOCOL, time_limit_s=0.99)
    outcome = run_slowly(store, plan, lambda number: 1.0 if number == 36 else 0.01)
    assert (outcome.made, outcome.left) == (36, 0)
    assert store.only_target().reference_ms is not None
    assert set(labels(store)["stopped_by"]) == {"visits"}


def test_the_time_that_is_left_follows_from_the_visits_so_far(store):
    seen = []
    clock = FakeClock()
    measurer = Slow(clock, lambda _number: 2.0)
    run(store, make=lambda _runs: measurer, clock=clock, on_progress=seen.append)
    assert [(p.elapsed_s, p.left_s) for p in seen[1:]] == [
        (2.0 * number, 2.0 * (36 - number)) for number in range(2, 37)
    ]


class Passing(FakeClock):
    """A second passes whenever it is asked."""

    def monotonic(self):
        self.advance(1.0)
        return super().monotonic()


def test_kernels_that_the_time_limit_cut_off_are_counted(store):
    run(store)
    plan = Plan(NETWORKS, PROTOCOL, ops=True, time_limit_s=1e-9)
    outcome = run(store, plan, clock=Passing())
    assert (outcome.left, outcome.kernels_left) == (0, 6)
    seen = []
    outcome = run(store, Plan(NETWORKS, PROTOCOL, ops=True), on_progress=seen.append)
    assert outcome.kernels_left == 0
    assert [progress.kernels_left for progress in seen] == [5, 4, 3, 2, 1, 0]


def test_a_host_that_is_always_disturbed_does_not_hold_up_the_campaign(store):
    wild = bench(clock=stepping(0.5, every=7))
    plan = Plan(NETWORKS, PairedProtocol(visits=20), repeat_fraction=0.0)
    outcome = run(store, plan, make=wild)
    assert outcome.busy
    assert outcome.made == 120
    assert outcome.repeated < 0.7 * outcome.made, "not everything is made three times"
    assert set(labels(store)["stopped_by"]) == {"visits"}


def test_visits_that_stay_disturbed_count_towards_the_most(store):
    wild = bench(clock=stepping(0.5, every=7))
    outcome = run(store, precise(1e-6, visits=2, max_visits=6), make=wild)
    assert outcome.made == 72


def test_a_label_is_judged_by_the_campaign_that_visited_it(store):
    run(store, precise(max_visits=50), bench(load_noise=0.01))
    run(store, Plan(NETWORKS[:2], PairedProtocol(visits=3), ops=True, repeat_fraction=0.0))
    assert set(labels(store)["stopped_by"]) == {"half-width"}


def test_a_failure_is_told_from_a_limit(store):
    failures = {NETWORKS[0].subject.key: 7}
    plan = Plan(NETWORKS, PROTOCOL, repeat_fraction=0.0, time_limit_s=3600.0)
    run(store, plan, make=lambda _runs: Flaky(failures, "runtime-failed"))
    found = labels(store).set_index("subject")["stopped_by"]
    assert found[NETWORKS[0].subject.key] == "failures"
    assert set(found.drop(NETWORKS[0].subject.key)) == {"visits"}


def test_an_interruption_is_told_from_a_limit(store):
    class StopError(Exception):
        pass

    def stop(progress):
        if progress.done == 20:
            raise StopError

    with pytest.raises(StopError):
        run(store, on_progress=stop)
    assert set(labels(store)["stopped_by"]) <= {"interrupted", "visits"}
    assert "interrupted" in set(labels(store)["stopped_by"])


def test_intervals_hold_what_they_promise_although_narrow_ones_stop_early():
    """Stopping at a narrow interval favours those that are narrow by chance."""
    generator = np.random.default_rng(0)
    protocol = PairedProtocol(visits=8, half_width=0.01, max_visits=64)
    held = []
    for _ in range(2000):
        ratios = list(1 + 0.014 * generator.standard_normal(8))
        while not protocol.enough(len(ratios), relative_half_width(ratios)):
            ratios.append(1 + 0.014 * generator.standard_normal())
        held.append(abs(combine_visits(ratios) - 1) <= relative_half_width(ratios))
    assert 0.85 < np.mean(held) < 0.93


@pytest.mark.parametrize("limit", [0.0, -1.0, math.inf, math.nan])
def test_a_time_limit_outside_its_limits_is_refused(limit):
    with pytest.raises(InvalidValueError, match="time_limit_s is out of range"):
        Plan(NETWORKS, PROTOCOL, time_limit_s=limit)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_repeat_fraction_outside_its_limits_is_refused(fraction):
    with pytest.raises(InvalidValueError, match="repeat_fraction is out of range"):
        Plan(NETWORKS, PROTOCOL, repeat_fraction=fraction)


@pytest.mark.parametrize(("wanted", "gets"), [(28, 32), (224, 224), (57344, 8192)])
def test_the_reference_of_a_space_of_tiny_or_huge_images_has_a_size_it_can_have(wanted, gets):
    name, network = reference_network(wanted)
    assert name == f"proxyless-mobile-{gets}"
    assert f'"resolution": {gets}' in network.subject.space


def test_one_undisturbed_visit_among_several_does_not_stand_alone(store):
    run(store, Plan(NETWORKS[:2], PROTOCOL, repeat_fraction=0.0), bench(load_noise=0.01))
    visits = TargetLabels.of(store).visits
    first = visits["subject"] == NETWORKS[0].subject.key
    for clean, counted in ((3, 3), (2, 2), (1, 3), (0, 3)):
        marked = visits.assign(disturbed=first & (visits["visit"] >= clean))
        # An earlier try of the last visit, which was disturbed.
        again = marked[first & (marked["visit"] == 2)].assign(disturbed=True)
        table = label_table(pd.concat([again, marked], ignore_index=True), 1.0)
        label = table[table["subject"] == NETWORKS[0].subject.key].iloc[0]
        assert label["visits"] == counted + (not clean)
        assert label["low_ms"] < label["latency_ms"] < label["high_ms"]


class OfAHost(FakeProfiler):
    """A device whose reference has siblings."""

    runs_on_host = True


def test_counts_are_of_visits_to_networks_and_not_of_the_references_ties(store):
    small = dataclasses.replace(NETWORKS[0], reference=next(iter(siblings())))

    def make(reference_runs=None):
        profiler = OfAHost(RunOptions(), stepping(0.5, every=7))
        return InProcessMeasurer(profiler, REFERENCE, PROTOCOL, "here", reference_runs)

    outcome = run(store, Plan([small], PROTOCOL, repeat_fraction=0.0), make)
    made = [*store.measurements(TARGET)]
    visits = TargetLabels.of(store).visits
    assert len(made) > len(visits), "the siblings are tied"
    assert (outcome.made, outcome.failed, outcome.left) == (PROTOCOL.visits, 0, 0)
    assert outcome.made + outcome.repeated == len(visits)
    assert outcome.repeated + outcome.disturbed == visits["disturbed"].sum() > 0
