"""Which devices a collection over a farm waits for: those that have begun on it and not ended."""

import dataclasses

import pytest
from stored_visits import measurement

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.measurement.records import PairedProtocol, Target
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Failure
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.network_source import NetworkSource
from latprof.workflows.absent_devices import unfinished_devices

SPACE = ProxylessSpace()
NETWORKS = [NetworkSource.of_architecture(SPACE, a) for a in SPACE.sample(3, 0)]
SOURCE = {"space": SPACE.description, "n": 3, "seed": 0}
PLAN = Plan(NETWORKS, PairedProtocol(visits=2), repeat_fraction=0.0, source=SOURCE)
HOST = Target("cpu", "a processor", "onnxruntime", "1.0", host="one")
PHONE = Target("adb:S1", "a phone", "litert", "2.1", cores="4")
OPTIONS = RunOptions()


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "lab.db", create=True) as opened:
        yield opened


def make(store, target, visits=(), failure="", plan=SOURCE):
    """Have a collection make visits, by the numbers of their networks."""
    store.add_target(target, "r")
    store.start_campaign(target, plan, {}, {})
    for number in visits:
        network, visit = divmod(number, 2)
        changes = {"subject": NETWORKS[network].subject, "target": target, "visit": visit}
        if failure:
            changes |= {"samples": None, "failure": Failure(failure, "it failed")}
        store.add(dataclasses.replace(measurement(), **changes))


def unfinished(store, wanted, plan=PLAN, options=OPTIONS):
    return [
        (each.wanted, each.settled, each.total)
        for each in unfinished_devices(store, plan, wanted, options)
    ]


def test_a_device_with_some_of_the_visits_and_not_all(store):
    make(store, HOST, range(4))
    make(store, PHONE, range(1))
    make(store, dataclasses.replace(HOST, host="two"), range(6))
    assert unfinished(store, "cpu:onnxruntime") == [("cpu:onnxruntime@one", 4, 6)]
    assert unfinished(store, "cpu:onnxruntime@one") == [("cpu:onnxruntime@one", 4, 6)]
    assert unfinished(store, "cpu:onnxruntime@two") == []
    assert unfinished(store, "adb:litert") == [("adb:S1:litert", 1, 6)]
    assert unfinished(store, "adb:S1:litert") == [("adb:S1:litert", 1, 6)]
    assert unfinished(store, "adb:S2:litert") == []
    assert unfinished(store, "adb:onnxruntime") == []


def test_a_device_that_was_asked_and_made_none(store):
    make(store, HOST, plan={**SOURCE, "time_limit_s": 60.0})
    make(store, PHONE, plan={**SOURCE, "seed": 1})
    assert unfinished(store, "cpu:onnxruntime") == [("cpu:onnxruntime@one", 0, 6)]
    assert unfinished(store, "adb:litert") == [], "it was asked for other networks"


def test_visits_that_fail_with_their_network_are_settled_and_those_of_the_device_are_not(store):
    make(store, HOST, range(6), "unsupported")
    make(store, PHONE, range(6), "device-offline")
    assert unfinished(store, "cpu:onnxruntime") == []
    assert unfinished(store, "adb:litert") == [("adb:S1:litert", 0, 6)]


def test_what_one_version_of_a_runtime_has_made_the_next_need_not(store):
    make(store, HOST, range(2))
    make(store, dataclasses.replace(HOST, runtime_version="1.1"), range(6))
    assert unfinished(store, "cpu:onnxruntime") == []


def test_targets_of_several_devices_and_with_other_options_are_not_looked_at(store):
    make(store, dataclasses.replace(HOST, host=""), range(2))
    make(store, dataclasses.replace(PHONE, device="adb"), range(2))
    make(store, dataclasses.replace(HOST, threads=2), range(2))
    make(store, dataclasses.replace(HOST, host="two", cores="0"), range(2))
    assert unfinished(store, "cpu:onnxruntime") == []
    assert unfinished(store, "adb:litert") == []
    two = RunOptions(threads=2)
    assert unfinished(store, "cpu:onnxruntime", options=two) == [("cpu:onnxruntime@one", 2, 6)]


def test_a_phone_is_asked_by_its_cluster_and_known_by_its_cores(store):
    make(store, PHONE, range(2))
    big = RunOptions(cluster="big")
    assert unfinished(store, "adb:litert", options=big) == [("adb:S1:litert", 2, 6)]
    assert unfinished(store, "adb:litert", options=RunOptions(cores=(0,))) == []


def test_a_shard_is_all_that_is_missing(store):
    make(store, HOST, range(0, 6, 2))
    shard = dataclasses.replace(PLAN, shard=(1, 2))
    mine = {visit.key for planned in shard.passes() for visit in planned}
    numbers = [
        2 * n + key.number for n in range(3) for key in mine if key.subject == NETWORKS[n].subject
    ]
    make(store, PHONE, numbers)
    assert unfinished(store, "adb:litert", shard) == []
    assert len(unfinished(store, "adb:litert")) == 1
