import gc
import weakref

import numpy as np
import pytest
from synthetic_latency import SPACE

from latprof.datasets.spaces.base import Part
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError
from latprof.predictors.features.block_features import space_tables

TABLES = space_tables(SPACE)


def test_totals_summed_by_table_are_those_of_the_operators():
    choices = SPACE.sample_choices(30)
    totals = TABLES.sums(TABLES.columns(choices), TABLES.totals)
    names = list(TABLES.total_names)
    macs = totals[:, [i for i, name in enumerate(names) if name.startswith("macs")]].sum(axis=1)
    elements = totals[:, [i for i, name in enumerate(names) if "elements" in name]].sum(axis=1)
    for row, architecture in enumerate(SPACE.architectures(choices)):
        blocks = [b for b in SPACE.blocks(architecture) if b.position is not None]
        operators = [op for block in blocks for op in block.operators()]
        assert macs[row] == sum(op.macs for op in operators)
        assert elements[row] == sum(op.activation_elements for op in operators)


def test_depthwise_kernels_are_counted_apart_and_constant_totals_are_not_there():
    assert {"macs conv1x1", "macs depthwise3x3", "macs depthwise5x5", "macs depthwise7x7"} < set(
        TABLES.total_names
    )
    assert 8 <= len(TABLES.total_names) <= 16
    assert np.all(TABLES.totals.max(axis=0) > 0)


def test_features_hold_kernel_expansion_and_type_and_nothing_constant():
    choices = SPACE.sample_choices(2000)
    features = TABLES.decisions
    values = features.encode(choices)
    assert values.dtype == np.float32
    assert values.shape == (2000, len(features.names))
    assert np.all(np.ptp(values, axis=0) > 0)
    kernel = values[:, features.names.index("stage2.block1.kernel")]
    assert {*kernel} == {0, 3, 5, 7}
    assert "stage2.block1.stride" not in features.names


def test_the_zero_operation_is_known_to_cost_nothing():
    assert TABLES.zero_columns.sum() == 15
    assert np.all(TABLES.totals[TABLES.zero_columns] == 0)
    assert np.all(TABLES.totals[~TABLES.zero_columns].sum(axis=1) > 0)


def test_candidates_that_shapes_cannot_tell_apart_get_their_index_as_a_feature():
    class Twins(ProxylessSpace):
        name = "twins"

        @property
        def candidates(self):
            return tuple(("a", "b") for _ in super().candidates)

        def blocks(self, architecture):
            return super().blocks(type(architecture)("twins", (0,) * len(architecture.choices)))

    tables = space_tables(Twins()).decisions
    assert len(tables.names) == 21
    assert tables.names[0] == "stage1.block0.candidate"
    choices = np.eye(21, dtype=np.uint8)
    np.testing.assert_array_equal(tables.encode(choices), choices)


def test_tables_are_made_once_for_a_description_and_the_cache_is_bounded():
    tables = space_tables(ProxylessSpace())
    assert space_tables(ProxylessSpace()) is tables
    assert space_tables(ProxylessSpace(resolution=192)) is not tables
    made = [weakref.ref(space_tables(ProxylessSpace(resolution=32 + i))) for i in range(40)]
    gc.collect()
    kept = [tables() is not None for tables in made]
    assert kept[-1]
    assert 1 < sum(kept) < 20


def test_a_part_without_blocks_costs_nothing_and_one_of_too_many_combinations_is_refused():
    class Headless(ProxylessSpace):
        name = "headless"

        def blocks(self, architecture):
            return super().blocks(type(architecture)("headless", architecture.choices))[:-3]

    tables = space_tables(Headless())
    assert tables.zero_columns[tables.column_parts == 20].all()

    class Wide(ProxylessSpace):
        name = "wide"

        @property
        def parts(self):
            return (Part("all", tuple(range(21))),)

    with pytest.raises(InvalidValueError, match="too many combinations"):
        space_tables(Wide())
