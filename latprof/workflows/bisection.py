"""The first commit at which a model became slower, or faster, by halving."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from latprof.common.extras import needs
from latprof.common.files import digest, what_is_at
from latprof.common.limits import TIMEOUT, whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_FINDING, EXIT_OK, UsageError
from latprof.workflows.compare import compare

if TYPE_CHECKING:
    from latprof.measurement.comparison import Comparison
    from latprof.workflows.arguments import OnNote, RunArguments

_LAST_LINES, _LAST_BYTES = 5, 10_000
_PROCESSES, _VISITS = whole(2, 10_000), whole(1, 10_000)


@dataclass(frozen=True)
class BisectionStep:
    """One commit that was built.

    ``comparison`` is against ``good``; None where its file is one that was measured already, and
    where it could not be built: then ``failure`` says why. ``changed`` says whether it is on the
    later side of the change.
    """

    commit: str
    changed: bool | None
    comparison: Comparison | None = None
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the step as plain JSON values."""
        found = self.comparison
        return {
            "commit": self.commit,
            "changed": self.changed,
            "effect": None if found is None else found.effect,
            "effect_low": None if found is None else found.low,
            "effect_high": None if found is None else found.high,
            "verdict": None if found is None else found.verdict,
            "failure": self.failure or None,
        }


@dataclass(frozen=True, repr=False)
class BisectionResult(ShortRepr):
    """Where a model's latency changed.

    Parameters
    ----------
    good, bad : str
        The commits at both ends.
    between : int
        Commits after ``good`` up to ``bad``.
    ends : Comparison or None
        ``bad`` against ``good``; None where both have the same file.
    first : str
        The first commit of the change; empty where the ends do not differ significantly.
    candidates : tuple of str
        Commits of which one is the first, where some of them could not be built.
    steps : tuple of BisectionStep
        In the order they were built, without the ends.
    """

    good: str
    bad: str
    between: int
    ends: Comparison | None
    first: str = ""
    candidates: tuple[str, ...] = ()
    steps: tuple[BisectionStep, ...] = ()

    @property
    def measured(self) -> int:
        """Commits between the ends that were measured."""
        return sum(step.comparison is not None for step in self.steps)

    @property
    def exit_status(self) -> int:
        """0 where a commit is named, else 1."""
        return EXIT_OK if self.first else EXIT_FINDING

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "good": self.good,
            "bad": self.bad,
            "commits": self.between,
            "measured": self.measured,
            "ends": None if self.ends is None else self.ends.to_dict(),
            "first": self.first or None,
            "candidates": list(self.candidates),
            "steps": [step.to_dict() for step in self.steps],
        }


