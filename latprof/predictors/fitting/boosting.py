"""Gradient boosting with XGBoost (Chen and Guestrin, KDD 2016), its settings cross-validated."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.docstrings import keep_docstrings
from latprof.common.extras import require
from latprof.common.short_reprs import ShortRepr
from latprof.predictors.fitting.trees import TreeEnsemble

if TYPE_CHECKING:
    from latprof.predictors.features.decision_features import DecisionFeatures

Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

#: Rounds without a better held-out error after which a fit ends.
_PATIENCE = 40
MAX_ROUNDS = 1000
_ROWS_FOR_THREADS = 1000
#: Trees after which a fit is given up whose held-out error is still so many times another model's.
_TRIAL_ROUNDS, _HOPELESS = 150, 2.0
#: Trees that lower another model's squared error on the first fold by less are of no use.
_LEAST_GAIN = 0.002


@dataclass(frozen=True)
class BoostingSettings:
    """What is chosen besides the number of rounds; the names are XGBoost's."""

    max_depth: int
    learning_rate: float
    subsample: float = 1.0
    colsample_bynode: float = 1.0

    def parameters(self, seed: int) -> dict[str, Any]:
        """Parameters of :func:`xgboost.train`; with one thread the trees are always the same."""
        return {
            "tree_method": "hist",
            "objective": "reg:squarederror",
            "base_score": 0.0,
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bynode": self.colsample_bynode,
            "seed": seed,
            "nthread": 1,
        }


#: Stumps for sums of block costs, deeper trees for operators that interact.
SETTINGS = (
    BoostingSettings(1, 0.3),
    BoostingSettings(2, 0.2, colsample_bynode=0.5),
    BoostingSettings(3, 0.1, subsample=0.7, colsample_bynode=0.5),
    BoostingSettings(6, 0.1, subsample=0.8, colsample_bynode=0.5),
)


@dataclass(frozen=True, eq=False, repr=False)
class FoldTask(ShortRepr):
    """What one fold teaches the trees, and what it is judged by.

    ``learn`` is the target of the training rows in ms. On the fold's held rows the model predicts
    ``offset`` plus the trees, and should predict ``measured``.
    """

    train: Mask
    learn: Floats
    offset: Floats
    measured: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Path(ShortRepr):
    """Trees grown on one fold: squared errors by number of trees, the first with none.

    ``predictions`` gives the held rows' predictions in ms for a number of trees.
    """

    errors: Floats
    predictions: Callable[[int], Floats]


def grow(
    features: Singles,
    task: FoldTask,
    settings: BoostingSettings,
    seed: int,
    reached: float = np.inf,
) -> Path:
    """Fit one fold until its held-out error stops falling, or is still far above ``reached``."""
    require("train", "growing trees", "xgboost")
    keep_docstrings("xgboost")
    import xgboost as xgb

    base, scale = _location(task.learn)
    held = features[~task.train]
    train = xgb.QuantileDMatrix(features[task.train], (task.learn - base) / scale, nthread=1)
    wanted = (task.measured - task.offset - base) / scale
    valid = xgb.QuantileDMatrix(held, wanted, ref=train, nthread=1)
    booster = xgb.Booster(settings.parameters(seed), [train, valid])
    held_rmse = _grow(booster, train, valid, np.sqrt(_HOPELESS * reached) / scale)
    booster = booster.reset()
    curve = np.array([np.sqrt(np.mean(wanted**2)), *held_rmse]) * scale

    def predictions(rounds: int) -> Floats:
        rounds = min(rounds, len(curve) - 1)
        grown = booster.inplace_predict(held, iteration_range=(0, rounds)) if rounds else 0.0
        return task.offset + base + scale * np.asarray(grown, dtype=np.float64)

    return Path(curve**2, predictions)


def _grown(settings: BoostingSettings, train: Any, rounds: int, seed: int) -> Any:
    """A booster of so many trees."""
    import xgboost as xgb

    booster = xgb.Booster(settings.parameters(seed), [train])
    for number in range(rounds):
        booster.update(train, number)
    return booster.reset()


def _grow(booster: Any, train: Any, valid: Any, limit: float) -> list[float]:
    """Grow trees as :func:`grow` does; return the held rows' error after each.

    The loop of xgboost.train, whose callbacks take longer than a tree of few rows.
    """
    errors: list[float] = []
    best = 0
    for number in range(MAX_ROUNDS):
        booster.update(train, number)
        _, _, error = booster.eval_set([(valid, "held")], number).rpartition(":")
        errors.append(float(error))
        if errors[number] < errors[best]:
            best = number
        hopeless = number + 1 == _TRIAL_ROUNDS and errors[best] > limit
        if hopeless or number - best >= _PATIENCE:
            break
    return errors


