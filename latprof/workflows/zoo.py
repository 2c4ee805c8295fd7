"""The zoo: networks of the field, what they cost, and their models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr
from latprof.errors import UsageError

if TYPE_CHECKING:
    from latprof.datasets.zoo.entries import ZooNetwork
    from latprof.workflows.arguments import PathLike


@dataclass(frozen=True, repr=False)
class ZooResult(ShortRepr):
    """A network of the zoo at one size.

    Parameters
    ----------
    network : ZooNetwork
        What is known of it as published.
    resolution : int
        Height and width of the image, or tokens of the text.
    width : float
    batch_size : int
    parameters, macs : int
        Learnt values, and multiply-accumulates of one run.
    path : Path or None
        The file that was written.
    """

    network: ZooNetwork
    resolution: int
    width: float
    batch_size: int
    parameters: int
    macs: int
    path: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the network as plain JSON values."""
        return self.network.to_dict() | {
            "resolution": self.resolution,
            "width": self.width,
            "batch_size": self.batch_size,
            "parameters": self.parameters,
            "macs": self.macs,
            "path": None if self.path is None else str(self.path),
        }


def zoo(
    name: str | None = None,
    *,
    output: PathLike | None = None,
    resolution: int | None = None,
    width: float = 1.0,
    batch_size: int = 1,
    seed: int = 0,
) -> tuple[ZooResult, ...]:
    """List the networks of the zoo, or count one and write its model.

    Parameters
    ----------
    name : str, optional
        One network; all, as published, without it.
    output : path, optional
        Where the ONNX model of ``name`` is written, with random weights.
    resolution : int, optional
        Height and width of the image, or tokens of the text, where not as published.
    width : float
        Factor of every number of channels.
    batch_size : int
    seed : int
        Of the weights.

    Raises
    ------
    UnknownNameError
        For a name that is none; it lists the names there are.
    InvalidValueError
        For a size that the network cannot have.
    OutputPathError
        Where the file cannot be written.
    UsageError
        For a size or a file without a name.
    """
    from latprof.common.files import check_output
    from latprof.common.limits import check_seed
    from latprof.datasets.zoo.catalogue import counts, facts, names, write_model

    size: dict[str, Any] = {"resolution": resolution, "width": width, "batch_size": batch_size}
    if name is None:
        if output is not None or size != {"resolution": None, "width": 1.0, "batch_size": 1}:
            raise UsageError("one network has a size and a file; name it", field="name")
        return tuple(_published(facts(each)) for each in names())
    network = facts(name)
    check_seed(seed)
    if output is not None:
        check_output(output)
    parameters, macs = counts(name, **size)
    path = None if output is None else write_model(output, name, **size, seed=seed)
    chosen = network.resolution if resolution is None else resolution
    return (ZooResult(network, chosen, width, batch_size, parameters, macs, path),)


def _published(network: ZooNetwork) -> ZooResult:
    return ZooResult(network, network.resolution, 1.0, 1, network.parameters, network.macs)
