"""One network at several batch sizes and threads: fake devices in place of processes."""

import itertools
import math
from types import SimpleNamespace

import pytest
from local_phone import FACTS

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, UnsupportedModelError
from latprof.measurement.quiet.target_constant import Constant
from latprof.measurement.records import PairedProtocol
from latprof.measurement.visits import Failure, Visit
from latprof.profilers import sweeping
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.android.measuring.adb_litert import AdbLiteRT
from latprof.profilers.sweeping import sweep_network
from latprof.profilers.visits import measurers as module
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.profilers.watching import Watch
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
TARGET = "cpu:onnxruntime"


@pytest.fixture
def sources(tmp_path):
    """Models of a network by batch size."""
    architecture = SPACE.sample(1)[0]
    found = {}
    for batch in (1, 2):
        path = tmp_path / f"{batch}.onnx"
        path.write_bytes(SPACE.onnx_bytes(architecture, batch_size=batch))
        found[batch] = NetworkSource.of_model(path)
    return found


class Refusing:
    """Hands on to another measurer, but for networks of one name."""

    def __init__(self, measurer, name):
        self._measurer, self._name = measurer, name

    def visit(self, network):
        if network.subject.name != self._name:
            return self._measurer.visit(network)
        failure = Failure("unsupported", "told to")
        return Visit(started_at=1.0, wall_s=0.1, load_s=0.0, process="p", failure=failure)

    def __getattr__(self, name):
        return getattr(self._measurer, name)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


@pytest.fixture
def processes(monkeypatch):
    """The threads of each process in the order they started; ``refused`` is a network's name."""
    state, seeds = SimpleNamespace(refused="", started=[]), itertools.count()

    def make(_target, options, reference, protocol, reference_runs, **_how):
        state.started.append(options.threads)
        profiler = FakeProfiler(
            RunOptions(), lambda _run: 1 / options.threads, seed=next(seeds), load_noise=0.01
        )
        inner = InProcessMeasurer(
            profiler, reference, protocol, str(len(state.started)), reference_runs
        )
        return Refusing(inner, state.refused)

    monkeypatch.setattr(module, "ProcessMeasurer", make)
    return state


def test_each_setting_has_its_visits_in_processes_that_take_turns(processes, sources):
    seen = []
    found = sweep_network(
        "net", sources, (1, 2), TARGET, RunOptions(), watch=Watch(on_visit=seen.append)
    )
    assert [(p.batch_size, p.threads) for p in found.points] == [(1, 1), (2, 1), (1, 2), (2, 2)]
    assert {p.visits for p in found.points} == {8}
    assert processes.started == [1, 2, 2, 1, 1, 2, 2, 1]
    assert found.counts.made == seen[-1].made == seen[-1].total == 32
    for point in found.points:
        assert 0 < point.low_ms < point.latency_ms < point.high_ms
        assert point.throughput == pytest.approx(1000 * point.batch_size / point.latency_ms)
        assert (point.target.batch_size, point.target.threads) == (point.batch_size, point.threads)
    # Twice as fast with two threads: network and reference, whose constant is of as many threads.
    one, two = found.points[0], found.points[2]
    assert one.latency_ms / two.latency_ms == pytest.approx(2, rel=0.1)
    assert "batch 1, 2; threads 1, 2" in found.describe_target()


def test_a_setting_that_fails_takes_no_other_along(processes, sources):
    processes.refused = sources[2].subject.name
    found = sweep_network("net", sources, (1,), TARGET, RunOptions())
    good, bad = found.points
    assert good.visits == 8
    assert bad.failure == Failure("unsupported", "told to")
    assert math.isnan(bad.latency_ms)
    assert found.exit_status == 5
    assert found.to_dict()["points"][1]["failure"]["code"] == "unsupported"


def test_where_all_fail_the_failure_is_raised(processes, sources):
    processes.refused = sources[2].subject.name
    with pytest.raises(UnsupportedModelError, match="told to"):
        sweep_network("net", {2: sources[2]}, (1, 2), TARGET, RunOptions())


def test_more_threads_than_cores_are_refused_before_anything_is_measured(
    processes, sources, monkeypatch
):
    monkeypatch.setattr(AdbLiteRT, "facts", FACTS)  # of clusters with one core each
    library = SimpleNamespace(api="litert", sha256="0" * 64)
    monkeypatch.setattr(AdbLiteRT, "runtime_library", library)
    with pytest.raises(InvalidValueError, match="fewer cores than threads"):
        sweep_network("net", sources, (1, 2), "adb:X:litert", RunOptions())
    assert processes.started == []


def test_visits_are_added_until_the_intervals_are_narrow_enough(processes, sources):
    protocol = PairedProtocol(visits=2, half_width=1e-6, max_visits=6)
    found = sweep_network("net", sources, (1,), TARGET, RunOptions(), protocol=protocol)
    assert {p.visits for p in found.points} == {6}
    wide = PairedProtocol(visits=4, half_width=0.9, max_visits=60)
    found = sweep_network("net", sources, (1,), TARGET, RunOptions(), protocol=wide)
    assert {p.visits for p in found.points} == {4}


def test_what_holds_for_several_settings_is_said_once(processes, sources, monkeypatch):
    known = Constant(1.0, doubt=0.01)

    def settle(_profiler, reference, _found, on_note):
        on_note(f"{reference} is known")
        return known

    monkeypatch.setattr(sweeping, "settled", settle)
    notes = []
    sweep_network("net", sources, (1, 2), TARGET, RunOptions(), watch=Watch(on_note=notes.append))
    assert len(notes) == len(set(notes)) == 1
