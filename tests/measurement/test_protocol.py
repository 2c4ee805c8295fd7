"""The paired protocol on a simulated host whose clock drifts."""

import gc
import math

import numpy as np
import pytest

from latprof.errors import RuntimeFailedError
from latprof.measurement.protocol import (
    Rotation,
    calibrate,
    garbage_collection_paused,
    measure_paired,
    runs_per_burst,
)
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import raw_median_ms, reference_drift, visit_ratio

PROTOCOL = PairedProtocol(rounds=4, burst_ms=40.0, min_runs=3, dropped_runs=1)


class SimulatedHost:
    """Time passes only in runs; ``slowdown`` of the time in ms stretches a run that starts then."""

    def __init__(self, slowdown=lambda now_ms: 1.0, noise=0.0, seed=0):
        self.now_ms = 0.0
        self.calls = []
        self.garbage_collection = []
        self._slowdown = slowdown
        self._noise = noise
        self._random = np.random.default_rng(seed)

    def load(self, name, latency_ms, first_run=1.0):
        return SimulatedModel(self, name, latency_ms, first_run)

    def spend(self, latency_ms):
        factor = 1.0 + self._noise * abs(self._random.standard_normal())
        taken = latency_ms * self._slowdown(self.now_ms) * factor
        self.now_ms += taken
        return taken


class SimulatedModel:
    """A network of a fixed latency; the first run of a burst takes ``first_run`` times as long."""

    def __init__(self, host, name, latency_ms, first_run):
        self._host = host
        self._name = name
        self._latency_ms = latency_ms
        self._first_run = first_run

    def run(self, times):
        self._host.calls.append((self._name, times))
        self._host.garbage_collection.append(gc.isenabled())
        return [
            self._host.spend(self._latency_ms * (self._first_run if i == 0 else 1.0))
            for i in range(times)
        ]


class BrokenModel:
    def __init__(self, durations):
        self._durations = durations

    def run(self, times):
        return self._durations(times)


def _steps(now_ms):
    """A clock that falls by 25 % for every other third of a second."""
    return 1.25 if int(now_ms / 333) % 2 else 1.0


def test_pairing_removes_a_drift_that_the_raw_median_keeps():
    ratios, medians = [], []
    host = SimulatedHost(_steps, noise=0.005)
    target, reference = host.load("target", 12.0), host.load("reference", 8.0)
    for _ in range(40):
        samples = measure_paired(target, reference, PROTOCOL)
        ratios.append(visit_ratio(samples))
        medians.append(raw_median_ms(samples))

    paired = np.std(ratios) / np.mean(ratios)
    raw = np.std(medians) / np.mean(medians)

    assert raw > 0.05
    assert paired < raw / 3
    assert np.median(ratios) == pytest.approx(1.5, rel=0.01)


def test_pairing_removes_a_steady_slope():
    host = SimulatedHost(lambda now_ms: 1.0 + now_ms / 1000)
    samples = measure_paired(host.load("t", 10.0), host.load("r", 10.0), PROTOCOL)

    assert raw_median_ms(samples) > 11.0
    assert visit_ratio(samples) == pytest.approx(1.0, rel=0.01)
    assert reference_drift(samples) > 0.1


def test_the_first_run_of_a_burst_is_kept_and_not_counted():
    host = SimulatedHost()
    samples = measure_paired(
        host.load("t", 10.0, first_run=3.0), host.load("r", 5.0, first_run=2.0), PROTOCOL
    )

    assert all(burst[0] == pytest.approx(30.0) for burst in samples.target)
    assert visit_ratio(samples) == pytest.approx(2.0)


def test_the_cycle_is_frozen():
    host = SimulatedHost()
    samples = measure_paired(
        host.load("T", 10.0), host.load("R", 10.0), PROTOCOL, target_runs=4, reference_runs=5
    )

    cycle = [
        ("R", 6),
        ("T", 5),
        ("R", 6),
        ("T", 5),
        ("R", 6),
        ("T", 5),
        ("R", 6),
        ("T", 5),
        ("R", 6),
    ]
    assert host.calls == cycle
    assert [len(burst) for burst in samples.target] == [5] * 4
    assert [len(burst) for burst in samples.reference] == [6] * 5


def test_burst_lengths_are_calibrated_once_before_the_cycle():
    host = SimulatedHost()
    measure_paired(host.load("T", 10.0), host.load("R", 1.0), PROTOCOL)

    names = [name for name, _ in host.calls]
    assert names[-9:] == ["R", "T"] * 4 + ["R"]
    assert set(names[:-9]) == {"T", "R"}
    assert {times for name, times in host.calls[-9:] if name == "T"} == {5}
    assert {times for name, times in host.calls[-9:] if name == "R"} == {33}


def test_garbage_collection_rests_inside_and_returns_after():
    host = SimulatedHost()
    assert gc.isenabled()

    measure_paired(host.load("T", 10.0), host.load("R", 10.0), PROTOCOL, target_runs=3)

    assert not any(host.garbage_collection[-9:])
    assert gc.isenabled()


def test_garbage_collection_returns_after_a_failure():
    host = SimulatedHost()
    with pytest.raises(RuntimeFailedError):
        measure_paired(BrokenModel(lambda times: []), host.load("R", 1.0), PROTOCOL, target_runs=3)

    assert gc.isenabled()


def test_garbage_collection_stays_off_where_it_was_off():
    gc.disable()
    try:
        with garbage_collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "durations",
    [
        lambda times: [],
        lambda times: [1.0] * (times - 1),
        lambda times: [1.0] * (times + 1),
        lambda times: [0.0] * times,
        lambda times: [-1.0] * times,
        lambda times: [math.nan] * times,
        lambda times: [1.0] * (times - 1) + [math.inf],
    ],
)
@pytest.mark.parametrize("side", ["target", "reference"])
def test_unusable_durations_are_refused(durations, side):
    models = {"target": SimulatedHost().load("t", 1.0), "reference": SimulatedHost().load("r", 1.0)}
    models[side] = BrokenModel(durations)

    with pytest.raises(RuntimeFailedError, match="unusable durations"):
        measure_paired(**models, protocol=PROTOCOL, target_runs=3, reference_runs=3)


def test_calibration_leaves_the_cold_run_out():
    host = SimulatedHost()
    latencies = iter([90.0, 11.0, 10.0, 12.0])
    model = BrokenModel(lambda times: [next(latencies) for _ in range(times)])

    assert calibrate(model, runs=3) == 10.0
    assert host.calls == []


@pytest.mark.parametrize(
    ("latency_ms", "runs"), [(1000.0, 3), (15.0, 3), (10.0, 4), (9.9, 4), (1.0, 32), (1e-9, 512)]
)
def test_runs_fill_a_burst_in_powers_of_two_within_limits(latency_ms, runs):
    assert runs_per_burst(latency_ms, PROTOCOL) == runs


def test_a_rotation_takes_turns_burst_by_burst():
    host = SimulatedHost()
    rotation = Rotation([host.load(name, 1.0) for name in "abc"])

    for _ in range(4):
        rotation.run(2)

    assert host.calls == [("a", 2), ("b", 2), ("c", 2), ("a", 2)]
