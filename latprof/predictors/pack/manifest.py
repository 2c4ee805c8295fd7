"""The manifest of a pack: from records to JSON, and back with every field checked.

Format history: 1 - the first; 2 - predictors have a calibration, and ``hybrid`` interactions.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from latprof.common.checked_json import Fields, refusing, to_json
from latprof.datasets.spaces.named import space_from_description
from latprof.errors import (
    EntryPointError,
    InvalidValueError,
    PackAlteredError,
    PackError,
    PackSpaceError,
    PackVersionError,
    UnknownNameError,
)
from latprof.measurement.quiet.target_constant import Constant
from latprof.measurement.records import Target
from latprof.measurement.statistics import NoiseFloor
from latprof.predictors.fitting.evaluation import Metrics
from latprof.predictors.kernels.operator_costs import OperatorCostModel
from latprof.predictors.pack.archive import MANIFEST, check_name, digest
from latprof.predictors.pack.origin import Origin
from latprof.predictors.pack.pack import HeldOut, Pack
from latprof.registry import PREDICTORS, SPACES

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Predictor

FORMAT_VERSION = 2
#: The same of packs of kernels.
KERNELS_FORMAT_VERSION = 4
#: What a pack of kernels says that it holds; its format is one more than that of a search space's.
KERNELS = "kernels"

_HELD_OUT = "held_out.json"
_PREDICTOR = "predictor/"
_EXTRA = "extra/"
#: Among the extra files, as in the first packs that had it.
_OPERATOR_COSTS = "operator_costs.json"

_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


# Writing ---------------------------------------------------------------------------------


def pack_to_files(pack: Pack) -> tuple[bytes, dict[str, bytes]]:
    """Return the manifest and the other files of a pack."""
    files = {_PREDICTOR + name: data for name, data in pack.predictor.to_files().items()}
    if pack.predictor.calibration_ is not None:
        from latprof.predictors.fitting.calibration import FILE

        files[_PREDICTOR + FILE] = pack.predictor.calibration_.to_bytes()
    if pack.operator_costs is not None:
        files[_EXTRA + _OPERATOR_COSTS] = pack.operator_costs.to_bytes()
    for name, data in pack.extra_files.items():
        check_name(name)
        if name == _OPERATOR_COSTS:
            raise InvalidValueError(
                f"the extra file {name} is the pack's own", hint="set operator_costs instead"
            )
        files[_EXTRA + name] = bytes(data)
    if pack.held_out is not None:
        files[_HELD_OUT] = to_json(
            {
                "architectures": pack.held_out.architectures,
                "measured_ms": pack.held_out.measured_ms,
                "predicted_ms": pack.held_out.predicted_ms,
            }
        )
    floor = pack.noise_floor
    manifest = {
        "format_version": FORMAT_VERSION,
        "latprof_version": pack.latprof_version,
        "created_at": pack.created_at,
        "space": pack.space.description,
        "predictor": {"name": pack.predictor.name, "parameters": _parameters(pack.predictor)},
        "target": None if pack.target is None else pack.target.to_dict(),
        "metrics": None if pack.metrics is None else pack.metrics.to_dict(),
        "comparison": {name: metrics.to_dict() for name, metrics in pack.comparison.items()},
        "noise_floor": None if floor is None else dataclasses.asdict(floor),
        "reference": pack.reference,
        "reference_ms": pack.reference_ms,
        **constant_to_manifest(pack.constant),
        "training_rows": pack.training_rows,
        "interval": {"coverage": pack.interval_coverage, "relative": pack.interval_relative},
        "files": {
            name: {"sha256": digest(data), "size": len(data)} for name, data in files.items()
        },
    }
    packages = _packages(pack)
    if packages:
        manifest["packages"] = packages
    if pack.origin is not None:
        manifest["origin"] = pack.origin.to_dict()
    return to_json(manifest), files


def _packages(pack: Pack) -> dict[str, str]:
    """The distributions that bring the predictor and the space; empty for latprof's own."""
    found = {
        "predictor": PREDICTORS.distribution(pack.predictor.name),
        "space": SPACES.distribution(pack.space.name),
    }
    return {what: name for what, name in found.items() if name}


def _parameters(predictor: Predictor) -> dict[str, Any]:
    """The arguments of ``__init__`` that are numbers, texts or truth values."""
    parameters = predictor.get_params(deep=False).items()
    return {
        name: value for name, value in parameters if isinstance(value, bool | int | float | str)
    }


# Reading ---------------------------------------------------------------------------------


def pack_from_files(path: str, files: Mapping[str, bytes], space: SearchSpace | None) -> Pack:
    """Check the manifest against the files and rebuild the pack; raises PackError."""
    manifest, others = _checked(path, files)
    with refusing(path):
        return _pack(path, manifest, others, space)


