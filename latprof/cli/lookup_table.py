"""``latprof lookup-table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.console import complete_pack, note, remark


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
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="proxyless: YAML of ProxylessNAS and Once-for-All. single-path: JSON of "
            "Single-Path NAS.",
            autocompletion=complete_format,
        ),
    ] = "proxyless",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
) -> None:
    """Write a pack's lookup table in the format that other search codes read.

    The space is ProxylessNAS's or, for `proxyless`, Once-for-All's MobileNetV3. How far sums of the
    table are from the pack's predictions is printed on stderr, with the remaining caveats.

    For example:

    `latprof lookup-table cpu.pack --format proxyless --output table.yaml`
    """
    from latprof.workflows.lookup_table import lookup_table as run

    result = run(pack, table_format, output)
    for each in result.notes:
        remark(each)
    if result.path is None:
        typer.echo(result.text, nl=False)
    else:
        note(f"{result.path} written")