def fit_trees(
    tables: DecisionFeatures,
    features: Singles,
    target: Floats,
    settings: BoostingSettings,
    rounds: int,
    seed: int,
) -> TreeEnsemble:
    """Fit ``rounds`` trees to ``target``, shape (n,), in ms."""
    require("train", "growing trees", "xgboost")
    keep_docstrings("xgboost")
    import xgboost as xgb

    base, scale = _location(target)
    if not rounds:
        return TreeEnsemble.empty(tables, base)
    train = xgb.QuantileDMatrix(features, (target - base) / scale, nthread=1)
    model = _grown(settings, train, rounds, seed).save_raw(raw_format="json")
    return TreeEnsemble.from_xgboost(model, tables, base_ms=base, scale_ms=scale)


def held_out(
    features: Singles,
    target: Floats,
    settings: BoostingSettings,
    rounds: int,
    numbers: NDArray[np.int64],
    seed: int,
) -> Floats:
    """What ``rounds`` trees grown without a row's fold (``numbers``) predict for it, shape (n,)."""
    keep_docstrings("xgboost")
    import xgboost as xgb

    def run(fold: int) -> tuple[Mask, Floats]:
        held = numbers == fold
        base, scale = _location(target[~held])
        if not rounds:
            return held, np.full(int(held.sum()), base)
        train = xgb.QuantileDMatrix(features[~held], (target[~held] - base) / scale, nthread=1)
        grown = _grown(settings, train, rounds, seed).inplace_predict(features[held])
        return held, base + scale * np.asarray(grown, dtype=np.float64)

    predicted = np.empty(len(target))
    with ThreadPoolExecutor(2 if len(features) >= _ROWS_FOR_THREADS else 1) as pool:
        for held, values in pool.map(run, range(int(numbers.max()) + 1)):
            predicted[held] = values
    return predicted


@dataclass(frozen=True, eq=False, repr=False)
class Chosen(ShortRepr):
    """The outcome of :func:`choose`: which setting, how many trees, and how well it did.

    ``held_ms`` holds each training row's prediction by the fold that left it out, shape (n,).
    """

    candidate: int
    rounds: int
    held_ms: Floats


def choose(
    features: Singles,
    task_of: Callable[[int], FoldTask],
    folds: int,
    *,
    seed: int,
    finalists: int = 2,
    reached: float = np.inf,
) -> Chosen | None:
    """Choose one of :data:`SETTINGS` by cross-validation over so many folds.

    All are fitted on the first fold; the ``finalists`` best of them on the others too, which are
    not asked for before. The number of trees is that of the least error over all rows. ``reached``
    is the squared error in ms of a model without trees on the first fold: settings that stay far
    above it are given up, and None is returned where none is below it.
    """
    tasks = [task_of(0)]

    def run(job: tuple[int, int]) -> Path:
        setting, fold = job
        return grow(features, tasks[fold], SETTINGS[setting], seed, np.inf if fold else reached)

    # XGBoost leaves the interpreter's lock, and each fit is its own: the order does not matter.
    # Fits of few rows are mostly interpreter, and gain nothing from a second thread.
    with ThreadPoolExecutor(2 if len(features) >= _ROWS_FOR_THREADS else 1) as pool:
        first = list(pool.map(run, [(index, 0) for index in range(len(SETTINGS))]))
        least = np.array([path.errors.min() for path in first])
        if least.min() > (1 - _LEAST_GAIN) * reached:
            return None
        tasks += [task_of(fold) for fold in range(1, folds)]
        order = np.argsort(least, kind="stable")[:finalists]
        jobs = [(int(index), fold) for index in order for fold in range(1, folds)]
        others = dict(zip(jobs, pool.map(run, jobs), strict=True))
    best: tuple[float, Chosen] | None = None
    for index in order.tolist():
        paths = [first[index], *(others[index, fold] for fold in range(1, folds))]
        longest = max(len(path.errors) for path in paths)
        curves = [np.pad(path.errors, (0, longest - len(path.errors)), "edge") for path in paths]
        error = np.average(curves, axis=0, weights=[len(task.measured) for task in tasks])
        rounds = int(np.argmin(error))
        if best is None or error[rounds] < best[0]:
            held = np.empty(len(features))
            for task, path in zip(tasks, paths, strict=True):
                held[~task.train] = path.predictions(rounds)
            best = (float(error[rounds]), Chosen(index, rounds, held))
    return None if best is None else best[1]


def _location(target: Floats) -> tuple[float, float]:
    """Mean, and standard deviation or 1 where there is none."""
    return float(target.mean()), float(target.std()) or 1.0
