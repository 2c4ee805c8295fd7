"""GPUs through their management library, which is a fake here: values, errors, absence."""

import os
import sys
import types
from typing import Any

import psutil
import pytest

from latprof.datasets.published.datasheet import GPU_LIMITS
from latprof.profilers.base import WORKER_MODULE
from latprof.profilers.runtimes.cuda.nvml import (
    MAX_CLOCK_CHANGE,
    MAX_GPU_SHARE,
    find_gpu,
    gpu_disturbances,
)

OWN = os.getpid()
ANSWERS = {
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlSystemGetDriverVersion": "570.1",
    "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=80 << 30),
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetPowerUsage": 123_500,
    "nvmlDeviceGetTemperatureV": 41,
    "nvmlDeviceGetCurrentClocksEventReasons": 4,
    "nvmlDeviceGetComputeRunningProcesses": [types.SimpleNamespace(pid=OWN)],
}


def sample(pid, share, time=1):
    return types.SimpleNamespace(pid=pid, smUtil=share, timeStamp=time)


def library(*, devices=("first", "second"), samples=(), **changes):
    """A module like pynvml; a change of None is a function that fails, "absent" one not there."""
    module: Any = types.ModuleType("pynvml")

    class NVMLError(Exception):
        value = 3

    class NotFoundError(NVMLError):
        value = 6

    def failing(*arguments):
        raise NVMLError

    def handle(index):
        if index >= len(devices):
            raise NVMLError
        return devices[index]

    def utilization(device, since):
        if not samples:
            raise NotFoundError
        return list(samples)

    functions: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": handle,
        "nvmlDeviceGetHandleByUUID": lambda uuid: f"device {uuid}",
        "nvmlDeviceGetProcessUtilization": utilization,
        "nvmlDeviceGetClockInfo": lambda device, kind: {1: 1980, 2: 2619}[kind],
    }
    functions |= {name: lambda *_, v=value: v for name, value in ANSWERS.items()}
    for name, value in changes.items():
        functions[name] = failing if value is None else value
    for name, function in functions.items():
        if function != "absent":
            setattr(module, name, function)
    module.NVMLError, module.NVML_SUCCESS, module.NVML_ERROR_NOT_FOUND = NVMLError, 0, 6
    return module


@pytest.fixture
def install(monkeypatch):
    def put(module):
        monkeypatch.setitem(sys.modules, "pynvml", module)

    return put


def test_a_gpu_says_what_it_is_and_how_it_does(install):
    install(library())

    gpu = find_gpu(0, {})

    assert (gpu.name, gpu.driver) == ("NVIDIA H100 80GB HBM3", "570.1")
    assert (gpu.memory_bytes, gpu.power_limit_w) == (80 << 30, 700)
    assert gpu.read() == {
        "gpu_clock_mhz": 1980.0,
        "gpu_memory_clock_mhz": 2619.0,
        "gpu_power_w": 123.5,
        "gpu_temperature_c": 41.0,
        "gpu_throttle_reasons": 4.0,
        "gpu_processes": 1.0,
        "gpu_other_share": 0.0,
    }


@pytest.mark.parametrize(
    ("index", "visible", "handle"),
    [
        (0, None, "first"),
        (1, None, "second"),
        (0, "1", "second"),
        (1, "1, 0", "first"),
        (0, "GPU-5a", "device GPU-5a"),
        (0, "MIG-7b", "device MIG-7b"),
        (2, None, None),
        (1, "0", None),
        (0, "", None),
        (0, "-1", None),
        (0, "NoDevFiles", None),
    ],
)
def test_the_environment_decides_which_gpu_is_meant(install, index, visible, handle):
    install(library(nvmlDeviceGetName=lambda device: f"GPU of handle {device}"))
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    gpu = find_gpu(index, environ)

    assert (gpu and gpu.name) == (handle and f"GPU of handle {handle}")


def test_readings_that_fail_are_left_out(install):
    names = [name for name in ANSWERS if name != "nvmlDeviceGetPowerUsage"]
    names += ["nvmlDeviceGetClockInfo", "nvmlDeviceGetTemperature"]
    install(library(**dict.fromkeys(names)))

    gpu = find_gpu(0, {})

    assert gpu.read() == {"gpu_power_w": 123.5}
    assert (gpu.name, gpu.driver, gpu.memory_bytes, gpu.power_limit_w) == ("unnamed GPU", "", 0, 0)


def test_older_drivers_answer_older_questions(install):
    older = {
        "nvmlDeviceGetTemperatureV": None,
        "nvmlDeviceGetCurrentClocksEventReasons": "absent",
        "nvmlDeviceGetTemperature": lambda device, sensor: 50,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda device: 32,
    }
    install(library(**older))

    values = find_gpu(0, {}).read()

    assert (values["gpu_temperature_c"], values["gpu_throttle_reasons"]) == (50.0, 32.0)


