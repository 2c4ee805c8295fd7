"""Kernel packs: what answers for any network, from its kernels.

The same container as other packs, of format 3, or 4 with a prior: an older latprof refuses it as
newer. Beside the manifest it holds ``kernels/model.json`` and ``kernels/trees.npy``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latprof._version import __version__
from latprof.common.checked_json import Fields, refusing, to_json
from latprof.common.files import path_text
from latprof.common.html_parts import html_table
from latprof.errors import PackError
from latprof.graph.fusion_rules import FusionRules
from latprof.predictors.kernels.learning.kernel_agreement import KernelAgreement
from latprof.predictors.kernels.network_kernels import NetworkKernelModel
from latprof.predictors.pack.archive import MANIFEST, digest, read_archive, write_archive
from latprof.predictors.pack.manifest import (
    KERNELS,
    KERNELS_FORMAT_VERSION,
    check_files,
    constant_of,
    constant_to_manifest,
    kernel_metrics_of,
    metrics_of,
    noise_floor_of,
    pack_from_files,
    target_of,
)
from latprof.predictors.pack.pack import now_as_text
from latprof.predictors.pack.shipped import resolve

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.quiet.target_constant import Constant
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.fitting.evaluation import Metrics
    from latprof.predictors.pack.pack import Pack

_FORMAT_WITHOUT_PRIOR = 3
_MODEL, _TREES = "kernels/model.json", "kernels/trees.npy"


@dataclass(frozen=True, eq=False)
class KernelPack:
    """Fitted times of kernels on one target, and everything a predicted number has to carry.

    Parameters
    ----------
    model : NetworkKernelModel
    target : Target
        Where its milliseconds hold.
    metrics : Metrics, optional
        Of networks whose family was left out of the kernels; None where none was measured.
    kernel_metrics : Metrics, optional
        Of kernels left out, where no network was measured.
    noise_floor : NoiseFloor, optional
        How well the measurements repeat.
    kernel_rows, network_rows : int
        Timed kernels, and networks measured end to end, that it was fitted to.
    reference : str
        Name of the reference network of the measurements.
    reference_ms : float, optional
        The constant that their ratios were multiplied with.
    constant : Constant, optional
        The same with its version in the store, its doubt and how it was found.
    rules : FusionRules, optional
        How the runtime fuses, where that was learnt of the kernels it ran.
    agreement : KernelAgreement, optional
        How well the kernels of the training's networks are those that ran.
    source, licence : str
        Whose measurements these are, where not latprof's own.
    prior : tuple of str
        The data sets of another target's kernels with whose times these were compared.
    created_at : str
        UTC, ISO 8601.
    latprof_version : str
    """

    model: NetworkKernelModel
    target: Target
    metrics: Metrics | None = None
    kernel_metrics: Metrics | None = None
    noise_floor: NoiseFloor | None = None
    kernel_rows: int = 0
    network_rows: int = 0
    reference: str = ""
    reference_ms: float | None = None
    constant: Constant | None = None
    rules: FusionRules | None = None
    agreement: KernelAgreement | None = None
    source: str = ""
    licence: str = ""
    prior: tuple[str, ...] = ()
    created_at: str = field(default_factory=now_as_text)
    latprof_version: str = __version__

    def __repr__(self) -> str:
        return f"<KernelPack: {', '.join(f'{name} {value}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        return html_table("Kernel pack", self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("target", self.target.describe()), ("kernels", f"{self.kernel_rows:,}")]
        if self.network_rows:
            facts.append(("networks", f"{self.network_rows:,}"))
        if self.prior:
            facts.append(("compared with", ", ".join(self.prior)))
        if self.metrics is not None:
            facts.append(("error of families left out", f"{self.metrics.mape_percent:.1f} % MAPE"))
        elif self.kernel_metrics is not None:
            error = f"{self.kernel_metrics.mape_percent:.1f} % MAPE"
            facts.append(("error of kernels left out", error))
        return facts


def save_kernel_pack(pack: KernelPack, path: str | os.PathLike[str]) -> None:
    """Write a kernel pack in one step; raises as :func:`latprof.predictors.save_pack`."""
    values, trees = pack.model.to_files()
    files = {_MODEL: to_json(values), _TREES: trees}
    manifest = {
        "format_version": KERNELS_FORMAT_VERSION
        if pack.model.kernels.prior is not None
        else _FORMAT_WITHOUT_PRIOR,
        "content": KERNELS,
        "latprof_version": pack.latprof_version,
        "created_at": pack.created_at,
        "target": pack.target.to_dict(),
        "metrics": None if pack.metrics is None else pack.metrics.to_dict(),
        "kernel_metrics": None if pack.kernel_metrics is None else pack.kernel_metrics.to_dict(),
        "noise_floor": None if pack.noise_floor is None else dataclasses.asdict(pack.noise_floor),
        "kernel_rows": pack.kernel_rows,
        "network_rows": pack.network_rows,
        "reference": pack.reference,
        "reference_ms": pack.reference_ms,
        **constant_to_manifest(pack.constant),
        "fusion": None if pack.rules is None else pack.rules.to_dict(),
        "agreement": None if pack.agreement is None else pack.agreement.to_dict(),
        "source": pack.source,
        "licence": pack.licence,
        "prior": [*pack.prior],
        "files": {
            name: {"sha256": digest(data), "size": len(data)} for name, data in files.items()
        },
    }
    write_archive(path, to_json(manifest), files)


def load_any_pack(
    path: str | os.PathLike[str], space: SearchSpace | None = None
) -> Pack | KernelPack:
    """Read a pack of a search space or of kernels; as :func:`latprof.load_pack`."""
    name = resolve(path_text(path, "pack"))
    files = read_archive(name)
    manifest = Fields.of_json(f"the manifest of {name}", files[MANIFEST])
    if manifest.values.get("content") != KERNELS:
        return pack_from_files(name, files, space)
    if manifest.integer("format_version", 1) > KERNELS_FORMAT_VERSION:
        return pack_from_files(name, files, None)  # which says that it is newer
    others = {each: data for each, data in files.items() if each != MANIFEST}
    check_files(name, manifest.fields("files"), others)
    with refusing(name):
        return _kernel_pack(name, manifest, others)


def _kernel_pack(name: str, manifest: Fields, files: Mapping[str, bytes]) -> KernelPack:
    if set(files) != {_MODEL, _TREES}:
        raise PackError(f"{name} is no kernel pack", expected=f"{_MODEL} and {_TREES}")
    target = target_of(manifest.fields("target"))
    assert target is not None
    fusion, agreement = (
        manifest.optional_fields(each) if each in manifest.values else None
        for each in ("fusion", "agreement")
    )
    return KernelPack(
        model=NetworkKernelModel.from_files(Fields.of_file(files, _MODEL), files[_TREES]),
        target=target,
        metrics=metrics_of(manifest.optional_fields("metrics")),
        kernel_metrics=kernel_metrics_of(manifest),
        noise_floor=noise_floor_of(manifest.optional_fields("noise_floor")),
        kernel_rows=manifest.integer("kernel_rows"),
        network_rows=manifest.integer("network_rows"),
        reference=manifest.text("reference"),
        reference_ms=manifest.optional_number("reference_ms", 0),
        constant=constant_of(manifest),
        rules=None if fusion is None else FusionRules.of_fields(fusion),
        agreement=None if agreement is None else KernelAgreement.of_fields(agreement),
        source=manifest.text("source"),
        licence=manifest.text("licence"),
        prior=manifest.texts("prior") if "prior" in manifest.values else (),
        created_at=manifest.text("created_at"),
        latprof_version=manifest.text("latprof_version"),
    )
