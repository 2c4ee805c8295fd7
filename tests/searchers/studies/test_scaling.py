"""Scaling to a latency: limits that are kept and used, TinyNet's processes on a known problem."""

import dataclasses
import itertools
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import latprof
from latprof.datasets.spaces.variants.scaled import ScaledMBConv
from latprof.errors import (
    CoverageError,
    InvalidValueError,
    MissingDependencyError,
    PackSpaceError,
    UnreachableLimitError,
)
from latprof.graph.reader import read_network
from latprof.measurement.records import PairedProtocol
from latprof.predictors.pack.answering import predict_network
from latprof.searchers.base import pareto_front
from latprof.searchers.studies.scaled_latency import LatencyOfOperators, measured_ms
from latprof.searchers.studies.scaling import (
    Scale,
    TinyNetScaling,
    compound_scaling,
    scale_to_latency,
)

PACK = latprof.load_pack("proxyless-cpu-ort1")
LATENCY = LatencyOfOperators(PACK)
FAMILY = ScaledMBConv("tinynet")


class Cube:
    """A family of sizes without networks; the latency is the cost that the papers count."""

    base = Scale()

    def space_of(self, scale):
        return SimpleNamespace(description=str(scale), scale=scale), None


def cost(space, architecture):
    r, d, w = space.scale.resolution / 224, space.scale.depth, space.scale.width
    return 10.0 * d * r**2 * w**2


#: Where the most accurate networks of the known problem lie: r = c ** 0.4, d = c ** 0.1.
R, D = 0.4, 0.1


def known_accuracy(networks):
    """Grows with the cost, and falls with the distance from the known curves."""
    c = np.log([network.latency_ms / 10.0 for network in networks])
    r = np.log([network.scale.resolution / 224 for network in networks])
    d = np.log([network.scale.depth for network in networks])
    return 80 + 5 * c - 6 * (r - R * c) ** 2 - 6 * (d - D * c) ** 2


# Compound scaling ------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_ms", [0.5, 7.0, 10.0, 21.0, 300.0])
def test_the_largest_phi_keeps_the_limit_and_uses_it(limit_ms):
    found = scale_to_latency(Cube(), limit_ms, cost)
    phi = math.log(found.scale.depth) / math.log(1.2)
    # 0.2 is more than four pixels, the steps of the resolution, up to phi 2.
    larger = compound_scaling(phi + 0.2)

    assert found.latency_ms == cost(*Cube().space_of(found.scale)) <= limit_ms
    assert cost(*Cube().space_of(larger)) > limit_ms


def test_twice_the_latency_is_one_step_of_phi():
    depths = [scale_to_latency(Cube(), limit, cost).scale.depth for limit in (20.0, 40.0, 80.0)]

    assert np.diff(np.log(depths)) / np.log(1.2) == pytest.approx([1.0, 1.0], abs=0.15)


def test_networks_under_a_predicted_bound_keep_the_limit_and_grow_with_it():
    limits = [1.2, 2.0, 4.0, 6.0, 8.0, 12.0]
    found = [scale_to_latency(FAMILY, limit, LATENCY) for limit in limits]

    assert all(n.latency_ms <= limit for n, limit in zip(found, limits, strict=True))
    assert all(n.latency_ms > 0.8 * limit for n, limit in zip(found, limits, strict=True))
    for smaller, larger in itertools.pairwise(found):
        assert smaller.scale.resolution < larger.scale.resolution
        assert smaller.scale.depth < larger.scale.depth
        assert smaller.scale.width < larger.scale.width
        assert smaller.space.macs(smaller.architecture) < larger.space.macs(larger.architecture)


def test_few_networks_are_asked_about_and_none_far_beyond_the_limit():
    asked = []

    def latency(space, architecture):
        asked.append(cost(space, architecture))
        return asked[-1]

    scale_to_latency(Cube(), 35.0, latency)

    assert len(asked) <= 16
    assert max(asked) < 3 * 35.0


def test_a_rule_of_ones_own_and_its_end():
    def resolution_only(phi):
        return Scale(224 + 8 * round(phi))

    free = scale_to_latency(Cube(), 12.0, cost, rule=resolution_only)
    ended = scale_to_latency(Cube(), 12.0, cost, rule=resolution_only, phi_range=(-2, 1))

    assert free.scale == Scale(240)  # 248 pixels take 12.26
    assert ended.scale == Scale(232)


@pytest.mark.parametrize("limit_ms", [0.0, -1.0, math.nan, math.inf])
def test_limits_that_are_none_are_refused(limit_ms):
    with pytest.raises(InvalidValueError, match="above 0"):
        scale_to_latency(Cube(), limit_ms, cost)


