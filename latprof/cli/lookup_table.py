"""``latprof lookup-table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import OwnSpace, complete_pack, note, remark


def complete_format() -> list[str]:
    """Names of the formats, for shell completion."""
    from latprof.workflows.lookup_table import FORMATS

    return list(FORMATS)


def lookup_table(
    pack: Annotated[
        str,
        typer.Argument(
            metavar="PACK",
            help="A pack made by train, or the name of one that comes with latprof.",
            autocompletion=complete_pack,
        ),
    ],
    table_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="yaml or json: latprof's plain format, for any search space. proxyless: YAML of "
            "ProxylessNAS and Once-for-All, for their spaces and the default there. single-path: "
            "JSON of Single-Path NAS, for ProxylessNAS's.",
            autocompletion=complete_format,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
    space: OwnSpace = None,
) -> None:
    """Write a pack's lookup table: in a plain format, or in one that other search codes read.

    How far sums of the table are from the pack's predictions is printed on stderr, with the
    remaining caveats.

    For example:

    `latprof lookup-table cpu.pack --format yaml --output table.yaml`
    """
    from latprof.workflows.lookup_table import lookup_table as run

    result = run(pack, table_format, output, space=space)
    for each in result.notes:
        remark(each)
    if result.path is None:
        typer.echo(result.text, nl=False)
    else:
        note(f"{result.path} written")
