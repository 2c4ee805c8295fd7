"""HW-NAS-Bench (Li et al., ICLR 2021): NAS-Bench-201 on six devices, and FBNet's lookup tables.

The authors' ``HW-NAS-Bench-v1_0.pickle`` is read without being executed. It is a dictionary:
``nasbench201`` has for each data set lists of metrics in the order of NAS-Bench-201's index and the
networks' configurations under ``config``; ``fbnet`` has for each metric a table from the key of an
operator to its cost. Latencies are in milliseconds. This importer was written from the layout that
the authors' code reads; the original file was not at hand to try it on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.importers.base import ImportedLatencies, column_of_cells
from latprof.datasets.importers.collections.help import parse_cell
from latprof.datasets.importers.files.plain_pickle import read_pickle
from latprof.datasets.importers.files.reading import kind_of, number_in, numbers, read_bytes
from latprof.datasets.importers.lookup_tables import LookupTable, TableEntry
from latprof.errors import DataSetError, UnknownNameError

Choices: TypeAlias = NDArray[np.uint8]

LICENCE = "MIT"
CITATION = "Li et al.: HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark, ICLR 2021"
_LATENCY = "_latency"

#: FBNet's space as the authors' code sums it up: layers and channels of the stages.
_LAYERS = (1, 4, 4, 4, 4, 4, 1)
_CHANNELS = (16, 24, 32, 64, 112, 184, 352)
_STEM = 16
#: Expansion, kernel and groups of the candidates; the ninth is the skip.
_CANDIDATES = (
    (1, 3, 1),
    (1, 3, 2),
    (3, 3, 1),
    (6, 3, 1),
    (1, 5, 1),
    (1, 5, 2),
    (3, 5, 1),
    (6, 5, 1),
)
#: By data set: resolution, stride of the stem, strides of the stages, last channels, classes.
_FBNET = {
    "cifar100": (32, 1, (1, 1, 2, 2, 1, 2, 1), 1504, 100),
    "ImageNet": (224, 2, (1, 2, 2, 2, 1, 2, 1), 1984, 1000),
}


def hw_nas_bench_columns(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Devices by data set of the NAS-Bench-201 part, and of ``"fbnet"``; DataSetError."""
    content = _read(path)
    found = {
        dataset: _latencies(path, table)
        for dataset, table in _part(path, content, "nasbench201").items()
    }
    if isinstance(content.get("fbnet"), dict):
        found["fbnet"] = _latencies(path, content["fbnet"])
    return found


def load_hw_nas_bench(
    path: str | os.PathLike[str], device: str, dataset: str = "cifar10"
) -> ImportedLatencies:
    """Load one device's latencies of NAS-Bench-201.

    Parameters
    ----------
    path : path
        Of ``HW-NAS-Bench-v1_0.pickle``.
    device : str
        For example ``"edgegpu"``; see :func:`hw_nas_bench_columns`.
    dataset : str
        ``"cifar10"``, ``"cifar100"`` or ``"ImageNet16-120"``: the size of images and classes.

    Returns
    -------
    ImportedLatencies
        Rows in the order of NAS-Bench-201's index; those below 2 % of the median are not usable.
        The file does not state the batch size.

    Raises
    ------
    UnknownNameError
        For a device or a data set that is not there.
    DataSetError
        For a file that is missing or malformed.
    """
    tables = _part(path, _read(path), "nasbench201")
    if dataset not in tables:
        raise UnknownNameError("data set", dataset, map(str, tables))
    table = tables[dataset]
    devices = _latencies(path, table)
    if device not in devices:
        raise UnknownNameError("device", device, devices)
    choices = _cells(path, table.get("config"))
    what = f"{device}{_LATENCY}"
    latency = numbers(path, repr(what), table[what], len(choices))
    told = {"device": device, "licence": LICENCE, "citation": CITATION}
    return column_of_cells(path, f"hw-nas-bench/{dataset}/{device}", choices, latency, **told)


