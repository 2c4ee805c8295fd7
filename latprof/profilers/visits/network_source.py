"""Networks to be measured: where each comes from, and how a measuring process gets hold of it."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

from latprof._version import __version__
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.datasets.spaces.named import space_from_description
from latprof.datasets.spaces.proxyless import (
    LEAST_RESOLUTION,
    MOBILE_CHOICES,
    MOBILE_WIDTHS,
    MOST_RESOLUTION,
    ProxylessSpace,
)
from latprof.datasets.zoo.variants import ZooVariant
from latprof.errors import (
    InvalidValueError,
    LatprofError,
    ModelFileError,
    UsageError,
)
from latprof.graph.input_values.input_rules import InputRule, Rules, input_rules
from latprof.measurement.records import Subject
from latprof.profilers.visits.model_files.finished_models import finished_model

if TYPE_CHECKING:
    from latprof.profilers.visits.model_files.models import Costs, ModelReading

#: Paths are text or path objects.
PathLike: TypeAlias = str | os.PathLike[str]


def check_batch_size_of_models(batch_size: int) -> None:
    """Raise UsageError for a batch size beside model files, which bring their own."""
    if batch_size != 1:
        raise UsageError(
            "a model's batch size is in the model",
            field="batch_size",
            hint="leave --batch-size out, or give --shape with the batch you want",
        )


def _is_tflite_name(path: PathLike) -> bool:
    return Path(path).suffix.lower() == ".tflite"


@contextmanager
def _told(path: Path, on_error: Callable[[Path, LatprofError], None] | None) -> Iterator[None]:
    """Tell ``on_error``, where there is one, of a file that cannot be used."""
    try:
        yield
    except ModelFileError as error:
        if on_error is None:
            raise
        on_error(path, error)


@dataclass(frozen=True)
class NetworkSource:
    """A network with its identity in the store.

    An architecture of a space, a network of the zoo, one that latprof builds, or a model file: use
    :meth:`of_architecture`, :meth:`of_zoo`, :meth:`of_built`, :meth:`of_model` or
    :meth:`of_models`. ``rules`` say how values of a model's inputs are made, where they are not the
    usual ones; ``costs`` what is known of it; ``zoo`` is its spelling there.
    ``reference`` names the reference of the target's family that it is measured against and
    ``runs`` says how many runs of a burst count, where an earlier visit has settled that
    (:mod:`latprof.profilers.visits.references`). ``space`` is there
    where no other process finds it by its name: its models are built in this process and handed
    over (:meth:`handed_over`), as ``content`` there.
    """

    subject: Subject
    path: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    rules: Rules = field(default_factory=dict)
    costs: Costs | None = field(default=None, compare=False)
    reference: str | None = field(default=None, compare=False)
    runs: int | None = field(default=None, compare=False)
    zoo: str = ""
    space: SearchSpace | None = field(default=None, compare=False, repr=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of_architecture(cls, space: SearchSpace, architecture: Architecture) -> NetworkSource:
        """The network of an architecture; ``space`` gives it shapes."""
        key = ",".join(map(str, architecture.choices))
        subject = Subject("architecture", key, str(architecture), space.description)
        return cls(subject, space=None if space.is_found_by_name else space)

    @classmethod
    def of_built(cls, key: str) -> NetworkSource:
        """The network that :func:`~latprof.datasets.zoo.built_models.built_bytes` builds."""
        from latprof.datasets.zoo.built_models import built_model
        from latprof.graph.model_file import graph_inputs
        from latprof.profilers.visits.model_files.models import needed_rules

        model = built_model(key)
        rules = needed_rules(graph_inputs(model.graph), input_rules(model))
        return cls(Subject("built", key, key), rules=rules)

    @classmethod
    def of_zoo(cls, variant: ZooVariant, batch_size: int = 1) -> NetworkSource:
        """A network of the zoo, which is made where it is measured.

        Raises InvalidValueError for a size that it cannot have.
        """
        from latprof.datasets.zoo.catalogue import build
        from latprof.graph.model_file import graph_inputs
        from latprof.profilers.visits.model_files.models import Costs, needed_rules

        subject = Subject("model", variant.digest(), str(variant))
        model = build(
            variant.name,
            resolution=variant.resolution,
            width=variant.width,
            batch_size=batch_size,
            weights=False,
        )
        rules = needed_rules(graph_inputs(model.graph), input_rules(model))
        parameters, macs = variant.counts(batch_size)
        costs = Costs(batch_size, None, macs, parameters)
        return cls(subject, rules=rules, costs=costs, zoo=str(variant))

    @classmethod
    def of_model(
        cls,
        path: PathLike,
        shapes: Mapping[str | None, Sequence[int]] | None = None,
        inputs: Mapping[str, PathLike] | None = None,
    ) -> NetworkSource:
        """The network in one ONNX file; as :meth:`of_models`."""
        (network,) = cls.of_models([path], shapes, inputs)
        return network

    @classmethod
    def of_models(
        cls,
        paths: Sequence[PathLike],
        shapes: Mapping[str | None, Sequence[int]] | None = None,
        inputs: Mapping[str, PathLike] | None = None,
        on_error: Callable[[Path, LatprofError], None] | None = None,
    ) -> list[NetworkSource]:
        """The networks in ONNX files, and in TFLite files for LiteRT.

        Parameters
        ----------
        paths : sequence of path
        shapes : mapping of str to sequence of int, optional
            Shapes of inputs whose own are dynamic, each for the models that have an input of its
            name. The key None stands for a model's only input.
        inputs : mapping of str to path, optional
            NumPy files (``.npy``) with the values of inputs, in the same way. A file gives its
            input a shape where nothing else does.
        on_error : callable, optional
            Called for each file that cannot be used, which is then left out.

        Raises
        ------
        ModelFileError, DynamicShapeError
            For a file that cannot be used, without ``on_error``; a model whose costs cannot be read
            can.
        InputFileError, InvalidValueError
            For values or shapes that do not fit, and names that are no input of any model.
        """
        from latprof.profilers.visits.model_files.models import ModelReading

        for path in paths:
            _check_name(Path(path))
        found: list[ModelReading | Path] = []
        for path in map(Path, paths):
            with _told(path, on_error):
                is_onnx = not _is_tflite_name(path)
                found.append(ModelReading(path, shapes or {}, inputs or {}) if is_onnx else path)
        readings = [each for each in found if not isinstance(each, Path)]
        for option, names in (("shape", shapes), ("input", inputs)):
            for name in names or ():
                if name is not None and found and not any(name in r.names for r in readings):
                    raise _no_input(readings, option, name)
        sources = []
        for each in found:
            path = each if isinstance(each, Path) else each.path
            with _told(path, on_error):
                sources.append(
                    cls._of_tflite(each) if isinstance(each, Path) else cls._of_reading(each)
                )
        return sources

    @classmethod
    def _of_reading(cls, each: ModelReading) -> NetworkSource:
        return cls(each.subject(), each.path.resolve(), each.shapes, each.rules, each.costs())

    @classmethod
    def _of_tflite(cls, path: Path) -> NetworkSource:
        """The network in a TFLite file, which only LiteRT runs; its costs are not read."""
        from latprof.graph.convert.to_tflite import is_tflite
        from latprof.graph.model_file import check_readable
        from latprof.profilers.visits.model_files.models import Costs

        try:
            content = check_readable(path).read_bytes()
        except OSError as error:
            raise ModelFileError(f"cannot read {path}: {error.strerror}") from None
        if not is_tflite(content):
            raise ModelFileError(
                f"{path} is not a TFLite file",
                field="model",
                expected="a file with the identifier TFL3",
                hint="convert the network anew, or give its ONNX file",
            )
        subject = Subject("model", hashlib.sha256(content).hexdigest(), path.name)
        unknown = "a TFLite file is run as it is, and not read"
        return cls(subject, path.resolve(), costs=Costs(None, None, unknown=unknown))

    def model(self, batch_size: int) -> bytes | Path:
        """The ONNX model, ready for a runtime; a path where it is used as it lies on the disk."""
        if self.subject.kind == "built":
            from latprof.datasets.zoo.built_models import built_bytes

            return built_bytes(self.subject.key)
        if self.zoo:
            return ZooVariant.parse(self.zoo).onnx_bytes(batch_size)
        if self.path is None:
            return self._architecture_model(batch_size)
        if not self.shapes:
            return self.path
        from latprof.graph.reader import model_bytes

        return model_bytes(self.path, shapes={**self.shapes})

    def _architecture_model(self, batch_size: int) -> bytes:
        if self.content is not None:
            return self.content
        if self.space is not None:
            return finished_model(self.space, self.subject.key, batch_size)
        space = space_from_description(self.subject.space)
        return space.onnx_bytes(space.parse(self.subject.key), batch_size=batch_size)

    def made_from(self, batch_size: int) -> str:
        """Names all that :meth:`model` makes an architecture's network from."""
        return "\n".join((self.subject.space, self.subject.key, str(batch_size), __version__))

    def handed_over(self, batch_size: int) -> tuple[dict[str, Any], bytes]:
        """What another process is told of the network: JSON values, and content that follows.

        The content is the model of a space that only this process can build, else empty; ``bytes``
        of the values is its length.
        """
        content = self.content or b""
        if self.space is not None:
            content = finished_model(self.space, self.subject.key, batch_size)
        return self.to_dict() | {"bytes": len(content)}, content

    def to_dict(self) -> dict[str, Any]:
        """Return the network as plain JSON values."""
        subject = self.subject
        return {
            "subject": [subject.kind, subject.key, subject.name, subject.space],
            "path": None if self.path is None else str(self.path),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "rules": {name: rule.to_dict() for name, rule in self.rules.items()},
            "reference": self.reference,
            "runs": self.runs,
            "zoo": self.zoo,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], content: bytes = b"") -> NetworkSource:
        """Rebuild a network from :meth:`to_dict`, or from what was :meth:`handed_over`."""
        path = values["path"]
        return cls(
            Subject(*values["subject"]),
            None if path is None else Path(path),
            {name: tuple(shape) for name, shape in values["shapes"].items()},
            {name: InputRule.from_dict(rule) for name, rule in values["rules"].items()},
            reference=values["reference"],
            runs=values.get("runs"),
            zoo=values["zoo"],
            content=content or None,
        )


