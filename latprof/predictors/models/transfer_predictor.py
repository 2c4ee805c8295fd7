"""``transfer``: a device from a few measurements and the predictors of other devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from latprof.common.checked_json import Fields, to_json
from latprof.errors import CoverageError, InvalidValueError
from latprof.predictors.base import (
    Batch,
    Choices,
    FitResult,
    Floats,
    PackFiles,
    Predictor,
    Terms,
)
from latprof.predictors.features.block_features import Blocks, SpaceTables, space_tables
from latprof.predictors.fitting.block_similarity import similarity_design
from latprof.predictors.fitting.factors import (
    AdditiveTable,
    Factor,
    FactorSum,
    factors_from_fields,
    factors_to_fields,
)
from latprof.predictors.fitting.transfer_model import (
    FeatureScale,
    TransferFeatures,
    TransferFit,
    choose_architectures,
    fit_transfer,
)
from latprof.predictors.fitting.trees import TreeEnsemble

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.models.block_times import BlockTimes

_TABLE_FILE = "table.json"
_TREES_FILE = "trees.json"
#: Architectures whose features say how much each varies.
_POOL = 2000
_LARGEST = 1e12
#: Channels that a vector or a block of the memory layout holds. PyTorch on a processor with AVX-512
#: takes as long for the depthwise convolution of 72 channels as for that of 144.
_VECTOR = 16
#: Parts in which rows are left out where a table of kernels would know them; ten rows, one by one.
_FOLDS = 10
#: Measured architectures, at most: the time of a fit grows with their cube.
_MOST_ROWS = 1000
#: Trees of all sources, at most: more would be refused when the pack is read.
_MOST_TREES = 20_000


class TransferPredictor(Predictor):
    """Predicts a new device from few measurements and other devices' predictors.

    Three measured architectures are the fewest, 1,000 the most that it is fitted to.

    See :mod:`latprof.predictors.fitting.transfer_model`. Which architectures to measure says
    :func:`choose_for_transfer`; with others it works too, less well. Once fitted it stands alone:
    the sources are folded into one sum of tables and trees, which is what it saves.

    Parameters
    ----------
    space : SearchSpace
    sources : sequence of Predictor
        Fitted predictors of other devices, of the same space, as loaded from packs. A predictor
        that comes from a pack has none: it predicts, but cannot be fitted again.
    block_times : BlockTimes, optional
        Kernel times of networks on the new device, those that it is fitted to or others: the table
        that they give (:mod:`latprof.predictors.models.block_times`) is one more source, and
        usually by far the best.

    Attributes
    ----------
    weights_ : array of shape (sources,)
        How many ms of this device a ms of each source counts; the last one is that of the kernels'
        table, where there is one.
    intercept_ms_ : float
    factors_ : tuple of Factor
        Tables of the sources, times their weights, and of this device, in ms.
    trees_ : TreeEnsemble
        Trees of the sources, times their weights.
    sum_ : FactorSum
        Intercept and factors together.
    """

    name: ClassVar[str] = "transfer"
    min_rows: ClassVar[int] = 3
    beyond_rows: ClassVar[bool] = True

    weights_: Floats
    intercept_ms_: float
    factors_: tuple[Factor, ...]
    trees_: TreeEnsemble
    sum_: FactorSum

    def __init__(
        self,
        space: SearchSpace,
        sources: Sequence[Predictor] = (),
        block_times: BlockTimes | None = None,
    ) -> None:
        self.space = space
        self.sources = sources
        self.block_times = block_times

    def _fit(self, choices: Choices, latency_ms: Floats) -> FitResult:
        if len(choices) > _MOST_ROWS:
            raise InvalidValueError(
                "too many measured architectures for a transfer",
                expected=f"at most {_MOST_ROWS:,}",
                got=f"{len(choices):,}",
                hint="these many need no other devices: fit the hybrid predictor (latprof train)",
            )
        tables = space_tables(self.space)
        pool = _Known.of(self.space, self.sources, _pool(self.space, 0))
        rows = _Known.of(self.space, self.sources, choices)
        table = None if self.block_times is None else self.block_times.table(self.space)
        fit = _fitted(rows, latency_ms, pool, table)
        shapes, own = _designs(tables)
        entries = shapes @ fit.shape_costs + own @ fit.choice_costs
        additive = AdditiveTable(tables, fit.intercept_ms, tables.padded(entries))
        sources = [*self.sources] if table is None else [*self.sources, table]
        terms = _weighted_sum(sources, fit.source_weights, tables)
        factors = _by_decisions((*terms.factors, *additive.factors))
        assert terms.trees is not None
        self._install(
            fit.source_weights, fit.intercept_ms + terms.intercept_ms, factors, terms.trees
        )
        left_out_ms = fit.left_out_ms
        if table is not None and self.block_times is not None:
            # The table knows the blocks of the very rows: it is made without them.
            left_out_ms = _left_out_ms(self.space, self.block_times, rows, latency_ms, pool)
        return FitResult(left_out_ms, region=pool.choices)

    def _install(
        self,
        weights: Floats,
        intercept_ms: float,
        factors: tuple[Factor, ...],
        trees: TreeEnsemble,
    ) -> None:
        self.weights_, self.intercept_ms_ = weights, intercept_ms
        self.factors_, self.trees_ = factors, trees
        sizes = space_tables(self.space).num_choices.tolist()
        self.sum_ = FactorSum(intercept_ms, factors, sizes)

    def _predict(self, choices: Choices) -> Floats:
        latency = self.sum_.predict(choices)
        if len(self.trees_) or self.trees_.base_ms:
            latency += self.trees_.predict(choices)
        return latency

    def terms(self) -> Terms:
        return Terms(self.intercept_ms_, self.factors_, self.trees_)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        table = {
            "weights": self.weights_,
            "intercept_ms": self.intercept_ms_,
            "factors": factors_to_fields(self.factors_),
        }
        return {_TABLE_FILE: to_json(table), _TREES_FILE: to_json(self.trees_.to_fields())}

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        tables = space_tables(space)
        fields = Fields.of_file(files, _TABLE_FILE)
        predictor = cls(space)
        predictor._install(
            fields.array("weights", (None,)),
            fields.number("intercept_ms", -_LARGEST, _LARGEST),
            factors_from_fields(fields, "factors", tables),
            TreeEnsemble.from_fields(Fields.of_file(files, _TREES_FILE), tables.decisions),
        )
        return predictor


def choose_for_transfer(
    space: SearchSpace,
    sources: Sequence[Predictor],
    n: int,
    *,
    pool: Batch | None = None,
    seed: int = 0,
) -> Choices:
    """Choose ``n`` architectures to measure on a new device, as choices of shape (n, decisions).

    They are those that most reduce the predictive variance of the rest, the most useful first:
    the first m of n are those chosen for m.

    Parameters
    ----------
    space : SearchSpace
    sources : sequence of Predictor
        Fitted predictors of other devices, of the same space.
    n : int
        Ten is a good number.
    pool : sequence of Architecture, or integer array of shape (m, decisions), optional
        What to choose from; by default 2,000 architectures drawn from the space.
    seed : int
        Of that draw.

    Raises
    ------
    InvalidValueError
        For no source, one that is not fitted or of another space, or an ``n`` out of range.
    CoverageError
        Where a source does not know a candidate in the pool.
    """
    drawn = _pool(space, seed) if pool is None else space.canonical(space.choices(pool))
    drawn = np.unique(drawn, axis=0)
    return drawn[choose_architectures(transfer_features(space, sources, drawn), n)]


# Features ----------------------------------------------------------------------------------


def _pool(space: SearchSpace, seed: int) -> Choices:
    return space.sample_choices(min(_POOL, space.num_architectures), seed)


def transfer_features(
    space: SearchSpace, sources: Sequence[Predictor], choices: NDArray[np.uint8]
) -> TransferFeatures:
    """What is known of n architectures, given as canonical choices, without measuring them.

    Raises InvalidValueError for no source, one that is no predictor, not fitted or of another
    space, and CoverageError where one does not know a candidate.
    """
    if not sources:
        raise InvalidValueError(
            "there is no other device to transfer from",
            field="sources",
            expected="at least one fitted predictor",
            hint="pass the predictors of other devices' packs; a loaded one cannot be fitted again",
        )
    if not isinstance(sources, Sequence | np.ndarray) or not all(
        isinstance(source, Predictor) for source in sources
    ):
        raise InvalidValueError(
            "the sources are no predictors",
            field="sources",
            expected="a list of fitted predictors",
            got=repr(sources)[:80],
            hint="load_pack(path).predictor is the predictor of a pack",
        )
    for source in sources:
        if source.space.description != space.description:
            raise InvalidValueError(
                "a source predicts another search space",
                field="sources",
                expected=space.description,
                got=source.space.description[:500],
            )
    tables = space_tables(space)
    columns = tables.columns(choices)
    shapes, own = (tables.sums(columns, design) for design in _designs(tables))
    source_ms = np.stack([source.predict(choices) for source in sources], axis=1)
    return TransferFeatures(source_ms, shapes, own)


@lru_cache(maxsize=4)
def _designs(tables: SpaceTables) -> tuple[Floats, Floats]:
    """What each column of the space adds to the shapes and to the choices, (columns, t or q).

    Shapes are the columns' totals, how often each kind of block is there, and how much of its
    depthwise convolutions does not fill vectors; choices are alike for similar blocks.
    """
    kinds = sorted({block.choice for blocks in tables.column_blocks for block in blocks})
    counts = np.array(
        [
            [*(sum(block.choice == kind for block in blocks) for kind in kinds), _unfilled(blocks)]
            for blocks in tables.column_blocks
        ],
        dtype=np.float64,
    )
    return np.hstack([tables.totals, counts]), similarity_design(tables)


def _unfilled(blocks: Blocks) -> int:
    """Elements of depthwise convolutions whose channels are no multiple of :data:`_VECTOR`."""
    operators = (operator for block in blocks for operator in block.operators())
    return sum(
        operator.activation_elements
        for operator in operators
        if operator.kind.startswith("depthwise") and operator.output_shapes[0][1] % _VECTOR
    )


@dataclass(frozen=True, eq=False)
class _Known:
    """Architectures and what is known of them without the table of the new device's kernels."""

    choices: Choices
    features: TransferFeatures

    @classmethod
    def of(cls, space: SearchSpace, sources: Sequence[Predictor], choices: Choices) -> _Known:
        return cls(choices, transfer_features(space, sources, choices))

    def rows(self, index: NDArray[np.int64]) -> _Known:
        return _Known(self.choices[index], self.features.rows(index))

    def beside(self, table: Predictor | None) -> TransferFeatures:
        """The features with the table, if there is one, as the last source."""
        if table is None:
            return self.features
        source_ms = np.column_stack([self.features.source_ms, table.predict(self.choices)])
        return dataclasses.replace(self.features, source_ms=source_ms)


