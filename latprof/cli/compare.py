"""``latprof compare``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.budget_options import AllowOpen, print_verdicts, say_failed
from latprof.cli.commands import finish
from latprof.cli.console import (
    Inputs,
    Json,
    OwnSpace,
    Quiet,
    Shapes,
    complete_target,
    note,
    one_line,
    parse_duration,
    parse_inputs,
    parse_shapes,
    parse_share,
    print_table,
    remark,
    remark_on_visits,
)
from latprof.cli.formats import Form, Format, form_of, print_as, print_junit
from latprof.cli.progress import visits_display
from latprof.cli.run_options import (
    BatchSize,
    Cores,
    Dtype,
    Mode,
    RequireQuiet,
    Threads,
    Timeout,
    TuneTrials,
    WaitQuiet,
    parse_cores,
)
from latprof.errors import NotEnoughDataError
from latprof.workflows.formatting import milliseconds

if TYPE_CHECKING:
    from latprof.measurement.comparison import Comparison
    from latprof.workflows.compare_result import CompareResult
    from latprof.workflows.kernel_pairs import KernelPair


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model, an architecture, or a store.")],
    b: Annotated[str | None, typer.Argument(metavar="[B]", help="What to compare it with.")] = None,
    against: Annotated[
        str,
        typer.Option(
            metavar="REVISION",
            help="With a store alone: compare the models of this commit with those that the store "
            "has of a branch, a tag or a commit.",
        ),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(
            help="What to measure on (cpu:onnxruntime where not given), or which of the stores' "
            "targets.",
            autocompletion=complete_target,
        ),
    ] = None,
    space: OwnSpace = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with status 1 unless this is shown not to hold: 'slower > 3 %' or, of B, "
            "'> 5 ms'. May be given several times.",
        ),
    ] = None,
    allow_open: AllowOpen = False,
    alpha: Annotated[float, typer.Option(help="Rate of false verdicts that is accepted.")] = 0.05,
    processes: Annotated[int, typer.Option(help="Measuring processes, for two networks.")] = 8,
    visits: Annotated[int, typer.Option(help="Visits to each network in each process.")] = 3,
    half_width: Annotated[
        str,
        typer.Option(
            metavar="1%",
            help="Confidence half-width, for two networks: start as many processes again until "
            "half of the effect's 90 % interval is this narrow.",
        ),
    ] = "",
    max_processes: Annotated[
        int, typer.Option(help="With --half-width: most measuring processes.")
    ] = 32,
    threads: Threads = 1,
    cores: Cores = "",
    batch_size: BatchSize = 1,
    dtype: Dtype = "",
    mode: Mode = "",
    tune_trials: TuneTrials = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="A field of two stores' targets that may differ."),
    ] = None,
    operators: Annotated[
        bool,
        typer.Option("--operators", help="Also the kernels of two networks, side by side."),
    ] = False,
    timeout_s: Timeout = 300.0,
    wait_quiet: WaitQuiet = "",
    require_quiet: RequireQuiet = False,
    quiet: Quiet = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Say whether B is faster or slower than A, or that there is no evidence of either.

    Two networks are measured now, in turn, in fresh processes. Two stores are compared network by
    network, and all verdicts together keep the error rate (Holm's correction); what was different
    when they were filled is listed: device, build, library, cores, clocks, temperatures.
    """
    from latprof.workflows.compare import compare as run

    form = form_of(form, as_json=as_json, budgets=fail_if or ())
    with visits_display(quiet=quiet) as show:
        result = run(
            a,
            b,
            against=against,
            space=space,
            target=target,
            fail_if=fail_if,
            allow_open=allow_open,
            alpha=alpha,
            processes=processes,
            visits=visits,
            half_width=parse_share(half_width, "half_width") if half_width else None,
            max_processes=max_processes,
            timeout_s=timeout_s,
            wait_quiet_s=parse_duration(wait_quiet, "wait_quiet") if wait_quiet else None,
            require_quiet=require_quiet,
            shapes=parse_shapes(shapes),
            inputs=parse_inputs(inputs),
            ignore=ignore or (),
            operators=operators,
            on_progress=show,
            on_note=remark,
            threads=threads,
            cores=parse_cores(cores),
            batch_size=batch_size,
            dtype=dtype,
            mode=mode,
            tune_trials=tune_trials,
        )
    print_as(form, result.to_dict(), lambda: _print_all(result))
    if form is Form.JUNIT:
        gone = NotEnoughDataError(f"no usable visits in {b or 'this revision'}")
        print_junit("compare", result.budgets, dict.fromkeys(result.missing, gone))
    say_failed(result.budgets, form)
    for comparison in result.comparisons:
        remark_on_visits(comparison.visits)
    if result.missing:
        names = ", ".join(result.missing[:5]) + (", ..." if len(result.missing) > 5 else "")
        where = b or "this revision"
        remark(f"{len(result.missing)} networks of {a} have no usable visits in {where}: {names}")
    finish(result)


