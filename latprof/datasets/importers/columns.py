"""Columns of public collections by one text each, such as ``"help:FOLDER/nasbench201/pixel3"``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.datasets.importers.collections.brp_nas import load_brp_nas
from latprof.datasets.importers.collections.hat import load_hat
from latprof.datasets.importers.collections.help import load_help
from latprof.datasets.importers.collections.hw_nas_bench import load_hw_nas_bench
from latprof.datasets.importers.collections.mobile_ml import load_mobile_ml
from latprof.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies


@dataclass(frozen=True)
class _Collection:
    """How a column is named: a path, then as many parts as ``form`` has after it."""

    form: str
    load: Callable[..., ImportedLatencies]

    @property
    def parts(self) -> int:
        return self.form.count("/")


def _hw_nas_bench(path: str, dataset: str, device: str) -> ImportedLatencies:
    return load_hw_nas_bench(path, device, dataset)


#: A line a collection.
COLLECTIONS = {
    "help": _Collection("FOLDER/SPACE/DEVICE", load_help),
    "brp-nas": _Collection("FILE", load_brp_nas),
    "hw-nas-bench": _Collection("FILE/DATASET/DEVICE", _hw_nas_bench),
    "mobile-ml": _Collection("FILE/COLUMN", load_mobile_ml),
    "hat": _Collection("FILE", load_hat),
}


def column_forms() -> list[str]:
    """How columns are named, for help texts: ``"help:FOLDER/SPACE/DEVICE"`` and so on."""
    return [f"{name}:{collection.form}" for name, collection in COLLECTIONS.items()]


def load_column(name: str) -> ImportedLatencies:
    """Load one column of latencies of a public collection.

    Parameters
    ----------
    name : str
        One of :func:`column_forms` with its words filled in; the file or folder may hold slashes.

    Raises
    ------
    UsageError
        For a text of another form.
    UnknownNameError
        For a collection, a space or a device that is not there, with the nearest.
    DataSetError
        For a file that is missing or malformed.
    """
    kind, colon, rest = name.partition(":")
    if not colon:
        raise UsageError(
            "a column is named by its collection and its place",
            expected=f"one of {', '.join(column_forms())}",
            got=name[:200],
        )
    if kind not in COLLECTIONS:
        raise UnknownNameError("collection", kind, COLLECTIONS)
    collection = COLLECTIONS[kind]
    words = rest.rsplit("/", collection.parts) if collection.parts else [rest]
    if len(words) <= collection.parts or not all(words):
        raise UsageError(
            f"a column of {kind} is named otherwise",
            expected=f"{kind}:{collection.form}",
            got=name[:200],
        )
    return collection.load(*words)
