"""Fronts of random networks by kind of block: families, sampling, shares, hypervolumes, errors."""

import numpy as np
import pytest

from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, UnknownNameError
from latprof.searchers.studies.block_comparison import (
    BlockComparison,
    FamilySample,
    compare_blocks,
    families_by,
)

PROXYLESS = ProxylessSpace()


def kernel(name):
    return None if name == "Zero" else name[:3]


def expansion(name):
    return None if name == "Zero" else f"expansion {name[-1]}"


class Costs:
    """A latency source: milliseconds for each candidate, whatever the decision."""

    def __init__(self, costs, space=PROXYLESS):
        self.space = space
        self.costs = np.array(costs, dtype=float)

    def predict(self, architectures, *, upper=None):
        return 1.0 + self.costs[self.space.choices(architectures)].sum(axis=1)


#: Candidates: expansion 3 with kernel 3, 5, 7; expansion 6 with those; zero.
CPU = Costs([1.0, 1.2, 1.4, 2.0, 2.4, 2.8, 0.0])
#: Small kernels are no faster here.
GPU = Costs([1.0, 1.0, 1.0, 1.2, 1.2, 1.2, 0.0])
GAINS = np.array([1.0, 1.1, 1.2, 1.6, 1.8, 2.0, 0.0])


class Accuracy:
    """Remembers what it was asked."""

    def __init__(self):
        self.batches = []

    def __call__(self, architectures):
        self.batches.append([a.choices for a in architectures])
        return 60 + GAINS[PROXYLESS.choices(architectures)].sum(axis=1)


def compared(n=60, seed=0, accuracy=None, of=kernel):
    families = families_by(PROXYLESS, of)
    return compare_blocks(families, {"cpu": CPU, "gpu": GPU}, accuracy or Accuracy(), n, seed=seed)


def test_families_are_the_candidates_with_a_property_and_those_of_every_family():
    families = families_by(PROXYLESS, kernel)

    assert list(families) == ["3x3", "5x5", "7x7"]
    for index, family in enumerate(families.values()):
        assert set(family) == {(index, index + 3), (index, index + 3, 6)}
        zero = [6 in allowed for allowed in family]
        assert zero == ["Zero" in names for names in PROXYLESS.candidates]
    assert families_by(PROXYLESS, expansion)["expansion 6"][0] == (3, 4, 5)


def test_networks_are_different_and_made_of_their_familys_candidates_only():
    result = compared(n=80)

    for name, family in families_by(PROXYLESS, kernel).items():
        choices = result.samples[name].choices
        assert len(np.unique(choices, axis=0)) == len(choices) == 80
        for decision, allowed in enumerate(family):
            assert set(choices[:, decision]) == set(allowed)  # each of them is drawn, and no other


def test_each_network_is_asked_about_once_and_latencies_are_the_sources():
    accuracy = Accuracy()
    families = families_by(PROXYLESS, kernel)
    result = compare_blocks(
        families | {"again": families["3x3"]}, {"cpu": CPU, "gpu": GPU}, accuracy, 50
    )

    (batch,) = accuracy.batches
    assert len(batch) == len(set(batch)) == 150
    for sample in result.samples.values():
        assert sample.accuracy == pytest.approx(60 + GAINS[sample.choices].sum(axis=1))
        assert sample.latency_ms["cpu"] == pytest.approx(CPU.predict(sample.choices))
        assert sample.latency_ms["gpu"] == pytest.approx(GPU.predict(sample.choices))
    assert np.array_equal(result.samples["3x3"].choices, result.samples["again"].choices)


def test_the_better_blocks_differ_between_devices():
    """Large kernels are free on one device, and cost more than they gain on the other."""
    cheap = Costs([1.0, 1.6, 2.4, 2.0, 3.2, 4.8, 0.0])
    families = families_by(PROXYLESS, kernel)
    for seed in range(5):
        result = compare_blocks(families, {"cpu": cheap, "gpu": GPU}, Accuracy(), 100, seed=seed)
        assert result.ranking("cpu") == ("3x3", "5x5", "7x7")
        assert result.ranking("gpu") == ("7x7", "5x5", "3x3")
        # On both, networks of 7x7 alone are as accurate as the most accurate ones.
        assert 0.5 < result.joint_share("3x3", "cpu") < 1
        assert result.joint_share("7x7", "gpu") > 0.8


def test_the_same_seed_gives_the_same_networks_whatever_else_is_compared():
    families = families_by(PROXYLESS, kernel)
    alone = compare_blocks({"5x5": families["5x5"]}, {"cpu": CPU}, Accuracy(), 60)
    first, other = compared(), compared(seed=1)

    assert np.array_equal(alone.samples["5x5"].choices, first.samples["5x5"].choices)
    assert not np.array_equal(other.samples["5x5"].choices, first.samples["5x5"].choices)


def by_hand():
    """Two families of three networks; on the one device their fronts can be read off."""
    choices = np.zeros((3, 8), dtype=np.uint8)
    one = FamilySample(choices, np.array([1.0, 3.0, 2.0]), {"d": np.array([1.0, 3.0, 4.0])})
    two = FamilySample(choices, np.array([0.0, 2.0, 4.0]), {"d": np.array([2.0, 2.0, 5.0])})
    return BlockComparison(NASBenchMacroSpace(), ("d",), {"one": one, "two": two})


