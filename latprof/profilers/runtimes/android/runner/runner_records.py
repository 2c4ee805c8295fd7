"""What the runner answers, as records; each checks what it is read from."""

from __future__ import annotations

from dataclasses import dataclass

from latprof.profilers.runtimes.android.runner.runner_lines import (
    RunnerAnswer,
    decoded,
    garbled,
    split,
    whole,
)
from latprof.profilers.runtimes.kernel_events import KernelEvent

#: Bytes of one value of each dtype that the runner knows.
VALUE_BYTES = {
    "float32": 4,
    "float64": 8,
    "float16": 2,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "bool": 1,
    "unknown": 0,
}


@dataclass(frozen=True)
class Greeting:
    """The runner's first line. ``cores`` are those it may run on."""

    protocol: int
    abi: str
    pid: int
    cores: tuple[int, ...]

    @classmethod
    def read(cls, answer: RunnerAnswer) -> Greeting:
        """Read it from the runner's answer."""
        number = answer.number_of
        return cls(number("protocol"), answer.text("abi"), number("pid"), _cores(answer))


@dataclass(frozen=True)
class OpenedLibrary:
    """A library: ``litert``, ``tflite`` or ``onnxruntime``, and the version where it tells one."""

    api: str
    version: str

    @classmethod
    def read(cls, answer: RunnerAnswer) -> OpenedLibrary:
        """Read it from the runner's answer."""
        return cls(answer.text("api"), answer.text("version"))


@dataclass(frozen=True)
class TensorInfo:
    """An input or output. Sizes below 0 are dynamic."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def read(cls, text: str) -> TensorInfo:
        """Read it from ``name:dtype:1x224x224x3``."""
        parts = text.split(":")
        if len(parts) != 3 or parts[1] not in VALUE_BYTES:
            raise garbled("with a tensor that is none")
        return cls(decoded(parts[0]), parts[1], split(parts[2], "x", whole))


@dataclass(frozen=True)
class MemoryUse:
    """Resident memory in KiB, now and at its peak since the request began; -1 where unseen."""

    resident_kb: int
    peak_kb: int

    @classmethod
    def read(cls, answer: RunnerAnswer) -> MemoryUse:
        """Read it from the runner's answer."""
        return cls(answer.number_of("rss_kb"), answer.number_of("peak_kb"))


@dataclass(frozen=True)
class RunnerModel:
    """A model that the runner holds.

    ``file_bytes`` is what the library got (of a skeleton, after it was filled); ``read_ns`` is
    reading, hashing and filling, ``load_ns`` the library's part.
    """

    number: int
    file_bytes: int
    from_skeleton: bool
    read_ns: int
    load_ns: int
    memory: MemoryUse
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @classmethod
    def read(cls, number: int, answer: RunnerAnswer) -> RunnerModel:
        """Read it from the runner's answer."""
        return cls(
            number,
            answer.number_of("bytes"),
            answer.number_of("skeleton") == 1,
            answer.number_of("read_ns"),
            answer.number_of("load_ns"),
            MemoryUse.read(answer),
            answer.parts("inputs", "|", TensorInfo.read),
            answer.parts("outputs", "|", TensorInfo.read),
        )


@dataclass(frozen=True)
class RunTime:
    """One run: wall time, CPU time and involuntary switches of the calling thread, its core."""

    wall_ns: int
    cpu_ns: int
    involuntary_switches: int
    core: int

    @classmethod
    def read(cls, text: str) -> RunTime:
        """Read it from ``wall:cpu:switches:core``."""
        values = split(text, ":", whole)
        if len(values) != 4 or values[0] <= 0 or min(values) < 0:
            raise garbled("with a run that is none")
        return cls(*values)


@dataclass(frozen=True)
class PlanBurst:
    """A burst's runs, the core it ended on, that core's clock and limit in kHz (-1 unseen)."""

    model: int
    runs: tuple[RunTime, ...]
    core: int
    clock_khz: int
    limit_khz: int


@dataclass(frozen=True)
class PlanResult:
    """All bursts of a plan in order; times by the device's monotonic clock."""

    bursts: tuple[PlanBurst, ...]
    start_ns: int
    end_ns: int
    memory: MemoryUse

    @classmethod
    def read(cls, planned: tuple[tuple[int, int], ...], answer: RunnerAnswer) -> PlanResult:
        """Read it from the answer to a plan of (model, runs); each has to be answered in full."""
        runs = answer.parts("runs", ";", lambda part: split(part, ",", RunTime.read))
        states = answer.parts("clocks", ",", lambda part: split(part, ":", whole))
        wanted = [count for _, count in planned]
        if [len(burst) for burst in runs] != wanted or [len(s) for s in states] != [3] * len(
            wanted
        ):
            raise garbled("with other bursts than were asked for")
        bursts = (
            PlanBurst(model, burst, *state)
            for (model, _), burst, state in zip(planned, runs, states, strict=True)
        )
        start, end = answer.number_of("start_ns"), answer.number_of("end_ns")
        return cls(tuple(bursts), start, end, MemoryUse.read(answer))


def read_kernel_event(text: str) -> KernelEvent:
    """Read a kernel from ``type:us:operator:name``."""
    parts = text.split(":")
    if len(parts) != 4:
        raise garbled("with a kernel that is none")
    return KernelEvent(whole(parts[0]), whole(parts[1]), whole(parts[2]), decoded(parts[3]))


@dataclass(frozen=True)
class RunnerOutput:
    """An output of a model's last run; ``data`` holds as many bytes as were asked for."""

    info: TensorInfo
    total_bytes: int
    sha256: str
    data: bytes

    @classmethod
    def read(cls, answer: RunnerAnswer) -> RunnerOutput:
        """Read it from the runner's answer."""
        info = TensorInfo.read(answer.raw("output"))
        try:
            data = bytes.fromhex(answer.raw("data"))
        except ValueError:
            raise garbled("with data that are none") from None
        return cls(info, answer.number_of("bytes"), answer.text("sha256"), data)


@dataclass(frozen=True)
class CoreClock:
    """A core's clock in kHz, the limits set now, and the highest of the hardware; -1 unseen."""

    core: int
    clock_khz: int
    limit_khz: int
    least_khz: int
    highest_khz: int

    @classmethod
    def read(cls, text: str) -> CoreClock:
        """Read it from ``core:clock:limit:least:highest``."""
        values = split(text, ":", whole)
        if len(values) != 5:
            raise garbled("with a clock that is none")
        return cls(*values)


@dataclass(frozen=True)
class RunnerConditions:
    """The state of the device as the runner sees it. ``load`` is that of one minute, -1 unseen."""

    now_ns: int
    available_kb: int
    load: float
    clocks: tuple[CoreClock, ...]
    cores: tuple[int, ...]
    memory: MemoryUse

    @classmethod
    def read(cls, answer: RunnerAnswer) -> RunnerConditions:
        """Read it from the runner's answer."""
        try:
            load = float(answer.text("load"))
        except ValueError:
            raise garbled("with a load that is none") from None
        return cls(
            answer.number_of("now_ns"),
            answer.number_of("available_kb"),
            load,
            answer.parts("clocks", ",", CoreClock.read),
            _cores(answer),
            MemoryUse.read(answer),
        )


def _cores(answer: RunnerAnswer) -> tuple[int, ...]:
    return answer.parts("cores", ",", whole)
