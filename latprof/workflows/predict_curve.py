"""Predicting one model at several sizes: its latency over batch, resolution or sequence length."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from latprof.common.files import what_is_at
from latprof.common.limits import INNER_SHARE, Limit, whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    InvalidValueError,
    LatprofError,
    ModelFileError,
    UsageError,
    shown,
)
from latprof.workflows.arguments import PathLike, batched_shapes
from latprof.workflows.report import check_page, write_page

if TYPE_CHECKING:
    from latprof.predictors.pack.curve import Curve, CurvePoint
    from latprof.workflows.answering_packs import Answering
    from latprof.workflows.arguments import AnyPackLike

#: A dimension: its size, or the sizes that it has one after the other.
Dimension: TypeAlias = int | Sequence[int]
#: Shapes of a model's inputs, by name; the key None is the shape of the only input.
ShapeRanges: TypeAlias = Mapping[str | None, Sequence[Dimension]]

BATCH = "batch"
#: Points of a curve: each is read and predicted on its own.
_MOST_POINTS = 256
_MOST_AXES = 2
_SIZE = whole(0, 1 << 40)
_BATCH_SIZE = whole(1, 1 << 20)


@dataclass(frozen=True, repr=False)
class CurveResult(ShortRepr):
    """A curve, and the page and the pictures that were written of it."""

    curve: Curve
    page: Path | None = None
    pictures: tuple[Path, ...] = ()

    @property
    def exit_status(self) -> int:
        """5 where a point has no answer, else 0."""
        return EXIT_PARTIAL if any(p.failure for p in self.curve.points) else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return self.curve.to_dict() | {
            "page": None if self.page is None else str(self.page),
            "pictures": [str(path) for path in self.pictures],
        }


@dataclass(frozen=True)
class _Axis:
    """Sizes that vary together, and where: (input, number of the dimension)."""

    name: str
    sizes: tuple[int, ...]
    places: tuple[tuple[str, int], ...] = ()


def predict_curve(
    network: PathLike,
    pack: AnyPackLike | None = None,
    *,
    shapes: ShapeRanges | None = None,
    batch_sizes: Sequence[int] = (),
    target: str | None = None,
    threads: int | None = None,
    mode: str | Sequence[str] | None = None,
    strict: bool = False,
    upper: float | None = None,
    output: PathLike | None = None,
    png: PathLike | None = None,
) -> CurveResult:
    """Predict a model's latency at several batch sizes, resolutions or sequence lengths.

    Dimensions with the same sizes vary together, such as the length of a sequence and of its mask.
    Two that differ give every combination.

    Parameters
    ----------
    network : path
        An ONNX file.
    pack : Pack, KernelPack, path or str, optional
        As of :func:`latprof.predict`.
    shapes : mapping of str to sequence, optional
        Shapes of the model's inputs; each dimension is a size, or a sequence of sizes.
    batch_sizes : sequence of int
        Sizes of the first dimension of each input of two dimensions or more.
    target, threads, mode, strict, upper
        As of :func:`latprof.predict`.
    output, png : path, optional
        A page with the curve, and a folder for it as a picture.

    Raises
    ------
    UsageError
        For nothing that varies, more than two different things that do, or over 256 points.
    InvalidValueError, ModelFileError
        For sizes that are none, and for what is no model.
    LatprofError
        Where no point can be predicted: as :func:`latprof.predict`.
    """
    if upper is not None:
        INNER_SHARE.check("`upper`", upper)
    path = _model_path(network)
    from latprof.graph.guarded.inference import start_early

    start_early()
    check_page(output, png, (path, pack))
    named = _named_shapes(path, shapes or {})
    axes = _axes(path, named, batch_sizes)
    from latprof.workflows.predict_answers import AskedTarget, packs_for, with_what_was_measured

    asked = AskedTarget(target, threads, mode)
    packs = with_what_was_measured(packs_for([path], pack, asked))
    found = _curve(path, named, axes, packs, {"strict": strict, "upper": upper, "advise": False})
    if output is None and png is None:
        return CurveResult(found)
    from latprof.reports.curve_report import build_curve_report

    written = write_page(build_curve_report(found), output, png)
    return CurveResult(found, written.page, written.pictures)


def _model_path(network: PathLike) -> Path:
    if not isinstance(network, str | os.PathLike):
        raise UsageError("a curve is for a model's file", field="networks", got=str(network)[:200])
    path = Path(network)
    if what_is_at(path) != "file":
        raise ModelFileError(
            f"cannot read {path}",
            hint="a curve over sizes is for one ONNX file; architectures have the pack's own",
        )
    return path


def _named_shapes(path: Path, shapes: ShapeRanges) -> dict[str, tuple[Dimension, ...]]:
    """The shapes by the names of inputs, every size checked."""
    from latprof.graph.model_file import graph_inputs, read_model

    names = [value.name for value in graph_inputs(read_model(path, data=False).graph)]
    if not isinstance(shapes, Mapping):
        raise InvalidValueError(
            "`shapes` are by the names of inputs",
            field="shapes",
            expected="for example {'input': (range(1, 9), 3, 224, 224)}",
            got=shown(shapes),
        )
    found: dict[str, tuple[Dimension, ...]] = {}
    for name, shape in shapes.items():
        if name is None and len(names) != 1:
            raise InvalidValueError(
                "a shape without a name is for a model with one input",
                field="shapes",
                expected=f"NAME=... of {', '.join(names)}",
            )
        key = names[0] if name is None else name
        if key not in names:
            raise InvalidValueError(
                f"{path} has no input {key!r}", field="shapes", hint=f"inputs: {', '.join(names)}"
            )
        found[key] = tuple(map(_checked_dimension, _several("shapes", shape)))
    return found


def _several(name: str, given: object) -> Iterable[Any]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidValueError(
            f"`{name}` takes several sizes", field=name, expected="a sequence", got=shown(given)
        )
    return given


def _checked_dimension(given: Any) -> Dimension:
    """A size, or several, as plain numbers; of a range no more than a curve may have."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        _SIZE.check("shapes", given)
        return int(given)
    return _plain_sizes("shapes", _SIZE, given)


