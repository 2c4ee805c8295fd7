"""Spaces from functions: parts are found by comparing graphs, and make the networks up again."""

import itertools
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import latprof
from latprof.errors import InvalidValueError, OwnCodeError, UnknownNameError
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.pack.comparing_models import compared
from latprof.profilers.base import RunOptions
from latprof.testing.fakes import FakeProfiler


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own; the spaces of this module compare their graphs once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "latprof" / "spaces"


class _Net:
    """A chain of convolutions as an ONNX model, each named after its layer."""

    def __init__(self, channels=3):
        self.nodes, self.weights, self.value, self.channels = [], [], "input", channels

    def conv(self, name, out, kernel=3, stride=1):
        shape = (out, self.channels, kernel, kernel)
        values = np.full(math.prod(shape), 0.01, dtype=np.float32)
        self.weights.append(helper.make_tensor(f"{name}.w", TensorProto.FLOAT, shape, values))
        self.node(
            "Conv",
            f"/{name}/Conv",
            [f"{name}.w"],
            pads=[kernel // 2] * 4,
            strides=[stride] * 2,
        )
        self.channels = out

    def node(self, kind, name, more=(), **attributes):
        node = helper.make_node(kind, [self.value, *more], [f"{name}.out"], name=name, **attributes)
        self.nodes.append(node)
        self.value = f"{name}.out"

    def model(self, batch="N"):
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 16, 16])],
            [helper.make_tensor_value_info(self.value, TensorProto.FLOAT, [batch, *"CHW"])],
            self.weights,
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def widths_of(widths):
    """Layers whose widths are searched, so that a convolution depends on two of them."""
    net = _Net()
    for index, width in enumerate(widths):
        net.conv(f"layer{index}", width)
        net.node("Relu", f"/layer{index}/Relu")
    net.conv("last", 8)
    return net.model()


def depth_of(choices):
    """A stage whose depth is searched, of layers of one width; and an activation."""
    width, depth, activation = choices
    net = _Net()
    net.conv("stem", 8, stride=2)
    for index in range(depth):
        net.conv(f"stage/{index}", width)
    net.node(activation, "act")
    net.conv("last", 8, 1)
    return net.model()


WIDTHS = latprof.space_from_function(widths_of, [(4, 8, 12)] * 3, (3, 16, 16))
DEPTH = latprof.space_from_function(
    depth_of, [(4, 8), (0, 1, 3), ("Relu", "Sigmoid")], (3, 16, 16), name="depth-of-mine"
)


def test_a_convolution_between_two_widths_depends_on_both():
    assert [part.decisions for part in WIDTHS.parts] == [(0,), (0, 1), (1, 2), (2,)]
    assert [part.name for part in WIDTHS.parts] == [
        "layer0.Conv",
        "layer1.Conv",
        *("layer2.Conv", "last.Conv"),
    ]


def test_a_stage_depends_on_depth_and_width():
    """And the activation runs in whichever convolution is the last of the stage, or the stem."""
    assert {part.decisions for part in DEPTH.parts} == {(1, 2), (0, 1, 2), (0, 1)}
    assert len(space_tables(DEPTH).parts) == len(DEPTH.parts)


@pytest.mark.parametrize("space", [WIDTHS, DEPTH], ids=lambda space: space.name)
def test_parts_make_up_every_network(space):
    for row in itertools.product(*(range(n) for n in space.num_choices)):
        (architecture,) = space.architectures(np.array([row], dtype=np.uint8))
        graph = fuse(read_network(space.onnx_bytes(architecture)))
        listed = space.operators(architecture)
        assert [op.name for op in listed] == [op.name for op in graph.operators]
        assert listed == graph.operators
        assert space.macs(architecture) == graph.macs
        blocks = space.blocks(architecture)
        for number, part in enumerate(space.parts):
            local = tuple(row[decision] for decision in part.decisions)
            assert space.part_blocks(number, local) == tuple(
                block for block in blocks if block.position == number
            )
        names = [block.name for block in blocks]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("space", [WIDTHS, DEPTH], ids=lambda space: space.name)
def test_a_key_stands_for_one_cost(space):
    costs = {}
    for architecture in space.sample(12):
        for block in space.blocks(architecture):
            work = [(op.kind, op.input_shapes, op.output_shapes) for op in block.operators()]
            assert costs.setdefault(block.key, work) == work
    assert "conv3x3-input:16x16x3-output:16x16x4-relu" in costs or space is not WIDTHS


