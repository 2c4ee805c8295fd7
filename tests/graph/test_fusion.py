"""Fusion: a built network becomes the operators that its search space lists."""

import pytest

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.graph.fusion import fuse
from latprof.graph.operators import Network, Operator
from latprof.graph.reader import read_network

SHAPE = (1, 4, 8, 8)


def _operator(op_type, reads, writes, shape=SHAPE, **more):
    return Operator(
        name=writes,
        op_type=op_type,
        input_shapes=(shape,) * len(reads.split()),
        output_shapes=(shape,),
        reads=tuple(reads.split()),
        writes=(writes,),
        **more,
    )


def _network(*operators, outputs=("y",)):
    return Network("n", operators, (("x", SHAPE),), tuple((name, SHAPE) for name in outputs))


def _conv(reads, writes):
    return _operator("Conv", reads, writes, weight_shape=(4, 4, 3, 3), parameters=144, kernel=3)


def _types(network):
    return [operator.op_type for operator in fuse(network).operators]


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
def test_a_built_network_fuses_to_its_spaces_operators(batch_norm):
    space = ProxylessSpace(resolution=96)
    for architecture in space.sample(5, seed=2):
        model = space.build_onnx(architecture, batch_size=2, batch_norm=batch_norm)

        found = fuse(read_network(model)).operators

        wanted = space.operators(architecture, batch_size=2)
        for mine, theirs in zip(found, wanted, strict=True):
            for name in ("name", "kind", "macs", "input_shapes", "output_shapes", "weight_shape"):
                assert getattr(mine, name) == getattr(theirs, name)
            assert (mine.kernel, mine.stride, mine.groups) == (
                theirs.kernel,
                theirs.stride,
                theirs.groups,
            )
            # Folding puts scale, mean, shift and variance into the weights and one bias.
            if batch_norm == "kept":
                assert mine.parameters == theirs.parameters


def test_normalization_and_activation_join_a_convolution():
    network = _network(
        _conv("x", "a"),
        _operator("BatchNormalization", "a", "b", parameters=8),
        _operator("Relu", "b", "y"),
    )

    (operator,) = fuse(network).operators

    assert (operator.op_type, operator.parameters, operator.writes) == ("Conv", 152, ("y",))


def test_a_residual_addition_stays_and_takes_its_activation():
    network = _network(_conv("x", "a"), _operator("Add", "a x", "b"), _operator("Relu", "b", "y"))

    assert _types(network) == ["Conv", "Add"]


def test_a_value_that_others_read_too_is_not_fused_away():
    twice = (_conv("x", "a"), _operator("Sigmoid", "a", "b"), _operator("Mul", "a b", "y"))
    also_output = (_conv("x", "a"), _operator("Relu", "a", "y"))

    assert _types(_network(*twice)) == ["Conv", "Sigmoid", "Mul"]
    assert _types(_network(*also_output, outputs=("a", "y"))) == ["Conv", "Relu"]


def test_an_activation_after_nothing_that_takes_it_stays():
    network = _network(_operator("MaxPool", "x", "a"), _operator("Relu", "a", "y"))

    assert _types(network) == ["MaxPool", "Relu"]


def test_only_neighbours_in_the_graph_fuse_whatever_the_order():
    network = _network(
        _conv("x", "a"),
        _conv("x", "b"),
        _operator("Relu", "a", "c"),
        _operator("Tanh", "b", "d"),
        _operator("Concat", "c d", "y"),
    )

    fused = fuse(network).operators

    assert [operator.writes for operator in fused] == [("c",), ("d",), ("y",)]


def test_views_cost_nothing_and_are_seen_through():
    network = _network(_conv("x", "a"), _operator("Reshape", "a", "b"), _operator("Relu", "b", "y"))

    (operator,) = fuse(network).operators

    assert operator.writes == ("y",)


def test_a_view_of_a_shared_value_keeps_it_shared():
    network = _network(
        _conv("x", "a"),
        _operator("Flatten", "a", "b"),
        _operator("Relu", "b", "c"),
        _operator("Concat", "a c", "y"),
    )

    assert _types(network) == ["Conv", "Relu", "Concat"]


def test_a_spaces_own_operators_are_fused_already():
    space = ProxylessSpace(resolution=64)
    operators = space.operators(space.sample(1)[0])

    assert fuse(Network("n", operators, (), ())).operators == operators
