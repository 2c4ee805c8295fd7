"""What a measurement is: the immutable records that the protocol fills and the store keeps."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from latprof.common.checked_json import Fields
from latprof.common.limits import ABOVE_0, Limit, check_limits, whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError
from latprof.measurement.run_usage import BurstUsage, usage_of_json

#: Kernels of one network.
MOST_KERNELS = 1_000_000
#: Mode of targets whose runs are averages: no single run is known.
AVERAGES = "averages"
#: Runs of one burst, in the order they ran, in milliseconds. The first run is stored and not used.
Burst = tuple[float, ...]


@dataclass(frozen=True)
class Target:
    """The identity of a measurement: where and how a network ran.

    Numbers of two targets are never mixed, compared or trained on together unless the caller says
    so. Two targets are the same exactly when all their fields are equal.

    Parameters
    ----------
    device : str
        Kind of device and its address: ``"cpu"``, ``"cuda:0"``, ``"adb:SERIAL"``.
    device_name : str
        What the device is, precise enough that another processor reads differently.
    runtime, runtime_version : str
        The library that runs the network.
    precision : str
        ``"float32"``, ``"float16"``, ``"int8"``...
    batch_size, threads : int
        Images a run, and threads inside an operator; 0 threads where whoever measured did not say.
    input_shape : tuple of int, optional
        Shape of one run's input, batch first; None where each model brings its own.
    cores : str
        Cores the process was pinned to, ``""`` where it was free to move.
    mode : str
        How the runtime ran networks beyond its defaults: words with commas between them, such as
        ``"compile"`` or ``"tuned=64"``.
    host : str
        A name that whoever measured gave the host, where it is told from others of its kind.
    """

    device: str
    device_name: str
    runtime: str
    runtime_version: str
    precision: str = "float32"
    batch_size: int = 1
    threads: int = 1
    input_shape: tuple[int, ...] | None = None
    cores: str = ""
    mode: str = ""
    host: str = ""

    @property
    def spelling(self) -> str:
        """The short form the command line takes, for example ``"cpu:onnxruntime"``.

        A device that is reached through the runtime itself (``"tvm-rpc:..."``) names it already.
        """
        if self.device.startswith(f"{self.runtime}-"):
            return self.device
        return f"{self.device}:{self.runtime}"

    @property
    def tells_averages(self) -> bool:
        """Whether its runs are averages, since the program that ran them tells no single ones."""
        return AVERAGES in self.mode.split(",")

    @property
    def key(self) -> str:
        """Canonical JSON of every field: equal keys mean equal targets."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))

    def to_dict(self) -> dict[str, Any]:
        """Return the target as plain JSON values; ``mode`` and ``host`` only where there is one."""
        values = dataclasses.asdict(self)
        values["input_shape"] = None if self.input_shape is None else list(self.input_shape)
        for name in ("mode", "host"):  # targets measured before there were these keep their keys
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """Rebuild a target from :meth:`to_dict`; raises InvalidValueError for anything else."""
        names = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            raise InvalidValueError(f"target has unknown fields: {', '.join(unknown)}")
        defaults = {"precision": "float32", "batch_size": 1, "threads": 1}
        defaults |= dict.fromkeys(("cores", "mode", "host"), "")
        fields = Fields("target", {**defaults, **values}, InvalidValueError)
        shape = fields.values.get("input_shape")
        if shape is not None:
            if not isinstance(shape, list | tuple) or any(type(size) is not int for size in shape):
                fields.wrong("input_shape", "whole numbers")
            shape = tuple(shape)
        numbers = {name: fields.integer(name) for name in ("batch_size", "threads")}
        texts = {name: fields.text(name) for name in names - {*numbers, "input_shape"}}
        read: dict[str, Any] = {**texts, **numbers, "input_shape": shape}
        return cls(**read)

    def describe(self, batch: str = "") -> str:
        """One line for people; ``batch`` says what the batch is, where it is not the target's."""
        shape = "" if self.input_shape is None else " " + "x".join(map(str, self.input_shape))
        pinned = f", cores {self.cores}" if self.cores else ""
        pinned += f", host {self.host}" if self.host else ""
        version = "" if self.runtime_version == "unknown" else f" {self.runtime_version}"
        version += f" ({self.mode})" if self.mode else ""
        threads = f"{self.threads} thread{'s' if self.threads != 1 else ''}"
        if not self.threads:  # measurements of others, who did not say
            threads = "threads not stated"
        return (
            f"{self.spelling}{version} on {self.device_name}, {self.precision}, "
            f"{batch or f'batch {self.batch_size}'}{shape}, {threads}{pinned}"
        )

    def differences(self, other: Target) -> list[str]:
        """Name the fields in which two targets differ, with both values."""
        mine, theirs = ({"mode": "", "host": ""} | each.to_dict() for each in (self, other))
        return [f"{k} {mine[k]!r} against {theirs[k]!r}" for k in mine if mine[k] != theirs[k]]