def _fitted(rows: _Known, latency_ms: Floats, pool: _Known, table: Predictor | None) -> TransferFit:
    scale = FeatureScale.of(pool.beside(table))
    own = table is not None
    return fit_transfer(rows.beside(table), latency_ms, scale, last_is_own_table=own)


def _left_out_ms(
    space: SearchSpace, times: BlockTimes, rows: _Known, latency_ms: Floats, pool: _Known
) -> Floats:
    """What is predicted for each row from latencies and kernels of others alone, shape (n,)."""
    numbers = np.arange(len(latency_ms))
    left_out = np.empty(len(latency_ms))
    for fold in np.array_split(numbers, min(len(numbers), _FOLDS)):
        others = np.setdiff1d(numbers, fold)
        table = times.without(rows.choices[fold]).table(space)
        fit = _fitted(rows.rows(others), latency_ms[others], pool, table)
        left_out[fold] = fit.predict(rows.rows(fold).beside(table))
    return left_out


# Folding -----------------------------------------------------------------------------------


def _weighted_sum(sources: Sequence[Predictor], weights: Floats, tables: SpaceTables) -> Terms:
    """The sources' tables and trees, each times its source's weight, as those of one predictor."""
    intercept, factors, trees = 0.0, [], []
    for source, weight in zip(sources, weights.tolist(), strict=True):
        terms = source.terms()
        if terms is None:
            raise InvalidValueError(
                f"the {source.name} predictor is no sum of tables and trees, which a source must be"
            )
        if not all(np.isfinite(factor.table_ms).all() for factor in terms.factors):
            raise CoverageError(
                "a source does not know every candidate of its space",
                [source.name],
                hint="take another predictor of that device, such as hybrid",
            )
        intercept += weight * terms.intercept_ms
        factors += [Factor(f.decisions, weight * f.table_ms) for f in terms.factors]
        if terms.trees is not None:
            trees.append((weight, terms.trees))
    return Terms(intercept, tuple(factors), _joined(trees, tables))


