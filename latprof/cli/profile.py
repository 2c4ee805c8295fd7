"""``latprof profile``."""

from __future__ import annotations

import enum
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.budget_options import AllowOpen, FailIf, finish_within, print_verdicts, say_failed
from latprof.cli.commands import finish
from latprof.cli.console import (
    Inputs,
    Json,
    OwnSpace,
    Quiet,
    Shapes,
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
    Cores,
    Dtype,
    HalfWidth,
    Mode,
    RequireQuiet,
    Target,
    Timeout,
    TuneTrials,
    WaitQuiet,
    parse_cores,
    parse_numbers,
)
from latprof.common.limits import whole
from latprof.errors import UsageError
from latprof.measurement.budgets import BudgetResult, read_budgets
from latprof.workflows.budget_checks import OF_ONE, profile_verdict
from latprof.workflows.formatting import interval, milliseconds

if TYPE_CHECKING:
    from latprof.measurement.records import KernelTime
    from latprof.profilers.profiling import Profile


_TOP = whole(1, 1_000_000)


class Order(enum.StrEnum):
    """How the kernels are listed."""

    RUN = "run"
    TIME = "time"
    KIND = "kind"


def profile(
    network: Annotated[
        str,
        typer.Argument(
            metavar="MODEL.onnx|SPACE:ARCHITECTURE",
            help="An ONNX file, or an architecture with its space before a colon, which --space "
            "makes needless.",
        ),
    ],
    target: Target = "cpu:onnxruntime",
    space: OwnSpace = None,
    by: Annotated[
        Order,
        typer.Option(help="List kernels in the order they run, by their time, or summed by kind."),
    ] = Order.RUN,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a Chrome trace, which opens in Perfetto."),
    ] = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--annotate",
            metavar="FILE.onnx",
            help="Write a copy of the model with its kernels' times in the nodes, for Netron.",
        ),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="List only so many kernels, those of most time.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a page with latency and throughput by batch size, threads and streams.",
        ),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the plots of that page as pictures.")
    ] = None,
    visits: Annotated[int, typer.Option(help="Fresh loads of the network.")] = 8,
    half_width: HalfWidth = "",
    max_visits: Annotated[
        int | None,
        typer.Option(help="With --half-width: most fresh loads (64, or --visits)."),
    ] = None,
    batch_size: Annotated[
        str, typer.Option(metavar="1,2,4", help="Items a run; several are compared.")
    ] = "1",
    threads: Annotated[
        str, typer.Option(metavar="1,2", help="Threads inside an operator; several are compared.")
    ] = "1",
    streams: Annotated[
        str,
        typer.Option(
            metavar="1,2,4",
            help="Also the throughput of so many concurrent sessions, each in its own process.",
        ),
    ] = "",
    cores: Cores = "",
    dtype: Dtype = "",
    mode: Mode = "",
    tune_trials: TuneTrials = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    timeout_s: Timeout = 300.0,
    wait_quiet: WaitQuiet = "",
    require_quiet: RequireQuiet = False,
    quiet: Quiet = False,
    fail_if: FailIf = None,
    allow_open: AllowOpen = False,
    as_json: Json = False,
    form: Format = Form.TABLE,
) -> None:
    """Measure one network now, and each of its kernels.

    Kernels are what the runtime really ran after fusion. Their sum is compared with the latency end
    to end; the gap is the runtime's own work between them.

    With several batch sizes, threads or streams, latency and throughput of each in place of the
    kernels:

    `latprof profile model.onnx --batch-size 1,2,4,8 --threads 1,2 --streams 1,2 -o page.html`
    """
    form = form_of(form, as_json=as_json, budgets=fail_if or ())
    _check_top(top, by)
    numbers = {
        "batch_size": parse_numbers(batch_size, "batch_size"),
        "threads": parse_numbers(threads, "threads"),
        "streams": parse_numbers(streams, "streams") if streams else (),
    }
    common: dict[str, Any] = {
        "space": space,
        "shapes": parse_shapes(shapes),
        "inputs": parse_inputs(inputs),
        "visits": visits,
        "half_width": parse_share(half_width, "half_width") if half_width else None,
        "max_visits": max_visits,
        "timeout_s": timeout_s,
        "wait_quiet_s": parse_duration(wait_quiet, "wait_quiet") if wait_quiet else None,
        "require_quiet": require_quiet,
        "on_note": remark,
        "cores": parse_cores(cores),
        "dtype": dtype,
        "mode": mode,
        "tune_trials": tune_trials,
    }
    budgets = read_budgets(fail_if, OF_ONE, "a profile")
    several = any(len(numbers[name]) > 1 for name in ("batch_size", "threads"))
    if several or numbers["streams"] or output is not None or png is not None:
        pages = [name for name, given in (("output", output), ("png", png)) if given is not None]
        also = f", and `{pages[0]}` shows several" if pages else ""
        for name, given in (("trace", trace), ("annotated", annotated), ("fail_if", budgets)):
            if given:
                raise UsageError(f"`{name}` is for one batch size and number of threads{also}")
        _sweep(network, target, numbers, common, (output, png), quiet=quiet, form=form)
        return
    from latprof.workflows.profile import profile as run

    with visits_display(quiet=quiet) as show:
        found = run(
            network,
            target,
            trace=trace,
            annotated=annotated,
            on_progress=show,
            batch_size=numbers["batch_size"][0],
            threads=numbers["threads"][0],
            **common,
        )
    verdicts = tuple(profile_verdict(found, budget) for budget in budgets)
    kept = BudgetResult(verdicts, allow_open)
    if trace is not None:
        note(f"trace written to {trace}")
    if annotated is not None:
        note(f"{annotated} written")

    def for_people() -> None:
        _print(found, by, top)
        print_verdicts(kept)

    network_of_kernels = {
        "network": found.name,
        "network_latency_ms": found.latency_ms,
        "network_low_ms": found.interval_ms[0],
        "network_high_ms": found.interval_ms[1],
    }
    # CSV has the rows of the table, JSON all kernels as they run.
    listed = {"kernels": _rows(found, by, top)} if form is Form.CSV else {}
    document = found.to_dict() | kept.shown() | listed
    print_as(form, document, for_people, rows="kernels", common=network_of_kernels)
    if form is Form.JUNIT:
        print_junit("profile", kept)
    say_failed(kept, form)
    remark_on_visits(found.visits)
    finish_within(kept, found.exit_status)


