"""``latprof export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import Json, StoredTargetName, StoreFile, note, remark
from latprof.cli.formats import Form, Format, form_of, print_as


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
    pyperf: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write all runs for pyperf.")
    ] = None,
    pytest_benchmark: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write all runs as pytest-benchmark does."),
    ] = None,
    target: StoredTargetName = None,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Write a store's measurements as a table: one row a network, or one a visit.

    The target's identity is in the Parquet file's metadata and in the CSV's `target` column.
    With `--dataset`, what `latprof.load_dataset` reads: a table with a split into `train` and
    `test`, the visits and kernels behind it, and a datasheet.
    """
    from latprof.workflows.export import export as run

    form = form_of(form, as_json=as_json)
    result = run(
        store,
        parquet=parquet,
        csv=csv,
        visits=visits,
        dataset=dataset,
        licence=licence,
        notes=notes,
        pyperf=pyperf,
        pytest_benchmark=pytest_benchmark,
        target=target,
        on_note=remark,
    )
    for path in (*result.dataset, *result.runs):
        note(f"{path} written")
    for path in result.tables:
        note(f"{result.rows} rows written to {path}")
    print_as(form, result.to_dict(), lambda: None)
