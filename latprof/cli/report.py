"""``latprof report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import Json, OwnSpace, StoredTargetName, complete_pack, note
from latprof.cli.formats import Form, Format, form_of, print_as


def report(
    stores: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE", help="A store: a file or a database URL; several with --side-by-side."
        ),
    ],
    pack: Annotated[
        str | None,
        typer.Option(
            "--pack",
            metavar="PACK",
            help="A pack made by train, to show its predictions beside the measurements.",
            autocompletion=complete_pack,
        ),
    ] = None,
    space: OwnSpace = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write every plot as a picture.")
    ] = None,
    target: StoredTargetName = None,
    side_by_side: Annotated[
        bool,
        typer.Option(
            "--side-by-side", help="Compare all targets of the stores on the networks they share."
        ),
    ] = False,
    static: Annotated[
        bool,
        typer.Option("--static", help="Pictures in place of interactive plots: a small page."),
    ] = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Write one page that shows the measurements, the predictions, and how far to trust them.

    The page is a single file, needs no network and follows the reader's light or dark setting.
    """
    from latprof.workflows.report import report as run

    form = form_of(form, as_json=as_json)
    result = run(
        stores,
        output,
        pack=pack,
        space=space,
        png=png,
        target=target,
        side_by_side=side_by_side,
        static=static,
    )
    note(f"report written to {result.page}")

    def for_people() -> None:
        for path in result.pictures:
            typer.echo(path)

    print_as(form, result.to_dict(), for_people)
