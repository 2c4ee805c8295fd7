"""A store's measurements as tables for other programs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.common.files import check_output, what_is_at, write_atomically
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InputFileError, UsageError
from latprof.workflows.arguments import OnNote, PathLike, StoreLike, open_store
from latprof.workflows.formatting import no_formula
from latprof.workflows.import_runs import write_runs

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.labels import TargetLabels


@dataclass(frozen=True, repr=False)
class ExportResult(ShortRepr):
    """The files that were written.

    Parameters
    ----------
    tables : tuple of Path
        The Parquet and the CSV file.
    rows : int
        Of each table; 0 where there is none.
    dataset : tuple of Path
        The files of the data set.
    runs : tuple of Path
        The files of runs for other programs.
    """

    tables: tuple[Path, ...] = ()
    rows: int = 0
    dataset: tuple[Path, ...] = ()
    runs: tuple[Path, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the paths as plain JSON values."""
        return {
            "tables": [str(path) for path in self.tables],
            "rows": self.rows,
            "dataset": [str(path) for path in self.dataset],
            "runs": [str(path) for path in self.runs],
        }


@needs("data")
def export(
    store: StoreLike,
    *,
    parquet: PathLike | None = None,
    csv: PathLike | None = None,
    visits: bool = False,
    dataset: PathLike | None = None,
    licence: str = "not stated",
    notes: PathLike | None = None,
    pyperf: PathLike | None = None,
    pytest_benchmark: PathLike | None = None,
    target: str | None = None,
    on_note: OnNote | None = None,
) -> ExportResult:
    """Write a store's measurements as a table: one row a network, or one a visit.

    The target's identity is in the Parquet file's metadata and in the CSV's ``target`` column.
    With ``dataset``, what :func:`latprof.load_dataset` reads: a table with a split into ``train``
    and ``test``, the visits and kernels behind it, and a datasheet. :func:`latprof.labels` gives
    the table of networks as a DataFrame.

    Parameters
    ----------
    store : path, URL or Store
    parquet, csv : path, optional
        The tables to write.
    visits : bool
        One row a visit, in place of one a network.
    dataset : path, optional
        The ``.parquet`` file of a data set for others.
    licence : str
        Of the data set, for its datasheet.
    notes : path, optional
        Known defects of the data set, as Markdown.
    pyperf, pytest_benchmark : path, optional
        JSON files for these programs: all counted runs by the clock, each visit as a process, with
        the label beside them.
    target : str, optional
        Which of the store's targets, where it holds several.
    on_note : callable, optional
        Called with remarks, such as which models are exported without their graphs.

    Raises
    ------
    UsageError
        Where there is nothing to write, and for ``notes`` or a licence without ``dataset``.
    OutputPathError, InputFileError
        For paths that cannot be written or read.
    """
    from latprof.datasets.published.publishing import publish
    from latprof.measurement.labels import TargetLabels

    files = (parquet, csv, dataset, pyperf, pytest_benchmark)
    if all(path is None for path in files):
        raise UsageError("there is nothing to write", hint="give `parquet`, `csv` or `dataset`")
    if notes is not None and dataset is None:
        raise UsageError("`notes` is for `dataset`", field="notes")
    for number, path in enumerate(files):
        if path is not None:
            check_output(path, others=(*files[:number], store, notes))
    published: list[Path] = []
    with open_store(store) as opened:
        measured = TargetLabels.of(opened, target)
        if dataset is not None:
            text = _text(Path(notes)) if notes else ""
            published = publish(measured, dataset, licence=licence, notes=text, on_note=on_note)
        runs = tuple(write_runs(measured, pyperf, pytest_benchmark))
        if parquet is None and csv is None:
            return ExportResult(dataset=tuple(published), runs=runs)
        table = _table(measured, visits=visits)
    written = []
    for given, write in ((parquet, _write_parquet), (csv, write_csv)):
        if given is not None:
            write(table, Path(given))
            written.append(Path(given))
    return ExportResult(tuple(written), len(table), tuple(published), runs)


def _text(path: Path) -> str:
    if what_is_at(path) == "special":
        raise InputFileError(f"{path} is a device or a pipe", field="notes", expected="a text file")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputFileError(
            f"{path} cannot be read as text: {reason}".replace("\0", "\\0"), field="notes"
        ) from None


def _table(measured: TargetLabels, *, visits: bool = False) -> pd.DataFrame:
    """One row a network and label (or a visit), with the target's identity in ``attrs``.

    Columns are those of ``measured.labels`` (or ``measured.visits``), ``target``, the description
    in words, and ``constant``, the version of the constant behind the milliseconds (0 before one is
    frozen).
    """
    table = measured.visits if visits else measured.labels
    table = table.assign(target=measured.target.describe(), constant=measured.constant.number)
    table.attrs = {
        "latprof.target": measured.target.key,
        "latprof.reference": measured.reference,
        "latprof.reference_ms": measured.reference_ms,
        "latprof.reference_frozen": measured.is_frozen,
        "latprof.constant": json.dumps(measured.constant.to_dict()),
    }
    return table


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table with its ``attrs`` as the file's metadata, all or nothing."""
    import pyarrow as pa
    from pyarrow import parquet

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {name: json.dumps(value) for name, value in table.attrs.items()}
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **metadata})
    buffer = io.BytesIO()
    parquet.write_table(arrow, buffer, compression="zstd")
    write_atomically(path, buffer.getvalue())


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with a header, UTF-8, all or nothing."""
    safe = table.copy()
    for name in table.select_dtypes(exclude=["number", "bool"]):
        safe[name] = table[name].map(no_formula)
    write_atomically(path, safe.to_csv(index=False).encode("utf-8", "backslashreplace"))