def _by_decisions(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """Sum the factors that are over the same decisions."""
    sums: dict[tuple[int, ...], Floats] = {}
    for factor in factors:
        known = sums.get(factor.decisions)
        sums[factor.decisions] = factor.table_ms if known is None else known + factor.table_ms
    return tuple(Factor(decisions, table) for decisions, table in sums.items())


def _joined(weighted: Sequence[tuple[float, TreeEnsemble]], tables: SpaceTables) -> TreeEnsemble:
    """One ensemble whose leaves are those of all, each times its weight."""
    if not weighted:
        return TreeEnsemble.empty(tables.decisions)
    trees = [each for _, each in weighted]
    if sum(map(len, trees)) > _MOST_TREES:
        raise InvalidValueError(
            "the sources have too many trees",
            field="sources",
            expected=f"at most {_MOST_TREES:,}",
            got=f"{sum(map(len, trees)):,}",
            hint="take fewer sources",
        )
    values = [
        np.where(each.feature < 0, np.float32(weight) * each.value, each.value)
        for weight, each in weighted
    ]
    return TreeEnsemble(
        tables.decisions,
        sum(weight * each.base_ms for weight, each in weighted),
        np.concatenate([each.sizes for each in trees]),
        np.concatenate([each.feature for each in trees]),
        np.concatenate([each.left for each in trees]),
        np.concatenate([each.right for each in trees]),
        np.concatenate(values).astype(np.float32),
    )
