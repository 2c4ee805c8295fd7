"""Timed kernels found again among those that are expected of a graph."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from latprof.graph.operators import Network, Operator
from latprof.measurement.records import KernelTime
from latprof.predictors.kernels.graph_kernels import kernels_of
from latprof.predictors.kernels.learning.kernel_agreement import KernelAgreement
from latprof.predictors.kernels.learning.network_fitting import KernelTable, correction_of
from latprof.predictors.training.kernel_matching import times_of_kernels

SHAPE = (1, 8, 16, 16)


def operator(writes, op_type, reads, **more):
    return Operator(writes, op_type, (SHAPE,), (SHAPE,), reads=(reads,), writes=(writes,), **more)


@pytest.fixture
def kernels():
    weight = (8, 8, 3, 3)
    operators = (
        operator("a", "Conv", "x", weight_shape=weight, weight_shapes=(weight,)),
        operator("b", "MaxPool", "a"),
        operator("c", "Conv", "b", weight_shape=weight, weight_shapes=(weight,)),
        operator("y", "Softmax", "c"),
    )
    return kernels_of(Network("n", operators, (("x", SHAPE),), (("y", SHAPE),)))


def kernel(position, kind, operators, latency_ms):
    return KernelTime(
        position, kind, kind, tuple(operators.split()), latency_ms, (SHAPE,), (SHAPE,)
    )


def test_a_kernel_of_no_operator_counts_with_the_one_that_follows(kernels):
    timed = [
        kernel(0, "reorder", "", 0.25),
        kernel(1, "conv3x3", "a", 1.0),
        kernel(2, "conv3x3", "c", 0.5),
        kernel(3, "softmax", "", 0.125),  # called by no name, but the only one of its kind
        kernel(4, "reorder", "", 0.0625),
    ]
    found = times_of_kernels(kernels, timed)
    assert found.latency_ms.tolist()[::2] == [1.25, 0.5]
    assert np.isnan(found.latency_ms[1])  # the pool did not run
    assert found.latency_ms[3] == 0.125 + 0.0625
    told = sum(each.latency_ms for each in timed)
    share = pytest.approx((0.25 + 0.0625) / told)
    assert found.agreement == KernelAgreement(2, 2, 5, 2, share, 4, 1)
    assert (
        "100.0% of 2 kernels, changes of layout among them, ran as expected; 2 are of no operator"
        in found.agreement.describe()
    )


def test_a_kernel_is_that_which_runs_most_of_its_operators(kernels):
    joined = dataclasses.replace(kernels.operators[2], parts=("b2", "c"))
    kernels = dataclasses.replace(
        kernels, operators=(*kernels.operators[:2], joined, kernels.operators[3])
    )
    found = times_of_kernels(kernels, [kernel(0, "conv3x3", "b b2 c", 1.0)])
    assert found.latency_ms[2] == 1.0


def test_kernels_that_explain_hardly_any_time_are_none(kernels):
    timed = [kernel(0, "mystery", "", 2.0), kernel(1, "conv3x3", "a", 1.0)]
    assert times_of_kernels(kernels, timed) is None
    assert times_of_kernels(kernels, []) is None


def test_kernels_without_a_time_are_expected_and_not_fitted_to(kernels):
    (timed,) = [times_of_kernels(kernels, [kernel(0, "conv3x3", "a", 1.0)])]
    count, rows = 8, len(kernels.operators)
    table = KernelTable(
        kernels.configurations.rows(np.tile(np.arange(rows), count)),
        np.tile(timed.latency_ms, count),
        np.repeat(np.arange(count), rows),
        ("n",) * count,
        ("f",) * count,
        np.full(count, 1.1),
    )
    assert table.timed.sum() == count
    assert len(table.of_network(0)) == rows
    found = correction_of(table)
    total = found.each(np.ones(1)).sum() + found.constant_ms
    assert total == pytest.approx(1.1, rel=0.02)


def test_agreements_of_networks_add_up():
    one, other = KernelAgreement(10, 9, 12, 2, 0.1, 11, 1), KernelAgreement(5, 5, 5, 0, 0.0, 5, 0)
    both = KernelAgreement.of_networks([one, other])
    assert both == KernelAgreement(15, 14, 17, 2, 0.05, 16, 1)
    assert both.matched_share == 14 / 15
    assert KernelAgreement.of_networks([]) is None
    assert KernelAgreement(0, 0, 0, 0, 0.0, 0, 0).matched_share == 0
