"""Processes that take turns: who visits, who prepares, and that real ones do so."""

import contextlib
import os
import signal

import psutil
import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.measuring_process import ProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.profilers.visits.taking_turns import PROCESSES, TakingTurns
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = [NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(4)]
PROTOCOL = PairedProtocol(visits=1, reference_loads=1)


class Written:
    """A bench that writes down what it is told to do."""

    def __init__(self, name, log):
        self._name, self._log = name, log

    def __getattr__(self, verb):
        return lambda *arguments: self._log.append((self._name, verb, *arguments))


@pytest.fixture
def log():
    return []


@pytest.fixture
def turns(log):
    names = iter("abc")
    return TakingTurns(lambda: Written(next(names), log), processes=3)


def test_each_network_is_visited_where_it_was_prepared(turns, log):
    networks = ["n1", "n2", "n3", "n4"]
    for number, network in enumerate(networks):
        turns.expect(networks[number + 1 : number + 3])
        turns.visit(network)

    assert log == [
        ("b", "prepare", "n2"),
        ("c", "prepare", "n3"),
        ("a", "visit", "n1"),
        ("a", "prepare", "n4"),
        ("b", "visit", "n2"),
        ("c", "visit", "n3"),
        ("a", "visit", "n4"),
    ]


def test_expectations_that_are_not_met_do_no_harm(turns, log):
    turns.expect(["n2", "n3"])
    turns.visit("n1")
    turns.visit("n8")
    turns.expect(["n6", "n7"])
    turns.visit("n9")
    turns.visit("n3")
    turns.profile("n1")

    assert log[3:] == [
        ("a", "visit", "n8"),
        ("a", "visit", "n9"),
        ("c", "visit", "n3"),
        ("a", "profile", "n1"),
    ]


def test_a_process_whose_visit_was_interrupted_visits_again(log):
    class Interrupted(Written):
        def visit(self, network):
            if network == "n1":
                raise KeyboardInterrupt
            log.append(("a", "visit", network))

    turns = TakingTurns(lambda: Interrupted("a", log), processes=1)
    with pytest.raises(KeyboardInterrupt):
        turns.visit("n1")
    turns.visit("n2")
    assert log == [("a", "visit", "n2")]


def test_processes_start_side_by_side_and_end_together(turns, log):
    with turns:
        turns.visit("n1")
    verbs = [f"{name} {verb}" for name, verb, *_ in log]
    starts = ["a start", "b start", "c start", "a await_start", "b await_start", "c await_start"]
    assert verbs == [*starts, "a visit", "a __exit__", "b __exit__", "c __exit__"]


def test_real_processes_take_turns():
    options = RunOptions(batch_size=1)

    def make():
        return ProcessMeasurer("cpu:onnxruntime", options, NETWORKS[3], PROTOCOL)

    with TakingTurns(make, processes=2) as turns:
        turns.expect([NETWORKS[1]])
        first = turns.visit(NETWORKS[0])
        turns.expect([NETWORKS[2]])
        second, third = turns.visit(NETWORKS[1]), turns.visit(NETWORKS[2])

    assert [visit.failure for visit in (first, second, third)] == [None] * 3
    assert first.process == third.process != second.process


def test_a_profiler_that_prepares_ahead_is_collected_in_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(CpuOnnxRuntime, "prepares_ahead", True)
    collection = Collection(NETWORKS, None, {}, 32, protocol=PROTOCOL)
    with Store.open(tmp_path / "lat.db", create=True) as store:
        target, outcome = collection.run(store, repeat_fraction=0)
        visits = [*store.measurements(target)]
        processes = [m.process for m in visits if m.subject.kind != "reference"]
    assert (outcome.made, outcome.failed) == (4, 0)
    assert len(set(processes)) == min(4, PROCESSES)


def test_what_was_prepared_is_not_prepared_again():
    class Counting(FakeProfiler):
        prepared = 0

        def prepare(self, model):
            self.prepared += 1
            return super().prepare(model)

    profiler = Counting(RunOptions())
    bench = InProcessMeasurer(profiler, NETWORKS[3], PROTOCOL)
    bench.prepare(NETWORKS[0])
    assert bench.visit(NETWORKS[0]).failure is None
    assert profiler.prepared == 1
    bench.prepare(NETWORKS[0])
    assert bench.visit(NETWORKS[1]).failure is None
    assert profiler.prepared == 3


def test_what_cannot_be_prepared_fails_when_it_is_visited(tmp_path):
    path = tmp_path / "gone.onnx"
    path.write_bytes(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    network = NetworkSource.of_model(path)
    bench = InProcessMeasurer(FakeProfiler(RunOptions()), NETWORKS[3], PROTOCOL)
    path.write_bytes(b"no model")
    bench.prepare(network)
    assert bench.visit(network).failure is not None


def test_a_process_that_dies_while_preparing_fails_its_visit_and_the_next_one_works():
    with ProcessMeasurer("cpu:onnxruntime", RunOptions(), NETWORKS[3], PROTOCOL) as bench:
        assert bench.visit(NETWORKS[0]).failure is None
        bench.prepare(NETWORKS[1])
        os.kill(bench.pid, signal.SIGKILL)
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(bench.pid).wait(120)  # its keeper reaps it
        died = bench.visit(NETWORKS[1])
        assert died.failure is not None
        assert "SIGKILL" in died.failure.message
        bench.prepare(NETWORKS[2])
        assert bench.visit(NETWORKS[2]).failure is None
