"""Tuning with MetaSchedule: found once, kept, shared by networks, and nothing left running."""

import json
import threading
from pathlib import Path

import psutil
import pytest
from tvm_networks import assert_same_scores, scores, tiny_network

from latprof.errors import DeviceError, RuntimeFailedError
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.model_inputs import random_inputs
from latprof.profilers.runtimes.tvm import tvm_tuning
from latprof.profilers.runtimes.tvm.cpu_tvm import CpuTVM

pytest.importorskip("tvm", reason="Apache TVM is not installed")

TUNED = RunOptions(mode=("tuned=2",))
#: Of the network.
KERNELS = 2


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with the schedules of the small network, two trials a kernel."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        CpuTVM(TUNED).load(tiny_network())
    return folder


class FakeTuner:
    """MetaSchedule's search, of which one trial ran with ``record``, or none."""

    def __init__(self):
        self.kernels, self.record = [], None

    def __call__(self, *, tasks, work_dir, **_settings):
        self.kernels += [task.task_name for task in tasks]
        lines = "" if self.record is None else json.dumps([0, self.record])
        Path(work_dir, "database_tuning_record.json").write_text(lines)


@pytest.fixture
def tuner(cache, monkeypatch):
    """The cache in use, and a fake search that knows which kernels were tuned since."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    fake = FakeTuner()
    monkeypatch.setattr("tvm.s_tir.meta_schedule.tune.tune_tasks", fake)
    return fake


def kept_files(cache):
    return sorted(cache.glob("latprof/tvm/*/*-2.json"))


def test_each_kernel_is_kept_with_a_schedule_that_ran(cache):
    records = [json.loads(path.read_text())["record"] for path in kept_files(cache)]
    assert len(records) == KERNELS
    assert all(0 < max(run_secs) < 1 for (_trace, run_secs, *_) in records)


def test_no_process_is_left_behind(cache):
    assert not [
        child
        for child in psutil.Process().children(recursive=True)
        if "popen_worker" in " ".join(child.cmdline())
    ]


def test_a_tuned_network_computes_the_same(tuner):
    image = random_inputs({"image": ((1, 3, 16, 16), "float32")}, CpuTVM.input_seed)["image"]
    assert_same_scores(scores(CpuTVM(TUNED).load(tiny_network())), tiny_network(), [image])
    assert tuner.kernels == []


def test_another_network_with_the_same_kernels_is_not_tuned_again(tuner):
    CpuTVM(TUNED).load(tiny_network(seed=1))
    assert tuner.kernels == []


def test_only_kernels_that_are_new_are_tuned(tuner):
    tuner.record = [[[], []], [1e-6]]
    CpuTVM(TUNED).load(tiny_network(classes=7))
    assert len(tuner.kernels) == 1


def test_another_number_of_trials_is_another_tuning(tuner):
    with pytest.raises(RuntimeFailedError, match="no trial ran"):
        CpuTVM(RunOptions(mode=("tuned=3",))).load(tiny_network())
    assert len(tuner.kernels) == KERNELS


def test_a_damaged_file_is_found_again(tuner, cache):
    found = {each: json.loads(each.read_text())["record"] for each in kept_files(cache)}
    path = next(each for each, (_, run_secs, *_) in found.items() if run_secs != [1e-6])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    tuner.record = json.loads(whole)["record"]
    CpuTVM(TUNED).load(tiny_network())
    assert len(tuner.kernels) == 1
    assert json.loads(path.read_bytes()) == json.loads(whole)


def test_a_process_waits_for_the_one_that_tunes(cache, tuner):
    kept = tvm_tuning.KeptSchedules(cache, "a target", 2, 1)
    entered = threading.Event()

    def enter():
        with kept.locked():
            entered.set()

    with kept.locked():
        other = threading.Thread(target=enter)
        other.start()
        assert not entered.wait(0.2)
    other.join(600)
    assert entered.is_set()


def test_tuning_without_a_compiler_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tvm.support.cc.get_cc", lambda: None)
    with pytest.raises(DeviceError, match=r"C\+\+ compiler"):
        CpuTVM(TUNED).load(tiny_network())
