"""The prior over operators: what it learns from few rows, and where operators say nothing."""

import numpy as np
import pytest

from latprof.datasets.published.loading import load
from latprof.datasets.spaces.named import space_from_description
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting import block_prior
from latprof.predictors.fitting.block_prior import fit_block_costs, operator_priors


@pytest.fixture(scope="module")
def once_for_all():
    frame = load("ofa-h100-torch-b8")
    space = space_from_description(frame.attrs["space"])
    choices = space.choices([space.parse(text) for text in frame["architecture"]])
    tables = space_tables(space)
    columns = tables.columns(space.canonical(choices))
    train = (frame["split"] == "train").to_numpy()
    return tables, columns, frame["latency_ms"].to_numpy(), train


def relative_rmse(costs, columns, latency):
    return np.sqrt(np.mean((costs.predict(columns) - latency) ** 2)) / latency.mean()


def test_networks_at_25_resolutions_tell_the_operators_of_a_gpu_apart(once_for_all):
    tables, columns, latency, train = once_for_all
    costs = fit_block_costs(tables, columns[train], latency[train])
    assert relative_rmse(costs, columns[~train], latency[~train]) < 0.006
    few = np.random.default_rng(0).permutation(np.flatnonzero(train))[:300]
    costs = fit_block_costs(tables, columns[few], latency[few])
    assert relative_rmse(costs, columns[~train], latency[~train]) < 0.013


def test_an_operator_costs_the_same_wherever_it_stands():
    """Costs drawn for each operator by itself are found, also in entries that no row had."""
    space = OFAMobileNetV3Space()
    tables = space_tables(space)
    columns = tables.columns(space.canonical(space.sample_choices(1500, 3)))
    elements = np.array([op.activation_elements for op in tables.operators], dtype=float)
    cost = elements * np.random.default_rng(0).uniform(0.5, 1.5, len(elements))
    latency = (tables.one_hot(columns) @ tables.operator_counts) @ cost
    latency *= 10 / latency.mean()
    costs = fit_block_costs(tables, columns[:1000], latency[:1000])
    unseen = tables.counts(columns[:1000]) == 0
    new = np.flatnonzero(unseen[columns].any(axis=1))
    assert len(new) > 50
    assert relative_rmse(costs, columns[new], latency[new]) < 0.02


def test_entries_and_features_are_of_one_model(once_for_all):
    tables, columns, latency, _ = once_for_all
    costs = fit_block_costs(tables, columns[:60], latency[:60])
    totals, others = costs.prior.groups(columns)
    features = np.hstack([totals, costs.prior.weight * others])
    by_coefficients = costs.intercept + features @ costs.ridge.coefficients
    np.testing.assert_allclose(costs.predict(columns), by_coefficients, rtol=1e-9)


def test_a_draw_of_many_rows_chooses_the_prior_and_all_rows_are_fitted(once_for_all, monkeypatch):
    tables, columns, latency, train = once_for_all
    monkeypatch.setattr(block_prior, "TELLING_ROWS", 200)
    some = block_prior.telling_rows(tables, 800)
    assert len(some) == 200
    costs = fit_block_costs(tables, columns[train], latency[train])
    assert len(costs.ridge.left_out) == 800
    assert relative_rmse(costs, columns[~train], latency[~train]) < 0.006


def test_candidates_that_operators_cannot_tell_apart_are_told_apart_by_rows():
    class Twins(ProxylessSpace):
        name = "twins-of-a-prior"

        @property
        def candidates(self):
            return tuple(("a", "b") for _ in super().candidates)

        def blocks(self, architecture):
            return super().blocks(type(architecture)(self.name, (0,) * len(architecture.choices)))

    tables = space_tables(Twins())
    choices = np.random.default_rng(0).integers(0, 2, (60, 21)).astype(np.uint8)
    columns = tables.columns(choices)
    latency = 20 + choices @ np.linspace(0.1, 1.0, 21)
    costs = fit_block_costs(tables, columns[:40], latency[:40])
    assert relative_rmse(costs, columns[40:], latency[40:]) < 0.005


def test_a_space_of_very_many_operators_keeps_what_similar_ones_share(monkeypatch, once_for_all):
    tables, columns, latency, train = once_for_all
    monkeypatch.setattr(block_prior, "MOST_OPERATORS", 100)
    operator_priors.cache_clear()
    try:
        short = operator_priors(tables)
        costs = fit_block_costs(tables, columns[train], latency[train])
    finally:
        operator_priors.cache_clear()
    assert all(prior.root.shape[1] < 500 for prior in short)
    assert relative_rmse(costs, columns[~train], latency[~train]) < 0.02
