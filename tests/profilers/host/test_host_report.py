"""Whether the host is quiet: the look before, the wait for it, and what the visits saw."""

import math

import pytest

from latprof.errors import HostBusyError
from latprof.measurement.quiet import known_host
from latprof.measurement.records import PairedSamples
from latprof.measurement.visits import Visit, VisitCounts
from latprof.profilers.host.checks import Check
from latprof.profilers.host.host_report import (
    HostReport,
    Quiet,
    VisitSeen,
    await_quiet,
    look,
    reasons,
)
from latprof.profilers.watching import quiet_memory
from latprof.testing.fakes import FakeClock

IDLE = (Check("load now", "OK", "0.01 of 2 cores busy"), Check("steal time", "OK", "0.0 %"))
SAMPLES = PairedSamples(((1.0, 1.0),), ((1.0, 1.0), (1.0, 1.0)))
BUSY = (Check("load now", "FAIL", "2.00 of 2 cores busy: no core is free", "stop other work"),)


class Waiting(FakeClock):
    """Advances by what it is asked to sleep."""

    def sleep(self, seconds):
        self.advance(seconds)


def looks(*seen):
    """Returns each of ``seen`` once, and the last for ever."""
    left = [*seen]
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_the_look_before_is_a_part_of_what_doctor_checks():
    names = {check.name for check in look()}
    assert {"load now", "other processes", "steal time", "processor quota", "swap"} == names


def test_settings_that_disturb_nothing_now_are_no_reason():
    assert reasons((*IDLE, Check("swap", "WARN", "12 MiB in use"))) == []
    assert reasons(BUSY) == ["load now: 2.00 of 2 cores busy: no core is free"]
    assert reasons((Check("load now", "WARN", "0.30 of 2 cores busy"),))


def test_a_busy_host_is_waited_for_until_it_is_quiet_twice():
    clock, notes = Waiting(), []
    found = await_quiet(
        Quiet(wait_s=300.0),
        notes.append,
        look_now=looks(BUSY, BUSY, IDLE, BUSY, IDLE, IDLE),
        clock=clock,
    )
    assert found == IDLE
    assert "waiting up to 300 s" in notes[0]
    assert notes[-1] == "the host is quiet after 10 s"


def test_a_host_that_stays_busy_is_waited_for_no_longer_than_asked():
    clock, notes = Waiting(), []
    start = clock.monotonic()
    assert await_quiet(Quiet(5.0), notes.append, look_now=looks(BUSY), clock=clock) == BUSY
    assert clock.monotonic() - start == pytest.approx(5.0)
    assert notes[-1] == "the host did not become quiet in 5 s"
    with pytest.raises(HostBusyError, match="no core is free") as caught:
        await_quiet(Quiet(5.0, required=True), look_now=looks(BUSY), clock=clock)
    assert caught.value.exit_status == 4
    assert "`wait_quiet`" in caught.value.hint


def test_a_quiet_host_is_waited_for_not_at_all():
    assert await_quiet(Quiet(300.0, required=True), look_now=looks(IDLE), clock=None) == IDLE


def visit(busy_share=0.0, memory=None, others=None):
    """A visit, with the counters of two cores of which others took a share."""
    after = {
        "monotonic_s": 10.0,
        "process_cpu_s": 10.0,
        "total_jiffies": 2000.0,
        "idle_jiffies": 1000.0 * (1 - busy_share),
        "steal_jiffies": 0.0,
    }
    found = {"memory_quotient": memory, "others_memory_gb_s": others}
    seen = {name: value for name, value in found.items() if value is not None}
    return Visit(
        started_at=0.0,
        wall_s=1.0,
        load_s=0.1,
        process="p",
        failure=None,
        samples=SAMPLES,
        conditions={"before": dict.fromkeys(after, 0.0), "after": after | seen},
    )


