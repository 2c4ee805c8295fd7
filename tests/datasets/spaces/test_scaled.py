"""The scalable family: published EfficientNets and TinyNets, growth of costs, and real models."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.variants.scaled import (
    B0_CHOICES,
    EFFICIENTNETS,
    TINYNETS,
    MBConvStagesSpace,
    NetworksOfFamily,
    Scale,
    ScaledMBConv,
    compound_scaling,
)
from latprof.errors import InvalidValueError
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network


def _costs(family, scale):
    space, architecture = family.space_of(scale)
    return space.parameters(architecture), space.macs(architecture)


@pytest.mark.parametrize(
    ("name", "parameters", "macs_1e9"),
    [  # parameters of the trained networks; multiply-accumulates of the paper's table 2
        ("b0", 5_288_548, 0.39),
        ("b1", 7_794_184, 0.70),
        ("b2", 9_109_994, 1.0),
        ("b3", 12_233_232, 1.8),
        ("b4", 19_341_616, 4.2),
        ("b5", 30_389_784, 9.9),
        ("b6", 43_040_704, 19.0),
        ("b7", 66_347_960, 37.0),
    ],
)
def test_efficientnets_have_their_published_costs(name, parameters, macs_1e9):
    found, macs = _costs(ScaledMBConv(squeeze=True), EFFICIENTNETS[name])

    assert found == parameters
    assert macs / 1e9 == pytest.approx(macs_1e9, rel=0.05)


@pytest.mark.parametrize(
    ("name", "parameters_1e6", "macs_1e6"),
    [("a", 6.19, 339), ("b", 3.73, 202), ("c", 2.46, 100), ("d", 2.34, 52), ("e", 2.04, 24)],
)
def test_tinynets_have_their_published_costs(name, parameters_1e6, macs_1e6):
    family = ScaledMBConv("tinynet", squeeze=True)
    parameters, macs = _costs(family, TINYNETS[name])

    assert round(parameters / 1e6, 2) == parameters_1e6
    assert macs / 1e6 == pytest.approx(macs_1e6, rel=0.02)


def test_without_squeeze_the_base_is_efficientnet_lite0():
    assert _costs(ScaledMBConv(), Scale())[0] == 4_652_008


@pytest.mark.parametrize(("phi", "published"), [(0.0, "b0"), (0.5, "b1"), (1.0, "b2"), (2.0, "b3")])
def test_the_rule_gives_the_published_scales_up_to_b3(phi, published):
    scale, wanted = compound_scaling(phi), EFFICIENTNETS[published]

    assert (round(scale.depth, 1), round(scale.width, 1)) == (wanted.depth, wanted.width)
    assert scale.resolution == pytest.approx(wanted.resolution, rel=0.02)


def test_b4_to_b7_are_not_the_rules():
    """No phi gives them: what their depth asks for is too narrow, or their image too large."""
    phis = np.linspace(2, 8, 601)
    scales = [compound_scaling(phi) for phi in phis]
    for name in ("b4", "b5", "b6", "b7"):
        wanted = EFFICIENTNETS[name]
        assert not any(
            (round(s.depth, 1), round(s.width, 1)) == (wanted.depth, wanted.width)
            and abs(s.resolution / wanted.resolution - 1) <= 0.02
            for s in scales
        )


def test_multiply_accumulates_grow_as_depth_and_the_squares_of_width_and_resolution():
    family = ScaledMBConv("tinynet")
    # Twice the base, where rounding to 8 channels and single layers matters least.
    base = _costs(family, Scale(256, 2.0, 2.0))[1]

    def grown(**changes):
        return _costs(family, Scale(**{"resolution": 256, "depth": 2.0, "width": 2.0} | changes))[1]

    assert grown(resolution=512) / base == pytest.approx(4.0, rel=0.02)
    assert grown(width=4.0) / base == pytest.approx(4.0, rel=0.1)
    # The first layer of a stage, the stem and the last convolution are there once.
    assert grown(depth=4.0) / base == pytest.approx(2.0, rel=0.12)
    assert grown(resolution=512, depth=4.0, width=4.0) / base == pytest.approx(32.0, rel=0.2)


def test_every_step_of_phi_about_doubles_the_multiply_accumulates():
    family = ScaledMBConv("tinynet")
    macs = [_costs(family, compound_scaling(phi))[1] for phi in range(6)]
    ratios = np.divide(macs[1:], macs[:-1])

    assert np.exp(np.log(ratios).mean()) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("rounding", ["efficientnet", "tinynet"])
def test_layers_and_channels_are_rounded_as_the_authors_do(rounding):
    space: Any
    space, _ = ScaledMBConv(rounding).space_of(Scale(160, 0.7, 0.5))

    assert all(width % 8 == 0 for width in space.widths)
    if rounding == "efficientnet":
        assert space.depths == (1, 2, 2, 3, 3, 3, 1)
        assert space.widths == (16, 8, 16, 24, 40, 56, 96, 160, 640)
    else:
        assert space.depths == (1, 1, 1, 2, 2, 3, 1)
        assert space.widths == (32, 8, 16, 24, 40, 56, 96, 160, 1280)


@pytest.mark.parametrize("squeeze", [False, True])
def test_the_model_runs_and_has_the_operators_that_the_space_lists(squeeze):
    space, architecture = ScaledMBConv("tinynet", squeeze=squeeze, num_classes=10).space_of(
        Scale(50, 0.5, 0.3)
    )
    content = space.onnx_bytes(architecture, batch_size=2)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(2, 3, 50, 50)).astype(np.float32)
    (output,) = session.run(None, {"input": images})
    network = fuse(read_network(content))

    assert output.shape == (2, 10)
    assert np.abs(output[0] - output[1]).max() > 0.02 * output.std()
    listed = [(op.kind, op.macs) for op in space.operators(architecture, 2)]
    assert [(op.kind, op.macs) for op in network.operators] == listed


def test_each_stage_is_a_part_with_its_layers():
    space = MBConvStagesSpace()
    names = [part.name for part in space.parts]

    assert names == [f"stage{stage}.layer0" for stage in range(1, 8)]
    (first, second) = space.part_blocks(2, (5,))
    assert (first.kernel, first.expansion, first.stride, first.residual) == (7, 3, 2, False)
    assert (second.stride, second.residual, second.in_channels) == (1, True, 40)
    assert MBConvStagesSpace(**space.options).description == space.description
    assert space.parse(str(Architecture(space.name, B0_CHOICES))).choices == B0_CHOICES


def test_a_latency_source_is_asked_once_for_each_network():
    asked = []

    def latency(space, architecture):
        asked.append(space.resolution)
        return float(space.resolution)

    networks = NetworksOfFamily(ScaledMBConv(), latency)
    # Multipliers that round to the same layers and channels are the same network.
    found = [networks.network(Scale(64, depth, 1.0)) for depth in (0.99, 0.995, 1.0)]

    assert asked == [64]
    assert [network.latency_ms for network in found] == [64.0] * 3
    with pytest.raises(InvalidValueError, match="no latency"):
        NetworksOfFamily(ScaledMBConv(), lambda *_: float("nan")).network(Scale())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scale(0),
        lambda: Scale(224.0),
        lambda: Scale(224, 0.0),
        lambda: Scale(224, 1.0, float("inf")),
        lambda: Scale(224, float("nan")),
        lambda: compound_scaling(float("nan")),
        lambda: compound_scaling(1.0, alpha=0.0),
        lambda: compound_scaling(1e9),
        lambda: ScaledMBConv("other"),
        lambda: ScaledMBConv(num_classes=0),
        lambda: ScaledMBConv().space_of(Scale(16)),
        lambda: ScaledMBConv().space_of(Scale(224, 1e6)),
        lambda: MBConvStagesSpace(widths=(8,) * 8),
        lambda: MBConvStagesSpace(squeeze="yes"),
    ],
)
def test_sizes_that_are_none_are_refused(make):
    with pytest.raises(InvalidValueError):
        make()
