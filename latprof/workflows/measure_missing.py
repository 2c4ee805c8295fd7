"""Measuring the kernels that a pack lacks, so that predictions grow better with use."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.extras import needs
from latprof.common.files import what_is_at, write_atomically
from latprof.common.limits import TIMEOUT
from latprof.errors import LatprofError, TargetMismatchError, UsageError

if TYPE_CHECKING:
    import onnx

    from latprof.graph.operators import Network
    from latprof.measurement.records import Subject, Target
    from latprof.measurement.store.store import Store
    from latprof.predictors.kernels.graph_kernels import GraphKernels
    from latprof.predictors.pack.kernel_pack import KernelPack
    from latprof.profilers.campaign.campaign import Progress
    from latprof.workflows.arguments import OnNote

#: Kernels before a missing one that stand in front of it, so that it finds the layout that it has
#: in the network: first few, more where it comes out as another kernel.
_BEFORE = (1, 3, 8)
#: Fresh loads of each part; its kernels are timed once.
_VISITS = 2


@dataclasses.dataclass(frozen=True)
class AskedModel:
    """A model whose kernels are wanted: its file, its inputs' shapes, and what was read of it."""

    path: Path
    shapes: Mapping[str | None, Sequence[int]]
    network: Network


@needs("collect", "pandas", "scipy", "sqlalchemy")
def measure_missing(
    pack: KernelPack,
    models: Sequence[AskedModel],
    *,
    timeout_s: float = 300.0,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: OnNote | None = None,
) -> KernelPack:
    """Measure the kernels of models that a pack never saw, and refit it.

    Measured is a part of each model with these kernels and those just before them, under the paired
    protocol. Measurements go into a store in the user's data folder, what the pack grew to beside
    it; the pack's own file stays as it is.

    Parameters
    ----------
    pack : KernelPack
        Its target has to be this host, or a phone that is there.
    models : sequence of AskedModel
    timeout_s : float
        Longest time for one visit, in seconds.
    on_progress, on_note : callable, optional
        As of :func:`latprof.collect`.

    Returns
    -------
    KernelPack
        The pack with all kernels that were ever measured for it here.

    Raises
    ------
    TargetMismatchError
        Where the pack holds for another processor, runtime or version.
    UnsupportedModelError, RuntimeFailedError, MeasurementTimeoutError
        Where nothing could be measured.
    """
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.store.store import Store
    from latprof.predictors.pack.grown_pack import (
        grown_pack,
        measured_kernels_store,
        save_grown_pack,
    )
    from latprof.predictors.training.refitting import refit

    TIMEOUT.check("timeout_s", timeout_s)
    say = on_note or (lambda _text: None)
    _check_host(pack.target)
    known = grown_pack(pack)
    with tempfile.TemporaryDirectory(prefix="latprof-") as folder:
        parts = [
            part
            for number, model in enumerate(models)
            if (part := _part(known, model, Path(folder) / str(number), say)) is not None
        ]
        if not parts:
            return known
        store = measured_kernels_store()
        store.parent.mkdir(parents=True, exist_ok=True)
        with Store.open(str(store), create=True) as opened:
            _measure(opened, pack.target, parts, timeout_s, on_progress, say)
            grown = refit(pack, TargetLabels.of(opened, pack.target), _graph_of)
    place = save_grown_pack(pack, grown)
    say(f"measurements are in {store}, and the pack that knows them in {place}")
    return grown


def _check_host(target: Target) -> None:
    """Raise TargetMismatchError unless this host, or the phone, is what a pack's target names."""
    from latprof.profilers.base import RunOptions
    from latprof.profilers.targets import check_ready, profiler_class

    profiler = profiler_class(target.spelling)
    if not (profiler.runs_here or profiler.clusters):
        raise UsageError(
            "`measure_missing` is for targets of this computer, and phones", got=target.spelling
        )
    check_ready(target.spelling)
    here = profiler(RunOptions.of_target(target)).target(target.input_shape)
    if here != target:
        raise TargetMismatchError(
            "the pack's kernels were measured elsewhere",
            field="measure_missing",
            expected=f"{'this host' if profiler.runs_here else 'this phone'}: {here.describe()}",
            got="; ".join(target.differences(here)),
            hint="make a pack of it: latprof collect --kernels, then latprof train",
        )


