"""Fitting kernel models: boosted trees (XGBoost; Chen and Guestrin, KDD 2016) for each family."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.docstrings import keep_docstrings
from latprof.common.extras import require
from latprof.common.short_reprs import ShortRepr
from latprof.datasets.published.splits import split_rows
from latprof.errors import InvalidValueError, NotEnoughDataError
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.kernels.forests import Forest
from latprof.predictors.kernels.kernel_features import Roofline, features
from latprof.predictors.kernels.kernel_model import (
    ANY,
    FamilyModel,
    KernelModel,
    expected_ms,
    window_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from latprof.predictors.fitting.evaluation import Metrics
    from latprof.predictors.kernels.configurations import Configurations

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

#: Fewest different configurations that a family has a model of its own for.
MIN_OF_FAMILY = 12
#: Fewest timed kernels to fit on.
MIN_KERNELS = 12
TREES = 200
DEPTH = 6
_FOLDS = 3
#: Timings of one configuration that weigh as much as the trees: kernels are noisy one by one.
_SHRINKAGE = 0.3
#: Weights grow with this power of the share of a network's time, above the least share.
_SHARE_POWER, _LEAST_SHARE = 0.25, 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class _Rows(ShortRepr):
    """Different configurations, with the mean logarithm of time over roofline and their number.

    ``digests`` are of the configurations whatever network they stand in.
    """

    kernels: Configurations
    features: Floats
    target: Floats
    count: Floats
    weight: Floats
    digests: list[int]


def fit_kernel_model(
    kernels: Configurations,
    latency_ms: Floats,
    *,
    roofline: Roofline | None = None,
    shares: Floats | None = None,
    prior: KernelModel | None = None,
    seed: int = 0,
    trees: int = TREES,
    errors: bool = True,
) -> KernelModel:
    """Fit times of n kernels, each in milliseconds.

    Parameters
    ----------
    kernels : Configurations
    latency_ms : array of shape (n,)
        All finite and above 0.
    roofline : Roofline, optional
        That of the target; of these kernels unless given.
    shares : array of shape (n,), optional
        Of the time of the network that each was timed in: what takes more weighs more.
    prior : KernelModel, optional
        Of another target, without a prior of its own: what these times are compared with.
    seed : int
    trees : int
        Of each family.
    errors : bool
        Whether the families' errors are found, which takes two thirds of the time; 0 else.

    Raises
    ------
    InvalidValueError
        For lengths that differ, or latencies that are none.
    NotEnoughDataError
        For fewer than 12 kernels.
    """
    require("train", "fitting kernels", "xgboost")
    latency = np.asarray(latency_ms, dtype=np.float64)
    if latency.shape != (len(kernels),) or not np.all(np.isfinite(latency) & (latency > 0)):
        raise InvalidValueError(
            "each kernel has one finite latency above 0",
            expected=f"shape ({len(kernels)},)",
            got=f"shape {latency.shape}",
        )
    if len(kernels) < MIN_KERNELS:
        raise NotEnoughDataError(
            "too few timed kernels",
            expected=f"at least {MIN_KERNELS}",
            got=str(len(kernels)),
            hint="collect more: latprof collect --kernels",
        )
    roofline = roofline or Roofline.of(kernels, latency)
    shares = np.ones(len(latency)) if shares is None else shares
    expected = partial(expected_ms, roofline, prior)
    rows = _distinct(kernels, latency, expected, shares)
    chosen = {ANY: np.arange(len(rows.target))}
    for family in np.unique(rows.kernels.families).tolist():
        of_family = np.flatnonzero(rows.kernels.families == family)
        if len(of_family) >= MIN_OF_FAMILY:
            chosen[family] = of_family
    families: dict[str, FamilyModel] = {}
    forests: list[Forest] = []
    left_over = rows.target.copy()
    for number, (family, index) in enumerate(chosen.items()):
        model, forest, fitted = _fit_family(
            rows, index, number * trees, trees, seed, family, errors=errors
        )
        families[family] = model
        forests.append(forest)
        left_over[index] = rows.target[index] - fitted
    seen = _left_over_of(rows, left_over)
    return KernelModel(roofline, families, Forest.joined(forests), trees, seen, prior=prior)


def kernels_left_out(
    kernels: Configurations, latency_ms: Floats, *, seed: int = 0, trees: int = TREES
) -> Metrics | None:
    """Errors on a fifth of the different kernels, of a model fitted to the others.

    NaN is no time. None where fewer than 12 different ones would be left to fit to.
    """
    timed = np.isfinite(latency_ms)
    kernels, latency = kernels.rows(timed), latency_ms[timed]
    digests = np.array(kernels.digests())
    different = np.unique(digests)
    if 4 * len(different) // 5 < MIN_KERNELS:
        return None
    _, tested = split_rows(len(different), 0.2, seed)
    held = np.isin(digests, different[tested])
    fitted = fit_kernel_model(kernels.rows(~held), latency[~held], seed=seed, trees=trees)
    return evaluate(fitted.predict(kernels.rows(held)).latency_ms, latency[held])


def _left_over_of(rows: _Rows, left_over: Floats) -> dict[int, float]:
    """What trees miss of each configuration in the mean, the less the fewer its timings."""
    number = {digest: index for index, digest in enumerate(dict.fromkeys(rows.digests))}
    of = np.array([number[digest] for digest in rows.digests])
    count = np.bincount(of, rows.count)
    shrunk = np.bincount(of, rows.count * left_over) / (count + _SHRINKAGE)
    return dict(zip(number, np.round(shrunk, 4).tolist(), strict=True))


def _distinct(
    kernels: Configurations,
    latency: Floats,
    expected_ms: Callable[[Configurations], Floats],
    shares: Floats,
) -> _Rows:
    """Timings of one configuration in one network as one row."""
    number: dict[int, int] = {}
    digests = kernels.digests(context=True)
    of = np.array([number.setdefault(digest, len(number)) for digest in digests])
    first = np.zeros(len(number), dtype=np.int64)
    first[of[::-1]] = np.arange(len(of))[::-1]
    count = np.bincount(of).astype(np.float64)
    once = kernels.rows(first)
    expected = expected_ms(once)
    target = np.bincount(of, np.log(latency)) / count - np.log(expected)
    # Weights saturate: what stands in many networks should not crowd out what stands in one.
    mean_share = np.bincount(of, shares) / count
    weight = np.sqrt(count) * (mean_share + _LEAST_SHARE) ** _SHARE_POWER
    return _Rows(once, features(once, expected), target, count, weight, once.digests())


def _fit_family(
    rows: _Rows, index: Integers, first: int, trees: int, seed: int, family: str, *, errors: bool
) -> tuple[FamilyModel, Forest, Floats]:
    """A family's model, its trees, and what they say of the rows that they were fitted to."""
    x, y, weight = rows.features[index], rows.target[index], rows.weight[index]
    base, forest, fitted = _grow(x, y, weight, trees, seed)
    error = 0.0
    if errors and family == ANY:
        # How wrong it is of a family that it was not fitted to: as far as families differ.
        error = max(float(np.std(rows.target)), 0.5)
    elif errors:
        out = _left_out(x, y, weight, trees, seed)
        error = float(np.sqrt(np.average((out - y) ** 2, weights=rows.count[index])))
    numbers = rows.kernels.numbers[index]
    model = FamilyModel(
        first,
        base,
        numbers.min(axis=0),
        numbers.max(axis=0),
        frozenset(map(tuple, window_of(numbers).tolist())),
        error,
    )
    return model, forest, fitted


