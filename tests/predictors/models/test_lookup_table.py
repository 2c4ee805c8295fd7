import numpy as np
import pytest
from synthetic_latency import FIXED_MS, SPACE, block_costs_ms, measured

from latprof.errors import CoverageError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor

TABLES = space_tables(SPACE)
TRUTH = TABLES.padded(block_costs_ms())


@pytest.fixture(scope="module")
def table():
    return LookupTablePredictor(SPACE).fit(*measured(2000, noise=0.005))


def test_entries_are_the_blocks_costs_in_milliseconds(table):
    anchored = np.array(["Zero" in names for names in SPACE.candidates])
    worst = np.nanmax(np.abs(table.table_ - TRUTH), axis=1)
    assert anchored.sum() == 15
    assert worst[anchored].max() < 0.1  # the zero operation fixes their level
    relative = np.abs(table.table_ / np.where(TRUTH == 0, np.nan, TRUTH) - 1)
    assert np.nanmax(relative[~anchored]) < 0.4  # shapes fix theirs, roughly
    assert table.fixed_ms_ == pytest.approx(FIXED_MS, abs=1.5)


def test_the_zero_operation_is_0_ms_and_missing_candidates_are_nan(table):
    assert table.table_.shape == (21, 7)
    assert np.isnan(table.table_[0, 6])
    assert np.all(table.table_[[1, 2, 3], 6] == 0)
    assert np.nanmin(table.table_) >= 0


def test_a_prediction_is_the_fixed_part_and_the_entries(table):
    choices = SPACE.sample_choices(50, seed=9)
    entries = table.table_[np.arange(21), choices]
    np.testing.assert_allclose(
        table.predict(choices), table.fixed_ms_ + entries.sum(axis=1), rtol=1e-12
    )


def test_rows_carry_the_keys_of_the_field_and_counts(table):
    rows = table.rows()
    assert len(rows) == 141
    first = rows[0]
    assert (first.block, first.candidate) == ("stage1.block0", "3x3_MBConv3")
    assert first.key == (
        "expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0"
    )
    assert first.latency_ms == table.table_[0, 0]
    assert sum(row.count for row in rows) == 2000 * 21


def test_an_entry_never_seen_is_named_and_never_0_ms():
    choices, latency = measured(300, noise=0.005)
    kept = (choices[:, 2] != 4) & (choices[:, 7] != 6)
    table = LookupTablePredictor(SPACE).fit(choices[kept], latency[kept])
    assert np.isnan(table.table_[2, 4])
    assert np.isnan(table.table_[7, 6])
    assert np.isfinite(table.predict(choices[kept])).all()
    with pytest.raises(CoverageError) as caught:
        table.predict(choices)
    (block,) = SPACE.part_blocks(2, (4,))
    assert len(caught.value.missing) == 2
    assert caught.value.missing[0] == f"stage1.block2 {block.key}"
    assert "stage2.block3 zero-input" in caught.value.missing[1]
    assert "stage1.block2 expanded_conv-input" in str(caught.value)


def test_a_long_list_of_missing_entries_is_cut_in_the_message_only():
    choices, latency = measured(8)
    table = LookupTablePredictor(SPACE).fit(choices, latency)
    with pytest.raises(CoverageError, match=r"and [0-9]+ more") as caught:
        table.predict(SPACE.sample_choices(100))
    assert len(caught.value.missing) > 20


def test_with_rows_as_few_as_columns_it_does_not_overfit():
    train, test = measured(140, noise=0.008), measured(1000, seed=5)

    def error(predictor):
        difference = predictor.fit(*train).predict(test[0]) - test[1]
        return np.sqrt(np.mean(difference**2)) / test[1].mean()

    shrunk, plain = error(LookupTablePredictor(SPACE)), error(LinearPredictor(SPACE))
    assert shrunk < 0.01
    assert shrunk < plain / 2


def test_linear_counts_a_candidate_never_seen_as_the_mean_of_its_position():
    choices, latency = measured(600, noise=0.005)
    kept = choices[:, 4] != 2
    linear = LinearPredictor(SPACE).fit(choices[kept], latency[kept])
    assert linear.table_[4, 2] == pytest.approx(0, abs=1e-8)
    np.testing.assert_allclose(np.nansum(linear.table_, axis=1), 0, atol=1e-6)
