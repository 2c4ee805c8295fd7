"""Kernel packs from tables of timed kernels: published ones, and those of a store."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.files import what_is_at
from latprof.common.short_reprs import ShortRepr, first_names
from latprof.datasets.published.loading import (
    kernel_dataset_names,
    load,
    load_graphs,
    load_kernels,
)
from latprof.datasets.spaces.named import space_from_description
from latprof.datasets.zoo.built_models import built_family, built_model, named_family
from latprof.errors import (
    DataSetError,
    InvalidValueError,
    LatprofError,
    NotEnoughDataError,
    TargetMismatchError,
    UnknownNameError,
)
from latprof.graph.model_file import unchanged_file
from latprof.graph.reader import read_network
from latprof.graph.runtime_kernels.learned_fusion import RanNetwork, learned_rules
from latprof.measurement.records import KernelTime, Target
from latprof.measurement.statistics import NoiseFloor
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.kernels.configurations import Configurations
from latprof.predictors.kernels.graph_kernels import has_own_rules, kernels_of
from latprof.predictors.kernels.learning.kernel_agreement import KernelAgreement
from latprof.predictors.kernels.learning.kernel_fitting import kernels_left_out
from latprof.predictors.kernels.learning.network_fitting import (
    KernelTable,
    PriorKernels,
    fit_networks,
)
from latprof.predictors.kernels.learning.published_kernels import mobile_ml_table, tinynas_table
from latprof.predictors.pack.kernel_pack import KernelPack
from latprof.predictors.training.kernel_matching import times_of_kernels

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from latprof.graph.operators import Network
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import Subject

    OnNote = Callable[[str], None] | None

#: Devices of mobile-ml-benchmark's operations, and what they are.
_PHONES = {"pixel4|gpu": "Pixel 4 (Adreno 640)", "mi8se|gpu": "Xiaomi Mi 8 SE (Adreno 616)"}
_WHOLE = "tflite_cnn_e2e.csv"


def pack_of_table(
    table: KernelTable, target: Target, *, seed: int = 0, source: str = "", licence: str = ""
) -> KernelPack:
    """Fit a kernel pack; its errors are of networks whose family was left out of the kernels.

    Where no network was measured they are of kernels left out.

    Raises NotEnoughDataError for too few kernels.
    """
    fitted = fit_networks(table, seed=seed)
    metrics = kernel_metrics = None
    if len(fitted.measured_ms):
        metrics = evaluate(fitted.predicted_ms, fitted.measured_ms)
    else:
        kernel_metrics = kernels_left_out(table.kernels, table.latency_ms, seed=seed)
    return KernelPack(
        fitted.model,
        target,
        metrics=metrics,
        kernel_metrics=kernel_metrics,
        kernel_rows=int(table.timed.sum()),
        network_rows=int(np.isfinite(table.network_ms).sum()),
        rules=table.rules,
        agreement=table.agreement,
        source=source,
        licence=licence,
    )


def train_on_published_kernels(
    path: Path,
    *others: Path,
    device: str | None = None,
    prior: Sequence[Path] = (),
    seed: int = 0,
    on_note: OnNote = None,
) -> KernelPack:
    """Fit a kernel pack to a table of another project, or to data sets of kernels.

    Parameters
    ----------
    path : path
        ``tflite_cnn_ops_gpu.csv`` of mobile-ml-benchmark (``tflite_cnn_e2e.csv`` beside it has the
        latencies of whole networks), TinyNAS' table of convolutions, or a data set of ``latprof
        collect --kernels``: one that comes along, by its name, or a ``.parquet`` file.
    *others : path
        Further data sets of the same processor and runtime: kernels that ``path`` may lack. In
        another number format or batch size their networks say nothing of errors and intervals.
    device : str, optional
        Which column of mobile-ml-benchmark: ``"pixel4|gpu"`` (the default) or ``"mi8se|gpu"``.
    prior : sequence of path
        Data sets of kernels of another target, with whose times those of ``path`` are compared.
    seed : int
    on_note : callable, optional
        Called with remarks, such as which networks of a data set are left out.

    Raises
    ------
    UnknownNameError
        For a device that the file does not have.
    DataSetError
        For a file that is missing or malformed.
    """
    if path.suffix == ".parquet" or str(path) in kernel_dataset_names():
        if device is not None:
            raise UnknownNameError("device", device, [])
        table, target = published_kernels(path, *others, on_note=on_note)
        pack = pack_of_table(with_prior(table, prior), target, seed=seed)
        return dataclasses.replace(_with_origin(pack, path), prior=_names_of(prior))
    if others or prior:
        raise InvalidValueError("only data sets of kernels are fitted together", field="kernels")
    if path.suffix == ".csv":
        device = device or next(iter(_PHONES))
        if device not in _PHONES:
            raise UnknownNameError("device", device, [*_PHONES])
        whole = path.with_name(_WHOLE)
        table = mobile_ml_table(path, whole if what_is_at(whole) else None, device)
        target = Target(device.replace("|", "-"), _PHONES[device], "tflite", "as published")
        return pack_of_table(table, target, seed=seed, source="mobile-ml-benchmark", licence="MIT")
    if device is not None:
        raise UnknownNameError("device", device, [])
    target = Target("v100", "NVIDIA V100", "tensorrt", "as published")
    table = tinynas_table(path)
    return pack_of_table(table, target, seed=seed, source="TinyNAS", licence="Apache-2.0")


def _of_run(target: Target) -> dict[str, Any]:
    """In what data sets that are fitted together may differ."""
    return {"precision": target.precision, "batch_size": target.batch_size}


def _other_target(
    path: str | os.PathLike[str], wanted: Target, found: Target
) -> TargetMismatchError:
    return TargetMismatchError(
        f"{path} was measured on another target",
        field="kernels",
        expected=wanted.describe(),
        got=found.describe(),
    )


def _with_origin(pack: KernelPack, path: Path) -> KernelPack:
    """The pack with what its data set says of its measurements."""
    facts = load(path).attrs
    floor = facts["noise_floor"]
    return dataclasses.replace(
        pack,
        licence=facts["licence"],
        reference=facts["reference"],
        reference_ms=facts["reference_ms"],
        noise_floor=None
        if floor is None
        else NoiseFloor(floor["percent"] / 100, floor["rmse_ms"], floor["pairs"], floor["method"]),
    )


def with_prior(table: KernelTable, names: Sequence[str | os.PathLike[str]]) -> KernelTable:
    """The table with data sets of another target's kernels as its prior, if there are any."""
    if not names:
        return table
    return dataclasses.replace(table, prior=PriorKernels(published_kernels(*names)[0]))


