"""Comparisons of graphs that are kept between processes: to predict, nothing has to be built.

A file in the user's cache folder, named by all that a comparison follows from: the space's
description with the digest of its source, and the versions of what builds and reads the networks.
What cannot be read is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from latprof._version import __version__
from latprof.common.files import cache_folder, write_atomically
from latprof.datasets.spaces.own.graph_comparison import ComparedGraphs
from latprof.errors import LatprofError
from latprof.graph.operators import Operator

#: Fields of operators that blocks do not need, or that are no plain values.
_LEFT_OUT = frozenset({"reads", "writes", "attributes", "constants", "parts"})
_FIELDS = tuple(each.name for each in fields(Operator) if each.name not in _LEFT_OUT)


def kept_or_made(description: str, make: Callable[[], ComparedGraphs]) -> ComparedGraphs:
    """The comparison of a space's graphs, from the cache or made now and kept there."""
    path = _path(description)
    try:
        return _read(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        found = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(_written(found)).encode())
    except (OSError, ValueError, TypeError, LatprofError):  # no place to keep it: made each time
        pass
    return found


def is_kept(description: str) -> bool:
    """Whether the comparison of a space's graphs is in the cache."""
    return _path(description).is_file()


def _path(description: str) -> Path:
    versions = [__version__]
    for package in ("torch", "onnx"):
        try:
            versions.append(metadata.version(package))
        except metadata.PackageNotFoundError:
            versions.append("")
    digest = hashlib.sha256("\0".join([description, *versions]).encode()).hexdigest()
    return cache_folder("spaces") / f"{digest[:32]}.json"


def _written(found: ComparedGraphs) -> dict[str, Any]:
    operators = [
        [name, local, {field: getattr(operator, field) for field in _FIELDS}]
        for (name, local), operator in found.operators.items()
    ]
    return {"decisions": list(found.decisions.items()), "operators": operators}


def _read(values: Any) -> ComparedGraphs:
    """Rebuild what was written; raises ValueError, TypeError or LookupError for anything else."""
    decisions = {str(name): tuple(map(int, owned)) for name, owned in values["decisions"]}
    operators = {
        (str(name), tuple(map(int, local))): Operator(**{k: _tuples(v) for k, v in given.items()})
        for name, local, given in values["operators"]
    }
    if {name for name, _ in operators} != decisions.keys():
        raise ValueError("operators without decisions")
    return ComparedGraphs(decisions, operators)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
