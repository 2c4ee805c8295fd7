"""Latencies of HELP (Lee et al., NeurIPS 2021, arXiv 2106.08630): three spaces, many devices.

The folder has ``fbnet/arch.pt``, ``nasbench201/str_arch2idx.pt`` and ``ofa/ofa_archs.pt`` with the
architectures, and ``SPACE/latency/DEVICE.pt`` with a list of milliseconds in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.importers.base import (
    DISCONNECTED,
    ImportedLatencies,
    registered_space,
    split_device,
    usable_rows,
)
from latprof.datasets.importers.files.reading import indices, kind_of, numbers
from latprof.datasets.importers.files.torch_files import read_torch_file
from latprof.datasets.importers.flags import detect_flags
from latprof.errors import DataSetError, UnknownNameError

Choices: TypeAlias = NDArray[np.uint8]

CITATION = (
    "Lee, Lee, Shin, Hwang: HELP: Hardware-Adaptive Efficient Latency Prediction for NAS via "
    "Meta-Learning, NeurIPS 2021"
)
LICENCE = "MIT"

_FBNET_LAYERS, _FBNET_CANDIDATES = 22, 9
_OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
_KERNELS, _EXPANSIONS, _DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
_RESOLUTIONS = tuple(range(128, 225, 4))
_STAGES, _STAGE_LAYERS = 5, 4
_MAX_DEVICES = 10_000


def help_devices(root: str | os.PathLike[str], space: str) -> list[str]:
    """Names of the devices that the folder has latencies of, sorted.

    Parameters
    ----------
    root : path
        The folder that holds ``fbnet``, ``nasbench201`` and ``ofa``.
    space : str
        As of :func:`load_help`.

    Raises UnknownNameError for another space, and DataSetError where there is no such folder.
    """
    folder = Path(root) / _importer(space).folder / "latency"
    try:
        names = sorted(path.stem for path in folder.iterdir() if path.suffix == ".pt")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataSetError(
            f"{folder} cannot be listed: {reason}".replace("\0", "\\0"),
            expected="HELP's folder of latencies",
        ) from None
    if not names:
        raise DataSetError(f"{folder} holds no latencies", expected="files named DEVICE.pt")
    return names[:_MAX_DEVICES]


def load_help(root: str | os.PathLike[str], space: str, device: str) -> ImportedLatencies:
    """Load one device's latencies of one of HELP's spaces.

    Parameters
    ----------
    root : path
        The folder that holds ``fbnet``, ``nasbench201`` and ``ofa``.
    space : str
        ``"fbnet"``, ``"nasbench201"`` or ``"ofa-mobilenetv3"``, which may be called ``"ofa"`` like
        its folder.
    device : str
        One of :func:`help_devices`.

    Returns
    -------
    ImportedLatencies
        5,000, 15,625 and 5,000 rows in the files' own order. In ``nasbench201`` the rows below 2 %
        of the median are not usable: their cells are not connected.

    Raises
    ------
    UnknownNameError
        For a space or a device that is not there, with the nearest.
    DataSetError
        For a file that is missing or malformed.
    """
    importer = _importer(space)
    devices = help_devices(root, space)
    if device not in devices:
        raise UnknownNameError("device", device, devices)
    folder = Path(root) / importer.folder
    choices = importer.read(folder / importer.file)
    source = folder / "latency" / f"{device}.pt"
    latency = numbers(source, "the file", read_torch_file(source), len(choices))
    usable = usable_rows(str(source), latency, least=importer.least)
    target, batch_size = split_device(device)
    return ImportedLatencies(
        name=f"help/{importer.space}/{device}",
        latency_ms=latency,
        usable=usable,
        device=target,
        batch_size=batch_size,
        space=registered_space(importer.space),
        choices=choices,
        flags=detect_flags(latency[usable], additive_labels(space, choices)[usable]),
        source=str(source),
        licence=LICENCE,
        citation=CITATION,
    )


def additive_labels(space: str, choices: Choices) -> NDArray[np.int64]:
    """What an additive model has an entry for, shape (n, positions): see ``detect_flags``.

    A layer's candidate in ``"fbnet"``, an edge's operation in ``"nasbench201"``; in
    ``"ofa-mobilenetv3"`` the resolution, and for each layer whether it is there, its kernel and its
    expansion as one.
    """
    return _importer(space).labels(choices)


# Architectures -----------------------------------------------------------------------------


def read_fbnet_architectures(path: str | os.PathLike[str]) -> Choices:
    """Read ``arch.pt``: choices of shape (n, 22), the candidate of each layer, 0 to 8."""
    rows = read_torch_file(path)
    if not isinstance(rows, list) or not rows:
        raise DataSetError(
            f"{path} is malformed", expected="a list of architectures", got=kind_of(rows)
        )
    lists = [indices(path, f"architecture {i}", row, _FBNET_LAYERS) for i, row in enumerate(rows)]
    return _checked(path, lists, [_FBNET_CANDIDATES] * _FBNET_LAYERS)


def read_nasbench201_architectures(path: str | os.PathLike[str]) -> Choices:
    """Read ``str_arch2idx.pt``: choices of shape (n, 6), the operation of each edge.

    Edges are in the order of the string (0 to 1; 0 and 1 to 2; 0, 1 and 2 to 3), operations 0 none,
    1 skip_connect, 2 nor_conv_1x1, 3 nor_conv_3x3, 4 avg_pool_3x3. Rows are in the order of the
    file's index.
    """
    index = read_torch_file(path)
    if not isinstance(index, dict) or not index:
        raise DataSetError(
            f"{path} is malformed", expected="a dictionary of strings", got=kind_of(index)
        )
    rows: list[list[int] | None] = [None] * len(index)
    for text, row in index.items():
        if type(row) is not int or not 0 <= row < len(rows) or rows[row] is not None:
            raise DataSetError(
                f"{path} is malformed",
                expected=f"each number from 0 to {len(rows) - 1} once",
                got=kind_of(row),
            )
        rows[row] = parse_cell(path, text)
    return np.array(rows, dtype=np.uint8)


def parse_cell(path: str | os.PathLike[str], text: Any) -> list[int]:
    """Read a cell of NAS-Bench-201 from its string, or raise DataSetError; returns 6 operations."""
    found = []
    nodes = text.split("+") if isinstance(text, str) and len(text) < 256 else []
    for node, part in enumerate(nodes):
        edges = part.strip("|").split("|")
        if len(edges) != node + 1 or len(nodes) != 3:
            break
        for source, edge in enumerate(edges):
            operation, _, origin = edge.partition("~")
            if operation in _OPERATIONS and origin == str(source):
                found.append(_OPERATIONS.index(operation))
    if len(found) != 6:
        raise DataSetError(
            f"{path}: not a cell of NAS-Bench-201",
            expected="|op~0|+|op~0|op~1|+|op~0|op~1|op~2|",
            got=kind_of(text),
        )
    return found


def read_ofa_architectures(path: str | os.PathLike[str]) -> Choices:
    """Read ``ofa_archs.pt``: choices of shape (n, 46).

    The resolution (128, 132, ... 224), 5 depths (2, 3, 4), 20 kernels (3, 5, 7) and 20 expansions
    (3, 4, 6), as indices. What belongs to layers beyond a stage's depth is 0: they are not there.
    """
    content = read_torch_file(path)
    rows = content.get("arch") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataSetError(
            f"{path} is malformed", expected="a dictionary with a list 'arch'", got=kind_of(content)
        )
    choices = np.array([_ofa_row(path, i, row) for i, row in enumerate(rows)], dtype=np.uint8)
    depths = 2 + choices[:, 1 : 1 + _STAGES]
    there = (np.arange(_STAGE_LAYERS) < depths[:, :, None]).reshape(len(choices), -1)
    choices[:, 1 + _STAGES :] *= np.tile(there, 2)
    return choices


def _ofa_row(path: str | os.PathLike[str], number: int, row: Any) -> list[int]:
    layers = _STAGES * _STAGE_LAYERS
    if not isinstance(row, dict) or not row.keys() >= {"ks", "e", "d", "r"}:
        raise DataSetError(
            f"{path}: architecture {number} is malformed",
            expected="a dictionary with ks, e, d and r",
            got=kind_of(row),
        )
    resolution = row["r"] if isinstance(row["r"], list | tuple) else [row["r"]]
    found: list[int] = []
    for key, values, length, known in (
        ("r", resolution, 1, _RESOLUTIONS),
        ("d", row["d"], _STAGES, _DEPTHS),
        ("ks", row["ks"], layers, _KERNELS),
        ("e", row["e"], layers, _EXPANSIONS),
    ):
        what = f"{key!r} of architecture {number}"
        for value in indices(path, what, values, length):
            if value not in known:
                raise DataSetError(
                    f"{path}: {what} is out of range",
                    expected=f"one of {', '.join(map(str, known))}",
                    got=str(value),
                )
            found.append(known.index(value))
    return found


def _checked(path: str | os.PathLike[str], rows: list[list[int]], counts: list[int]) -> Choices:
    """Turn rows of indices into choices; DataSetError where one is no candidate."""
    values = np.array(rows, dtype=np.int64)
    wrong = np.argwhere(values >= np.array(counts))
    if len(wrong):
        row, column = wrong[0]
        raise DataSetError(
            f"{path}: architecture {row} has no such candidate at {column}",
            expected=f"0 to {counts[column] - 1}",
            got=str(values[row, column]),
        )
    return values.astype(np.uint8)


def _same(choices: Choices) -> NDArray[np.int64]:
    return choices.astype(np.int64)


def _ofa_labels(choices: Choices) -> NDArray[np.int64]:
    """Resolution, and for each layer whether it is there, its kernel and its expansion as one."""
    layers = _STAGES * _STAGE_LAYERS
    wide = choices.astype(np.int64)
    depths = 2 + wide[:, 1 : 1 + _STAGES]
    there = (np.arange(_STAGE_LAYERS) < depths[:, :, None]).reshape(len(wide), -1)
    kernels, expansions = wide[:, 6 : 6 + layers], wide[:, 6 + layers :]
    return np.column_stack([wide[:, 0], there * (1 + 3 * kernels + expansions)])


class _Importer:
    """One of HELP's spaces: its folder and file, our name, and how to read it."""

    def __init__(
        self,
        folder: str,
        file: str,
        space: str,
        read: Callable[[Path], Choices],
        *,
        labels: Callable[[Choices], NDArray[np.int64]] = _same,
        least: float = 0.0,
    ) -> None:
        self.folder, self.file, self.space, self.read = folder, file, space, read
        self.labels, self.least = labels, least


_IMPORTERS = (
    _Importer("fbnet", "arch.pt", "fbnet", read_fbnet_architectures),
    _Importer(
        "nasbench201",
        "str_arch2idx.pt",
        "nasbench201",
        read_nasbench201_architectures,
        least=DISCONNECTED,
    ),
    _Importer("ofa", "ofa_archs.pt", "ofa-mobilenetv3", read_ofa_architectures, labels=_ofa_labels),
)


def _importer(space: str) -> _Importer:
    """Of latprof's name of a space, or of the name of its folder."""
    for importer in _IMPORTERS:
        if space in {importer.space, importer.folder}:
            return importer
    raise UnknownNameError("space", space, [importer.space for importer in _IMPORTERS])
