"""Tables from the kernel times of a few networks, alone and as a source of a transfer."""

import numpy as np
import pytest
from synthetic_latency import SPACE

from latprof.predictors.features.block_features import space_tables
from latprof.predictors.models.block_times import BlockTimes
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.models.transfer_predictor import TransferPredictor, choose_for_transfer
from latprof.predictors.pack.saving import load_pack, save_pack

EVERYTHING = SPACE.sample_choices(2000, seed=51)
FIXED_MS = 5.0


def costs_ms(seed):
    """Costs of all blocks on a device: rates for the shapes' totals, and something of their own."""
    generator = np.random.default_rng(seed)
    tables = space_tables(SPACE)
    rates = generator.lognormal(0, 1, tables.totals.shape[1])
    totals = tables.totals / np.maximum(tables.totals.max(axis=0), 1e-300)
    costs = (totals @ rates) * generator.lognormal(0, 0.15, len(totals))
    return np.where(tables.zero_columns, 0.0, costs)


def latency_ms(choices, seed, noise=0.0):
    tables = space_tables(SPACE)
    exact = FIXED_MS + tables.sums(tables.columns(choices), costs_ms(seed)[:, None])[:, 0]
    return exact * np.random.default_rng(seed).normal(1, noise, len(exact))


def times_of(choices, seed, noise=0.01):
    block_ms = costs_ms(seed)[space_tables(SPACE).columns(choices)]
    return BlockTimes(
        choices, block_ms * np.random.default_rng(seed).normal(1, noise, block_ms.shape)
    )


def rho(a, b):
    return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]


@pytest.fixture(scope="module")
def sources():
    return [
        make_predictor("linear", SPACE).fit(EVERYTHING[:300], latency_ms(EVERYTHING[:300], seed))
        for seed in (1, 2, 3)
    ]


@pytest.fixture(scope="module")
def chosen(sources):
    return choose_for_transfer(SPACE, sources, 10)


def test_kernels_belong_to_the_block_whose_name_theirs_begin_with():
    architecture = SPACE.architectures(EVERYTHING[:1])[0]
    blocks = [block for block in SPACE.blocks(architecture) if block.position is not None]
    first, last = blocks[0].name, blocks[-1].name
    kernels = [(f"{first}.expand", 1.0), (f"{first}.se.squeeze", 0.25), (last, 2.0)]
    unknown = [("", 9.0), ("reorder_7", 9.0), (f"{first}x.expand", 9.0), ("classifier", 9.0)]

    times = BlockTimes.of_kernels(SPACE, [architecture], [kernels + unknown])

    assert np.nansum(times.block_ms) == pytest.approx(3.25)
    assert sorted(times.block_ms[np.isfinite(times.block_ms)].tolist()) == [1.25, 2.0]


def test_kernels_that_a_network_reports_add_up_to_its_blocks():
    architectures = SPACE.architectures(EVERYTHING[:3])
    kernels = [
        [(operator.name, float(operator.macs)) for operator in SPACE.operators(architecture)]
        for architecture in architectures
    ]
    times = BlockTimes.of_kernels(SPACE, architectures, kernels)
    tables = space_tables(SPACE)
    for row, columns in enumerate(tables.columns(EVERYTHING[:3])):
        macs = [
            sum(op.macs for block in tables.column_blocks[column] for op in block.operators())
            for column in columns
        ]
        np.testing.assert_allclose(np.nan_to_num(times.block_ms[row]), macs)


def test_ten_networks_give_a_table_of_all_blocks(chosen):
    times = times_of(chosen, seed=9)
    table = times.table(SPACE)
    assert rho(table.predict(EVERYTHING), latency_ms(EVERYTHING, 9)) > 0.97
    assert (table.table_[np.isfinite(table.table_)] >= 0).all()


def test_too_few_blocks_give_no_table():
    times = times_of(EVERYTHING[:3], seed=9)
    block_ms = np.full(times.block_ms.shape, np.nan)
    block_ms[0, 0] = 1.0
    assert BlockTimes(times.choices, block_ms).table(SPACE) is None


def test_networks_are_taken_and_left_out_by_what_they_are():
    times = times_of(EVERYTHING[:6], seed=9)
    rest, some = times.without(EVERYTHING[[1, 4]]), times.of(EVERYTHING[[4, 1, 100]])
    np.testing.assert_array_equal(rest.choices, EVERYTHING[[0, 2, 3, 5]])
    np.testing.assert_array_equal(some.block_ms, times.block_ms[[1, 4]])


def test_kernels_teach_a_transfer_what_ten_latencies_cannot(sources, chosen):
    measured, truth = latency_ms(chosen, 9, 0.01), latency_ms(EVERYTHING, 9)
    without = TransferPredictor(SPACE, sources).fit(chosen, measured)
    with_kernels = TransferPredictor(SPACE, sources, times_of(chosen, 9)).fit(chosen, measured)
    assert rho(without.predict(EVERYTHING), truth) < 0.95
    assert rho(with_kernels.predict(EVERYTHING), truth) > 0.98
    assert len(without.weights_) == 3
    assert len(with_kernels.weights_) == 4
    assert np.argmax(np.abs(with_kernels.weights_)) == 3


def test_a_row_left_out_is_predicted_without_its_own_kernels(sources, chosen):
    measured = latency_ms(chosen, 9, 0.01)
    times = times_of(chosen, 9)
    fitted = TransferPredictor(SPACE, sources, times).fit(chosen, measured)
    others = TransferPredictor(SPACE, sources, times.without(chosen[:1]))
    others.fit(chosen[1:], measured[1:])
    # A predictor's answers have a floor and its features go through tables: not to the last digit.
    assert fitted.out_of_fold_ms_[0] == pytest.approx(others.predict(chosen[:1])[0], rel=1e-6)


def test_kernels_of_other_networks_help_too(sources, chosen):
    measured, truth = latency_ms(chosen[:4], 9), latency_ms(EVERYTHING, 9)
    without = TransferPredictor(SPACE, sources).fit(chosen[:4], measured)
    fitted = TransferPredictor(SPACE, sources, times_of(chosen[4:], 9)).fit(chosen[:4], measured)
    assert rho(fitted.predict(EVERYTHING), truth) > rho(without.predict(EVERYTHING), truth) + 0.1


def test_a_pack_holds_the_kernels_table_and_a_clone_fits_alike(sources, chosen, tmp_path):
    measured = latency_ms(chosen, 9, 0.01)
    fitted = TransferPredictor(SPACE, sources, times_of(chosen, 9)).fit(chosen, measured)
    again = fitted.clone().fit(chosen, measured)
    np.testing.assert_array_equal(again.predict(EVERYTHING), fitted.predict(EVERYTHING))
    save_pack(fitted, tmp_path / "new.pack")
    loaded = load_pack(tmp_path / "new.pack").predictor
    np.testing.assert_array_equal(loaded.predict(EVERYTHING), fitted.predict(EVERYTHING))