@pytest.mark.parametrize(
    ("samples", "share"),
    [
        ([sample(OWN, 90)], 0.0),
        ([sample(OWN, 50), sample(OWN + 1, 30)], 0.3),
        ([sample(OWN + 1, 80, time=1), sample(OWN + 1, 10, time=2)], 0.1),
        ([sample(OWN + 1, 70), sample(OWN + 2, 60)], 1.0),
        ([sample(OWN + 1, 4_000_000_000)], 0.0),
    ],
)
def test_what_other_processes_compute_is_seen(install, samples, share):
    install(library(samples=samples))
    assert find_gpu(0, {}).read()["gpu_other_share"] == pytest.approx(share)


def test_the_other_measuring_process_of_a_campaign_is_not_another(install, monkeypatch):
    class Process:
        def __init__(self, pid):
            self.pid = pid

        def ppid(self):  # of a measuring process its keeper, whose parent started both
            keepers = {OWN: 1, OWN + 1: 2, OWN + 2: 3, OWN + 3: 4}
            return keepers.get(self.pid, 9 if self.pid == 4 else 8)

        def cmdline(self):
            return ["python", "-m", "train" if self.pid == OWN + 1 else WORKER_MODULE]

    monkeypatch.setattr(psutil, "Process", Process)
    samples = [sample(OWN, 40), sample(OWN + 1, 10), sample(OWN + 2, 50), sample(OWN + 3, 5)]
    install(library(samples=samples))
    assert find_gpu(0, {}).read()["gpu_other_share"] == pytest.approx(0.15)


def test_process_numbers_of_another_namespace_are_not_judged(install):
    strangers = [types.SimpleNamespace(pid=OWN + 1), types.SimpleNamespace(pid=OWN + 2)]
    busy = [sample(OWN + 1, 90)]
    install(library(samples=busy, nvmlDeviceGetComputeRunningProcesses=lambda device: strangers))

    values = find_gpu(0, {}).read()

    assert values["gpu_processes"] == 2
    assert "gpu_other_share" not in values


def test_utilisation_that_is_not_told_is_left_out(install):
    install(library(nvmlDeviceGetProcessUtilization=None))
    assert "gpu_other_share" not in find_gpu(0, {}).read()


def test_without_the_driver_or_the_package_there_is_no_gpu(install):
    install(library(nvmlInit=None))
    assert find_gpu(0, {}) is None
    install(None)
    assert find_gpu(0, {}) is None


def test_the_real_package_has_the_functions_of_the_fake():
    real = pytest.importorskip("pynvml")
    fake = library()
    names = [name for name in dir(fake) if name.startswith(("nvml", "NVML"))]
    assert len(names) > 12
    assert [name for name in names if not hasattr(real, name)] == []
    assert (real.NVML_CLOCK_SM, real.NVML_CLOCK_MEM, real.NVML_TEMPERATURE_GPU) == (1, 2, 0)
    assert issubclass(real.NVMLError, Exception)
    assert real.NVML_ERROR_NOT_FOUND == 6


GPU = {"gpu_clock_mhz": 1980.0, "gpu_throttle_reasons": 0.0, "gpu_other_share": 0.0}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, ()),
        ({}, {"gpu_clock_mhz": 1700.0}, ()),
        ({}, {"gpu_clock_mhz": 1900.0}, ()),
        ({}, {"gpu_clock_mhz": 1800.0}, ("gpu-clock",)),
        ({"gpu_clock_mhz": 345.0}, {}, ("gpu-clock",)),
        ({"gpu_clock_mhz": 0.0}, {}, ()),
        ({}, {"gpu_throttle_reasons": 1.0 + 4.0}, ()),
        ({}, {"gpu_throttle_reasons": 64.0}, ("gpu-throttled",)),
        ({"gpu_throttle_reasons": 8.0}, {}, ("gpu-throttled",)),
        ({"gpu_other_share": 0.4}, {}, ("gpu-load",)),
        ({}, {"gpu_other_share": 0.04}, ()),
    ],
)
def test_each_disturbance_of_a_gpu_has_its_name(before, after, expected):
    seen = {} if after == {"gpu_clock_mhz": 1700.0} else {**GPU, **before}  # or not visible
    assert gpu_disturbances(seen, {**GPU, **after}) == expected


def test_the_limits_are_those_of_datasheets():
    words = " ".join(GPU_LIMITS)
    assert f"more than {MAX_CLOCK_CHANGE:.0%} within" in words
    assert f"more than {MAX_GPU_SHARE:.0%} of the time" in words
