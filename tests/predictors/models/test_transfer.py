"""A new device from a few measurements and the predictors of other devices."""

import numpy as np
import pytest
import sklearn.base
from small_space import SmallSpace
from synthetic_latency import SPACE

from latprof.errors import CoverageError, InvalidValueError, NotEnoughDataError, PackError
from latprof.predictors.features.block_features import space_tables
from latprof.predictors.fitting.ridge import fit_ridge
from latprof.predictors.fitting.transfer_model import (
    FeatureScale,
    TransferFeatures,
    choose_architectures,
    fit_transfer,
)
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.models.transfer_predictor import (
    TransferPredictor,
    choose_for_transfer,
    transfer_features,
)
from latprof.predictors.pack.saving import load_pack, save_pack

EVERYTHING = SPACE.sample_choices(3000, seed=50)


def device_ms(seed, choices=EVERYTHING):
    """A device: rates of its own for each total of the shapes, and a little for each block."""
    generator = np.random.default_rng(seed)
    tables = space_tables(SPACE)
    rates = generator.lognormal(0, 1, tables.totals.shape[1])
    totals = tables.totals / np.maximum(tables.totals.max(axis=0), 1e-300)
    costs = totals @ rates + 0.05 * generator.random(len(totals))
    return 5 + tables.sums(tables.columns(choices), costs[:, None])[:, 0]


def noisy(latency, seed=0):
    return latency * np.random.default_rng(seed).normal(1, 0.01, len(latency))


def rho(a, b):
    return np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1]


@pytest.fixture(scope="module")
def sources():
    """Five other devices, each predicted from 300 networks."""
    return [
        make_predictor("linear", SPACE).fit(EVERYTHING[:300], noisy(device_ms(seed)[:300], seed))
        for seed in range(1, 6)
    ]


@pytest.fixture(scope="module")
def new_device():
    return noisy(device_ms(99), 99)


@pytest.fixture(scope="module")
def chosen(sources):
    return choose_for_transfer(SPACE, sources, 10)


@pytest.fixture(scope="module")
def transferred(sources, chosen):
    return TransferPredictor(SPACE, sources).fit(chosen, noisy(device_ms(99, chosen), 7))


# Accuracy ----------------------------------------------------------------------------------


def test_ten_chosen_networks_predict_the_rest_better_than_a_ridge_on_the_sources(
    sources, chosen, transferred, new_device
):
    predicted = np.stack([source.predict(chosen) for source in sources], axis=1)
    ridge = fit_ridge(predicted, noisy(device_ms(99, chosen), 7))
    everywhere = np.stack([source.predict(EVERYTHING) for source in sources], axis=1)
    by_ridge = rho(ridge.intercept + everywhere @ ridge.coefficients, new_device)
    by_transfer = rho(transferred.predict(EVERYTHING), new_device)
    assert by_transfer > 0.95
    assert by_transfer > by_ridge


def test_the_predictions_are_milliseconds(transferred, new_device):
    errors = transferred.predict(EVERYTHING) / new_device - 1
    assert np.sqrt(np.mean(errors**2)) < 0.05


def test_a_device_that_is_a_source_times_a_factor_needs_few_networks(sources):
    choices = choose_for_transfer(SPACE, sources, 6)
    twin = TransferPredictor(SPACE, sources).fit(choices, 2 * sources[3].predict(choices))
    assert int(np.argmax(twin.weights_)) == 3
    assert rho(twin.predict(EVERYTHING), sources[3].predict(EVERYTHING)) > 0.97


def test_five_drawn_networks_of_such_a_device_say_which_source_it_is(sources):
    errors = []
    for source in sources:
        expected = 2 * source.predict(EVERYTHING)
        for begin in range(0, 20, 5):
            rows = slice(begin, begin + 5)
            twin = TransferPredictor(SPACE, sources).fit(EVERYTHING[rows], expected[rows])
            missed = twin.predict(EVERYTHING) - expected
            errors.append(np.sqrt(np.mean(missed**2)) / expected.std())
    assert np.mean(errors) < 0.155


def test_what_no_source_knows_is_learned_from_more_networks(sources):
    choices = EVERYTHING[:300]
    special = device_ms(99, choices) + 6.0 * (choices[:, 3] == 2)
    fitted = TransferPredictor(SPACE, sources).fit(choices[:100], special[:100])
    left = fitted.predict(choices[100:]) - special[100:]
    assert np.sqrt(np.mean(left**2)) < 0.35 * 6.0


def test_an_outlier_hardly_changes_what_is_predicted(sources, chosen, transferred):
    latency = noisy(device_ms(99, chosen), 7)
    spoiled = latency.copy()
    spoiled[6] *= 3
    features = transfer_features(SPACE, sources, chosen)
    scale = FeatureScale.of(transfer_features(SPACE, sources, EVERYTHING))
    fit = fit_transfer(features, spoiled, scale)
    assert int(np.argmin(fit.row_weights)) == 6
    again = TransferPredictor(SPACE, sources).fit(chosen, spoiled).predict(EVERYTHING)
    expected = transferred.predict(EVERYTHING)
    assert rho(again, expected) > 0.85


