"""Lookup tables: the authors' files are read, and ours are what the authors' code reads."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from formats import public, write_json

from latprof.datasets.importers.lookup_tables import (
    LookupTable,
    TableEntry,
    read_single_path_table,
    read_yaml_table,
)
from latprof.datasets.importers.table_export import (
    SINGLE_PATH_CANDIDATES,
    fixed_parts,
    missing_keys,
    proxyless_table,
    sharing_error_ms,
    single_path_table,
    to_yaml,
)
from latprof.datasets.spaces.proxyless import MOBILE_WIDTHS, ProxylessSpace
from latprof.errors import CoverageError, DataSetError, InvalidValueError
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.predictors.training.imported_table import predictor_from_table

SPACE = ProxylessSpace()

# Reading -----------------------------------------------------------------------------------

ENTRIES = {
    "Conv-input:224x224x3-output:112x112x32": {"count": 949, "mean": 4.39, "var": 0.15},
    "expanded_conv-input:7x7x192-output:7x7x320-expand:6-kernel:7-stride:1-idskip:0": {
        "count": 1,
        "mean": 1.5e-07,
        "var": 0.0,
    },
    # What Once-for-All's MobileNetV3 tables say of a block.
    "expanded_conv-input:7x7x160-output:7x7x160-expand:960-kernel:5-stride:1-idskip:1-se:1-hs:1": {
        "mean": 2.25
    },
}


@pytest.mark.parametrize("style", [False, None, "comments"])
def test_yaml_of_either_style(tmp_path, style):
    text = yaml.safe_dump(ENTRIES, default_flow_style=style if style != "comments" else False)
    if style == "comments":
        text = "# Pixel 1\n---\n" + text.replace("  mean", "  # of 949\n\n  mean") + "...\n"
    path = tmp_path / "table.yaml"
    path.write_text(text)
    table = read_yaml_table(path)
    assert {
        key: (entry.count, entry.latency_ms, entry.variance) for key, entry in table.entries.items()
    } == {key: (e.get("count"), e["mean"], e.get("var")) for key, e in ENTRIES.items()}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n# nothing\n",
        "hello",
        "- a\n- b\n",
        "  mean: 1\n",
        "key:\n",
        "key:\n  count: 1\n",
        "key:\n  mean: fast\n",
        "key:\n  mean: .nan\n",
        "key:\n  mean: 1\n  mean: 2\n",
        "key:\n  mean: 1\nkey:\n  mean: 2\n",
        "key:\n  mean: 1\n  count: -1\n",
        "key:\n  mean: 1\n  count: 1.5\n",
        "key:\n  mean: 1\n  var: -0.5\n",
        "key:\n  mean: 1\n  std: -0.5\n",
        "key: 5\n",
        "key: {mean: 1\n",
        "key: {mean: 1\nkey: {mean: 2}\n",
        "key: {mean: 1" + "\n" * 10_000 + "mean: 2\n" * 10_000,
        "key: {mean: {a: 1}}\n",
        "key: &a {mean: 1}\nother: *a\n",
        "? key\n: mean: 1\n",
        "key:\n  mean: !!python/object/apply:os.system ['true']\n",
        "key: !!python/object/apply:os.system ['true']\n",
        "key:\n  mean:\n    - 1\n",
        "{" * 100_000,
        "key: " + "[" * 100_000,
        "a" * 2000 + ":\n  mean: 1\n",
        ":" * 100_000,
        "\x00",
    ],
)
def test_malformed_yaml(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(DataSetError, match=r"table\.yaml"):
        read_yaml_table(path)


def test_json_of_single_path_nas(tmp_path):
    path = write_json(tmp_path / "table.json", {"1": {"0": 4.5, "3": 11}, "20": {"1": 2.0}})
    table = read_single_path_table(path)
    assert table.latency_ms(["1/3", "20/1", "1/0"]).tolist() == [11, 2, 4.5]


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"a": {"0": 1}}', '{"1": 5}', '{"1": {}}', '{"1": {"x": 1}}'),
        *('{"1": {"0": "x"}}', '{"1": {"0": NaN}}', '{"1": {"0": true}}', '{"1": {"0": null}}'),
    ],
)
def test_malformed_json(tmp_path, text):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(DataSetError, match=r"table\.json"):
        read_single_path_table(path)


def test_what_a_table_does_not_have_is_named_and_never_nothing():
    table = LookupTable("mine", {"a": TableEntry(1.5), "b": TableEntry(2.0)})
    assert table.total_ms(["a", "b", "a"]) == 5.0
    assert table.latency_ms([]).tolist() == []
    with pytest.raises(CoverageError, match="no entry for c, d") as caught:
        table.latency_ms(["a", "c", "d", "c"])
    assert caught.value.missing == ("c", "d")


# The authors' code -------------------------------------------------------------------------


class LatencyEstimator:
    """What the ProxylessNAS search code does with a table, written again from its behaviour."""

    def __init__(self, path):
        self.lut = yaml.safe_load(path.read_text())

    def predict(self, ltype, _input, output, expand=None, kernel=None, stride=None, idskip=None):
        def spelled(shape):
            return "x".join(str(size) for size in shape)

        infos = [ltype, f"input:{spelled(_input)}", f"output:{spelled(output)}"]
        if ltype == "expanded_conv":
            infos += [f"expand:{expand:d}", f"kernel:{kernel:d}"]
            infos += [f"stride:{stride:d}", f"idskip:{idskip:d}"]
        return self.lut["-".join(infos)]["mean"]


STAGES = zip((24, 40, 80, 96, 192, 320), (4, 4, 4, 4, 4, 1), (2, 2, 2, 1, 2, 1), strict=True)
POSITIONS = [
    (width, stride if index == 0 else 1)
    for width, depth, stride in STAGES
    for index in range(depth)
]


def expected_latency(estimator, choices):
    """The latency of one network as their search code adds it up."""
    total = estimator.predict("Conv", [224, 224, 3], [112, 112, 32])
    total += estimator.predict("Conv_1", [7, 7, 320], [7, 7, 1280])
    total += estimator.predict("Logits", [7, 7, 1280], [1000])
    total += estimator.predict(
        *("expanded_conv", [112, 112, 32], [112, 112, 16]), expand=1, kernel=3, stride=1, idskip=0
    )
    size, channels = 112, 16
    for (width, stride), choice in zip(POSITIONS, choices, strict=True):
        if choice != 6:  # a zero operation costs nothing
            out = size // stride
            total += estimator.predict(
                *("expanded_conv", [size, size, channels], [out, out, width]),
                expand=(3, 6)[choice // 3],
                kernel=(3, 5, 7)[choice % 3],
                stride=stride,
                idskip=int(stride == 1 and channels == width),
            )
        size, channels = size // stride, width
    return total


def fitted(cost, *, rows=700, noise=0.0, space=SPACE):
    """A table fitted to latencies that are a sum of ``cost(position, block)``."""
    generator = np.random.default_rng(8)
    choices = space.sample_choices(rows, seed=4)
    blocks = [
        [space.blocks(a)[2 + p] for a in space.architectures(candidates(p, names, space))]
        for p, names in enumerate(space.candidates)
    ]
    table = [[cost(p, block) for block in row] for p, row in enumerate(blocks)]
    latency = np.array([3.0 + sum(table[p][c] for p, c in enumerate(row)) for row in choices])
    latency *= generator.normal(1, noise, rows)
    return LookupTablePredictor(space).fit(choices, latency)


def candidates(position, names, space):
    choices = np.zeros((len(names), len(space.candidates)), dtype=np.uint8)
    choices[:, position] = np.arange(len(names))
    return choices


def by_shape(_position, block):
    """A cost that follows from the key: 0 for the zero operation."""
    return sum(map(ord, block.key)) % 97 / 50 if block.layers else 0.0


@pytest.fixture(scope="module")
def noisy():
    """A table in which no two positions agree."""
    return fitted(
        lambda position, block: by_shape(position, block) * (1 + position / 20), noise=0.01
    )


@pytest.fixture(scope="module")
def written(noisy, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "table.yaml"
    path.write_text(to_yaml(proxyless_table(noisy)))
    return path


def test_their_code_finds_every_block_and_adds_up_to_our_prediction(written):
    estimator = LatencyEstimator(written)
    ours = predictor_from_table(read_yaml_table(written), SPACE)
    choices = SPACE.sample_choices(200, seed=9)
    theirs = [expected_latency(estimator, row.tolist()) for row in choices]
    assert np.abs(ours.predict(choices) - theirs).max() < 1e-9


def test_where_positions_of_one_shape_agree_the_sum_is_the_fitted_prediction(tmp_path):
    """Exactly: one shape has one entry, as it is in a table read from a file."""
    tied = predictor_from_table(proxyless_table(fitted(by_shape)), SPACE)
    path = tmp_path / "table.yaml"
    path.write_text(to_yaml(proxyless_table(tied)))
    estimator = LatencyEstimator(path)
    choices = SPACE.sample_choices(200, seed=10)
    theirs = [expected_latency(estimator, row.tolist()) for row in choices]
    assert np.abs(tied.predict(choices) - theirs).max() < 1e-9
    assert np.abs(sharing_error_ms(tied, proxyless_table(tied))).max() < 1e-9


def test_the_stated_error_is_what_sharing_entries_costs(noisy, written):
    estimator = LatencyEstimator(written)
    choices = SPACE.sample_choices(100, seed=11)
    theirs = np.array([expected_latency(estimator, row.tolist()) for row in choices])
    stated = sharing_error_ms(noisy, proxyless_table(noisy), n=100, seed=11)
    np.testing.assert_allclose(theirs - noisy.predict(choices), stated, atol=1e-9)
    assert np.abs(stated).max() > 0


def test_the_fixed_part_is_split_by_multiply_accumulates(noisy):
    table = proxyless_table(noisy)
    parts = fixed_parts(SPACE)
    assert table.total_ms(parts) == pytest.approx(noisy.fixed_ms_, abs=1e-12)
    stem, first, last, logits = table.latency_ms(parts)
    macs = 112 * 112 * np.array([27 * 32, 9 * 32 + 32 * 16])
    assert first / stem == pytest.approx(macs[1] / macs[0])
    assert last / stem == pytest.approx(49 * 320 * 1280 / macs[0])
    assert logits / stem == pytest.approx(1_280_000 / macs[0])


def test_counts_are_training_rows_and_no_zero_operation_has_a_key(noisy):
    table = proxyless_table(noisy)
    assert table.entries["Conv-input:224x224x3-output:112x112x32"].count == 700
    first = sum(e.count or 0 for k, e in table.entries.items() if "112x112x16-output:56x56x24" in k)
    assert first == 700
    assert not [key for key in table.entries if "zero" in key]
    assert missing_keys(SPACE, table) == []
    searched = [
        block.key for block in SPACE.blocks(SPACE.sample(1)[0]) if block.position is not None
    ]
    assert table.entries.keys() >= {*fixed_parts(SPACE), *(k for k in searched if "zero" not in k)}


class Without:
    """A fitted table in which some blocks were never measured."""

    def __init__(self, fitted, seen):
        self.space, self.fixed_ms_ = fitted.space, fitted.fixed_ms_
        self.seen = [row for row in fitted.rows() if seen(row)]

    def rows(self):
        return self.seen


def test_blocks_that_were_never_measured_are_named(noisy):
    few = Without(noisy, lambda row: (row.position, row.candidate) != (20, "7x7_MBConv6"))
    table = proxyless_table(few)
    lost = "expanded_conv-input:7x7x192-output:7x7x320-expand:6-kernel:7-stride:1-idskip:0"
    assert missing_keys(SPACE, table) == [lost]
    errors = sharing_error_ms(few, table)
    assert 0 < np.isnan(errors).sum() < len(errors)
    with pytest.raises(CoverageError, match="kernel:7"):
        predictor_from_table(table, SPACE)


def test_a_zero_operation_that_costs_something_goes_to_the_fixed_part(noisy):
    """Its cost has no place in the format: sums stay the same."""
    moved = Without(noisy, lambda row: True)
    moved.seen = [
        replace(row, latency_ms=row.latency_ms + 0.25) if row.position == 2 else row
        for row in noisy.rows()
    ]
    moved.fixed_ms_ -= 0.25
    np.testing.assert_allclose(
        sharing_error_ms(moved, proxyless_table(moved)),
        sharing_error_ms(noisy, proxyless_table(noisy)),
        atol=1e-12,
    )


def test_a_small_number_is_a_number_to_yaml():
    table = LookupTable("t", {"a": TableEntry(1e-05, 3, 2e22), "b": TableEntry(1.5e-07)})
    assert yaml.safe_load(to_yaml(table)) == {
        "a": {"count": 3, "mean": 1e-05, "var": 2e22},
        "b": {"mean": 1.5e-07},
    }


def test_another_resolution_and_other_widths():
    space = ProxylessSpace(widths=MOBILE_WIDTHS, resolution=160, num_classes=10)
    predictor = fitted(by_shape, space=space)
    table = proxyless_table(predictor)
    assert "Conv-input:160x160x3-output:80x80x32" in table.entries
    assert "Logits-input:5x5x1280-output:10" in table.entries
    again = predictor_from_table(table, space)
    choices = space.sample_choices(50, seed=2)
    np.testing.assert_allclose(again.predict(choices), predictor.predict(choices), rtol=0.02)
    with pytest.raises(CoverageError):
        predictor_from_table(table, SPACE)
    with pytest.raises(InvalidValueError, match="widths"):
        single_path_table(predictor)


# Single-Path NAS ---------------------------------------------------------------------------


def test_single_path_nas_adds_up_to_the_prediction_itself(noisy, tmp_path):
    table = single_path_table(noisy)
    lut = json.loads(table.to_json())
    assert sorted(map(int, lut)) == list(range(22))
    generator = np.random.default_rng(0)
    for _ in range(50):
        chosen = generator.integers(0, 4, 20)
        theirs = table.rest_ms + sum(lut[str(1 + p)][str(c)] for p, c in enumerate(chosen))
        names = [*(SINGLE_PATH_CANDIDATES[c] for c in chosen), "3x3_MBConv6"]
        choices = [SPACE.candidates[p].index(name) for p, name in enumerate(names)]
        ours = noisy.predict(np.array([choices]))[0]
        assert theirs == pytest.approx(ours, abs=1e-9)
    path = tmp_path / "table.json"
    path.write_text(table.to_json())
    assert len(read_single_path_table(path)) == 22 * 4


def test_single_path_nas_needs_its_four_candidates(noisy):
    few = Without(noisy, lambda row: (row.position, row.candidate) != (3, "3x3_MBConv3"))
    with pytest.raises(CoverageError, match="3x3_MBConv3 at position 3"):
        single_path_table(few)


# The collection itself ---------------------------------------------------------------------


def test_the_real_table_of_a_pixel_1_predicts():
    path = public("pixel1-lut", "proxylessnas_pixel1.yaml")
    table = read_yaml_table(path)
    assert len(table) == 72
    estimator = LatencyEstimator(path)
    predictor = predictor_from_table(table, SPACE)
    choices = SPACE.sample_choices(200, seed=3)
    theirs = [expected_latency(estimator, row.tolist()) for row in choices]
    assert np.abs(predictor.predict(choices) - theirs).max() < 1e-9
    with pytest.raises(CoverageError):
        predictor_from_table(table, ProxylessSpace(widths=MOBILE_WIDTHS))


def test_the_real_table_of_single_path_nas():
    table = read_single_path_table(public("pixel1-lut", "single_path_nas_pixel1.json"))
    assert len(table) == 88
    assert table.total_ms(["1/0"]) == 4.4905


def test_a_standard_deviation_is_kept_as_variance(tmp_path):
    path = tmp_path / "lut.yaml"
    path.write_text("a-key:\n  mean: 1.5\n  std: 0.2\nb: {mean: 2.0, var: 0.5, std: 9.0}\n")
    entries = read_yaml_table(path).entries
    assert entries["a-key"].variance == pytest.approx(0.04)
    assert entries["b"].variance == 0.5
