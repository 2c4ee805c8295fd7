"""Two processes that take turns: who visits, who prepares, and that real ones do so."""

import pytest

from latprof.datasets.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.bench import Bench
from latprof.profilers.networks import Network
from latprof.profilers.remote import RemoteBench
from latprof.profilers.two_benches import TwoBenches
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = [Network.of_architecture(SPACE, a) for a in SPACE.sample(4)]
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
def two(log):
    names = iter("ab")
    return TwoBenches(lambda: Written(next(names), log))


def test_each_network_is_visited_where_it_was_prepared(two, log):
    for network, following in (("n1", "n2"), ("n2", "n3"), ("n3", None)):
        if following is not None:
            two.expect(following)
        two.visit(network)

    assert log == [
        ("b", "prepare", "n2"),
        ("a", "visit", "n1"),
        ("a", "prepare", "n3"),
        ("b", "visit", "n2"),
        ("a", "visit", "n3"),
    ]


def test_an_expectation_that_is_not_met_does_no_harm(two, log):
    two.expect("n2")
    two.visit("n1")
    two.visit("n9")
    two.profile("n1")
    two.close()

    assert log[1:] == [
        ("a", "visit", "n1"),
        ("a", "visit", "n9"),
        ("a", "profile", "n1"),
        ("a", "close"),
        ("b", "close"),
    ]


def test_real_processes_take_turns():
    options = RunOptions(batch_size=1)

    def make():
        return RemoteBench("cpu:onnxruntime", options, NETWORKS[3], PROTOCOL)

    with TwoBenches(make) as two:
        two.expect(NETWORKS[1])
        first = two.visit(NETWORKS[0])
        two.expect(NETWORKS[2])
        second, third = two.visit(NETWORKS[1]), two.visit(NETWORKS[2])

    assert [visit.failure for visit in (first, second, third)] == [None] * 3
    assert first.process == third.process != second.process


def test_what_was_prepared_is_not_prepared_again():
    class Counting(FakeProfiler):
        prepared = 0

        def prepare(self, model):
            self.prepared += 1
            return super().prepare(model)

    profiler = Counting(RunOptions())
    bench = Bench(profiler, NETWORKS[3], PROTOCOL)
    bench.prepare(NETWORKS[0])
    assert bench.visit(NETWORKS[0]).failure is None
    assert profiler.prepared == 1
    bench.prepare(NETWORKS[0])
    assert bench.visit(NETWORKS[1]).failure is None
    assert profiler.prepared == 3


def test_what_cannot_be_prepared_fails_when_it_is_visited(tmp_path):
    path = tmp_path / "gone.onnx"
    path.write_bytes(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    network = Network.of_model(path)
    bench = Bench(FakeProfiler(RunOptions()), NETWORKS[3], PROTOCOL)
    path.write_bytes(b"no model")
    bench.prepare(network)
    assert bench.visit(network).failure is not None


def test_a_process_that_dies_while_preparing_fails_its_visit_and_the_next_one_works():
    with RemoteBench("cpu:onnxruntime", RunOptions(), NETWORKS[3], PROTOCOL) as bench:
        assert bench.visit(NETWORKS[0]).failure is None
        bench.prepare(NETWORKS[1])
        bench._process.kill()
        bench._process.wait()
        died = bench.visit(NETWORKS[1])
        assert died.failure is not None
        assert "SIGKILL" in died.failure.message
        bench.prepare(NETWORKS[2])
        assert bench.visit(NETWORKS[2]).failure is None
