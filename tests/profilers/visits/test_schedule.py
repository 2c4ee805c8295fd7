"""One schedule: what is made again, in which process, what is given up, and what is said of it."""

import itertools
from collections import Counter

import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import DeviceError, MeasurementTimeoutError
from latprof.measurement.records import KernelProfile, PairedProtocol, PairedSamples
from latprof.measurement.visits import Failure, Visit
from latprof.profilers.visits.network_source import NetworkSource
from latprof.profilers.visits.schedule import PATIENCE, PlannedVisit, Schedule, equal_shares
from latprof.testing.fakes import FakeClock

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
A, B = (NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(2))
CALM = PairedSamples(((9.0, 1.0, 1.0),) * 2, ((9.0, 1.0, 1.0),) * 3)
MOVED = PairedSamples(((9.0, 1.0, 1.0),) * 2, ((9.0, 1.0, 1.0),) * 2 + ((9.0, 2.0, 2.0),))


class Scripted:
    """Visits end as the script says, in order: samples, or the code of a failure; then calmly."""

    def __init__(self, script=()):
        self.script, self.log, self.given = iter(script), [], []

    def __call__(self, reference_runs):
        self.given.append(reference_runs)
        return self

    def visit(self, network):
        self.log.append((len(self.given), network))
        found = next(self.script, CALM)
        given = {"failure": Failure(found, found)} if isinstance(found, str) else {"samples": found}
        return Visit(started_at=1.0, wall_s=0.1, load_s=0.0, process="p", **given)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def scheduled(measurer, **options):
    return Schedule(measurer, PairedProtocol(), clock=FakeClock(), **options)


def visits(network, count):
    return [PlannedVisit(network, 0, number) for number in range(count)]


def test_a_disturbed_visit_is_made_again_at_once_and_its_last_try_counts():
    measurer = Scripted([CALM, MOVED, CALM, MOVED, MOVED, MOVED])
    schedule = scheduled(measurer)
    made = schedule.measure(visits(A, 4), 1)
    assert [one.planned.number for one in made] == [0, 1, 2, 3]
    assert [one.samples for one in made] == [CALM, CALM, MOVED, CALM]
    counts = schedule.counts()
    assert (counts.made, counts.disturbed, counts.repeated) == (4, 1, 3)
    assert len(measurer.log) == 7


def test_processes_make_equal_shares_and_all_run_the_reference_as_often_as_the_first():
    measurer = Scripted()
    made = scheduled(measurer).measure(visits(A, 6), 4)
    assert [one.process for one in made] == [0, 0, 1, 1, 2, 3]
    assert measurer.given == [{}, {"": 2}, {"": 2}, {"": 2}]


def test_all_visits_run_a_network_as_often_as_the_first_and_against_its_reference():
    often = PairedSamples(((9.0,) * 9,) * 2, ((9.0, 1.0, 1.0),) * 3, reference_name="small")
    measurer = Scripted([often])
    scheduled(measurer).measure([*visits(A, 2), *visits(B, 1), *visits(A, 1)], 2)
    asked = [(each.reference, each.runs) for _, each in measurer.log]
    assert asked == [(None, None), ("small", 8), (None, None), ("small", 8)]
    handed_over = NetworkSource.from_dict(measurer.log[1][1].to_dict())
    assert (handed_over.reference, handed_over.runs) == ("small", 8)


def test_processes_are_numbered_on_from_one_round_to_the_next():
    schedule = scheduled(Scripted())
    made = [one for _ in range(2) for one in schedule.measure(visits(A, 2), 2)]
    assert [one.process for one in made] == [0, 1, 2, 3]


def test_after_a_share_its_process_is_still_there():
    measurer = Scripted()
    seen = []
    scheduled(measurer).measure(visits(A, 4), 2, lambda one: seen.append((one, len(measurer.log))))
    assert seen == [(measurer, 2), (measurer, 4)]


def test_a_network_that_is_given_up_in_one_process_is_tried_in_the_next():
    turns = [visit for pair in zip(visits(A, 6), visits(B, 6), strict=True) for visit in pair]
    measurer = Scripted([CALM, CALM, "timeout", "timeout", "timeout"])
    schedule = scheduled(measurer)
    made = schedule.measure(turns, 2)
    assert Counter((one.planned.network.subject, one.process) for one in made) == {
        (A.subject, 0): 1,
        (B.subject, 0): 3,
        (A.subject, 1): 3,
        (B.subject, 1): 3,
    }
    assert schedule.counts().failed == 2
    assert schedule.counts().failures == ((A.subject.name, Failure("timeout", "timeout")),)
    assert schedule.given_up == {A.subject}


