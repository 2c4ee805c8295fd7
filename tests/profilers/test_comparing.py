"""Networks in turn and stores side by side."""

import dataclasses
import itertools

import numpy as np
import pytest
from failing_measurer import FailingMeasurer
from kept_networks import networks_of

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    InvalidValueError,
    MeasurementTimeoutError,
    NotEnoughDataError,
    RuntimeFailedError,
    TargetMismatchError,
    UnsupportedModelError,
)
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import PairedProtocol, PairedSamples
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Visit
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import collect
from latprof.profilers.campaign.plan import Plan
from latprof.profilers.comparing import compare_networks, compare_stores
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import NetworkSource
from latprof.testing.fakes import FakeProfiler, steady

SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
NETWORKS = networks_of(SPACE, 8)
TARGET = FakeProfiler(RunOptions()).target((1, 3, 32, 32))
PROTOCOL = PairedProtocol(visits=4)


def bench(seed=0, clock=steady, load_noise=0.005):
    def make(reference_runs=None):
        nonlocal seed
        seed += 1
        profiler = FakeProfiler(RunOptions(), clock=clock, load_noise=load_noise, seed=seed)
        return InProcessMeasurer(profiler, NETWORKS[0], PROTOCOL, f"host/{seed}", reference_runs)

    return make


def test_a_network_with_more_operators_is_slower_and_itself_is_not():
    small = min(NETWORKS, key=lambda n: len(SPACE.operators(SPACE.parse(n.subject.key))))
    large = max(NETWORKS, key=lambda n: len(SPACE.operators(SPACE.parse(n.subject.key))))
    assert compare_networks(small, large, bench()).verdict == "slower"
    assert compare_networks(large, small, bench()).verdict == "faster"
    assert abs(compare_networks(small, small, bench()).effect) < 0.01


class LaterRunsAreFaster:
    """Visits by a process; a burst's runs speed up, and two networks run unequally often."""

    def __init__(self, seed, runs):
        self.noise, self.runs = np.random.default_rng(seed), runs

    def visit(self, network):
        times = network.runs or self.runs[network.subject]
        warm = (1 + 0.1 * 0.8 ** np.arange(times)) * np.exp(0.001 * self.noise.standard_normal())
        own, reference = (9.0, *warm.tolist()), (9.0, 1.0, 1.0)
        samples = PairedSamples((own,) * 2, (reference,) * 3)
        return Visit(started_at=1.0, wall_s=0.1, load_s=0.0, process="p", samples=samples)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


@pytest.mark.parametrize(("runs", "least"), [((16, 8), 0.0), ((8, 16), 0.0), ((64, 8), 0.02)])
def test_networks_of_one_latency_are_compared_over_as_many_runs_of_a_burst(runs, least):
    often = dict(zip((each.subject for each in NETWORKS[:2]), runs, strict=True))
    seeds = itertools.count()
    found = compare_networks(
        *NETWORKS[:2], lambda _runs: LaterRunsAreFaster(next(seeds), often), processes=6
    )
    assert least <= abs(found.effect) < least + 0.05
    assert (found.verdict == "no evidence") == (not least)


def test_a_process_that_lost_a_visit_is_left_out_and_said_so():
    make = bench()
    numbers = iter(range(8))
    lost = {2: 3, 5: 2}  # process: failures in a row; two of them are made good

    def failing(reference_runs):
        codes = ["runtime-failed"] * lost.get(next(numbers), 0)
        return FailingMeasurer(make(reference_runs), iter(codes))

    found = compare_networks(NETWORKS[0], NETWORKS[1], failing)
    assert found.samples == 7
    assert (found.visits.made, found.visits.failed) == (45, 3)
    values = found.to_dict()
    assert (values["visits_failed"], values["samples"]) == (3, 7)
    assert values["failures"][0]["message"] == "told to"
    whole = compare_networks(NETWORKS[0], NETWORKS[1], bench())
    assert whole.visits.notes() == []
    assert found.effect == pytest.approx(whole.effect, abs=0.01)


@pytest.mark.parametrize(
    ("code", "error"),
    [("timeout", MeasurementTimeoutError), ("unsupported", UnsupportedModelError)],
)
def test_a_network_that_fails_everywhere_raises_what_it_said(code, error):
    with pytest.raises(error, match="told to"):
        compare_networks(
            NETWORKS[0],
            NETWORKS[1],
            lambda runs: FailingMeasurer(bench()(runs), itertools.repeat(code)),
        )


def test_fewer_than_two_whole_processes_say_why():
    numbers = iter(range(3))

    def failing(runs):
        codes = ["runtime-failed"] * 3 * (next(numbers) > 0)
        return FailingMeasurer(bench()(runs), iter(codes))

    with pytest.raises(RuntimeFailedError, match="told to"):
        compare_networks(NETWORKS[0], NETWORKS[1], failing, processes=3)


@pytest.fixture
def stores(tmp_path):
    opened = []
    for number, networks in enumerate((NETWORKS[:6], NETWORKS[2:])):
        store = Store.open(tmp_path / f"{number}.db", create=True)
        plan = Plan(networks, PROTOCOL, repeat_fraction=0)
        collect(plan, store, TARGET, "r", bench(10 * number))
        opened.append(store)
    yield [TargetLabels.of(store) for store in opened]
    for store in opened:
        store.close()


