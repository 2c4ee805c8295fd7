"""Which devices of a farm may share one target: those of one model, SoC and build."""

import dataclasses
from types import SimpleNamespace

import pytest

from latprof.errors import TargetMismatchError
from latprof.farm.announcing import FarmDevice
from latprof.measurement.records import Target
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.campaign import Progress
from latprof.workflows import collect_farm
from latprof.workflows.farm_device_runs import DeviceRun, Together

PHONE = Target("adb:S1", "Google Pixel 6 (Tensor, Android 14) build 1a2b", "litert", "2.1")
HOST = Target("cpu", "a processor", "onnxruntime", "1.0")


def run(target, name, *, pool=True):
    """The campaign of a device whose worker says that this is its target."""
    there = {"target": target.to_dict(), "surroundings": {}}
    return DeviceRun(
        SimpleNamespace(call=lambda *_asked: there),
        FarmDevice(name, (target.spelling,)),
        target.spelling,
        SimpleNamespace(input_shape=None, options=RunOptions()),
        None,
        store=None,
        timeout_s=60.0,
        revision=None,
        show=Together(lambda _progress: None),
        pool=pool,
    )


def check_alike(*runs):
    collect_farm._check_alike(runs)  # noqa: SLF001 - what a pooled collection begins with


def test_specimens_of_one_kind_have_one_target_and_otherwise_each_its_own():
    phones = [(dataclasses.replace(PHONE, device=f"adb:{s}"), f"adb:{s}") for s in ("S1", "S2")]
    hosts = [(HOST, f"cpu@{host}") for host in "ab"]
    for kind, devices in (("adb", phones), ("cpu", hosts)):
        pooled = [run(*device) for device in devices]
        check_alike(*pooled)
        (target,) = {each.identify()[0] for each in pooled}
        assert (target.device, target.host) == (kind, "")
        apart = {run(*device, pool=False).identify()[0] for device in devices}
        assert len(apart) == 2


def test_progress_of_devices_that_share_the_visits_counts_each_once():
    here = Progress(total=100, done=40, failed=1, left=60, left_s=60.0, drift=0.1, elapsed_s=9.0)
    there = dataclasses.replace(here, done=38, failed=2, left=62, left_s=30.0, drift=0.2)
    for pool, counts, left_s in (
        (True, (100, 40, 3, 60), 20.0),
        (False, (200, 78, 3, 122), 60.0),
    ):
        told = []
        show = Together(told.append, pool=pool)
        show.note("a", here)
        show.note("b", dataclasses.replace(there, waiting="the phone cools down"))
        first, last = told
        assert first == here
        assert (last.total, last.done, last.failed, last.left) == counts
        assert last.left_s == pytest.approx(left_s)
        assert (last.drift, last.waiting) == (0.2, "b: the phone cools down")


@pytest.mark.parametrize(
    "change", [{"device_name": "Google Pixel 6 (Tensor, Android 14) build 3c4d"}, {"cores": "4,5"}]
)
def test_what_differs_in_more_than_its_serial_is_not_pooled(change):
    other = dataclasses.replace(PHONE, device="adb:S2", **change)
    with pytest.raises(TargetMismatchError, match="not of one kind") as caught:
        check_alike(run(PHONE, "adb:S1"), run(other, "adb:S2"))
    (name,) = change
    assert name in caught.value.got
