"""Each network is measured against a reference of its size, and one constant serves them all."""

import itertools

import pytest

from latprof.datasets.spaces.named import space_from_description
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.visits.network_source import reference_network
from latprof.profilers.visits.references import References, chain, siblings, tie_source
from latprof.testing import FakeProfiler

PROTOCOL = PairedProtocol(reference_loads=1)
#: Milliseconds of each reference, the own one called "".
STEPS = [0.25, 1.5, 3.5, 45.0, 250.0]


class Load:
    def __init__(self, ms):
        self.ms = ms

    def run(self, times):
        return [self.ms] * times


class Sized(FakeProfiler):
    """A host's profiler whose networks take what ``latency_ms`` says, by the size of their file."""

    runs_on_host = True

    def __init__(self, latency_ms):
        super().__init__(RunOptions())
        self.loaded = []
        _, own = reference_network()
        found = list(siblings().values())
        self._latency_ms = {
            source.subject: ms
            for source, ms in zip([*found[:2], own, *found[2:]], latency_ms, strict=True)
        }

    def load(self, model):
        self.loaded.append(model)
        return Load(self._latency_ms[model])


@pytest.fixture
def profiler(monkeypatch):
    found = Sized(STEPS)
    monkeypatch.setattr(
        "latprof.profilers.visits.network_source.NetworkSource.model",
        lambda source, _batch: source.subject,
    )
    return found


def references(profiler):
    return References(profiler, reference_network()[1], PROTOCOL, {})


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0, 30.0])
def test_each_network_has_a_reference_within_a_factor_of_four(monkeypatch, scale):
    profiler = Sized([scale * ms for ms in STEPS])
    monkeypatch.setattr(
        "latprof.profilers.visits.network_source.NetworkSource.model",
        lambda source, _batch: source.subject,
    )
    found = references(profiler)
    for power in range(40):
        latency_ms = 0.05 * 1.26**power
        if not scale * STEPS[0] / 4 <= latency_ms <= min(500, scale * STEPS[-1] * 4):
            continue
        reference, _ = found.load(found.nearest(latency_ms))
        assert 1 / 4 <= reference.run(1)[0] / latency_ms <= 4


def test_a_reference_is_loaded_when_a_network_first_needs_it(profiler):
    found = references(profiler)
    assert found.nearest(3.0) == ""
    assert len(profiler.loaded) == 1
    assert found.nearest(0.2) == "proxyless-mobile-0.25x-64"
    assert found.nearest(0.2) == "proxyless-mobile-0.25x-64"
    loaded = len(profiler.loaded)
    assert loaded <= 3
    found.load("proxyless-mobile-0.25x-64")
    assert len(profiler.loaded) == loaded


def test_a_target_away_from_this_host_has_one_reference(profiler, monkeypatch):
    monkeypatch.setattr(Sized, "runs_on_host", False)
    found = references(profiler)
    assert [found.nearest(ms) for ms in (0.01, 3.0, 1000.0)] == ["", "", ""]
    assert len(profiler.loaded) == 1


def test_siblings_are_tied_to_their_neighbours_as_far_as_the_own_one():
    smallest, small, large, largest = siblings()
    assert chain(smallest) == [(small, ""), (smallest, small)]
    assert chain(small) == [(small, "")]
    assert chain(large) == [(large, "")]
    assert chain(largest) == [(large, ""), (largest, large)]
    source = tie_source(smallest, small)
    assert (source.subject.kind, source.subject.name) == ("reference", smallest)
    assert source.reference == small


def test_each_sibling_has_at_most_sixteen_times_the_work_of_the_one_before():
    _, source = reference_network()
    found = list(siblings().values())
    macs = []
    for each in [*found[:2], source, *found[2:]]:
        space = space_from_description(each.subject.space)
        macs.append(space.macs(space.parse(each.subject.key)))
    assert all(1 < b / a <= 16 for a, b in itertools.pairwise(macs)), macs