def test_stores_are_compared_on_the_networks_they_share(stores):
    compared = compare_stores(*stores)
    found = compared.comparisons
    assert {c.name for c in found} == {n.subject.name for n in NETWORKS[2:6]}
    assert all(abs(c.effect) < 0.02 for c in found)
    assert all(c.adjusted_p_value >= c.p_value for c in found)
    assert set(compared.missing) == {n.subject.name for n in NETWORKS[:2]}
    assert not compared.in_milliseconds


def test_targets_that_differ_are_refused_unless_the_field_is_named(stores, tmp_path):
    other = dataclasses.replace(TARGET, runtime_version="2")
    with Store.open(tmp_path / "2.db", create=True) as store:
        collect(Plan(NETWORKS, PROTOCOL, repeat_fraction=0), store, other, "r", bench())
        pair = (stores[0], TargetLabels.of(store))
        with pytest.raises(TargetMismatchError, match="runtime_version '1' against '2'"):
            compare_stores(*pair)
        found = compare_stores(*pair, ignore=["runtime_version"])
        assert len(found.comparisons) == 6
        assert found.in_milliseconds
        with pytest.raises(InvalidValueError, match="no field"):
            compare_stores(*pair, ignore=["colour"])


def test_stores_without_a_network_in_common_say_so(stores, tmp_path):
    with Store.open(tmp_path / "3.db", create=True) as store:
        collect(Plan(NETWORKS[6:], PROTOCOL, repeat_fraction=0), store, TARGET, "r", bench())
        with pytest.raises(NotEnoughDataError, match="in common"):
            compare_stores(stores[0], TargetLabels.of(store))


def collected(path, networks, make, reference="r", protocol=PROTOCOL):
    """What a store with the networks measured says of its target."""
    store = Store.open(path, create=True)
    collect(Plan(networks, protocol, repeat_fraction=0), store, TARGET, reference, make)
    return TargetLabels.of(store)


def test_what_a_store_calls_a_millisecond_makes_no_difference(tmp_path):
    sides = [
        collected(tmp_path / f"{slower}.db", NETWORKS, bench(seed, clock=lambda _run, s=slower: s))
        for seed, slower in ((0, 1.0), (50, 1.1))
    ]
    constants = [side.reference_ms for side in sides]
    assert constants[1] > 1.05 * constants[0]
    found = compare_stores(*sides).comparisons
    assert {c.verdict for c in found} == {"no evidence"}
    for side in sides:
        side.store.close()


def test_two_stores_of_one_state_of_the_world_are_seldom_told_apart(tmp_path):
    """Also where processes differ more than visits: a store has few, shared by all networks."""
    called = 0
    for trial in range(10):
        sides = [
            collected(
                tmp_path / f"{trial}-{side}.db", NETWORKS[:4], bench(1000 * trial + 500 * side)
            )
            for side in (0, 1)
        ]
        found = compare_stores(*sides).comparisons
        called += any(c.verdict != "no evidence" for c in found)
        for side in sides:
            side.store.close()
    assert called <= 3, "a rate of 5 % gives 3 or fewer of 10 in 99.9 % of the cases"


def test_visits_of_one_process_are_one_piece_of_evidence(tmp_path):
    sides = [
        collected(
            tmp_path / f"{side}.db", NETWORKS[:4], bench(side), protocol=PairedProtocol(visits=3)
        )
        for side in (0, 50)
    ]
    assert {c.samples for c in compare_stores(*sides).comparisons} == {6}
    for side in sides:
        side.store.close()


def test_stores_with_another_reference_are_refused(stores, tmp_path):
    other = collected(tmp_path / "4.db", NETWORKS, bench(), reference="another")
    with pytest.raises(TargetMismatchError, match="reference 'r' against 'another'"):
        compare_stores(stores[0], other)
    other.store.close()


def test_a_changed_model_is_held_against_the_one_of_its_name(tmp_path):
    deep, shallow = (
        SPACE.onnx_bytes(SPACE.parse(",".join(map(str, choices))))
        for choices in ([5] * 21, [6 if count > 6 else 0 for count in SPACE.num_choices])
    )
    sides = []
    for side, (one, two) in enumerate(((shallow, deep), (deep, shallow))):
        networks = []
        for folder, content in (("one", one), ("two", two)):
            place = tmp_path / str(side) / folder
            place.mkdir(parents=True)
            (place / f"{folder}.onnx").write_bytes(content)
            networks.append(NetworkSource.of_model(place / f"{folder}.onnx"))
        sides.append(collected(tmp_path / f"{side}.db", networks, bench(50 * side)))
    # The content decides first: each model is in both stores, under another name.
    assert {c.verdict for c in compare_stores(*sides).comparisons} == {"no evidence"}
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "one.onnx").write_bytes(SPACE.onnx_bytes(SPACE.parse(",".join(["4"] * 21))))
    newer = collected(
        tmp_path / "newer.db", [NetworkSource.of_model(changed / "one.onnx")], bench(90)
    )
    found = compare_stores(sides[0], newer)
    assert [(c.name, c.verdict) for c in found.comparisons] == [("one.onnx", "slower")]
    assert found.missing == ("two.onnx",)
    for side in (*sides, newer):
        side.store.close()
