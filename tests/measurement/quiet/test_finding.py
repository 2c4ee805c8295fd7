"""The constant says how quiet the host was, and gives way to that of a quieter moment."""

import dataclasses
import math

import numpy as np
import pytest

from latprof.errors import InvalidValueError
from latprof.measurement.labels import TargetLabels, freeze_reference
from latprof.measurement.quiet.busy import PREEMPTED_DOUBT
from latprof.measurement.quiet.finding import FEWEST_BURSTS, Moment, find_constant
from latprof.measurement.quiet.target_constant import QUIET_DOUBT, Constant, Tie, is_better
from latprof.measurement.records import PairedSamples, Subject, Target
from latprof.measurement.run_usage import RunUsage
from latprof.measurement.store.store import Store
from latprof.measurement.visits import Measurement

TARGET = Target("cpu", "a processor", "onnxruntime", "1.0", input_shape=(1, 3, 32, 32))


def samples(reference_ms, ratio=2.0, preempted=0, name=""):
    """A visit; where it was preempted its processor time is 8 % more, its wall time twice."""
    slow = 1.08 if preempted else 1.0

    def bursts(ms, number):
        wall = ms * slow * (2 if preempted else 1)
        usage = RunUsage(round(1000 * ms * slow) + 1, 0, preempted)
        return ((wall,) * 3,) * number, ((usage,) * 3,) * number

    (target, of_target), (reference, of_reference) = (
        bursts(ratio * reference_ms, 2),
        bursts(reference_ms, 3),
    )
    return PairedSamples(target, reference, 1, of_target, of_reference, name)


def moments(number, preempted=0, seed=0):
    noise = np.random.default_rng(seed).normal(1.0, 0.01, number)
    return [Moment.of(samples(3.5 * one, preempted=preempted), {}) for one in noise]


def test_a_quiet_host_has_a_constant_without_much_doubt():
    found = find_constant(moments(50))
    assert found.reference_ms == pytest.approx(3.5, rel=0.02)
    assert found.is_quiet
    assert found.found["quiet_bursts"] == found.found["bursts"] == 150


def test_the_constant_of_a_busy_host_says_so_and_its_doubt_holds_the_quiet_one():
    busy = find_constant(moments(50, preempted=3))
    assert not busy.is_quiet
    assert busy.doubt > QUIET_DOUBT
    assert abs(math.log(busy.reference_ms / 3.5)) <= busy.doubt
    assert busy.found["preempted"] == 1.0
    assert "of a host that was not quiet" in busy.describe()


def test_quiet_moments_among_busy_ones_count_alone():
    few = (FEWEST_BURSTS + 2) // 3
    found = find_constant([*moments(100, preempted=3), *moments(few, seed=1)])
    assert found.reference_ms == pytest.approx(3.5, rel=0.03)
    assert found.found["quiet_bursts"] == 3 * few


@pytest.mark.parametrize(
    "after",
    [
        {"total_jiffies": 400.0, "idle_jiffies": 100.0, "steal_jiffies": 0.0},
        {"total_jiffies": 400.0, "idle_jiffies": 200.0, "steal_jiffies": 90.0},
    ],
    ids=["others busy", "stolen"],
)
def test_a_moment_with_busy_neighbours_or_stolen_time_is_not_quiet(after):
    clock = {"monotonic_s": 0.0, "process_cpu_s": 0.0}
    before = {"total_jiffies": 0.0, "idle_jiffies": 0.0, "steal_jiffies": 0.0, **clock}
    after = {**after, "monotonic_s": 2.0, "process_cpu_s": 1.0}
    assert not Moment.of(samples(3.5), {"before": before, "after": after}).is_quiet
    assert Moment.of(samples(3.5), {}).is_quiet


def test_a_constant_survives_json_and_what_is_none_is_refused():
    known = Constant(3.5, 2, 0.01, {"small": Tie(0.1, 0.002, 12)}, {"bursts": 9})
    assert Constant.from_dict(known.to_dict()) == known
    unknown = Constant.from_dict({**known.to_dict(), "doubt": None})
    assert math.isnan(unknown.doubt)
    for wrong in ({"reference_ms": 0.0}, {"doubt": -1.0}, {"ties": {"a": [0.0, 0.1, 2]}}):
        with pytest.raises(InvalidValueError):
            Constant.from_dict({**known.to_dict(), **wrong})


