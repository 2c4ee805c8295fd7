"""One network measured now: what its processes share, and what its error is made of."""

import numpy as np
import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import UsageError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import counted_runs
from latprof.profilers import profile as module
from latprof.profilers.base import Profiler, RunOptions
from latprof.profilers.profile import profile
from latprof.profilers.visits.measurer import Bench
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


@pytest.fixture
def given(monkeypatch):
    """Benches with a fake device in place of processes; the reference runs that each was given."""
    runs = []

    def bench(_target, options, reference, protocol, _timeout_s, reference_runs):
        runs.append(reference_runs)
        slower = 1.0 + 0.05 * (len(runs) % 2)
        profiler = FakeProfiler(RunOptions(), seed=len(runs), load_noise=0.01)
        profiler._clock = lambda _run: slower
        return Bench(profiler, reference, protocol, reference_runs=reference_runs)

    monkeypatch.setattr(module, "RemoteBench", bench)
    return runs


def test_all_processes_run_the_reference_as_often_as_the_first(given):
    found = profile(SPACE.sample(1)[0], space=SPACE)
    assert given[0] is None
    (runs,) = {counted_runs(samples)[1] for samples in found.samples}
    assert given[1:] == [runs] * 3


def test_the_error_comes_from_the_processes_and_not_from_their_visits(given):
    found = profile(SPACE.sample(1)[0], space=SPACE, protocol=PairedProtocol(visits=6))
    assert sorted(found.processes) == [0, 0, 1, 1, 2, 3]
    alone = profile(SPACE.sample(1)[0], space=SPACE, protocol=PairedProtocol(visits=1))
    assert np.isnan(alone.relative_error)
    assert 0 < found.relative_error < 0.02


def test_a_batch_size_beside_a_model_file_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(SPACE.onnx_bytes(SPACE.sample(1)[0]))
    with pytest.raises(UsageError, match="in the model"):
        profile(path, options=RunOptions(batch_size=8))


def test_a_runtime_without_kernels_has_its_latency_told_all_the_same(given, monkeypatch):
    monkeypatch.setattr(FakeProfiler, "load_profiled", Profiler.load_profiled)
    found = profile(SPACE.sample(1)[0], space=SPACE, kernels=True)
    assert found.latency_ms > 0
    assert found.kernels == ()
    assert found.without_kernels == "fake:clock does not report per-kernel times"
