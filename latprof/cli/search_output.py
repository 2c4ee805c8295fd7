"""What ``latprof search`` prints for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import typer

from latprof.cli.console import note, one_line, print_table, remark_on_visits
from latprof.reports.rendering.wording import score
from latprof.workflows.formatting import milliseconds

if TYPE_CHECKING:
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification
    from latprof.workflows.search_result import SearchResult


def print_result(result: SearchResult) -> None:
    """Print the result for people."""
    from latprof.searchers.accuracy.accuracy_sources import accuracy_noun

    request, run, best = result.request, result.run, result.best
    noun = "epochs" if request.gradient else "networks evaluated"
    again = f" ({run.resumed} already complete)" if run.resumed else ""
    typer.echo(f"searched    {len(run.found.trail)} {noun}{again}, search {run.number}")
    if best is None:
        typer.echo(
            "found       nothing: no evaluated network keeps the limit; rerun with a larger "
            "--budget to resume"
        )
        return
    typer.echo(f"found       {best.architecture}")
    noun = accuracy_noun(request.accuracy_name)
    typer.echo(f"{noun:11} {score(best.accuracy)} ({request.accuracy_name})")
    bound = ""
    if request.problem.upper is not None:
        share = f"p{100 * request.problem.upper:g}"
        bound = f", {share} upper bound {milliseconds(best.bound_ms)} ms"
    typer.echo(f"predicted   {milliseconds(best.latency_ms)} ms{bound}")
    if math.isfinite(request.limit_ms):
        typer.echo(f"limit       {milliseconds(request.limit_ms)} ms")
    if result.verification is not None:
        _print_verification(result.verification)
    if result.unmeasured is not None:
        failure = result.unmeasured
        typer.echo(f"measured    no: {one_line(failure.message)} [{failure.code}]")
    if result.cross_target is not None:
        _print_cross_target(result.cross_target, noun)
    if request.latencies.target is not None:
        note(f"for {request.latencies.target.describe()}")


def _print_verification(found: Verification) -> None:
    interval = f"90% interval {milliseconds(found.low_ms)} to {milliseconds(found.high_ms)}"
    gap = f", {100 * found.gap:+.2f}% of the prediction" if found.same_target else ""
    typer.echo(f"measured    {milliseconds(found.measured_ms)} ms, {interval}{gap}")
    if not found.same_target:
        note(f"measured on another target than predicted for: {found.measured_on.describe()}")
    elif math.isfinite(found.limit_ms):
        typer.echo(f"verdict     {'keeps the limit' if found.keeps_limit else 'BREAKS THE LIMIT'}")
    if found.host is not None:
        typer.echo(f"host        {found.host.describe()}")
    remark_on_visits(found.visits)


def _print_cross_target(found: CrossTarget, noun: str) -> None:
    typer.echo(f"\nEach target's own network on all, {found.source}, ms:")
    print_table(
        ("searched for", noun, *(f"on {target}" for target in found.targets)),
        [
            (target, score(found.accuracy[i]), *(milliseconds(v) for v in found.latency_ms[i]))
            for i, target in enumerate(found.targets)
        ],
    )
