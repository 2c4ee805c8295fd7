"""Options that say how networks run on a target; they become a part of its identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from latprof.cli.console import note
from latprof.errors import UsageError

if TYPE_CHECKING:
    from latprof.profilers.base import RunOptions

BatchSize = Annotated[int, typer.Option(help="Images a run, for architectures.")]
Threads = Annotated[int, typer.Option(help="Threads inside an operator.")]
Cores = Annotated[
    str, typer.Option(metavar="I,J", help="Pin the measuring process to these cores.")
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="TYPE", help="Numbers to compute with: float32, float16, bfloat16, int8, ..."
    ),
]
Mode = Annotated[
    str,
    typer.Option(
        metavar="WORDS",
        help="How the runtime runs networks, with commas: compile,channels-last for torch; "
        "`latprof devices --modes` lists the words of each target.",
    ),
]
TuneTrials = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Trials of each kernel, for runtimes that tune: --mode tuned=N in short."
    ),
]


def run_options(
    target: str,
    batch_size: int,
    threads: int,
    cores: str = "",
    dtype: str = "",
    mode: str = "",
    tune_trials: int | None = None,
) -> RunOptions:
    """Return the options as one value; whatever ``target`` does not have is refused.

    What the target's profiler cautions against goes to stderr.
    """
    from latprof.profilers.base import RunOptions
    from latprof.profilers.targets import profiler_class

    words = [word.strip() for word in mode.split(",") if word.strip()]
    if tune_trials is not None:
        words.append(f"tuned={tune_trials}")
    options = RunOptions(
        batch_size, threads, _cores(cores), dtype or "float32", tuple(sorted(words))
    )
    caution = profiler_class(target)(options).caution
    if caution:
        note(f"latprof: {caution}")
    return options


def _cores(text: str) -> tuple[int, ...]:
    import os

    try:
        cores = tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise UsageError("--cores takes numbers with commas", field="cores", got=text) from None
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if cores and not set(cores) <= allowed:
        names = ",".join(map(str, sorted(allowed)))
        raise UsageError("no such cores here", field="cores", expected=f"of {names}", got=text)
    return cores
