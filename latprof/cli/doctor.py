"""``latprof doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.commands import finish
from latprof.cli.console import Json, complete_target, note, one_line
from latprof.cli.formats import Form, Format, form_of, print_as

if TYPE_CHECKING:
    from latprof.workflows.doctor import DoctorResult

_COLORS = {"OK": typer.colors.GREEN, "WARN": typer.colors.YELLOW, "FAIL": typer.colors.RED}


def doctor(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[STORE|TARGET|adb:SERIAL]",
            help="A store, every row of which is checked in place of the host; a target of "
            "{targets}, whose runtime is tried first; or a phone.",
            autocompletion=complete_target,
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
    form: Format = Form.TABLE,
) -> None:
    """Find what spoils timings on this host or a phone, or what a target or a store lacks.

    Every line is OK, WARN (timings are noisier than need be) or FAIL (do not trust them); exit
    status 1 when any is FAIL.
    """
    from latprof.workflows.doctor import doctor as run
    from latprof.workflows.doctor import is_target

    form = form_of(form, as_json=as_json)
    if subject is not None and is_target(subject):
        result = run(target=subject, repair=repair, record=record)
    else:
        result = run(subject, repair=repair, record=record)
    print_as(form, result.to_dict(), lambda: _print(result))
    if record is not None:
        note(
            f"{record} has what the phone says of its model, Android version, cores, clocks, heat, "
            "battery, memory, space and load; no serial, accounts, apps or files"
        )
    finish(result)


def _print(result: DoctorResult) -> None:
    width = max(len(check.name) for check in result.checks)
    for check in result.checks:
        typer.secho(f"{check.status:4}", fg=_COLORS[check.status], nl=False)
        typer.echo(f"  {check.name:{width}}  {one_line(check.finding)}")
        if check.status != "OK" and check.remedy:
            typer.echo(f"{'':{width + 8}}-> {check.remedy}")