def _left_out(x: Floats, y: Floats, weight: Floats, trees: int, seed: int) -> Floats:
    """What trees say of configurations that they were not fitted to."""
    fold = np.random.default_rng(seed).permutation(len(y)) % _FOLDS
    out = np.empty(len(y))
    for held in range(_FOLDS):
        inside, outside = fold != held, fold == held
        base, forest, _ = _grow(x[inside], y[inside], weight[inside], trees, seed)
        zeros = np.zeros(int(outside.sum()), dtype=np.int64)
        out[outside] = base + forest.sums(x[outside], zeros, trees)
    return out


def _grow(
    x: Floats, y: Floats, weight: Floats, trees: int, seed: int
) -> tuple[float, Forest, Floats]:
    keep_docstrings("xgboost")
    import xgboost as xgb

    base = float(np.average(y, weights=weight))
    parameters = {
        "tree_method": "hist",
        "objective": "reg:squarederror",
        "base_score": 0.0,
        "max_depth": DEPTH,
        "learning_rate": 12 / max(trees, 60),
        "subsample": 0.8,
        "colsample_bynode": 0.5,
        "min_child_weight": 1.0,
        "seed": seed,
        "nthread": 1,
    }
    relative = weight / weight.mean()
    data = xgb.QuantileDMatrix(x.astype(np.float32), y - base, weight=relative, nthread=1)
    booster = xgb.train(parameters, data, trees)
    forest = Forest.of_xgboost(booster.save_raw(raw_format="json"), DEPTH)
    fitted = base + forest.sums(x, np.zeros(len(x), dtype=np.int64), trees)
    return base, forest, fitted
