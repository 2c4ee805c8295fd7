"""The model of the accuracies seen so far: what it predicts, and that it stays small."""

import numpy as np
import pytest
from known_problem import ALL, SPACE, accuracies

from latprof.searchers.evaluating.rank_model import RankModel


def told(rows, batch=25, seed=0):
    """A model of some of the known problem's networks, told a batch at a time."""
    chosen = ALL[np.random.default_rng(seed).permutation(len(ALL))[:rows]]
    model = RankModel(SPACE)
    for begin in range(0, rows, batch):
        part = chosen[begin : begin + batch]
        model.add(part, accuracies(part))
    return model, chosen


def ranks(values):
    return np.argsort(np.argsort(values)).astype(float)


def test_it_orders_networks_that_it_has_not_seen():
    model, chosen = told(200)
    others = model.unseen(ALL)
    mean, deviation = model.predict(others)

    assert len(model) == 200
    assert len(others) == len(ALL) - 200
    assert np.corrcoef(ranks(mean), ranks(accuracies(others)))[0, 1] > 0.9
    assert (deviation >= 0).all()
    assert model.predict(chosen)[1].mean() < deviation.mean()


def test_rows_in_batches_are_the_same_as_all_at_once():
    """The constants are chosen at 100 rows, and again at 200."""
    _, chosen = told(180)
    by_batch, at_once = RankModel(SPACE), RankModel(SPACE)
    for model, batch in ((by_batch, 5), (at_once, 80)):
        model.add(chosen[:100], accuracies(chosen[:100]))
        for begin in range(100, 180, batch):
            part = chosen[begin : begin + batch]
            model.add(part, accuracies(part))

    for one, other in zip(by_batch.predict(ALL[:500]), at_once.predict(ALL[:500]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_network_told_twice_counts_once():
    model, chosen = told(60)
    before = model.predict(ALL[:50])[0]
    model.add(chosen[:20], accuracies(chosen[:20]))

    assert len(model) == 60
    np.testing.assert_array_equal(model.predict(ALL[:50])[0], before)


def test_only_the_order_of_the_accuracies_matters():
    models = []
    for scale in (np.asarray, np.exp):
        model = RankModel(SPACE)
        model.add(ALL[::60], scale(accuracies(ALL[::60]) / 10))
        models.append(model)

    one, other = (model.predict(ALL[:100])[0] for model in models)
    np.testing.assert_array_equal(one, other)


def test_promising_ones_are_good_and_different():
    model, _ = told(120)
    others = model.unseen(ALL)
    chosen = model.promising(others, 12, doubt=0.5)

    assert len(np.unique(chosen, axis=0)) == 12
    assert accuracies(chosen).mean() > np.percentile(accuracies(others), 90)
    assert np.array_equal(model.promising(others[:5], 12, doubt=0.5), others[:5])


def test_equal_accuracies_are_no_error():
    model = RankModel(SPACE)
    model.add(ALL[:40], np.full(40, 90.0))
    mean, deviation = model.predict(ALL[40:60])

    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_few_rows_are_enough(rows):
    model = RankModel(SPACE)
    model.add(ALL[:rows], accuracies(ALL[:rows]))

    assert np.isfinite(model.predict(ALL[:10])[0]).all()


def test_its_rows_stay_bounded_and_the_best_are_kept():
    rows = 1500
    model, chosen = told(rows, batch=150)

    assert len(model) <= 1200
    assert not len(model.unseen(chosen))
    best = chosen[np.argsort(-accuracies(chosen))[:20]]
    others = model.unseen(ALL)
    assert model.predict(best)[1].mean() < 0.8 * model.predict(others)[1].mean()
