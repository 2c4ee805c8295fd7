"""The supernet: what a path computes, what gets gradients, and what memory a step takes."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import latprof
from latprof.datasets import ChainSpace, Layer, Place, convolution_block
from latprof.datasets.spaces.fbnet import FBNetSpace
from latprof.datasets.spaces.mnasnet import MnasNetSpace
from latprof.datasets.spaces.nasbench201 import NASBench201Space
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.datasets.spaces.proxyless import (
    MOBILE_WIDTHS,
    MOBILENET_V2_WIDTHS,
    SEARCH_WIDTHS,
    ProxylessSpace,
)
from latprof.datasets.spaces.proxyless_cifar import ProxylessCifarSpace
from latprof.errors import InvalidValueError
from latprof.searchers.supernets.supernet import Mixture, Supernet, proxy_space


class OwnChain(ChainSpace):
    """As a user writes one."""

    name = "own-chain"

    def __init__(self, resolution: int = 8, num_classes: int = 3) -> None:
        self.resolution, self.num_classes = resolution, num_classes

    @property
    def candidates(self):
        return (("w4", "w8", "w12"),) * 2

    @property
    def candidate_blocks(self):
        places = (Place("one", 0, 8, 8, 4), Place("two", 1, 8, 16, 4, 2))
        return tuple(tuple(self.block(place, width) for width in (4, 8, 12)) for place in places)

    @staticmethod
    def block(place, width):
        first = Layer(f"{place.name}.first", place.in_channels, width, 3, place.stride)
        last = Layer(f"{place.name}.last", width, place.out_channels, 1, activation=None)
        return place.block(f"w{width}", (first, last), kernel=3, residual=place.keeps_shape)

    @property
    def fixed_blocks(self):
        stem = Place("stem", None, 3, 8, self.resolution, 2)
        last = Place("last", None, 16, 16, self.resolution // 4)
        return (convolution_block(stem, kernel=3),), (convolution_block(last, kernel=1),)


#: Chains of blocks, small: all parts of all of latprof's are there, and a user's own.
CHAINS = {
    "nasbench-macro": NASBenchMacroSpace(resolution=8, num_classes=3),
    "proxyless": ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=3),
    "fbnet": FBNetSpace(resolution=32, num_classes=3, head_width=16),
    "own": OwnChain(),
}
MACRO = CHAINS["nasbench-macro"]
PATH = [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(space, seed=1):
    """A supernet whose candidates are something: as they begin, most of them are 0."""
    net = Supernet(space, seed)
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data = 0.5 + torch.rand(module.weight.shape, generator=generator)
            module.bias.data = 0.1 * torch.randn(module.bias.shape, generator=generator)
    return net


@pytest.fixture(scope="module", params=CHAINS)
def chain(request):
    return trained(CHAINS[request.param])


@pytest.fixture
def net():
    return trained(MACRO)


def images(space, n=4, dtype=torch.float32):
    return torch.randn(n, *space.input_shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def by_hand(net, value, path):
    """One path, module after module: a function in place of a candidate's number will do too."""
    for decision, stage in zip(net.decisions, net.stages, strict=True):
        if decision is None:
            value = stage(value)
            continue
        chosen = path[decision]
        output = chosen(stage, value) if callable(chosen) else stage[chosen](value)
        beside = [net.shortcuts[str(decision)](value)] if str(decision) in net.shortcuts else []
        value = sum(beside, output)
    return net.head(value)


def saved_bytes(compute):
    """Bytes of the tensors that autograd keeps for the backward pass."""
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        compute()
    return sum(sizes)


def test_a_path_is_the_network_of_its_architecture(chain):
    """With its weights, and shortcuts that are 0, the space's own network gives the same."""
    space = chain.space
    # In double precision: the two lay their numbers out in memory in another order.
    chain = copy.deepcopy(chain).double()
    for weights in chain.shortcuts.parameters():
        weights.data.zero_()
    for row in space.sample_choices(3, seed=2):
        network = space.build_torch(space.architectures(row[None])[0]).double()
        active = [
            stage if decision is None else stage[int(row[decision])][0]
            for decision, stage in zip(chain.decisions, chain.stages, strict=True)
        ]
        for block, found in zip(network.blocks, active, strict=True):
            block.load_state_dict(found.state_dict(), strict=False)
        network.classifier.load_state_dict(chain.head[-1].state_dict())
        network.train()  # the batch's own statistics, as the supernet's
        with torch.no_grad():
            expected = network(images(space).double())
            found = chain(images(space).double(), row.tolist())
        assert found.shape == (4, 3)
        assert found.numpy() == pytest.approx(expected.numpy(), rel=1e-6, abs=1e-8)