def load_hw_nas_bench_table(path: str | os.PathLike[str], device: str) -> LookupTable:
    """Load one device's table of FBNet's operators; sums of it are what the benchmark states.

    Whole networks of this part were never timed: what is summed from it is synthetic. Raises as
    :func:`load_hw_nas_bench`.
    """
    tables = _part(path, _read(path), "fbnet")
    devices = _latencies(path, tables)
    if device not in devices:
        raise UnknownNameError("device", device, devices)
    table = tables[f"{device}{_LATENCY}"]
    if not isinstance(table, dict) or not table:
        raise DataSetError(
            f"{path}: the table of {device} is malformed",
            expected="a dictionary",
            got=kind_of(table),
        )
    return LookupTable(
        name=f"hw-nas-bench/fbnet/{device}",
        entries={
            str(key): TableEntry(number_in(path, str(key)[:200], value))
            for key, value in table.items()
        },
        source=str(path),
        licence=LICENCE,
    )


def fbnet_keys(choices: Sequence[int], dataset: str = "ImageNet") -> tuple[str, ...]:
    """The keys of :func:`load_hw_nas_bench_table` that an FBNet architecture needs.

    Parameters
    ----------
    choices : sequence of 22 int
        A candidate for each layer, 0 to 8.
    dataset : str
        ``"cifar100"`` (32x32) or ``"ImageNet"`` (224x224).
    """
    if dataset not in _FBNET:
        raise UnknownNameError("data set", dataset, _FBNET)
    size, stride, strides, last, classes = _FBNET[dataset]
    keys = [f"ConvNorm_{_shape(size, 3, _STEM)}_kernel3_stride{stride}_group1"]
    size //= stride
    channels, candidates = _STEM, iter(choices)
    for layers, width, first_stride in zip(_LAYERS, _CHANNELS, strides, strict=True):
        for layer in range(layers):
            stride = first_stride if layer == 0 else 1
            keys.append(_layer_key(int(next(candidates)), size, channels, width, stride))
            channels, size = width, size // stride
    return (
        *keys,
        f"ConvNorm_{_shape(size, channels, last)}_kernel1_stride1_group1",
        f"AvgP_{_shape(size, last, last)}_kernel{size}_stride1",
        f"FC_Cin{last}_Cout{classes}",
    )


def _shape(size: int, channels: int, width: int) -> str:
    return f"H{size}_W{size}_Cin{channels}_Cout{width}"


def _layer_key(candidate: int, size: int, channels: int, width: int, stride: int) -> str:
    shape = _shape(size, channels, width)
    if candidate == len(_CANDIDATES):
        return f"Skip_{shape}_stride{stride}"
    expansion, kernel, groups = _CANDIDATES[candidate]
    return f"ConvBlock_{shape}_exp{expansion}_kernel{kernel}_stride{stride}_group{groups}"


# The file ----------------------------------------------------------------------------------


def _read(path: str | os.PathLike[str]) -> dict[Any, Any]:
    content = read_pickle(str(path), read_bytes(path))
    if not isinstance(content, dict):
        raise DataSetError(f"{path} is not HW-NAS-Bench", expected="a dictionary of spaces")
    return content


def _part(path: str | os.PathLike[str], content: dict[Any, Any], name: str) -> dict[Any, Any]:
    part = content.get(name)
    if not isinstance(part, dict) or not all(isinstance(value, dict) for value in part.values()):
        raise DataSetError(
            f"{path} has no part {name!r}, or a malformed one",
            expected="a dictionary of dictionaries",
            got=kind_of(part),
        )
    return part


def _latencies(path: str | os.PathLike[str], table: dict[Any, Any]) -> list[str]:
    names = [name for name in table if isinstance(name, str) and name.endswith(_LATENCY)]
    if not names:
        raise DataSetError(f"{path} has no latencies", expected="keys named DEVICE_latency")
    return sorted(name.removesuffix(_LATENCY) for name in names)


def _cells(path: str | os.PathLike[str], configurations: Any) -> Choices:
    """The networks, from their configurations: a list, or a dictionary by index."""
    if isinstance(configurations, dict):
        configurations = [configurations.get(str(i)) for i in range(len(configurations))]
    if not isinstance(configurations, list) or not configurations:
        raise DataSetError(
            f"{path}: 'config' is malformed", expected="a list", got=kind_of(configurations)
        )
    return np.array(
        [
            parse_cell(path, row.get("arch_str") if isinstance(row, dict) else row)
            for row in configurations
        ],
        dtype=np.uint8,
    )
