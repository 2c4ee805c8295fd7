"""Progress of long work: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.cli.console import is_terminal, note

if TYPE_CHECKING:
    from latprof.predictors.training.split_training import FitProgress
    from latprof.profilers.campaign.campaign import Progress
    from latprof.profilers.visits.schedule import VisitProgress
    from latprof.workflows.search_result import SearchProgress

#: Between two lines where nobody watches, in seconds.
LINE_EVERY_S = 15.0
#: After which a fit is worth a line.
FIRST_LINE_S = 3.0


@dataclass(frozen=True)
class Line:
    """What is shown: words, how much of how many is done, and whether it is shown at once."""

    words: str
    done: int
    total: int
    at_once: bool = False


@contextmanager
def progress_lines(*, quiet: bool) -> Iterator[Callable[[Line], None]]:
    """Yield what long work calls after every step."""
    if quiet:
        yield lambda _: None
    elif is_terminal():
        yield from _live()
    else:
        yield from _lines()


@contextmanager
def progress_display(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield what a campaign calls after every visit."""
    with progress_lines(quiet=quiet) as show:
        waited = False

        def show_campaign(progress: Progress) -> None:
            nonlocal waited
            begins, waited = bool(progress.waiting) and not waited, bool(progress.waiting)
            ended = not progress.left + progress.kernels_left
            settled = progress.done + progress.failed
            # With kernels left the visits are done: the bar waits for them.
            done = progress.total if ended else min(settled, progress.total - 1)
            show(Line(describe(progress), done, progress.total, at_once=begins))

        yield show_campaign


@contextmanager
def visits_display(*, quiet: bool) -> Iterator[Callable[[VisitProgress], None]]:
    """Yield what a schedule of visits calls after every visit."""
    with progress_lines(quiet=quiet) as show:

        def show_visits(progress: VisitProgress) -> None:
            done = progress.made + progress.failed
            failed = f", {progress.failed} failed" if progress.failed else ""
            words = f"{done}/{progress.total} visits{failed}, ETA {duration(progress.left_s)}"
            show(Line(words, done, progress.total))

        yield show_visits


@contextmanager
def search_display(*, quiet: bool) -> Iterator[Callable[[SearchProgress], None]]:
    """Yield what a search calls after every step."""
    with progress_lines(quiet=quiet) as show:
        from latprof.reports.rendering.wording import score

        def show_search(progress: SearchProgress) -> None:
            words, best = f"{progress.unit} {progress.step}/{progress.steps}", progress.best
            if best is not None:
                words += f", best {score(best.accuracy)} at {best.latency_ms:.3f} ms"
            show(Line(words, progress.step, progress.steps))

        yield show_search


@contextmanager
def fit_display() -> Iterator[Callable[[FitProgress], None]]:
    """Yield what training calls before each fit; a line now and then says which one takes long."""
    fitting: list[FitProgress] = []
    ended = threading.Event()

    def say() -> None:
        begun = time.monotonic()
        wait_s = FIRST_LINE_S
        while not ended.wait(wait_s):
            wait_s = LINE_EVERY_S
            for each in fitting:
                note(
                    f"fitting {each.predictor} to {each.rows:,} rows, predictor {each.number} of "
                    f"{each.total}: {time.monotonic() - begun:.0f} s"
                )

    thread = threading.Thread(target=say, name="fit progress", daemon=True)
    thread.start()
    try:
        yield lambda progress: fitting.__setitem__(slice(None), [progress])
    finally:
        ended.set()
        thread.join()


def describe(progress: Progress) -> str:
    """One line: visits done, failed, left, time left, slowdown of the host; or kernels left."""
    if progress.waiting:
        return f"{progress.done}/{progress.total} visits, {progress.waiting}"
    if progress.kernels_left:
        return f"{progress.done}/{progress.total} visits, kernels of {progress.kernels_left} left"
    return (
        f"{progress.done}/{progress.total} visits, {progress.failed} failed, {progress.left} left, "
        f"ETA {duration(progress.left_s)}, host slowdown {100 * progress.drift:+.0f} % "
        "(against the best seen)"
    )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, or "--" for what is not known."""
    if not math.isfinite(seconds):
        return "--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _lines() -> Iterator[Callable[[Line], None]]:
    last, shown = -math.inf, None

    def show(line: Line) -> None:
        nonlocal last, shown
        shown = line
        if line.at_once or time.monotonic() - last >= LINE_EVERY_S:
            last, shown = time.monotonic(), None
            note(line.words)

    yield show
    if shown is not None:
        note(shown.words)


def _live() -> Iterator[Callable[[Line], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    # Redrawn by hand after a step: a thread that redraws would run beside a measurement.
    bar = Progress(
        BarColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        auto_refresh=False,
    )
    task = bar.add_task("starting")
    last = -math.inf

    def show(line: Line) -> None:
        nonlocal last
        if time.monotonic() - last < 0.5 and line.done < line.total and not line.at_once:
            return
        last = time.monotonic()
        bar.update(task, total=line.total, completed=line.done, description=line.words)
        bar.refresh()

    with bar:
        yield show
