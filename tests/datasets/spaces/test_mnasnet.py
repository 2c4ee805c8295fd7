"""MnasNet's space: the published network, the decisions of a block, and what skip does."""

import functools
import itertools

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.mnasnet import (
    MNASNET_A1_CHOICES,
    MNASNET_A1_DEPTHS,
    MNASNET_A1_WIDTHS,
    MnasNetSpace,
)
from latprof.datasets.spaces.named import get_space
from latprof.errors import InvalidValueError

SPACE = MnasNetSpace()
A1_SPACE = MnasNetSpace(base_widths=MNASNET_A1_WIDTHS, base_depths=MNASNET_A1_DEPTHS)
#: A block's choices: convolution, kernel, squeeze, skip, filters, layers.
REGULAR, SEPCONV, MBCONV3, MBCONV6 = range(4)
POOL, IDENTITY, NONE = range(3)


def test_candidates_are_those_of_the_paper():
    block = (
        ("regular", "sepconv", "mbconv3", "mbconv6"),
        ("k3", "k5"),
        ("se0", "se0.25"),
        ("pool", "identity", "none"),
        ("filters0.75", "filters1", "filters1.25"),
        ("layers-1", "layers+0", "layers+1"),
    )
    one_layer = (*block[:-1], ("layers+0", "layers+1"))

    assert SPACE.candidates == (*one_layer, *block * 5, *one_layer)


def test_mnasnet_a1_has_its_published_costs():
    """3.887M parameters and 311.6M multiply-adds, as published with its trained weights."""
    architecture = Architecture("mnasnet", MNASNET_A1_CHOICES)

    assert A1_SPACE.parameters(architecture) == 3_887_038
    assert round(A1_SPACE.macs(architecture) / 1e6, 1) == 311.6
    depths = [sum(b.position == block for b in A1_SPACE.blocks(architecture)) for block in range(7)]
    assert depths == [1, 2, 3, 4, 2, 3, 1]


def test_layers_and_filters_are_relative_to_mobilenet_v2():
    choices = np.array([[MBCONV6, 0, 0, NONE, 1, 1]] * 7)
    choices[[0, -1], 5] = 0
    base = Architecture("mnasnet", tuple(choices.ravel().tolist()))
    shapes = [(b.out_channels, b.position) for b in SPACE.blocks(base) if b.position is not None]
    widths = [width for width, _ in itertools.groupby(shapes)]
    assert [width for width, _ in widths] == [16, 24, 32, 64, 96, 160, 320, 1280]
    for block, depth in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for layers in range(int(SPACE.num_choices[6 * block + 5])):
            local = (MBCONV3, 0, 0, NONE, 0, layers) + ((1,) if block else ())
            found = SPACE.part_blocks(block, local)
            assert len(found) == max(depth - 1, 1) + layers
            assert found[-1].out_channels == (12, 18, 24, 48, 72, 120, 240)[block]


def _layer(skip, convolution=MBCONV6):
    """The second layer of the second block, which keeps the shape."""
    blocks = SPACE.part_blocks(1, (convolution, 0, 0, skip, 1, 1, 1))
    return [b for b in blocks if b.name.startswith("block2.layer1")]


def test_skip_is_a_pool_the_identity_or_nothing():
    kinds = {
        skip: [op.kind for block in _layer(skip) for op in block.operators()]
        for skip in (POOL, IDENTITY, NONE)
    }
    body = ["conv1x1", "depthwise3x3", "conv1x1"]

    assert kinds[NONE] == body
    assert kinds[IDENTITY] == [*body, "add"]
    assert kinds[POOL] == [*body, "pool", "add"]
    *_, pool, total = _layer(POOL)
    assert (pool.operators()[0].op_type, pool.operators()[0].kernel) == ("AveragePool", 3)
    assert total.inputs == ("block2.layer1.body", "block2.layer1.pool")


def test_convolutions_are_what_they_are_called():
    kinds = [
        [op.kind for block in _layer(NONE, convolution) for op in block.operators()]
        for convolution in (REGULAR, SEPCONV, MBCONV3)
    ]

    assert kinds == [
        ["conv3x3"],
        ["depthwise3x3", "conv1x1"],
        ["conv1x1", "depthwise3x3", "conv1x1"],
    ]


@pytest.mark.parametrize("convolution", range(4))
def test_squeeze_is_a_quarter_of_the_layers_input(convolution):
    blocks = SPACE.part_blocks(2, (convolution, 0, 1, NONE, 1, 0, 1))

    reduced = [step.reduced for b in blocks for step in b.layers if hasattr(step, "reduced")]
    assert reduced == [24 // 4, 32 // 4]


def test_skip_is_inactive_in_a_single_layer_that_changes_the_shape():
    zeros = np.zeros((1, 42), dtype=np.uint8)
    active = SPACE.active(zeros)[0]

    # One layer in the first, second and last block: 32 to 12, 12 to 18 and 120 to 240 channels.
    assert np.flatnonzero(~active).tolist() == [3, 9, 39]


def test_a_single_layer_that_keeps_the_shape_can_be_skipped():
    space = MnasNetSpace(base_widths=(32, 24, 32, 64, 96, 160, 320))
    choices = np.zeros((2, 42), dtype=np.uint8)
    choices[1, 4] = 1  # 32 channels behind a stem of 32, stride 1

    assert space.active(choices)[:, 3].tolist() == [False, True]


def test_networks_are_counted_as_often_as_they_differ():
    """Counted again over all filters and layers: a block's skip matters in all networks or none."""
    ways = 0
    depths = SPACE.num_choices[5::6].tolist()
    skips = np.zeros((3, 42), dtype=np.uint8)

    def ways_to_skip(block, before, filters, layers):
        skips[:] = 0
        skips[:, 6 * block + 4], skips[:, 6 * block + 5] = filters, layers
        if block:
            skips[:, 6 * block - 2] = before
        skips[:, 6 * block + 3] = range(3)
        return len(np.unique(SPACE.canonical(skips), axis=0))

    ways_to_skip = functools.cache(ways_to_skip)
    for filters in itertools.product(range(3), repeat=7):
        product = 1
        for block in range(7):
            before = filters[block - 1] if block else 0
            product *= 16 * sum(
                ways_to_skip(block, before, filters[block], layers)
                for layers in range(depths[block])
            )
        ways += product

    assert SPACE.num_architectures == ways


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 16},
        {"num_classes": 0},
        {"base_widths": (16,) * 6},
        {"base_widths": (18,) * 7},
        {"base_widths": 16},
        {"base_depths": (0,) * 7},
        {"base_depths": (1.0,) * 7},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("mnasnet", **options)
