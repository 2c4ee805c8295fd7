"""On a busy host comparisons and campaigns make more visits, or give no number."""

import dataclasses
import itertools
import math

import pytest
from crowded_profiler import CrowdedProfiler
from kept_networks import networks_of

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import HostBusyError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.quiet import busy
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.profilers import comparing, sweeping
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign import campaign
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.comparing import compare_in_turn, compare_networks, measure_in_turn
from latprof.profilers.host.host_report import HostReport
from latprof.profilers.sweeping import sweep_network
from latprof.profilers.visits import measurers
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.workflows.collect_result import CollectResult, Label, label_of

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = networks_of(SPACE, 3)
A, B = NETWORKS[:2]
PROTOCOL = PairedProtocol(visits=4)
TARGET = CrowdedProfiler(RunOptions()).target((1, 3, 32, 32))
#: One of so many runs is preempted.
BUSY, QUIET = 2, 10**9


@pytest.fixture(autouse=True)
def _as_users_have_it(monkeypatch):
    """What other tests are spared: the host's state decides on visits and refusals."""
    for module in (campaign, comparing, sweeping):
        monkeypatch.setattr(module, "needs_more", busy.needs_more)
    for module in (comparing, sweeping):
        monkeypatch.setattr(module, "refuse_too_busy", busy.refuse_too_busy)


class Neighboured(CrowdedProfiler):
    """Sees another program go through so much memory a second."""

    others_gb_s = 0.0

    def conditions(self):
        return {"others_memory_gb_s": self.others_gb_s}


def bench(one_of, load_noise, others_gb_s=0.0):
    seeds = itertools.count()

    def make(reference_runs=None):
        seed = next(seeds)
        profiler = Neighboured(RunOptions(), one_of, load_noise=load_noise, seed=seed)
        profiler.others_gb_s = others_gb_s
        return InProcessMeasurer(profiler, NETWORKS[0], PROTOCOL, f"host/{seed}", reference_runs)

    return make


@pytest.mark.parametrize(
    ("one_of", "load_noise", "made"),
    [(BUSY, 0.03, 24), (BUSY, 0.0, 8), (QUIET, 0.1, 24), (QUIET, 0.01, 8)],
)
def test_a_comparison_whose_processes_disagree_starts_more_and_sooner_on_a_busy_host(
    one_of, load_noise, made
):
    found = measure_in_turn(A, B, bench(one_of, load_noise), processes=4, visits=1)
    assert found.visits.made == made


def test_a_half_width_that_is_asked_for_bounds_the_processes():
    found = measure_in_turn(
        A,
        B,
        bench(BUSY, 0.02),
        processes=4,
        visits=1,
        half_width=1e-6,
        max_processes=6,
    )
    assert found.visits.made == 12


def test_a_comparison_of_visits_that_agree_on_nothing_is_refused():
    with pytest.raises(HostBusyError, match="host too busy"):
        compare_networks(A, B, bench(BUSY, 0.3), processes=3, visits=1)
    assert compare_networks(A, B, bench(QUIET, 0.3), processes=3, visits=1)


def test_the_milliseconds_of_a_comparison_are_wider_by_what_is_in_doubt():
    found = measure_in_turn(A, B, bench(BUSY, 0.01), processes=4, visits=1)
    assert not found.constant.is_quiet
    side = compare_in_turn(("a", "b"), found).a
    half = math.log(side.high_ms / side.low_ms) / 2
    assert half > found.constant.widening > 0.02
    hog = HostReport(memory=2.0, quiet_memory=1.0)
    beside = compare_in_turn(("a", "b"), found, host=hog)
    assert beside.a.high_ms > side.high_ms
    slower = dataclasses.replace(found, b=1.03 * found.a)
    assert compare_in_turn(("a", "b"), slower).verdict == "slower"
    assert compare_in_turn(("a", "b"), slower, host=hog).verdict == "no evidence"


def test_a_sweep_makes_more_visits_or_gives_no_number(monkeypatch):
    def swept(load_noise):
        make = bench(BUSY, load_noise)
        monkeypatch.setattr(measurers, "ProcessMeasurer", lambda *given, **_how: make(given[4]))
        sources = dict(enumerate(NETWORKS[:2], 1))
        found = sweep_network(
            "n", sources, (1,), "cpu:onnxruntime", RunOptions(), protocol=PROTOCOL
        )
        return found.points

    assert {point.visits for point in swept(0.0)} == {4}
    wide = swept(0.03)
    assert {point.visits for point in wide} == {12}
    for point in wide:
        assert math.log(point.high_ms / point.low_ms) / 2 > busy.PREEMPTED_DOUBT
    with pytest.raises(HostBusyError, match="host too busy"):
        swept(0.5)


