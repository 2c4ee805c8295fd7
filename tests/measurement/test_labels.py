"""What a store measured on a target is read once, and means one thing."""

import dataclasses

import pytest

import latprof
from latprof.errors import NotEnoughDataError, StoreError, TargetMismatchError, UsageError
from latprof.measurement.labels import TargetLabels
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    PairedProtocol,
    PairedSamples,
    Subject,
    Target,
)
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Failure, Measurement

TARGET = Target("cpu", "a processor", "onnxruntime", "1.0", input_shape=(1, 3, 32, 32))


class CountingStore(Store):
    """A store that counts how often its visits are read."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.reads = 0

    def measurements(self, target):
        self.reads += 1
        return super().measurements(target)


@pytest.fixture
def store(tmp_path):
    with CountingStore.open(tmp_path / "lat.db", create=True) as opened:
        opened.add_target(TARGET, "reference")
        yield opened


def samples(ratio=2.0, reference_ms=5.0, runs=2):
    target, reference = (9.0, *[ratio * reference_ms] * runs), (9.0, *[reference_ms] * runs)
    return PairedSamples((target,) * 2, (reference,) * 3)


def add(store, key="a", label=0, visit=0, space="space", campaign=None, **changes):
    kind = "architecture" if space else "model"
    made = Measurement(
        subject=Subject(kind, key, key, space),
        target=TARGET,
        label=label,
        visit=visit,
        started_at=1000.0 + visit,
        wall_s=0.2,
        load_s=0.05,
        process="host/1",
        samples=samples(),
    )
    store.add(dataclasses.replace(made, **changes), campaign)


def test_visits_are_read_once_whatever_is_asked_and_in_whatever_order(store):
    for visit in range(3):
        add(store, visit=visit)
        add(store, visit=visit, label=1)
    measured = TargetLabels.of(store)
    assert store.reads == 0, "nothing is read before it is asked for"
    assert measured.reference_ms == 5.0
    assert measured.labels["latency_ms"].tolist() == [10.0, 10.0]
    assert measured.repeats[["visits", "visits_again"]].to_numpy().tolist() == [[3, 3]]
    assert measured.noise_floor.method == "visits"
    assert len(measured.visits) == 6
    assert measured.visits is measured.visits
    assert store.reads == 1


def test_visits_with_bursts_of_several_lengths_are_read_again_not_held(store):
    add(store, visit=0, samples=samples(runs=3))
    add(store, visit=1)
    measured = TargetLabels.of(store)
    assert measured.labels["ratio"].tolist() == [2.0]
    assert measured.reference_ms == 5.0
    assert store.reads == 2


def test_a_frozen_constant_is_known_without_reading_visits(store):
    add(store)
    store.freeze_reference_ms(TARGET, 4.0)
    measured = TargetLabels.of(store)
    assert (measured.is_frozen, measured.reference_ms, store.reads) == (True, 4.0, 0)
    assert measured.labels["latency_ms"].tolist() == [8.0]


def test_without_a_sample_there_is_no_constant(store):
    add(store, samples=None, failure=Failure("timeout", "too long"))
    with pytest.raises(NotEnoughDataError, match="without a failure"):
        _ = TargetLabels.of(store).reference_ms
    with pytest.raises(NotEnoughDataError, match="without a failure"):
        _ = TargetLabels.of(store).labels


def test_a_target_without_a_visit_says_so(store):
    with pytest.raises(NotEnoughDataError, match="no measurements of cpu"):
        _ = TargetLabels.of(store, TARGET).visits


def test_kernel_times_are_those_of_the_quiet_host(store):
    add(store)
    kernels = (
        KernelTime(0, "conv1x1", "block1.conv", ("c",), 3.0),
        KernelTime(1, "reorder", "17", (), 1.0),
    )
    busy = KernelProfile(kernels, samples(reference_ms=10.0), 1000.0, "host/1")
    store.add_kernels(Subject("architecture", "a", "a", "space"), TARGET, busy)
    measured = TargetLabels.of(store)
    table = measured.kernels
    assert table["latency_ms"].tolist() == [1.5, 0.5]
    assert table["block"].tolist() == ["block1", "added by the runtime"]
    ((subject, profile),) = measured.kernel_profiles()
    assert subject.key == "a"
    assert [kernel.latency_ms for kernel in profile.kernels] == [1.5, 0.5]
    assert profile.samples == busy.samples, "raw runs stay as they were measured"


def test_one_space_or_none_at_a_time(store):
    add(store, "model.onnx", space="")
    with pytest.raises(NotEnoughDataError, match="no measured architectures"):
        TargetLabels.of(store).one_space()
    add(store)
    assert TargetLabels.of(store).one_space() == "space"
    add(store, space="another")
    with pytest.raises(UsageError, match="several spaces"):
        TargetLabels.of(store).one_space()


def test_the_last_campaign_says_how_it_was_collected(store):
    assert TargetLabels(store, store.stored_target(TARGET)).protocol == {}
    for visits in (4, 1):
        protocol = PairedProtocol(visits=visits).to_dict()
        number = store.start_campaign(TARGET, {}, protocol, {"facts": {"visits": visits}})
        add(store, visit=number, campaign=number)
        store.end_campaign(number)
    measured = TargetLabels.of(store)
    assert measured.protocol["visits"] == 1
    assert measured.conditions == {"facts": {"visits": 1}}
    assert measured.labels["stopped_by"].tolist() == ["visits"]


def test_a_target_is_named_by_its_record_its_spelling_or_not_at_all(store):
    add(store)
    other = dataclasses.replace(TARGET, threads=2)
    store.add_target(other, "reference")
    assert [each.target for each in TargetLabels.all_of(store)] == [TARGET]
    assert TargetLabels.of(store).target == TARGET
    add(store, target=other)
    assert TargetLabels.of(store, other).target == other
    assert TargetLabels.of(store, "2 threads").target == other
    with pytest.raises(TargetMismatchError, match="2 targets"):
        TargetLabels.of(store)
    assert repr(TargetLabels.of(store, other)).startswith("TargetLabels(")


def test_labels_takes_a_path_or_an_open_store_and_leaves_that_open(store, tmp_path):
    add(store)
    add(store, label=1)
    for given in (store, tmp_path / "lat.db", str(tmp_path / "lat.db")):
        table = latprof.labels(given)
        assert table["latency_ms"].tolist() == [10.0]
        assert "label" not in table
    assert len(latprof.labels(store)) == 1
    with pytest.raises(StoreError, match="no store"):
        latprof.labels(tmp_path / "none.db")
