"""The CIFAR-10 space of ProxylessNAS: the tree, the pyramid, and the size of published networks."""

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.proxyless_cifar import ProxylessCifarSpace
from latprof.errors import InvalidValueError

SPACE = ProxylessCifarSpace()
SMALL = ProxylessCifarSpace(blocks_per_stage=1, final_channels=88, resolution=16)
DILATED, IDENTITY, SEPARABLE3, SEPARABLE5, SEPARABLE7, AVERAGE, MAXIMUM = range(7)


def _all(space, choice):
    return Architecture(space.name, (choice,) * len(space.num_choices))


def test_there_are_648_decisions_of_7_operations_in_the_authors_order():
    names = (
        "dil_sep_conv_3x3",
        "identity",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "sep_conv_7x7",
        "avg_pool_3x3",
        "max_pool_3x3",
    )

    assert SPACE.candidates == (names,) * (12 * 18 * 3)
    assert SPACE.num_architectures == 7**648


def test_published_networks_lie_between_the_smallest_and_the_largest():
    """Proxyless-G and -R have 5.7M and 5.8M parameters (table 1 of the paper)."""
    smallest = SPACE.parameters(_all(SPACE, IDENTITY))
    largest = SPACE.parameters(_all(SPACE, SEPARABLE7))

    assert smallest < 5.7e6
    assert largest > 5.8e6


def test_parameters_are_those_of_a_count_by_hand():
    """All 3x3: what PyramidNet's bottlenecks have, and twelve separable convolutions each."""
    # The first bottleneck reads 16 channels; widths grow by 2 from 16 to 22.
    parameters = 3 * 16 * 9 + 2 * 16
    channels = 16
    for planes in (18, 20, 22):
        out = 4 * planes
        parameters += 2 * channels + channels * planes
        parameters += 2 * (2 * planes + planes * planes * 9 // 2)
        parameters += 12 * (2 * planes + planes * 9 + planes * planes)
        parameters += 2 * planes + planes * out + 2 * out
        channels = out
    parameters += 2 * channels + channels * 10 + 10

    assert SMALL.parameters(_all(SMALL, SEPARABLE3)) == parameters


def test_widths_grow_by_the_same_amount_to_a_quarter_of_the_final_channels():
    blocks = {block.name: block for block in SPACE.blocks(_all(SPACE, IDENTITY))}
    planes = [
        blocks[f"stage{stage}.block{index}.reduce"].out_channels
        for stage in (1, 2, 3)
        for index in range(18)
    ]

    assert planes[-1] == 100
    assert all(width % 2 == 0 for width in planes)
    expected = 16 + 84 / 54 * np.arange(1, 55)
    assert np.abs(np.array(planes) - expected).max() <= 1.5
    assert blocks["stage3.block17"].out_channels == 400
    assert blocks["last"].in_size == 8


def test_a_cell_is_a_tree_of_fixed_roots_inner_edges_and_leaves():
    blocks = {block.name: block for block in SMALL.blocks(_all(SMALL, SEPARABLE5))}
    name = "stage2.block0"

    roots = [blocks[f"{name}.root{branch}"] for branch in range(2)]
    assert {root.inputs for root in roots} == {(f"{name}.reduce",)}
    assert [op.kind for op in roots[0].operators()][-1] == "grouped3x3"
    assert (roots[0].position, roots[0].stride, roots[0].out_size) == (None, 2, 8)
    readers = {}
    for edge in range(12):
        (source,) = blocks[f"{name}.edge{edge}"].inputs
        readers.setdefault(source.removeprefix(f"{name}."), []).append(edge)
    assert readers == {
        "root0": [0, 1],
        "root1": [2, 3],
        "edge0": [4, 5],
        "edge1": [6, 7],
        "edge2": [8, 9],
        "edge3": [10, 11],
    }
    leaves = tuple(f"{name}.edge{edge}" for edge in range(4, 12))
    assert blocks[f"{name}.expand"].inputs == leaves
    added = [op for op in blocks[f"{name}.expand"].operators() if op.kind == "add"]
    assert len(added) == 7


def test_operations_are_what_they_are_called():
    blocks = [SMALL.part_blocks(0, (choice,))[0] for choice in range(7)]
    kinds = [[op.kind for op in block.operators()] for block in blocks]
    convolution = ["normalization", "activation", "depthwise{0}x{0}", "conv1x1"]

    assert kinds[IDENTITY] == []
    for choice, kernel in ((DILATED, 3), (SEPARABLE3, 3), (SEPARABLE5, 5), (SEPARABLE7, 7)):
        assert kinds[choice] == [kind.format(kernel) for kind in convolution]
    assert blocks[DILATED].layers[2].dilation == 2
    assert [blocks[choice].operators()[0].op_type for choice in (AVERAGE, MAXIMUM)] == [
        "AveragePool",
        "MaxPool",
    ]
    assert len({block.key for block in blocks}) == 7


def test_the_whole_network_is_built_with_its_weights():
    onnxruntime = pytest.importorskip("onnxruntime")
    space = ProxylessCifarSpace(blocks_per_stage=3, final_channels=128)
    content = space.onnx_bytes(_all(space, MAXIMUM), batch_size=2)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).standard_normal((2, 3, 32, 32), dtype=np.float32)

    output = session.run(None, {"input": images})[0]

    assert output.shape == (2, 10)
    assert np.isfinite(output).all()


@pytest.mark.parametrize(
    "options",
    [
        {"blocks_per_stage": 0},
        {"final_channels": 60},
        {"final_channels": 100},
        {"num_classes": 0},
        {"resolution": 30},
        {"resolution": "32"},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("proxyless-cifar", **options)
