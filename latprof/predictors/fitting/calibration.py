"""How far a prediction can be trusted: intervals, upper bounds, distance from the training rows.

Intervals are conformal: quantiles of the errors of training rows that their model had not seen,
each divided by how difficult the row was expected to be, times how difficult the new one is (Lei et
al., JASA 2018, section 5.2). They hold for architectures drawn as the training rows were. A search
moves away from these; the distance says how far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.checked_json import Fields, to_json
from latprof.common.limits import INNER_SHARE
from latprof.common.short_reprs import ShortRepr
from latprof.errors import NotEnoughDataError
from latprof.predictors.fitting.factors import AdditiveTable
from latprof.predictors.fitting.ridge import fit_ridge

if TYPE_CHECKING:
    from latprof.predictors.features.block_features import SpaceTables

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Choices: TypeAlias = NDArray[np.uint8]

#: Share of measurements that an interval should hold.
COVERAGE = 0.9
#: Name of the file in a pack, beside the predictor's own.
FILE = "calibration.json"
#: Errors kept: all up to this many, else so many of them, evenly spaced by rank.
_KEPT = 1000
#: Rows from which difficulty is learned, and from which both tails have a quantile of their own.
_DIFFICULTY_ROWS = 200
#: Share of the training rows that lie within distance 1.
_INSIDE = 0.99
#: Variance of a direction that the rows do not span, as a share of the one they span most.
_SHORTEST = 1e-3
#: Relative deviations below this are rounding errors.
_ROUNDING = 1e-9
#: Errors below this share of the typical one are as good as it: their logarithm says nothing.
_SMALLEST = 0.05
#: Bounds of what a file may state, far beyond what fits give: no product of them overflows.
_LARGEST_SCORE, _LARGEST_TOTAL, _LARGEST_WEIGHT = 1e30, 1e30, 1e60


@dataclass(frozen=True, eq=False, repr=False)
class Difficulty(ShortRepr):
    """Expected size of the error: ``exp(table + slope log(prediction))``, up to a factor.

    ``table`` is of logarithms, not milliseconds; None where the table plays no part.
    """

    slope: float
    table: AdditiveTable | None = None

    def of(self, choices: Choices, predicted_ms: Floats) -> Floats:
        """Sizes of n errors, shape (n,), all above 0."""
        log = self.slope * np.log(np.maximum(predicted_ms, 1e-9))
        if self.table is not None:
            log = log + self.table.predict(choices)
        sizes: Floats = np.exp(np.clip(log, -50.0, 50.0))
        return sizes


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(ShortRepr):
    """Errors of training rows left out, and where the training rows lie.

    Parameters
    ----------
    rows : int
        Number of training rows n.
    ranks, scores : array of shape (kept,)
        Of the n signed errors (measured minus predicted, over the difficulty), sorted: which were
        kept, from 1 to n, and their values.
    difficulty : Difficulty
    least_ms : float
        Half of the least latency measured: no prediction is below it. A sum of block costs that few
        rows taught can be, even below 0.
    centre : array of shape (totals,)
        Mean of the training rows' shape totals.
    whitening : array of shape (totals, k)
        Makes the totals' deviations uncorrelated, in units in which 99 % of the training rows are
        within 1 of the centre.
    """

    tables: SpaceTables
    rows: int
    ranks: Integers
    scores: Floats
    difficulty: Difficulty
    least_ms: float
    centre: Floats
    whitening: Floats

    def quantile(self, level: float) -> float:
        """The error, over the difficulty, that a new row exceeds with probability 1 - ``level``.

        The ceil((n + 1) level)-th smallest; where n is too small for that, raises
        NotEnoughDataError.
        """
        INNER_SHARE.check("level", level)
        rank = math.ceil((self.rows + 1) * level - 1e-9)
        if rank > self.rows:
            raise NotEnoughDataError(
                f"{self.rows} training rows are too few for a bound at {level:g}",
                expected=f"at least {math.ceil(level / (1 - level))}",
                got=str(self.rows),
                hint="measure more, or ask for a lower `upper`",
            )
        # Between two kept ranks the larger error holds.
        return float(self.scores[np.searchsorted(self.ranks, rank)])

    def upper(self, choices: Choices, predicted_ms: Floats, level: float) -> Floats:
        """Latencies in ms that measurements exceed with probability 1 - ``level``, shape (n,)."""
        bound: Floats = predicted_ms + self.quantile(level) * self.difficulty.of(
            choices, predicted_ms
        )
        return bound

    def interval(
        self, choices: Choices, predicted_ms: Floats, coverage: float = COVERAGE
    ) -> tuple[Floats, Floats, float]:
        """Ends in ms of n intervals, each of shape (n,), and the coverage that they promise.

        Where there are enough rows, each end leaves out half of the rest. With few, the interval is
        symmetric, and where n rows cannot promise ``coverage`` it promises n / (n + 1).
        """
        size = self.difficulty.of(choices, predicted_ms)
        tail = math.floor((self.rows + 1) * (1 - coverage) / 2 + 1e-9)
        if self.rows >= _DIFFICULTY_ROWS and tail:
            upper = self.quantile(1 - (1 - coverage) / 2)
            lower = float(self.scores[np.searchsorted(self.ranks, tail, side="right") - 1])
        else:
            rank = math.ceil((self.rows + 1) * coverage - 1e-9)
            if rank > self.rows:
                rank, coverage = self.rows, self.rows / (self.rows + 1)
            # Where only some of the errors were kept, the largest of them holds for all.
            kept_all = len(self.scores) == self.rows
            upper = float(np.sort(np.abs(self.scores))[rank - 1 if kept_all else -1])
            lower = -upper
        low: Floats = np.maximum(predicted_ms + lower * size, 0.0)
        high: Floats = np.maximum(predicted_ms + upper * size, low)
        return low, high, coverage

    def distance(self, choices: Choices) -> Floats:
        """How far n architectures are from the training rows, shape (n,).

        Mahalanobis distance of their shape totals, in units of the distance within which 99 % of
        the training rows lie: above 1 is outside.
        """
        totals = self.tables.sums(self.tables.columns(choices), self.tables.totals)
        away: Floats = np.sqrt((((totals - self.centre) @ self.whitening) ** 2).sum(axis=1))
        return away

    # Files -------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return the calibration as JSON, for a pack."""
        table = self.difficulty.table
        return to_json(
            {
                "rows": self.rows,
                "ranks": self.ranks,
                "scores": self.scores,
                "difficulty": {
                    "slope": self.difficulty.slope,
                    "table": None if table is None else table.to_fields(),
                },
                "least_ms": self.least_ms,
                "centre": self.centre,
                "whitening": self.whitening,
            }
        )

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], tables: SpaceTables) -> Calibration:
        """Rebuild a calibration; raises PackError for anything that is none."""
        fields = Fields.of_file(files, FILE)
        rows = fields.integer("rows", 1)
        ranks = fields.integers("ranks", None, 1, rows)
        scores = _bounded(fields, "scores", (len(ranks),), _LARGEST_SCORE)
        if not len(ranks) or ranks[-1] != rows or np.any(np.diff(ranks) <= 0):
            fields.wrong("ranks", "ascending ranks up to the number of rows")
        if np.any(np.diff(scores) < 0):
            fields.wrong("scores", "sorted errors")
        difficulty = fields.fields("difficulty")
        table = difficulty.optional_fields("table")
        centre = _bounded(fields, "centre", (tables.totals.shape[1],), _LARGEST_TOTAL)
        whitening = _bounded(fields, "whitening", (len(centre), None), _LARGEST_WEIGHT)
        if whitening.shape[1] > len(centre):
            fields.wrong("whitening", f"at most {len(centre)} columns")
        return cls(
            tables,
            rows,
            ranks,
            scores,
            Difficulty(
                difficulty.number("slope", -100, 100),
                None if table is None else AdditiveTable.from_fields(table, tables),
            ),
            # The first packs of format 2 do not state it.
            fields.number("least_ms", 0, 1e12) if "least_ms" in fields.values else 0.0,
            centre,
            whitening,
        )


