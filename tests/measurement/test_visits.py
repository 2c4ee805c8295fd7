"""A visit is one record, which survives JSON and refuses what it cannot be."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.errors import InvalidValueError, MeasurementTimeoutError, RuntimeFailedError
from latprof.measurement.records import PairedSamples, Subject, Target
from latprof.measurement.visits import Failure, Measurement, Visit, VisitCounts, VisitKey

TARGET = Target("cpu", "a processor", "onnxruntime", "1.31.0", input_shape=(1, 3, 224, 224))
SAMPLES = PairedSamples(((2.0, 1.0),), ((2.0, 1.0), (2.0, 1.0)))
FAILURE = Failure("timeout", "too long")
KEY = VisitKey(Subject("model", "0" * 64, "model.onnx"), 1, 3)
TIMES = st.floats(1e-6, 1e9)
BURSTS = st.lists(TIMES, min_size=2, max_size=4).map(tuple)


def visit(**changes):
    made = Visit(started_at=1.7e9, wall_s=1.0, load_s=0.1, process="host/1", samples=SAMPLES)
    return dataclasses.replace(made, **changes)


FAILED = visit(samples=None, failure=FAILURE)


def test_a_visit_has_samples_or_a_failure_never_both():
    assert visit().ok
    assert not FAILED.ok
    with pytest.raises(InvalidValueError, match="either"):
        visit(samples=None)
    with pytest.raises(InvalidValueError, match="either"):
        visit(failure=FAILURE)


def test_a_measurement_is_a_visit_with_its_place_in_a_store():
    made = visit(conditions={"before": {"load1": 0.5}})
    found = Measurement.of_visit(made, KEY, TARGET, disturbed=True)
    assert found.key == KEY
    assert (found.target, found.disturbed) == (TARGET, True)
    for part in dataclasses.fields(Visit):
        assert getattr(found, part.name) == getattr(made, part.name)


@given(st.lists(BURSTS, min_size=1, max_size=3), st.data(), TIMES, st.text(max_size=20))
def test_a_visit_survives_json(target, data, seconds, process):
    size = len(target) + 1
    reference = data.draw(st.lists(BURSTS, min_size=size, max_size=size))
    made = Visit(
        started_at=seconds,
        wall_s=seconds,
        load_s=0.0,
        process=process,
        samples=PairedSamples(tuple(target), tuple(reference)),
        conditions={"before": {"load1": seconds}, "after": {}},
    )
    assert Visit.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_a_failed_visit_survives_json():
    assert Visit.from_dict(json.loads(json.dumps(FAILED.to_dict()))) == FAILED


@pytest.mark.parametrize("name", [part.name for part in dataclasses.fields(Visit)])
@pytest.mark.parametrize("value", ["nothing", float("nan"), 3 + 4j, [], object()])
def test_every_field_is_checked(name, value):
    values = visit().to_dict()
    if name == "process" and value == "nothing":
        return
    with pytest.raises(InvalidValueError):
        Visit.from_dict(values | {name: value})


@pytest.mark.parametrize("name", ["started_at", "wall_s", "load_s", "process", "conditions"])
def test_a_field_that_is_missing_is_named(name):
    values = visit().to_dict()
    del values[name]
    with pytest.raises(InvalidValueError, match=name):
        Visit.from_dict(values)


def test_conditions_are_readings():
    for conditions in ({"before": 3}, {"after": []}):
        with pytest.raises(InvalidValueError, match="conditions"):
            Visit.from_dict(visit().to_dict() | {"conditions": conditions})


def test_a_failure_and_its_error_are_two_forms_of_one_thing():
    error = MeasurementTimeoutError("too long", hint="allow more")
    failure = Failure.of(error)
    assert failure == Failure("timeout", "too long; allow more")
    again = failure.error()
    assert type(again) is MeasurementTimeoutError
    assert str(again) == str(error)
    assert type(Failure("a-profilers-own", "odd").error()) is RuntimeFailedError


def test_counts_say_what_a_result_lacks():
    assert VisitCounts(made=8, repeated=3).notes() == []
    failures = tuple((f"n{i}", Failure("timeout", "too long")) for i in range(3))
    counts = VisitCounts(5, 3, 2, 9, failures=failures)
    missing, disturbed = counts.notes()
    assert missing.startswith("3 of 8 visits failed")
    assert missing.count("too long [timeout]") == 1
    assert disturbed.startswith("2 of 5 visits were disturbed")
    values = json.loads(json.dumps(counts.to_dict()))
    assert (values["visits_made"], values["visits_failed"]) == (5, 3)
    assert values["failures"][0] == {"network": "n0", "code": "timeout", "message": "too long"}
