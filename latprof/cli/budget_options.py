"""``--fail-if`` and ``--allow-open``, and the lines that they print."""

from __future__ import annotations

from typing import Annotated

import typer

from latprof.cli.console import one_line, remark
from latprof.cli.formats import Form
from latprof.common.short_reprs import first_names
from latprof.measurement.budgets import BudgetResult

FailIf = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="Exit with status 1 unless this is shown not to hold: '> 5 ms' or 'p95 > 8 ms'. "
        "May be given several times.",
    ),
]
AllowOpen = Annotated[
    bool,
    typer.Option(
        "--allow-open", help="With --fail-if: an interval on both sides of the limit is no failure."
    ),
]

#: More failures than this are one line.
_MOST_LINES = 2


def print_verdicts(result: BudgetResult) -> None:
    """Print one line a verdict."""
    if result.verdicts:
        typer.echo("")
    for verdict in result.verdicts:
        typer.echo(one_line(verdict.describe()))


def say_failed(result: BudgetResult, form: Form) -> None:
    """Say on stderr which budgets fail where stdout is for programs, in at most two lines."""
    if form in {Form.TABLE, Form.MD}:
        return
    failed = result.failed
    if len(failed) > _MOST_LINES:
        names = first_names([*dict.fromkeys(verdict.name for verdict in failed)])
        remark(f"{len(failed)} of {len(result.verdicts)} budgets are not kept: {names}")
        return
    for verdict in failed:
        remark(verdict.describe())


def finish_within(result: BudgetResult, otherwise: int) -> None:
    """Leave with the worse of the budgets' exit status and another: a finding comes first."""
    status = min(filter(None, (result.exit_status, otherwise)), default=0)
    if status:
        raise typer.Exit(status)
