"""Processes that make the same call with one store share its visits, and none is made twice."""

import json
import signal
import threading
from collections import Counter, deque
from types import SimpleNamespace

import pytest
from shared_collector import (
    NETWORKS,
    REFERENCE,
    TARGET,
    TOTAL,
    begun,
    ended,
    plan_of,
    read,
    start,
)

from latprof.errors import InvalidValueError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.store.claims import Claims, Taken
from latprof.measurement.store.merging import merge_stores
from latprof.measurement.store.store import Store
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign import sharing
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.testing.fakes import FakeProfiler


def counted(path):
    with Store.open(path) as store:
        return Counter(made.key for made in store.measurements(TARGET))


def test_two_processes_make_each_visit_once(tmp_path):
    path = tmp_path / "lat.db"
    one, two = start(path, 0.02), start(path, 0.02)
    try:
        begun(one, two)
        *first, last_one = read(one)
        *second, last_two = read(two)
    finally:
        ended(one, two)
    assert first
    assert second, "both had a part"
    assert len({*first, *second}) == len(first) + len(second) == TOTAL
    assert set(counted(path).values()) == {1}
    outcomes = [json.loads(last) for last in (last_one, last_two)]
    assert [outcome["left"] for outcome in outcomes] == [0, 0]
    assert sum(outcome["made"] for outcome in outcomes) == TOTAL
    for outcome in outcomes:
        assert outcome["made"] + outcome["elsewhere"] + outcome["resumed"] == TOTAL
    with Store.open(path) as store:
        assert store.only_target().reference_ms is not None


def test_the_visits_of_a_killed_process_are_made_by_the_other(tmp_path):
    path = tmp_path / "lat.db"
    one, two = start(path, 0.05), start(path, 0.02)
    try:
        begun(one)
        first = read(one, 4)
        begun(two)
        second = read(two, 4)
        one.send_signal(signal.SIGKILL)
        first += read(one)
        second += read(two)
    finally:
        ended(one, two)
    outcome = json.loads(second.pop())
    assert outcome["left"] == 0
    assert len(counted(path)) == TOTAL
    assert set(counted(path).values()) == {1}
    assert len({*first, *second}) in {TOTAL, TOTAL - 1}, "the last line may be lost, not the visit"


class FewClaims:
    """Gives whatever is asked for, and keeps how much that was."""

    def __init__(self, others):
        self.others, self.sizes = others, []

    def take(self, visits, most):
        self.sizes.append(most)
        return Taken(frozenset(visits[:most]), frozenset(), frozenset())


@pytest.mark.parametrize(
    ("others", "ahead", "first"), [(0, 1, 16), (1, 1, 12), (3, 1, 6), (0, 31, 25)]
)
def test_claims_are_of_whole_passes_at_first_and_small_at_the_end(others, ahead, first):
    claims, done = FewClaims(others), []
    stored = SimpleNamespace(finished=set(), refresh=lambda: ())
    planned = [visit for planned in plan_of(20).passes() for visit in planned]
    queue = deque(planned[:100])
    shared = sharing.SharedWork(claims, stored, done.append, done.append, ahead, lambda left: left)
    while shared.claim(queue):
        assert all(map(shared.is_ours, [*queue][:2])), "what is told ahead is ours"
        done.append(queue.popleft().key)
        shared.settle(done[-1], counts=True)
    assert len({*done}) == 100
    assert claims.sizes[0] == first
    assert claims.sizes == sorted(claims.sizes, reverse=True)
    assert claims.sizes[-1] == 2
    assert len(claims.sizes) < 80, "fewer looks than visits"


class Gate(InProcessMeasurer):
    """Waits in the first visit until it is let go."""

    inside, may_go = threading.Event(), threading.Event()

    def visit(self, network):
        self.inside.set()
        assert self.may_go.wait(900)
        return super().visit(network)


def make(kind):
    protocol = PairedProtocol(visits=2)
    return lambda runs: kind(FakeProfiler(RunOptions()), REFERENCE, protocol, "p", runs)


def test_whoever_has_nothing_left_waits_for_the_others_visits(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "LOOK_EVERY_S", 0.01)
    path, said = tmp_path / "lat.db", []

    def slow():
        with Store.open(path) as store:
            collect(plan_of(2), store, TARGET, "r", make(Gate))

    Store.open(path, create=True).close()
    thread = threading.Thread(target=slow)
    thread.start()
    assert Gate.inside.wait(900)

    def see(progress):
        said.append(progress.waiting)
        if "visits of another" in progress.waiting or len(said) > 3:
            Gate.may_go.set()

    with Store.open(path) as store:
        outcome = collect(plan_of(2), store, TARGET, "r", make(InProcessMeasurer), on_progress=see)
    thread.join()
    assert outcome.left == 0
    assert said[0] == "waiting for the first visit of another process"
    assert set(counted(path).values()) == {1}
    assert len(counted(path)) == 2 * len(NETWORKS)


def test_a_campaign_alone_leaves_no_claims_and_counts_nothing_as_others(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as store:
        outcome = collect(plan_of(2), store, TARGET, "r", make(InProcessMeasurer))
        assert (outcome.made, outcome.elsewhere) == (2 * len(NETWORKS), 0)
        with Claims(store, TARGET) as claims:
            assert claims.others == 0


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_shards_are_together_the_whole_and_share_every_network(shards):
    def visits(shard):
        plan = Plan(NETWORKS, PairedProtocol(visits=6), repeat_fraction=0.5, shard=shard)
        keys = [visit.key for part in plan.passes() for visit in part]
        assert len(keys) == plan.total
        return keys

    parts = [visits((number, shards)) for number in range(1, shards + 1)]
    together = Counter(key for part in parts for key in part)
    assert together == Counter(visits((1, 1)))
    for part in parts:
        assert {key.subject for key in part} == {network.subject for network in NETWORKS}
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0), (1, 10**9)])
def test_a_shard_that_is_none_is_refused(shard):
    with pytest.raises(InvalidValueError, match="no such shard"):
        Plan(NETWORKS, shard=shard)


def test_the_stores_of_two_shards_merge_into_the_whole(tmp_path):
    for number in (1, 2):
        with Store.open(tmp_path / f"{number}.db", create=True) as store:
            outcome = collect(plan_of(4, (number, 2)), store, TARGET, "r", make(InProcessMeasurer))
            assert (outcome.made, outcome.left) == (2 * len(NETWORKS), 0)
    merge_stores([tmp_path / "1.db", tmp_path / "2.db"], tmp_path / "all.db")
    assert counted(tmp_path / "all.db") == {
        visit.key: 1 for part in plan_of(4).passes() for visit in part
    }
