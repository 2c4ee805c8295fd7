"""Packs of predictors that were fitted in Python answer as those that ``latprof train`` makes."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InvalidValueError, PackSpaceError, TargetMismatchError
from latprof.graph.reader import read_network
from latprof.measurement.records import Target
from latprof.predictors.models.by_name import make_predictor
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.predictors.models.transfer_predictor import TransferPredictor
from latprof.predictors.pack.answering import predict_network
from latprof.predictors.pack.pack import Pack
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.predictors.training.split_training import train

TARGET = Target("cpu", "Example CPU", "onnxruntime", "1.2.3")
#: Architectures of a space with smaller images: no members of SPACE, but of the same operators.
OTHER = ProxylessSpace(resolution=192)


@pytest.fixture(scope="module")
def transferred():
    """A device twice as slow as two others, from twelve measurements."""
    choices, latency = measured(200, noise=0.01)
    sources = [make_predictor("linear", SPACE).fit(choices, scale * latency) for scale in (1, 3)]
    return TransferPredictor(SPACE, sources).fit(choices[:12], 2 * latency[:12])


def network(space, number):
    return read_network(space.onnx_bytes(space.sample(3, seed=8)[number]))


def test_it_answers_for_members_with_interval_bound_and_target(fitted, tmp_path):
    save_pack(fitted, tmp_path / "a.pack", target=TARGET)
    pack = load_pack(tmp_path / "a.pack")
    assert type(pack.predictor) is type(fitted)
    assert pack.target == TARGET
    assert pack.interval_coverage == 0.9
    assert 0 < pack.interval_relative < 0.5
    answer = predict_network(pack, network(SPACE, 0), "member", upper=0.9)
    assert answer.how == "architecture"
    assert answer.low_ms < answer.latency_ms < answer.high_ms
    assert answer.upper_ms > answer.latency_ms
    assert answer.latency_ms == fitted.predict([SPACE.parse(answer.architecture)])[0]


def test_it_answers_for_models_outside_the_space(fitted, tmp_path):
    save_pack(fitted, tmp_path / "a.pack")
    answer = predict_network(load_pack(tmp_path / "a.pack"), network(OTHER, 1), "other")
    assert answer.how == "operators"
    assert 0.9 < answer.coverage < 1  # stem, pool and classifier were never timed
    assert math.isnan(answer.low_ms)
    same = fitted.predict(SPACE.sample(2, seed=8)[1:])[0]  # with larger images
    assert 0.5 * same < answer.latency_ms < same


def test_a_pack_saved_fitted_answers_like_that_of_train():
    choices, latency = measured(200, noise=0.01)
    trained = train(SPACE, choices, latency, predictor="linear", target=TARGET, compare=False)
    rows = trained.predictor.rows_
    again = make_predictor("linear", SPACE).fit(rows.choices, rows.mean_ms)
    pack = Pack.of(again, TARGET)
    assert pack.operator_costs.to_bytes() == trained.operator_costs.to_bytes()
    assert pack.training_rows == trained.training_rows
    assert pack.interval_coverage == trained.interval_coverage
    assert pack.interval_relative == trained.interval_relative


def test_the_typical_interval_is_the_median_of_the_intervals(fitted):
    predicted = Pack.of(fitted).predict(SPACE.sample(101, seed=5))
    coverage, relative = predicted.typical_interval()
    shares = np.sort((predicted.high_ms - predicted.low_ms) / 2 / predicted.latency_ms)
    assert coverage == predicted.coverage == 0.9
    assert relative == pytest.approx(shares[50])
    assert Pack.of(fitted).predict([]).typical_interval() == (0.0, 0.0)


def test_rows_of_one_network_count_each_in_a_pack_and_once_in_its_predictor():
    choices, latency = measured(60, noise=0.01)
    rows = np.concatenate([choices, choices[:20]]), np.concatenate([latency, 1.1 * latency[:20]])
    fitted = make_predictor("linear", SPACE).fit(*rows)
    assert Pack.of(fitted).training_rows == 60
    pack = Pack.of(fitted, rows=rows)
    assert pack.training_rows == 80
    assert pack.operator_costs.to_bytes() != Pack.of(fitted).operator_costs.to_bytes()


def test_a_transfer_of_twelve_measurements_answers_for_other_models(transferred, tmp_path):
    save_pack(transferred, tmp_path / "a.pack", target=TARGET)
    pack = load_pack(tmp_path / "a.pack")
    answer = predict_network(pack, network(OTHER, 1), "other")
    assert answer.is_guess
    assert 0 < answer.coverage < 1
    assert pack.training_rows == 12
    member = predict_network(pack, network(SPACE, 1), "member", upper=0.9)
    assert member.upper_ms > member.latency_ms > answer.latency_ms


def test_costs_of_a_transfer_say_what_it_predicts(transferred):
    pack = Pack.of(transferred)
    costs = pack.operator_costs
    members = SPACE.sample(5, seed=77)
    told = [costs.predict(read_network(SPACE.onnx_bytes(each))).latency_ms for each in members]
    np.testing.assert_allclose(told, transferred.predict(members), rtol=0.1)
    _, own = pack.predict(members).typical_interval()
    assert costs.interval_relative_ > own


def test_ten_rows_are_enough_for_a_pack_that_knows_other_models():
    choices, latency = measured(10, noise=0.01)
    pack = train(SPACE, choices, latency, predictor="linear", compare=False)
    assert pack.training_rows == 8
    assert predict_network(pack, network(OTHER, 0), "other").latency_ms > 0


def test_without_a_calibration_the_interval_is_not_known(tmp_path):
    fitted: Any = make_predictor("lookup-table", SPACE).fit(*measured(300))
    table = LookupTablePredictor.of_entries(SPACE, fitted.table_, fitted.counts_, fitted.fixed_ms_)
    save_pack(table, tmp_path / "a.pack")
    pack = load_pack(tmp_path / "a.pack")
    answer = predict_network(pack, network(OTHER, 0), "other")
    assert answer.latency_ms > 0
    assert math.isnan(answer.low_ms)
    assert math.isnan(answer.high_ms)
    assert "not known" in answer._repr_html_()
    assert pack.interval_coverage == 0
    assert np.isnan(pack.predict(SPACE.sample(2)).high_ms).all()


def test_a_table_with_gaps_has_no_costs_and_says_so(tmp_path):
    fitted: Any = make_predictor("lookup-table", SPACE).fit(*measured(300))
    entries, counts = fitted.table_.copy(), fitted.counts_.copy()
    entries[0, 0], counts[0, 0] = np.nan, 0
    table = LookupTablePredictor.of_entries(SPACE, entries, counts)
    save_pack(table, tmp_path / "a.pack")
    pack = load_pack(tmp_path / "a.pack")
    assert pack.operator_costs is None
    with pytest.raises(PackSpaceError, match="no operator costs"):
        predict_network(pack, network(OTHER, 0), "other")


def test_entries_and_counts_of_a_table_must_fit():
    fitted: Any = make_predictor("lookup-table", SPACE).fit(*measured(300))
    with pytest.raises(InvalidValueError, match="wrong shape"):
        LookupTablePredictor.of_entries(SPACE, fitted.table_[:, :-1], fitted.counts_)
    with pytest.raises(InvalidValueError, match="do not fit its entries"):
        LookupTablePredictor.of_entries(SPACE, fitted.table_, np.zeros(fitted.counts_.shape))


def test_a_predictor_of_a_pack_is_saved_again_with_all_it_knows(tmp_path):
    pack = load_pack("proxyless-cpu-ort1")
    save_pack(pack.predictor, tmp_path / "a.pack", target=pack.target)
    again = load_pack(tmp_path / "a.pack")
    assert again.training_rows == pack.training_rows
    assert again.interval_coverage == pack.interval_coverage
    assert again.interval_relative == pytest.approx(pack.interval_relative, rel=0.1)
    model = network(OTHER, 0)
    expected = predict_network(pack, model, "other").latency_ms
    assert predict_network(again, model, "other").latency_ms == pytest.approx(expected, rel=0.05)


def test_a_target_is_added_but_not_replaced(rows, tmp_path):
    pack = Pack.of(make_predictor("linear", SPACE).fit(*rows))
    save_pack(pack, tmp_path / "a.pack", target=TARGET)
    assert load_pack(tmp_path / "a.pack").target == TARGET
    with pytest.raises(TargetMismatchError, match="batch 8"):
        save_pack(
            load_pack(tmp_path / "a.pack"),
            tmp_path / "a.pack",
            target=dataclasses.replace(TARGET, batch_size=8),
        )


def test_the_operator_costs_are_no_extra_file(rows, tmp_path):
    pack = Pack.of(make_predictor("linear", SPACE).fit(*rows))
    save_pack(pack, tmp_path / "a.pack")
    loaded = load_pack(tmp_path / "a.pack")
    assert not loaded.extra_files
    assert loaded.operator_costs.to_bytes() == pack.operator_costs.to_bytes()
    with pytest.raises(InvalidValueError, match="pack's own"):
        save_pack(
            dataclasses.replace(pack, extra_files={"operator_costs.json": b"{}"}), tmp_path / "b"
        )


def test_packs_and_predictions_are_shown_in_short():
    pack = load_pack("proxyless-cpu-ort1")
    assert len(repr(pack)) < 600
    assert "hybrid" in repr(pack)
    assert "4,000" in pack._repr_html_()
    prediction = pack.predict(pack.space.sample(25))
    assert len(repr(prediction)) < 600
    html = prediction._repr_html_()
    assert f"{prediction.latency_ms[0]:.3f}" in html
    assert "15 more" in html
