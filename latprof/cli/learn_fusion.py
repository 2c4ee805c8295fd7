"""``latprof fusion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.commands import finish, resumable
from latprof.cli.console import Json, Quiet, note, print_table, remark
from latprof.cli.formats import Form, Format, form_of, print_as
from latprof.cli.run_options import (
    Cores,
    Dtype,
    Mode,
    Target,
    Threads,
    Timeout,
    parse_cores,
)
from latprof.workflows.formatting import milliseconds

if TYPE_CHECKING:
    from latprof.workflows.learn_fusion import FusionResult


def fusion(
    target: Target = "cpu:onnxruntime",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The rules' file; in the user's data folder if not given.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            metavar="NAME...",
            help="Networks of the zoo on which the rules are compared with what ran: three small "
            "ones if not given.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="STORE", help="Keep the measurements there, to resume from."
        ),
    ] = None,
    visits: Annotated[int, typer.Option(help="Fresh loads of each model.")] = 2,
    threads: Threads = 1,
    cores: Cores = "",
    dtype: Dtype = "",
    mode: Mode = "",
    timeout_s: Timeout = 300.0,
    quiet: Quiet = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Find out which operators a runtime runs as one kernel.

    Pairs and chains of operators are timed without their last one, that alone, and together. The
    kernels that the runtime reports decide; where it reports none, a chain is fused that saves at
    least half of its shorter part. The rules are written to a file, and compared with the kernels
    that ran in networks of the zoo.
    """
    from latprof.cli.progress import progress_display
    from latprof.workflows.learn_fusion import CHECKED, learn_fusion

    form = form_of(form, as_json=as_json)
    with progress_display(quiet=quiet) as show, resumable():
        found = learn_fusion(
            target,
            output,
            check=CHECKED if check is None else check,
            store=store,
            visits=visits,
            timeout_s=timeout_s,
            on_progress=show,
            on_note=remark,
            threads=threads,
            cores=parse_cores(cores),
            dtype=dtype,
            mode=mode,
        )
    for name, why in found.failures[:10]:
        note(f"latprof: failed: {name}: {why}")
    print_as(form, found.to_dict(), lambda: _print(found))
    finish(found)


def _print(found: FusionResult) -> None:
    typer.echo(f"target     {found.target.describe()}\n")
    told = {True: "one kernel", False: "two kernels", None: "not reported"}
    print_table(
        ("operators", "ran as", "fused", "without last", "last alone", "together", "saved"),
        [
            (
                " + ".join(each.operators),
                told[each.ran_fused],
                "yes" if each.fused else "no",
                milliseconds(each.before_ms, 4),
                milliseconds(each.last_ms, 4),
                milliseconds(each.together_ms, 4),
                f"{each.saved_share:.0%}",
            )
            for each in found.evidence
        ],
        left=3,
    )
    agreeing, reported = found.agreeing
    if reported:
        typer.echo(f"\ntimes say what ran on {agreeing} of {reported} chains")
    for each in found.agreements:
        share = each.matched / each.kernels if each.kernels else 1.0
        typer.echo(f"{each.network}: {each.matched} of {each.kernels} kernels match ({share:.1%})")
    typer.echo(f"rules      {found.path}")
