"""Packs of what others measured: whose, how good, and refused where nothing was measured."""

import dataclasses

import numpy as np
import pytest
from synthetic_latency import SPACE, measured

from latprof.datasets.importers.base import ImportedLatencies
from latprof.datasets.importers.flags import DRIFT
from latprof.errors import NotEnoughDataError, UsageError
from latprof.predictors.pack.saving import load_pack, read_facts, save_pack
from latprof.predictors.training.imported_training import train_on_column
from latprof.predictors.training.split_training import FitProgress


@pytest.fixture
def column(tmp_path):
    source = tmp_path / "device.pt"
    source.write_bytes(b"as published")
    choices, latency_ms = measured(80, noise=0.01)
    usable = np.arange(80) >= 10
    return ImportedLatencies(
        name="help/here/device_64",
        latency_ms=np.where(usable, latency_ms, 0.0),
        usable=usable,
        device="device",
        batch_size=64,
        space=SPACE,
        choices=choices,
        flags=frozenset({"heavy-tailed"}),
        source=str(source),
        licence="MIT",
        citation="Somebody, 2021",
    )


def test_a_pack_says_whose_measurements_it_rests_on(column, tmp_path):
    pack = train_on_column(column, device_name="Phone 1", predictor="linear", compare=False)
    assert pack.training_rows == 56  # four fifths of the usable ones
    assert pack.target.device_name == "Phone 1"
    assert pack.target.batch_size == 64
    assert "threads not stated" in pack.target.describe()
    assert pack.origin.traps == ("heavy-tailed",)
    path = tmp_path / "p.pack"
    save_pack(pack, path)
    assert load_pack(path).origin == pack.origin
    facts = read_facts(path)
    assert (facts.space, facts.predictor) == (SPACE.name, "linear")
    assert facts.origin == pack.origin
    assert facts.metrics == pack.metrics
    assert "Somebody, 2021" in repr(pack)


def test_an_unknown_batch_size_is_said(column):
    unknown = dataclasses.replace(column, batch_size=None)
    pack = train_on_column(unknown, conditions="one core", predictor="linear", compare=False)
    assert pack.origin.conditions == "one core; batch size not stated, taken as 1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flags": frozenset({"synthetic"})}, "summed from a table"),
        ({"space": None}, "not architectures"),
        ({"choices": None}, "not architectures"),
    ],
)
def test_what_was_not_measured_or_is_no_architecture_is_refused(column, change, words):
    with pytest.raises(UsageError, match=words):
        train_on_column(dataclasses.replace(column, **change), predictor="linear")


def test_a_column_of_one_value_is_refused(column):
    same = np.where(column.usable, 7.0, 0.0)
    with pytest.raises(UsageError, match="all 70 rows of help/here/device_64 have the same"):
        train_on_column(dataclasses.replace(column, latency_ms=same), predictor="linear")


def test_too_few_usable_rows_are_told_as_such(column):
    few = dataclasses.replace(column, usable=np.arange(80) == 30)
    with pytest.raises(NotEnoughDataError, match="1 measured architectures"):
        train_on_column(few, predictor="linear")


def test_each_fit_is_reported_before_it_begins(column):
    told = []
    train_on_column(column, predictor="linear", compare=True, on_progress=told.append)
    assert [each.number for each in told] == list(range(1, len(told) + 1))
    assert told[0] == FitProgress("linear", 1, len(told), 56)


@pytest.mark.parametrize("flagged", [True, False])
def test_a_flagged_drift_is_taken_off_and_left_out_of_predictions(column, flagged):
    choices, truth = measured(600, noise=0.005, seed=8)
    heating = 1 + 0.1 * np.linspace(-1, 1, 600)
    drifting = dataclasses.replace(
        column,
        latency_ms=truth * heating,
        usable=np.ones(600, dtype=bool),
        choices=choices,
        flags=frozenset({DRIFT}) if flagged else frozenset(),
    )
    predictor = train_on_column(drifting, predictor="linear", compare=False).predictor
    assert (predictor.drift_ms_ is not None) == flagged
    error = np.std(predictor.predict(choices) / truth)
    assert error < 0.02 if flagged else error > 0.02
