"""Mixed precision: every block in float32 or int8, seen by models, keys and predictors."""

import itertools
import math

import numpy as np
import onnx
import onnxruntime
import pytest

from latprof.datasets.spaces.fbnet import FBNetSpace
from latprof.datasets.spaces.named import get_space, space_from_description, space_names
from latprof.datasets.spaces.nasbench201 import NASBench201Space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.datasets.spaces.variants.mixed_precision import MixedPrecisionSpace
from latprof.errors import InvalidValueError, UnknownNameError
from latprof.graph.reader import read_network
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.models.by_name import make_predictor, predictor_names

BASES = {
    "fbnet": FBNetSpace(resolution=64, num_classes=10, head_width=64),
    "nasbench-macro": NASBenchMacroSpace(resolution=16),
    "nasbench201": NASBench201Space(resolution=16, cells_per_stage=1, channels=8),
    "proxyless": ProxylessSpace(widths=(8,) * 9, resolution=64, num_classes=10),
}
SPACE = MixedPrecisionSpace(BASES["proxyless"])


@pytest.fixture(params=sorted(BASES), scope="module")
def space(request):
    return MixedPrecisionSpace(BASES[request.param])


def convolutions(space, architecture, precision):
    return {
        operator.name
        for block in space.blocks(architecture)
        if block.precision == precision
        for operator in block.operators()
        if operator.op_type == "Conv"
    }


def quantized_convolutions(content):
    nodes = onnx.load_model_from_string(content).graph.node
    integers = {v for n in nodes if n.op_type == "DequantizeLinear" for v in n.output}
    return {n.name for n in nodes if n.op_type == "Conv" and n.input[1] in integers}


def output(content, images):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": images})[0].ravel()


def test_candidates_with_convolutions_come_again_in_int8():
    for names, own in zip(SPACE.candidates, SPACE.base.candidates, strict=True):
        assert names[: len(own)] == own
        assert names[len(own) :] == tuple(f"{name}_int8" for name in own if name != "Zero")
    assert len(SPACE.candidates[1]) == 13
    assert SPACE.num_architectures == math.prod(map(len, SPACE.candidates))


def test_it_is_rebuilt_from_its_description(space):
    rebuilt = space_from_description(space.description)

    assert isinstance(rebuilt, MixedPrecisionSpace)
    assert rebuilt.description == space.description
    assert rebuilt.base.description == space.base.description
    assert rebuilt.candidates == space.candidates
    named = get_space("mixed-precision", base="proxyless")
    assert named.description == MixedPrecisionSpace(ProxylessSpace()).description


def test_it_is_made_of_a_space_whose_blocks_are_one_decision_each():
    for base in ("mnasnet", "ofa-mobilenetv3", SPACE, {"name": "mixed-precision"}, {"x": 1}, 3):
        with pytest.raises(InvalidValueError):
            MixedPrecisionSpace(base)
    with pytest.raises(InvalidValueError):
        MixedPrecisionSpace({"name": "proxyless", "options": {"name": "fbnet"}})
    with pytest.raises(UnknownNameError):
        MixedPrecisionSpace("no-such-space")
    made = get_space("mixed-precision")
    assert isinstance(made, MixedPrecisionSpace)
    assert made.base.description == ProxylessSpace().description
    assert "mixed-precision" in space_names()


def test_parts_are_the_whole_network(space):
    for architecture in space.sample(6):
        blocks = space.blocks(architecture)
        for index, part in enumerate(space.parts):
            mine = tuple(block for block in blocks if block.position == index)
            local = tuple(architecture.choices[decision] for decision in part.decisions)
            assert space.part_blocks(index, local) == mine
    with pytest.raises(InvalidValueError):
        space.part_blocks(0, (99,))


def test_every_architecture_is_another_network(space):
    for part, row in enumerate(space.candidates):
        found = [space.part_blocks(part, (choice,)) for choice in range(len(row))]
        assert all(one != other for one, other in itertools.combinations(found, 2))


