"""Trained accuracies that searchers are judged on: NAS-Bench-201 and NAS-Bench-Macro."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.importers.base import registered_space
from latprof.datasets.importers.collections.help import parse_cell
from latprof.datasets.importers.files.reading import (
    Floats,
    kind_of,
    number_of,
    numbers,
    read_csv,
    read_json,
)
from latprof.errors import DataSetError

if TYPE_CHECKING:
    import pandas as pd

    from latprof.datasets.spaces.base import SearchSpace

Choices: TypeAlias = NDArray[np.uint8]

NASBENCH201_CITATION = "Dong, Yang: NAS-Bench-201, ICLR 2020"
MACRO_CITATION = (
    "Su et al.: Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021"
)
_MACRO_KEY = re.compile(r"[012]{8}")


@dataclass(frozen=True, eq=False, repr=False)
class ImportedAccuracies(ShortRepr):
    """Accuracies of all architectures of a benchmark.

    Parameters
    ----------
    name : str
    choices : array of shape (n, decisions), uint8
    accuracy_percent : mapping of str to array of shape (n,)
        By data set and split, for example ``"cifar10-test"``.
    names : tuple of str
        The file's own spelling of each row.
    space : SearchSpace or None
        None where this version has no such space.
    parameters, flops : array of shape (n,) or None
        FLOPs as the file counts them: multiply-accumulates.
    runs_percent : array of shape (n, runs) or None
        The accuracy of each training, where the file has several.
    source, licence, citation : str
    """

    name: str
    choices: Choices
    accuracy_percent: Mapping[str, Floats]
    names: tuple[str, ...]
    space: SearchSpace | None = None
    parameters: Floats | None = None
    flops: Floats | None = None
    runs_percent: Floats | None = None
    source: str = ""
    licence: str = ""
    citation: str = ""

    def to_frame(self) -> pd.DataFrame:
        """One row an architecture: its spelling, the accuracies, parameters and flops."""
        import pandas as pd

        spelled = self.names
        if self.space is not None:
            spelled = tuple(str(a) for a in self.space.architectures(self.choices))
        frame = pd.DataFrame({"architecture": spelled, **self.accuracy_percent})
        if self.parameters is not None:
            frame["parameters"] = self.parameters
        if self.flops is not None:
            frame["flops"] = self.flops
        frame.attrs.update(
            name=self.name, source=self.source, licence=self.licence, citation=self.citation
        )
        return frame


def load_nasbench201_accuracies(path: str | os.PathLike[str]) -> ImportedAccuracies:
    """Load a CSV of NAS-Bench-201 accuracies: ``index``, ``architecture`` and columns in percent.

    Rows come in the order of the index, which is HELP's: ``load_help(root, "nasbench201", device)``
    has the same network in each row. Raises DataSetError for a file that is missing or malformed.
    """
    header, rows = read_csv(path, ["index", "architecture"])
    places = _places(path, [row[header.index("index")] for row in rows])
    ordered = [rows[place] for place in np.argsort(places)]
    names = tuple(row[header.index("architecture")] for row in ordered)
    accuracies = {
        name: _percent(path, name, [row[column] for row in ordered])
        for column, name in enumerate(header)
        if name not in {"index", "architecture"}
    }
    if not accuracies:
        raise DataSetError(f"{path} has no column of accuracies")
    return ImportedAccuracies(
        name="nasbench201",
        choices=np.array([parse_cell(path, name) for name in names], dtype=np.uint8),
        accuracy_percent=accuracies,
        names=names,
        space=registered_space("nasbench201"),
        source=str(path),
        licence="MIT",
        citation=NASBENCH201_CITATION,
    )


def _percent(path: str | os.PathLike[str], name: str, texts: list[str]) -> Floats:
    values = np.array([number_of(text) for text in texts])
    wrong = np.flatnonzero(~((values >= 0) & (values <= 100)))
    if len(wrong):
        raise DataSetError(
            f"{path}: {name!r} of architecture {wrong[0]} is no accuracy",
            expected="0 to 100 %",
            got=repr(texts[wrong[0]][:40]),
        )
    return values


def _places(path: str | os.PathLike[str], texts: list[str]) -> NDArray[np.int64]:
    values = np.array([number_of(text) for text in texts])
    if not np.array_equal(np.sort(values), np.arange(len(texts))):
        raise DataSetError(
            f"{path}: the index is malformed",
            expected=f"each number from 0 to {len(texts) - 1} once",
        )
    return values.astype(np.int64)


def load_nasbench_macro(path: str | os.PathLike[str]) -> ImportedAccuracies:
    """Load the JSON of NAS-Bench-Macro: accuracies on CIFAR-10, parameters and FLOPs.

    Rows are sorted by their key of 8 digits, which are the choices: 0 identity, 1 MBConv 3x3 with
    expansion 3, 2 MBConv 5x5 with expansion 6. Raises DataSetError for a file that is missing or
    malformed.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise DataSetError(
            f"{path} is malformed", expected="an object with a key a network", got=kind_of(content)
        )
    names = tuple(sorted(content))
    for name in names:
        if not _MACRO_KEY.fullmatch(name):
            raise DataSetError(
                f"{path}: not a network of NAS-Bench-Macro",
                expected="8 digits from 0 to 2",
                got=repr(name[:40]),
            )
    runs = _macro_runs(path, content, names)
    mean, parameters, flops = (
        numbers(path, repr(key), [_macro_field(path, content, name, key) for name in names])
        for key in ("mean_acc", "params", "flops")
    )
    if not (
        np.all(mean >= 0) and np.all(mean <= 100) and np.all(runs >= 0) and np.all(runs <= 100)
    ):
        raise DataSetError(f"{path}: an accuracy is out of range", expected="0 to 100 %")
    return ImportedAccuracies(
        name="nasbench-macro",
        choices=np.array([[int(digit) for digit in name] for name in names], dtype=np.uint8),
        accuracy_percent={"cifar10-test": mean},
        names=names,
        space=registered_space("nasbench-macro"),
        parameters=parameters,
        flops=flops,
        runs_percent=runs,
        source=str(path),
        licence="Apache-2.0",
        citation=MACRO_CITATION,
    )


def _macro_field(
    path: str | os.PathLike[str], content: Mapping[str, Any], name: str, key: str
) -> Any:
    row = content[name]
    if not isinstance(row, dict) or key not in row:
        raise DataSetError(f"{path}: network {name} has no {key!r}", got=kind_of(row))
    return row[key]


def _macro_runs(
    path: str | os.PathLike[str], content: Mapping[str, Any], names: tuple[str, ...]
) -> Floats:
    first = _macro_field(path, content, names[0], "test_acc")
    length = len(first) if isinstance(first, list) else 1
    return np.array(
        [
            numbers(
                path, f"'test_acc' of {name}", _macro_field(path, content, name, "test_acc"), length
            )
            for name in names
        ]
    )
