"""Pruned networks compute the same, and hold nothing that does not."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from latprof.datasets.models.pruning import pruned_blocks
from latprof.datasets.models.steps import Zeroize
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.nasbench201 import NASBench201Space

SPACE = NASBench201Space(resolution=8, cells_per_stage=2, channels=4)
ALL = np.indices((5,) * 6).reshape(6, -1).T.astype(np.uint8)
#: Every edge without a path to the output, or the other way round a node without an input.
TO_NOWHERE = (3, 2, 3, 1, 0, 0)
FROM_NOWHERE = (0, 0, 3, 3, 2, 3)
DISCONNECTED = (3, 3, 3, 0, 0, 0)


def built(choices, **options):
    return SPACE.build_onnx(SPACE.architectures(np.array([choices]))[0], **options)


def outputs(model, images):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"input": images})[0]


def with_weights_of(model, other):
    """A model with the weights of another, by their names."""
    known = {each.name: each for each in other.graph.initializer}
    copies = [numpy_helper.to_array(known[each.name]) for each in model.graph.initializer]
    for each, values in zip(model.graph.initializer, copies, strict=True):
        each.CopyFrom(numpy_helper.from_array(values, each.name))
    return model


@pytest.mark.parametrize("choices", [TO_NOWHERE, (1, 3, 0, 0, 3, 2), (3, 1, 2, 4, 0, 3)])
def test_a_pruned_network_computes_the_same(choices):
    whole, left = built(choices), built(choices, pruned=True)
    onnx.checker.check_model(left, full_check=True)
    images = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    expected = outputs(whole, images)
    np.testing.assert_allclose(outputs(with_weights_of(left, whole), images), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("choices", "convolutions"), [(TO_NOWHERE, 0), (FROM_NOWHERE, 1), (DISCONNECTED, 0)]
)
def test_what_no_path_crosses_is_gone(choices, convolutions):
    kinds = [node.op_type for node in built(choices, pruned=True).graph.node]
    fixed = 1 + 2 * 3  # the stem, and three in each of two reductions
    assert kinds.count("Conv") == fixed + 6 * convolutions


def test_a_network_of_nothing_but_zeros_keeps_one_zero_a_stage_and_runs():
    model = built(DISCONNECTED, pruned=True)
    assert [node.op_type for node in model.graph.node].count("Mul") == 3
    assert np.isfinite(outputs(model, np.ones((1, 3, 8, 8), np.float32))).all()


@pytest.mark.parametrize("name", ["fbnet", "ofa-mobilenetv3", "mnasnet"])
def test_chains_have_nothing_to_prune(name):
    space = get_space(name)
    choices = space.sample_choices(3)
    np.testing.assert_array_equal(space.pruned(choices), choices)
    for architecture in space.architectures(choices):
        blocks = space.blocks(architecture)
        assert pruned_blocks(blocks) == blocks


def test_pruned_architectures_are_pruned_for_good_and_name_the_blocks_that_are_left():
    """Every cell: what its pruned name builds is what pruning its blocks leaves."""
    left = SPACE.pruned(ALL)
    np.testing.assert_array_equal(SPACE.pruned(left), left)
    rows = np.random.default_rng(0).permutation(len(ALL))[:200]
    for row in rows:
        here, there = (
            sorted(kind_of(block) for block in pruned_blocks(SPACE.blocks(each)) if block.layers)
            for each in SPACE.architectures(np.stack([ALL[row], left[row]]))
        )
        assert here == there


def kind_of(block):
    zero = any(isinstance(step, Zeroize) for step in block.layers)
    return (block.in_size, "none" if zero else block.choice)


def test_dead_edges_chains_and_names_of_one_cell():
    for choices, expected in (
        (TO_NOWHERE, (0, 0, 0, 1, 0, 0)),
        (FROM_NOWHERE, (0, 0, 0, 3, 0, 0)),
        (DISCONNECTED, (0,) * 6),
        ((1, 0, 3, 0, 0, 2), (0, 3, 0, 0, 0, 2)),  # node 1 is the input
        ((3, 0, 1, 0, 0, 2), (3, 0, 0, 0, 2, 0)),  # node 2 is node 1
        ((0, 3, 0, 0, 0, 2), (0, 3, 0, 0, 0, 2)),
    ):
        found = SPACE.pruned(np.array([choices], dtype=np.uint8))[0]
        same = SPACE.pruned(np.array([expected], dtype=np.uint8))[0]
        assert found.tolist() == same.tolist()
    kept = np.array([[3, 3, 3, 3, 3, 3], [2, 3, 1, 4, 1, 3]], dtype=np.uint8)
    np.testing.assert_array_equal(SPACE.pruned(kept), kept)