def test_a_path_is_the_chain_of_its_modules_and_shared_shortcuts(chain):
    for row in chain.space.sample_choices(2, seed=6).tolist():
        with torch.no_grad():
            expected = by_hand(chain, images(chain.space), row)
            assert torch.equal(chain(images(chain.space), row), expected)


def test_shortcuts_stand_just_where_no_input_can_be_added():
    assert set(Supernet(MACRO).shortcuts) == {"0", "2", "5"}
    assert set(Supernet(CHAINS["proxyless"]).shortcuts) == {"0", "4", "8", "16"}


def test_other_paths_and_other_seeds_give_other_outputs(net):
    batch = images(MACRO)
    with torch.no_grad():
        output = net(batch, PATH)
        assert torch.equal(trained(MACRO, seed=1)(batch, PATH), output)
        assert not torch.allclose(trained(MACRO, seed=2)(batch, PATH), output)
        for decision in range(8):
            other = list(PATH)
            other[decision] = (PATH[decision] + 1) % 3
            assert not torch.allclose(net(batch, other), output)


def test_candidates_begin_as_nothing_beside_what_is_added_to_them():
    net = Supernet(MACRO)
    with torch.no_grad():
        outputs = [net(images(MACRO), path) for path in (PATH, [0] * 8, [1] * 8, [2] * 8)]
    assert all(torch.equal(output, outputs[0]) for output in outputs)
    assert outputs[0].std() > 0.1


def test_the_first_step_moves_what_is_nothing():
    net = Supernet(MACRO)
    net(images(MACRO), PATH).square().sum().backward()
    last = [m for m in net.stages[2][1].modules() if isinstance(m, torch.nn.BatchNorm2d)][-1]

    assert (last.weight == 0).all()
    assert (last.weight.grad != 0).any()


def test_normalisation_always_uses_the_batch(net):
    """Running statistics would be those of many architectures."""
    batch = images(MACRO)
    with torch.no_grad():
        output = net.train()(batch, PATH)
        net(3.0 * batch + 1.0, PATH)
        assert torch.equal(net.eval()(batch, PATH), output)
    assert not [name for name, _ in net.named_buffers() if "running" in name]


def test_a_mixture_is_the_weighted_sum_of_its_candidates(net):
    weights = torch.tensor([0.2, 0.5, 0.3])
    path = [*PATH[:7], Mixture((2, 0, 1), weights)]

    def mixed(stage, value):
        return 0.2 * stage[2](value) + 0.5 * stage[0](value) + 0.3 * stage[1](value)

    with torch.no_grad():
        expected = by_hand(net, images(MACRO), [*PATH[:7], mixed])
        assert torch.allclose(net(images(MACRO), path), expected, atol=1e-5)


def test_binary_gates_give_the_output_of_the_active_path(net):
    path = [Mixture(((c + 1) % 3, c), torch.tensor([0.0, 1.0])) for c in PATH]
    with torch.no_grad():
        assert torch.equal(net(images(MACRO), path), net(images(MACRO), PATH))


def test_in_a_weight_step_only_active_candidates_get_gradients(chain):
    path = chain.space.sample_choices(1, seed=3)[0].tolist()
    chain.freeze(False)
    chain.zero_grad(set_to_none=True)
    chain(images(chain.space), path).square().sum().backward()

    for decision, stage in zip(chain.decisions, chain.stages, strict=True):
        if decision is None:
            assert all(p.grad is not None for p in stage.parameters())
            continue
        for candidate, module in enumerate(stage):
            active = candidate == path[decision]
            assert all((p.grad is not None) == active for p in module.parameters())


def test_in_an_architecture_step_gates_get_gradients_and_weights_none(net):
    weights = torch.tensor([[1.0, 0.0]] * 8, requires_grad=True)
    net.freeze(True)
    path = [Mixture((c, (c + 1) % 3), row) for c, row in zip(PATH, weights, strict=True)]
    net(images(MACRO), path).square().sum().backward()

    assert all(p.grad is None for p in net.parameters())
    assert (weights.grad != 0).all()  # those of the inactive candidates as well