def _names_of(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(path.name for path in paths)


def train_on_stored_kernels(
    measured: TargetLabels, *, prior: Sequence[Path] = (), seed: int = 0, on_note: OnNote = None
) -> KernelPack:
    """Fit a kernel pack to the kernels that a store holds of one target.

    ``prior`` are data sets of another target's kernels, with whose times these are compared;
    ``on_note`` is called with the networks that are left out, and why.

    Raises NotEnoughDataError for too few timed kernels of networks that can be built again.
    """
    table = with_prior(stored_kernels(measured, on_note), prior)
    pack = pack_of_table(table, measured.target, seed=seed)
    return dataclasses.replace(
        pack,
        noise_floor=measured.noise_floor,
        reference=measured.reference,
        reference_ms=measured.reference_ms,
        constant=measured.constant,
        prior=_names_of(prior),
    )


def stored_kernels(measured: TargetLabels, on_note: OnNote = None) -> KernelTable:
    """What a store holds of one target as a table.

    Families are the zoo's, and those that the names of models speak of; a random network, or an
    architecture of a search space, has none, and on its latency no interval is calibrated.
    """
    labels = measured.labels
    rows = labels[labels["label"] == 0]
    keys = zip(rows["space"], rows["subject"], strict=True)
    network_ms = dict(zip(keys, rows["latency_ms"].tolist(), strict=True))
    return _table_of(
        measured.target,
        (
            _ProfiledNetwork(
                subject.name,
                _family_of(subject),
                graph_of(subject),
                profile.kernels,
                network_ms.get((subject.space, subject.key), math.nan),
            )
            for subject, profile in measured.kernel_profiles()
        ),
        on_note,
    )


def published_kernels(
    name: str | os.PathLike[str], *others: str | os.PathLike[str], on_note: OnNote = None
) -> tuple[KernelTable, Target]:
    """Data sets of kernels as one table, in the milliseconds of the first, and its target.

    Raises DataSetError for what is none, UnknownNameError for a name that is none, and
    TargetMismatchError for others of another processor or runtime.
    """
    table, target = _published_table(name, on_note)
    own = load(name).attrs
    for other in others:
        more, found = _published_table(other, on_note)
        if dataclasses.replace(found, **_of_run(target)) != target:
            raise _other_target(other, target, found)
        facts = load(other).attrs
        same = found == target and facts["reference"] == own["reference"]
        scale = own["reference_ms"] / facts["reference_ms"] if same else None
        table = table.taught_by(more, scale=scale)
    return table, target


def _published_table(name: str | os.PathLike[str], on_note: OnNote) -> tuple[KernelTable, Target]:
    labels, kernels, graphs = load(name), load_kernels(name), load_graphs(name)
    network_ms = dict(zip(labels["architecture"], labels["latency_ms"].tolist(), strict=True))
    try:
        target = Target.from_dict(kernels.attrs["target"])
        table = _table_of(
            target,
            (
                _ProfiledNetwork(
                    *_known_network(str(line), graphs),
                    [_kernel_of(row) for row in rows.itertuples(index=False)],
                    network_ms.get(line, math.nan),
                )
                for line, rows in kernels.groupby("architecture", sort=False)
            ),
            on_note,
        )
    except (InvalidValueError, AttributeError, KeyError, ValueError) as error:
        raise DataSetError(
            f"{name} is no data set of kernels: {str(error)[:200]}",
            hint="latprof collect --kernels, then latprof export --dataset, make one",
        ) from None
    return table, target


def _known_network(
    key: str, graphs: Mapping[str, tuple[str, bytes]]
) -> tuple[str, str, Network | None]:
    """Name, family and graph of a network of a data set."""
    if not graphs:
        return key, built_family(key), read_network(built_model(key))
    if key not in graphs:
        return key, "", None
    name, model = graphs[key]
    return name, named_family(name), read_network(model)


def _kernel_of(row: Any) -> KernelTime:
    inputs, outputs = (
        tuple(tuple(map(int, shape.split("x"))) for shape in shapes.split())
        for shapes in (row.input_shapes, row.output_shapes)
    )
    operators = tuple(filter(None, row.operators.split(",")))
    return KernelTime(row.position, row.kind, row.name, operators, row.latency_ms, inputs, outputs)


@dataclass(frozen=True, eq=False, repr=False)
class _ProfiledNetwork(ShortRepr):
    """A network whose kernels were timed; ``graph`` is None where it cannot be built again."""

    name: str
    family: str
    graph: Network | None
    kernels: Sequence[KernelTime]
    latency_ms: float


def _table_of(target: Target, networks: Iterable[_ProfiledNetwork], on_note: OnNote) -> KernelTable:
    """Those networks whose timed kernels are found in their graphs, as a table.

    How the runtime fuses is learnt of them, unless its own optimiser is known.
    """
    profiled, absent = [], []
    for each in networks:
        if each.graph is None:
            absent.append(each.name)
        else:
            profiled.append((each, each.graph))
    rules = None
    if not has_own_rules(target):
        ran = [RanNetwork(graph, [k.operators for k in each.kernels]) for each, graph in profiled]
        rules = learned_rules(ran, target.to_dict())
    timed = [
        (each, times_of_kernels(kernels_of(graph, target, rules), each.kernels))
        for each, graph in profiled
    ]
    found = [(each, times) for each, times in timed if times is not None]
    if not found:
        raise NotEnoughDataError(
            "there are no timed kernels of networks that can be built again",
            hint="collect them: latprof collect --kernels; models that were measured as files must "
            "be where they were, as seen from the folder of this command",
        )
    if on_note is not None:
        unlike = [each.name for each, times in timed if times is None]
        _note_left_out(on_note, absent, "their models are not there as they were measured")
        _note_left_out(on_note, unlike, "the timed kernels are not those of their operators")
    kept, parts = [each for each, _ in found], [timed for _, timed in found]
    return KernelTable(
        Configurations.joined([each.kernels for each in parts]),
        np.concatenate([each.latency_ms for each in parts]),
        np.repeat(np.arange(len(parts)), [len(each.latency_ms) for each in parts]),
        tuple(each.name for each in kept),
        tuple(each.family for each in kept),
        np.array([each.latency_ms for each in kept]),
        rules,
        KernelAgreement.of_networks(each.agreement for each in parts),
    )


def _note_left_out(on_note: Callable[[str], None], names: Sequence[str], why: str) -> None:
    if names:
        on_note(f"left out of the fit, since {why}: {first_names(names)}")


def _family_of(subject: Subject) -> str:
    if subject.kind == "built":
        return built_family(subject.key)
    return named_family(Path(subject.name).stem) if subject.kind == "model" else ""


def graph_of(subject: Subject) -> Network | None:
    """The graph of a measured network; None where it is not to be had.

    A file has to be where it was measured, with sizes of its own; a user's space is not asked.
    """
    if subject.kind == "built":
        return read_network(built_model(subject.key))
    if subject.kind == "architecture":
        try:
            space = space_from_description(subject.space)
        except UnknownNameError:
            return None
        return read_network(space.onnx_bytes(space.parse(subject.key)))
    path = unchanged_file(subject.name, subject.key)
    try:
        return None if path is None else read_network(path)
    except LatprofError:
        return None
