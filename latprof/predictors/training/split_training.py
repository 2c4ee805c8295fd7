"""From measured architectures to a pack: split, fit, judge on the rest, compare, pack."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.published.splits import split_rows
from latprof.errors import CoverageError, InvalidValueError, NotEnoughDataError
from latprof.predictors.fitting.evaluation import Indices, Metrics, evaluate
from latprof.predictors.fitting.repeated import distinct_rows
from latprof.predictors.models.by_name import predictor_names, seeded_predictor
from latprof.predictors.models.transfer_predictor import TransferPredictor
from latprof.predictors.pack.pack import HeldOut, Pack, Rows
from latprof.registry import PREDICTORS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.graph.operators import Operator
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.base import Batch, Choices, Floats, Predictor
    from latprof.predictors.models.block_times import BlockTimes


@dataclass(frozen=True)
class FitProgress:
    """A fit that begins: which predictor, the how manieth of how many, and to how many rows."""

    predictor: str
    number: int
    total: int
    rows: int


OnFit: TypeAlias = Callable[[FitProgress], None]

#: Fewest measured architectures, training and held-out rows together.
MIN_ROWS = 10
#: Most rows beside which kernel times are tried.
_ROWS_FOR_KERNELS = 200


def train(  # noqa: PLR0913 - what a pack carries is named here
    space: SearchSpace,
    architectures: Batch,
    latency_ms: ArrayLike,
    *,
    predictor: str = "hybrid",
    target: Target | None = None,
    noise_floor: NoiseFloor | None = None,
    reference: str = "",
    reference_ms: float | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    compare: bool = True,
    kernels: Iterable[tuple[Operator, float]] = (),
    block_times: BlockTimes | None = None,
    order: ArrayLike | None = None,
    on_progress: OnFit | None = None,
) -> Pack:
    """Fit a predictor on a seeded split of n measured architectures and judge it on the rest.

    Rows of the same network are all fitted, or all held out.

    Parameters
    ----------
    space : SearchSpace
    architectures : sequence of Architecture, or integer array of shape (n, decisions)
    latency_ms : array of shape (n,)
    predictor : str
        A name of :func:`~latprof.predictors.models.by_name.predictor_names`.
    target, noise_floor, reference, reference_ms
        What the pack carries on (see :class:`~latprof.predictors.pack.pack.Pack`).
    test_fraction : float
        Share of the rows that is held out.
    seed : int
        Of the split and of the predictor.
    compare : bool
        Whether to fit the other predictors too and put all their held-out errors side by side. One
        that does not know a candidate among the held-out rows is left out.
    kernels : iterable of (Operator, float)
        Timed on the target, as :meth:`Pack.of` takes them.
    block_times : BlockTimes, optional
        Kernel times of networks on the target. With few rows the table that they give, corrected by
        the rows, takes the place of ``hybrid`` where it predicts training rows left out better;
        held-out networks' times are not used.
    order : array of shape (n,), optional
        In which the rows were measured, for :meth:`Predictor.fit`.
    on_progress : callable, optional
        Called with a :class:`FitProgress` before each fit.

    Raises
    ------
    UnknownNameError
        For a predictor that does not exist.
    NotEnoughDataError
        For fewer than 10 different architectures.
    InvalidValueError
        For latencies or architectures that ``fit`` refuses, or a fraction outside (0, 1).
    CoverageError
        Where the predictor does not know a candidate among the held-out rows.
    """
    choices, latency = _checked(space, architectures, latency_ms)
    fitted, tested = _split(space, choices, latency, test_fraction, seed)
    training, held_out = (choices[fitted], latency[fitted]), (choices[tested], latency[tested])
    options = {} if order is None else {"order": np.asarray(order)[fitted]}
    others = [name for name in predictor_names() if name != predictor] if compare else []
    names = [predictor, *others]
    trials = _trials(
        _said(names, len(fitted), on_progress), space, seed, training, held_out, options
    )
    chosen = trials[predictor]
    if block_times is not None and predictor == "hybrid":
        table = _of_kernels(space, block_times, training, held_out)
        if table is not None:
            trials[table.predictor.name] = table
            chosen = min(chosen, table, key=lambda trial: trial.left_out_error(training[1]))
    pack = Pack.of(chosen.predictor, target, training, kernels)
    spelled = tuple(map(str, space.architectures(held_out[0])))
    return dataclasses.replace(
        pack,
        metrics=chosen.metrics,
        comparison={name: trial.metrics for name, trial in trials.items()},
        noise_floor=noise_floor,
        reference=reference,
        reference_ms=reference_ms,
        held_out=HeldOut(spelled, held_out[1], chosen.predicted_ms),
    )


def _split(
    space: SearchSpace, choices: Choices, latency_ms: Floats, test_fraction: float, seed: int
) -> tuple[Indices, Indices]:
    """Training and held-out rows; all rows of a network are on one side."""
    networks = distinct_rows(space.canonical(choices), latency_ms)
    if len(networks.choices) < MIN_ROWS:
        raise _too_few(len(networks.choices))
    fitted, tested = split_rows(len(networks.choices), test_fraction, seed)
    sides = (np.isin(networks.numbers, side) for side in (fitted, tested))
    training, held_out = map(np.flatnonzero, sides)
    return training, held_out


def _too_few(rows: int) -> NotEnoughDataError:
    return NotEnoughDataError(
        f"{rows} measured architectures are too few to train on",
        expected=f"at least {MIN_ROWS}",
        got=str(rows),
        hint="measure more with latprof collect",
    )


def _checked(space: SearchSpace, architectures: Batch, latency_ms: ArrayLike) -> Rows:
    """The measured rows, which are enough and latencies."""
    choices = space.choices(architectures)
    latency = np.asarray(latency_ms, dtype=np.float64)
    if len(choices) < MIN_ROWS:
        raise _too_few(len(choices))
    if latency.shape != (len(choices),) or not np.all(np.isfinite(latency) & (latency > 0)):
        raise InvalidValueError(
            "latency_ms holds one finite value above 0 for each architecture",
            expected=f"shape ({len(choices)},)",
            got=f"shape {latency.shape}",
        )
    return choices, latency


def _said(names: Sequence[str], rows: int, on_progress: OnFit | None) -> Iterator[str]:
    """The names, each reported before it is used."""
    for number, name in enumerate(names, start=1):
        if on_progress is not None:
            on_progress(FitProgress(name, number, len(names), rows))
        yield name


@dataclass(frozen=True, eq=False, repr=False)
class _Trial(ShortRepr):
    """A predictor fitted to the training rows, and how well it predicts the held-out ones."""

    predictor: Predictor
    predicted_ms: Floats
    metrics: Metrics

    def left_out_error(self, latency_ms: Floats) -> float:
        """Mean squared error of the training rows, each left out, in ms squared."""
        return float(np.mean((self.predictor.out_of_fold_ms_ - latency_ms) ** 2))


def _of_kernels(
    space: SearchSpace, block_times: BlockTimes, training: Rows, held_out: Rows
) -> _Trial | None:
    """The table of the blocks that were timed in other networks than the held-out ones.

    None where the rows are many, since they say more, and where too few blocks were timed.
    """
    times = block_times.without(space.canonical(held_out[0]))
    if len(training[0]) > _ROWS_FOR_KERNELS or times.table(space) is None:
        return None
    fitted = TransferPredictor(space, (), times).fit(*training)
    predicted = fitted.predict(held_out[0])
    return _Trial(fitted, predicted, evaluate(predicted, held_out[1]))


def _trials(
    names: Iterable[str],
    space: SearchSpace,
    seed: int,
    training: Rows,
    held_out: Rows,
    options: Mapping[str, Any],
) -> dict[str, _Trial]:
    """Fit each predictor and judge it; the first has to succeed.

    Of the others, those are missing that do not know a block of the held-out rows. Another
    package's predictor that fails in any way is warned of and missing too.
    """
    trials: dict[str, _Trial] = {}
    for name in names:
        try:
            fitted = seeded_predictor(name, space, seed).fit(*training, **options)
            predicted = fitted.predict(held_out[0])
            trials[name] = _Trial(fitted, predicted, evaluate(predicted, held_out[1]))
        except Exception as error:
            if not trials:
                raise
            if isinstance(error, CoverageError):
                continue
            distribution = PREDICTORS.distribution(name)
            if not distribution:
                raise
            remark = f"predictor {name} of {distribution} is not compared: {error}"
            warnings.warn(remark, stacklevel=3)
    return trials