def _part(
    pack: KernelPack, model: AskedModel, folder: Path, say: Callable[[str], None]
) -> Path | None:
    """A model file with the kernels that a pack never saw; None where there are none."""
    from onnx import save

    from latprof.graph.convert.quantization import is_quantized
    from latprof.graph.reader import load_model
    from latprof.predictors.kernels.graph_kernels import kernels_of

    kernels = kernels_of(model.network, pack.target, pack.rules)
    digests = kernels.configurations.digests()
    missing = {i for i, d in enumerate(digests) if d not in pack.model.kernels.seen}
    if not missing:
        say(f"{model.path.name}: every one of its {len(digests)} kernels was measured before")
        return None
    whole = load_model(model.path, shapes=dict(model.shapes) or None, external_data=True)
    found: onnx.ModelProto | None = None
    chosen: set[int] = set()
    lacking = missing
    for depth in _BEFORE:
        chosen |= _with_those_before(kernels, lacking, depth)
        found = _taken(whole, kernels, chosen, str(model.path))
        inside = set(_digests(found, pack))
        lacking = {index for index in missing if digests[index] not in inside}
        if not lacking:
            break
    wanted, lost = len({digests[i] for i in missing}), len({digests[i] for i in lacking})
    also = f"; {lost} cannot be had apart from the network" if lost else ""
    say(f"{model.path.name}: {wanted} kernels were never measured{also}")
    if found is None or lost == wanted:
        return None
    if pack.target.precision == "int8" and not is_quantized(found):
        return None  # as a model of its own it would be quantised
    folder.mkdir()
    stem = os.fsencode(model.path.stem)[:200].decode("utf-8", "ignore")  # of at most 255 bytes
    path = folder / f"{stem}-kernels.onnx"
    save(found, path)
    return path


def _with_those_before(kernels: GraphKernels, wanted: set[int], depth: int) -> set[int]:
    """The kernels, and so many of those that made what they read."""
    made = {name: i for i, operator in enumerate(kernels.operators) for name in operator.writes}
    found = ends = set(wanted)
    for _ in range(depth):
        reads = (name for index in ends for name in kernels.operators[index].reads)
        ends = {made[name] for name in reads if name in made} - found
        found = found | ends
    return found


def _taken(
    model: onnx.ModelProto, kernels: GraphKernels, chosen: set[int], label: str
) -> onnx.ModelProto:
    from latprof.graph.extracting import extract_operators

    names = [operator.parts or (operator.name,) for operator in kernels.operators]
    taken = {name for index in chosen for name in names[index]}
    known = {name for each in names for name in each}
    return extract_operators(model, taken, known, label)


def _digests(model: onnx.ModelProto, pack: KernelPack) -> list[int]:
    """Of the kernels of a part of a model."""
    from latprof.graph.reader import read_network
    from latprof.predictors.kernels.graph_kernels import kernels_of

    try:
        kernels = kernels_of(read_network(model), pack.target, pack.rules)
        return kernels.configurations.digests()
    except LatprofError:  # a part whose sizes cannot be told alone
        return []


def _measure(
    store: Store,
    target: Target,
    parts: Sequence[Path],
    timeout_s: float,
    on_progress: Callable[[Progress], None] | None,
    say: Callable[[str], None],
) -> None:
    """Visit the parts and time their kernels; their graphs are kept for the next refit."""
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.base import RunOptions
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.visits.network_source import NetworkSource

    sources = NetworkSource.of_models(parts)
    for source, path in zip(sources, parts, strict=True):
        _keep_graph(source.subject, path)
    collection = Collection(
        sources,
        target.input_shape,
        {"measure_missing": True, "networks": len(parts)},
        target=target.spelling,
        options=RunOptions.of_target(target),
        protocol=PairedProtocol(visits=_VISITS),
    )
    _, outcome = collection.run(
        store, on_progress=on_progress, timeout_s=timeout_s, repeat_fraction=0.0, ops=True
    )
    for name, failure in outcome.failures:
        say(f"failed: {name}: {failure.message}")
    if outcome.failures and not store.subjects_with_kernels(target):
        raise outcome.failures[0][1].error()


def _graph_file(subject: Subject) -> Path:
    from latprof.predictors.pack.grown_pack import measured_graphs

    return measured_graphs() / f"{hashlib.sha256(subject.key.encode()).hexdigest()[:32]}.onnx"


def _keep_graph(subject: Subject, path: Path) -> None:
    """Keep a network's graph without its weights: what its kernels are is told from it."""
    from latprof.graph.model_file import read_model, without_data

    place = _graph_file(subject)
    place.parent.mkdir(parents=True, exist_ok=True)
    model = read_model(path, data=False)
    without_data(model)
    write_atomically(place, model.SerializeToString())


def _graph_of(subject: Subject) -> Network | None:
    from latprof.graph.reader import read_network

    place = _graph_file(subject)
    if what_is_at(place) != "file":
        return None
    try:
        return read_network(place)
    except LatprofError:  # damaged meanwhile
        return None