def with_distinct_names(sources: Sequence[NetworkSource]) -> list[NetworkSource]:
    """The networks, files of one name in several folders with what distinguishes these."""
    places: dict[str, set[Path]] = defaultdict(set)
    for source in sources:
        if source.path is not None:
            places[source.subject.name].add(source.path.parent)
    found = []
    for source in sources:
        folders = places[source.subject.name]
        if source.path is None or len(folders) < 2:
            found.append(source)
            continue
        most = max(len(folder.parts) for folder in folders)
        depth = next(
            n for n in range(1, most + 1) if len({f.parts[-n:] for f in folders}) == len(folders)
        )
        folder = PurePath(*source.path.parent.parts[-depth:]).as_posix()
        name = f"{folder.rstrip('/')}/{source.subject.name}"
        found.append(replace(source, subject=replace(source.subject, name=name)))
    return found


def _no_input(readings: Sequence[ModelReading], option: str, name: str) -> InvalidValueError:
    names = "; ".join(f"{each.path.name}: {', '.join(each.names)}" for each in readings[:5])
    who = str(readings[0].path) if len(readings) == 1 else "no model"
    return InvalidValueError(
        f"{who} has {'no' if len(readings) == 1 else 'an'} input {name!r}",
        field=option,
        hint=f"inputs: {names}",
    )


def reference_network(resolution: int = 224) -> tuple[str, NetworkSource]:
    """Return the reference network and its name: ProxylessNAS-mobile as published.

    A convolution network of middling size, so that what slows a search space's networks down slows
    it down alike. A resolution that it cannot have is the nearest that it can.
    """
    resolution = min(max(resolution, LEAST_RESOLUTION), MOST_RESOLUTION)
    space = ProxylessSpace(widths=MOBILE_WIDTHS, resolution=resolution)
    network = NetworkSource.of_architecture(space, Architecture(space.name, MOBILE_CHOICES))
    return f"proxyless-mobile-{resolution}", network


def _check_name(path: Path) -> None:
    """Refuse a path that runtimes and databases, which take UTF-8, cannot spell."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ModelFileError(
            f"the name of {path} is not UTF-8", hint="rename the file or its folder"
        ) from None