@dataclasses.dataclass(frozen=True)
class PackFacts:
    """What a pack's manifest says of it; the predictor itself is not read.

    ``space`` is the search space's name, or ``"any"`` for a pack of kernels, and ``noise_percent``
    the noise floor. ``created_at`` is UTC in ISO 8601. ``kernel_metrics`` are of kernels left out,
    for packs of kernels whose networks nobody measured. None where the pack does not say.
    """

    path: str
    space: str
    predictor: str
    target: Target | None
    metrics: Metrics | None
    noise_percent: float | None
    training_rows: int
    created_at: str
    origin: Origin | None
    kernel_metrics: Metrics | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self) | {
            "target": None if self.target is None else self.target.to_dict(),
            "metrics": None if self.metrics is None else self.metrics.to_dict(),
            "kernel_metrics": None
            if self.kernel_metrics is None
            else self.kernel_metrics.to_dict(),
        }


def facts_from_files(path: str, files: Mapping[str, bytes]) -> PackFacts:
    """Check the manifest against the files and return what it says; raises PackError."""
    manifest, _ = _checked(path, files, any_content=True)
    of_kernels = manifest.values.get("content") == KERNELS
    with refusing(path):
        floor = noise_floor_of(manifest.optional_fields("noise_floor"))
        return PackFacts(
            path=path,
            space="any" if of_kernels else _space_name(manifest),
            predictor=KERNELS if of_kernels else manifest.fields("predictor").text("name"),
            target=target_of(manifest.optional_fields("target")),
            metrics=metrics_of(manifest.optional_fields("metrics")),
            noise_percent=None if floor is None else floor.percent,
            training_rows=manifest.integer("kernel_rows" if of_kernels else "training_rows"),
            created_at=manifest.text("created_at"),
            origin=_origin(manifest),
            kernel_metrics=kernel_metrics_of(manifest),
        )


def _space_name(manifest: Fields) -> str:
    return Fields.of_json("the space's description", manifest.text("space").encode()).text("name")


def _checked(
    path: str, files: Mapping[str, bytes], *, any_content: bool = False
) -> tuple[Fields, dict[str, bytes]]:
    """The manifest, of a format that is read here, and the other files, as it states them."""
    manifest = Fields.of_json(f"the manifest of {path}", files[MANIFEST])
    version = manifest.integer("format_version", 1)
    of_kernels = manifest.values.get("content") == KERNELS
    if of_kernels and not any_content:
        raise PackSpaceError(
            f"{path} is a pack of kernels, of no search space",
            expected="a predictor of a search space",
            hint="latprof predict takes it; train a pack on a search space for this",
        )
    if version > (KERNELS_FORMAT_VERSION if of_kernels else FORMAT_VERSION):
        raise PackVersionError(
            f"{path} is of a newer format than this latprof reads",
            expected=f"version {FORMAT_VERSION}",
            got=str(version),
            hint="update latprof",
        )
    others = {name: data for name, data in files.items() if name != MANIFEST}
    check_files(path, manifest.fields("files"), others)
    return manifest, others


def check_files(path: str, stated: Fields, files: Mapping[str, bytes]) -> None:
    """Refuse files that are not those the manifest states."""
    for name in sorted(set(stated.values) ^ set(files)):
        where = "is missing from" if name in stated.values else "was added to"
        raise PackAlteredError(f"{name[:80]} {where} {path}")
    for name, data in files.items():
        entry = stated.fields(name)
        if entry.integer("size") != len(data) or entry.text("sha256") != digest(data):
            raise PackAlteredError(
                f"{name} in {path} was altered",
                hint="copy the pack again from where it came from, or train it again",
            )


def _pack(
    path: str, manifest: Fields, files: Mapping[str, bytes], space: SearchSpace | None
) -> Pack:
    predictor = _predictor(path, manifest, _below(files, _PREDICTOR), space)
    comparison = manifest.fields("comparison")
    interval = manifest.fields("interval")
    held_out = Fields.of_file(files, _HELD_OUT) if _HELD_OUT in files else None
    extra_files = _below(files, _EXTRA)
    costs = extra_files.pop(_OPERATOR_COSTS, None)
    return Pack(
        predictor=predictor,
        target=target_of(manifest.optional_fields("target")),
        metrics=metrics_of(manifest.optional_fields("metrics")),
        comparison={
            name: Metrics.from_dict(comparison.fields(name).values) for name in comparison.values
        },
        noise_floor=noise_floor_of(manifest.optional_fields("noise_floor")),
        reference=manifest.text("reference"),
        reference_ms=manifest.optional_number("reference_ms", 0),
        constant=constant_of(manifest),
        training_rows=manifest.integer("training_rows"),
        interval_coverage=interval.number("coverage", 0, 1),
        interval_relative=interval.number("relative", 0, 1e6),
        held_out=None if held_out is None else _held_out(held_out),
        created_at=manifest.text("created_at"),
        latprof_version=manifest.text("latprof_version"),
        operator_costs=None if costs is None else OperatorCostModel.from_bytes(costs),
        extra_files=extra_files,
        origin=_origin(manifest),
    )