def test_rows_left_out_are_what_the_other_rows_predict(sources, chosen, transferred):
    latency = noisy(device_ms(99, chosen), 7)
    for row in range(len(chosen)):
        others = np.arange(len(chosen)) != row
        fitted = TransferPredictor(SPACE, sources).fit(chosen[others], latency[others])
        predicted = fitted.predict(chosen[[row]])[0]
        assert abs(transferred.out_of_fold_ms_[row] - predicted) < 0.25 * latency.std()


def test_the_noise_found_is_more_where_there_is_more(sources):
    choices = EVERYTHING[:40]
    features = transfer_features(SPACE, sources, choices)
    scale = FeatureScale.of(transfer_features(SPACE, sources, EVERYTHING))
    latency = device_ms(99, choices)
    shaken = latency + np.random.default_rng(0).normal(0, latency.std(), len(latency))
    assert fit_transfer(features, latency, scale).noise < 0.02
    assert fit_transfer(features, shaken, scale).noise > 0.2


@pytest.mark.parametrize("rows", [3, 4, 30])
def test_equal_latencies_and_sources_that_do_not_vary_give_that_latency(rows):
    features = TransferFeatures(np.ones((60, 2)), np.zeros((60, 1)), np.eye(60)[:, :3])
    fit = fit_transfer(
        features.rows(np.arange(rows)), np.full(rows, 7.0), FeatureScale.of(features)
    )
    np.testing.assert_allclose(fit.predict(features), 7.0)
    np.testing.assert_allclose(fit.left_out_ms, 7.0)


# Which networks to measure -------------------------------------------------------------------


def test_the_choice_is_always_the_same_distinct_and_its_beginning_is_the_smaller_choice(sources):
    pool = EVERYTHING[:500]
    twelve = choose_for_transfer(SPACE, sources, 12, pool=pool)
    assert len(np.unique(twelve, axis=0)) == 12
    assert set(map(tuple, twelve.tolist())) <= set(map(tuple, pool.tolist()))
    np.testing.assert_array_equal(choose_for_transfer(SPACE, sources, 5, pool=pool), twelve[:5])
    shuffled = SPACE.architectures(pool[::-1])
    np.testing.assert_array_equal(choose_for_transfer(SPACE, sources, 12, pool=shuffled), twelve)


def test_chosen_networks_teach_more_than_drawn_ones(sources, chosen, transferred, new_device):
    generator = np.random.default_rng(3)
    drawn = []
    for _ in range(8):
        rows = generator.choice(len(EVERYTHING), 10, replace=False)
        fitted = TransferPredictor(SPACE, sources).fit(EVERYTHING[rows], new_device[rows])
        drawn.append(rho(fitted.predict(EVERYTHING), new_device))
    assert rho(transferred.predict(EVERYTHING), new_device) > np.mean(drawn)


def test_each_choice_leaves_the_least_variance_that_one_more_can():
    generator = np.random.default_rng(0)
    pool = TransferFeatures(
        generator.normal(size=(40, 3)), generator.normal(size=(40, 2)), np.eye(4)[np.arange(40) % 4]
    )
    scaled = FeatureScale.of(pool).apply(pool)
    covariance = (
        9.0
        + scaled.source_ms @ scaled.source_ms.T / 3
        + 0.11 * scaled.shapes @ scaled.shapes.T
        + 0.143 / 4 * scaled.choices @ scaled.choices.T
    )

    def left(rows):
        known = covariance[np.ix_(rows, rows)] + 0.1 * np.eye(len(rows))
        cross = covariance[:, rows]
        return np.trace(covariance - cross @ np.linalg.solve(known, cross.T))

    found: list[int] = []
    for best in choose_architectures(pool, 6).tolist():
        rest = [row for row in range(40) if row not in found]
        assert best == min(rest, key=lambda row: left([*found, row]))
        found.append(best)


@pytest.mark.parametrize("count", [0, 41])
def test_more_networks_than_there_are_cannot_be_chosen(sources, count):
    with pytest.raises(InvalidValueError, match="1 to 40"):
        choose_for_transfer(SPACE, sources, count, pool=EVERYTHING[:40])


# The predictor -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "xgboost", "hybrid"])
def test_the_folded_sources_predict_what_the_sources_do(kind):
    space = SmallSpace()
    choices = space.sample_choices(60)
    generator = np.random.default_rng(4)
    first, second = (
        10 + choices @ rates + generator.random(60) for rates in ([1, 2, 3], [3, 1, 2])
    )
    fitted = [make_predictor(kind, space).fit(choices, latency) for latency in (first, second)]
    rows = choices[:12]
    latency = first[:12] + 0.5 * second[:12]
    transferred = TransferPredictor(space, fitted).fit(rows, latency)
    scale = FeatureScale.of(transfer_features(space, fitted, space.sample_choices(60)))
    fit = fit_transfer(transfer_features(space, fitted, rows), latency, scale)
    expected = fit.predict(transfer_features(space, fitted, choices))
    np.testing.assert_allclose(transferred.predict(choices), expected, rtol=1e-5)


