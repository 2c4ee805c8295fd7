"""A model's latency over the commits of its sources."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.axes import axes_of, check_picture, drawn_text, errors_of, write_picture
from latprof.common.extras import needs
from latprof.common.framed import Framed
from latprof.common.short_reprs import ShortRepr
from latprof.errors import NotEnoughDataError
from latprof.workflows.arguments import PathLike, StoreLike, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from latprof.measurement.across.revisions import FileInRevision, Revision
    from latprof.measurement.comparison import Comparison, Side
    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import Target


#: Commits that are named below a drawing.
_MOST_NAMES = 60


@dataclass(frozen=True)
class HistoryPoint:
    """One state of a model.

    Parameters
    ----------
    revision : Revision
        Commit, branch and tag; empty for what is not known.
    started_at : float
        When it was first measured there, in Unix seconds.
    key : str
        The digest of the model's file.
    latency_ms, low_ms, high_ms : float
        The label and its 90 % interval; NaN for a file without a visit that counts.
    change : Comparison or None
        Against the state before; None for the first one, for the same file, and where fewer than
        two processes measured either.
    same_file : bool
        The file is that of the state before.
    """

    revision: Revision
    started_at: float
    key: str
    latency_ms: float
    low_ms: float
    high_ms: float
    change: Comparison | None = None
    same_file: bool = False

    @property
    def is_significant(self) -> bool:
        """Whether the latency changed against the state before."""
        return self.change is not None and self.change.verdict != "no evidence"

    @property
    def date(self) -> str:
        """The day, in UTC."""
        moment = dt.datetime.fromtimestamp(self.started_at, dt.UTC)
        return moment.date().isoformat()

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON values."""
        change = self.change
        return {
            **self.revision.to_dict(),
            "started_at": self.started_at,
            "sha256": self.key,
            "latency_ms": self.latency_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "same_file": self.same_file,
            "effect": None if change is None else change.effect,
            "effect_low": None if change is None else change.low,
            "effect_high": None if change is None else change.high,
            "adjusted_p_value": None if change is None else change.adjusted_p_value,
            "verdict": None if change is None else change.verdict,
        }


@dataclass(frozen=True, repr=False)
class HistoryResult(ShortRepr, Framed):
    """A model's latency over commits.

    Parameters
    ----------
    model : str
        The name that it was measured under.
    target : Target
    points : tuple of HistoryPoint
        Oldest first.
    picture : Path or None
        The drawing that was written.
    """

    model: str
    target: Target
    points: tuple[HistoryPoint, ...]
    picture: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the history as plain JSON values."""
        return {
            "model": self.model,
            "target": self.target.to_dict(),
            "interval_coverage": 0.9,
            "points": [point.to_dict() for point in self.points],
        }

    def frame_rows(self) -> list[dict[str, Any]]:
        """A row a state: the columns of :meth:`HistoryPoint.to_dict`."""
        return [point.to_dict() for point in self.points]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw latency with its 90 % interval over commits; return the axes.

        Significant changes are ringed.
        """
        ax = axes_of(ax)
        places = range(len(self.points))
        values = [point.latency_ms for point in self.points]
        errors = errors_of(values, [(point.low_ms, point.high_ms) for point in self.points])
        ax.errorbar(places, values, yerr=errors, fmt="o-", capsize=3)
        marked = [place for place in places if self.points[place].is_significant]
        if marked:
            rings: dict[str, Any] = {"facecolors": "none", "edgecolors": "C3"}
            rings["label"] = "significant change"
            ax.scatter(marked, [values[place] for place in marked], 160, **rings)
            ax.legend()
        names = _names(self.points)
        shown = places[:: math.ceil(len(names) / _MOST_NAMES)]
        ax.set_xticks([*shown], [drawn_text(names[place]) for place in shown], rotation=90)
        ax.set_ylabel("latency, ms, with 90 % interval")
        ax.set_title(drawn_text(self.model))
        return ax


def _names(points: Sequence[HistoryPoint]) -> list[str]:
    """A name of each state: its tag where no other has it, else the commit, else the day."""
    tags = Counter(point.revision.tag for point in points)
    return [
        (p.revision.tag if tags[p.revision.tag] == 1 else "") or p.revision.commit[:7] or p.date
        for p in points
    ]


