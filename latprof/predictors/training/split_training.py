"""From measured architectures to a pack: split, fit, compare, and measure the interval."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.datasets.published.splits import split_rows
from latprof.errors import CoverageError, InvalidValueError, NotEnoughDataError
from latprof.predictors.fitting.evaluation import Metrics, evaluate
from latprof.predictors.kernels.operator_costs import MIN_NETWORKS
from latprof.predictors.kernels.predictor_costs import measured_costs, predictor_costs
from latprof.predictors.models.by_name import predictor_names, seeded_predictor
from latprof.predictors.pack.pack import HeldOut, Pack
from latprof.registry import PREDICTORS

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor
    from latprof.predictors.base import Batch

Floats: TypeAlias = NDArray[np.float64]

#: Choices, shape (n, decisions), and latencies in ms, shape (n,).
Rows: TypeAlias = tuple[NDArray[np.uint8], Floats]

#: Fewest measured architectures, training and held-out rows together.
MIN_ROWS = 10


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
) -> Pack:
    """Fit a predictor on a seeded split of n measured architectures and judge it on the rest.

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

    Raises
    ------
    UnknownNameError
        For a predictor that does not exist.
    NotEnoughDataError
        For fewer than 10 rows.
    InvalidValueError
        For latencies or architectures that ``fit`` refuses, or a fraction outside (0, 1).
    CoverageError
        Where the predictor does not know a candidate among the held-out rows.
    """
    choices = space.choices(architectures)
    latency = np.asarray(latency_ms, dtype=np.float64)
    if len(choices) < MIN_ROWS:
        raise NotEnoughDataError(
            f"{len(choices)} measured architectures are too few to train on",
            expected=f"at least {MIN_ROWS}",
            got=str(len(choices)),
            hint="measure more with latprof collect",
        )
    if latency.shape != (len(choices),) or not np.all(np.isfinite(latency) & (latency > 0)):
        raise InvalidValueError(
            "latency_ms holds one finite value above 0 for each architecture",
            expected=f"shape ({len(choices)},)",
            got=f"shape {latency.shape}",
        )
    rows, held_out = (
        (choices[part], latency[part]) for part in split_rows(len(choices), test_fraction, seed)
    )
    fitted = seeded_predictor(predictor, space, seed).fit(*rows)
    predicted = fitted.predict(held_out[0])
    metrics = evaluate(predicted, held_out[1])
    comparison = {predictor: metrics}
    for name in predictor_names() if compare else ():
        if name != predictor:
            comparison |= _metrics_by_name(name, space, seed, rows, held_out)
    coverage, relative = fitted.typical_interval(rows[0])
    batch_size = 1 if target is None else target.batch_size
    costs = (
        measured_costs(space, *rows, batch_size)
        if len(rows[0]) >= MIN_NETWORKS
        else predictor_costs(fitted, batch_size)
    )
    return Pack(
        predictor=fitted,
        target=target,
        metrics=metrics,
        comparison=comparison,
        noise_floor=noise_floor,
        reference=reference,
        reference_ms=reference_ms,
        training_rows=len(rows[0]),
        interval_coverage=coverage,
        interval_relative=relative,
        operator_costs=costs,
        held_out=HeldOut(tuple(map(str, space.architectures(held_out[0]))), held_out[1], predicted),
    )


def _metrics_by_name(
    name: str, space: SearchSpace, seed: int, train_rows: Rows, test_rows: Rows
) -> dict[str, Metrics]:
    """The held-out error of one more predictor; empty where it cannot be told.

    Another package's predictor that fails is warned of, and the one that was asked for is trained.
    """
    try:
        predicted = seeded_predictor(name, space, seed).fit(*train_rows).predict(test_rows[0])
        return {name: evaluate(predicted, test_rows[1])}
    except CoverageError:
        return {}
    except Exception as error:
        distribution = PREDICTORS.distribution(name)
        if not distribution:
            raise
        warnings.warn(f"predictor {name} of {distribution} is not compared: {error}", stacklevel=3)
        return {}
