"""``latprof profile``."""

from __future__ import annotations

import enum
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latprof.cli.console import (
    Json,
    Shapes,
    complete_target,
    milliseconds,
    network_of,
    note,
    one_line,
    parse_shapes,
    print_json,
    print_table,
)
from latprof.cli.run_options import BatchSize, Dtype, Mode, Threads, TuneTrials, run_options

if TYPE_CHECKING:
    from latprof.measurement.records import KernelTime
    from latprof.profilers.profile import Profile


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
    target: Annotated[
        str,
        typer.Option(
            help="What to measure on, of {targets}; `latprof devices` says what is ready.",
            autocompletion=complete_target,
        ),
    ] = "cpu:onnxruntime",
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
    dtype: Dtype = "",
    mode: Mode = "",
    tune_trials: TuneTrials = None,
    shape: Shapes = None,
    timeout: Annotated[float, typer.Option(help="Longest time for one visit, in seconds.")] = 300.0,
    as_json: Json = False,
) -> None:
    """Measure one network now, and each of its kernels.

    Kernels are what the runtime really ran after fusion. Their sum is compared with the latency end
    to end; the gap is the runtime's own work between them.
    """
    from latprof.profilers.profile import profile as measure

    asked = network_of(network)
    found = measure(
        asked if isinstance(asked, str) else asked[1],
        target,
        options=run_options(
            target, batch_size, threads, dtype=dtype, mode=mode, tune_trials=tune_trials
        ),
        shapes=parse_shapes(shape) or None,
        kernels=True,
        timeout_s=timeout,
    )
    if trace is not None:
        from latprof.reports.trace import write_trace

        write_trace(found, trace)
        note(f"trace written to {trace}")
    if as_json:
        print_json(_values(found))
        return
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
    typer.echo(
        f"latency    {milliseconds(found.latency_ms)} ms +- {found.relative_error:.1%} "
        "(standard error)"
    )
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


def _values(found: Profile) -> dict[str, Any]:
    return {
        "network": found.name,
        "target": found.target.to_dict(),
        "latency_ms": found.latency_ms,
        "relative_error": found.relative_error,
        "raw_median_ms": found.raw_median_ms,
        "reference": found.reference,
        "reference_ms": found.reference_ms,
        "kernel_sum_ms": found.kernel_sum_ms,
        "gap_ms": found.gap_ms,
        "profiling_overhead_ms": found.profiling_overhead_ms,
        "without_kernels": found.without_kernels or None,
        "kernels": [
            {
                "name": kernel.name,
                "kind": kernel.kind,
                "latency_ms": kernel.latency_ms,
                "operators": list(kernel.operators),
                "input_shapes": [list(shape) for shape in kernel.input_shapes],
                "output_shapes": [list(shape) for shape in kernel.output_shapes],
            }
            for kernel in found.kernels
        ],
    }
