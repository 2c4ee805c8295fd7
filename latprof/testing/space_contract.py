"""The contract suite of search spaces: subclass it in your own tests.

::

    class TestMySpace(SpaceContract):
        @pytest.fixture
        def space(self):
            return MySpace(resolution=32)  # small images keep the suite quick
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
import pytest

from latprof.common import telemetry
from latprof.datasets.models.steps import Activate, Zeroize
from latprof.datasets.spaces.base import Architecture, Choices, Part, SearchSpace
from latprof.errors import InvalidValueError
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network

if TYPE_CHECKING:
    from latprof.graph.operators import Operator

telemetry.switch_off()
import onnxruntime  # noqa: E402 - telemetry is off now

_NORMALISATIONS: tuple[Literal["folded", "kept"], ...] = ("folded", "kept")


class SpaceContract:
    """What :class:`latprof.datasets.spaces.base.SearchSpace` promises, as tests for pytest.

    A subclass gives the fixture ``space``. The tests of torch models are skipped where torch is not
    installed.
    """

    @pytest.fixture
    def space(self) -> SearchSpace:
        """The space under test."""
        raise NotImplementedError("the subclass gives the fixture `space`")

    @pytest.fixture
    def choices(self, space: SearchSpace) -> Choices:
        """Up to 40 that are allowed, inactive decisions drawn too; shape (n, decisions)."""
        uniform = np.random.default_rng(0).random((4000, len(space.num_choices)))
        drawn = (uniform * space.num_choices).astype(np.uint8)
        return drawn[space.allowed(drawn)][:40]

    # Identity ------------------------------------------------------------------------------

    def test_the_description_makes_the_space_again(self, space: SearchSpace) -> None:
        stated = json.loads(space.description)
        again = type(space)(**stated["options"])

        assert stated["name"] == space.name != ""
        assert again.description == space.description
        assert again.candidates == space.candidates
        assert again.input_shape == space.input_shape

    def test_a_spelling_is_read_as_the_architecture(self, space: SearchSpace) -> None:
        for architecture in space.sample(min(5, space.num_architectures), seed=9):
            assert space.parse(str(architecture)) == architecture
            assert architecture.space == space.name

    def test_candidates_have_names_of_their_own(self, space: SearchSpace) -> None:
        assert len(space.candidates) == len(space.num_choices) > 0
        for names in space.candidates:
            assert len(set(names)) == len(names) > 0

    # Decisions and parts -------------------------------------------------------------------

    def test_parts_and_what_is_fixed_are_the_whole_network(
        self, space: SearchSpace, choices: Choices
    ) -> None:
        fixed = set()
        for architecture in space.architectures(choices[:12]):
            blocks = space.blocks(architecture)
            for index, part in enumerate(space.parts):
                mine = tuple(block for block in blocks if block.position == index)
                assert space.part_blocks(index, _local(part, architecture)) == mine
            assert {block.position for block in blocks} <= {None, *range(len(space.parts))}
            fixed.add(tuple(block for block in blocks if block.position is None))

        assert len(fixed) == 1

    def test_parts_have_names_and_decisions_of_their_own(self, space: SearchSpace) -> None:
        names = [part.name for part in space.parts]
        decisions = [part.decisions for part in space.parts]

        assert len(set(names)) == len(names)
        assert {d for row in decisions for d in row} == set(range(len(space.num_choices)))
        for row in decisions:
            assert len(set(row)) == len(row) > 0

    def test_choices_that_are_none_of_a_part_are_refused(self, space: SearchSpace) -> None:
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

    def test_architectures_that_are_none_of_the_space_are_refused(self, space: SearchSpace) -> None:
        zeros = np.zeros((2, len(space.num_choices)), dtype=np.int64)
        beyond = zeros.copy()
        beyond[1, 0] = space.num_choices[0]

        for wrong in (zeros[:, :-1], zeros - 1, beyond, zeros.astype(np.float64), zeros[0]):
            with pytest.raises(InvalidValueError):
                space.choices(wrong)
        with pytest.raises(InvalidValueError):
            space.choices([Architecture("another space", tuple(zeros[0].tolist()))])

    def test_canonical_choices_are_the_same_network_and_stay_as_they_are(
        self, space: SearchSpace, choices: Choices
    ) -> None:
        canonical = space.canonical(choices)

        assert canonical.dtype == np.uint8
        assert space.allowed(canonical).all()
        assert np.array_equal(space.canonical(canonical), canonical)
        assert np.array_equal(space.active(canonical), space.active(choices))
        assert np.array_equal(np.where(space.active(choices), choices, 0), canonical)
        pairs = zip(space.architectures(choices), space.architectures(canonical), strict=True)
        for one, other in itertools.islice(pairs, 10):
            assert space.blocks(one) == space.blocks(other)

    def test_pruned_choices_are_canonical_and_stay_as_they_are(
        self, space: SearchSpace, choices: Choices
    ) -> None:
        pruned = space.pruned(choices)

        assert pruned.dtype == np.uint8
        assert np.array_equal(space.canonical(pruned), pruned)
        assert np.array_equal(space.pruned(pruned), pruned)
        assert np.array_equal(space.pruned(space.canonical(choices)), pruned)

    def test_changing_an_active_decision_changes_the_network(self, space: SearchSpace) -> None:
        choices = space.sample_choices(min(3, space.num_architectures), seed=2)

        for row, active in zip(choices, space.active(choices), strict=True):
            before = space.blocks(space.architectures(row[None])[0])
            for decision in np.flatnonzero(active & (space.num_choices > 1))[:60]:
                other = row.copy()
                other[decision] = (other[decision] + 1) % space.num_choices[decision]
                if not space.allowed(other[None])[0]:
                    continue
                assert space.blocks(space.architectures(other[None])[0]) != before

    def test_samples_are_distinct_networks_and_repeat(self, space: SearchSpace) -> None:
        n = min(500, space.num_architectures)
        choices = space.sample_choices(n, seed=3)

        assert len(np.unique(choices, axis=0)) == n
        assert np.array_equal(space.canonical(choices), choices)
        assert space.allowed(choices).all()
        few = min(20, n)
        assert np.array_equal(space.sample_choices(few, seed=3), choices[:few])
        if n > few:
            assert not np.array_equal(space.sample_choices(few, seed=4), choices[:few])

    def test_encodings_are_one_hot_where_a_decision_is_active(
        self, space: SearchSpace, choices: Choices
    ) -> None:
        encoded = space.encode(choices)

        assert encoded.dtype == np.float32
        assert encoded.shape == (len(choices), int(space.num_choices.sum()))
        owners = np.repeat(np.arange(len(space.num_choices)), space.num_choices)
        hot = [encoded[:, owners == d].sum(axis=1) for d in range(len(space.num_choices))]
        assert np.array_equal(np.stack(hot).T, space.active(choices).astype(np.float32))
        assert np.array_equal(space.encode(space.canonical(choices)), encoded)

    # Blocks and operators ------------------------------------------------------------------

    def test_blocks_fit_together(self, space: SearchSpace) -> None:
        for architecture in space.sample(min(6, space.num_architectures), seed=5):
            shapes: dict[str, tuple[int, int]] = {}
            channels, height, width = space.image_shape(architecture)
            assert height == width
            shape = (channels, height)
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

    def test_a_key_stands_for_one_cost(self, space: SearchSpace) -> None:
        costs: dict[str, object] = {}
        for index, part in enumerate(space.parts):
            sizes = [range(int(space.num_choices[decision])) for decision in part.decisions]
            combinations = list(itertools.product(*sizes))
            for local in combinations[:: max(1, len(combinations) // 100)]:
                for block in space.part_blocks(index, local):
                    operators = block.operators()
                    work = [(op.kind, op.input_shapes, op.output_shapes) for op in operators]
                    assert costs.setdefault(block.key, work) == work

    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_operators_are_those_of_the_graph(self, space: SearchSpace, batch_size: int) -> None:
        for architecture in space.sample(min(3, space.num_architectures), seed=6):
            model = space.build_onnx(architecture, batch_size=batch_size, batch_norm="kept")

            onnx.checker.check_model(model, full_check=True)
            read = fuse(read_network(model))

            listed = space.operators(architecture, batch_size)
            if any(isinstance(s, Activate) for b in space.blocks(architecture) for s in b.layers):
                # Which other block's operator takes an activation in depends on who reads it.
                assert _without_activations(read.operators) == _without_activations(listed)
            else:
                assert read.operators == listed
            assert read.parameters == space.parameters(architecture)
            assert read.macs == batch_size * space.macs(architecture)
            assert read.inputs == (("input", (batch_size, *space.image_shape(architecture))),)

    def test_folded_models_do_the_same_work(self, space: SearchSpace) -> None:
        for architecture in space.sample(min(2, space.num_architectures), seed=7):
            model = space.build_onnx(architecture)
            read, listed = (
                [(op.name, op.kind, op.macs) for op in _without_activations(operators)]
                for operators in (
                    fuse(read_network(model)).operators,
                    space.operators(architecture),
                )
            )

            assert read == listed

    def test_a_recognised_model_is_its_architecture(self, space: SearchSpace) -> None:
        for architecture in space.sample(min(2, space.num_architectures), seed=10):
            found = space.recognize(read_network(space.build_onnx(architecture)))
            # Or another that is the same network: a skipped block leaves no trace of its place.
            assert found is None or _convolutions(space, found) == _convolutions(
                space, architecture
            )

    # Models --------------------------------------------------------------------------------

    def test_the_seed_makes_the_weights(self, space: SearchSpace) -> None:
        architecture = space.sample(1, seed=8)[0]

        content = space.onnx_bytes(architecture, seed=1)

        assert space.onnx_bytes(architecture, seed=1) == content
        assert space.onnx_bytes(architecture, seed=2) != content

    @pytest.mark.usefixtures("one_torch_thread")
    def test_onnx_and_torch_compute_the_same(self, space: SearchSpace) -> None:
        for seed, architecture in enumerate(space.sample(min(3, space.num_architectures), seed=8)):
            images = _images(space, architecture, seed)
            contents = [
                space.onnx_bytes(architecture, batch_size=2, seed=seed, batch_norm=norm)
                for norm in _NORMALISATIONS
            ]
            folded, kept = (_run(content, images) for content in contents)
            output, parameters = _run_torch(space, architecture, images, seed)

            assert np.abs(folded - output).max() / output.std() < 1e-4
            assert np.abs(kept - output).max() / output.std() < 1e-4
            assert parameters == space.parameters(architecture)

    def test_the_image_matters(self, space: SearchSpace) -> None:
        for seed, architecture in enumerate(space.sample(min(3, space.num_architectures), seed=8)):
            layers = [step for block in space.blocks(architecture) for step in block.layers]
            if any(isinstance(step, Zeroize) for step in layers):
                continue  # a zeroed path may cut the image off
            images = _images(space, architecture, seed)
            output = _run(space.onnx_bytes(architecture, batch_size=2, seed=seed), images)

            assert output.std() > 0.05
            assert np.abs(output[0] - output[1]).max() > 0.02 * output.std()

    @pytest.fixture
    def one_torch_thread(self) -> Iterator[None]:
        """One thread: with more, busy cores make small networks wait for each other."""
        torch = pytest.importorskip("torch")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


def _local(part: Part, architecture: Architecture) -> tuple[int, ...]:
    return tuple(architecture.choices[decision] for decision in part.decisions)


def _without_activations(operators: Sequence[Operator]) -> list[Operator]:
    return [op for op in operators if op.kind != "activation"]


def _images(space: SearchSpace, architecture: Architecture, seed: int) -> np.ndarray:
    shape = (2, *space.image_shape(architecture))
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _run(content: bytes, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"input": images})[0]
    return output


def _run_torch(
    space: SearchSpace, architecture: Architecture, images: np.ndarray, seed: int
) -> tuple[np.ndarray, int]:
    """The torch model's output, and its number of parameters."""
    import torch

    module = space.build_torch(architecture, seed=seed)
    with torch.no_grad():
        output: np.ndarray = module(torch.from_numpy(images)).numpy()
    return output, sum(parameter.numel() for parameter in module.parameters())


def _convolutions(space: SearchSpace, architecture: Architecture) -> list[tuple[object, ...]]:
    return [
        (op.kind, op.stride, op.weight_shape, op.output_shapes)
        for op in space.operators(architecture)
    ]
