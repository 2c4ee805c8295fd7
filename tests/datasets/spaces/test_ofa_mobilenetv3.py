"""The Once-for-All space: a published network, decisions, depth, and image sizes."""

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.ofa_mobilenetv3 import RESOLUTIONS, OFAMobileNetV3Space
from latprof.errors import InvalidValueError

SPACE = OFAMobileNetV3Space()


def _architecture(space, resolution, depths, kernels, expansions):
    named = (
        f"r{resolution}",
        *(f"d{depth}" for depth in depths),
        *(f"k{kernel}" for kernel in kernels),
        *(f"e{expansion}" for expansion in expansions),
    )
    pairs = zip(space.candidates, named, strict=True)
    return Architecture(space.name, tuple(names.index(name) for names, name in pairs))


def test_decisions_are_resolution_depths_kernels_and_expansions():
    assert SPACE.candidates == (
        tuple(f"r{resolution}" for resolution in range(128, 225, 4)),
        *(("d2", "d3", "d4"),) * 5,
        *(("k3", "k5", "k7"),) * 20,
        *(("e3", "e4", "e6"),) * 20,
    )
    assert len(RESOLUTIONS) == 25


def test_the_published_595m_network_has_its_published_costs():
    """``flops@595M_top1@80.0_finetune@75`` of the authors: 595M MACs, 9.1M parameters."""
    space = OFAMobileNetV3Space(1.2, resolutions=(236,))
    # The fourth layer of the first stage is not there.
    kernels = (3, 5, 3, 7, 5, 5, 3, 5, 7, 5, 3, 5, 3, 5, 7, 3, 3, 3, 5, 3)
    expansions = (3, 4, 3, 6, 4, 4, 6, 3, 6, 6, 3, 4, 6, 6, 6, 4, 6, 6, 6, 3)
    architecture = _architecture(space, 236, (3, 4, 4, 4, 4), kernels, expansions)

    assert round(space.macs(architecture) / 1e6) == 595
    assert round(space.parameters(architecture) / 1e6, 1) == 9.1


def test_macs_are_those_of_a_count_by_hand():
    """Smallest network at 128 pixels: every stage two layers, kernel 3, expansion 3."""
    architecture = _architecture(SPACE, 128, (2,) * 5, (3,) * 20, (3,) * 20)
    macs = 64**2 * (3 * 16 * 9) + 64**2 * (16 * 9 + 16 * 16)
    channels, size = 16, 64
    squeezed = {40: (24, 32), 112: (64, 88), 160: (88, 120)}
    stages = ((24, 2), (40, 2), (80, 2), (112, 1), (160, 2))
    for width, first_stride in stages:
        for layer, stride in enumerate((first_stride, 1)):
            middle, out = 3 * channels, size // stride
            macs += size**2 * channels * middle + out**2 * middle * (9 + width)
            if width in squeezed:
                macs += 2 * middle * squeezed[width][layer]
            channels, size = width, out
    # A quarter of 72, 120, 240, 336, 336, 480 in multiples of 8: 16 would lose a tenth of 18.
    macs += size**2 * 160 * 960 + 960 * 1280 + 1280 * 1000

    assert SPACE.macs(architecture) == macs


def test_layers_beyond_the_depth_are_inactive_and_not_there():
    architecture = _architecture(SPACE, 128, (2, 3, 4, 2, 2), (7,) * 20, (6,) * 20)
    active = SPACE.active(SPACE.choices([architecture]))[0]
    layers = [2, 3, 4, 2, 2]
    expected = [index < depth for depth in layers for index in range(4)]

    assert active[:6].all()
    assert active[6:26].tolist() == active[26:].tolist() == expected
    names = [block.name for block in SPACE.blocks(architecture) if block.name.startswith("stage")]
    assert names == [f"stage{s + 1}.layer{i}" for s in range(5) for i in range(layers[s])]


def test_parts_hold_the_depth_only_where_it_matters():
    decisions = {part.name: part.decisions for part in SPACE.parts}

    assert decisions["fixed"] == (0,)
    assert decisions["stage1.layer1"] == (0, 7, 27)
    assert decisions["stage1.layer2"] == (0, 1, 8, 28)
    assert decisions["stage5.layer3"] == (0, 5, 25, 45)
    assert SPACE.part_blocks(3, (0, 0, 1, 1)) == ()
    (shallow,), (deep,) = (SPACE.part_blocks(3, (0, depth, 1, 1)) for depth in (1, 2))
    assert shallow == deep


def test_the_number_of_networks_is_that_of_the_paper_times_the_resolutions():
    """About 2 x 10^19 networks (section 3.2): (3^2)^2 + (3^2)^3 + (3^2)^4 to the fifth power."""
    assert SPACE.num_architectures == 25 * (9**2 + 9**3 + 9**4) ** 5


def test_squeeze_and_activations_follow_the_stages():
    kinds = {}
    for block in SPACE.blocks(Architecture(SPACE.name, (0,) * 46)):
        if block.name.startswith("stage"):
            squeezed = any(hasattr(step, "reduced") for step in block.layers)
            kinds[block.name[:6]] = (squeezed, block.layers[0].activation)

    assert kinds == {
        "stage1": (False, "relu"),
        "stage2": (True, "relu"),
        "stage3": (False, "hswish"),
        "stage4": (True, "hswish"),
        "stage5": (True, "hswish"),
    }


def test_models_take_images_of_their_architectures_resolution():
    onnxruntime = pytest.importorskip("onnxruntime")
    space = OFAMobileNetV3Space(num_classes=3, resolutions=(33, 48))
    assert space.input_shape == (3, 48, 48)
    for index, size in enumerate((33, 48)):
        architecture = Architecture(space.name, (index,) + (0,) * 45)
        content = space.onnx_bytes(architecture)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        image = np.zeros((1, *space.image_shape(architecture)), dtype=np.float32)

        assert image.shape == (1, 3, size, size)
        assert session.run(None, {"input": image})[0].shape == (1, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"width_multiplier": 0},
        {"width_multiplier": True},
        {"width_multiplier": float("nan")},
        {"width_multiplier": "1.2"},
        {"num_classes": 0},
        {"resolutions": ()},
        {"resolutions": 224},
        {"resolutions": "224"},
        {"resolutions": (224, 128)},
        {"resolutions": (128, 128)},
        {"resolutions": (31,)},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("ofa-mobilenetv3", **options)
