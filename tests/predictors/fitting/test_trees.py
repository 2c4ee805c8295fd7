import json

import numpy as np
import pytest
import xgboost as xgb
from synthetic_latency import SPACE, measured

from latprof.common.checked_json import Fields, to_json
from latprof.errors import PackError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.trees import TreeEnsemble

TABLES = space_tables(SPACE).decisions


def boosted(depth, rounds=40, n=600):
    """Trees, and the booster they come from."""
    choices, latency = measured(n, interaction_ms=0.5)
    data = xgb.QuantileDMatrix(TABLES.encode(choices), latency - 50.0)
    parameters = {"max_depth": depth, "base_score": 0.0, "nthread": 1, "min_child_weight": 0}
    booster = xgb.train(parameters, data, rounds)
    model = booster.save_raw("json")
    return TreeEnsemble.from_xgboost(model, TABLES, base_ms=50.0, scale_ms=1.0), booster


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6])
def test_masks_reach_the_leaves_that_xgboost_reaches(depth):
    trees, booster = boosted(depth)
    choices = SPACE.sample_choices(3000, seed=1)
    expected = 50.0 + booster.inplace_predict(TABLES.encode(choices)).astype(np.float64)
    np.testing.assert_allclose(trees.predict(choices), expected, rtol=1e-6)


def test_no_trees_and_trees_of_one_leaf_are_constants():
    choices = SPACE.sample_choices(4)
    assert np.all(TreeEnsemble.empty(TABLES, 3.5).predict(choices) == 3.5)
    leaf = np.array([-1])
    single = TreeEnsemble(
        TABLES, 1.0, np.array([1]), leaf, leaf, leaf, np.array([0.25], dtype=np.float32)
    )
    assert np.all(single.predict(choices) == 1.25)


def test_plain_values_keep_every_bit():
    trees, _ = boosted(4)
    fields = Fields.of_json("trees", to_json(trees.to_fields()))
    again = TreeEnsemble.from_fields(fields, TABLES)
    choices = SPACE.sample_choices(500)
    np.testing.assert_array_equal(again.predict(choices), trees.predict(choices))
    np.testing.assert_array_equal(again.value, trees.value)


def broken(change):
    values = json.loads(to_json(boosted(2, rounds=3)[0].to_fields()))
    change(values)
    return Fields.of_json("trees", json.dumps(values).encode())


CHANGES = {
    "a loop": lambda v: v["left"].__setitem__(0, 0),
    "a child outside the tree": lambda v: v["right"].__setitem__(0, v["sizes"][0]),
    "a child with two parents": lambda v: v["left"].__setitem__(0, v["right"][0]),
    "one child only": lambda v: v["left"].__setitem__(0, -1),
    "a leaf with a child": lambda v: v["left"].__setitem__(v["sizes"][0] - 1, 5),
    "a feature that is not there": lambda v: v["feature"].__setitem__(0, 10_000),
    "a fraction of a feature": lambda v: v["feature"].__setitem__(0, 0.5),
    "a threshold that is text": lambda v: v["value"].__setitem__(0, "3"),
    "a truth value": lambda v: v["value"].__setitem__(0, True),
    "no threshold": lambda v: v["value"].__setitem__(0, None),
    "an endless leaf": lambda v: v["value"].__setitem__(-1, 1e300),
    "a node too few": lambda v: v["feature"].pop(),
    "a tree of no nodes": lambda v: v["sizes"].append(0),
    "sizes that do not add up": lambda v: v["sizes"].__setitem__(0, 1),
    "a nested list": lambda v: v["value"].__setitem__(0, [1.0]),
    "other features": lambda v: v["feature_names"].reverse(),
    "nothing": lambda v: v.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_no_forest_is_refused(change):
    with pytest.raises(PackError):
        TreeEnsemble.from_fields(broken(change), TABLES)
    assert TreeEnsemble.from_fields(broken(lambda _: None), TABLES).sizes.sum() > 3


def test_a_tree_of_too_many_leaves_is_refused():
    sizes, nodes = 127, 127  # a chain: 63 splits and 64 leaves is the most that a mask holds
    chain = {
        "base_ms": 0.0,
        "sizes": [sizes],
        "feature": [0 if i % 2 == 0 and i < nodes - 1 else -1 for i in range(nodes)],
        "left": [i + 1 if i % 2 == 0 and i < nodes - 1 else -1 for i in range(nodes)],
        "right": [i + 2 if i % 2 == 0 and i < nodes - 1 else -1 for i in range(nodes)],
        "value": [1.0] * nodes,
        "feature_names": list(TABLES.names),
    }
    trees = TreeEnsemble.from_fields(Fields("trees", chain), TABLES)
    assert np.all(trees.predict(SPACE.sample_choices(9)) == 1.0)
    with pytest.raises(PackError, match="sizes"):
        TreeEnsemble.from_fields(Fields("trees", {**chain, "sizes": [129]}), TABLES)
