"""``latprof profile``."""

from __future__ import annotations

import enum
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.commands import finish
from latprof.cli.console import (
    Inputs,
    Json,
    Shapes,
    note,
    one_line,
    parse_inputs,
    parse_shapes,
    print_json,
    print_table,
    remark,
    remark_on_visits,
)
from latprof.cli.run_options import (
    BatchSize,
    Cores,
    Dtype,
    Mode,
    Target,
    Threads,
    Timeout,
    TuneTrials,
    parse_cores,
)
from latprof.workflows.formatting import milliseconds

if TYPE_CHECKING:
    from latprof.measurement.records import KernelTime
    from latprof.profilers.profiling import Profile


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
            help="An ONNX file, or an architecture with its space before a colon.",
        ),
    ],
    target: Target = "cpu:onnxruntime",
    by: Annotated[
        Order,
        typer.Option(help="List kernels in the order they run, by their time, or summed by kind."),
    ] = Order.RUN,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a Chrome trace, which opens in Perfetto."),
    ] = None,
    batch_size: BatchSize = 1,
    threads: Threads = 1,
    cores: Cores = "",
    dtype: Dtype = "",
    mode: Mode = "",
    tune_trials: TuneTrials = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    timeout_s: Timeout = 300.0,
    as_json: Json = False,
) -> None:
    """Measure one network now, and each of its kernels.

    Kernels are what the runtime really ran after fusion. Their sum is compared with the latency end
    to end; the gap is the runtime's own work between them.
    """
    from latprof.workflows.profile import profile as run

    found = run(
        network,
        target,
        shapes=parse_shapes(shapes),
        inputs=parse_inputs(inputs),
        timeout_s=timeout_s,
        trace=trace,
        on_note=remark,
        batch_size=batch_size,
        threads=threads,
        cores=parse_cores(cores),
        dtype=dtype,
        mode=mode,
        tune_trials=tune_trials,
    )
    if trace is not None:
        note(f"trace written to {trace}")
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found, by)
    remark_on_visits(found.visits)
    finish(found)


def _print(found: Profile, by: Order) -> None:
    _print_figures(found)
    if found.without_kernels:
        return
    if by is Order.KIND:
        _print_kinds(found)
    else:
        _print_kernels(found, by)


def _print_figures(found: Profile) -> None:
    typer.echo(f"network    {one_line(found.name)}")
    typer.echo(f"target     {found.target.describe()}")
    typer.echo(f"costs      {one_line(found.costs.describe())}")
    typer.echo(
        f"latency    {milliseconds(found.latency_ms)} ms +- {found.relative_error:.1%} "
        "(standard error)"
    )
    typer.echo(f"visits     {found.visits.describe()}")
    if found.without_kernels:
        typer.echo(f"kernels    unknown: {one_line(found.without_kernels)}")
        return
    typer.echo(
        f"kernels    {milliseconds(found.kernel_sum_ms)} ms in {len(found.kernels)}; "
        f"{found.gap_ms:+.3f} ms ({found.gap_ms / found.latency_ms:+.1%}) outside them"
    )
    typer.echo(
        f"profiling  made a run {found.profiling_overhead_ms:+.3f} ms longer; the latency above is "
        "without it\n"
    )


def _print_kernels(found: Profile, by: Order) -> None:
    kernels = list(found.kernels)
    if by is Order.TIME:
        kernels.sort(key=lambda kernel: -kernel.latency_ms)
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


def _print_kinds(found: Profile) -> None:
    kinds: dict[str, list[KernelTime]] = defaultdict(list)
    for kernel in found.kernels:
        kinds[kernel.kind].append(kernel)
    times = {kind: sum(k.latency_ms for k in members) for kind, members in kinds.items()}
    print_table(
        ("kind", "kernels", "ms", "share"),
        [
            (kind, str(len(kinds[kind])), milliseconds(ms, 4), _share(ms, found))
            for kind, ms in sorted(times.items(), key=lambda item: -item[1])
        ],
    )


def _share(ms: float, found: Profile) -> str:
    """Of the kernels' sum, which is 0 where none takes the runtime's whole microsecond."""
    return f"{ms / found.kernel_sum_ms:.1%}" if found.kernel_sum_ms else "-"


def _shape(shapes: tuple[tuple[int, ...], ...]) -> str:
    return "x".join(map(str, shapes[0])) if shapes else ""
