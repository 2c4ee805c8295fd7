"""The ProxylessNAS space: the published networks, recognition, and where zero is allowed."""

import io
import itertools
import warnings

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import (
    MOBILE_CHOICES,
    MOBILE_WIDTHS,
    MOBILENET_V2_CHOICES,
    MOBILENET_V2_WIDTHS,
    SEARCH_WIDTHS,
    ProxylessSpace,
)
from latprof.errors import InvalidValueError
from latprof.graph.reader import read_network

PUBLISHED = {
    "ProxylessNAS-mobile": (MOBILE_WIDTHS, MOBILE_CHOICES, 4_080_512, 320.4),
    "MobileNetV2": (MOBILENET_V2_WIDTHS, MOBILENET_V2_CHOICES, 3_504_872, 300.8),
}


@pytest.fixture(scope="module")
def space():
    return ProxylessSpace()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_published_costs(name):
    widths, choices, parameters, million_macs = PUBLISHED[name]
    space = ProxylessSpace(widths)
    architecture = Architecture("proxyless", choices)

    assert space.parameters(architecture) == parameters
    assert round(space.macs(architecture) / 1e6, 1) == million_macs


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_cost_the_same_counted_from_their_graph(name):
    widths, choices, parameters, million_macs = PUBLISHED[name]
    space = ProxylessSpace(widths)
    model = space.build_onnx(Architecture("proxyless", choices), batch_norm="kept")

    network = read_network(model)

    assert network.parameters == parameters
    assert round(network.macs / 1e6, 1) == million_macs
    # Counted by hand from the initialisers: all but means, variances and the bounds of ReLU6.
    learnt = [t for t in model.graph.initializer if not t.name.startswith("relu6")]
    learnt = [t for t in learnt if not t.name.endswith((".mean", ".variance"))]
    assert sum(int(np.prod(t.dims)) for t in learnt) == parameters


def test_the_narrower_first_stage_of_the_search_code_has_fewer_macs():
    macs = ProxylessSpace(SEARCH_WIDTHS).macs(Architecture("proxyless", MOBILE_CHOICES))

    assert round(macs / 1e6, 1) == 304.2


def test_zero_is_allowed_exactly_where_the_block_has_a_residual(space):
    allowed = [names[-1] == "Zero" for names in space.candidates]

    assert [i for i, zero in enumerate(allowed) if not zero] == [0, 4, 8, 12, 16, 20]
    for position, zero in enumerate(allowed):
        choices = [0] * len(allowed)
        residuals = {
            b.position: b.residual for b in space.blocks(Architecture("proxyless", tuple(choices)))
        }
        assert residuals[position] == zero


def test_zero_costs_nothing_and_has_no_layers(space):
    base = Architecture("proxyless", (0,) * 21)
    skipped = Architecture("proxyless", (0, 6, *(0,) * 19))
    block = space.blocks(skipped)[3]

    assert (block.choice, block.layers, block.operators()) == ("Zero", (), ())
    assert block.key == "zero-input:56x56x24"
    removed = sum(op.macs for op in space.blocks(base)[3].operators())
    assert space.macs(base) - space.macs(skipped) == removed > 0


def test_keys_are_those_of_the_authors_tables(space):
    block = space.blocks(Architecture("proxyless", (1, *(0,) * 20)))[2]

    expected = "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:5-stride:2-idskip:0"
    assert block.key == expected


@pytest.mark.parametrize("resolution", [97, 100, 224])
def test_blocks_fit_together_at_any_resolution(resolution):
    blocks = ProxylessSpace(resolution=resolution).blocks(Architecture("proxyless", (2,) * 21))

    for before, after in itertools.pairwise(blocks):
        assert (before.out_channels, before.out_size) == (after.in_channels, after.in_size)
    for block in blocks:
        size = block.in_size
        for layer in block.layers:
            size = layer.output_size(size)
        assert size == block.out_size


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
def test_built_networks_are_recognized_up_to_the_place_of_zero_blocks(space, batch_norm):
    for architecture in space.sample(8, seed=3):
        model = space.build_onnx(architecture, batch_norm=batch_norm)

        found = space.recognize(read_network(model))

        assert _zeros_last(found) == _zeros_last(architecture)
        assert [
            t.dims for t in space.build_onnx(found, batch_norm=batch_norm).graph.initializer
        ] == [t.dims for t in model.graph.initializer]


def test_other_networks_are_not_recognized(space):
    architecture = space.sample(1)[0]
    other = ProxylessSpace(MOBILE_WIDTHS)
    model = space.build_onnx(architecture)

    assert space.recognize(read_network(other.build_onnx(architecture))) is None
    assert ProxylessSpace(resolution=192).recognize(read_network(model)) is None


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_export_of_the_torch_module_is_recognized(space, batch_size):
    torch = pytest.importorskip("torch")
    architecture = space.sample(1, seed=9)[0]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(
            space.build_torch(architecture),
            (torch.zeros(batch_size, 3, 224, 224),),
            buffer,
            dynamo=False,
            opset_version=17,
        )

    network = read_network(buffer.getvalue())

    assert _zeros_last(space.recognize(network)) == _zeros_last(architecture)
    assert network.macs == batch_size * space.macs(architecture)


@pytest.mark.parametrize(
    "options",
    [{"widths": (1, 2, 3)}, {"widths": (0,) * 9}, {"resolution": 31}, {"num_classes": 0}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        ProxylessSpace(**options)


def test_built_models_carry_their_architecture(space):
    architecture = space.sample(1)[0]
    properties = {p.key: p.value for p in space.build_onnx(architecture).metadata_props}

    assert properties["latprof.architecture"] == str(architecture)
    assert space.parse(properties["latprof.architecture"]) == architecture


def _zeros_last(architecture):
    """Choices with the zero blocks of each stage moved to its end: the same network."""
    choices = architecture.choices
    stages = [choices[i : i + 4] for i in range(0, len(choices), 4)]
    return [[stage[0], *sorted(stage[1:], key=lambda c: c == 6)] for stage in stages]


def test_what_only_resembles_the_space_is_not_recognised():
    space = ProxylessSpace(resolution=64)
    other = ProxylessSpace(resolution=64, num_classes=10)
    model = other.build_onnx(other.sample(1)[0])
    assert space.recognize(read_network(model)) is None
    model = space.build_onnx(space.sample(1)[0])
    assert space.recognize(read_network(model)) is not None
    clip = next(node for node in model.graph.node if node.op_type == "Clip")
    clip.op_type = "HardSwish"
    del clip.input[1:]
    assert space.recognize(read_network(model)) is None


@pytest.mark.parametrize("reads", [(0, 0), (1, 1)], ids=["a block that nothing reads", "no skip"])
def test_a_network_that_is_joined_in_another_way_is_not_recognised(reads):
    """ONNX Runtime leaves out what nothing reads: the whole block is not run."""
    space = ProxylessSpace(resolution=64)
    model = space.build_onnx(space.sample(1)[0])
    added = next(node for node in model.graph.node if node.op_type == "Add")
    added.input[:] = [added.input[place] for place in reads]
    assert space.recognize(read_network(model)) is None
