"""Networks to be measured: where each comes from, and how a measuring process gets hold of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.datasets.spaces.named import space_from_description
from latprof.datasets.spaces.proxyless import (
    LEAST_RESOLUTION,
    MOBILE_CHOICES,
    MOBILE_WIDTHS,
    MOST_RESOLUTION,
    ProxylessSpace,
)
from latprof.errors import UsageError
from latprof.measurement.records import Subject


def check_batch_size_of_models(batch_size: int) -> None:
    """Raise UsageError for a batch size beside model files, which bring their own."""
    if batch_size != 1:
        raise UsageError(
            "a model's batch size is in the model",
            field="batch_size",
            hint="leave --batch-size out, or give --shape with the batch you want",
        )


@dataclass(frozen=True)
class NetworkSource:
    """A network with its identity in the store: an architecture of a space, or a model file.

    Use :meth:`of_architecture` or :meth:`of_model`.
    """

    subject: Subject
    path: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of_architecture(cls, space: SearchSpace, architecture: Architecture) -> NetworkSource:
        """The network of an architecture; ``space`` gives it shapes."""
        key = ",".join(map(str, architecture.choices))
        return cls(Subject("architecture", key, str(architecture), space.description))

    @classmethod
    def of_model(
        cls, path: str | Path, shapes: Mapping[str | None, Sequence[int]] | None = None
    ) -> NetworkSource:
        """The network in an ONNX file, with the shapes of inputs whose own are dynamic.

        The key None in ``shapes`` stands for a model's only input. Raises ModelFileError or
        DynamicShapeError where the file cannot be used.
        """
        from latprof.graph.reader import model_digest, read_network

        path = Path(path)
        given = {name: tuple(shape) for name, shape in (shapes or {}).items()}
        inputs = read_network(path, shapes=given or None).inputs
        fixed = {inputs[0][0] if name is None else name: shape for name, shape in given.items()}
        suffix = "".join(f" {name}={'x'.join(map(str, fixed[name]))}" for name in sorted(fixed))
        subject = Subject("model", model_digest(path) + suffix, f"{path.name}{suffix}")
        return cls(subject, path.resolve(), fixed)

    def model(self, batch_size: int) -> bytes | Path:
        """The ONNX model, ready for a runtime; a path where it is used as it lies on the disk."""
        if self.path is None:
            space = space_from_description(self.subject.space)
            architecture = space.parse(self.subject.key)
            return space.onnx_bytes(architecture, batch_size=batch_size)
        if not self.shapes:
            return self.path
        from latprof.graph.reader import model_bytes

        return model_bytes(self.path, shapes={**self.shapes})

    def to_dict(self) -> dict[str, Any]:
        """Return the network as plain JSON values."""
        subject = self.subject
        return {
            "subject": [subject.kind, subject.key, subject.name, subject.space],
            "path": None if self.path is None else str(self.path),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSource:
        """Rebuild a network from :meth:`to_dict`."""
        path = values["path"]
        return cls(
            Subject(*values["subject"]),
            None if path is None else Path(path),
            {name: tuple(shape) for name, shape in values["shapes"].items()},
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