def test_a_network_of_which_nothing_was_measured_raises_its_failure():
    with pytest.raises(MeasurementTimeoutError):
        scheduled(Scripted(["timeout"] * 3)).measure(visits(A, 2), 2)
    later = scheduled(Scripted([CALM, "timeout", "timeout", "timeout"]))
    first, *rest = visits(A, 5)
    later.measure([first], 1)
    assert len(later.measure(rest, 4)) == 3, "it was measured before"


def test_a_final_failure_has_no_further_try_and_ends_the_visits_to_its_network():
    measurer = Scripted([CALM, "unsupported"])
    schedule = scheduled(measurer)
    assert len(schedule.measure([*visits(A, 5), *visits(B, 5)], 5)) == 6
    assert len(measurer.log) == 7
    assert schedule.counts().failed == 4


def test_a_device_that_never_answered_ends_everything_and_one_that_did_is_asked_again():
    measurer = Scripted(["device"])
    with pytest.raises(DeviceError):
        scheduled(measurer).measure(visits(A, 2), 1)
    assert len(measurer.log) == 1
    assert len(scheduled(Scripted([CALM, "device"])).measure(visits(A, 2), 1)) == 2


def test_a_host_that_is_always_disturbed_is_measured_as_it_is():
    measurer = Scripted([MOVED] * 1000)
    schedule = scheduled(measurer)
    made = schedule.measure(visits(A, 40), 4)
    counts = schedule.counts()
    assert counts.busy
    assert len(made) == counts.made == counts.disturbed == 40
    patient = PATIENCE // 3
    assert len(measurer.log) == PATIENCE + 40 - patient - 1 + (PATIENCE % 3 == 0)


def test_no_visit_starts_after_the_time_limit():
    clock = FakeClock()

    class Slow(Scripted):
        def visit(self, network):
            clock.advance(10.0)
            return super().visit(network)

    schedule = Schedule(Slow(), PairedProtocol(), time_limit_s=25.0, clock=clock)
    assert len(schedule.measure(visits(A, 8), 4)) == 3
    assert schedule.time_is_up()


@pytest.mark.parametrize(
    ("items", "most", "shares"),
    [(250, 100, [84, 83, 83]), (101, 100, [51, 50]), (100, 100, [100]), (7, 100, [7])],
)
def test_equal_shares(items, most, shares):
    found = []
    share = equal_shares(most)
    while items:
        found.append(min(share(items), items))
        items -= found[-1]
    assert found == shares


def test_what_is_to_be_done_again_is_done_after_all_others_by_the_last_process():
    measurer = Scripted()
    done = []

    def do(_measurer, item, following):
        done.append((len(measurer.given), item, following))
        return len(done) < 3

    scheduled(measurer).work_off("abcd", do, equal_shares(2))
    assert [(process, item) for process, item, _ in done] == [
        (1, "a"),
        (1, "b"),
        (2, "c"),
        (2, "d"),
        (3, "a"),
        (3, "b"),
    ]
    assert [len(following) for *_, following in done] == [1, 0, 1, 0, 1, 0]


def test_kernels_are_timed_again_where_the_reference_moved():
    profiles = [KernelProfile((), samples, 1.0, "p") for samples in (MOVED, MOVED, CALM, CALM)]
    numbers = itertools.count()

    class Profiling(Scripted):
        def profile(self, network):
            return profiles[next(numbers)]

    schedule = scheduled(Profiling())
    assert schedule.time_kernels(Profiling(), A) is profiles[2]
    assert next(numbers) == 3


@pytest.mark.parametrize(("code", "asked"), [("connection-lost", 3), ("timeout", 1), ("device", 1)])
def test_kernels_are_timed_again_where_the_connection_was_lost(code, asked):
    numbers = itertools.count()
    failure = Failure(code, "told to")

    class Profiling(Scripted):
        def profile(self, network):
            next(numbers)
            return failure

    assert scheduled(Profiling()).time_kernels(Profiling(), A) is failure
    assert next(numbers) == asked
