"""``latprof history``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.commands import finish
from latprof.cli.console import (
    Json,
    StoredTargetName,
    is_markdown,
    note,
    one_line,
    print_table,
    remark,
)
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.common.limits import whole
from latprof.errors import UsageError
from latprof.workflows.formatting import interval, milliseconds

if TYPE_CHECKING:
    from latprof.workflows.bisection import BisectionResult, BisectionStep
    from latprof.workflows.history import HistoryPoint, HistoryResult

_COUNT = whole(1, 10_000)
#: Characters of the drawing.
_WIDTH = 24


def history(
    store: Annotated[
        str | None,
        typer.Argument(metavar="[STORE]", help="A store: a file or a URL; not with --bisect."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NAME",
            help="The model, by the name that it was measured under or the end of it; with "
            "--bisect its path in the repository.",
        ),
    ] = "",
    bisect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GOOD BAD...",
            help="Find the first commit after GOOD, up to BAD, at which the latency changed.",
        ),
    ] = None,
    run: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="With --bisect: makes the model of the commit that is checked out; run without a "
            "shell.",
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.png|.svg|.pdf", help="Draw the history into this file."
        ),
    ] = None,
    target: StoredTargetName = None,
    alpha: Annotated[float, typer.Option(help="Rate of false verdicts that is accepted.")] = 0.05,
    processes: Annotated[
        int, typer.Option(help="With --bisect: measuring processes of each comparison.")
    ] = 8,
    visits: Annotated[
        int, typer.Option(help="With --bisect: visits to each model in each process.")
    ] = 3,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Show a model's latency over the commits of its sources, and mark significant changes.

    `latprof collect` stores the commit and branch of the folder that it runs in, and `--tag`.

    With `--bisect` no store is needed: commits are checked out into temporary working trees, built,
    and measured against GOOD, besides both ends at most log2(n) of n.

    For example:

    `latprof history lat.db --model model.onnx`

    `latprof history --model model.onnx --bisect v1.0 main --run 'make model'`
    """
    from latprof.measurement.comparison import check_alpha

    form = form_of(form, as_json=as_json)
    check_alpha(alpha)
    for name, value in (("processes", processes), ("visits", visits)):
        _COUNT.check(name, value)
    if not model:
        raise UsageError("`model` is missing", field="model")
    if bisect is not None or run:
        if bisect is None or len(bisect) != 2 or not run:
            raise UsageError("`bisect` takes two commits, and `run`", field="bisect")
        if store is not None or output is not None:
            raise UsageError("`bisect` takes neither a store nor `output`", field="bisect")
        _bisect(bisect, run, model, target, (alpha, processes, visits), form)
        return
    if store is None:
        raise UsageError("`store` is missing", field="store", expected="a store, or --bisect")
    from latprof.workflows.history import history as read

    result = read(store, model, target=target, alpha=alpha, output=output)
    print_as(form, result.to_dict(), lambda: _print(result), rows="points")
    if result.picture is not None:
        note(f"{result.picture} written")


def _print(result: HistoryResult) -> None:
    typer.echo(f"model   {one_line(result.model)}")
    typer.echo(f"target  {result.target.describe()}\n")
    points = result.points
    known = [p for p in points if not math.isnan(p.latency_ms)]
    least = min((_low(p) for p in known), default=0.0)
    most = max((_high(p) for p in known), default=0.0)
    drawn = not is_markdown()
    print_table(
        ("date", "commit", *([""] if drawn else []), "ms", "90% interval", "change"),
        [
            (
                point.date,
                point.revision.describe(),
                *([_drawn(point, least, most)] if drawn else []),
                milliseconds(point.latency_ms) if point in known else "n/a",
                interval(point.low_ms, point.high_ms),
                _change(point, first=place == 0),
            )
            for place, point in enumerate(points)
        ],
        left=3 if drawn else 2,
    )
    marked = sum(point.is_significant for point in points)
    typer.echo(f"\n{marked} significant change{'s' if marked != 1 else ''} (marked !)")


def _low(point: HistoryPoint) -> float:
    return point.latency_ms if math.isnan(point.low_ms) else point.low_ms


def _high(point: HistoryPoint) -> float:
    return point.latency_ms if math.isnan(point.high_ms) else point.high_ms


def _drawn(point: HistoryPoint, least: float, most: float) -> str:
    """The interval as ``[--o--]`` on a line from the least latency to the greatest."""
    if math.isnan(point.latency_ms):
        return ""
    scale = (_WIDTH - 1) / (most - least) if most > least else 0.0

    def place(value: float) -> int:
        return min(max(round((value - least) * scale), 0), _WIDTH - 1)

    line = [" "] * _WIDTH
    if not math.isnan(point.low_ms):
        low, high = place(point.low_ms), place(point.high_ms)
        line[low : high + 1] = "-" * (high + 1 - low)
        line[low], line[high] = "[", "]"
    line[place(point.latency_ms)] = "o"
    return "".join(line)


def _change(point: HistoryPoint, *, first: bool) -> str:
    change = point.change
    if change is None:
        return "" if first else "same file" if point.same_file else "n/a (needs 2 processes)"
    mark = "! " if point.is_significant else ""
    return f"{mark}{change.effect:+.1%} ({change.low:+.1%} to {change.high:+.1%})"


def _bisect(
    ends: list[str],
    run: str,
    model: str,
    target: str | None,
    effort: tuple[float, int, int],
    form: Form,
) -> None:
    from latprof.workflows.bisection import bisect

    alpha, processes, visits = effort
    result = bisect(
        ends[0],
        ends[1],
        run,
        model,
        target=target,
        alpha=alpha,
        processes=processes,
        visits=visits,
        on_step=lambda step: note(f"{step.commit[:10]}: {_side(step)}"),
        on_note=remark,
    )
    print_as(form, result.to_dict(), lambda: _print_bisection(result), rows="steps")
    finish(result)


def _side(step: BisectionStep) -> str:
    if step.changed is None:
        return f"not built: {step.failure}"
    return "after the change" if step.changed else "before the change"


def _print_bisection(result: BisectionResult) -> None:
    ends = result.ends
    if ends is None:
        typer.echo("both ends have the same file")
        return
    typer.echo(
        f"{result.bad[:10]} against {result.good[:10]}: {ends.verdict}, {ends.effect:+.2%} "
        f"({ends.low:+.2%} to {ends.high:+.2%})\n"
    )
    print_table(
        ("commit", "against the good one", "side"),
        [
            (
                step.commit[:10],
                "same file as another" if step.comparison is None else _effect(step),
                _side(step),
            )
            for step in result.steps
        ],
        left=3,
    )
    typer.echo(f"\n{result.measured} of {result.between} commits measured, besides the ends")
    if result.first:
        typer.echo(f"first changed commit: {result.first}")
    elif result.candidates:
        names = ", ".join(commit[:10] for commit in result.candidates)
        typer.echo(f"one of these, which could not all be built: {names}")
    else:
        typer.echo("no significant difference between the ends")


def _effect(step: BisectionStep) -> str:
    found = step.comparison
    assert found is not None
    return f"{found.effect:+.2%} ({found.low:+.2%} to {found.high:+.2%})"
