"""``transfer``: a device from a few measurements and the predictors of other devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from latprof.common.checked_json import Fields, to_json
from latprof.errors import InvalidValueError, shown
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
from latprof.predictors.fitting.grid import is_small
from latprof.predictors.fitting.transfer_model import (
    FeatureScale,
    TransferFeatures,
    TransferFit,
    choose_architectures,
    fit_transfer,
)
from latprof.predictors.fitting.trees import TreeEnsemble
from latprof.predictors.models.folding import by_decisions, weighted_sum
from latprof.predictors.models.pruned_networks import (
    PRUNED,
    UNPRUNED,
    fit_networks,
    networks_from_fields,
    over_space,
    viewed,
)

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
        that comes from a pack has none: it predicts, but cannot be fitted again. With
        ``block_times`` none are needed.
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
    networks_ : str
        As for ``hybrid``: whether this device takes time for dead operators, as the rows showed.
    """

    name: ClassVar[str] = "transfer"
    min_rows: ClassVar[int] = 3
    beyond_rows: ClassVar[bool] = True

    weights_: Floats
    intercept_ms_: float
    factors_: tuple[Factor, ...]
    trees_: TreeEnsemble
    sum_: FactorSum
    networks_: str

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
        pool = _pool(self.space, 0)
        if self.block_times is not None:
            # The table of kernels knows what the runtime ran.
            fit = self._fitted(UNPRUNED, choices, latency_ms)
            self._install(fit.weights, fit.terms, UNPRUNED)
            return FitResult(fit.held_ms, region=pool)
        found = fit_networks(self.space, choices, latency_ms, self._fitted)
        fit = next(iter(found.fits.values()))
        terms = fit.terms
        if found.networks != UNPRUNED and is_small(self.space.num_choices.tolist()):
            grid = over_space(self.space, found, _Fitted.predict)
            every = tuple(range(grid.ndim))
            terms = Terms(0.0, (Factor(every, grid),), TreeEnsemble.empty(fit.tables.decisions))
        self._install(fit.weights, terms, found.networks)
        return FitResult(found.held_ms, region=pool)

    def _fitted(self, networks: str, choices: Choices, latency_ms: Floats) -> _Fitted:
        """Fit to architectures under one hypothesis of :mod:`pruned_networks`."""
        table = None if self.block_times is None else self.block_times.table(self.space)
        if table is None and not self.sources:
            raise _no_source()
        tables = space_tables(self.space)
        pool_choices = viewed(self.space, networks, _pool(self.space, 0))
        pool = _Known.of(self.space, self.sources, pool_choices)
        rows = _Known.of(self.space, self.sources, choices)
        fit = _fitted(rows, latency_ms, pool, table)
        shapes, own = _designs(tables)
        entries = shapes @ fit.shape_costs + own @ fit.choice_costs
        additive = AdditiveTable(tables, fit.intercept_ms, tables.padded(entries))
        sources = [*self.sources] if table is None else [*self.sources, table]
        terms = weighted_sum(sources, fit.source_weights, tables)
        factors = by_decisions((*terms.factors, *additive.factors))
        left_out_ms = fit.left_out_ms
        if table is not None and self.block_times is not None:
            # The table knows the blocks of the very rows: it is made without them.
            left_out_ms = _left_out_ms(self.space, self.block_times, rows, latency_ms, pool)
        terms = Terms(fit.intercept_ms + terms.intercept_ms, factors, terms.trees)
        return _Fitted(tables, fit.source_weights, terms, left_out_ms)

    def _install(self, weights: Floats, terms: Terms, networks: str) -> None:
        assert terms.trees is not None
        self.weights_, self.intercept_ms_ = weights, terms.intercept_ms
        self.factors_, self.trees_, self.networks_ = terms.factors, terms.trees, networks
        sizes = space_tables(self.space).num_choices.tolist()
        self.sum_ = FactorSum(terms.intercept_ms, terms.factors, sizes)

    @property
    def _prunes(self) -> bool:
        """Whether the tables are of pruned architectures, not folded into those as named."""
        return self.networks_ == PRUNED and not is_small(self.space.num_choices.tolist())

    def _predict(self, choices: Choices) -> Floats:
        if self._prunes:
            choices = self.space.pruned(choices)
        latency = self.sum_.predict(choices)
        if len(self.trees_) or self.trees_.base_ms:
            latency += self.trees_.predict(choices)
        return latency

    def terms(self) -> Terms | None:
        if self._prunes:
            return None
        return Terms(self.intercept_ms_, self.factors_, self.trees_)

    def to_files(self) -> PackFiles:
        self.check_fitted()
        table = {
            "weights": self.weights_,
            "intercept_ms": self.intercept_ms_,
            "factors": factors_to_fields(self.factors_),
            "networks": self.networks_,
        }
        return {_TABLE_FILE: to_json(table), _TREES_FILE: to_json(self.trees_.to_fields())}

    @classmethod
    def from_files(cls, space: SearchSpace, files: Mapping[str, bytes]) -> Self:
        tables = space_tables(space)
        fields = Fields.of_file(files, _TABLE_FILE)
        predictor = cls(space)
        predictor._install(
            fields.array("weights", (None,)),
            Terms(
                fields.number("intercept_ms", -_LARGEST, _LARGEST),
                factors_from_fields(fields, "factors", tables),
                TreeEnsemble.from_fields(Fields.of_file(files, _TREES_FILE), tables.decisions),
            ),
            networks_from_fields(fields),
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


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A fit to architectures under one hypothesis; ``held_ms`` are its rows left out, in ms."""

    tables: SpaceTables
    weights: Floats
    terms: Terms
    held_ms: Floats

    def predict(self, choices: Choices) -> Floats:
        """Latencies in ms of n architectures under the hypothesis, shape (n,)."""
        assert self.terms.trees is not None
        sizes = self.tables.num_choices.tolist()
        latency = FactorSum(self.terms.intercept_ms, self.terms.factors, sizes).predict(choices)
        return latency + self.terms.trees.predict(choices)


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
        raise _no_source()
    return _features(space, sources, choices)


def _no_source() -> InvalidValueError:
    return InvalidValueError(
        "there is no other device to transfer from",
        field="sources",
        expected="at least one fitted predictor",
        hint="pass the predictors of other devices' packs; a loaded one cannot be fitted again",
    )


def _features(
    space: SearchSpace, sources: Sequence[Predictor], choices: NDArray[np.uint8]
) -> TransferFeatures:
    """The same, also of no source."""
    if not isinstance(sources, Sequence | np.ndarray) or not all(
        isinstance(source, Predictor) for source in sources
    ):
        raise InvalidValueError(
            "the sources are no predictors",
            field="sources",
            expected="a list of fitted predictors",
            got=shown(sources),
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
    source_ms = np.empty((len(choices), len(sources)))
    for number, source in enumerate(sources):
        source_ms[:, number] = source.predict(choices)
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
        return cls(choices, _features(space, sources, choices))

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
