"""UniNet's space: the published B0 and B1, three operators in one form, three ways down."""

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.named import get_space, space_names
from latprof.datasets.spaces.uninet import B0_CHOICES, UniNetSpace
from latprof.errors import InvalidValueError

SPACE = UniNetSpace()
B0 = Architecture("uninet", B0_CHOICES)
#: Of the first stage, and of each stage after it, which begins with its down-sampling module.
FIRST, OTHERS = ("operator", "expansion", "channels", "repeats"), 5
LAST = 5 * 5 - 1  # the last stage's first decision


def changed(decision, choice, architecture=B0):
    choices = list(architecture.choices)
    choices[decision] = choice
    return Architecture("uninet", tuple(choices))


def kinds(architecture, prefix, space=SPACE):
    return [
        operator.op_type
        for operator in space.operators(architecture)
        if operator.name.startswith(prefix)
    ]


def test_decisions_are_the_same_for_every_operator():
    assert "uninet" in space_names()
    assert len(SPACE.candidates) == len(FIRST) + 5 * OTHERS == len(B0_CHOICES)
    for stage in range(6):
        first = 5 * stage
        assert SPACE.candidates[first + 1] == ("e1", "e2", "e3", "e4", "e5", "e6")
    assert SPACE.candidates[-5:] == (
        ("local", "local-global", "global"),
        ("conv", "transformer", "mlp"),
        ("e1", "e2", "e3", "e4", "e5", "e6"),
        ("c192", "c256", "c320"),
        ("x6", "x8", "x10"),
    )
    # Too many tokens to attend to, or to mix.
    assert SPACE.candidates[0] == ("conv",)
    assert SPACE.candidates[4] == ("local",)


@pytest.mark.parametrize(("resolution", "published"), [(160, 0.555e9), (224, 1.118e9)])
def test_b0_and_b1_have_the_published_size(resolution, published):
    """Theirs has 11.451M parameters with layer scale and biases that a normalisation takes away."""
    space = UniNetSpace(resolution=resolution)

    assert space.parameters(B0) == pytest.approx(11.451e6, rel=0.003)
    assert space.macs(B0) == pytest.approx(published, rel=0.03)


def test_b0_is_four_stages_of_convolutions_and_two_of_transformers():
    softmaxes = [op.name for op in SPACE.operators(B0) if op.op_type == "Softmax"]

    assert sum(name.startswith("stage5.") for name in softmaxes) == 4
    assert sum(name.startswith("stage6.") for name in softmaxes) == 8
    assert [name for name in softmaxes if name.startswith("down")] == [
        f"down{stage}.pool.attention.softmax" for stage in (5, 6)
    ]
    sizes = [b.out_size for b in SPACE.blocks(B0) if b.name.endswith(".out")]
    widths = [b.out_channels for b in SPACE.blocks(B0) if b.name.endswith(".out")]
    assert sizes == [80, 40, 20, 10, 10, 5]
    assert widths == [24, 48, 80, 128, 128, 256]


def test_the_operator_of_a_stage_is_all_that_its_decision_changes():
    operator = LAST + 1
    conv, transformer, mlp = (kinds(changed(operator, choice), "stage6.") for choice in range(3))

    assert "Softmax" in transformer
    assert "Softmax" not in conv + mlp
    assert conv.count("MatMul") == 0
    assert mlp.count("MatMul") == 3 * 8  # over the tokens, and the feed-forward layer
    assert transformer.count("MatMul") == 8 * 8  # q, k, v, two products, projection, two layers
    rest = [
        [op for op in SPACE.operators(changed(operator, c)) if not op.name.startswith("stage6.")]
        for c in range(3)
    ]
    assert rest[0] == rest[1] == rest[2]


def test_local_modules_see_a_window_and_the_others_every_token():
    local, around, everywhere = (kinds(changed(LAST, choice), "down6") for choice in range(3))

    assert "Softmax" not in local
    assert around.count("Softmax") == everywhere.count("Softmax") == 1
    assert around.count("Conv") == everywhere.count("Conv") + 2
    for choice in range(3):
        assert kinds(changed(LAST, choice), "down6").count("MaxPool") == 1


def test_a_stage_of_stride_1_has_a_module_without_a_pool():
    assert "MaxPool" not in kinds(B0, "down5")
    assert "MaxPool" in kinds(B0, "down6")


def test_a_larger_image_lets_fewer_stages_attend():
    large = UniNetSpace(resolution=256)

    assert SPACE.candidates[10] == ("conv", "transformer", "mlp")
    assert large.candidates[10] == ("conv",)


def test_the_family_is_the_same_choices_around_other_channels_and_repeats():
    b3 = UniNetSpace(288, channels=(24, 56, 96, 160, 160, 288), repeats=(2, 3, 7, 7, 7, 14))
    found = [b3.candidates[decision][choice] for decision, choice in enumerate(B0_CHOICES)]

    assert b3.parameters(B0) > SPACE.parameters(B0)
    assert "c288" in found
    # Two repeats are the middle of three, and one is the first of two.
    twice = Architecture("uninet", (*B0_CHOICES[:3], 1, *B0_CHOICES[4:]))
    assert b3.parameters(twice) == pytest.approx(24.02e6, rel=0.003)
    assert b3.macs(twice) == pytest.approx(4.258e9, rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 16},
        {"channels": (24, 48, 80, 128, 128)},
        {"channels": (24, 48, 80, 128, 128, 257)},
        {"channels": (8, 48, 80, 128, 128, 256)},
        {"repeats": (0, 2, 4, 4, 4, 8)},
        {"num_classes": 0},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("uninet", **options)


def test_every_candidate_of_a_part_can_be_tabulated():
    small = UniNetSpace(64, channels=(16,) * 6, repeats=(1,) * 6)
    for index, part in enumerate(small.parts):
        sizes = [int(small.num_choices[decision]) for decision in part.decisions]
        for number in range(int(np.prod(sizes))):
            local = tuple(int(c) for c in np.unravel_index(number, sizes))
            assert small.part_blocks(index, local)
