"""Search spaces that each break one requirement; ``breaks`` names the tests that must say so."""

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from latprof.datasets.models.layers import Block
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError
from latprof.testing.space_contract import SpaceContract


class Broken(SpaceContract):
    Made: Any

    @pytest.fixture
    def space(self):
        return self.Made((8,) * 9, 32, 10)


class TestOptionsLost(Broken):
    breaks = ("test_the_description_makes_the_space_again",)

    class Made(ProxylessSpace):
        @property
        def options(self):
            options = dict(super().options)
            del options["resolution"]
            return options


class TestReadsAnother(Broken):
    breaks = ("test_a_spelling_is_read_as_the_architecture",)

    class Made(ProxylessSpace):
        def parse(self, text):
            found = super().parse(text)
            return dataclasses.replace(found, choices=found.choices[::-1])


class TestSameNames(Broken):
    breaks = ("test_candidates_have_names_of_their_own",)

    class Made(ProxylessSpace):
        @property
        def candidates(self):
            return tuple(("block",) * len(names) for names in super().candidates)


class TestPartsWithoutBlocks(Broken):
    breaks = ("test_parts_and_what_is_fixed_are_the_whole_network",)

    class Made(ProxylessSpace):
        def part_blocks(self, part, local_choices):
            self.check_part(part, local_choices)
            return ()


class TestPartsOfOneName(Broken):
    breaks = ("test_parts_have_names_and_decisions_of_their_own",)

    class Made(ProxylessSpace):
        @property
        def parts(self):
            return tuple(dataclasses.replace(part, name="part") for part in super().parts)


class TestAnyPart(Broken):
    breaks = ("test_choices_that_are_none_of_a_part_are_refused",)

    class Made(ProxylessSpace):
        def part_blocks(self, part, local_choices):
            try:
                return super().part_blocks(part, local_choices)
            except InvalidValueError:
                return ()


class TestAnyArchitecture(Broken):
    breaks = ("test_architectures_that_are_none_of_the_space_are_refused",)

    class Made(ProxylessSpace):
        def choices(self, architectures):
            try:
                return super().choices(architectures)
            except InvalidValueError:
                return np.zeros((1, len(self.num_choices)), dtype=np.uint8)


class TestCanonicalMoves(Broken):
    breaks = ("test_canonical_choices_are_the_same_network_and_stay_as_they_are",)

    class Made(ProxylessSpace):
        def canonical(self, choices):
            return ((choices + 1) % self.num_choices).astype(np.uint8)


class TestDecisionWithoutEffect(Broken):
    breaks = ("test_changing_an_active_decision_changes_the_network",)

    class Made(ProxylessSpace):
        def blocks(self, architecture):
            first = (0, *architecture.choices[1:])
            return super().blocks(dataclasses.replace(architecture, choices=first))


class TestRepeatedSamples(Broken):
    breaks = ("test_samples_are_distinct_networks_and_repeat",)

    class Made(ProxylessSpace):
        def sample_choices(self, n, seed=0):
            return np.repeat(super().sample_choices(1, seed), n, axis=0)


class TestSeedWithoutEffect(Broken):
    breaks = ("test_samples_are_distinct_networks_and_repeat",)

    class Made(ProxylessSpace):
        def sample_choices(self, n, seed=0):
            return super().sample_choices(n)


class TestNotOneHot(Broken):
    breaks = ("test_encodings_are_one_hot_where_a_decision_is_active",)

    class Made(ProxylessSpace):
        def encode(self, architectures):
            return np.ones_like(super().encode(architectures))


class TestBlocksOutOfOrder(Broken):
    breaks = ("test_blocks_fit_together",)

    class Made(ProxylessSpace):
        def blocks(self, architecture):
            return super().blocks(architecture)[::-1]


class OneKey(Block):
    key = "one for all"


class TestOneKey(Broken):
    breaks = ("test_a_key_stands_for_one_cost",)

    class Made(ProxylessSpace):
        def part_blocks(self, part, local_choices):
            return tuple(
                OneKey(**vars(block)) for block in super().part_blocks(part, local_choices)
            )


class TestOperatorMissing(Broken):
    breaks = (
        "test_operators_are_those_of_the_graph",
        "test_folded_models_do_the_same_work",
    )

    class Made(ProxylessSpace):
        def operators(self, architecture, batch_size=1):
            return super().operators(architecture, batch_size)[:-1]


class TestRecognisesAnother(Broken):
    breaks = ("test_a_recognised_model_is_its_architecture",)

    class Made(ProxylessSpace):
        def recognize(self, network):
            return self.sample(1, seed=99)[0]


class TestSameWeights(Broken):
    breaks = ("test_the_seed_makes_the_weights",)

    class Made(ProxylessSpace):
        def onnx_bytes(self, architecture, *, seed=0, **options):
            return super().onnx_bytes(architecture, seed=0, **options)


class TestTorchDiffers(Broken):
    breaks = ("test_onnx_and_torch_compute_the_same",)

    class Made(ProxylessSpace):
        def build_torch(self, architecture, *, seed=0):
            return super().build_torch(architecture, seed=seed + 1)


class TestImageIgnored(Broken):
    breaks = ("test_the_image_matters",)

    class Made(ProxylessSpace):
        def onnx_bytes(self, architecture, **options):
            model = onnx.load_model_from_string(super().onnx_bytes(architecture, **options))
            first = model.graph.node[0].input[1]  # the weights of the stem
            for tensor in model.graph.initializer:
                if tensor.name == first:
                    zeros = np.zeros_like(numpy_helper.to_array(tensor))
                    tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
            return model.SerializeToString()


class TestPrunedAgain(Broken):
    breaks = ("test_pruned_choices_are_canonical_and_stay_as_they_are",)

    class Made(ProxylessSpace):
        def pruned(self, choices):
            other = super().pruned(choices).copy()
            other[:, 0] = (other[:, 0] + 1) % self.num_choices[0]
            return other
