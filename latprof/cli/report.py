"""``latprof report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import StoredTargetName, StoreFile, note


def report(
    store: StoreFile,
    pack: Annotated[
        Path | None,
        typer.Option("--pack", metavar="PACK", help="A pack made by train, to show how it does."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write every plot as a picture.")
    ] = None,
    target: StoredTargetName = None,
) -> None:
    """Write one page that shows the measurements, the predictions, and how far to trust them.

    The page is a single file, needs no network and follows the reader's light or dark setting.
    """
    from latprof.measurement.store import Store
    from latprof.predictors.pack import load_pack
    from latprof.reports import write_html, write_pngs
    from latprof.reports.from_store import report_data

    loaded = None if pack is None else load_pack(pack)
    with Store.open(store) as opened:
        data = report_data(opened, opened.only_target(target), loaded)
    write_html(data, output)
    note(f"report written to {output}")
    if png is not None:
        for path in write_pngs(data, png):
            typer.echo(path)
