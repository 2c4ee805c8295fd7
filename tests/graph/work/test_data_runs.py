"""How data lie in memory: broadcasts, transpositions, parts."""

import math

import numpy as np
import pytest

from latprof.graph.operators import Operator
from latprof.graph.work.data_runs import (
    broadcast_run,
    part_run,
    turned_groups,
    turned_run,
    turns_of,
)
from latprof.predictors.kernels.configurations import Configurations, configuration_of


def _operator(op_type, inputs, output, weights=(), **attributes):
    return Operator(
        "op", op_type, input_shapes=inputs, output_shapes=(output,), weight_shapes=weights,
        attributes=attributes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "weights", "run", "groups"),
    [
        ([(1, 64, 8, 8), (1, 64, 8, 8)], (), 0, 0),
        ([(1, 64, 8, 8)], ((64, 1, 1),), 64, 2),
        ([(1, 64, 8, 8)], ((),), 4096, 1),
        ([(1, 64, 8, 8)], ((8,),), 8, 2),
        ([(1, 64, 1, 8), (1, 1, 8, 8)], (), 8, 3),
        ([(1, 64, 8, 1), (1, 1, 1, 8)], (), 8, 2),
    ],
)
def test_a_broadcast_is_handled_in_runs_of_neighbouring_dimensions(inputs, weights, run, groups):
    operator = _operator("Sub", tuple(inputs), (1, 64, 8, 8), weights)
    assert broadcast_run(operator) == (run, groups)


@pytest.mark.parametrize(
    ("shape", "order", "before", "after"),
    [
        ((4, 32, 32, 32, 32), (0, 3, 1, 2, 4), [4, 1024, 32, 32], [0, 2, 1, 3]),
        ((4, 48, 1, 196), (2, 0, 3, 1), [4, 48, 196], [0, 2, 1]),
        ((1, 3, 224, 224), (0, 2, 3, 1), [3, 224 * 224], [1, 0]),
        ((2, 3, 4), (0, 1, 2), [24], [0]),
        ((1, 7, 1), (0, 2, 1), [7], [0]),
        ((1, 1), (1, 0), [], []),
    ],
)
def test_dimensions_that_stay_together_are_one(shape, order, before, after):
    assert turned_groups(shape, order) == (before, after)
    x = np.arange(math.prod(shape)).reshape(shape)
    merged = x.reshape(before).transpose(after) if before else x
    assert np.array_equal(merged.ravel(), x.transpose(order).ravel())


def test_a_part_moves_what_lies_behind_its_axis_at_once():
    assert part_run((1, 64, 8, 8), (1, 32, 8, 8), None) == 32 * 8 * 8
    assert part_run((1, 64, 8, 8), (1, 64, 8, 4), None) == 4
    assert part_run((100, 32), (7, 32), 0) == 32
    assert part_run((1, 8), (1, 8), None) == 8


def test_kernels_that_move_their_data_differently_are_different_kernels():
    shape = (4, 32, 32, 32)
    operators = [
        _operator("Transpose", (shape,), shape, perm=(0, 2, 1, 3)),
        _operator("Transpose", (shape,), shape, perm=(0, 3, 2, 1)),
        _operator("ReorderInput", (shape,), shape),
        _operator("ReorderOutput", (shape,), shape),
        _operator("Mul", (shape,), shape, ((32, 1),)),
        _operator("Mul", (shape,), shape, ((32,),)),
        _operator("Relu", (shape,), shape),
        _operator("PRelu", (shape,), shape, ((32, 1, 1),)),
        _operator("Resize", (shape,), shape, mode="linear"),
        _operator("Resize", (shape,), shape, mode="cubic"),
    ]
    digests = Configurations.of(configuration_of(each) for each in operators).digests()
    assert len(set(digests)) == len(operators)


@pytest.mark.parametrize(
    ("shape", "order", "run"),
    [
        ((1, 1024, 1, 8, 12), (2, 0, 3, 4, 1), 1),
        ((1, 1, 49, 64, 96), (0, 3, 2, 1, 4), 96),
        ((1, 1, 49, 64, 96), (0, 3, 2, 4, 1), 1),  # the last one of 1 is turned, for a runtime
        ((2, 5, 3, 4), (1, 0, 2, 3), 12),
        ((1, 1, 64), (1, 0, 2), 64),
    ],
)
def test_what_stays_last_is_moved_in_a_row(shape, order, run):
    assert turned_run(shape, order) == run


@pytest.mark.parametrize(
    ("after", "turns"), [([1, 0], 2), ([0, 2, 1], 3), ([0, 2, 1, 3], 4), ([2, 1, 0], 13)]
)
def test_a_single_dimension_that_moves_is_no_general_transposition(after, turns):
    assert turns_of(after) == turns