def _print_all(result: CompareResult) -> None:
    _print_measured(result)
    _print(result.comparisons)
    for name, reason in result.costs_unknown.items():
        typer.echo(f"costs of {one_line(name)} are not known: {one_line(reason)}")
    if result.kernels:
        _print_kernels(result.kernels)
    if result.without_kernels:
        typer.echo(f"kernels are not known: {one_line(result.without_kernels)}")
    if result.conditions:
        typer.echo("")
        print_table(
            ("condition that differs", "A", "B"),
            [(each.name, each.a, each.b) for each in result.conditions],
            left=3,
        )
    print_verdicts(result.budgets)


def _print_kernels(pairs: Sequence[KernelPair]) -> None:
    typer.echo("")
    print_table(
        ("kernel of A", "kernel of B", "kind", "A ms", "B ms", "difference"),
        [
            (
                "-" if pair.a is None else pair.a.name,
                "-" if pair.b is None else pair.b.name,
                " / ".join(dict.fromkeys(k.kind for k in (pair.a, pair.b) if k is not None)),
                "" if pair.a is None else milliseconds(pair.a.latency_ms, 4),
                "" if pair.b is None else milliseconds(pair.b.latency_ms, 4),
                f"{pair.difference_ms:+.4f}",
            )
            for pair in pairs
        ],
        left=3,
    )
    a = sum(pair.a.latency_ms for pair in pairs if pair.a is not None)
    b = sum(pair.b.latency_ms for pair in pairs if pair.b is not None)
    typer.echo(
        f"all kernels: A {milliseconds(a, 4)} ms, B {milliseconds(b, 4)} ms ({b - a:+.4f} ms)"
    )


def _print_measured(result: CompareResult) -> None:
    """What was measured on what, and how quiet the host was."""
    for word, target in zip(("target", "target of B"), dict.fromkeys(result.targets), strict=False):
        typer.echo(f"{word:13}{target.describe()}")
    if result.constant is not None:
        reference_ms = milliseconds(result.constant.reference_ms)
        described = result.constant.describe()
        typer.echo(f"reference    {result.reference}, {reference_ms} ms, {described}")
    if result.host is not None:
        typer.echo(f"host         {result.host.describe()}")
    for each in result.comparisons:
        if each.visits is not None:
            typer.echo(f"visits       {each.visits.describe()}")
    typer.echo()


def _print(found: Sequence[Comparison]) -> None:
    print_table(
        ("network", "A ms", "B ms", "verdict", "effect", "interval", "p", "corrected p"),
        [
            (
                c.name,
                "" if c.a is None else c.a.describe(),
                "" if c.b is None else c.b.describe(),
                c.verdict,
                f"{c.effect:+.2%}",
                f"{c.low:+.2%} to {c.high:+.2%}",
                f"{c.p_value:.2g}",
                f"{c.adjusted_p_value:.2g}",
            )
            for c in found
        ],
        left=2,
    )
    counts = {verdict: sum(c.verdict == verdict for c in found) for verdict in ("faster", "slower")}
    if len(found) > 1:
        note(
            f"{len(found)} networks: {counts['faster']} faster, {counts['slower']} slower, "
            f"{len(found) - sum(counts.values())} without evidence"
        )
