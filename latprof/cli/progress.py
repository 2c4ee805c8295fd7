"""Progress of a collection: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from latprof.cli.console import is_terminal, note

if TYPE_CHECKING:
    from latprof.profilers.campaign import Progress

#: Between two lines where nobody watches, in seconds.
_LINE_EVERY_S = 15.0


@contextmanager
def progress_display(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield what a campaign calls after every visit."""
    if quiet:
        yield lambda _: None
    elif is_terminal():
        yield from _live()
    else:
        yield from _lines()


def describe(progress: Progress) -> str:
    """One line: visits done, failed, left, time left, drift of the reference; or kernels left."""
    if progress.kernels_left:
        return f"{progress.done}/{progress.total} visits, kernels of {progress.kernels_left} left"
    return (
        f"{progress.done}/{progress.total} visits, {progress.failed} failed, {progress.left} left, "
        f"{duration(progress.left_s)} to go, reference {progress.drift:+.1%}"
    )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, or "?" for what is not known."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _lines() -> Iterator[Callable[[Progress], None]]:
    last, shown = -math.inf, None

    def show(progress: Progress) -> None:
        nonlocal last, shown
        shown = progress
        if time.monotonic() - last >= _LINE_EVERY_S:
            last, shown = time.monotonic(), None
            note(describe(progress))

    yield show
    if shown is not None:
        note(describe(shown))


def _live() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    # Redrawn by hand after a visit: a thread that redraws would run beside the measurement.
    bar = Bar(
        BarColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        auto_refresh=False,
    )
    task = bar.add_task("starting")
    last = -math.inf

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < 0.5 and progress.left + progress.kernels_left:
            return
        last = time.monotonic()
        settled = progress.done + progress.failed
        bar.update(task, total=progress.total, completed=settled, description=describe(progress))
        bar.refresh()

    with bar:
        yield show
