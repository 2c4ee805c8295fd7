"""``latprof export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import StoredTargetName, StoreFile, note
from latprof.errors import UsageError


def export(
    store: StoreFile,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Parquet file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a CSV file.")] = None,
    visits: Annotated[
        bool, typer.Option("--visits", help="One row a visit, in place of one a network.")
    ] = False,
    target: StoredTargetName = None,
) -> None:
    """Write a store's measurements as a table: one row a network, or one a visit.

    The target's identity is in the Parquet file's metadata and in the CSV's `target` column.
    """
    from latprof.measurement.export import export_table, write_csv, write_parquet
    from latprof.measurement.store import Store

    if parquet is None and csv is None:
        raise UsageError("nowhere to write to", hint="give --parquet FILE or --csv FILE")
    with Store.open(store) as opened:
        table = export_table(opened, opened.only_target(target), visits=visits)
    for path, write in ((parquet, write_parquet), (csv, write_csv)):
        if path is not None:
            write(table, path)
            note(f"{len(table)} rows written to {path}")