def test_a_constant_gives_way_to_a_much_better_one_and_an_old_one_to_a_quiet_one_far_away():
    assert is_better(Constant(3.5, doubt=0.01), Constant(3.6, doubt=0.1))
    assert not is_better(Constant(3.5, doubt=0.09), Constant(3.6, doubt=0.1))
    old = Constant(3.5, 1)
    assert not is_better(Constant(3.52, doubt=0.01), old)
    assert is_better(Constant(7.0, doubt=0.01), old)
    assert not is_better(Constant(7.0, doubt=0.2), old)


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "lat.db", create=True) as opened:
        opened.add_target(TARGET, "reference")
        yield opened


def add(store, key, made, number, kind="architecture"):
    for visit, one in enumerate(made, number):
        subject = Subject(kind, key, key, "space")
        store.add(
            Measurement(
                started_at=1000.0 + visit,
                wall_s=0.2,
                load_s=0.05,
                process="host/1",
                samples=one,
                subject=subject,
                target=TARGET,
                label=0,
                visit=visit,
                disturbed=False,
            )
        )


def test_a_store_begun_under_load_agrees_with_a_quiet_one_after_a_quiet_campaign(store):
    add(store, "a", [samples(3.5, preempted=2)] * 8, 0)
    freeze_reference(store, TARGET)
    loaded = TargetLabels.of(store).constant
    assert (loaded.number, loaded.is_quiet) == (1, False)

    add(store, "b", [samples(3.5)] * 8, 0)
    freeze_reference(store, TARGET)
    known = TargetLabels.of(store)
    assert (known.constant.number, known.constant.is_quiet) == (2, True)
    assert known.reference_ms == pytest.approx(3.5, rel=0.02)
    assert known.labels["latency_ms"].tolist() == pytest.approx([7.0, 7.0], rel=0.02)
    assert known.labels["preempted"].tolist() == [1.0, 0.0]

    freeze_reference(store, TARGET)
    assert [c.number for c in TargetLabels.of(store).stored.constants] == [1, 2]


def test_networks_measured_against_a_sibling_have_the_targets_milliseconds(store):
    add(store, "a", [samples(3.5)] * 4, 0)
    add(store, "short", [samples(0.25, ratio=0.8, name="small")] * 4, 0)
    unpaired = TargetLabels.of(store)
    assert unpaired.constant.ties["small"].visits == 0
    assert unpaired.labels["latency_ms"].tolist() == pytest.approx([7.0, 0.2])
    in_doubt = math.log1p(unpaired.constant.ties["small"].doubt)
    assert in_doubt > 0.05
    assert unpaired.labels["doubt"].tolist() == pytest.approx([0.0, in_doubt])
    short = unpaired.labels.iloc[1]
    assert math.log(short["high_ms"] / short["low_ms"]) / 2 >= in_doubt

    tie = [dataclasses.replace(samples(3.5, ratio=0.25 / 3.5))] * 6
    add(store, "small", tie, 0, kind="reference")
    known = TargetLabels.of(store)
    assert known.constant.ties["small"].visits == 6
    assert known.labels["name"].tolist() == ["a", "short"]
    assert known.labels["latency_ms"].tolist() == pytest.approx([7.0, 0.2])
    assert known.labels["doubt"].tolist() == [0.0, 0.0]
    freeze_reference(store, TARGET)
    assert TargetLabels.of(store).labels["latency_ms"].tolist() == pytest.approx([7.0, 0.2])


def test_before_a_quiet_campaign_every_interval_holds_what_is_in_doubt(store):
    """The milliseconds of a store begun under load, and the same labels after a quiet campaign."""
    noise = np.random.default_rng(0).normal(1.0, 0.003, 8)
    add(store, "a", [samples(3.5, ratio=2.0 * one, preempted=2) for one in noise], 0)
    freeze_reference(store, TARGET)
    before = TargetLabels.of(store)
    label = before.labels.iloc[0]
    assert label["low_ms"] < 7.0 < label["high_ms"]
    assert math.log(label["high_ms"] / label["low_ms"]) / 2 > before.constant.widening > 0.03

    add(store, "b", [samples(3.5)] * 8, 0)
    freeze_reference(store, TARGET)
    after = TargetLabels.of(store)
    assert after.constant.widening == 0.0
    label = after.labels.iloc[0]
    assert label["low_ms"] < 7.0 < label["high_ms"]
    assert label["doubt"] == PREEMPTED_DOUBT, "its visits were preempted all the same"
    assert label["high_ms"] / label["low_ms"] - 1 < 2.5 * PREEMPTED_DOUBT
    assert after.constant.found["found_at"] > 0


def test_a_constant_of_unknown_doubt_widens_nothing():
    assert Constant(3.5).widened(0.01) == 0.01
    assert Constant(3.5, doubt=0.01).widened(0.01) == 0.01
    assert Constant(3.5, doubt=0.1).widened(0.01) > 0.09
