"""``latprof doctor``."""

from __future__ import annotations

import dataclasses

import typer

from latprof.cli.console import Json, print_json
from latprof.errors import EXIT_FINDING

_COLORS = {"OK": typer.colors.GREEN, "WARN": typer.colors.YELLOW, "FAIL": typer.colors.RED}


def doctor(as_json: Json = False) -> None:
    """Find what spoils timings on this host, with the remedy for each finding.

    Every line is OK, WARN (timings are noisier than need be) or FAIL (do not trust them); exit
    status 1 when any is FAIL.
    """
    from latprof.profilers.host.facts import checks

    found = checks()
    if as_json:
        print_json([dataclasses.asdict(check) for check in found])
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            typer.secho(f"{check.status:4}", fg=_COLORS[check.status], nl=False)
            typer.echo(f"  {check.name:{width}}  {check.finding}")
            if check.status != "OK" and check.remedy:
                typer.echo(f"{'':{width + 8}}-> {check.remedy}")
    if any(check.status == "FAIL" for check in found):
        raise typer.Exit(EXIT_FINDING)