def test_what_the_visits_saw_is_said_beside_the_number():
    quiet = HostReport.of(IDLE, [visit()] * 3, VisitCounts(made=3))
    assert quiet.quiet
    assert quiet.describe() == "quiet"
    counts = VisitCounts(made=3, disturbed=1, repeated=2, disturbed_tries=3)
    busy = HostReport.of(IDLE, [visit(0.6)] * 3, counts)
    assert not busy.quiet
    text = busy.describe()
    assert text.startswith("BUSY: ")
    assert "other processes took 60% of the spare cores" in text
    assert "3 of 5 tries of visits were disturbed" in text
    values = busy.to_dict()
    assert (values["quiet"], values["tries"], values["tries_disturbed"]) == (False, 5, 3)
    with pytest.raises(HostBusyError, match="during the visits"):
        busy.check(Quiet(required=True))
    quiet.check(Quiet(required=True))


def test_what_is_not_visible_is_no_warning():
    report = HostReport()
    assert report.quiet
    assert math.isnan(report.preempted)
    assert report.describe() == "quiet, as far as it shows"


def test_another_program_that_uses_the_memorys_bandwidth_is_named():
    visits = [visit(0.6, memory) for memory in (4.0, None, 5.0, 4.4)]
    counts = VisitCounts(made=4)
    report = HostReport.of(IDLE, visits, counts, quiet_memory=2.2)
    assert report.has_memory_hog
    assert "memory bandwidth: another program uses it" in report.describe()
    assert "2.00 times as long" in report.describe()
    assert report.to_dict()["memory_slowdown"] == pytest.approx(2.0)
    assert report.widened(0.01) > 0.02

    for known in (4.0, math.nan):
        unnamed = HostReport.of(IDLE, visits, counts, quiet_memory=known)
        assert not unnamed.has_memory_hog
        assert "memory" not in unnamed.describe()
        assert unnamed.widened(0.01) == 0.01


@pytest.mark.parametrize(("others", "hog"), [((14.0, 0.0, None, 12.0), True), ((3.0,), False)])
def test_what_others_go_through_names_a_hog_whatever_the_quiet_host_did(others, hog):
    visits = [visit(0.6, 4.0, each) for each in others]
    for of_quiet_host in (1.0, 4.0, math.nan):
        report = HostReport.of(IDLE, visits, VisitCounts(made=4), of_quiet_host)
        assert report.has_memory_hog == hog
        assert (report.widened(0.01) > 0.05) == hog
        assert ("it goes through 12 GB/s" in report.describe()) == hog


def test_the_streams_through_memory_that_were_seen_are_hogs():
    assert HostReport(others_gb_s=8.7).has_memory_hog
    assert not HostReport(others_gb_s=0.1).has_memory_hog


def test_on_a_busy_host_intervals_are_wider_than_the_visits_show():
    assert HostReport(preempted=0.4).widened(0.01) > 0.02
    waiting = HostReport(preempted=0.01, waited=0.4)
    assert waiting.widened(0.01) > 0.02, "short runs are seldom preempted"
    assert waiting.describe() == "BUSY: runs waited for a core for 40% of their time"
    assert waiting.to_dict()["waited"] == 0.4
    assert HostReport(preempted=0.05).widened(0.01) == 0.01
    assert HostReport().widened(0.01) == 0.01


def test_a_host_without_visits_has_a_report():
    assert HostReport.of(IDLE, [], VisitCounts()).quiet
    assert VisitSeen.of(visit(0.0)).quotient != 2.0
    assert VisitSeen.of(visit(0.0, 2.0)).is_quiet
    assert not VisitSeen.of(visit(0.6, 2.0)).is_quiet


@pytest.fixture
def known(monkeypatch, tmp_path):
    monkeypatch.setattr(known_host, "data_folder", lambda _kind: tmp_path)
    return known_host.KnownHost()


def test_quiet_visits_leave_behind_how_fast_the_memory_is(known):
    assert math.isnan(quiet_memory([])), "nobody looked"
    hog, fair, loops = visit(0.6, 5.0), visit(0.0, 2.2), visit(0.6, 2.3)
    assert math.isnan(quiet_memory(map(VisitSeen.of, [hog, loops]))), "no quiet moment so far"
    assert quiet_memory(map(VisitSeen.of, [hog, fair])) == 2.2
    assert quiet_memory(map(VisitSeen.of, [hog])) == 2.2, "remembered"
    one_of_many_cores = visit(0.0, 5.0)
    assert quiet_memory(map(VisitSeen.of, [one_of_many_cores])) == 2.2
    assert HostReport.of(IDLE, [hog] * 2, VisitCounts(), 2.2).has_memory_hog