def _plain_sizes(name: str, limit: Limit, given: Iterable[int]) -> tuple[int, ...]:
    sizes = tuple(itertools.islice(given, _MOST_POINTS + 1))
    for size in sizes:
        limit.check(name, size)
    return tuple(map(int, sizes))


def _axes(
    path: Path, named: Mapping[str, Sequence[Dimension]], batch_sizes: Sequence[int]
) -> list[_Axis]:
    """What varies; raises UsageError for nothing, and for too much."""
    batch_sizes = _plain_sizes("batch_sizes", _BATCH_SIZE, _several("batch_sizes", batch_sizes))
    places: dict[tuple[int, ...], list[tuple[str, int]]] = {}
    for name, shape in named.items():
        for number, dimension in enumerate(shape):
            if not isinstance(dimension, int):
                sizes = tuple(dict.fromkeys(dimension))
                places.setdefault(sizes, []).append((name, number))
    known = _dimension_names(path)
    axes = [
        _Axis(_name_of(where, named, known), sizes, tuple(where)) for sizes, where in places.items()
    ]
    if batch_sizes:
        if any(axis.name == BATCH for axis in axes):
            raise UsageError(
                "the batch varies in `shapes` and in `batch_sizes`",
                field="batch_sizes",
                hint="give it in one of them",
            )
        axes.insert(0, _Axis(BATCH, tuple(sorted(set(batch_sizes)))))
    points = 1
    for axis in axes:
        points *= len(axis.sizes)
    if not 1 <= len(axes) <= _MOST_AXES or not 1 <= points <= _MOST_POINTS:
        raise UsageError(
            "a curve varies one thing or two",
            field="shapes",
            expected=f"one or two different ranges such as 1..32, at most {_MOST_POINTS} points",
            got=f"{len(axes)} ranges, {points:,} points" if axes else "no range",
            hint="dimensions with the same range vary together",
        )
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        axes = [_Axis(f"{a.name} of {a.places[0][0]}", a.sizes, a.places) for a in axes]
    return axes


def _dimension_names(path: Path) -> dict[tuple[str, int], str]:
    """What the model itself calls its dynamic dimensions."""
    from latprof.graph.model_file import graph_inputs, read_model

    return {
        (value.name, number): dim.dim_param
        for value in graph_inputs(read_model(path, data=False).graph)
        for number, dim in enumerate(value.type.tensor_type.shape.dim)
        if dim.dim_param
    }


def _name_of(
    where: Sequence[tuple[str, int]],
    named: Mapping[str, Sequence[Dimension]],
    known: Mapping[tuple[str, int], str],
) -> str:
    """What an axis is called: the batch, or as the model calls the dimension, or its place."""
    if all(number == 0 and len(named[name]) > 1 for name, number in where):
        return BATCH
    called = next((known[place] for place in where if place in known), "")
    name, number = where[0]
    return called or f"dimension {number} of {name}"


def _curve(
    path: Path,
    named: Mapping[str, Sequence[Dimension]],
    axes: Sequence[_Axis],
    packs: Answering,
    options: Mapping[str, Any],
) -> Curve:
    from latprof.predictors.pack.curve import Curve

    points = tuple(
        _point(path, named, dict(zip(axes, sizes, strict=True)), packs, options)
        for sizes in itertools.product(*(axis.sizes for axis in axes))
    )
    failures = [point.failure for point in points if point.failure is not None]
    if len(failures) == len(points):
        raise failures[0].error()
    names = tuple(axis.name for axis in axes)
    return Curve(os.fspath(path), names, points, BATCH if BATCH in names else "")


def _point(
    path: Path,
    named: Mapping[str, Sequence[Dimension]],
    sizes: Mapping[_Axis, int],
    packs: Answering,
    options: Mapping[str, Any],
) -> CurvePoint:
    from latprof.measurement.visits import Failure
    from latprof.predictors.pack.curve import CurvePoint
    from latprof.workflows.predict_answers import predict_all

    at = {place: size for axis, size in sizes.items() for place in axis.places}
    shapes: dict[str | None, tuple[int, ...]] = {
        name: tuple(
            dimension if isinstance(dimension, int) else at[name, number]
            for number, dimension in enumerate(shape)
        )
        for name, shape in named.items()
    }
    batch = next((size for axis, size in sizes.items() if not axis.places), None)
    try:
        if batch is not None:
            shapes = batched_shapes(path, shapes, batch)
        (answer,) = predict_all(packs, [path], None, shapes, options)
    except LatprofError as error:
        return CurvePoint(tuple(sizes.values()), failure=Failure.of(error))
    return CurvePoint(tuple(sizes.values()), answer)
