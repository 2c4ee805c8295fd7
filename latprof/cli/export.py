"""``latprof export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import StoredTargetName, StoreFile, note
from latprof.errors import InputFileError, UsageError


def export(
    store: StoreFile,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Parquet file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a CSV file.")] = None,
    visits: Annotated[
        bool, typer.Option("--visits", help="One row a visit, in place of one a network.")
    ] = False,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="NAME.parquet",
            help="Write a data set for others: this file, its visits, kernels and datasheet.",
        ),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Of the data set, for its datasheet.")
    ] = "not stated",
    notes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Known defects of the data set, as Markdown."),
    ] = None,
    target: StoredTargetName = None,
) -> None:
    """Write a store's measurements as a table: one row a network, or one a visit.

    The target's identity is in the Parquet file's metadata and in the CSV's `target` column.
    With `--dataset`, what `latprof.datasets.load` reads: a table with a split into `train` and
    `test`, the visits and kernels behind it, and a datasheet.
    """
    from latprof.datasets.published.publishing import publish
    from latprof.measurement.export import export_table, write_csv, write_parquet
    from latprof.measurement.store.store import Store

    if parquet is None and csv is None and dataset is None:
        raise UsageError(
            "nowhere to write to", hint="give --parquet FILE, --csv FILE or --dataset NAME.parquet"
        )
    with Store.open(store) as opened:
        stored = opened.only_target(target)
        if dataset is not None:
            text = _text(notes) if notes else ""
            for written in publish(opened, stored, dataset, licence=licence, notes=text):
                note(f"{written} written")
        if parquet is None and csv is None:
            return
        table = export_table(opened, stored, visits=visits)
    for path, write in ((parquet, write_parquet), (csv, write_csv)):
        if path is not None:
            write(table, path)
            note(f"{len(table)} rows written to {path}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read as text: {error}") from None
