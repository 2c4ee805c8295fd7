"""Clocks that step, and control groups that hold back: a number with its doubt, or a refusal."""

import itertools
import time

import pytest
from kept_networks import networks_of

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import RuntimeFailedError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.protocol import measure_paired
from latprof.measurement.quiet.finding import Moment, find_constant
from latprof.measurement.records import PairedProtocol, PairedSamples
from latprof.measurement.run_usage import RunUsage
from latprof.measurement.statistics import visit_ratio
from latprof.measurement.store.store import Store
from latprof.measurement.summary import summarize
from latprof.measurement.visits import Visit, VisitCounts
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.host.host_report import HostReport
from latprof.profilers.runtimes import running
from latprof.profilers.runtimes.running import timed_runs
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.testing.fakes import FakeProfiler


class Timed:
    """A network whose runs a clock times that jumps by ``step_ns`` in the run ``at``.

    What this process is really given is not what the pretended runs are given: it is not read.
    """

    def __init__(self, monkeypatch, own_ns, step_ns, at):
        self._now, self._own_ns, self._step_ns, self._at = 0, own_ns, step_ns, at
        self._runs = itertools.count()
        self._patch = monkeypatch

    def _run(self):
        self._now += self._own_ns + (self._step_ns if next(self._runs) == self._at else 0)

    def run(self, times):
        with self._patch.context() as patch:
            patch.setattr(time, "perf_counter_ns", lambda: self._now)
            patch.setattr(running, "has_usage", lambda: False)
            return timed_runs(self._run, times, "a runtime")


def visit(monkeypatch, step_ns):
    target = Timed(monkeypatch, 2_000_000, step_ns, 7)
    reference = Timed(monkeypatch, 1_000_000, 0, 0)
    return measure_paired(target, reference, PairedProtocol(), target_runs=6, reference_runs=6)


def test_a_clock_that_jumps_ahead_in_one_run_changes_no_ratio(monkeypatch):
    assert visit(monkeypatch, 3_600 * 10**9).target[1][0] > 1000.0
    assert visit_ratio(visit(monkeypatch, 3_600 * 10**9)) == pytest.approx(2.0)


def test_a_clock_that_goes_back_gives_no_duration(monkeypatch):
    with pytest.raises(RuntimeFailedError, match="unusable durations") as caught:
        visit(monkeypatch, -5_000_000)
    assert "the least -3.0" in str(caught.value)


def test_a_clock_too_coarse_for_a_run_gives_no_duration(monkeypatch):
    stopped = Timed(monkeypatch, 0, 0, 0)
    with pytest.raises(RuntimeFailedError, match="unusable durations"):
        measure_paired(stopped, stopped, PairedProtocol(), target_runs=2, reference_runs=2)


def held_back(own_ms, number, every):
    """A burst in a control group with half a core: now and then a run waits for the next period."""
    durations, usage = [], []
    for run in range(number):
        held = run % every == every - 1
        durations.append(own_ms + 50.0 * held)
        usage.append(RunUsage(round(1000 * own_ms) + 1, 3, int(held)))
    return tuple(durations), tuple(usage)


def test_a_quota_of_half_a_core_gives_a_number_and_says_so():
    target, target_usage = zip(*(held_back(9.0, 3, 2) for _ in range(2)), strict=True)
    reference, usage = zip(*(held_back(3.0, 6, 4) for _ in range(3)), strict=True)
    samples = PairedSamples(target, reference, 1, target_usage, usage)
    assert visit_ratio(samples) == pytest.approx(3.0, rel=0.01)
    before = {"monotonic_s": 0.0, "process_cpu_s": 0.0, "throttled_us": 0.0}
    after = {"monotonic_s": 1.0, "process_cpu_s": 0.5, "throttled_us": 500_000.0}
    made = Visit(
        started_at=0.0,
        wall_s=1.0,
        load_s=0.1,
        process="p",
        samples=samples,
        conditions={"before": before, "after": after},
    )
    report = HostReport.of((), [made], VisitCounts(made=1))
    assert "50% of the time was withheld (steal, quota)" in report.describe()
    constant = find_constant([Moment.of(samples, made.conditions)] * 8)
    assert not constant.is_quiet
    assert constant.reference_ms == pytest.approx(3.0, rel=0.01)


def test_a_wall_clock_that_goes_back_a_day_changes_no_label_and_no_cost(monkeypatch, tmp_path):
    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
    networks = networks_of(space, 3)
    protocol = PairedProtocol(visits=3)

    def make(reference_runs=None):
        return InProcessMeasurer(
            FakeProfiler(RunOptions()), networks[0], protocol, "here", reference_runs
        )

    def summary(name, step_s):
        seconds = itertools.count()
        with Store.open(tmp_path / name, create=True) as store, monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 1e9 + (n := next(seconds)) - step_s * (n > 9))
            target = FakeProfiler(RunOptions()).target(None)
            collect(Plan(networks, protocol, repeat_fraction=0), store, target, "r", make)
            known = TargetLabels.of(store)
            return known.labels["latency_ms"].tolist(), summarize(known)

    steady, stepped = summary("steady.db", 0.0), summary("stepped.db", 86_400.0)
    assert stepped[0] == steady[0]
    assert stepped[1].networks_an_hour > 0
    assert stepped[1].untimed_fraction <= 1
