"""``--fail-if`` and ``--allow-open``, and the lines that they print."""

from __future__ import annotations

from typing import Annotated

import typer

from latprof.cli.console import one_line
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


def print_verdicts(result: BudgetResult) -> None:
    """Print one line a verdict."""
    if result.verdicts:
        typer.echo("")
    for verdict in result.verdicts:
        typer.echo(one_line(verdict.describe()))


def finish_within(result: BudgetResult, otherwise: int) -> None:
    """Leave with the worse of the budgets' exit status and another: a finding comes first."""
    status = min(filter(None, (result.exit_status, otherwise)), default=0)
    if status:
        raise typer.Exit(status)
