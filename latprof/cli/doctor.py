"""``latprof doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latprof.cli.commands import finish
from latprof.cli.console import Json, note, one_line, print_json

_COLORS = {"OK": typer.colors.GREEN, "WARN": typer.colors.YELLOW, "FAIL": typer.colors.RED}


def doctor(
    store: Annotated[
        str | None,
        typer.Argument(
            metavar="[STORE|adb:SERIAL]",
            help="A store to check, every row of it, in place of the host; or a phone.",
        ),
    ] = None,
    repair: Annotated[
        Path | None,
        typer.Option(help="Save all that is whole in the store into this new file."),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="PHONE.zip", help="Write the phone's raw answers, without its serial."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find what spoils timings on this host or on a phone, or what is damaged in a store.

    Every line is OK, WARN (timings are noisier than need be) or FAIL (do not trust them); exit
    status 1 when any is FAIL.
    """
    from latprof.workflows.doctor import doctor as run

    result = run(store, repair=repair, record=record)
    if as_json:
        print_json(result.to_dict())
    else:
        width = max(len(check.name) for check in result.checks)
        for check in result.checks:
            typer.secho(f"{check.status:4}", fg=_COLORS[check.status], nl=False)
            typer.echo(f"  {check.name:{width}}  {one_line(check.finding)}")
            if check.status != "OK" and check.remedy:
                typer.echo(f"{'':{width + 8}}-> {check.remedy}")
    if record is not None:
        note(
            f"{record} has what the phone says of its model, Android version, cores, clocks, heat, "
            "battery, memory, space and load; no serial, accounts, apps or files"
        )
    finish(result)
