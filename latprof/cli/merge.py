"""``latprof merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import Json, remark
from latprof.cli.formats import Form, Format, form_of, print_as


def merge(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE...", help="Stores: files or database URLs.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STORE", help="The new store: a file.")
    ],
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Join the stores of several hosts into a new one, each visit once.

    The stores themselves are only read. Visits that two of them share, since one was copied from
    the other, are there once. Numbers of different targets stay apart, as in every store.
    """
    from latprof.workflows.merge import merge as run

    form = form_of(form, as_json=as_json)
    result = run(stores, output)
    for each in result.notes:
        remark(each)
    twice = f", {result.visits_in_several} of them in several" if result.visits_in_several else ""
    line = (
        f"{result.path}: {result.visits} visits{twice} from {result.stores} stores, "
        f"{result.networks} networks on {result.targets} target{'s' if result.targets != 1 else ''}"
    )
    print_as(form, result.to_dict(), lambda: typer.echo(line))