@dataclass(frozen=True)
class _Builds:
    """The models of commits, each made in a working tree of its own."""

    folder: Path
    model: str
    words: tuple[str, ...]
    timeout_s: float

    def build(self, commit: str) -> tuple[Path | None, str]:
        """The model of a commit, or None and why there is none."""
        from latprof.profilers.host.git_revision import git

        tree = self.folder / commit[:16]
        if not tree.exists():
            git("worktree", "add", "--detach", str(tree), commit, timeout_s=self.timeout_s)
            if not tree.exists():
                return None, "git cannot check it out"
        try:
            status, last = self._run(tree)
        except subprocess.TimeoutExpired:
            return None, f"the command took more than {self.timeout_s:g} s"
        except (OSError, ValueError) as error:  # ValueError: a null character
            raise UsageError(
                f"the command cannot be run: {getattr(error, 'strerror', None) or error}",
                field="run",
                got=self.words[0],
            ) from None
        if status:
            return None, f"the command ended with {status}: {last}"
        path = tree / self.model
        made = what_is_at(path) == "file"
        return (path, "") if made else (None, f"the command made no {self.model}")

    def _run(self, tree: Path) -> tuple[int, str]:
        """The command's status and last lines; what it leaves running is ended.

        Its output goes to a file: a process that it leaves behind would hold a pipe open.
        """
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(  # noqa: S603 - the caller's own command
                self.words,
                cwd=tree,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(self.timeout_s)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(max(output.seek(0, os.SEEK_END) - _LAST_BYTES, 0))
            lines = output.read().decode("utf-8", "replace").strip().split("\n")
        return status, " | ".join(lines[-_LAST_LINES:])


@contextmanager
def _builds(model: str, run: str, timeout_s: float) -> Iterator[_Builds]:
    from latprof.profilers.host.git_revision import git

    try:
        words = tuple(shlex.split(run))
    except ValueError as error:
        raise UsageError(f"the command cannot be read: {error}", field="run", got=run) from None
    if not words:
        raise UsageError("there is no command", field="run", expected="for example 'make model'")
    if not model or Path(model).is_absolute() or ".." in Path(model).parts:
        raise UsageError(
            "`model` is not a path below the root of the repository",
            field="model",
            expected="for example build/model.onnx, which the command makes in each working tree",
            got=repr(model),
        )
    folder = Path(tempfile.mkdtemp(prefix="latprof-bisect-"))
    try:
        yield _Builds(folder, model, words, timeout_s)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        git("worktree", "prune")


@needs("collect", "pandas", "scipy", "sqlalchemy")
def bisect(
    good: str,
    bad: str,
    run: str,
    model: str,
    *,
    target: str | None = None,
    alpha: float = 0.05,
    processes: int = 8,
    visits: int = 3,
    build_timeout_s: float = 3600.0,
    on_step: Callable[[BisectionStep], None] | None = None,
    on_note: OnNote | None = None,
    **how: Unpack[RunArguments],
) -> BisectionResult:
    """Name the first commit at which a model's latency changed significantly.

    Each commit is checked out into a working tree of its own, in a temporary folder; the one that
    you work in stays as it is. Both ends are compared first. Of the n commits after ``good`` at
    most log2(n), rounded up, are measured besides the ends, each in turn with the model of
    ``good``. A file that was measured already is not measured again, and a commit that cannot be
    built is passed over. Of merged branches only the merge is looked at.

    Parameters
    ----------
    good, bad : str
        Commits, branches or tags.
    run : str
        The command that makes the model, run at the root of each working tree without a shell.
        It is a program of the repository: run this where you would run that.
    model : str
        The model's path below that root.
    target : str, optional
        What to measure on.
    alpha : float
        Rate of false verdicts of one comparison.
    processes, visits : int
        Measuring processes, and visits to each network in each of them.
    build_timeout_s : float
        Longest time for the command, in seconds.
    on_step : callable, optional
        Called after each commit.
    on_note : callable, optional
        Called with remarks.
    **how
        As for :func:`latprof.compare`.

    Raises
    ------
    InvalidValueError
        For numbers out of their limits, before anything is built.
    UsageError
        For what is no commit, a model outside of the working tree, a ``good`` that ``bad`` does not
        come from, a command that cannot be run, and ends that cannot be built.
    """
    from latprof.measurement.comparison import check_alpha

    check_alpha(alpha)
    for name, limit, value in (
        ("processes", _PROCESSES, processes),
        ("visits", _VISITS, visits),
        ("build_timeout_s", TIMEOUT, build_timeout_s),
    ):
        limit.check(name, value)
    commits = _commits(good, bad)
    effort = {"target": target, "alpha": alpha, "processes": processes, "visits": visits, **how}
    with _builds(model, run, build_timeout_s) as builds:
        search = _Search(builds, effort, on_note)
        ends = search.compare_ends(commits[0], commits[-1])
        if ends is None or ends.verdict == "no evidence":
            return BisectionResult(commits[0], commits[-1], len(commits) - 1, ends)
        # Commit `low` is before the change, and `high` after it.
        low, high, steps = 0, len(commits) - 1, list[BisectionStep]()
        unbuilt: set[int] = set()
        while left := [place for place in range(low + 1, high) if place not in unbuilt]:
            middle = min(left, key=lambda place: abs(2 * place - low - high))
            step = search.step(commits[middle])
            steps.append(step)
            if on_step is not None:
                on_step(step)
            if step.changed is None:
                unbuilt.add(middle)
            elif step.changed:
                high = middle
            else:
                low = middle
        several = tuple(commits[low + 1 : high + 1]) if high - low > 1 else ()
    first = "" if several else commits[high]
    return BisectionResult(
        commits[0], commits[-1], len(commits) - 1, ends, first, several, tuple(steps)
    )


def _commits(good: str, bad: str) -> list[str]:
    """The good commit and those after it up to the bad one."""
    from latprof.profilers.host.git_revision import commit_of, commits_between, why_unknown

    ends = []
    for name, word in ((good, "good"), (bad, "bad")):
        commit = commit_of(name)
        if not commit:
            raise UsageError(f"no commit {name!r} here", field=word, hint=why_unknown() or None)
        ends.append(commit)
    found = [] if ends[0] == ends[1] else commits_between(ends[0], ends[1])
    if not found:
        raise UsageError(
            f"{bad} does not come from {good} by first parents",
            field="bad",
            got=ends[1][:10],
            hint=why_unknown() or None,
        )
    return [ends[0], *found]


class _Search:
    """Builds and measures commits against the good one."""

    def __init__(self, builds: _Builds, effort: dict[str, Any], on_note: OnNote | None) -> None:
        self._builds, self._effort, self._on_note = builds, effort, on_note
        self._changed: dict[str, bool] = {}  # by the content's digest
        self._verdict = ""
        self._good = Path()

    def compare_ends(self, good: str, bad: str) -> Comparison | None:
        """The bad commit's model against the good one's; None for the same file."""
        paths = []
        for commit in (good, bad):
            path, failure = self._builds.build(commit)
            if path is None:
                raise UsageError(f"{commit[:10]} cannot be built: {failure}", field="run")
            paths.append(path)
        self._good = paths[0]
        self._changed = {digest(paths[0]): False}
        if digest(paths[1]) in self._changed:
            return None
        ends = self._compare(paths[1])
        self._verdict = ends.verdict
        self._changed[digest(paths[1])] = True
        return ends

    def step(self, commit: str) -> BisectionStep:
        """Build a commit, and measure it where its file is new."""
        path, failure = self._builds.build(commit)
        if path is None:
            return BisectionStep(commit, None, failure=failure)
        content = digest(path)
        if content in self._changed:
            return BisectionStep(commit, self._changed[content])
        found = self._compare(path)
        self._changed[content] = found.verdict == self._verdict
        return BisectionStep(commit, self._changed[content], found)

    def _compare(self, path: Path) -> Comparison:
        return compare(self._good, path, on_note=self._on_note, **self._effort).comparisons[0]
