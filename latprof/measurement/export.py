"""Tables for other programs: Parquet and CSV."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from latprof.common.files import write_atomically
from latprof.measurement.frames import labels_frame, stopped_by, visits_frame

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from latprof.measurement.store.store import Store, StoredTarget


def export_table(store: Store, stored: StoredTarget, *, visits: bool = False) -> pd.DataFrame:
    """One row a network and label (or a visit), with the target's identity in ``attrs``.

    Columns are those of :func:`latprof.measurement.frames.labels_frame` and ``stopped_by`` (or
    those of ``visits_frame``), and ``target``, the description in words.
    """
    reference_ms = stored.reference_ms or store.provisional_reference_ms(stored.target)
    table = visits_frame(store, stored.target)
    if not visits:
        found = table
        table = labels_frame(found, reference_ms)
        table["stopped_by"] = stopped_by(table, found, store, stored.target)
    table["target"] = stored.target.describe()
    table.attrs = {
        "latprof.target": stored.target.key,
        "latprof.reference": stored.reference,
        "latprof.reference_ms": reference_ms,
        "latprof.reference_frozen": stored.reference_ms is not None,
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
