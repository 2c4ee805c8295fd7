"""What every search space promises: parts, canonical choices, encodings, and equal models."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest

from latprof.datasets.models.steps import Activate, Zeroize
from latprof.datasets.spaces.named import get_space, space_from_description, space_names
from latprof.errors import InvalidValueError
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network

#: Options that make networks small and quick to run.
SMALL = {
    "fbnet": {"resolution": 64, "num_classes": 10, "head_width": 64},
    "mnasnet": {"resolution": 64, "num_classes": 10},
    "nasbench-macro": {"resolution": 16},
    "nasbench201": {"resolution": 16, "cells_per_stage": 2, "channels": 8},
    "ofa-mobilenetv3": {"num_classes": 10, "resolutions": (64, 96)},
    "proxyless-cifar": {"blocks_per_stage": 1, "final_channels": 96, "resolution": 16},
    "proxyless": {"resolution": 64, "num_classes": 10},
}
SPACES = {name: get_space(name, **SMALL.get(name, {})) for name in space_names()}


@pytest.fixture(params=sorted(SPACES), scope="module")
def space(request):
    return SPACES[request.param]


def _random_choices(space, n, seed=0):
    """Uniform choices, inactive decisions drawn too."""
    uniform = np.random.default_rng(seed).random((n, len(space.num_choices)))
    return (uniform * space.num_choices).astype(np.uint8)


def _local(part, architecture):
    return tuple(architecture.choices[decision] for decision in part.decisions)


def _run(content, values):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": values})[0]


def _without_activations(operators):
    return [op for op in operators if op.kind != "activation"]


def test_every_space_is_small_here():
    assert set(SMALL) == set(space_names())


def test_a_space_is_rebuilt_from_its_description(space):
    rebuilt = space_from_description(space.description)

    assert type(rebuilt) is type(space)
    assert rebuilt.description == space.description
    assert rebuilt.candidates == space.candidates


def test_parts_and_what_is_fixed_are_the_whole_network(space):
    fixed = set()
    for architecture in space.architectures(_random_choices(space, 12)):
        blocks = space.blocks(architecture)
        for index, part in enumerate(space.parts):
            mine = tuple(block for block in blocks if block.position == index)
            assert space.part_blocks(index, _local(part, architecture)) == mine
        assert {block.position for block in blocks} <= {None, *range(len(space.parts))}
        fixed.add(tuple(block for block in blocks if block.position is None))

    assert len(fixed) == 1


def test_parts_have_names_and_decisions_of_their_own(space):
    names = [part.name for part in space.parts]
    decisions = [part.decisions for part in space.parts]

    assert len(set(names)) == len(names)
    assert {d for row in decisions for d in row} == set(range(len(space.num_choices)))
    for row in decisions:
        assert len(set(row)) == len(row) > 0


def test_choices_that_are_none_of_a_part_are_refused(space):
    sizes = [int(space.num_choices[decision]) for decision in space.parts[0].decisions]
    first = (0,) * len(sizes)

    for part, local in (
        (0, (*first, 0)),
        (0, (sizes[0], *first[1:])),
        (0, (-1, *first[1:])),
        (len(space.parts), first),
        (-1, first),
    ):
        with pytest.raises(InvalidValueError):
            space.part_blocks(part, local)


def test_canonical_choices_are_the_same_network_and_stay_as_they_are(space):
    choices = _random_choices(space, 40, seed=1)

    canonical = space.canonical(choices)

    assert canonical.dtype == np.uint8
    assert np.array_equal(space.canonical(canonical), canonical)
    assert np.array_equal(space.active(canonical), space.active(choices))
    assert not canonical[~space.active(choices)].any()
    assert np.array_equal(np.where(space.active(choices), choices, 0), canonical)
    pairs = zip(space.architectures(choices), space.architectures(canonical), strict=True)
    for one, other in itertools.islice(pairs, 10):
        assert space.blocks(one) == space.blocks(other)


def test_changing_an_active_decision_changes_the_network(space):
    choices = space.sample_choices(3, seed=2)

    for row, active in zip(choices, space.active(choices), strict=True):
        before = space.blocks(space.architectures(row[None])[0])
        for decision in np.flatnonzero(active)[:60]:
            other = row.copy()
            other[decision] = (other[decision] + 1) % space.num_choices[decision]
            assert space.blocks(space.architectures(other[None])[0]) != before


def test_samples_are_distinct_networks_and_repeat(space):
    choices = space.sample_choices(500, seed=3)

    assert len(np.unique(choices, axis=0)) == 500
    assert np.array_equal(space.canonical(choices), choices)
    assert np.array_equal(space.sample_choices(20, seed=3), choices[:20])
    assert space.num_architectures >= 500


def test_encodings_are_one_hot_where_a_decision_is_active(space):
    choices = _random_choices(space, 30, seed=4)

    encoded = space.encode(choices)

    assert encoded.dtype == np.float32
    assert encoded.shape == (30, int(space.num_choices.sum()))
    owners = np.repeat(np.arange(len(space.num_choices)), space.num_choices)
    hot = np.stack([encoded[:, owners == d].sum(axis=1) for d in range(len(space.num_choices))])
    assert np.array_equal(hot.T, space.active(choices).astype(np.float32))
    assert np.array_equal(space.encode(space.canonical(choices)), encoded)


def test_blocks_fit_together(space):
    for architecture in space.sample(6, seed=5):
        shapes = {}
        shape = (space.image_shape(architecture)[0], space.image_shape(architecture)[1])
        for block in space.blocks(architecture):
            for name in block.inputs:
                assert shapes[name] == (block.in_channels, block.in_size)
            if not block.inputs:
                assert shape == (block.in_channels, block.in_size)
            size = block.in_size
            for step in block.layers:
                size = step.output_size(size)
            assert size == block.out_size
            shape = (block.out_channels, block.out_size)
            assert block.name not in shapes
            shapes[block.name] = shape
            assert not block.residual or (block.in_channels, block.in_size) == shape


def test_keys_tell_apart_what_costs_differently(space):
    costs = {}
    for index, part in enumerate(space.parts):
        sizes = [range(int(space.num_choices[decision])) for decision in part.decisions]
        combinations = list(itertools.product(*sizes))
        for local in combinations[:: max(1, len(combinations) // 100)]:
            for block in space.part_blocks(index, local):
                work = [(op.kind, op.input_shapes, op.output_shapes) for op in block.operators()]
                assert costs.setdefault(block.key, work) == work


@pytest.mark.parametrize("batch_size", [1, 2])
def test_operators_are_those_of_the_graph(space, batch_size):
    for architecture in space.sample(3, seed=6):
        model = space.build_onnx(architecture, batch_size=batch_size, batch_norm="kept")

        onnx.checker.check_model(model, full_check=True)
        read = fuse(read_network(model))

        listed = space.operators(architecture, batch_size)
        if any(isinstance(s, Activate) for b in space.blocks(architecture) for s in b.layers):
            # Which other block's operator takes an activation in depends on who else reads it.
            assert _without_activations(read.operators) == _without_activations(listed)
        else:
            assert read.operators == listed
        assert read.parameters == space.parameters(architecture)
        assert read.macs == batch_size * space.macs(architecture)
        assert read.inputs == (("input", (batch_size, *space.image_shape(architecture))),)


def test_folded_models_do_the_same_work(space):
    for architecture in space.sample(2, seed=7):
        read, listed = (
            [(op.name, op.kind, op.macs) for op in _without_activations(operators)]
            for operators in (
                fuse(read_network(space.build_onnx(architecture))).operators,
                space.operators(architecture),
            )
        )

        assert read == listed


def test_onnx_and_torch_compute_the_same_and_the_image_matters(space, request):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with more, busy cores make small networks wait for each other
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    for seed, architecture in enumerate(space.sample(3, seed=8)):
        shape = (2, *space.image_shape(architecture))
        images = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)

        folded, kept = (
            _run(
                space.onnx_bytes(architecture, batch_size=2, seed=seed, batch_norm=batch_norm),
                images,
            )
            for batch_norm in ("folded", "kept")
        )
        module = space.build_torch(architecture, seed=seed)
        with torch.no_grad():
            output = module(torch.from_numpy(images)).numpy()

        assert output.std() > 0.05
        assert np.abs(folded - output).max() / output.std() < 1e-4
        assert np.abs(kept - output).max() / output.std() < 1e-4
        assert sum(p.numel() for p in module.parameters()) == space.parameters(architecture)
        zeroed = any(isinstance(s, Zeroize) for b in space.blocks(architecture) for s in b.layers)
        if not zeroed:  # a zeroed path may cut the image off
            assert np.abs(output[0] - output[1]).max() > 0.02 * output.std()
