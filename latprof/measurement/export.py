"""Tables for other programs: Parquet and CSV."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from latprof.common.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from latprof.measurement.labels import TargetLabels


def export_table(measured: TargetLabels, *, visits: bool = False) -> pd.DataFrame:
    """One row a network and label (or a visit), with the target's identity in ``attrs``.

    Columns are those of ``measured.labels`` (or ``measured.visits``) and ``target``, the
    description in words.
    """
    table = measured.visits if visits else measured.labels
    table = table.assign(target=measured.target.describe())
    table.attrs = {
        "latprof.target": measured.target.key,
        "latprof.reference": measured.reference,
        "latprof.reference_ms": measured.reference_ms,
        "latprof.reference_frozen": measured.is_frozen,
    }
    return table


def write_parquet(table: pd.DataFrame, path: Path) -> None:
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
    write_atomically(path, table.to_csv(index=False).encode())