def _bounded(fields: Fields, name: str, shape: tuple[int | None, ...], most: float) -> Floats:
    """An array of numbers that are no larger than any fit would give."""
    values = fields.array(name, shape)
    if np.any(np.abs(values) > most):
        fields.wrong(name, f"numbers up to {most:g}")
    return values


def calibrate(
    tables: SpaceTables,
    choices: Choices,
    left_out_ms: Floats,
    latency_ms: Floats,
    known: Choices | None = None,
) -> Calibration:
    """Calibrate on n training rows and what models that had not seen them predicted.

    ``known`` are the architectures whose region distances are measured from, where they are not the
    training rows.

    How the error's size follows from the prediction and the shapes is chosen, inside these rows, by
    the width of the intervals: not at all, in proportion, or by a ridge on the errors' logarithms.
    """
    columns = tables.columns(choices)
    least_ms = float(latency_ms.min()) / 2
    left_out_ms = np.maximum(left_out_ms, least_ms)  # as predictions are
    errors = latency_ms - left_out_ms
    candidates = [(Difficulty(0.0), np.ones(len(errors)))]
    candidates.append((Difficulty(1.0), np.maximum(left_out_ms, 1e-9)))
    if len(errors) >= _DIFFICULTY_ROWS:
        candidates.append(_learned(tables, columns, errors))
    widths = [_width(errors / sizes) * float(sizes.mean()) for _, sizes in candidates]
    # With few rows the errors are a share of the prediction, as users expect, unless absurd:
    # where latencies span orders of magnitude a prediction near 0 can be any number of times off.
    few = 0 if widths[0] < widths[1] / 4 else 1
    best = int(np.argmin(widths)) if len(errors) >= _DIFFICULTY_ROWS else few
    difficulty, sizes = candidates[best]
    scores = np.sort(errors / sizes)
    ranks = np.arange(1, len(scores) + 1)
    if len(scores) > _KEPT:
        ranks = np.unique(np.round(np.linspace(1, len(scores), _KEPT)).astype(np.int64))
    inside = columns if known is None else tables.columns(known)
    centre, whitening = _region(tables.sums(inside, tables.totals), tables.total_deviations)
    kept: Floats = scores[ranks - 1]
    return Calibration(tables, len(scores), ranks, kept, difficulty, least_ms, centre, whitening)


