"""The NAS-Bench-201 space: the benchmark's costs, strings and networks."""

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.nasbench201 import NASBench201Space
from latprof.errors import InvalidValueError

SPACE = NASBench201Space()
CONV3 = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
POOLS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)
NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def test_candidates_and_edges_are_in_the_benchmarks_order():
    names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

    assert SPACE.candidates == (names,) * 6
    assert SPACE.num_architectures == 15_625
    edges = ["edge0-1", "edge0-2", "edge1-2", "edge0-3", "edge1-3", "edge2-3"]
    assert [part.name for part in SPACE.parts] == edges


@pytest.mark.parametrize(
    ("text", "flops", "parameters"),
    [(CONV3, 220_119_690, 1_531_546), (POOLS, 15_647_370, 129_306)],
)
def test_costs_are_those_that_the_benchmark_publishes(text, flops, parameters):
    """For CIFAR-10; the benchmark counts the classifier's 10 biases as FLOPs too."""
    architecture = SPACE.parse(text)

    assert SPACE.macs(architecture) + 10 == flops
    assert SPACE.parameters(architecture) == parameters


def test_a_hundred_classes_cost_what_the_linear_layer_costs():
    more = NASBench201Space(num_classes=100).parameters(SPACE.parse(CONV3))

    assert more - SPACE.parameters(SPACE.parse(CONV3)) == 90 * (64 + 1)


def test_imagenet_16_has_a_quarter_of_the_work():
    small = NASBench201Space(resolution=16).macs(SPACE.parse(CONV3))
    classifier = 64 * 10

    assert 4 * (small - classifier) == SPACE.macs(SPACE.parse(CONV3)) - classifier


def test_strings_are_read_back_and_so_are_indices():
    for architecture in SPACE.sample(50, seed=2):
        text = SPACE.architecture_string(architecture)
        assert SPACE.parse(text) == architecture
        assert SPACE.parse(f"nasbench201:{text}") == architecture
        assert SPACE.parse(str(architecture)) == architecture
    assert SPACE.parse(CONV3).choices == (3,) * 6
    assert SPACE.parse(POOLS).choices == (4, 2, 1, 2, 1, 1)
    assert SPACE.architecture_string(Architecture("nasbench201", (0,) * 6)) == NONE


@pytest.mark.parametrize(
    "text",
    [
        "|",
        "|none~0|",
        NONE[:-1],
        NONE + "|",
        NONE.replace("none~2", "none~1"),
        NONE.replace("none~2", "zero~2"),
        NONE.replace("none~0|+|none~0", "none~0|none~0|+"),
        "fbnet:" + NONE,
        "3,3,3,3,3",
        "|" * 1000,
    ],
)
def test_other_strings_are_refused(text):
    with pytest.raises(InvalidValueError):
        SPACE.parse(text)


def test_an_edge_stands_in_all_15_cells():
    blocks = SPACE.part_blocks(5, (3,))

    assert len(blocks) == 15
    assert [(b.in_channels, b.in_size) for b in blocks] == (
        [(16, 32)] * 5 + [(32, 16)] * 5 + [(64, 8)] * 5
    )
    assert all(b.inputs == (f"{b.name.removesuffix('.edge2-3')}.node2",) for b in blocks)


def test_none_runs_and_skip_connect_does_not():
    none, skip = (SPACE.part_blocks(0, (choice,))[0].operators() for choice in (0, 1))

    assert [op.op_type for op in none] == ["Mul"]
    assert skip == ()


def test_nodes_add_as_often_as_they_have_edges_less_one():
    for text in (NONE, CONV3):
        names = [op.name for op in SPACE.operators(SPACE.parse(text)) if op.op_type == "Add"]
        assert len(names) == 15 * (0 + 1 + 2) + 2


def test_without_paths_the_output_is_the_same_for_every_image():
    onnxruntime = pytest.importorskip("onnxruntime")
    space = NASBench201Space(cells_per_stage=1)
    content = space.onnx_bytes(space.parse(NONE), batch_size=2)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)

    output = session.run(None, {"input": images})[0]

    np.testing.assert_array_equal(output[0], output[1])


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 30},
        {"resolution": 4},
        {"num_classes": 0},
        {"cells_per_stage": 0},
        {"channels": 0},
        {"channels": None},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidValueError):
        get_space("nasbench201", **options)