def test_a_limit_below_the_smallest_network_is_refused_with_its_latency():
    with pytest.raises(UnreachableLimitError, match=r"0\.0\d+ ms at best"):
        scale_to_latency(Cube(), 1e-3, cost)


# Latency sources -------------------------------------------------------------------------------


def test_predictions_are_those_of_the_model_file():
    space, architecture = FAMILY.space_of(Scale(224, 1.0, 0.75))
    answer = predict_network(PACK, read_network(space.onnx_bytes(architecture)), "file")
    found = LATENCY.predict(space, architecture)

    assert answer.how == "operators"
    assert answer.coverage == found.coverage == 1
    assert found.latency_ms == pytest.approx(answer.latency_ms, rel=1e-9)
    margin = 1 + found.interval_relative
    assert LATENCY(space, architecture) == pytest.approx(found.latency_ms * margin, rel=1e-9)
    plain = LatencyOfOperators(PACK, bound=False)
    assert plain(space, architecture) == found.latency_ms


def test_what_the_pack_has_not_seen_widens_the_bound_and_is_refused_in_the_end():
    space, architecture = FAMILY.space_of(Scale(300, 1.4, 1.2))
    found = LATENCY.predict(space, architecture)
    unknown = sum(c.latency_ms for c in found.per_operator if not c.known)
    without = LatencyOfOperators(PACK, doubt=0.0)

    assert 0.5 < found.coverage < 1
    difference = LATENCY(space, architecture) - without(space, architecture)
    assert difference == pytest.approx(unknown * (1 + found.interval_relative))
    with pytest.raises(
        CoverageError, match=r"600 pixels; unknown: .*conv1x1 of this size"
    ) as caught:
        LATENCY(*FAMILY.space_of(Scale(600, 3.1, 2.0)))
    assert "conv1x1 of this size" in caught.value.missing
    assert LatencyOfOperators(PACK, least_coverage=0)(*FAMILY.space_of(Scale(600, 3.1, 2.0))) > 0


def test_the_pack_says_how_many_images_run_at_once():
    batch = LatencyOfOperators(latprof.load_pack("nasbench-macro-cpu-ort1-b4"), least_coverage=0)
    space, architecture = ScaledMBConv(num_classes=10, resolution=32).space_of(Scale(32))
    kinds = {cost.kind for cost in batch.predict(space, architecture).per_operator}

    assert kinds >= {"conv1x1", "depthwise5x5", "pool", "linear"}
    one_image = LatencyOfOperators(
        dataclasses.replace(latprof.load_pack("nasbench-macro-cpu-ort1-b4"), target=None),
        least_coverage=0,
    )
    assert batch.predict(space, architecture).latency_ms > (
        one_image.predict(space, architecture).latency_ms
    )


def test_a_pack_without_operator_costs_and_options_out_of_range_are_refused():
    with pytest.raises(PackSpaceError, match="no operator costs"):
        LatencyOfOperators(dataclasses.replace(PACK, operator_costs=None))
    for options in ({"doubt": -1.0}, {"doubt": math.inf}, {"least_coverage": 1.1}):
        with pytest.raises(InvalidValueError):
            LatencyOfOperators(PACK, **options)


def test_measured_latencies_scale_a_network_too():
    family = ScaledMBConv("tinynet", num_classes=10, resolution=64)
    protocol = dataclasses.replace(PairedProtocol(), visits=1, rounds=1, burst_ms=4.0)
    small, large = (
        measured_ms(*family.space_of(scale), protocol=protocol)
        for scale in (Scale(32, 0.5, 0.5), Scale(128, 1.0, 1.0))
    )

    assert 0 < small < large / 2


# TinyNet ---------------------------------------------------------------------------------------


def _errors(seed):
    """Root mean squares of the logarithmic errors of resolution and depth."""
    tiny = TinyNetScaling(Cube(), cost).fit(known_accuracy, 300, seed=seed)
    assert tiny.limits_ms[0] < 1.5
    assert tiny.limits_ms[1] > 9.0
    limits = np.geomspace(1.5, 9.0, 9)
    c = limits / tiny.base_ms_
    resolution, depth = np.array([tiny.size_at(limit_ms) for limit_ms in limits]).T
    errors = np.log([resolution / 224 / c**R, depth / c**D])
    return np.sqrt(np.mean(errors**2, axis=1))


def test_the_processes_recover_the_curves_of_a_known_problem():
    found = np.mean([_errors(seed) for seed in range(2)], axis=0)

    # The best constant resolution would be 0.21 off, random sizes 0.8.
    assert np.all(found < 0.11)