def _check_top(top: int | None, by: Order) -> None:
    if top is None:
        return
    _TOP.check("top", top)
    if by is Order.KIND:
        raise UsageError("`top` lists kernels, not their kinds", field="top")


def _sweep(
    network: str,
    target: str,
    numbers: dict[str, tuple[int, ...]],
    common: dict[str, Any],
    files: tuple[Path | None, Path | None],
    *,
    quiet: bool,
    form: Form,
) -> None:
    from latprof.cli.sweep_output import print_sweep
    from latprof.workflows.sweep import sweep as run

    with visits_display(quiet=quiet) as show:
        result = run(
            network,
            target,
            batch_sizes=numbers["batch_size"],
            threads=numbers["threads"],
            streams=numbers["streams"],
            output=files[0],
            png=files[1],
            on_progress=show,
            **common,
        )
    print_as(form, result.to_dict(), lambda: print_sweep(result.sweep), rows="points")
    for path in (*([] if result.page is None else [result.page]), *result.pictures):
        note(f"{path} written")
    remark_on_visits(result.sweep.counts)
    finish(result)


def _print(found: Profile, by: Order, top: int | None) -> None:
    _print_figures(found)
    if found.without_kernels:
        return
    if by is Order.KIND:
        _print_kinds(found)
    else:
        _print_kernels(found, by, top)


