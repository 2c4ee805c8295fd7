"""Measured data sets: many architectures on one target, as plain Parquet files.

A data set is ``NAME.parquet`` with a row for each architecture and, beside it,
``NAME.visits.parquet`` with a row for each visit, ``NAME.kernels.parquet`` with a row for each
kernel (of some of the architectures) and the datasheet ``NAME.md``; where its networks are files of
somebody's, ``NAME.graphs.parquet`` has them without their weights. Some come with latprof;
``latprof export --dataset`` makes others (:mod:`latprof.datasets.published.publishing`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.common.extras import require
from latprof.common.files import path_text, what_is_at
from latprof.errors import DataSetError, UnknownNameError, UsageError

if TYPE_CHECKING:
    import pandas as pd

#: Of the files; a newer one is refused, never guessed at.
FORMAT_VERSION = 1
#: Key of the metadata in a Parquet file.
METADATA = b"latprof"
SPLITS = ("train", "test")

_SHIPPED = Path(__file__).parent / "files"
#: What names of data sets of kernels begin with.
_KERNELS = "kernels-"
_COLUMNS = {"architecture", "split", "latency_ms"}
#: Of a file as it is in memory: a million equal rows take a few bytes on the disk.
_MOST_CELLS, _MOST_BYTES = 30_000_000, 1 << 29


def dataset_names() -> list[str]:
    """Names of the data sets of search spaces that come with latprof, sorted."""
    return [name for name in _names() if not name.startswith(_KERNELS)]


def kernel_dataset_names() -> list[str]:
    """Names of those of ``latprof collect --kernels``, of networks of any kind, sorted."""
    return [name for name in _names() if name.startswith(_KERNELS)]


def _names() -> list[str]:
    return sorted(path.stem for path in _SHIPPED.glob("*.parquet") if "." not in path.stem)


def load(name: str | os.PathLike[str], split: str | None = None) -> pd.DataFrame:
    """Load the measured latencies of a data set, one row an architecture.

    Parameters
    ----------
    name : str or path
        One of :func:`dataset_names` or :func:`kernel_dataset_names`, or the path of a
        ``.parquet`` file of the same make.
    split : str, optional
        ``"train"`` or ``"test"``: only those rows. All by default.

    Returns
    -------
    DataFrame
        Columns: architecture (its spelling; of a data set of kernels the line that a network is
        built from), split, latency_ms, low_ms and high_ms (90 % interval),
        ratio (to the reference network), visits, again_ms and again_visits (measured a second time,
        a pass later; NaN and 0 for most), raw_median_ms (as the clock was), reference_ms (median
        beside this architecture's visits), first_at and last_at (Unix time, s), disturbed (visits
        that were, and do not count) and stopped_by. ``attrs`` holds the target, the reference and
        its constant, the noise floor, the space and the protocol, as plain JSON values.

    Raises
    ------
    UnknownNameError
        For a name that is none, with the nearest.
    DataSetError
        For a file that is missing or no such data set.
    """
    if split is not None and split not in SPLITS:
        raise UsageError(
            f"no split {split!r}", field="split", expected=" or ".join(SPLITS), got=split
        )
    frame = _read(_file(name))
    if not set(frame.columns) >= _COLUMNS:
        raise DataSetError(f"{name} is not a data set of latencies", expected=", ".join(_COLUMNS))
    if split is not None:
        frame = frame[frame["split"] == split].reset_index(drop=True)
    return frame


def load_visits(name: str | os.PathLike[str]) -> pd.DataFrame:
    """Load the visits behind a data set's latencies, one row a visit, raw runs left out.

    Columns: architecture, label (1: of the second measurement), visit, process (a number),
    started_at (Unix time, s), ratio, process_effect (the factor that all ratios of a process share,
    divided out of the labels; see :mod:`latprof.measurement.process_effects`), raw_median_ms,
    reference_ms, drift (of the reference within the visit, a fraction), withheld (share of the
    time) and other_load (share of the spare cores), disturbed. Errors as of :func:`load`.
    """
    return _read(_file(name).with_suffix(".visits.parquet"))


def load_kernels(name: str | os.PathLike[str]) -> pd.DataFrame:
    """Load a data set's kernels, one row a kernel in the order they ran.

    Columns: architecture, position, kind, name, operators (of the graph; with commas), input_shapes
    and output_shapes (``"1x32x112x112"``, with spaces), latency_ms (median, at the quiet clock).
    Raises DataSetError where the data set has none, else as :func:`load`.
    """
    return _read(_file(name).with_suffix(".kernels.parquet"))


def load_graphs(name: str | os.PathLike[str]) -> dict[str, tuple[str, bytes]]:
    """Load the networks of a data set that were files: architecture to name and ONNX model.

    The models are without their weights. Empty for a data set whose networks latprof builds.
    Errors as of :func:`load`.
    """
    path = _file(name).with_suffix(".graphs.parquet")
    if what_is_at(path) != "file":
        return {}
    columns = ("architecture", "name", "model")
    frame = _read(path)
    if not set(frame.columns) >= set(columns):
        raise DataSetError(f"{path} has no networks", expected=", ".join(columns))
    rows = zip(*(frame[column].tolist() for column in columns), strict=True)
    return {str(key): (str(called), bytes(model)) for key, called, model in rows}


def datasheet(name: str | os.PathLike[str]) -> str:
    """How, when and on what a data set was measured, as Markdown. Errors as of :func:`load`."""
    path = _file(name).with_suffix(".md")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DataSetError(f"{path.name} is not beside the data set, or not readable") from None


def _file(name: str | os.PathLike[str]) -> Path:
    text = path_text(name, "name")
    if text in _names():
        return _SHIPPED / f"{text}.parquet"
    if not text.endswith(".parquet"):
        raise UnknownNameError("data set", text, _names())
    return Path(text)


def check_parquet_size(path: Path) -> None:
    """Raise DataSetError for a Parquet file that would fill the memory, by what it says of itself.

    Raises whatever pyarrow does for what is none.
    """
    from pyarrow import parquet

    stated = parquet.read_metadata(path)
    groups = map(stated.row_group, range(stated.num_row_groups))
    cells = stated.num_rows * stated.num_columns
    if cells > _MOST_CELLS or sum(group.total_byte_size for group in groups) > _MOST_BYTES:
        raise DataSetError(
            f"{path} is too large", expected=f"at most {_MOST_CELLS:,} cells", got=f"{cells:,}"
        )


def _read(path: Path) -> pd.DataFrame:
    require("data", "reading a data set", "pandas", "pyarrow")
    from pyarrow import ArrowException, parquet

    if what_is_at(path) != "file":
        raise DataSetError(f"there is no file {path}".replace("\0", "\\0"))
    try:
        check_parquet_size(path)
        table = parquet.read_table(path, page_checksum_verification=True)
        metadata = json.loads((table.schema.metadata or {})[METADATA])
        version = metadata["format_version"]
        frame: pd.DataFrame = table.to_pandas()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ArrowException):
        raise DataSetError(
            f"{path} is not a data set of latprof",
            hint="latprof export --dataset makes one from a store",
        ) from None
    if version != FORMAT_VERSION:
        raise DataSetError(
            f"{path} is of another format than this latprof reads",
            expected=f"version {FORMAT_VERSION}",
            got=f"version {version}",
        )
    frame.attrs.update(metadata)
    return frame
