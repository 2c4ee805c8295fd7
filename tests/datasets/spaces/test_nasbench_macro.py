"""The NAS-Bench-Macro space: candidates, what an identity costs, and the published counts."""

from pathlib import Path

import numpy as np
import pytest

from latprof.datasets.importers.accuracies import load_nasbench_macro
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.errors import InvalidValueError

SPACE = NASBenchMacroSpace()
PUBLIC = Path(__file__).resolve().parents[4] / "shared" / "data"
PUBLISHED = PUBLIC / "nasbench-macro" / "nas-bench-macro_cifar10.json"
#: First layers of the three stages: input channels, output channels, height and width before.
CHANGES = {0: (32, 64, 32), 2: (64, 128, 16), 5: (128, 256, 8)}


def _network(digits):
    return SPACE.parse(",".join(digits))


def _totals(digits):
    network = _network(digits)
    return SPACE.parameters(network), SPACE.macs(network)


def test_candidates_stand_in_the_order_of_the_benchmarks_digits():
    assert SPACE.candidates == (("identity", "k3_e3", "k5_e6"),) * 8
    assert SPACE.num_architectures == 6_561
    assert SPACE.input_shape == (3, 32, 32)


def test_widths_and_sizes_are_those_of_three_stages():
    blocks = SPACE.blocks(_network("11111111"))

    assert [b.out_channels for b in blocks] == [32, 64, 64, 128, 128, 128, 256, 256, 256, 1280]
    assert [b.out_size for b in blocks] == [32, 16, 16, 8, 8, 8, 4, 4, 4, 4]
    assert [b.residual for b in blocks[1:9]] == [layer not in CHANGES for layer in range(8)]


def test_the_published_network_of_ones():
    assert _totals("11111111") == (1_588_874, 53_246_464)


@pytest.mark.parametrize("layer", [1, 3, 4, 6, 7])
def test_an_identity_that_keeps_the_shape_costs_nothing(layer):
    (block,) = SPACE.part_blocks(layer, (0,))

    assert block.operators() == ()
    assert (block.in_channels, block.in_size) == (block.out_channels, block.out_size)


@pytest.mark.parametrize("layer", CHANGES)
def test_an_identity_that_changes_the_shape_is_a_1x1_convolution(layer):
    channels, width, size = CHANGES[layer]
    (block,) = SPACE.part_blocks(layer, (0,))

    (convolution,) = block.operators()

    assert convolution.op_type == "Conv"
    assert convolution.output_shapes[0] == (1, width, size // 2, size // 2)
    assert convolution.macs == channels * width * (size // 2) ** 2


def test_identities_alone_are_stem_three_convolutions_and_head():
    stem = 3 * 32 * 9, 3 * 32 * 9 * 32**2
    head = 256 * 1280, 256 * 1280 * 4**2
    classifier = 1280 * 10
    changes = [(c * w, c * w * (s // 2) ** 2) for c, w, s in CHANGES.values()]
    normalised = 32 + sum(width for _, width, _ in CHANGES.values()) + 1280

    parameters, macs = _totals("00000000")

    weights = stem[0] + head[0] + sum(p for p, _ in changes)
    assert parameters == weights + 2 * normalised + classifier + 10
    assert macs == stem[1] + head[1] + sum(m for _, m in changes) + classifier


def test_a_larger_image_costs_more_work_and_no_parameters():
    larger = get_space("nasbench-macro", resolution=64)
    ones = _network("11111111")

    assert larger.parameters(ones) == SPACE.parameters(ones)
    classifier = 1280 * 10
    assert larger.macs(ones) - classifier == 4 * (SPACE.macs(ones) - classifier)


@pytest.mark.parametrize("options", [{"resolution": 4}, {"num_classes": 0}, {"resolution": 32.5}])
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("nasbench-macro", **options)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the public data are not here")
def test_all_counts_are_the_published_ones():
    published = load_nasbench_macro(PUBLISHED)
    networks = SPACE.architectures(published.choices)

    assert len(networks) == SPACE.num_architectures
    assert np.array_equal([SPACE.parameters(n) for n in networks], published.parameters)
    assert np.array_equal([SPACE.macs(n) for n in networks], published.flops)
