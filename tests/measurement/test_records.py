"""Records: identities that survive storage, and states that cannot exist."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.errors import InvalidValueError
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    PairedProtocol,
    PairedSamples,
    Subject,
    Target,
)

TARGET = Target("cpu", "a processor", "onnxruntime", "1.31.0", input_shape=(1, 3, 224, 224))
SAMPLES = PairedSamples(((2.0, 1.0),), ((2.0, 1.0), (2.0, 1.0)))
KERNEL = KernelTime(0, "conv1x1", "a.conv", ("conv", "relu"), 0.5, ((1, 3),), ((1, 4), ()))
WORDS = st.text(max_size=20)


@given(
    WORDS,
    WORDS,
    WORDS,
    st.integers(1, 512),
    st.none() | st.lists(st.integers(1, 512), min_size=1, max_size=5).map(tuple),
)
def test_a_target_survives_its_key(device, name, cores, batch_size, shape):
    target = Target(device, name, "r", "1", "float32", batch_size, 1, shape, cores)

    assert Target.from_dict(json.loads(target.key)) == target
    assert Target.from_dict(json.loads(target.key)).key == target.key


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Target)])
def test_targets_that_differ_in_any_field_have_other_keys_and_say_so(name):
    value = getattr(TARGET, name)
    other_value = (
        value + 1 if isinstance(value, int) else (2, 3) if name == "input_shape" else "other"
    )
    other = dataclasses.replace(TARGET, **{name: other_value})

    assert other.key != TARGET.key
    (difference,) = TARGET.differences(other)
    assert difference.startswith(f"{name} ")
    assert TARGET.differences(TARGET) == []


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"device": "cpu"},
        {**TARGET.to_dict(), "colour": "red"},
        {**TARGET.to_dict(), "input_shape": "abc"},
        {**TARGET.to_dict(), "input_shape": 5},
        {**TARGET.to_dict(), "input_shape": [None]},
    ],
)
def test_what_is_no_target_is_refused(values):
    with pytest.raises(InvalidValueError, match="target"):
        Target.from_dict(values)


def test_a_target_reads_well():
    pinned = dataclasses.replace(TARGET, threads=4, cores="0-3")

    assert TARGET.spelling == "cpu:onnxruntime"
    assert TARGET.describe().endswith("float32, batch 1 1x3x224x224, 1 thread")
    assert pinned.describe().endswith("4 threads, cores 0-3")


@pytest.mark.parametrize(
    ("target", "reference"),
    [
        ((), ((2.0, 1.0),)),
        (((2.0, 1.0),), ((2.0, 1.0),)),
        (((2.0, 1.0),), ((2.0, 1.0),) * 3),
        (((2.0,),), ((2.0, 1.0),) * 2),
        (((2.0, 1.0),), ((2.0, 1.0), (2.0,))),
    ],
)
def test_incomplete_samples_are_refused(target, reference):
    with pytest.raises(InvalidValueError):
        PairedSamples(target, reference)


@pytest.mark.parametrize(
    "settings",
    [
        {"rounds": 0},
        {"visits": 0},
        {"min_runs": 0},
        {"dropped_runs": -1},
        {"burst_ms": 0.0},
        {"burst_ms": float("nan")},
        {"min_runs": 9, "max_runs": 8},
    ],
)
def test_impossible_protocols_are_refused(settings):
    with pytest.raises(InvalidValueError, match="is out of range"):
        PairedProtocol(**settings)


def test_a_protocol_survives_its_dictionary():
    protocol = PairedProtocol(rounds=7)

    assert PairedProtocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol
    # Stores of before the half-width had its name.
    values = PairedProtocol(half_width=0.01).to_dict()
    values["precision"] = values.pop("half_width")
    assert PairedProtocol.from_dict(values) == PairedProtocol(half_width=0.01)


def test_records_are_immutable():
    for record in (TARGET, SAMPLES, PairedProtocol(), KERNEL):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, dataclasses.fields(record)[0].name, None)


def test_a_subject_is_the_same_whatever_it_is_called():
    a, b = Subject("model", "0" * 64, "a.onnx"), Subject("model", "0" * 64, "b.onnx")
    assert a == b
    assert len({a, b}) == 1
    assert a != Subject("model", "1" * 64, "a.onnx")
    assert a != Subject("model", "0" * 64, "a.onnx", "space")


def test_kernels_survive_json():
    profile = KernelProfile((KERNEL, KERNEL), SAMPLES, 1.7e9, "host/1")
    assert KernelProfile.from_dict(json.loads(json.dumps(profile.to_dict()))) == profile
    assert KernelProfile.from_dict(profile.to_dict()) == profile


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("position", -1),
        ("position", 0.5),
        ("kind", None),
        ("name", 3),
        ("operators", "conv"),
        ("operators", [1]),
        ("latency_ms", float("nan")),
        ("latency_ms", float("inf")),
        ("latency_ms", "0.5"),
        ("latency_ms", -0.1),
        ("input_shapes", [3]),
        ("output_shapes", [["3"]]),
        ("output_shapes", None),
    ],
)
def test_what_is_no_kernel_is_refused(name, value):
    values = KERNEL.to_dict()
    with pytest.raises(InvalidValueError, match=name):
        KernelTime.from_dict(values | {name: value})
    del values[name]
    with pytest.raises(InvalidValueError, match=name):
        KernelTime.from_dict(values)


@pytest.mark.parametrize("ms", [0, -1.0, float("nan"), float("inf"), "1.0", True, None])
def test_a_run_that_took_no_time_is_refused(ms):
    for side in ("target", "reference"):
        values = json.loads(json.dumps(SAMPLES.to_dict()))
        values[side][0][1] = ms
        with pytest.raises(InvalidValueError, match=f"{side} is wrong"):
            PairedSamples.from_dict(values)


@pytest.mark.parametrize(
    "usage",
    [[], [[[1000, None, 0], [900, 12, 3]]], [[[1000, 0, 0], [900, 0, 0]]]],
    ids=["unknown", "waiting unknown", "known"],
)
def test_samples_keep_what_their_runs_were_given(usage):
    values = SAMPLES.to_dict() | {"target_usage": usage, "reference_name": "a smaller one"}
    samples = PairedSamples.from_dict(values)

    assert [[list(run) for run in burst] for burst in samples.target_usage] == usage
    assert PairedSamples.from_dict(json.loads(json.dumps(samples.to_dict()))) == samples


@pytest.mark.parametrize(
    "usage",
    [1, [[]], [[[1, 1, 1]]], [[[1, 1], [1, 1]]], [[[-1, 0, 0], [0, 0, 0]]], [[[0.5, 0, 0]] * 2]],
)
def test_usage_of_other_runs_is_refused(usage):
    with pytest.raises(InvalidValueError, match="usage"):
        PairedSamples.from_dict(SAMPLES.to_dict() | {"target_usage": usage})