@dataclass(frozen=True)
class Subject:
    """The network that is measured: its identity, and what people call it.

    ``kind`` is ``"architecture"`` (then ``space`` is the search space's description and ``key`` the
    architecture's spelling), ``"model"`` (then ``key`` is the SHA-256 of the file's content and
    ``name`` its path) or ``"built"`` (then ``key`` says how latprof builds it). Two subjects are
    the same whatever their names.
    """

    kind: str
    key: str
    name: str = field(compare=False)
    space: str = ""


_PROTOCOL_LIMITS = {
    "rounds": whole(1, 10_000),
    "visits": whole(1, 10_000),
    "max_visits": whole(1, 10_000),
    "min_runs": whole(1, 1_000_000),
    "dropped_runs": whole(0, 1_000_000),
    "reference_loads": whole(1, 100),
    "half_width": Limit(0, 1, open_high=True),
    "burst_ms": Limit(0, 60_000, open_low=True),
    **dict.fromkeys(("max_drift", "max_withheld", "max_load"), ABOVE_0),
}


@dataclass(frozen=True)
class PairedProtocol:
    """Settings of the paired measurement; its defaults are what a serious run takes.

    One *visit* to a network loads it afresh and runs a frozen cycle: a burst of the reference, a
    burst of the target, a burst of the reference, and so on; every target burst has a reference
    burst on either side. Two loads of one network differ more than two bursts of one load, so the
    defaults take few runs a visit and many visits.

    Parameters
    ----------
    rounds : int
        Target bursts in one visit.
    visits : int
        Visits to one network, each a fresh load, spread over the campaign and its processes; the
        label combines their ratios (:func:`latprof.measurement.statistics.combine_visits`).
    half_width : float
        Visits are added until the 90 % interval around a network's latency reaches at most this
        fraction to either side; 0 makes ``visits`` and no more.
    max_visits : int
        Most visits to one network where a half-width is asked for.
    burst_ms : float
        Time that the counted runs of one burst should take; shorter networks run more often.
    min_runs, max_runs : int
        Limits of the counted runs in a burst.
    dropped_runs : int
        Runs at the start of each burst that are stored but not counted: the caches hold the other
        network then.
    reference_loads : int
        Loads of the reference network that take turns.
    max_drift : float
        A visit whose reference bursts differ by more than this fraction is marked as disturbed,
        stored, and repeated.
    max_withheld : float
        The same for one during which the hypervisor or a quota took more than this fraction of the
        time away.
    max_load : float
        The same for one during which other processes took more than this share of the cores' time
        that the measurement left (:func:`latprof.measurement.quiet.conditions.other_load`).
    """

    rounds: int = 2
    visits: int = 8
    burst_ms: float = 16.0
    min_runs: int = 2
    max_runs: int = 512
    dropped_runs: int = 1
    reference_loads: int = 3
    max_drift: float = 0.1
    max_withheld: float = 0.1
    max_load: float = 0.5
    half_width: float = 0.0
    max_visits: int = 64

    def __post_init__(self) -> None:
        check_limits(self, _PROTOCOL_LIMITS)
        whole(self.visits if self.half_width else 1).check("max_visits", self.max_visits)
        whole(self.min_runs).check("max_runs", self.max_runs)

    @property
    def most_visits(self) -> int:
        """Visits to one network at most."""
        return self.max_visits if self.half_width else self.visits

    def enough(self, visits: int, half_width: float) -> str:
        """Why a network needs no more visits: ``"half-width"``, ``"visits"``; empty if it does.

        ``half_width`` is :func:`latprof.measurement.statistics.relative_half_width`.
        """
        if self.half_width and visits >= self.visits and half_width <= self.half_width:
            return "half-width"
        return "visits" if visits >= self.most_visits else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PairedProtocol:
        """Rebuild settings from :meth:`to_dict`, also of before ``half_width`` had this name."""
        settings = dict(values)
        if "precision" in settings:
            settings["half_width"] = settings.pop("precision")
        return cls(**settings)