@pytest.mark.parametrize(
    ("one_of", "load_noise", "more"),
    [(BUSY, 0.02, True), (BUSY, 0.0, False), (QUIET, 0.02, True), (QUIET, 0.005, False)],
)
def test_a_campaign_visits_again_what_is_not_narrow_and_sooner_on_a_busy_host(
    tmp_path, one_of, load_noise, more
):
    progress = []
    with Store.open(tmp_path / "lat.db", create=True) as store:
        outcome = campaign.collect(
            Plan(NETWORKS, PROTOCOL, repeat_fraction=0),
            store,
            TARGET,
            "r",
            bench(one_of, load_noise),
            on_progress=progress.append,
        )
        assert (outcome.made > 12) == more
        assert 12 <= outcome.made <= 36
        assert progress[-1].done == progress[-1].total == outcome.made
        assert (outcome.left, progress[-1].left) == (0, 0)
        again = campaign.collect(
            Plan(NETWORKS, PROTOCOL, repeat_fraction=0),
            store,
            TARGET,
            "r",
            bench(one_of, load_noise),
        )
        assert again.made == 0, "what is complete is complete"


def test_a_named_model_for_which_the_host_was_too_busy_has_no_number(tmp_path):
    row = {"latency_ms": 2.0, "visits": 8, "stopped_by": "visits", "taken": 0.4, "doubt": 0.0}
    wide, narrow = ({**row, "low_ms": 2 / f, "high_ms": 2 * f} for f in (1.2, 1.01))
    refused = label_of("net", wide)
    assert refused.too_busy
    assert math.isnan(refused.latency_ms)
    assert label_of("net", narrow) == Label("net", 2.0, 2 / 1.01, 2.02, 8, "visits")
    assert not label_of("net", {**wide, "taken": math.nan}).too_busy
    by_copying = HostReport(memory=2.0, quiet_memory=1.0)
    assert math.log(label_of("net", narrow, by_copying).high_ms / 2.0) >= 0.05
    assert label_of("net", narrow, HostReport(others_gb_s=20.0)).high_ms == 2.02, "in the table"
    doubted = {**wide, "doubt": math.log(1.195)}
    assert not label_of("net", doubted).too_busy, "what is in doubt is no visit's"

    with Store.open(tmp_path / "lat.db", create=True) as store:
        outcome = campaign.collect(
            Plan(NETWORKS[:1], PROTOCOL, repeat_fraction=0), store, TARGET, "r", bench(QUIET, 0.0)
        )
    assert CollectResult(TARGET, outcome, None, labels=(refused,)).exit_status == 5
    assert CollectResult(TARGET, outcome, None).exit_status == 0


def test_what_others_put_in_doubt_is_in_the_interval_that_every_command_prints(tmp_path):
    def labels(name, one_of, others_gb_s):
        with Store.open(tmp_path / name, create=True) as store:
            make = bench(one_of, 0.001, others_gb_s)
            plan = Plan(NETWORKS[:1], PROTOCOL, repeat_fraction=0)
            campaign.collect(plan, store, TARGET, "r", make)
            known = TargetLabels.of(store)
            row = known.labels.iloc[0]
            half = math.log(row["high_ms"] / row["low_ms"]) / 2
            of_visits = math.sqrt(half**2 - row["doubt"] ** 2)
            return row, of_visits, known.constant.widening

    row, of_visits, widening = labels("quiet.db", QUIET, 0.0)
    assert (row["doubt"], row["taken"]) == (widening, 0.0)
    row, of_visits, widening = labels("busy.db", BUSY, 0.0)
    assert row["taken"] > busy.BUSY_SHARE
    assert row["doubt"] == pytest.approx(math.hypot(widening, busy.PREEMPTED_DOUBT))
    assert 0 < of_visits < busy.PREEMPTED_DOUBT
    row, of_visits, widening = labels("hog.db", QUIET, 12.0)
    assert row["doubt"] == pytest.approx(math.hypot(widening, busy.HOG_DOUBT))
