"""``latprof import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import Json
from latprof.cli.formats import Form, Format, form_of, print_as

if TYPE_CHECKING:
    from latprof.workflows.import_runs import ImportResult


def import_runs(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.json",
            help="What pyperf -o wrote, or pytest --benchmark-json with --benchmark-save-data.",
        ),
    ],
    store: Annotated[
        str,
        typer.Option("--store", metavar="STORE", help="Where they go: a file or a database URL."),
    ] = "latprof.db",
    tag: Annotated[str, typer.Option(help="What this state of your sources is called.")] = "",
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Import timings that pyperf or pytest-benchmark made into a store.

    They are a target of their own there. `history`, `compare`, `export` and `report` read them.
    """
    from latprof.workflows.import_runs import import_runs as run

    form = form_of(form, as_json=as_json)
    result = run(path, store, tag=tag)
    print_as(form, result.to_dict(), lambda: _print(result))


def _print(result: ImportResult) -> None:
    typer.echo(f"target      {result.target.describe()}")
    already = f", {result.known} there already" if result.known else ""
    number, visits = len(result.benchmarks), result.visits
    typer.echo(
        f"imported    {number} benchmark{'s' * (number != 1)}, "
        f"{visits} process{'es' * (visits != 1)}{already}"
    )
