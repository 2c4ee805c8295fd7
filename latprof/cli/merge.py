"""``latprof merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import Json, print_json, remark


def merge(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE...", help="Stores: files or database URLs.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="STORE", help="The new store: a file.")
    ],
    as_json: Json = False,
) -> None:
    """Join the stores of several hosts into a new one, each visit once.

    The stores themselves are only read. Visits that two of them share, since one was copied from
    the other, are there once. Numbers of different targets stay apart, as in every store.
    """
    from latprof.workflows.merge import merge as run

    result = run(stores, output)
    for each in result.notes:
        remark(each)
    if as_json:
        print_json(result.to_dict())
        return
    twice = f", {result.visits_in_several} of them in several" if result.visits_in_several else ""
    typer.echo(
        f"{result.path}: {result.visits} visits{twice} from {result.stores} stores, "
        f"{result.networks} networks on {result.targets} target{'s' if result.targets != 1 else ''}"
    )
