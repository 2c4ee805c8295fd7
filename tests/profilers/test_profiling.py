"""One network measured now: what its processes share, and what its error is made of."""

import itertools

import numpy as np
import pytest
from failing_measurer import FailingMeasurer

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    DeviceError,
    MeasurementTimeoutError,
    MissingDependencyError,
    RuntimeFailedError,
    UnsupportedModelError,
    UsageError,
)
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import counted_runs
from latprof.measurement.visits import Failure
from latprof.profilers.base import Profiler, RunOptions
from latprof.profilers.profiling import profile
from latprof.profilers.visits import measurers
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10)


@pytest.fixture
def failures():
    """Codes of failures by the numbers of the tries that they end, counted from 0."""
    return {}


@pytest.fixture
def tries():
    """Counts the tries."""
    return itertools.count()


@pytest.fixture
def given(monkeypatch, failures, tries):
    """Measurers with a fake device in place of processes; the reference runs each was given."""
    runs = []
    codes = (failures.get(number) for number in tries)

    def measurer(_target, options, reference, protocol, reference_runs, **_more):
        runs.append(reference_runs)
        slower = 1.0 + 0.05 * (len(runs) % 2)
        profiler = FakeProfiler(RunOptions(), lambda _run: slower, seed=len(runs), load_noise=0.01)
        inner = InProcessMeasurer(profiler, reference, protocol, "", reference_runs)
        return FailingMeasurer(inner, codes)

    monkeypatch.setattr(measurers, "ProcessMeasurer", measurer)
    return runs


def test_all_processes_run_the_reference_as_often_as_the_first(given):
    found = profile(SPACE.sample(1)[0], space=SPACE)
    assert given[0] == {}
    (runs,) = {counted_runs(samples)[1] for samples in found.samples}
    assert given[1:] == [{"": runs}] * 3


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
    assert found.without_kernels.startswith("fake:clock does not report per-kernel times; ")


def test_visits_that_fail_are_tried_again_and_counted_where_they_stay_lost(given, failures):
    failures |= dict.fromkeys(range(3, 6), "timeout")
    found = profile(SPACE.sample(1)[0], space=SPACE)
    assert sorted(found.processes) == [0, 0, 1, 2, 2, 3, 3]
    assert (found.visits.made, found.visits.failed) == (7, 1)
    assert found.visits.failures == ((found.name, Failure("timeout", "told to")),)
    (note,) = found.visits.notes()
    assert "1 of 8 visits failed" in note
    assert "told to [timeout]" in note


def test_a_profile_shows_itself_in_short_and_as_html(given, failures):
    failures |= dict.fromkeys(range(3, 6), "timeout")
    found = profile(SPACE.sample(1)[0], space=SPACE, kernels=True)
    assert len(repr(found)) < 2000
    html = found._repr_html_()
    for text in (f"{found.latency_ms:.3f} ms", "7 measured, 1 failed", found.target.describe()):
        assert text in html
    assert html.count('<tr><th scope="row">kernel ') == min(len(found.kernels), 10) > 0


def test_a_failure_that_another_try_mends_leaves_no_trace_but_the_result(given, failures):
    failures |= {0: "runtime-failed", 5: "runtime-failed"}
    found = profile(SPACE.sample(1)[0], space=SPACE)
    assert len(found.samples) == found.visits.made == 8
    assert found.visits.notes() == []


def test_a_process_that_lost_a_visit_makes_no_more_and_says_how_many_are_missing(given, failures):
    failures |= dict.fromkeys(range(2, 5), "runtime-failed")
    found = profile(SPACE.sample(1)[0], space=SPACE)
    assert sorted(found.processes) == [0, 0, 2, 2, 3, 3]
    assert (found.visits.made, found.visits.failed) == (6, 2)


@pytest.mark.parametrize(
    ("code", "error", "most_tries"),
    [
        ("timeout", MeasurementTimeoutError, 3),
        ("runtime-failed", RuntimeFailedError, 3),
        ("unsupported", UnsupportedModelError, 1),
        ("device", DeviceError, 1),
        ("missing-extra", MissingDependencyError, 3),
    ],
)
def test_a_network_that_cannot_be_measured_at_all_raises_what_its_visits_say(
    given, failures, tries, code, error, most_tries
):
    failures |= dict.fromkeys(range(100), code)
    with pytest.raises(error, match="told to") as caught:
        profile(SPACE.sample(1)[0], space=SPACE)
    assert type(caught.value) is error
    assert len(given) == 1, "no further process is started"
    assert next(tries) == most_tries


def test_visits_are_added_until_the_interval_is_narrow_enough(given):
    wide = profile(SPACE.sample(1)[0], space=SPACE)
    wanted = PairedProtocol(half_width=0.7 * wide.relative_half_width, max_visits=60)
    narrow = profile(SPACE.sample(1)[0], space=SPACE, protocol=wanted)
    assert narrow.relative_half_width <= wanted.half_width
    assert narrow.visits.made in range(16, 60)
    assert narrow.visits.made == 8 * len(set(narrow.processes)) / 4
    most = PairedProtocol(half_width=1e-6, max_visits=20)
    found = profile(SPACE.sample(1)[0], space=SPACE, protocol=most)
    assert found.visits.made == 20