def _print_figures(found: Profile) -> None:
    typer.echo(f"network    {one_line(found.name)}")
    typer.echo(f"target     {found.target.describe()}")
    typer.echo(f"costs      {one_line(found.costs.describe())}")
    typer.echo(
        f"latency    {milliseconds(found.latency_ms)} ms, 90% interval "
        f"{interval(*found.interval_ms)}"
    )
    reference_ms = milliseconds(found.reference_ms)
    typer.echo(f"reference  {found.reference}, {reference_ms} ms, {found.constant.describe()}")
    typer.echo(f"host       {found.host.describe()}")
    typer.echo(f"raw runs   {found.raw_percentiles.describe()} (ms, as felt here, not paired)")
    loading, memory = found.load.describe()
    typer.echo(f"loading    {loading}")
    typer.echo(f"memory     {memory}")
    typer.echo(f"visits     {found.visits.describe()}")
    if found.without_kernels:
        typer.echo(f"kernels    unknown: {one_line(found.without_kernels)}")
        return
    gap, number = found.gap_ms, len(found.kernels)
    beyond = "outside them" if gap >= 0 else "more than the latency: the profiler's cost is in them"
    typer.echo(
        f"kernels    {milliseconds(found.kernel_sum_ms)} ms in {number}; "
        f"{milliseconds(abs(gap))} ms ({abs(gap) / found.latency_ms:.1%}) {beyond}"
    )
    each_us = 1000 * found.profiling_overhead_ms / max(number, 1)
    typer.echo(
        f"profiling  made a run {found.profiling_overhead_ms:+.3f} ms longer ({each_us:.1f} us a "
        "kernel); the latency above is without it\n"
    )


def _rows(found: Profile, by: Order, top: int | None) -> list[dict[str, Any]]:
    """The table's rows as plain JSON values: kernels, or their kinds."""
    if by is not Order.KIND:
        return [kernel.to_dict() for kernel in _listed(found, by, top)[0]]
    return [
        {"kind": kind, "kernels": len(members), "latency_ms": ms}
        for kind, members, ms in _kinds(found)
    ]


def _listed(
    found: Profile, by: Order, top: int | None
) -> tuple[list[KernelTime], list[KernelTime]]:
    """Kernels in their order, and those that are left out."""
    kernels = list(found.kernels)
    if by is Order.TIME or top is not None:
        kernels.sort(key=lambda kernel: -kernel.latency_ms)
    return kernels[:top], kernels[top:] if top is not None else []


def _print_kernels(found: Profile, by: Order, top: int | None) -> None:
    kernels, left = _listed(found, by, top)
    print_table(
        ("kernel", "kind", "input", "output", "operators", "ms", "share"),
        [
            (
                kernel.name,
                kernel.kind,
                _shape(kernel.input_shapes),
                _shape(kernel.output_shapes),
                str(len(kernel.operators)),
                milliseconds(kernel.latency_ms, 4),
                _share(kernel.latency_ms, found),
            )
            for kernel in kernels
        ],
        left=4,
    )
    if left:
        rest_ms = sum(kernel.latency_ms for kernel in left)
        share = _share(rest_ms, found)
        more = f"{len(left)} more kernel{'s' * (len(left) > 1)}"
        typer.echo(f"and {more}: {milliseconds(rest_ms, 4)} ms, {share}")


def _kinds(found: Profile) -> list[tuple[str, list[KernelTime], float]]:
    """Each kind with its kernels and their time, that of most time first."""
    kinds: dict[str, list[KernelTime]] = defaultdict(list)
    for kernel in found.kernels:
        kinds[kernel.kind].append(kernel)
    times = [(kind, each, sum(k.latency_ms for k in each)) for kind, each in kinds.items()]
    return sorted(times, key=lambda row: -row[2])


def _print_kinds(found: Profile) -> None:
    print_table(
        ("kind", "kernels", "ms", "share"),
        [
            (kind, str(len(members)), milliseconds(ms, 4), _share(ms, found))
            for kind, members, ms in _kinds(found)
        ],
    )


def _share(ms: float, found: Profile) -> str:
    """Of the kernels' sum, which is 0 where none takes the runtime's whole microsecond."""
    return f"{ms / found.kernel_sum_ms:.1%}" if found.kernel_sum_ms else "-"


def _shape(shapes: tuple[tuple[int, ...], ...]) -> str:
    return "x".join(map(str, shapes[0])) if shapes else ""
