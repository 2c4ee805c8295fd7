"""What the profilers of NVIDIA GPUs share: which GPU, its state, and the timing of bursts.

CUDA is initialised only where a network is loaded: before that the GPU is asked through its
management library (:mod:`latprof.profilers.runtimes.cuda.nvml`).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

from latprof.errors import DeviceError, InvalidValueError, RuntimeFailedError
from latprof.measurement.quiet.conditions import read_conditions
from latprof.profilers.base import Availability, Profiler
from latprof.profilers.runtimes.cuda.nvml import Gpu, find_gpu, gpu_disturbances, nvml_installed
from latprof.profilers.runtimes.running import first_line

#: Runs of a network on a GPU at its clock, which it keeps while the next network is built.
_WARM_UP_RUNS = 3
#: Seconds after which a GPU may have lowered its clock.
_CLOCK_KEPT_S = 1.0
#: Environment variable that settles the order of GPUs; with this value it is that of their buses,
#: which is the management library's.
_ORDER = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


class CudaProfiler(Profiler):
    """A runtime on an NVIDIA GPU; :meth:`at` gives the profiler of one of them.

    GPUs are counted in the order of their bus numbers, as ``nvidia-smi`` does, among those that
    ``CUDA_VISIBLE_DEVICES`` shows. Subclasses set ``runtime`` and ``package``.
    """

    #: Number of the GPU; None for the class that all share.
    index: ClassVar[int | None] = None
    #: Libraries and CUDA take seconds to start.
    networks_per_process = 2000
    #: The runtime's name in targets, and the distribution that it comes in.
    runtime: ClassVar[str] = ""
    package: ClassVar[str] = ""
    #: Seconds of work for a GPU that did nothing before.
    first_warm_up_s: ClassVar[float] = 0.5

    _warm_until_s = -math.inf

    @classmethod
    def at(cls, address: str) -> type[Self]:
        """The profiler of GPU number ``address``."""
        if cls.index is not None or not address.isdecimal() or str(int(address)) != address:
            raise InvalidValueError(
                f"{cls.spelling} has no such GPU", expected="its number, as 0", got=address
            )
        spelling = cls.spelling.replace(":N:", f":{address}:")
        return type(
            f"{cls.__name__}{address}",
            (cls,),
            {"index": int(address), "spelling": spelling, "__doc__": cls.__doc__},
        )

    @classmethod
    def availability(cls) -> Availability:
        """Whether runtime and GPU are there, without initialising CUDA."""
        version, missing = cls.installed()
        if missing is not None:
            return missing
        if not nvml_installed():
            return _seen_by_torch(version, cls.index or 0)
        gpu = find_gpu(cls.index or 0)
        if gpu is None:
            number = "" if cls.index is None else f" number {cls.index}"
            return Availability("missing", f"{version}, but no NVIDIA GPU{number} is visible")
        return Availability("ready", f"{version} on {gpu.name}, driver {gpu.driver}")

    @classmethod
    def installed(cls) -> tuple[str, Availability | None]:
        """The runtime with its version; where it is missing, what says so."""
        try:
            return f"{cls.package} {importlib.metadata.version(cls.package)}", None
        except importlib.metadata.PackageNotFoundError:
            detail = f"{cls.package} is not installed"
            return "", Availability("missing", detail, f"pip install {cls.package}")

    def target(self, input_shape: tuple[int, ...] | None) -> Any:
        """The identity: the GPU's product with its memory and power limit, and the runtime."""
        number = self._number()
        version = importlib.metadata.version(self.package)
        name = device_name(number)
        return self.identity(f"cuda:{number}", name, self.runtime, version, input_shape)

    def conditions(self) -> dict[str, float]:
        """The GPU's state, and this computer's unless a captured graph makes it irrelevant."""
        of_gpu = {} if self._gpu is None else self._gpu.read()
        if "graph" in self.options.mode:
            return {"monotonic_s": time.monotonic(), **of_gpu}
        return {**read_conditions(), **of_gpu}

    def disturbances(
        self, before: Mapping[str, float], after: Mapping[str, float]
    ) -> tuple[str, ...]:
        return gpu_disturbances(before, after)

    @cached_property
    def _gpu(self) -> Gpu | None:
        return find_gpu(self._number())

    def _number(self) -> int:
        if self.index is None:
            raise InvalidValueError(
                f"{self.spelling} names no GPU", expected=self.spelling.replace(":N:", ":0:")
            )
        return self.index

    def _warm_up(self, run: Callable[[int], Sequence[float]]) -> None:
        if time.monotonic() < self._warm_until_s:
            run(_WARM_UP_RUNS)
        else:
            settle(run, least_s=self.first_warm_up_s)
        self._warm_until_s = time.monotonic() + _CLOCK_KEPT_S

    def use_device(self) -> Any:
        """Make torch's GPU of this number the current one; DeviceError where there is none."""
        number = self._number()
        os.environ.setdefault(*_ORDER)
        import torch

        if not torch.cuda.is_available() or number >= torch.cuda.device_count():
            raise DeviceError(
                f"torch sees no GPU number {number}", hint="latprof devices says what is missing"
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
        return device


def device_name(index: int) -> str:
    """The GPU's product, memory and power limit: what makes it another device for measurements.

    Without the management library only what CUDA calls it. DeviceError where there is no such GPU.
    """
    gpu = find_gpu(index)
    if gpu is not None:
        memory = f"{gpu.memory_bytes / 2**30:.0f} GiB" if gpu.memory_bytes else ""
        power = f"{gpu.power_limit_w:.0f} W" if gpu.power_limit_w else ""
        details = ", ".join(filter(None, (memory, power)))
        return f"{gpu.name} ({details})" if details else gpu.name
    os.environ.setdefault(*_ORDER)
    try:
        import torch

        return str(torch.cuda.get_device_name(index))
    except Exception as error:  # noqa: BLE001 - no torch, no CUDA in it, no such GPU
        raise DeviceError(f"no NVIDIA GPU number {index}: {first_line(error)}") from None


def _seen_by_torch(version: str, index: int) -> Availability:
    """What torch says of GPUs; it counts them without initialising CUDA."""
    remedy = "pip install nvidia-ml-py"
    if importlib.util.find_spec("torch") is None:
        return Availability("missing", f"{version}, but nothing here tells of GPUs", remedy)
    import torch

    if torch.cuda.device_count() <= index:
        return Availability("missing", f"{version}, but no NVIDIA GPU number {index} is visible")
    return Availability(
        "ready", f"{version} on an NVIDIA GPU whose state cannot be read without nvidia-ml-py"
    )


class Event(Protocol):
    """A mark in a stream of work, as ``torch.cuda.Event(enable_timing=True)``."""

    def record(self) -> object:
        """Put the mark behind the work that was started so far."""
        ...

    def elapsed_time(self, end_event: Any) -> float:
        """Milliseconds from this mark to a later one, by the device's clock."""
        ...


def event_burst(
    run: Callable[[], object],
    times: int,
    make_event: Callable[[], Event],
    synchronize: Callable[[], object],
    between: Callable[[], object] | None = None,
) -> list[float]:
    """Durations in milliseconds of so many runs, by the clock of the device.

    Each run has a mark before and one behind it in the device's stream; the host waits once, for
    all of them. A duration is the time between the two marks on the device: the network's kernels
    and the gaps between them. What the host does from one run to the next is in none, as long as it
    is ahead of the device. Where it is not (short kernels, started one by one), the device waits
    for it inside a run, and that is part of the run; a captured graph has no such waits.

    Parameters
    ----------
    run : callable
        Starts one run, without waiting for it.
    times : int
    make_event : callable
        Makes a mark with a time.
    synchronize : callable
        Waits until everything that was started has ended.
    between : callable, optional
        Starts work before each run that is not timed.

    Raises
    ------
    RuntimeFailedError
        With the first line of what a run or the device raises.
    """
    try:
        marks = [(make_event(), make_event()) for _ in range(times)]
        for start, end in marks:
            if between is not None:
                between()
            start.record()
            run()
            end.record()
        synchronize()
        return [float(start.elapsed_time(end)) for start, end in marks]
    except Exception as error:  # noqa: BLE001 - runtimes' exceptions have no common base
        raise RuntimeFailedError(f"the GPU failed while running: {first_line(error)}") from None


def settle(
    run: Callable[[int], Sequence[float]],
    *,
    least_s: float,
    most_s: float = 2.0,
    burst_ms: float = 10.0,
    tolerance: float = 0.02,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Run a network until the GPU's clock no longer rises; return the bursts that it took.

    A GPU that did nothing runs at a fraction of its clock and takes up to a second to reach it.
    Bursts of about ``burst_ms`` run until the medians of two in a row differ by less than
    ``tolerance`` and ``least_s`` have passed, but never longer than ``most_s``.
    """
    start, bursts = clock(), 0
    before = max(statistics.median(run(2)), 1e-3)
    while True:
        after = max(statistics.median(run(min(max(round(burst_ms / before), 2), 200))), 1e-3)
        bursts += 1
        settled = abs(after - before) <= tolerance * before
        elapsed_s = clock() - start
        if (settled and elapsed_s >= least_s) or elapsed_s >= most_s:
            return bursts
        before = after