def test_fronts_hypervolumes_and_shares_by_hand():
    result = by_hand()

    assert result.front("one", "d").tolist() == [0, 1]
    assert result.front("two", "d").tolist() == [1, 2]
    # The rectangle: 1 to 5 ms, accuracy 0 to 4. One: 4 x 1 + 2 x 2; two: 3 x 2 + 0 x 2.
    assert result.hypervolume("one", "d") == pytest.approx(8 / 16)
    assert result.hypervolume("two", "d") == pytest.approx(6 / 16)
    assert result.ranking("d") == ("one", "two")
    # The joint front: (1, 1.0), (2, 2.0), (3, 3.0), (5, 4.0).
    assert result.joint_share("one", "d") == result.joint_share("two", "d") == 0.5


def test_a_family_that_dominates_has_the_whole_joint_front():
    choices = np.zeros((2, 8), dtype=np.uint8)
    fast = FamilySample(choices, np.array([1.0, 2.0]), {"d": np.array([1.0, 2.0])})
    slow = FamilySample(choices, np.array([1.0, 2.0]), {"d": np.array([2.0, 3.0])})
    result = BlockComparison(NASBenchMacroSpace(), ("d",), {"slow": slow, "fast": fast})
    same = BlockComparison(NASBenchMacroSpace(), ("d",), {"fast": fast, "again": fast})

    assert (result.joint_share("fast", "d"), result.joint_share("slow", "d")) == (1.0, 0.0)
    assert (same.joint_share("fast", "d"), same.joint_share("again", "d")) == (1.0, 1.0)


def test_networks_that_are_all_equal_dominate_nothing():
    sample = FamilySample(np.zeros((2, 8), np.uint8), np.ones(2), {"d": np.ones(2)})
    result = BlockComparison(NASBenchMacroSpace(), ("d",), {"only": sample})

    assert result.hypervolume("only", "d") == 0.0
    assert result.joint_share("only", "d") == 1.0


def test_frames_have_every_network_and_every_pair():
    frame, summary = by_hand().to_frame(), by_hand().summary()

    assert len(frame) == 6
    assert frame.loc[frame.family == "one", "on_front"].tolist() == [True, True, False]
    assert frame.loc[frame.family == "two", "on_joint_front"].tolist() == [False, True, True]
    assert NASBenchMacroSpace().parse(frame.architecture[0]).choices == (0,) * 8
    assert summary.set_index("family").loc["two"].to_dict() == {
        "device": "d",
        "networks": 3,
        "front_size": 2,
        "hypervolume": pytest.approx(0.375),
        "joint_share": 0.5,
    }
    both = compared()
    assert len(both.to_frame()) == 3 * 2 * 60
    assert len(both.summary()) == len(both.families) * len(both.devices) == 6


def test_a_small_family_is_drawn_to_its_last_network_and_no_further():
    space = NASBenchMacroSpace()
    source = Costs([0.0, 1.0, 2.0], space)
    family = {"two": [(0, 1)] * 3 + [(1,)] * 5}

    result = compare_blocks(family, {"d": source}, lambda found: [1.0] * len(found), 8)
    assert len(result.samples["two"].choices) == 8
    with pytest.raises(InvalidValueError, match="has only 8 networks"):
        compare_blocks(family, {"d": source}, lambda found: [1.0] * len(found), 9)


def test_networks_that_differ_in_inactive_decisions_only_are_one():
    space = get_space("ofa-mobilenetv3")
    families = families_by(space, lambda name: name if name in {"k3", "k5", "k7"} else None)
    flat = Costs([1.0] * 32, space)
    result = compare_blocks(families, {"d": flat}, lambda found: [1.0] * len(found), 20)

    for sample in result.samples.values():
        assert np.array_equal(space.canonical(sample.choices), sample.choices)
        assert len(np.unique(sample.choices, axis=0)) == 20


def test_errors_say_what_is_wrong():
    families, devices = families_by(PROXYLESS, kernel), {"cpu": CPU}
    other = Costs([0.0, 1.0, 2.0], NASBenchMacroSpace())
    right = Accuracy()
    for arguments, message in (
        (({}, devices, right), "nothing to compare"),
        ((families, {}, right), "nothing to compare"),
        ((families, {"cpu": CPU, "other": other}, right), "different spaces"),
        (({"short": [(0,)]}, devices, right), "number of decisions"),
        (({"none": [()] * 21}, devices, right), "no such candidates for decision 0"),
        (({"zero": [(6,)] * 21}, devices, right), "no such candidates for decision 0"),
        ((families, devices, right, 0), "from 1 to"),
        ((families, devices, lambda found: [1.0]), "accuracy for each"),
    ):
        with pytest.raises(InvalidValueError, match=message):
            compare_blocks(*arguments)
    with pytest.raises(InvalidValueError, match="seed"):
        compared(seed=-1)
    with pytest.raises(InvalidValueError, match="belongs to a family"):
        families_by(PROXYLESS, lambda name: None)
    with pytest.raises(InvalidValueError, match="decision 0 of proxyless has no candidate"):
        families_by(PROXYLESS, lambda name: name)
    with pytest.raises(UnknownNameError, match="3x3"):
        by_hand().front("3x3", "d")
    with pytest.raises(UnknownNameError, match="gpu"):
        by_hand().hypervolume("one", "gpu")