def test_the_width_is_what_the_limit_leaves_room_for():
    tiny = TinyNetScaling(Cube(), cost).fit(known_accuracy, 100)
    for limit_ms in (1.5, 3.0, 9.0):
        found = tiny.scale(limit_ms)
        r, d = found.scale.resolution / 224, found.scale.depth
        assert (found.scale.resolution, d) == tiny.size_at(limit_ms)
        # With this cost the paper's formula holds.
        assert found.scale.width == pytest.approx(math.sqrt(limit_ms / 10 / (d * r**2)), rel=1e-3)
        assert 0.99 * limit_ms < found.latency_ms <= limit_ms


def test_it_is_more_accurate_than_the_compound_rule_where_that_rule_is_not_the_best():
    tiny = TinyNetScaling(Cube(), cost).fit(known_accuracy, 100)
    for limit_ms in (1.0, 2.0, 4.0):
        found = [tiny.scale(limit_ms), scale_to_latency(Cube(), limit_ms, cost)]
        own, compound = known_accuracy(found)
        best = 80 + 5 * math.log(limit_ms / 10)
        assert best - own < 0.5 * (best - compound)


def test_the_networks_kept_are_the_first_fronts():
    tiny = TinyNetScaling(Cube(), cost, share=0.2).fit(known_accuracy, 100)
    latency = np.array([network.latency_ms for network in tiny.networks_])
    first = pareto_front(tiny.accuracy_, latency)

    assert len(tiny.networks_) == len(tiny.accuracy_) == 100
    assert set(first) <= set(tiny.front_)
    assert len(tiny.front_) >= 20
    assert np.all(np.diff(latency[tiny.front_]) >= 0)
    assert np.all((latency >= 0.05 * 10) & (latency <= 1.1 * 10))
    left_out = np.setdiff1d(np.arange(100), tiny.front_)
    for index in left_out:  # each is beaten by one that was kept
        better = (tiny.accuracy_ >= tiny.accuracy_[index]) & (latency <= latency[index])
        assert set(np.flatnonzero(better)) & set(tiny.front_)


def test_the_same_seed_gives_the_same_networks_and_another_seed_others():
    first, again, other = (
        TinyNetScaling(Cube(), cost).fit(known_accuracy, 60, seed=seed) for seed in (5, 5, 6)
    )

    assert first.scale(3.0).scale == again.scale(3.0).scale
    assert first.scale(3.0).scale != other.scale(3.0).scale


def test_a_network_scaled_down_under_a_packs_bound_keeps_the_limit():
    def accuracy(networks):
        return [
            80 - 4 * 224 / n.scale.resolution - 3 / n.scale.depth - 1.5 / n.scale.width
            for n in networks
        ]

    tiny = TinyNetScaling(FAMILY, LATENCY).fit(accuracy, 40)
    found = [tiny.scale(limit_ms) for limit_ms in (1.5, 3.0)]

    assert [n.latency_ms <= limit for n, limit in zip(found, (1.5, 3.0), strict=True)] == [True] * 2
    assert accuracy(found)[0] < accuracy(found)[1]
    assert found[0].space.build_onnx(found[0].architecture).graph.node


def test_errors_of_tinynet_say_what_is_wrong():
    tiny = TinyNetScaling(Cube(), cost)
    with pytest.raises(InvalidValueError, match="call fit first"):
        tiny.scale(3.0)
    with pytest.raises(InvalidValueError, match="60 finite numbers"):
        tiny.fit(lambda networks: [1.0], 60)
    with pytest.raises(InvalidValueError, match="60 finite numbers"):
        tiny.fit(lambda networks: [math.nan] * len(networks), 60)
    with pytest.raises(InvalidValueError, match="at least 5"):
        tiny.fit(known_accuracy, 4)
    with pytest.raises(InvalidValueError, match="budget"):
        tiny.fit(known_accuracy, 0)
    with pytest.raises(InvalidValueError, match="seed"):
        tiny.fit(known_accuracy, 20, seed=-1)
    tiny.fit(known_accuracy, 20)
    with pytest.raises(InvalidValueError, match=r"outside .* ms, got 1000"):
        tiny.scale(1000)
    with pytest.raises(InvalidValueError, match="too few networks"):
        TinyNetScaling(Cube(), cost, ratios=(1.0, 1.0001)).fit(known_accuracy, 10)
    for options in ({"factors": (2, 1)}, {"ratios": (0, 1)}, {"share": 0.0}):
        with pytest.raises(InvalidValueError, match="out of range"):
            TinyNetScaling(Cube(), cost, **options)


def test_without_scikit_learn_no_accuracy_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    asked = []

    with pytest.raises(MissingDependencyError, match=r"latprof\[search\]"):
        TinyNetScaling(Cube(), cost).fit(asked.append, 20)
    assert not asked
