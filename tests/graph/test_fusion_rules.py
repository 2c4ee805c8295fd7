"""Rules of fusion: kept in a file, and followed."""

import json
import os

import pytest

from latprof.errors import DataSetError
from latprof.graph.fusion import fuse
from latprof.graph.fusion_rules import FusionRules
from latprof.graph.operators import Network, Operator

SHAPE = (1, 4, 8, 8)
NOTHING = FusionRules({})
EVERYTHING = FusionRules(
    {
        ("Conv", "BatchNormalization"): True,
        ("Conv", "Relu"): True,
        ("Conv", "Add"): True,
        ("Conv", "Add", "Relu"): True,
        ("DepthwiseConv", "HardSwish"): True,
        ("DepthwiseConv", "Relu"): False,
    }
)


def operator(op_type, reads, writes, **more):
    names = reads.split()
    return Operator(
        writes, op_type, (SHAPE,) * len(names), (SHAPE,),
        reads=tuple(names), writes=(writes,), **more,
    )  # fmt: skip


def conv(reads, writes, groups=1):
    return operator("Conv", reads, writes, weight_shape=(4, 4 // groups, 3, 3), groups=groups)


def kernels(rules, *operators):
    network = Network("n", operators, (("x", SHAPE), ("z", SHAPE)), (("y", SHAPE),))
    return [op.parts or (op.name,) for op in fuse(network, rules).operators]


def test_without_a_rule_nothing_is_fused():
    chain = (conv("x", "a"), operator("Relu", "a", "y"))
    assert kernels(NOTHING, *chain) == [("a",), ("y",)]
    assert kernels(EVERYTHING, *chain) == [("a", "y")]


def test_an_addition_joins_and_what_follows_is_judged_by_the_whole_chain():
    chain = (conv("x", "a"), operator("Add", "a z", "b"), operator("Relu", "b", "y"))
    assert kernels(EVERYTHING, *chain) == [("a", "b", "y")]
    shorter = FusionRules({chain: True for chain in EVERYTHING.chains if len(chain) == 2})
    assert kernels(shorter, *chain) == [("a", "b"), ("y",)]
    (fused,) = fuse(Network("n", chain, (), (("y", SHAPE),)), EVERYTHING).operators
    assert fused.reads == ("x", "z")
    assert fused.activation == "add+relu"


def test_an_addition_joins_the_later_of_two_convolutions():
    found = kernels(EVERYTHING, conv("x", "a"), conv("z", "b"), operator("Add", "a b", "y"))
    assert found == [("a",), ("b", "y")]


def test_what_is_folded_is_no_link_of_the_chain():
    chain = (
        conv("x", "a"),
        operator("BatchNormalization", "a", "b"),
        operator("Add", "b z", "c"),
        operator("Relu", "c", "y"),
    )
    assert kernels(EVERYTHING, *chain) == [("a", "b", "c", "y")]


def test_depthwise_convolutions_have_rules_of_their_own():
    joined = (conv("x", "a", groups=4), operator("HardSwish", "a", "y"))
    apart = (conv("x", "a", groups=4), operator("Relu", "a", "y"))
    assert kernels(EVERYTHING, *joined) == [("a", "y")]
    assert kernels(EVERYTHING, *apart) == [("a",), ("y",)]


def test_a_value_that_others_read_too_stays_one():
    found = kernels(
        EVERYTHING, conv("x", "a"), operator("Relu", "a", "b"), operator("Add", "a b", "y")
    )
    assert found == [("a",), ("b",), ("y",)]


def test_rules_are_kept_in_a_file(tmp_path):
    rules = FusionRules(EVERYTHING.chains, {"device": "cpu"})
    path = rules.save(tmp_path / "rules.json")
    again = FusionRules.load(path)
    assert again.chains == rules.chains
    assert again.target == rules.target


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format_version": 99, "rules": [], "target": {}}',
        b'{"format_version": 1, "rules": 3, "target": {}}',
        b'{"format_version": 1, "rules": [{"operators": ["Conv"], "fused": true}], "target": {}}',
        b'{"format_version": 1, "rules": [{"operators": ["a", "b"], "fused": 1}], "target": {}}',
        b'{"format_version": 1, "rules": [{"operators": "ab", "fused": true}], "target": {}}',
        b'{"format_version": 1, "rules": [{"operators": ["\\ud800", "b"], "fused": true}]}',
        b'{"format_version": 1, "rules": ' + b"[" * 960 + b"]" * 960 + b"}",
        b"x" * (2 << 20),
    ],
)
def test_a_file_that_holds_no_rules_is_refused(tmp_path, content):
    path = tmp_path / "rules.json"
    path.write_bytes(content)
    with pytest.raises(DataSetError):
        FusionRules.load(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path / "pipe", tmp_path, "a\0b", "x" * 5000):
        with pytest.raises(DataSetError):
            FusionRules.load(path)


def test_the_file_is_plain(tmp_path):
    path = FusionRules({("Conv", "Relu"): True}).save(tmp_path / "rules.json")
    assert json.loads(path.read_text()) == {
        "format_version": 1,
        "rules": [{"operators": ["Conv", "Relu"], "fused": True}],
        "target": {},
    }