def test_a_batch_is_in_the_model_and_in_the_operators():
    architecture = WIDTHS.sample(1)[0]
    read = read_network(WIDTHS.onnx_bytes(architecture, batch_size=4))
    assert read.inputs[0][1] == (4, 3, 16, 16)
    assert read.macs == 4 * WIDTHS.macs(architecture)
    assert sum(op.macs for op in WIDTHS.operators(architecture, 4)) == read.macs


def test_a_predictor_learns_the_sums():
    choices = WIDTHS.sample_choices(27, seed=1)
    latency = np.array([1 + 1e-6 * WIDTHS.macs(a) for a in WIDTHS.architectures(choices)])
    fitted = latprof.HybridPredictor(WIDTHS).fit(choices[:20], latency[:20])
    np.testing.assert_allclose(fitted.predict(choices[20:]), latency[20:], rtol=0.02)


def test_only_what_a_constraint_allows_is_a_network():
    def rising(widths):
        return widths[0] <= widths[1] <= widths[2]

    def only_rising(widths):
        assert rising(widths)
        return widths_of(widths)

    space = latprof.space_from_function(
        only_rising, [(4, 8, 12)] * 3, (3, 16, 16), allowed=rising, name="rising"
    )
    assert space.num_architectures == 10
    networks = space.sample(10)
    assert all(tuple(sorted(each.choices)) == each.choices for each in networks)
    for architecture in networks:
        graph = fuse(read_network(space.onnx_bytes(architecture)))
        assert space.operators(architecture) == graph.operators
        assert space.parse(str(architecture)) == architecture
    assert space.part_blocks(1, (2, 0)) == ()
    assert space.source_digest != WIDTHS.source_digest
    with pytest.raises(InvalidValueError, match="holds only 10"):
        space.sample(11)
    with pytest.raises(InvalidValueError, match="excludes"):
        space.parse("2,1,0")
    latency = np.array([1 + 1e-6 * space.macs(each) for each in networks])
    fitted = latprof.HybridPredictor(space).fit(networks, latency)
    np.testing.assert_allclose(fitted.predict(networks), latency, rtol=0.05)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [(lambda _: False, "is allowed"), (lambda values: values[9], "raised IndexError")],
)
def test_a_constraint_that_allows_nothing_or_fails_is_told(allowed, words):
    space = latprof.space_from_function(
        widths_of, [(4, 8)] * 3, (3, 16, 16), allowed=allowed, name="mine"
    )
    with pytest.raises(InvalidValueError, match=words):
        _ = space.parts


def test_inputs_need_not_be_images():
    torch = pytest.importorskip("torch")

    def speech(choices):
        width, depth = choices
        layers = [
            torch.nn.Conv1d(40 if i == 0 else width, width, 5, padding=2) for i in range(depth)
        ]
        return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())

    def words(choices):
        width, heads = choices
        layer = torch.nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True)
        return torch.nn.Sequential(torch.nn.Embedding(100, width), layer)

    sound = latprof.space_from_function(speech, [(8, 16), (1, 2)], (40, 50))
    text = latprof.space_from_function(words, [(8, 16), (1, 2, 4)], (12,), input_dtype="int64")
    assert sound.options == {"candidates": [[8, 16], [1, 2]], "input_shape": [40, 50]}
    assert text.options["input_dtype"] == "int64"
    for space, shape, kinds in ((sound, (2, 40, 50), {"Conv"}), (text, (2, 12), {"MatMul"})):
        architecture = space.sample(1)[0]
        read = fuse(read_network(space.onnx_bytes(architecture, batch_size=2)))
        assert read.inputs[0][1] == shape
        assert kinds <= {op.op_type for op in space.operators(architecture)}
        assert sum(op.macs for op in space.operators(architecture, 2)) == read.macs > 0
        assert space.reference_resolution == 32
        assert {d for part in space.parts for d in part.decisions} == {0, 1}


