"""What ``latprof search`` tells and writes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from latprof.cli.console import milliseconds, note, print_table

if TYPE_CHECKING:
    from pathlib import Path

    from latprof.searchers.base import Evaluation
    from latprof.searchers.keeping import Kept
    from latprof.searchers.request import SearchRequest
    from latprof.searchers.studies.cross_target import CrossTarget
    from latprof.searchers.verification import Verification


@dataclass(frozen=True, eq=False)
class Outcome:
    """A search that is done, and what was measured after it."""

    request: SearchRequest
    kept: Kept
    verification: Verification | None = None
    cross_target: CrossTarget | None = None

    @property
    def best(self) -> Evaluation | None:
        """The network found."""
        return self.kept.found.best


def check_outputs(page: Path | None, model: Path | None, pictures: Path | None) -> None:
    """Raise OutputPathError for what cannot be written, before the search."""
    from latprof.common.files import check_output

    for path in (page, model):
        if path is not None:
            check_output(path)
    if pictures is not None:
        check_output(pictures, directory=True)


def write_outcome(
    outcome: Outcome, *, page: Path | None, pictures: Path | None, model: Path | None
) -> None:
    """Write the files that were asked for."""
    best, space = outcome.best, outcome.request.latencies.space
    if model is not None and best is not None:
        from latprof.common.files import write_atomically

        target = outcome.request.latencies.target
        batch_size = 1 if target is None else target.batch_size
        write_atomically(model, space.onnx_bytes(best.architecture, batch_size=batch_size))
        note(f"network written to {model}, with random weights")
    if page is None and pictures is None:
        return
    from latprof.reports.rendering.page import write_pictures, write_report
    from latprof.reports.search_report import build_search_report

    report = build_search_report(_report_data(outcome))
    if page is not None:
        write_report(report, page)
        note(f"report written to {page}")
    if pictures is not None:
        for path in write_pictures(report, pictures):
            note(f"picture written to {path}")


def _report_data(outcome: Outcome) -> Any:
    from latprof.reports.search_data import SearchReportData

    request = outcome.request
    return SearchReportData(
        request.method,
        request.problem,
        outcome.kept.found,
        request.seed,
        request.latencies.name,
        request.accuracy_name,
        request.latencies.target,
        request.gradient,
        outcome.verification,
        outcome.cross_target,
    )


def values_of(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain JSON values."""
    request, kept, best = outcome.request, outcome.kept, outcome.best
    space = request.latencies.space
    found = None
    if best is not None:
        found = {
            "architecture": str(best.architecture),
            "accuracy": best.accuracy,
            "latency_ms": best.latency_ms,
            "bound_ms": best.bound_ms,
            "macs": space.macs(best.architecture),
            "parameters": space.parameters(best.architecture),
        }
    limit, target, table = request.limit_ms, request.latencies.target, outcome.cross_target
    return {
        "method": request.method,
        "space": space.name,
        "latency": request.latencies.name,
        "target": None if target is None else target.to_dict(),
        "accuracy": request.accuracy_name,
        "limit_ms": None if math.isinf(limit) else limit,
        "upper": request.problem.upper,
        "seed": request.seed,
        "search": kept.number,
        "steps": len(kept.found.trail),
        "steps_resumed": kept.resumed,
        "best": found,
        "verification": None if outcome.verification is None else outcome.verification.to_dict(),
        "cross_target": None if table is None else table.to_dict(),
    }


def print_outcome(outcome: Outcome) -> None:
    """Print the outcome for people."""
    request, kept, best = outcome.request, outcome.kept, outcome.best
    noun = "epochs" if request.gradient else "networks evaluated"
    again = f" ({kept.resumed} of them found done)" if kept.resumed else ""
    typer.echo(f"searched    {len(kept.found.trail)} {noun}{again}, search {kept.number}")
    if best is None:
        typer.echo(
            "found       nothing: no network that was evaluated keeps the limit; a larger --budget "
            "goes on from here"
        )
        return
    typer.echo(f"found       {best.architecture}")
    typer.echo(f"accuracy    {best.accuracy:.2f} ({request.accuracy_name})")
    bound = ""
    if request.problem.upper is not None:
        bound = f", {100 * request.problem.upper:g}% stay below {milliseconds(best.bound_ms)} ms"
    typer.echo(f"predicted   {milliseconds(best.latency_ms)} ms{bound}")
    if math.isfinite(request.limit_ms):
        typer.echo(f"limit       {milliseconds(request.limit_ms)} ms")
    if outcome.verification is not None:
        _print_verification(outcome.verification)
    if outcome.cross_target is not None:
        _print_cross_target(outcome.cross_target)
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


def _print_cross_target(found: CrossTarget) -> None:
    typer.echo(f"\nEach target's own network on all, {found.source}, ms:")
    print_table(
        ("searched for", "accuracy", *(f"on {target}" for target in found.targets)),
        [
            (target, f"{found.accuracy[i]:.2f}", *(milliseconds(v) for v in found.latency_ms[i]))
            for i, target in enumerate(found.targets)
        ],
    )
