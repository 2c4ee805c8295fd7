"""Options that say how networks run on a target; they become a part of its identity."""

from __future__ import annotations

from typing import Annotated

import typer

from latprof.cli.console import complete_target
from latprof.common.limits import read_number
from latprof.errors import UsageError

Target = Annotated[
    str,
    typer.Option(
        help="What to measure on, of {targets}; `latprof devices` says what is ready.",
        autocompletion=complete_target,
    ),
]
BatchSize = Annotated[int, typer.Option(help="Images a run, for architectures.")]
Threads = Annotated[int, typer.Option(help="Threads inside an operator.")]
Cores = Annotated[
    str,
    typer.Option(
        metavar="I,J",
        help="Pin the measuring process to these cores; of a phone also big, prime or little.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(metavar="TYPE", help="Compute dtype: float32, float16, bfloat16, int8, ..."),
]
Mode = Annotated[
    str,
    typer.Option(
        metavar="WORDS",
        help="Execution mode, separated by commas: compile,channels-last for torch; "
        "`latprof devices --modes` lists those of each target.",
    ),
]
TuneTrials = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Trials of each kernel, for runtimes that tune: short for --mode tuned=N."
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", help="Longest time for one visit, in seconds.")
]
HalfWidth = Annotated[
    str,
    typer.Option(
        metavar="1%",
        help="Confidence half-width: visit until half of the 90 % interval is this narrow.",
    ),
]
WaitQuiet = Annotated[
    str,
    typer.Option(metavar="5m", help="Wait at most so long for a quiet host before measuring."),
]
RequireQuiet = Annotated[
    bool, typer.Option("--require-quiet", help="Give no number if the host is busy.")
]


def parse_numbers(text: str, option: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them; raises UsageError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 8 for part in parts):
        raise UsageError(
            "not numbers", field=option, expected="whole numbers with commas: 1,2,4", got=text
        )
    return tuple(map(int, parts))


def parse_shard(text: str) -> tuple[int, int]:
    """Read ``i/n``, of an empty text the whole; raises UsageError for anything else."""
    parts = [read_number(part, is_whole=True) for part in (text or "1/1").split("/")]
    if len(parts) != 2 or None in parts:
        raise UsageError("not a shard", field="shard", expected="i/n, for example 2/8", got=text)
    return int(parts[0] or 0), int(parts[1] or 0)


def parse_cores(text: str) -> tuple[int, ...] | str:
    """Read the numbers of ``--cores``, or its word; raises UsageError for anything else."""
    if text.isalpha():
        return text
    numbers = [read_number(part, is_whole=True) for part in text.split(",") if part.strip()]
    if None in numbers:
        raise UsageError("`cores` takes numbers with commas, or a word", field="cores", got=text)
    return tuple(int(number) for number in numbers if number is not None)
