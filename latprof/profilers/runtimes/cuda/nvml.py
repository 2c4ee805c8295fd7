"""NVIDIA GPUs as their management library sees them: names, and the state around a measurement.

Nothing here initialises CUDA, and nothing fails: where the library, its Python package
(``nvidia-ml-py``) or a single reading is missing, less is said.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import psutil

from latprof.profilers.base import WORKER_MODULE

#: Utilisation of other processes is what the driver sampled within this time.
_SAMPLED_US = 1_000_000
#: The driver's reasons for a lower GPU clock: hardware slowdown, heat (two of them), power brake.
_THROTTLED = 8 | 32 | 64 | 128
#: Largest change of the clock during a visit, as a fraction.
MAX_CLOCK_CHANGE = 0.05
#: Largest share of a GPU's time that other processes may take.
MAX_GPU_SHARE = 0.05


def gpu_disturbances(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, ...]:
    """What disturbed a visit between two readings of :meth:`Gpu.read`.

    Of ``"gpu-throttled"`` (heat or the power supply held the clock down), ``"gpu-clock"`` (it
    changed) and ``"gpu-load"`` (other processes computed on the GPU). A power cap alone does not
    count: small boards run at theirs all the time, and the clock tells what it does.
    """
    reasons = [int(reading.get("gpu_throttle_reasons", 0)) for reading in (before, after)]
    was, now = (reading.get("gpu_clock_mhz", math.nan) for reading in (before, after))
    shares = [reading.get("gpu_other_share", 0.0) for reading in (before, after)]
    found = (
        ("gpu-throttled", any(reason & _THROTTLED for reason in reasons)),
        ("gpu-clock", was > 0 and abs(now - was) / was > MAX_CLOCK_CHANGE),
        ("gpu-load", max(shares) > MAX_GPU_SHARE),
    )
    return tuple(name for name, is_found in found if is_found)


class Gpu:
    """One GPU; made by :func:`find_gpu`."""

    def __init__(self, library: ModuleType, handle: Any) -> None:
        self._library, self._handle = library, handle

    @property
    def name(self) -> str:
        """The product's name, ``"unnamed GPU"`` where it is not told."""
        return self._text("nvmlDeviceGetName", self._handle) or "unnamed GPU"

    @property
    def driver(self) -> str:
        """Version of the driver, empty where it is not told."""
        return self._text("nvmlSystemGetDriverVersion")

    @property
    def memory_bytes(self) -> int:
        """Size of the memory, 0 where it is not told."""
        return int(getattr(self._ask("nvmlDeviceGetMemoryInfo", self._handle), "total", 0))

    @property
    def power_limit_w(self) -> float:
        """Power in watts that the driver lets the board take, 0 where it is not told."""
        return (self._number("nvmlDeviceGetEnforcedPowerLimit", self._handle) or 0) / 1000

    def read(self) -> dict[str, float]:
        """The GPU's state now, those of these values that it tells.

        ``gpu_clock_mhz`` and ``gpu_memory_clock_mhz``, ``gpu_power_w``, ``gpu_temperature_c``,
        ``gpu_throttle_reasons`` (the library's bits: 4 power cap, 8 hardware slowdown, 32 and 64
        heat, 128 power brake; 1 is idle), ``gpu_processes`` (with a context on it, this one
        included) and ``gpu_other_share`` (share of the last second in which other processes kept
        its processors busy, as far as their numbers can be compared with this one's; the other
        measuring process of a campaign takes turns with this one and is none).
        """
        handle = self._handle
        values = {
            "gpu_clock_mhz": self._number("nvmlDeviceGetClockInfo", handle, 1),
            "gpu_memory_clock_mhz": self._number("nvmlDeviceGetClockInfo", handle, 2),
            "gpu_power_w": self._number("nvmlDeviceGetPowerUsage", handle, scale=1000),
            "gpu_temperature_c": self._number("nvmlDeviceGetTemperatureV", handle, 0),
            "gpu_throttle_reasons": self._number("nvmlDeviceGetCurrentClocksEventReasons", handle),
        }
        for name, older, arguments in (
            ("gpu_temperature_c", "nvmlDeviceGetTemperature", (handle, 0)),
            ("gpu_throttle_reasons", "nvmlDeviceGetCurrentClocksThrottleReasons", (handle,)),
        ):
            if values[name] is None:  # a driver without the function that replaced it
                values[name] = self._number(older, *arguments)
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses", handle)
        if processes is not None:
            values["gpu_processes"] = float(len(processes))
            # In a container the driver may show the host's numbers, or none; then nobody is other.
            if os.getpid() in {process.pid for process in processes}:
                values["gpu_other_share"] = self._other_share()
        return {name: value for name, value in values.items() if value is not None}

    def _other_share(self) -> float | None:
        since = int(time.time() * 1e6) - _SAMPLED_US
        library = self._library
        try:
            samples = library.nvmlDeviceGetProcessUtilization(self._handle, since)
        except library.NVMLError as error:
            nobody = (library.NVML_SUCCESS, library.NVML_ERROR_NOT_FOUND)
            return 0.0 if error.value in nobody else None
        latest = {s.pid: s.smUtil for s in sorted(samples, key=lambda sample: sample.timeStamp)}
        busy = [share for pid, share in latest.items() if share <= 100 and not _is_ours(pid)]
        return min(float(sum(busy)) / 100, 1.0)

    def _ask(self, name: str, *arguments: Any) -> Any:
        """What a function of the library returns, None where it fails or does not exist."""
        function: Callable[..., Any] | None = getattr(self._library, name, None)
        try:
            return None if function is None else function(*arguments)
        except self._library.NVMLError:
            return None

    def _number(self, name: str, *arguments: Any, scale: float = 1) -> float | None:
        value = self._ask(name, *arguments)
        return float(value) / scale if isinstance(value, int | float) else None

    def _text(self, name: str, *arguments: Any) -> str:
        value = self._ask(name, *arguments)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _is_ours(pid: int) -> bool:
    """Whether a process is this one or a measuring process of the same campaign."""
    if pid == os.getpid():
        return True
    try:
        measures = WORKER_MODULE in psutil.Process(pid).cmdline()
        return measures and _owner(pid) == _owner(os.getpid())
    except psutil.Error:
        return False


def _owner(pid: int) -> int:
    """Who started a measuring process: between the two stands its keeper."""
    return psutil.Process(psutil.Process(pid).ppid()).ppid()


def nvml_installed() -> bool:
    """Whether the library's Python package is there."""
    return importlib.util.find_spec("pynvml") is not None


def find_gpu(index: int, environ: Mapping[str, str] | None = None) -> Gpu | None:
    """The GPU that CUDA counts as ``index``, devices in the order of their bus numbers.

    ``CUDA_VISIBLE_DEVICES`` of ``environ`` is heeded. None where there is no such GPU, or no way
    to tell.
    """
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    environ = os.environ if environ is None else environ
    try:
        library.nvmlInit()
        return Gpu(library, _handle(library, index, environ.get("CUDA_VISIBLE_DEVICES")))
    except (library.NVMLError, LookupError):
        return None


def _handle(library: ModuleType, index: int, visible: str | None) -> Any:
    """The library's handle; LookupError where the environment hides the device."""
    if visible is None:
        return library.nvmlDeviceGetHandleByIndex(index)
    entry = visible.split(",")[index].strip()
    if entry.isdecimal():
        return library.nvmlDeviceGetHandleByIndex(int(entry))
    if entry.startswith(("GPU-", "MIG-")):
        return library.nvmlDeviceGetHandleByUUID(entry)
    raise LookupError(entry)