@dataclass(frozen=True, repr=False)
class PairedSamples(ShortRepr):
    """Every raw run of one visit, in milliseconds.

    ``target`` holds r bursts, ``reference`` r + 1: ``reference[i]`` ran before and
    ``reference[i + 1]`` after ``target[i]``. ``dropped_runs`` leading runs of each burst are
    warm-up: stored here, not part of the statistics. ``target_usage`` and ``reference_usage`` say
    what each of these runs was given of the processor, empty where that is not known;
    ``reference_name`` which reference of the target's family ran, empty for the one that the
    target names.
    """

    target: tuple[Burst, ...]
    reference: tuple[Burst, ...]
    dropped_runs: int = 1
    target_usage: tuple[BurstUsage, ...] = ()
    reference_usage: tuple[BurstUsage, ...] = ()
    reference_name: str = ""

    def __post_init__(self) -> None:
        if len(self.reference) != len(self.target) + 1 or not self.target:
            raise InvalidValueError(
                "paired samples need one reference burst more than target bursts",
                expected=f"{len(self.target) + 1} reference bursts",
                got=str(len(self.reference)),
            )
        if any(len(b) <= self.dropped_runs for b in (*self.target, *self.reference)):
            raise InvalidValueError("a burst has no runs beyond the dropped ones")

    @property
    def counted_runs(self) -> Burst:
        """The network's runs without those that were dropped, one after the other."""
        return tuple(ms for burst in self.target for ms in burst[self.dropped_runs :])

    def to_dict(self) -> dict[str, Any]:
        """Return the samples as plain JSON values; what is not known is left out."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value not in ((), "")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PairedSamples:
        """Rebuild samples from :meth:`to_dict`; raises InvalidValueError for anything else."""
        fields = Fields("samples", values, InvalidValueError)
        target, reference = (_bursts(fields, name) for name in ("target", "reference"))
        return cls(
            target,
            reference,
            fields.integer("dropped_runs"),
            usage_of_json(values.get("target_usage"), target),
            usage_of_json(values.get("reference_usage"), reference),
            fields.text("reference_name") if "reference_name" in values else "",
        )


@dataclass(frozen=True)
class KernelTime:
    """One kernel of one network as the runtime ran it.

    ``operators`` are the names of the graph's nodes it covers (several after fusion),
    ``latency_ms`` the median over the profiled runs, by the clock of that moment.
    """

    position: int
    kind: str
    name: str
    operators: tuple[str, ...]
    latency_ms: float
    input_shapes: tuple[tuple[int, ...], ...] = ()
    output_shapes: tuple[tuple[int, ...], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the kernel as plain JSON values."""
        return dataclasses.asdict(self) | {"operators": list(self.operators)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KernelTime:
        """Rebuild a kernel from :meth:`to_dict`; raises InvalidValueError for anything else."""
        fields = Fields("kernel", values, InvalidValueError)
        return cls(
            position=fields.integer("position"),
            kind=fields.text("kind"),
            name=fields.text("name"),
            operators=fields.texts("operators"),
            latency_ms=fields.number("latency_ms", 0.0),
            input_shapes=_shapes(fields, "input_shapes"),
            output_shapes=_shapes(fields, "output_shapes"),
        )


@dataclass(frozen=True, repr=False)
class KernelProfile(ShortRepr):
    """The kernels of one network, profiled inside a paired cycle.

    ``samples`` are the raw runs of that cycle: the network ran with the runtime's profiler on, so
    their ratio against an ordinary visit's is what profiling costs, and their reference bursts say
    how fast the host was.
    """

    kernels: tuple[KernelTime, ...]
    samples: PairedSamples
    started_at: float
    process: str

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as plain JSON values."""
        kernels = [kernel.to_dict() for kernel in self.kernels]
        own = {"started_at": self.started_at, "process": self.process}
        return {"kernels": kernels, "samples": self.samples.to_dict(), **own}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> KernelProfile:
        """Rebuild a profile from :meth:`to_dict`; raises InvalidValueError for anything else."""
        fields = Fields("kernel profile", values, InvalidValueError)
        kernels = fields.objects("kernels", MOST_KERNELS)
        return cls(
            tuple(KernelTime.from_dict(kernel.values) for kernel in kernels),
            PairedSamples.from_dict(fields.fields("samples").values),
            fields.number("started_at"),
            fields.text("process"),
        )


def _lists(fields: Fields, name: str) -> list[list[Any]]:
    values = fields.values.get(name)
    if not isinstance(values, list | tuple) or not all(isinstance(v, list | tuple) for v in values):
        fields.wrong(name, "a list of lists")
    return [list(value) for value in values]


def _bursts(fields: Fields, name: str) -> tuple[Burst, ...]:
    bursts = _lists(fields, name)
    for burst in bursts:
        for ms in burst:
            if not (type(ms) in (int, float) and 0 < ms < math.inf):
                raise InvalidValueError(f"{fields.what}: {name} is wrong: {ms!r} is no time")
    return tuple(map(tuple, bursts))


def _shapes(fields: Fields, name: str) -> tuple[tuple[int, ...], ...]:
    shapes = _lists(fields, name)
    if not all(type(size) is int for shape in shapes for size in shape):
        fields.wrong(name, "lists of whole numbers")
    return tuple(map(tuple, shapes))