def test_networks_may_have_several_inputs():
    torch = pytest.importorskip("torch")

    class Head(torch.nn.Module):  # type: ignore[name-defined]
        def __init__(self, width):
            super().__init__()
            self.small, self.large = torch.nn.Conv2d(8, width, 1), torch.nn.Conv2d(4, width, 3)

        def forward(self, small, large, scale):
            return self.small(small).mean((2, 3)) + self.large(large).mean((2, 3)) + scale

    def head(choices):
        return Head(choices[0])

    shapes = {"small": (8, 4, 4), "large": (4, 8, 8), "scale": (1,)}
    space = latprof.space_from_function(head, [(4, 8, 16)], shapes, input_dtype={"scale": "int64"})
    architecture = space.sample(1)[0]
    read = read_network(space.onnx_bytes(architecture, batch_size=2, seed=3))
    assert read.inputs == tuple((name, (2, *shape)) for name, shape in shapes.items())
    assert space.recognize(read) == architecture
    target = FakeProfiler(RunOptions(batch_size=2)).target((2, *space.input_shape))
    pack: Any = SimpleNamespace(target=target, predictor=SimpleNamespace(space=space))
    assert compared(pack, read).said == ()
    assert space.input_shape == (8, 4, 4)
    assert space.options["input_shape"]["large"] == [4, 8, 8]
    assert space.options["input_dtype"]["scale"] == "int64"
    assert sum(op.macs for op in space.operators(architecture, 2)) == read.macs > 0


def test_torch_modules_are_exported_with_a_seed():
    torch = pytest.importorskip("torch")

    def module_of(widths):
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, widths[0], 3), torch.nn.BatchNorm2d(widths[0])
        )

    space = latprof.space_from_function(module_of, [(4, 8)], (3, 8, 8))
    architecture = space.sample(1)[0]
    content = space.onnx_bytes(architecture, seed=1)
    assert content == space.onnx_bytes(architecture, seed=1)
    assert content != space.onnx_bytes(architecture, seed=2)
    assert [op.op_type for op in space.operators(architecture)] == ["Conv"]
    assert space.build_torch(architecture)[0].out_channels == 4 * (1 + architecture.choices[0])
    with pytest.raises(InvalidValueError, match="no torch modules"):
        WIDTHS.build_torch(WIDTHS.sample(1)[0])


def test_the_identity_is_the_candidates_and_the_source():
    stated = json.loads(WIDTHS.description)
    assert stated["name"] == "widths_of"
    assert stated["options"] == {"candidates": [[4, 8, 12]] * 3, "input_shape": [3, 16, 16]}
    assert len(stated["source"]) == 16
    changed = json.dumps({**stated, "source": "0" * 16})
    assert "its source was changed since" in WIDTHS.difference_from(changed)
    del stated["source"]
    assert WIDTHS.difference_from(json.dumps(stated)) == ""


def test_a_model_of_another_input_is_refused():
    space = latprof.space_from_function(lambda _: _Net().model(1), [(1, 2)], (3, 8, 8), name="mine")
    with pytest.raises(latprof.LatprofError):
        space.onnx_bytes(space.sample(1)[0])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda _: None, "neither a torch module nor an ONNX model.*lacks a return"),
        (lambda _: {}, "neither a torch module nor an ONNX model.*got dict.$"),
        (lambda values: values[7], "raised IndexError"),
    ],
)
def test_a_function_that_builds_nothing_is_told(build, words):
    space = latprof.space_from_function(build, [(1, 2)], (3, 8, 8), name="mine")
    with pytest.raises((InvalidValueError, OwnCodeError), match=words):
        space.onnx_bytes(space.sample(1)[0])


def test_a_function_without_a_name_and_a_file_without_one_are_told_how_to_give_it():
    with pytest.raises(InvalidValueError, match=r"lambda.*given as name="):
        latprof.space_from_function(lambda _: _Net(), [(1, 2)], (3, 8, 8))
    with pytest.raises(UnknownNameError, match=r"lab/mine\.py:NAME"):
        latprof.get_space("lab/mine.py")


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidates": []},
        {"candidates": [()]},
        {"candidates": [(1, 1)]},
        {"candidates": [(object(), 1)]},
        {"candidates": 3},
        {"candidates": [(math.nan, 1)]},
        {"candidates": [(10**5000, 1)]},
        {"candidates": [("\ud800", "x")]},
        {"candidates": [range(10**12)]},
        {"input_shape": 3},
        {"input_shape": "abc"},
        {"input_shape": (3, 16, 10**9)},
        {"input_shape": (3, 1 << 20, 1 << 20)},
        {"input_shape": {}},
        {"input_shape": {"x": (3, 16, 16), "y": 5}},
        {"input_shape": {None: (3, 16, 16)}},
        {"input_shape": {"x": (3, 16, 16)}, "input_dtype": {"y": "int64"}},
        {"build": 3},
        {"name": 3},
        {"input_shape": ()},
        {"input_shape": (3,) * 6},
        {"allowed": 3},
        {"input_dtype": "complex64"},
        {"input_shape": (3, 16, 0)},
        {"name": "proxyless"},
        {"name": "a:b"},
        {"build": lambda _: None},
    ],
)
def test_what_is_no_space_is_refused(wrong):
    given = {"build": widths_of, "candidates": [(4, 8)] * 3, "input_shape": (3, 16, 16)} | wrong
    with pytest.raises(InvalidValueError):
        latprof.space_from_function(**given)