def test_keys_and_kinds_tell_precisions_apart(space):
    costs = {}
    for part, row in enumerate(space.candidates):
        for choice in range(len(row)):
            for block in space.part_blocks(part, (choice,)):
                work = [(op.kind, op.input_shapes, op.output_shapes) for op in block.operators()]
                assert costs.setdefault(block.key, work) == work
    assert any(key.endswith("-precision:int8") for key in costs)
    names = space_tables(space).total_names
    assert {"macs conv1x1", "macs conv1x1 int8", "elements conv", "elements conv int8"} <= set(
        names
    )


def test_work_is_that_of_the_other_space(space):
    architecture = space.sample(1, seed=3)[0]
    base = space.base_architecture(architecture)

    assert any(space.in_int8(architecture))
    assert space.macs(architecture) == space.base.macs(base)
    assert space.parameters(architecture) == space.base.parameters(base)


def test_exactly_the_blocks_in_int8_are_quantized(space):
    architecture = space.sample(1, seed=4)[0]
    content = space.onnx_bytes(architecture)
    floats = space.base.onnx_bytes(space.base_architecture(architecture))
    images = np.random.default_rng(1).standard_normal((1, *space.input_shape), dtype=np.float32)

    assert quantized_convolutions(content) == convolutions(space, architecture, "int8")
    assert convolutions(space, architecture, "int8")
    found, expected = output(content, images), output(floats, images)
    assert expected.std() > 0.05
    assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > 0.97


def test_without_int8_it_is_the_other_spaces_network():
    base = BASES["proxyless"].sample(1)[0]
    architecture = SPACE.parse(",".join(map(str, base.choices)))

    assert SPACE.blocks(architecture) == SPACE.base.blocks(base)
    assert SPACE.base_architecture(architecture) == base
    for norm in ("folded", "kept"):
        assert SPACE.onnx_bytes(architecture, batch_norm=norm) == SPACE.base.onnx_bytes(
            base, batch_norm=norm
        )
    network = read_network(SPACE.onnx_bytes(architecture))
    recognized = SPACE.recognize(network)
    assert recognized.space == SPACE.name
    assert recognized.choices == SPACE.base.recognize(network).choices


def test_what_is_quantized_is_not_recognized_and_has_its_normalization_folded():
    architecture = SPACE.sample(1)[0]

    assert SPACE.recognize(read_network(SPACE.onnx_bytes(architecture))) is None
    with pytest.raises(InvalidValueError, match="folded"):
        SPACE.onnx_bytes(architecture, batch_norm="kept")


def test_the_torch_module_is_in_float32():
    torch = pytest.importorskip("torch")
    architecture = SPACE.sample(1)[0]
    images = torch.zeros(1, *SPACE.input_shape)

    module, own = (
        space.build_torch(a, seed=2)
        for space, a in (
            (SPACE, architecture),
            (SPACE.base, SPACE.base_architecture(architecture)),
        )
    )
    assert torch.equal(module(images), own(images))


@pytest.mark.parametrize("name", predictor_names())
def test_predictors_learn_what_precision_saves(name):
    """Blocks cost what their work does, a third of it in int8, and changing between them a bit."""
    choices = SPACE.sample_choices(260, seed=5)
    latency = np.array([_latency_ms(a) for a in SPACE.architectures(choices)])
    latency *= np.random.default_rng(6).normal(1.0, 0.01, len(latency))
    train, test = slice(0, 200), slice(200, None)

    predictor = make_predictor(name, SPACE).fit(choices[train], latency[train])

    spread = latency[test].std()
    assert evaluate(predictor.predict(choices[test]), latency[test]).rmse_ms < 0.5 * spread
    flipped = choices[test].copy()
    sizes = SPACE.base.num_choices
    flipped[:, 3] = np.where(flipped[:, 3] < sizes[3] - 1, flipped[:, 3] + sizes[3], flipped[:, 3])
    faster = predictor.predict(choices[test]) - predictor.predict(flipped)
    changed = (flipped != choices[test]).any(axis=1)
    assert faster[changed].mean() > 0


def _latency_ms(architecture):
    blocks = SPACE.blocks(architecture)
    total = 0.3
    for before, block in itertools.pairwise(blocks):
        work = sum(op.macs for op in block.operators()) / 1e6 + 0.02 * len(block.layers)
        total += work / 3 if block.precision == "int8" else work
        total += 0.005 * (before.precision != block.precision)
    return total
