"""Packs that are too large are refused in time; ``tests/fuzz`` has packs with errors in them."""

from typing import Any

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.common import checked_json as plain_data
from latprof.common.checked_json import Fields, to_json
from latprof.datasets.spaces.named import get_space
from latprof.errors import InvalidValueError, PackError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting import trees
from latprof.predictors.fitting.trees import TreeEnsemble
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.pack.pack import Pack


def chains(tables, count, leaves=64):
    """Fields of trees that are chains of splits."""
    nodes = 2 * leaves - 1
    splits = [number % 2 == 0 and number < nodes - 1 for number in range(nodes)]
    values = {
        "base_ms": 0.0,
        "sizes": [nodes] * count,
        "feature": [i % len(tables.names) if s else -1 for i, s in enumerate(splits)] * count,
        "left": [i + 1 if s else -1 for i, s in enumerate(splits)] * count,
        "right": [i + 2 if s else -1 for i, s in enumerate(splits)] * count,
        "value": [2.0 if s else float(i) for i, s in enumerate(splits)] * count,
        "feature_names": list(tables.names),
    }
    return Fields("trees", values)


def test_trees_and_nodes_are_bounded_by_what_their_masks_take():
    tables = space_tables(get_space("proxyless-cifar")).decisions
    candidates = int(tables.num_choices.sum())
    most = (1 << 25) // candidates
    TreeEnsemble.from_fields(chains(tables, most, leaves=2), tables)
    with pytest.raises(PackError, match=f"at most {most} trees"):
        TreeEnsemble.from_fields(chains(tables, most + 1, leaves=2), tables)
    small = space_tables(SPACE).decisions
    with pytest.raises(PackError, match="at most 2,097,152 nodes"):
        TreeEnsemble.from_fields(chains(small, 17_000), small)


def test_more_trees_than_are_read_are_not_written(monkeypatch):
    tables = space_tables(SPACE).decisions
    ensemble = TreeEnsemble.from_fields(chains(tables, 5), tables)
    monkeypatch.setattr(trees, "MAX_TREES", 4)
    with pytest.raises(InvalidValueError, match="at most 4 trees"):
        ensemble.to_fields()


def walked(forest, choices):
    """Follow every tree from its root, an architecture at a time."""
    encoded = forest.tables.encode(choices)
    total = np.full(len(choices), forest.base_ms)
    for row, features in enumerate(encoded):
        start = 0
        for size in forest.sizes.tolist():
            node = 0
            while forest.feature[start + node] >= 0:
                below = features[forest.feature[start + node]] < forest.value[start + node]
                node = (forest.left if below else forest.right)[start + node]
            total[row] += float(forest.value[start + node])
            start += size
    return total


@pytest.mark.parametrize("name", ["proxyless", "ofa-mobilenetv3", "mnasnet", "proxyless-cifar"])
def test_masks_reach_the_leaf_that_walking_a_tree_reaches(name):
    space = get_space(name)
    tables = space_tables(space).decisions
    generator = np.random.default_rng(0)
    fields = chains(tables, 3)
    nodes = len(fields.values["feature"])
    drawn = generator.integers(len(tables.names), size=nodes).tolist()
    values = {
        **fields.values,
        "feature": [
            f if old >= 0 else -1 for f, old in zip(drawn, fields.values["feature"], strict=True)
        ],
    }
    values["value"] = [
        float(generator.choice(tables.values[:, f])) if f >= 0 else float(number)
        for number, f in enumerate(values["feature"])
    ]
    forest = TreeEnsemble.from_fields(Fields("trees", values), tables)
    choices = space.sample_choices(100, 1)
    np.testing.assert_array_equal(forest.predict(choices), walked(forest, choices))


def test_a_space_of_too_many_blocks_is_refused():
    with pytest.raises(InvalidValueError, match="too many blocks"):
        space_tables(get_space("mnasnet", base_depths=[50] * 7))


def test_json_that_would_take_too_much_memory_is_neither_read_nor_written(monkeypatch):
    data = to_json({"a": [0.5] * 1000})
    monkeypatch.setattr(plain_data, "MOST_JSON_BYTES", len(data) - 1)
    with pytest.raises(PackError, match="too large"):
        Fields.of_json("it", data)
    with pytest.raises(InvalidValueError, match="too much"):
        to_json({"a": [0.5] * 1000})


def test_intervals_of_format_1_are_in_order_below_zero_too():
    predictor = make_predictor("linear", SPACE).fit(*measured(40))
    bare: Any = type(predictor).from_files(SPACE, predictor.to_files())
    bare.table_[0, :6] -= 1e6
    prediction = Pack(bare, interval_relative=0.2).predict(SPACE.sample_choices(5))
    assert np.all(prediction.latency_ms < 0)
    assert np.all(prediction.low_ms < prediction.latency_ms)
    assert np.all(prediction.latency_ms < prediction.high_ms)
