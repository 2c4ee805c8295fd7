"""The FBNet space: the published networks, the order of candidates, and what skip is."""

import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.fbnet import (
    FBNET_A_CHOICES,
    FBNET_B_CHOICES,
    FBNET_C_CHOICES,
    WIDE_HEAD_WIDTH,
    FBNetSpace,
)
from latprof.errors import InvalidValueError

SPACE = FBNetSpace()
#: The first layer of each stage that changes the shape.
CHANGING = (1, 5, 9, 13, 17, 21)


def _with(position, choice):
    choices = [0] * 22
    choices[position] = choice
    return Architecture("fbnet", tuple(choices))


def test_candidates_are_in_the_order_of_the_papers_table():
    assert (
        SPACE.candidates
        == (("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip"),)
        * 22
    )


@pytest.mark.parametrize(
    ("choices", "million_flops"),
    [(FBNET_A_CHOICES, 249), (FBNET_B_CHOICES, 295), (FBNET_C_CHOICES, 375)],
)
def test_published_networks_have_the_papers_flops(choices, million_flops):
    """Table 2 of the paper; FLOPs are multiply-adds, with the head of its table 1."""
    macs = SPACE.macs(Architecture("fbnet", choices))

    assert macs / 1e6 == pytest.approx(million_flops, rel=0.01)


def test_published_networks_have_their_published_parameters():
    """FBNet-A: 4.3M in the paper's table 2. FBNet-C: 5.57M, the weights that are published."""
    wide = FBNetSpace(head_width=WIDE_HEAD_WIDTH)

    assert round(SPACE.parameters(Architecture("fbnet", FBNET_A_CHOICES)) / 1e6, 1) == 4.3
    assert wide.parameters(Architecture("fbnet", FBNET_C_CHOICES)) == 5_572_200


def test_skip_costs_nothing_where_the_shape_stays():
    for position in set(range(22)) - set(CHANGING):
        (block,) = SPACE.part_blocks(position, (8,))
        assert (block.choice, block.layers, block.operators()) == ("skip", (), ())


def test_skip_is_a_convolution_where_the_shape_changes():
    for position in CHANGING:
        (block,) = SPACE.part_blocks(position, (8,))
        (convolution,) = block.operators()
        assert convolution.kind == "conv1x1"
        assert convolution.stride == block.stride
        assert convolution.weight_shape[:2] == (block.out_channels, block.in_channels)
        assert block.layers[0].activation == "relu"


def test_expansion_1_keeps_its_first_convolution_and_groups_are_shuffled():
    plain, grouped = (SPACE.part_blocks(2, (choice,))[0].operators() for choice in (0, 1))

    assert [op.kind for op in plain] == ["conv1x1", "depthwise3x3", "conv1x1", "add"]
    assert [op.kind for op in grouped] == [
        "grouped1x1",
        "layout",
        "depthwise3x3",
        "grouped1x1",
        "add",
    ]
    assert sum(op.macs for op in plain if op.kind == "conv1x1") == 2 * sum(
        op.macs for op in grouped if op.kind == "grouped1x1"
    )


def test_keys_say_what_differs_from_the_proxyless_format():
    (block,) = SPACE.part_blocks(1, (1,))

    assert block.key == (
        "expanded_conv-input:112x112x16-output:56x56x24-expand:1-kernel:3-stride:2-idskip:0"
        "-expanded-groups:2-activation:relu"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 31},
        {"resolution": 64.0},
        {"resolution": True},
        {"num_classes": 0},
        {"head_width": 0},
        {"head_width": "1504"},
        {"colour": 1},
    ],
)
def test_impossible_options_are_refused(options):
    from latprof.datasets.spaces.named import get_space

    with pytest.raises(InvalidValueError):
        get_space("fbnet", **options)
