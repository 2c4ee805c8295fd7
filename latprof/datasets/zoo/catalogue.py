"""Networks of the zoo by name: what they cost as published, and their models."""

from __future__ import annotations

import hashlib
import importlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.files import write_atomically
from latprof.common.limits import Limit, check_seed, whole
from latprof.errors import InvalidValueError, UnknownNameError

if TYPE_CHECKING:
    import onnx

    from latprof.datasets.zoo.entries import ZooNetwork
    from latprof.datasets.zoo.graph_builder import BatchNorm
    from latprof.datasets.zoo.network_builder import NetworkBuilder

#: Modules whose ``NETWORKS`` make the zoo, in the order of the list.
_MODULES = (
    "classic_networks",
    "residual_networks",
    "mobile_networks",
    "shuffling_networks",
    "cell_networks",
    "convnext_networks",
    "vision_transformers",
    "hybrid_networks",
    "language_models",
    "dense_networks",
)
_WIDTH = Limit(0.1, 8.0)
_RESOLUTION = whole(1, 4096)
_BATCH_SIZE = whole(1, 4096)
_BATCH_NORM = ("folded", "kept")


@cache
def _networks() -> dict[str, ZooNetwork]:
    modules = (importlib.import_module(f"latprof.datasets.zoo.families.{m}") for m in _MODULES)
    return {network.name: network for module in modules for network in module.NETWORKS}


def names() -> list[str]:
    """Names of the networks, families together."""
    return [*_networks()]


def facts(name: str) -> ZooNetwork:
    """What the zoo says of a network; raises UnknownNameError, which lists the names there are."""
    try:
        return _networks()[name]
    except (KeyError, TypeError):
        raise UnknownNameError("network of the zoo", str(name), names()) from None


def build(
    name: str,
    *,
    resolution: int | None = None,
    width: float = 1.0,
    batch_size: int = 1,
    seed: int = 0,
    batch_norm: BatchNorm = "folded",
    weights: bool = True,
) -> onnx.ModelProto:
    """Build the ONNX model of a network.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    resolution : int, optional
        Height and width of the image, or tokens of the text; as published unless given.
    width : float
        Factor of every number of channels.
    batch_size : int
    seed : int
        Of the weights.
    batch_norm : {"folded", "kept"}
        Whether batch normalisations are part of the convolutions before them, as a runtime runs
        them, or nodes of their own.
    weights : bool
        Whether learnt tensors have values; without them the model can be read, and not run.

    Raises
    ------
    UnknownNameError
        For a name that is none; it lists the names there are.
    InvalidValueError
        For values out of range, and images that are too small for the network.
    """
    net = _built(name, resolution, width, batch_size, batch_norm)
    return net.model(weights=weights, seed=check_seed(seed), about=_about(net))


def counts(
    name: str, *, resolution: int | None = None, width: float = 1.0, batch_size: int = 1
) -> tuple[int, int]:
    """Learnt values, and multiply-accumulates of one run, of the network that :func:`build` builds.

    Raises as :func:`build`.
    """
    from latprof.graph.reader import read_network

    net = _built(name, resolution, width, batch_size, "folded")
    return net.parameters, read_network(net.model(weights=False)).macs


def onnx_bytes(
    name: str,
    *,
    resolution: int | None = None,
    width: float = 1.0,
    batch_size: int = 1,
    seed: int = 0,
) -> bytes:
    """The serialised model of :func:`build`, with half of its memory."""
    net = _built(name, resolution, width, batch_size, "folded")
    return b"".join(net.pieces(seed=check_seed(seed), about=_about(net)))


def write_model(
    path: str | os.PathLike[str],
    name: str,
    *,
    resolution: int | None = None,
    width: float = 1.0,
    batch_size: int = 1,
    seed: int = 0,
) -> Path:
    """Write the model of :func:`build` to a file, a bounded piece of its weights at a time.

    Raises OutputPathError where it cannot be written, and as :func:`build`.
    """
    net = _built(name, resolution, width, batch_size, "folded")
    return write_atomically(path, net.pieces(seed=check_seed(seed), about=_about(net)))


def graph_digest(name: str, *, resolution: int | None = None, width: float = 1.0) -> str:
    """SHA-256 of the network's graph without weights, for one image: what it is measured as.

    Raises as :func:`build`.
    """
    graph = build(name, resolution=resolution, width=width, weights=False).graph
    return hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()


def _built(
    name: str, resolution: int | None, width: float, batch_size: int, batch_norm: BatchNorm
) -> NetworkBuilder:
    from latprof.datasets.zoo.network_builder import NetworkBuilder

    network = facts(name)
    size = network.resolution if resolution is None else resolution
    _RESOLUTION.check("resolution", size)
    _WIDTH.check("width", width)
    _BATCH_SIZE.check("batch_size", batch_size)
    if batch_norm not in _BATCH_NORM:
        raise InvalidValueError(
            "no such batch_norm",
            field="batch_norm",
            expected=" or ".join(_BATCH_NORM),
            got=str(batch_norm),
        )
    if size % network.step:
        raise InvalidValueError(
            f"{name} takes other resolutions",
            field="resolution",
            expected=f"a multiple of {network.step}",
            got=str(size),
        )
    net = NetworkBuilder(
        name,
        resolution=int(size),
        width=float(width),
        batch_size=int(batch_size),
        batch_norm=batch_norm,
    )
    network.write(net)
    return net


def _about(net: NetworkBuilder) -> str:
    return f"{net.name} resolution={net.resolution} width={net.width:g} batch_size={net.batch_size}"
