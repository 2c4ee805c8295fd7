"""Kernel packs from tables of timed kernels: published ones, and those of a store."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.spaces.named import space_from_description
from latprof.datasets.zoo.built_models import built_family, built_model
from latprof.errors import NotEnoughDataError, UnknownNameError
from latprof.graph.reader import read_network
from latprof.measurement.records import Target
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.kernels.configurations import Configurations
from latprof.predictors.kernels.graph_kernels import kernels_of
from latprof.predictors.kernels.learning.network_fitting import KernelTable, fit_networks
from latprof.predictors.kernels.learning.published_kernels import mobile_ml_table, tinynas_table
from latprof.predictors.pack.kernel_pack import KernelPack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.graph.operators import Network, Operator
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import KernelTime, Subject
    from latprof.predictors.kernels.graph_kernels import GraphKernels

Floats: TypeAlias = NDArray[np.float64]

#: Devices of mobile-ml-benchmark's operations, and what they are.
_PHONES = {"pixel4|gpu": "Pixel 4 (Adreno 640)", "mi8se|gpu": "Xiaomi Mi 8 SE (Adreno 616)"}
_WHOLE = "tflite_cnn_e2e.csv"
#: Share of a profile's time that has to be found among the graph's operators.
_LEAST_FOUND = 0.5


def pack_of_table(
    table: KernelTable, target: Target, *, seed: int = 0, source: str = "", licence: str = ""
) -> KernelPack:
    """Fit a kernel pack; its errors are of networks whose family was left out of the kernels.

    Raises NotEnoughDataError for too few kernels.
    """
    fitted = fit_networks(table, seed=seed)
    metrics = None
    if len(fitted.measured_ms):
        metrics = evaluate(fitted.predicted_ms, fitted.measured_ms)
    return KernelPack(
        fitted.model,
        target,
        metrics=metrics,
        kernel_rows=len(table.latency_ms),
        network_rows=int(np.isfinite(table.network_ms).sum()),
        source=source,
        licence=licence,
    )


def train_on_published_kernels(
    path: Path, *, device: str | None = None, seed: int = 0
) -> KernelPack:
    """Fit a kernel pack to a table of another project.

    Parameters
    ----------
    path : path
        ``tflite_cnn_ops_gpu.csv`` of mobile-ml-benchmark (``tflite_cnn_e2e.csv`` beside it has the
        latencies of whole networks), or TinyNAS' table of convolutions.
    device : str, optional
        Which column of mobile-ml-benchmark: ``"pixel4|gpu"`` (the default) or ``"mi8se|gpu"``.
    seed : int

    Raises
    ------
    UnknownNameError
        For a device that the file does not have.
    DataSetError
        For a file that is missing or malformed.
    """
    if path.suffix == ".csv":
        device = device or next(iter(_PHONES))
        if device not in _PHONES:
            raise UnknownNameError("device", device, [*_PHONES])
        whole = path.with_name(_WHOLE)
        table = mobile_ml_table(path, whole if whole.exists() else None, device)
        target = Target(device.replace("|", "-"), _PHONES[device], "tflite", "as published")
        return pack_of_table(table, target, seed=seed, source="mobile-ml-benchmark", licence="MIT")
    if device is not None:
        raise UnknownNameError("device", device, [])
    target = Target("v100", "NVIDIA V100", "tensorrt", "as published")
    table = tinynas_table(path)
    return pack_of_table(table, target, seed=seed, source="TinyNAS", licence="Apache-2.0")


def train_on_stored_kernels(measured: TargetLabels, *, seed: int = 0) -> KernelPack:
    """Fit a kernel pack to the kernels that a store holds of one target.

    Raises NotEnoughDataError for too few timed kernels of networks that can be built again.
    """
    pack = pack_of_table(stored_kernels(measured), measured.target, seed=seed)
    return dataclasses.replace(
        pack,
        noise_floor=measured.noise_floor,
        reference=measured.reference,
        reference_ms=measured.reference_ms,
        constant=measured.constant,
    )


def stored_kernels(measured: TargetLabels) -> KernelTable:
    """What a store holds of one target as a table.

    Families are the zoo's; a random network, or an architecture of a search space, is a family of
    its own kind, on whose latencies no interval is calibrated.
    """
    labels = measured.labels
    rows = labels[labels["label"] == 0]
    keys = zip(rows["space"], rows["subject"], strict=True)
    network_ms = dict(zip(keys, rows["latency_ms"].tolist(), strict=True))
    parts: list[TimedKernels] = []
    names: list[str] = []
    families: list[str] = []
    whole: list[float] = []
    for subject, profile in measured.kernel_profiles():
        graph = graph_of(subject)
        timed = (
            None
            if graph is None
            else times_of_kernels(kernels_of(graph, measured.target), profile.kernels)
        )
        if timed is None:
            continue
        parts.append(timed)
        names.append(subject.name)
        families.append(built_family(subject.key) if subject.kind == "built" else "")
        whole.append(network_ms.get((subject.space, subject.key), np.nan))
    if not parts:
        raise NotEnoughDataError(
            "the store has no timed kernels of networks that can be built again",
            hint="collect them: latprof collect --kernels",
        )
    return KernelTable(
        Configurations(
            np.concatenate([each.kernels.families for each in parts]),
            np.concatenate([each.kernels.numbers for each in parts]),
        ),
        np.concatenate([each.latency_ms for each in parts]),
        np.repeat(np.arange(len(parts)), [len(each.latency_ms) for each in parts]),
        tuple(names),
        tuple(families),
        np.array(whole),
    )


def graph_of(subject: Subject) -> Network | None:
    """The graph of a measured network; None for a model file, of which a store has no copy."""
    if subject.kind == "built":
        return read_network(built_model(subject.key))
    if subject.kind == "architecture":
        space = space_from_description(subject.space)
        return read_network(space.onnx_bytes(space.parse(subject.key)))
    return None


@dataclass(frozen=True, eq=False, repr=False)
class TimedKernels(ShortRepr):
    """Kernels of one network and their times in ms, shape (n,)."""

    kernels: Configurations
    latency_ms: Floats


def times_of_kernels(kernels: GraphKernels, timed: Sequence[KernelTime]) -> TimedKernels | None:
    """A graph's kernels with their times; None where hardly any of the time is found among them.

    A timed kernel is the one that runs one of its operators, else the next of its kind that writes
    the same shape. Times of several kernels of one operator add up. What is found nowhere counts
    for the kernel that follows it.
    """
    position = {
        name: index
        for index, operator in enumerate(kernels.operators)
        for name in (operator.parts or (operator.name,))
    }
    named = [next((position[n] for n in k.operators if n in position), -1) for k in timed]
    alike: dict[tuple[object, ...], deque[int]] = {}
    for index, operator in enumerate(kernels.operators):
        if index not in named:
            alike.setdefault(_likeness(operator), deque()).append(index)
    sums = np.zeros(len(kernels.operators))
    waiting = found = 0.0
    last = -1
    for kernel, own in zip(timed, named, strict=True):
        others = alike.get(_likeness(kernel))
        index = own if own >= 0 else others.popleft() if others else -1
        if index < 0:
            waiting += kernel.latency_ms
            continue
        sums[index] += kernel.latency_ms + waiting
        found, waiting, last = found + kernel.latency_ms, 0.0, index
    if last < 0 or found < _LEAST_FOUND * sum(kernel.latency_ms for kernel in timed):
        return None
    sums[last] += waiting
    ran = sums > 0
    return TimedKernels(kernels.configurations.rows(ran), (sums / kernels.trips)[ran])


def _likeness(each: Operator | KernelTime) -> tuple[object, ...]:
    """A kind without sizes, and the shape that is written.

    Changes of layout are one kind. A runtime may run a dense layer on any tensor as a product of
    two matrices: its rows are then one dimension.
    """
    letters = each.kind.split(maxsplit=1)[0].rstrip("0123456789x")
    kind = "layout" if letters.startswith("reorder") else letters
    shape = each.output_shapes[0] if each.output_shapes else ()
    return kind, (math.prod(shape[:-1]), shape[-1]) if kind == "linear" and shape else shape