def _below(files: Mapping[str, bytes], prefix: str) -> dict[str, bytes]:
    return {n.removeprefix(prefix): data for n, data in files.items() if n.startswith(prefix)}


def _predictor(
    path: str, manifest: Fields, files: Mapping[str, bytes], space: SearchSpace | None
) -> Predictor:
    from latprof.predictors.features.block_features import space_tables
    from latprof.predictors.fitting.calibration import FILE, Calibration
    from latprof.predictors.models.by_name import predictor_class

    space = _space(path, manifest, space)
    stated = manifest.fields("predictor")
    try:
        kind = predictor_class(stated.text("name"), special=True)
    except (UnknownNameError, EntryPointError) as error:
        hint = _remedy(manifest, "predictor") or error.hint
        raise PackError(f"{path}: {error.problem}", hint=hint) from None
    predictor = kind.from_files(space, files)
    if FILE in files:
        tables = space_tables(space)
        predictor.calibration_ = Calibration.from_files(files, tables)
    if _parameters(predictor) != dict(stated.fields("parameters").values):
        raise PackAlteredError(f"{path}: the manifest states other parameters than the predictor")
    return predictor


def _remedy(manifest: Fields, what: str) -> str:
    """Which distribution to install for an unknown ``what``; empty where the pack names none."""
    packages = manifest.fields("packages").values if "packages" in manifest.values else {}
    name = packages.get(what)
    if not isinstance(name, str) or not _DISTRIBUTION.fullmatch(name):
        return ""
    return f"the pack says that the package {name} brings it; install that if you trust it"


def _space(path: str, manifest: Fields, given: SearchSpace | None) -> SearchSpace:
    description = manifest.text("space")
    if given is not None:
        if difference := given.difference_from(description):
            raise PackSpaceError(
                f"{path} was trained on another search space: {difference}",
                expected=given.description,
                got=description[:500],
            )
        return given
    try:
        space = space_from_description(description)
    except (UnknownNameError, EntryPointError) as error:
        raise PackError(
            f"{path} is for a search space that is not known here",
            got=error.problem,
            hint=_remedy(manifest, "space") or "give the space itself as `space`, MODULE:NAME",
        ) from None
    if space.description != description:
        raise PackAlteredError(f"{path}: the description of its space is not canonical")
    return space


def constant_to_manifest(constant: Constant | None) -> dict[str, Any]:
    """What a manifest says of a constant: nothing of none."""
    return {} if constant is None else {"constant": constant.to_dict()}


def constant_of(manifest: Fields) -> Constant | None:
    """The constant that a manifest states; None where it states none."""
    fields = manifest.optional_fields("constant") if "constant" in manifest.values else None
    return None if fields is None else Constant.from_dict(fields.values)


def target_of(fields: Fields | None) -> Target | None:
    """A target, or None for none."""
    if fields is None:
        return None
    texts = ("device", "device_name", "runtime", "runtime_version", "precision", "cores")
    for name in (*texts, *({"mode", "host"} & fields.values.keys())):
        fields.text(name)
    for name in ("batch_size", "threads"):
        fields.integer(name, 0)
    if fields.values.get("input_shape") is not None:
        fields.integers("input_shape", None, 0, 2**31)
    try:
        return Target.from_dict(fields.values)
    except InvalidValueError as error:
        raise PackError(f"{fields.what}: {error}") from None


def _origin(manifest: Fields) -> Origin | None:
    return Origin.of_fields(manifest.fields("origin")) if "origin" in manifest.values else None


def metrics_of(fields: Fields | None) -> Metrics | None:
    """Metrics, or None for none."""
    return None if fields is None else Metrics.from_dict(fields.values)


def kernel_metrics_of(manifest: Fields) -> Metrics | None:
    """Errors on kernels left out; None for packs that do not state them, as older ones."""
    known = "kernel_metrics" in manifest.values
    return metrics_of(manifest.optional_fields("kernel_metrics")) if known else None


def noise_floor_of(fields: Fields | None) -> NoiseFloor | None:
    """A noise floor, or None for none."""
    if fields is None:
        return None
    return NoiseFloor(
        relative=fields.number("relative", 0),
        rmse_ms=fields.number("rmse_ms", 0),
        pairs=fields.integer("pairs"),
        method=fields.text("method"),
    )


def _held_out(fields: Fields) -> HeldOut:
    architectures = fields.texts("architectures")
    rows = len(architectures)
    return HeldOut(
        architectures, fields.array("measured_ms", (rows,)), fields.array("predicted_ms", (rows,))
    )
