"""``lookup-table``: an additive table of block latencies, one entry per position and candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from latprof.common.checked_json import Fields, to_json
from latprof.common.short_reprs import first_names
from latprof.errors import CoverageError, InvalidValueError
from latprof.predictors.base import Choices, FitResult, Floats, PackFiles, Predictor, Terms
from latprof.predictors.features.block_features import Blocks, SpaceTables, space_tables
from latprof.predictors.fitting.block_prior import fit_block_costs
from latprof.predictors.fitting.factors import AdditiveTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import SearchSpace

_FILE = "lookup_table.json"


@dataclass(frozen=True)
class TableRow:
    """One entry of a lookup table.

    ``block`` names the position, ``candidate`` the choice there, ``key`` is the block's key in the
    format of the ProxylessNAS tables, ``count`` the number of training rows that had it.
    """

    position: int
    choice: int
    block: str
    candidate: str
    key: str
    latency_ms: float
    count: int


class LookupTablePredictor(Predictor):
    """Latency as a fixed part plus one table entry for each part of the space.

    The entries are a ridge's, with what is known of block costs as its prior
    (:mod:`latprof.predictors.fitting.block_prior`): with few rows an entry is what blocks of its
    shape cost, with many it is this block's own. An architecture with a candidate that no training
    row had is refused: its entry is missing, not 0.

    Only differences between a position's candidates can be learned from whole networks. What fixes
    their level: the zero operation costs 0 ms by construction. At positions without it (or where no
    row had it) the mean over the candidates seen is set to what their shapes cost: the totals of
    their multiply-accumulates, elements and operators times costs per unit, fitted by least squares
    with no cost below 0. The rest is in ``fixed_ms_``; sums do not depend on it.

    Attributes
    ----------
    table_ : array of shape (parts, combinations)
        Milliseconds of each block (in most spaces a part is one decision: shape (decisions,
        candidates)); NaN where a candidate does not exist or was never seen.
    counts_ : array of the same shape
        Training rows that had each.
    fixed_ms_ : float
        What every architecture of the space takes: stem, head, and the runtime's own time.
    additive_ : AdditiveTable
        Table and fixed part together.
    """

    name: ClassVar[str] = "lookup-table"

    table_: Floats
    counts_: NDArray[np.int64]
    fixed_ms_: float
    additive_: AdditiveTable

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        tables = space_tables(self.space)
        columns = tables.columns(choices)
        costs = fit_block_costs(tables, columns, latency_ms)
        counts = tables.counts(columns)
        shaped = _shape_costs(tables, columns, latency_ms)
        levels = _levels(tables, costs.entries, counts, shaped)
        entries = np.where(counts > 0, costs.entries - levels[tables.column_parts], np.nan)
        fixed = costs.intercept + float(levels.sum())
        additive = AdditiveTable(tables, fixed, tables.padded(entries))
        self._install(additive, tables.padded(counts.astype(np.float64)))
        return FitResult(costs.ridge.left_out)

    def _install(self, additive: AdditiveTable, counts: Floats) -> None:
        self.additive_ = additive
        self.table_, self.fixed_ms_ = additive.entries_ms, additive.intercept_ms
        self.counts_ = np.nan_to_num(counts).astype(np.int64)

    def _predict(self, choices: Choices) -> Floats:
        latency = self.additive_.predict(choices)
        if np.isnan(latency).any():
            self._refuse(choices)
        return latency

    def _refuse(self, choices: Choices) -> None:
        """Name the entries that ``choices`` needs and the table does not have."""
        tables = space_tables(self.space)
        missing = []
        for number, part in enumerate(tables.parts):
            for combination in np.unique(part.combinations(choices)).tolist():
                if np.isnan(self.table_[number, combination]):
                    blocks = tables.column_blocks[part.columns[combination]]
                    missing.append(f"{part.name} {_key(blocks)}")
        raise CoverageError(
            f"the lookup table has no entry for {first_names(missing)}",
            missing,
            hint="measure architectures that have it, or use the hybrid predictor",
        )

    def rows(self) -> list[TableRow]:
        """The table as rows, part after part, entries never seen left out."""
        self.check_fitted()
        tables = space_tables(self.space)
        found = []
        for number, part in enumerate(tables.parts):
            # Combinations that are the same blocks are one entry.
            for column, combination in zip(
                *np.unique(part.columns, return_index=True), strict=True
            ):
                if not self.counts_[number, combination]:
                    continue
                chosen = np.unravel_index(combination, part.sizes)
                names = [
                    self.space.candidates[decision][choice]
                    for decision, choice in zip(part.decisions, chosen, strict=True)
                ]
                found.append(
                    TableRow(
                        position=number,
                        choice=int(combination),
                        block=part.name,
                        candidate=", ".join(names),
                        key=_key(tables.column_blocks[column]),
                        latency_ms=float(self.table_[number, combination]),
                        count=int(self.counts_[number, combination]),
                    )
                )
        return found

    def terms(self) -> Terms:
        return Terms(self.additive_.intercept_ms, self.additive_.factors)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        return {_FILE: to_json({**self.additive_.to_fields(), "counts": self.counts_})}

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        fields = Fields.of_file(files, _FILE)
        additive = AdditiveTable.from_fields(fields, space_tables(space), whole=False)
        counts = fields.array("counts", additive.entries_ms.shape)
        if np.any((counts < 0) | (counts != np.round(counts)) | (counts > 2**53)):
            fields.wrong("counts", "numbers of training rows")
        if np.any((counts > 0) != np.isfinite(additive.entries_ms)):
            fields.wrong("counts", "rows for every entry, and for no other")
        predictor = cls(space)
        predictor._install(additive, counts)
        return predictor

    @classmethod
    def of_entries(
        cls, space: SearchSpace, entries_ms: Floats, counts: Floats, fixed_ms: float = 0.0
    ) -> Self:
        """Make a fitted table of entries that come from elsewhere.

        Parameters
        ----------
        space : SearchSpace
        entries_ms : array of shape (parts, combinations)
            Finite milliseconds; NaN where a candidate does not exist, or is not known.
        counts : array of the same shape
            Above 0 for every entry, 0 or NaN for no other: how many measurements it rests on.
        fixed_ms : float
            What every architecture of the space takes.

        Raises
        ------
        InvalidValueError
            For arrays of other shapes, or counts that do not fit the entries.
        """
        tables = space_tables(space)
        shape = (len(tables.parts), tables.most_combinations)
        if entries_ms.shape != shape or counts.shape != shape:
            raise InvalidValueError(
                "the entries of a lookup table have the wrong shape",
                expected=str(shape),
                got=f"{entries_ms.shape} and {counts.shape}",
            )
        if np.any((np.nan_to_num(counts) > 0) != np.isfinite(entries_ms)):
            raise InvalidValueError(
                "the counts of a lookup table do not fit its entries",
                expected="a count above 0 for every entry, and for no other",
            )
        predictor = cls(space)
        predictor._install(AdditiveTable(tables, fixed_ms, entries_ms), counts)
        return predictor


def _key(blocks: Blocks) -> str:
    """The keys of a column's blocks; a block that comes several times once, with its number."""
    keys = Counter(block.key for block in blocks)
    return " + ".join(key if count == 1 else f"{count} x {key}" for key, count in keys.items())


def _shape_costs(tables: SpaceTables, columns: NDArray[np.int64], latency_ms: Floats) -> Floats:
    """What each column costs in ms by its shape totals alone, shape (columns,); never below 0."""
    from scipy.optimize import nnls

    totals = tables.totals / np.maximum(tables.totals.max(axis=0), 1e-300)
    features = tables.sums(columns, totals)
    costs, _ = nnls(features - features.mean(axis=0), latency_ms - latency_ms.mean())
    shaped: Floats = totals @ costs
    return shaped


def _levels(
    tables: SpaceTables, entries: Floats, counts: NDArray[np.int64], shaped: Floats
) -> Floats:
    """What to take off each part's entries so that they are costs, shape (parts,)."""
    levels = np.zeros(len(tables.parts))
    for part in range(len(levels)):
        seen = (tables.column_parts == part) & (counts > 0)
        zero = seen & tables.zero_columns
        if zero.any():
            levels[part] = entries[zero].mean()
        else:
            levels[part] = (entries[seen] - shaped[seen]).mean()
    return levels