def test_trees_of_sources_are_kept(with_trees, chosen):
    assert len(with_trees.trees_)
    fitted = TransferPredictor(SPACE, [with_trees, with_trees])
    fitted.fit(chosen, 3 * with_trees.predict(chosen))
    assert len(fitted.trees_) == 2 * len(with_trees.trees_)
    errors = fitted.predict(EVERYTHING) / (3 * with_trees.predict(EVERYTHING)) - 1
    assert np.sqrt(np.mean(errors**2)) < 0.05


def test_files_give_the_same_predictor_back_without_its_sources(transferred):
    again = TransferPredictor.from_files(SPACE, transferred.to_files())
    np.testing.assert_array_equal(again.predict(EVERYTHING), transferred.predict(EVERYTHING))
    np.testing.assert_array_equal(again.weights_, transferred.weights_)
    assert again.get_params() == {"space": SPACE, "sources": (), "block_times": None}
    with pytest.raises(InvalidValueError, match="no other device to transfer from"):
        again.clone().fit(EVERYTHING[:5], np.ones(5))


def test_a_pack_holds_it(transferred, tmp_path):
    save_pack(transferred, tmp_path / "new.pack")
    again = load_pack(tmp_path / "new.pack").predictor
    np.testing.assert_array_equal(again.predict(EVERYTHING), transferred.predict(EVERYTHING))
    low, high = again.predict_interval(EVERYTHING)
    assert np.all((low <= again.predict(EVERYTHING)) & (again.predict(EVERYTHING) <= high))


@pytest.mark.parametrize("name", ["table.json", "trees.json"])
def test_files_that_are_missing_or_malformed_are_refused(transferred, name):
    files = transferred.to_files()
    with pytest.raises(PackError, match=name):
        TransferPredictor.from_files(SPACE, {n: d for n, d in files.items() if n != name})
    with pytest.raises(PackError):
        TransferPredictor.from_files(SPACE, {**files, name: b'{"intercept_ms": "7"}'})


def test_it_is_no_predictor_of_comparisons():
    assert "transfer" not in predictor_names()


@pytest.mark.parametrize("clone_of", [sklearn.base.clone, lambda predictor: predictor.clone()])
def test_a_clone_has_the_sources_and_fits_alike(transferred, chosen, clone_of):
    clone = clone_of(transferred)
    assert clone.sources is transferred.sources
    assert not clone.fitted
    clone.fit(chosen, noisy(device_ms(99, chosen), 7))
    np.testing.assert_array_equal(clone.predict(EVERYTHING), transferred.predict(EVERYTHING))


def test_the_expected_latency_of_certain_choices_is_the_prediction(transferred):
    torch = pytest.importorskip("torch")
    choices = EVERYTHING[:4]
    one_hot = np.zeros((*choices.shape, int(SPACE.num_choices.max())))
    np.put_along_axis(one_hot, choices[..., None].astype(np.int64), 1.0, axis=2)
    expected = expected_latency(transferred, torch.tensor(one_hot)).numpy()
    np.testing.assert_allclose(expected, transferred.predict(choices), rtol=1e-6)


def test_sources_that_cannot_be_used_are_refused(sources, chosen):
    latency = device_ms(99, chosen)
    small = SmallSpace()
    other = make_predictor("linear", small).fit(small.sample_choices(30), np.arange(1.0, 31.0))
    for wrong, said in (
        ([], "no other device"),
        ([*sources, make_predictor("linear", SPACE)], "not fitted yet"),
        ([*sources, other], "another search space"),
    ):
        with pytest.raises(InvalidValueError, match=said):
            TransferPredictor(SPACE, wrong).fit(chosen, latency)
        with pytest.raises(InvalidValueError, match=said):
            choose_for_transfer(SPACE, wrong, 3)


def test_a_source_that_does_not_know_every_candidate_is_refused(chosen):
    rows = EVERYTHING[EVERYTHING[:, 0] != 0][:100]
    table = make_predictor("lookup-table", SPACE).fit(rows, device_ms(1, rows))
    with pytest.raises(CoverageError):
        TransferPredictor(SPACE, [table]).fit(chosen, device_ms(99, chosen))


def test_two_rows_are_too_few(sources, chosen):
    with pytest.raises(NotEnoughDataError, match="at least 3"):
        TransferPredictor(SPACE, sources).fit(chosen[:2], [1.0, 2.0])


@pytest.mark.parametrize("wrong", [["a.pack"], 5, [None]])
def test_what_is_no_predictor_is_no_source(wrong):
    with pytest.raises(InvalidValueError, match="no predictors"):
        choose_for_transfer(SPACE, wrong, 3)
    with pytest.raises(InvalidValueError, match="no predictors"):
        TransferPredictor(SPACE, wrong).fit(EVERYTHING[:3], np.ones(3))


def test_so_many_rows_that_the_fit_would_not_end_are_refused(sources):
    with pytest.raises(InvalidValueError, match=r"at most 1,000, got 1,001.*hybrid"):
        TransferPredictor(SPACE, sources).fit(EVERYTHING[:1001], np.arange(1.0, 1002.0))