@needs("collect", "pandas", "scipy", "sqlalchemy")
def history(
    store: StoreLike,
    model: str,
    *,
    target: str | None = None,
    alpha: float = 0.05,
    output: PathLike | None = None,
) -> HistoryResult:
    """Latency of a model over the commits of which a store has measurements.

    A file that did not change is not measured again, so it has the same latency.

    Parameters
    ----------
    store : path, URL or Store
    model : str
        The name that the model was measured under, or the end of it.
    target : str, optional
        Which of the store's targets, where it holds several.
    alpha : float
        Rate of false verdicts over all changes together (Holm's correction).
    output : path, optional
        Write the drawing to this file: ``.png``, ``.svg`` or ``.pdf``.

    Raises
    ------
    NotEnoughDataError, UsageError
        Where the store does not know revisions, and for a name that is none of its models.
    """
    from latprof.measurement.across.revisions import files_of, files_of_model
    from latprof.measurement.comparison import check_alpha
    from latprof.measurement.labels import TargetLabels

    check_alpha(alpha)
    if output is not None:
        check_picture(output)
    with open_store(store) as opened:
        measured = TargetLabels.of(opened, target)
        states = files_of_model(files_of(measured.campaigns), model)
        found = HistoryResult(
            states[0].name, measured.target, tuple(_points(measured, states, alpha))
        )
    if output is None:
        return found
    size = (min(max(6.0, 0.35 * len(found.points)), 24.0), 4.0)
    return replace(found, picture=write_picture(found.plot, output, size))


def compare_revisions(
    store: StoreLike, target: str | None, against: str, alpha: float
) -> tuple[tuple[Comparison, ...], tuple[str, ...], tuple[Target, ...]]:
    """:func:`compare_with` in a store; with the target, of both sides."""
    from latprof.measurement.labels import TargetLabels

    with open_store(store) as opened:
        measured = TargetLabels.of(opened, target)
        return *compare_with(measured, against, alpha), (measured.target, measured.target)


def compare_with(
    measured: TargetLabels, against: str, alpha: float = 0.05
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Compare the models of the present commit with those of another revision, in one store.

    The present commit is that of the working folder where the store has it, else the last one that
    the store has.

    Returns
    -------
    tuple of Comparison
        One a model that was measured in both, after Holm's correction.
    tuple of str
        Models of ``against`` without.
    """
    from latprof.measurement.across.revisions import files_at, files_of
    from latprof.measurement.comparison import holm
    from latprof.profilers.host.git_revision import commit_of, revision_here

    files = files_of(measured.campaigns)
    if not files:
        raise NotEnoughDataError(f"{measured.store.location} knows no revisions of model files")
    commits = {each.revision.commit for each in files}
    now = revision_here().commit
    last = files[-1].revision
    present = now if now in commits and now else last.commit
    name = against
    if not any(each.revision.is_called(name) for each in files):
        name = commit_of(against) or against
    before = files_at(files, name, but=present)
    new = files_at(files, present or last.tag or last.branch)
    groups, sides = _by_key(measured)
    found, missing = [], []
    for model, key in before.items():
        if new.get(model) in groups and key in groups:
            found.append(_compared(model, key, new[model], groups, sides, alpha))
        else:
            missing.append(model)
    if not found:
        raise NotEnoughDataError(
            f"no model was measured by two processes both in {against!r} and now"
        )
    return tuple(holm(found, alpha)), tuple(missing)


def _by_key(measured: TargetLabels) -> tuple[dict[str, Any], dict[str, Side]]:
    """Ratios by process and labels of the model files, by their digests."""
    from latprof.profilers.comparing import ratios_by_process, sides_of

    groups = {s.key: v for s, v in ratios_by_process(measured).items() if s.kind == "model"}
    sides = {s.key: side for s, side in sides_of(measured).items() if s.kind == "model"}
    return groups, sides


def _compared(
    name: str,
    old: str,
    new: str,
    groups: dict[str, Any],
    sides: dict[str, Side],
    alpha: float,
) -> Comparison:
    from latprof.measurement.comparison import compare_groups

    found = compare_groups(name, groups[old], groups[new], alpha)
    if old == new:  # the same file, and the same visits
        found = replace(found, low=0.0, high=0.0)
    return replace(found, a=sides.get(old), b=sides.get(new))


def _points(
    measured: TargetLabels, states: Sequence[FileInRevision], alpha: float
) -> list[HistoryPoint]:
    from latprof.measurement.comparison import holm

    groups, sides = _by_key(measured)
    nan = float("nan")
    points: list[HistoryPoint] = []
    changes: dict[int, Comparison] = {}
    for place, state in enumerate(states):
        side = sides.get(state.key)
        label = (nan,) * 3 if side is None else (side.latency_ms, side.low_ms, side.high_ms)
        same = place > 0 and states[place - 1].key == state.key
        if place and not same and {state.key, states[place - 1].key} <= groups.keys():
            old = states[place - 1].key
            changes[place] = _compared(state.name, old, state.key, groups, sides, alpha)
        points.append(
            HistoryPoint(state.revision, state.started_at, state.key, *label, same_file=same)
        )
    for place, change in zip(changes, holm([*changes.values()], alpha), strict=True):
        points[place] = replace(points[place], change=change)
    return points