def _width(scores: Floats) -> float:
    low, high = np.quantile(scores, [(1 - COVERAGE) / 2, 1 - (1 - COVERAGE) / 2])
    return float(high - low)


def _learned(tables: SpaceTables, columns: Integers, errors: Floats) -> tuple[Difficulty, Floats]:
    """Difficulty by a ridge of the errors' logarithms on shape totals, and its sizes left out."""
    absolute = np.abs(errors)
    target = np.log(absolute + max(_SMALLEST * float(np.median(absolute)), 1e-12))
    totals = tables.sums(columns, tables.totals)
    spread = totals.std(axis=0)
    kept = spread > 0
    design = tables.totals[:, kept] / spread[kept]
    fit = fit_ridge(tables.sums(columns, design), target)
    table = AdditiveTable(tables, fit.intercept, tables.padded(design @ fit.coefficients))
    sizes: Floats = np.exp(fit.left_out)
    return Difficulty(0.0, table), sizes


def _region(totals: Floats, deviations: Floats) -> tuple[Floats, Floats]:
    """Centre and whitening of n rows of shape totals; see :class:`Calibration`.

    ``deviations``, shape (totals,), are those over the whole space: the unit of totals that are the
    same in all rows, so that what differs in them is far away, not at no distance.
    """
    centre = totals.mean(axis=0)
    spread = totals.std(axis=0)
    spread = np.where(spread > _ROUNDING * np.abs(totals).max(axis=0), spread, 0.0)
    unit = np.where(spread > 0, spread, deviations)
    scale = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit > 0)
    standard = (totals - centre) * scale
    values, vectors = np.linalg.eigh(standard.T @ standard / len(totals))
    # Directions that these rows hardly span count as short ones, not as none.
    floor = _SHORTEST * max(float(values.max(initial=0.0)), 1.0)
    whitening = scale[:, None] * vectors / np.sqrt(np.maximum(values, floor))
    away = np.sqrt((((totals - centre) @ whitening) ** 2).sum(axis=1))
    inside = float(np.quantile(away, _INSIDE))
    return centre, whitening / (inside if inside > _ROUNDING / _SHORTEST else 1.0)
