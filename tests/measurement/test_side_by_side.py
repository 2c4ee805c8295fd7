import numpy as np
import pytest
from kept_networks import networks_of
from scipy import stats

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import NotEnoughDataError
from latprof.measurement.across.side_by_side import side_by_side, target_names
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedProtocol, Target
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.reports.rendering.page import render_report, write_report
from latprof.reports.side_by_side_report import build_side_by_side_report
from latprof.testing.fakes import FakeModel, FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = networks_of(SPACE, 24)
PROTOCOL = PairedProtocol(visits=3)


class ByteProfiler(FakeProfiler):
    """Another device, where a network takes as long as its file is large."""

    spelling = "fake:bytes"

    def target(self, input_shape):
        return self.identity("fake", "another device", "bytes", "1", input_shape)

    def load(self, model):
        return FakeModel(1e-5 * len(model) * (1 + self._luck()), self._duration)

    def _luck(self):
        return self._load_noise * self._generator.standard_normal()


def fill(store, profiler_class, networks=NETWORKS, load_noise=0.0, **options):
    run_options = RunOptions(**options)
    seeds = iter(range(1000))

    def make_measurer(_reference_runs):
        profiler = profiler_class(run_options, load_noise=load_noise, seed=next(seeds))
        return InProcessMeasurer(profiler, NETWORKS[0], PROTOCOL, "host/1")

    target = profiler_class(run_options).target((1, 3, 32, 32))
    collect(Plan(networks, PROTOCOL, repeat_fraction=1.0), store, target, "r", make_measurer)
    return store.stored_target(target)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("side") / "lat.db", create=True) as opened:
        fill(opened, FakeProfiler)
        fill(opened, ByteProfiler, NETWORKS[:20], load_noise=0.01)
        yield opened


def gathered(store):
    return side_by_side(TargetLabels.all_of(store))


def test_only_what_all_targets_measured_is_compared(store):
    found = gathered(store)
    assert found.latency_ms.shape == (20, 2)
    assert found.measured == (24, 20)
    assert {n.subject.name for n in NETWORKS[:20]} == set(found.networks)


def test_rank_correlations_are_those_of_the_latencies(store):
    found = gathered(store)
    a, b = found.latency_ms.T
    assert found.spearman[0, 1] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.kendall[0, 1] == pytest.approx(stats.kendalltau(a, b).statistic)
    assert 0 < found.kendall[0, 1] < found.spearman[0, 1] < 1
    assert np.diag(found.spearman) == pytest.approx(1)


def test_the_fastest_target_has_1_and_the_others_their_factor(store):
    found = gathered(store)
    factors = stats.gmean(found.latency_ms, axis=0)
    assert found.relative == pytest.approx(factors / factors.min())


def test_repeatability_is_each_targets_own(store):
    steady, noisy = gathered(store).noise_floors
    assert steady.relative < 1e-6
    # Three visits of 1 % each.
    assert 0.002 < noisy.relative < 0.015
    assert noisy.pairs == 20


def test_targets_without_a_common_network_are_refused(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as store:
        fill(store, FakeProfiler, NETWORKS[:3])
        fill(store, ByteProfiler, NETWORKS[3:6])
        with pytest.raises(NotEnoughDataError, match="no network was measured on all"):
            gathered(store)


def test_names_tell_targets_apart():
    def target(runtime="torch", **options):
        return Target("cpu", "a processor", runtime, "2", **options)

    named = target_names(
        [
            target(),
            target(mode="compile"),
            target(precision="bfloat16", threads=2),
            target("openvino", threads=2),
        ]
    )
    assert named == (
        "cpu:torch float32 1 threads",
        "cpu:torch compile float32 1 threads",
        "cpu:torch bfloat16 2 threads",
        "cpu:openvino",
    )
    assert target_names([target(), target()]) == ("cpu:torch (1)", "cpu:torch (2)")


def test_the_page_holds_the_matrix_every_network_and_the_spread(store, tmp_path):
    found = gathered(store)
    page = render_report(build_side_by_side_report(found))
    for text in (*found.networks, *found.names, f"{found.spearman[0, 1]:.3f}", "measured again"):
        assert text in page
    assert write_report(build_side_by_side_report(found), tmp_path / "page.html").exists()


def test_few_networks_give_no_correlation(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as store:
        fill(store, FakeProfiler, NETWORKS[:3])
        fill(store, ByteProfiler, NETWORKS[:3])
        found = gathered(store)
    assert np.isnan(found.spearman).all()
    page = render_report(build_side_by_side_report(found))
    assert "too few for a rank correlation" in page