def test_numbers_of_numpy_are_numbers():
    given = (np.array([4, 8, 12]), [np.int64(4), np.int64(8), 12], (4, 8, 12))
    space = latprof.space_from_function(widths_of, given, np.array([3, 16, 16]))
    assert space.description == WIDTHS.description


def test_an_operator_that_depends_on_everything_is_refused():
    def summed(widths):
        net = _Net()
        net.conv("only", sum(widths))
        return net.model()

    space = latprof.space_from_function(summed, [(1, 20, 400, 8000)] * 6, (3, 16, 16))
    with pytest.raises(InvalidValueError, match="depends on the decisions 0, 1, 2, 3, 4, 5"):
        _ = space.parts


def test_what_stands_behind_a_searched_depth_depends_on_one_width_for_each():
    """Of 4,374 combinations: the last convolution reads the last layer's width alone."""
    built = []

    def deep(choices):
        built.append(choices)
        net = _Net()
        for index in range(choices[0]):
            net.conv(f"layer{index}", choices[1 + index], 1)
        net.conv("last", 8, 1)
        return net.model()

    space = latprof.space_from_function(deep, [range(1, 7)] + [(4, 8, 12)] * 6, (3, 16, 16))
    assert max(len(part.decisions) for part in space.parts) == 3
    assert len(built) < 200
    for architecture in space.sample(20):
        graph = fuse(read_network(space.onnx_bytes(architecture)))
        assert space.operators(architecture) == graph.operators


def test_operators_whose_names_follow_from_other_decisions_are_known_by_what_they_compute():
    """A list of layers: the name of each has its place, which follows from the depths before it."""

    def listed(choices):
        depths, widths = choices[:3], choices[3:]
        net, place = _Net(), 0
        for depth, width in zip(depths, widths, strict=True):
            for index in range(depth):
                net.conv(str(place), width, stride=1 + (index == 0))
                place += 1
        net.conv(str(place), 8, 1)
        return net.model()

    space = latprof.space_from_function(
        listed, [(1, 2, 3)] * 3 + [(4, 8, 12)] * 3, (3, 16, 16), name="listed"
    )
    parts = {part.decisions for part in space.parts}
    assert parts == {(0, 3), (1, 4), (2, 5), (3,), (3, 4), (4, 5), (5,)}
    for architecture in space.sample(20):
        graph = fuse(read_network(space.onnx_bytes(architecture)))
        own, built = (
            sorted((op.kind, op.input_shapes, op.output_shapes) for op in operators)
            for operators in (space.operators(architecture), graph.operators)
        )
        assert own == built


def test_models_are_onnx_models():
    onnx.checker.check_model(WIDTHS.build_onnx(WIDTHS.sample(1)[0]), full_check=True)


def test_what_was_compared_is_kept_until_the_source_changes(cache):
    built = []

    def counted(widths):
        built.append(widths)
        return widths_of(widths)

    def made():
        return latprof.space_from_function(counted, [(4, 8)] * 3, (3, 16, 16))

    first = made()
    parts = first.parts
    count = len(built)
    assert count >= 4
    again = made()
    assert again.parts == parts
    architecture = again.sample(1)[0]
    assert again.blocks(architecture) == first.blocks(architecture)
    assert len(built) == count
    (file,) = cache.iterdir()
    for damage in (b"", b"{}", b"[1]", file.read_bytes().replace(b"layer0", b"layer9", 1)):
        before = len(built)
        file.write_bytes(damage)
        assert made().parts == parts
        assert len(built) > before
