"""Joined tables are the plain sum of their factors."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_space import PairedSpace
from synthetic_latency import SPACE

from latprof.common.checked_json import Fields, to_json
from latprof.datasets.spaces.named import get_space
from latprof.errors import PackError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.factors import (
    AdditiveTable,
    Factor,
    FactorSum,
    factors_from_fields,
    factors_to_fields,
)


def plain_sum(intercept, factors, choices):
    """One entry a factor, looked up and added."""
    total = np.full(len(choices), intercept)
    for factor in factors:
        total += factor.table_ms[tuple(choices[:, d] for d in factor.decisions)]
    return total


@st.composite
def sums(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=9))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    factors = []
    for _ in range(draw(st.integers(0, 12))):
        count = int(generator.integers(1, min(len(sizes), 4) + 1))
        decisions = tuple(sorted(generator.choice(len(sizes), count, replace=False).tolist()))
        table = generator.normal(size=[sizes[d] for d in decisions])
        table[generator.random(table.shape) < 0.05] = np.nan
        factors.append(Factor(decisions, table))
    choices = (generator.random((300, len(sizes))) * sizes).astype(np.uint8)
    return sizes, factors, choices


@given(sums())
def test_joined_tables_give_the_plain_sum_and_nan_where_an_entry_is_not_known(drawn):
    sizes, factors, choices = drawn
    found = FactorSum(2.5, factors, sizes).predict(choices)
    np.testing.assert_allclose(found, plain_sum(2.5, factors, choices), rtol=1e-12, atol=1e-12)


def test_a_large_table_takes_smaller_ones_in_and_two_large_ones_stay_apart():
    sizes = [20, 20, 20, 20, 20, 20]
    generator = np.random.default_rng(0)
    large = Factor((0, 1, 2, 3), generator.random((20,) * 4))
    inside = Factor((2,), generator.random(20))
    other = Factor((2, 3, 4, 5), generator.random((20,) * 4))
    total = FactorSum(0.0, (large, inside, other), sizes)
    assert [decisions for decisions, _ in total.joined] == [(0, 1, 2, 3), (2, 3, 4, 5)]
    choices = generator.integers(20, size=(10_000, 6)).astype(np.uint8)
    expected = plain_sum(0.0, (large, inside, other), choices)
    np.testing.assert_allclose(total.predict(choices), expected, rtol=1e-12)


def test_no_architectures_give_no_latencies():
    assert FactorSum(1.0, (Factor((0,), np.zeros(6)),), [6]).predict(
        np.empty((0, 1), dtype=np.uint8)
    ).shape == (0,)


@pytest.mark.parametrize("space", [PairedSpace(), get_space("mnasnet")], ids=["paired", "mnasnet"])
def test_parts_whose_decisions_are_not_sorted_are_looked_up_in_their_own_order(space):
    tables = space_tables(space)
    assert any(list(part.decisions) != sorted(part.decisions) for part in tables.parts)
    costs = np.random.default_rng(0).normal(size=len(tables.column_parts))
    table = AdditiveTable(tables, 3.0, tables.padded(costs))
    choices = space.sample_choices(24, 1)
    expected = 3.0 + costs[tables.columns(choices)].sum(axis=1)
    np.testing.assert_allclose(table.predict(choices), expected, rtol=1e-12)
    for factor in table.factors:
        assert list(factor.decisions) == sorted(factor.decisions)
        assert factor.table_ms.shape == tuple(space.num_choices[list(factor.decisions)])


TABLES = space_tables(SPACE)
GOOD = Factor((0, 3, 20), np.random.default_rng(0).normal(size=SPACE.num_choices[[0, 3, 20]]))


def read(values):
    fields = Fields.of_json("it", json.dumps({"interactions": values}).encode())
    return factors_from_fields(fields, "interactions", TABLES)


#: What candidates of three decisions cost together, two and more of which are alike.
ALIKE = Factor((1, 2, 3), GOOD.table_ms[:3, :3, :3][np.ix_(*[[0, 1, 1, 2, 2, 2, 0]] * 3)])


@pytest.mark.parametrize("factor", [GOOD, ALIKE], ids=["all differ", "some alike"])
def test_factors_come_back_from_their_fields_to_the_bit(factor):
    stored = factors_to_fields([factor])
    assert np.size(stored[0]["table_ms"]) == (27 if factor is ALIKE else factor.table_ms.size)
    fields = Fields.of_json("it", to_json({"interactions": stored}))
    (again,) = factors_from_fields(fields, "interactions", TABLES)
    assert again.decisions == factor.decisions
    np.testing.assert_array_equal(again.table_ms, factor.table_ms)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"decisions": d} for d in ([], [3, 0], [0, 0], [-1], [21], [2**62], [0.5], ["0"], None)),
        *({"table_ms": t} for t in ([], [0.0], [None] * 6, ["0"] * 6, [[0.0] * 6], [1e13] * 6)),
        {"decisions": list(range(21))},
        *({"classes": c} for c in ([], 0, [[0] * 6] * 2, [[0] * 5], [[6] * 6], [[-1] * 6])),
        *({"classes": [c]} for c in ([0.5] * 6, [True] * 6, [[0] * 6], None, [0] * 6)),
    ],
    ids=str,
)
def test_fields_that_are_no_factors_are_refused(wrong):
    right = {"decisions": [0], "table_ms": [0.0] * 6}
    assert len(read([right])) == 1
    with pytest.raises(PackError):
        read([{**right, **wrong}])


def test_too_many_factors_are_refused():
    with pytest.raises(PackError, match="at most"):
        read([{"decisions": [0], "table_ms": [0.0] * 6}] * 1522)  # 21 parts


def test_all_architectures_of_a_paired_space_have_a_column_in_each_part():
    space = PairedSpace()
    everything = np.array(list(itertools.product(*map(range, space.num_choices))), dtype=np.uint8)
    columns = space_tables(space).columns(everything)
    assert len(np.unique(columns, axis=0)) == len(everything)
