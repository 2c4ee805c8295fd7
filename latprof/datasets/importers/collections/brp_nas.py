"""LatBench of BRP-NAS (Dudziak et al., NeurIPS 2020, arXiv 2007.08668): NAS-Bench-201's latencies.

A file a device: a pickled dictionary from a tuple of six operations, one an edge in the order of
NAS-Bench-201's string, to seconds. It is read without being executed.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from latprof.datasets.importers.base import Choices, ImportedLatencies, column_of_cells
from latprof.datasets.importers.files.plain_pickle import read_pickle
from latprof.datasets.importers.files.reading import kind_of, numbers, read_bytes
from latprof.errors import DataSetError

LICENCE = "Apache-2.0"
CITATION = (
    "Dudziak, Chau, Abdelfattah, Lee, Kim, Lane: BRP-NAS: Prediction-based NAS using GCNs, "
    "NeurIPS 2020"
)
_EDGES, _OPERATIONS = 6, 5
_MS = 1e3


def load_brp_nas(path: str | os.PathLike[str]) -> ImportedLatencies:
    """Load one device's latencies of NAS-Bench-201.

    Parameters
    ----------
    path : path
        Of one of LatBench's pickles; the device is called as the file is.

    Returns
    -------
    ImportedLatencies
        Rows in the order of their operations; those below 2 % of the median are not usable. The
        file states no batch size.

    Raises
    ------
    DataSetError
        For a file that is missing or malformed.
    """
    content = read_pickle(str(path), read_bytes(path))
    if not isinstance(content, dict) or not content:
        raise DataSetError(
            f"{path} is not LatBench",
            expected="a dictionary from six operations to seconds",
            got=kind_of(content),
        )
    rows = sorted((_cell(path, key), value) for key, value in content.items())
    choices: Choices = np.array([cell for cell, _ in rows], dtype=np.uint8)
    latency_ms = _MS * numbers(path, "the latencies", [seconds for _, seconds in rows])
    device = Path(path).stem
    told = {"device": device, "licence": LICENCE, "citation": CITATION}
    return column_of_cells(path, f"brp-nas/{device}", choices, latency_ms, **told)


def _cell(path: str | os.PathLike[str], key: str) -> tuple[int, ...]:
    """Operations 0 none, 1 skip_connect, 2 nor_conv_1x1, 3 nor_conv_3x3, 4 avg_pool_3x3."""
    parts = key.split(",")
    if len(parts) != _EDGES or any(part not in map(str, range(_OPERATIONS)) for part in parts):
        raise DataSetError(
            f"{path}: not a cell of NAS-Bench-201",
            expected=f"{_EDGES} operations from 0 to {_OPERATIONS - 1}",
            got=kind_of(key),
        )
    return tuple(map(int, parts))