def test_an_inactive_gate_has_the_gradient_of_a_path_with_a_graph():
    """Without a graph inside the inactive candidate nothing is lost: finite differences agree."""
    net = trained(MACRO, seed=4).double()
    net.freeze(True)
    batch = images(MACRO, dtype=torch.float64)
    start = torch.tensor([[1.0, 0.0]] * 8, dtype=torch.float64)

    def loss(weights):
        path = [Mixture((c, (c + 1) % 3), row) for c, row in zip(PATH, weights, strict=True)]
        return net(batch, path).square().mean()

    weights = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(weights), weights)
    for decision in (0, 6):
        for gate in (0, 1):
            step = torch.zeros_like(start)
            step[decision, gate] = 1e-6
            numeric = (loss(start + step) - loss(start - step)).item() / 2e-6
            assert gradient[decision, gate].item() == pytest.approx(numeric, rel=1e-3, abs=1e-8)


def test_a_weight_step_saves_what_the_path_alone_does(net):
    batch = images(MACRO)
    heavy, light = [2] * 8, [0] * 8

    assert saved_bytes(lambda: net(batch, heavy)) == saved_bytes(lambda: by_hand(net, batch, heavy))
    assert saved_bytes(lambda: net(batch, light)) == saved_bytes(lambda: by_hand(net, batch, light))
    assert saved_bytes(lambda: net(batch, light)) < 0.5 * saved_bytes(lambda: net(batch, heavy))


def test_in_an_architecture_step_inactive_candidates_save_nothing_of_their_own(net):
    batch = images(MACRO)
    net.freeze(True)

    def saved(active, inactive):
        weights = torch.tensor([[1.0, 0.0]] * 8, requires_grad=True)
        path = [Mixture((active, inactive), row) for row in weights]
        return saved_bytes(lambda: net(batch, path))

    assert saved(0, 1) == saved(0, 2)  # of which one has more than twice the other's features
    assert saved(2, 1) > 1.5 * saved(1, 2)
    with torch.no_grad():
        mixture = [Mixture((1, 2), torch.ones(2))] * 8
        assert saved_bytes(lambda: net(batch, mixture)) == 0


@pytest.mark.parametrize(
    "space",
    [
        MnasNetSpace(),
        NASBench201Space(),
        OFAMobileNetV3Space(),
        ProxylessCifarSpace(blocks_per_stage=1, final_channels=64),
        latprof.space_from_function(
            lambda widths: torch.nn.Conv2d(3, widths[0], 3), [(4, 8)], (3, 8, 8), name="of-function"
        ),
    ],
    ids=lambda space: space.name,
)
def test_spaces_that_are_no_chain_are_refused(space):
    with pytest.raises(InvalidValueError, match=f"{space.name} is no chain"):
        Supernet(space)


@pytest.mark.parametrize(
    "space",
    [
        ProxylessSpace(),
        ProxylessSpace(MOBILE_WIDTHS),
        ProxylessSpace(MOBILENET_V2_WIDTHS, resolution=65),
        NASBenchMacroSpace(),
        FBNetSpace(),
    ],
    ids=lambda space: space.name,
)
def test_a_proxy_space_has_the_same_decisions_for_the_task_s_images(space):
    small: Any = proxy_space(space, (3, 32, 32), 7)

    assert type(small) is type(space)
    assert small.candidates == space.candidates
    assert small.input_shape == (3, 32, 32)
    assert small.num_classes == 7


@given(st.lists(st.sampled_from([8, 16, 24, 32, 40, 72, 80, 96, 320]), min_size=9, max_size=9))
def test_narrow_widths_are_equal_just_where_wide_ones_were(widths):
    space = ProxylessSpace(tuple(widths))
    small: Any = proxy_space(space, (3, 32, 32), 10)

    assert small.candidates == space.candidates
    assert max(small.widths) <= max(40, max(widths) // 4)


def test_proxyless_is_narrowed_only_for_much_smaller_images():
    wide: Any = proxy_space(ProxylessSpace(), (3, 112, 112), 10)
    assert wide.widths == SEARCH_WIDTHS
    small: Any = proxy_space(ProxylessSpace(), (3, 96, 96), 10)
    narrow = small.widths
    assert narrow[-1] == 160
    assert np.all(np.array(narrow) < SEARCH_WIDTHS)


def test_a_space_that_fits_stays_as_it_is():
    assert proxy_space(MACRO, (3, 8, 8), 3).description == MACRO.description


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 16)])
def test_images_that_no_space_takes_are_refused(shape):
    with pytest.raises(InvalidValueError, match="square"):
        proxy_space(NASBenchMacroSpace(), shape, 10)


def test_a_space_without_a_variant_for_other_images_is_refused():
    with pytest.raises(InvalidValueError, match="no variant"):
        proxy_space(OFAMobileNetV3Space(), (3, 32, 32), 10)
