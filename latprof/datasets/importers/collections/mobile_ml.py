"""Latencies of mobile-ml-benchmark: 79 convolutional networks on two phones, TensorFlow Lite.

``tflite_cnn_e2e.csv`` has a mean and a standard deviation for each network and each choice of cores
(or the GPU) and precision; ``tflite_cnn_ops_gpu.csv`` what each fused operation takes on the GPUs.
Both are in microseconds; what is returned is in milliseconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.importers.base import ImportedLatencies, usable_rows
from latprof.datasets.importers.files.reading import Floats, number_of, read_csv
from latprof.datasets.importers.flags import detect_flags
from latprof.errors import DataSetError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

Feature: TypeAlias = float | int | None

CITATION = "mobile-ml-benchmark: TensorFlow Lite on Pixel 4 and Mi 8 SE"
LICENCE = "MIT"
_MEAN, _STD, _TIME, _KERNEL = "|mean", "|std", "|float", "|kernel"
_FEATURE = re.compile(r"'(\w{1,40})': (?:'(-|\d{1,18}(?:\.\d{1,9})?)'|(\d{1,18}(?:\.\d{1,9})?))")
_MAX_FEATURES_TEXT = 2000


@dataclass(frozen=True, eq=False, repr=False)
class ImportedOperators(ShortRepr):
    """What the fused operations of networks take on one device.

    Parameters
    ----------
    name, device : str
    models, operations, kernels : tuple of str
        For each row the network, the operation of its graph, and the kernel that ran.
    features : tuple of mapping
        For each row the shapes and settings by name; None where the file has a dash.
    latency_ms : array of shape (n,)
    source, licence, citation : str
    """

    name: str
    device: str
    models: tuple[str, ...]
    operations: tuple[str, ...]
    kernels: tuple[str, ...]
    features: tuple[Mapping[str, Feature], ...]
    latency_ms: Floats
    source: str = ""
    licence: str = LICENCE
    citation: str = CITATION

    def to_frame(self) -> pd.DataFrame:
        """One row an operation: model, operation, kernel, latency_ms and a column a feature."""
        import pandas as pd

        frame = pd.DataFrame([dict(row) for row in self.features])
        frame.insert(0, "model", list(self.models))
        frame.insert(1, "operation", list(self.operations))
        frame.insert(2, "kernel", list(self.kernels))
        frame.insert(3, "latency_ms", self.latency_ms)
        frame.attrs.update(name=self.name, device=self.device, source=self.source)
        return frame


def mobile_ml_columns(path: str | os.PathLike[str]) -> list[str]:
    """Columns of the end-to-end file, for example ``"pixel4|1large|float"``; see the loader."""
    header, _ = read_csv(path, ["model"])
    return [
        name.removesuffix(_MEAN)
        for name in header
        if name.endswith(_MEAN) and name.removesuffix(_MEAN) + _STD in header
    ]


def load_mobile_ml(path: str | os.PathLike[str], column: str) -> ImportedLatencies:
    """Load one column of ``tflite_cnn_e2e.csv``: networks end to end, in ms.

    Parameters
    ----------
    path : path
        Of the file.
    column : str
        Device, cores and precision, one of :func:`mobile_ml_columns`.

    Returns
    -------
    ImportedLatencies
        One row a network, by its name in timm or torchvision; ``spread_ms`` is the standard
        deviation over runs. The file does not state the batch size.

    Raises
    ------
    UnknownNameError
        For a column that is not there.
    DataSetError
        For a file that is missing or malformed.
    """
    columns = mobile_ml_columns(path)
    if column not in columns:
        raise UnknownNameError("column", column, columns)
    header, rows = read_csv(path, ["model", column + _MEAN, column + _STD])
    names = tuple(row[header.index("model")] for row in rows)
    mean, std = (_milliseconds(path, header, rows, column + suffix) for suffix in (_MEAN, _STD))
    usable = usable_rows(str(path), mean)
    return ImportedLatencies(
        name=f"mobile-ml-benchmark/{column}",
        latency_ms=mean,
        usable=usable,
        device=column,
        names=names,
        spread_ms=std,
        flags=detect_flags(mean[usable], None),
        source=str(path),
        licence=LICENCE,
        citation=CITATION,
    )


def load_mobile_ml_operators(
    path: str | os.PathLike[str], device: str = "pixel4|gpu"
) -> ImportedOperators:
    """Load ``tflite_cnn_ops_gpu.csv``: what each fused operation takes on a GPU, in ms.

    ``device`` is ``"pixel4|gpu"`` or ``"mi8se|gpu"``. Raises as :func:`load_mobile_ml`.
    """
    header, rows = read_csv(path, ["model", "operation", "feature"])
    known = [
        name.removesuffix(_TIME)
        for name in header
        if name.endswith(_TIME) and name.removesuffix(_TIME) + _KERNEL in header
    ]
    if device not in known:
        raise UnknownNameError("device", device, known)
    latency = _milliseconds(path, header, rows, device + _TIME)
    usable_rows(str(path), latency)
    text = {name: header.index(name) for name in ("model", "operation", "feature")}
    return ImportedOperators(
        name=f"mobile-ml-benchmark/operators/{device}",
        device=device,
        models=tuple(row[text["model"]] for row in rows),
        operations=tuple(row[text["operation"]] for row in rows),
        kernels=tuple(row[header.index(device + _KERNEL)] for row in rows),
        features=tuple(
            _features(path, line, row[text["feature"]]) for line, row in enumerate(rows, start=2)
        ),
        latency_ms=latency,
        source=str(path),
    )


def _milliseconds(
    path: str | os.PathLike[str], header: list[str], rows: list[list[str]], name: str
) -> Floats:
    """A column of microseconds as milliseconds; an empty field is NaN."""
    column = header.index(name)
    values = np.array([number_of(row[column]) for row in rows])
    for line, (value, row) in enumerate(zip(values, rows, strict=True), start=2):
        if (np.isnan(value) and row[column].strip()) or value < 0:
            raise DataSetError(
                f"{path}, row {line}: {name!r} is no time",
                expected="microseconds",
                got=repr(row[column][:40]),
            )
    return values / 1000.0


def _features(path: str | os.PathLike[str], line: int, text: str) -> dict[str, Feature]:
    """Read a Python dictionary of text and numbers without Python."""
    body = text[1:-1] if len(text) <= _MAX_FEATURES_TEXT else ""
    items = [(found[0], found[1] or found[2]) for found in _FEATURE.findall(body)]
    if not items or ", ".join(found.group() for found in _FEATURE.finditer(body)) != body:
        raise DataSetError(
            f"{path}, row {line}: features are malformed",
            expected="{'Input_shape': '224', 'Input_channel': 3, ...}",
            got=repr(text[:60]),
        )
    return {
        name: None if value == "-" else float(value) if "." in value else int(value)
        for name, value in items
    }
