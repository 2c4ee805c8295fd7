"""Networks in turn and stores side by side."""

import dataclasses

import pytest

from latprof.datasets.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, NotEnoughDataError, TargetMismatchError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.bench import Bench
from latprof.profilers.campaign import collect
from latprof.profilers.plan import Plan
from latprof.profilers.comparing import compare_networks, compare_stores
from latprof.profilers.networks import Network
from latprof.testing.fakes import FakeProfiler

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = [Network.of_architecture(SPACE, a) for a in SPACE.sample(8)]
TARGET = FakeProfiler(RunOptions()).target((1, 3, 32, 32))
PROTOCOL = PairedProtocol(visits=4)


def bench(seed=0):
    def make():
        nonlocal seed
        seed += 1
        profiler = FakeProfiler(RunOptions(), load_noise=0.005, seed=seed)
        return Bench(profiler, NETWORKS[0], PROTOCOL)

    return make


def test_a_network_with_more_operators_is_slower_and_itself_is_not():
    small = min(NETWORKS, key=lambda n: len(SPACE.operators(SPACE.parse(n.subject.key))))
    large = max(NETWORKS, key=lambda n: len(SPACE.operators(SPACE.parse(n.subject.key))))
    assert compare_networks(small, large, bench()).verdict == "slower"
    assert compare_networks(large, small, bench()).verdict == "faster"
    assert abs(compare_networks(small, small, bench()).effect) < 0.01


@pytest.fixture
def stores(tmp_path):
    opened = []
    for number, networks in enumerate((NETWORKS[:6], NETWORKS[2:])):
        store = Store.open(tmp_path / f"{number}.db", create=True)
        plan = Plan(networks, PROTOCOL, repeat_fraction=0)
        collect(plan, store, TARGET, "r", bench(10 * number))
        opened.append(store)
    yield [(store, store.stored_target(TARGET)) for store in opened]
    for store in opened:
        store.close()


def test_stores_are_compared_on_the_networks_they_share(stores):
    found = compare_stores(*stores)
    assert {c.name for c in found} == {n.subject.name for n in NETWORKS[2:6]}
    assert all(abs(c.effect) < 0.02 for c in found)
    assert all(c.adjusted_p_value >= c.p_value for c in found)


def test_targets_that_differ_are_refused_unless_the_field_is_named(stores, tmp_path):
    other = dataclasses.replace(TARGET, runtime_version="2")
    with Store.open(tmp_path / "2.db", create=True) as store:
        collect(Plan(NETWORKS, PROTOCOL, repeat_fraction=0), store, other, "r", bench())
        pair = (stores[0], (store, store.stored_target(other)))
        with pytest.raises(TargetMismatchError, match="runtime_version '1' against '2'"):
            compare_stores(*pair)
        assert len(compare_stores(*pair, ignore=["runtime_version"])) == 6
        with pytest.raises(InvalidValueError, match="no field"):
            compare_stores(*pair, ignore=["colour"])


def test_stores_without_a_network_in_common_say_so(stores, tmp_path):
    with Store.open(tmp_path / "3.db", create=True) as store:
        collect(Plan(NETWORKS[6:], PROTOCOL, repeat_fraction=0), store, TARGET, "r", bench())
        with pytest.raises(NotEnoughDataError, match="in common"):
            compare_stores(stores[0], (store, store.stored_target(TARGET)))
