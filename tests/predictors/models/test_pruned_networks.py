"""Whether dead operators take time is seen in the rows, and kept in the pack."""

import functools
import json
from typing import Any

import numpy as np
import pytest

from latprof.datasets.spaces.nasbench201 import NASBench201Space
from latprof.errors import PackError
from latprof.predictors.models import hybrid, pruned_networks, transfer_predictor
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.models.hybrid import HybridPredictor
from latprof.predictors.models.pruned_networks import fit_networks
from latprof.predictors.models.transfer_predictor import TransferPredictor
from latprof.predictors.pack.saving import load_pack, save_pack

SPACE = NASBench201Space()
ALL = SPACE.sample_choices(2000, seed=1)
COSTS = np.array([0.05, 0.1, 0.8, 2.0, 0.4])
#: How much of the time of dead operators three devices take.
SHARES = {"pruned": 0.0, "unpruned": 1.0, "both": 0.5}


def truth_ms(share, choices=ALL):
    named, left = (COSTS[each].sum(axis=1) for each in (choices, SPACE.pruned(choices)))
    return 5 + share * named + (1 - share) * left


def measured_ms(share, choices=ALL):
    latency = truth_ms(share, choices)
    return latency * np.random.default_rng(7).normal(1, 0.01, len(latency))


@functools.cache
def fitted_to(networks, rows):
    """Fitted to so many rows of a device that runs these networks; not to be changed."""
    return HybridPredictor(SPACE).fit(ALL[:rows], measured_ms(SHARES[networks])[:rows])


def error(predictor, share):
    return np.sqrt(np.mean((predictor.predict(ALL[1000:]) - truth_ms(share)[1000:]) ** 2))


@pytest.mark.parametrize("rows", [20, 300])
@pytest.mark.parametrize("networks", ["pruned", "unpruned"])
def test_the_rows_show_what_a_device_runs(rows, networks):
    fitted = fitted_to(networks, rows)
    assert fitted.networks_ == networks
    assert error(fitted, SHARES[networks]) < (0.5 if rows == 20 else 0.1)


def test_something_between_is_a_blend_of_both():
    fitted = fitted_to("both", 300)
    assert fitted.networks_ == "both"
    assert error(fitted, 0.5) < 0.3


def test_intervals_hold_whichever_is_taken():
    latency = measured_ms(0.0)
    low, high = fitted_to("pruned", 300).predict_interval(ALL[300:])
    inside = (low <= latency[300:]) & (latency[300:] <= high)
    assert 0.82 < inside.mean() < 0.97


@pytest.fixture
def large(monkeypatch):
    """A space as large as those that hold no latency for every architecture."""
    for module in (hybrid, pruned_networks, transfer_predictor):
        monkeypatch.setattr(module, "is_small", lambda _: False)


@pytest.mark.parametrize("folded", [True, False])
def test_the_choice_is_in_the_pack(folded, tmp_path, request):
    if not folded:
        request.getfixturevalue("large")
    fitted = HybridPredictor(SPACE).fit(ALL[:60], measured_ms(0.0)[:60])
    assert fitted.networks_ == "pruned"
    assert (fitted.terms() is None) == (not folded)
    path = tmp_path / "some.pack"
    save_pack(fitted, path)
    again: Any = load_pack(path).predictor
    assert again.networks_ == "pruned"
    np.testing.assert_allclose(again.predict(ALL), fitted.predict(ALL))
    np.testing.assert_allclose(again.predict(ALL), again.predict(SPACE.pruned(ALL)), rtol=1e-9)


def test_a_pack_that_names_no_networks_is_refused_and_an_older_one_read():
    files = HybridPredictor(SPACE).fit(ALL[:30], measured_ms(1.0)[:30]).to_files()
    table = json.loads(files["table.json"])

    def read_again(**changed):
        return HybridPredictor.from_files(
            SPACE, {**files, "table.json": json.dumps(changed).encode()}
        )

    with pytest.raises(PackError, match="networks"):
        read_again(**{**table, "networks": "some"})
    del table["networks"]
    assert read_again(**table).networks_ == "unpruned"


@pytest.mark.parametrize("networks", ["pruned", "unpruned"])
def test_a_transfer_sees_it_too(networks, tmp_path):
    """Sources that run dead operators, and a device that does or does not."""
    generator = np.random.default_rng(3)
    sources = [
        make_predictor("linear", SPACE).fit(
            ALL[:300], truth_ms(1.0)[:300] ** power * generator.normal(1, 0.01, 300)
        )
        for power in (1.0, 1.2)
    ]
    share = SHARES[networks]
    fitted = TransferPredictor(SPACE, sources).fit(ALL[300:320], measured_ms(share)[300:320])
    assert fitted.networks_ == networks
    assert error(fitted, share) < 0.5
    path = tmp_path / "some.pack"
    save_pack(fitted, path)
    again: Any = load_pack(path).predictor
    assert again.networks_ == networks
    np.testing.assert_allclose(again.predict(ALL), fitted.predict(ALL))


def test_many_rows_fit_only_the_hypotheses_that_some_of_them_leave():
    latency = truth_ms(0.0)
    asked = []

    def fit(networks, choices, latency_ms):
        asked.append((networks, len(choices)))
        wrong = 0.0 if networks == "pruned" else 1.0
        return Held(truth_ms(wrong, choices))

    found = fit_networks(SPACE, ALL, latency, fit)
    assert found.networks == "pruned"
    assert asked == [("unpruned", 1000), ("pruned", 1000), ("pruned", 2000)]
    # Where there is a quicker fit, that leaves hypotheses out from fewer rows on.
    asked.clear()
    quick = []

    def quick_fit(networks, choices, latency_ms):
        quick.append(networks)
        return fit(networks, choices, latency_ms)

    assert fit_networks(SPACE, ALL[:300], latency[:300], fit, quick_fit).networks == "pruned"
    assert quick == ["unpruned", "pruned"]
    assert asked == [("unpruned", 300), ("pruned", 300), ("pruned", 300)]


class Held:
    def __init__(self, held_ms):
        self.held_ms = held_ms


def test_rows_without_dead_operators_ask_nothing():
    choices = ALL[(SPACE.pruned(ALL) == ALL).all(axis=1)]
    asked = []

    def fit(networks, choices, latency_ms):
        asked.append(networks)
        return Held(latency_ms)

    assert fit_networks(SPACE, choices, truth_ms(0.0, choices), fit).networks == "unpruned"
    assert asked == ["unpruned"]
