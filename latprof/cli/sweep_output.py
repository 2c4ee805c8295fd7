"""What ``latprof profile`` prints of several batch sizes, threads and streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from latprof.cli.console import one_line, print_table
from latprof.workflows.formatting import interval, milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.profilers.sessions.streams import StreamFigures
    from latprof.profilers.sweeping import Sweep


def print_sweep(found: Sweep) -> None:
    """Print latency and throughput of each setting."""
    typer.echo(f"network    {one_line(found.name)}")
    typer.echo(f"target     {found.describe_target()}")
    typer.echo(f"host       {found.host.describe()}")
    typer.echo(f"visits     {found.counts.describe()}\n")
    print_table(
        ("batch", "threads", "ms a run", "90% interval", "items/s", "ms an item", ""),
        [
            (
                str(point.batch_size),
                str(point.threads),
                *(
                    (
                        milliseconds(point.latency_ms),
                        interval(point.low_ms, point.high_ms),
                        f"{point.throughput:.1f}",
                        milliseconds(point.latency_ms / point.batch_size),
                        "",
                    )
                    if point.failure is None
                    else ("", "", "", "", f"{point.failure.message} [{point.failure.code}]")
                ),
            )
            for point in found.points
        ],
        left=0,
    )
    if found.streams:
        _print_streams(found.streams, found.cores)


def _print_streams(streams: Sequence[StreamFigures], cores: int) -> None:
    typer.echo(
        "\nConcurrent sessions, each in a process of its own; by the clock of this host, "
        f"which has {cores} core{'s' if cores > 1 else ''} for them:\n"
    )
    print_table(
        ("streams", "batch", "threads", "items/s", "of the rounds", "x one stream", "p50 ms"),
        [
            (
                f"{each.streams}{'*' if each.oversubscribed else ' '}",
                str(each.batch_size),
                str(each.threads),
                f"{each.throughput:.1f}",
                f"{each.lowest:.1f} to {each.highest:.1f}",
                f"{each.speedup:.2f}" if each.speedup == each.speedup else "n/a",
                milliseconds(each.latency.values_ms[0] or float("nan")),
            )
            for each in streams
        ],
        left=0,
    )
    if any(each.oversubscribed for each in streams):
        typer.echo("* more threads than cores: the streams take turns")
