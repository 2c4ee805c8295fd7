"""Operators built by hand: what kind they are and what they cost."""

import pytest

from latprof.graph.operators import Network, Operator


@pytest.mark.parametrize(
    ("op_type", "kind"),
    [
        ("Gemm", "linear"),
        ("MatMul", "linear"),
        ("Clip", "activation"),
        ("ReduceMean", "pool"),
        ("LayerNormalization", "normalization"),
        ("Transpose", "layout"),
        ("LSTM", "lstm"),
    ],
)
def test_kinds_of_operators(op_type, kind):
    assert Operator("o", op_type, ((1, 2),), ((1, 2),)).kind == kind


def test_a_convolution_without_a_known_weight_takes_its_kernel():
    operator = Operator("o", "FusedConv", (), (), kernel=5)

    assert operator.kind == "conv5x5"
    assert operator.macs == 0


def test_macs_are_those_of_the_whole_batch():
    def convolution(batch_size):
        shapes = ((batch_size, 8, 4, 4),), ((batch_size, 16, 4, 4),)
        return Operator("o", "Conv", *shapes, weight_shape=(16, 8, 1, 1), kernel=1)

    assert convolution(1).macs == 16 * 16 * 8
    assert convolution(4).macs == 4 * convolution(1).macs
    assert convolution(1).activation_elements == 16 * (8 + 16)


@pytest.mark.parametrize("op_type", ["Add", "Relu", "MaxPool", "Unheard"])
def test_what_multiplies_no_weights_has_no_macs(op_type):
    assert Operator("o", op_type, ((1, 8),), ((1, 8),)).macs == 0


def test_products_of_scalars_or_nothing_have_no_macs():
    assert Operator("o", "MatMul", ((),), ((),)).macs == 0
    assert Operator("o", "Gemm", (), ((1, 2),)).macs == 0


def test_products_of_two_activations_sum_over_the_inner_size():
    operator = Operator("o", "MatMul", ((2, 4, 5, 6), (2, 4, 6, 5)), ((2, 4, 5, 5),))

    assert operator.macs == 2 * 4 * 5 * 5 * 6


def test_where_an_operator_lies_in_its_graph_is_no_part_of_what_it_is():
    here = Operator("o", "Relu", ((1,),), ((1,),), reads=("a",), writes=("b",))
    there = Operator("o", "Relu", ((1,),), ((1,),), reads=("c",), writes=("d",))

    assert here == there
    assert hash(here) == hash(there)


def test_a_network_sums_its_operators():
    linear = Operator("o", "Gemm", ((1, 3),), ((1, 5),), weight_shape=(3, 5), parameters=20)
    network = Network("n", (linear, linear), (), ())

    assert (network.macs, network.parameters) == (30, 40)
