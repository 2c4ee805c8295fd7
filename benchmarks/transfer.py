"""Few measurements of a new device, on public ones: ``python -m benchmarks.transfer --data DIR``.

DIR holds the collection ``help``. In each of its spaces every measured column is the new device
once; the sources are ``hybrid`` predictors of all rows of the other columns (``--sources`` takes
another kind). For 5, 10, 20 and 50 measured rows it prints Spearman's rho over all other rows: of
``transfer``, and on the same rows of a ridge on the sources' predictions with its penalty by
leave-one-out. The rows are chosen as ``choose_for_transfer`` does, once from all rows and, since
the noise of so few rows is luck, in means over draws of 2,000 rows to choose from; or they are
drawn. Beside them stand the mean absolute percentage error of ``transfer``, and the rho of rows
left out of that kind of predictor fitted on the column itself, which is about what the column's
noise allows. Disconnected cells are dropped. ``--check`` exits with status 1 where a promised
figure is missed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from latprof.datasets.importers.flags import SYNTHETIC
from latprof.datasets.importers.help import help_devices, load_help
from latprof.predictors.fitting.ridge import fit_ridge
from latprof.predictors.fitting.transfer_model import (
    FeatureScale,
    choose_architectures,
    fit_transfer,
)
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.models.transfer_predictor import TransferPredictor, transfer_features

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Predictor
    from latprof.predictors.fitting.transfer_model import TransferFeatures

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SPACES = ("nasbench201", "fbnet", "ofa")
COUNTS = (5, 10, 20, 50)
DRAWS = 20
POOL = 2000
#: Promised mean rho of 10 chosen rows in NAS-Bench-201.
PROMISED = 0.955
#: By how much the mean of a column may be below the ridge's.
MARGIN = 0.005
#: How rows are come by.
ONCE, POOLS, DRAWN = "chosen of all", "chosen of 2,000", "drawn"


@dataclass(frozen=True, eq=False)
class Column:
    """A measured column, the predictor fitted on it, and how well that predicts rows left out."""

    device: str
    data: ImportedLatencies
    predictor: Predictor
    limit: float


@dataclass(frozen=True)
class Rho:
    """Spearman's rho of the ridge and of ``transfer``, and the latter's MAPE in percent."""

    ridge: float
    transfer: float
    mape: float


def rho(predicted: Floats, measured: Floats) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(predicted, measured).statistic)


def columns(folder: Path, name: str, kind: str) -> list[Column]:
    """The measured columns of a space."""
    found = []
    for device in help_devices(folder / "help", name):
        data = load_help(folder / "help", name, device)
        if SYNTHETIC in data.flags:
            continue
        assert data.space is not None
        assert data.choices is not None
        usable, latency = data.usable, data.latency_ms
        fitted = make_predictor(kind, data.space).fit(data.choices[usable], latency[usable])
        found.append(Column(device, data, fitted, rho(fitted.out_of_fold_ms_, latency[usable])))
    return found


class Task:
    """One column as the new device, the others as sources."""

    def __init__(self, target: Column, others: list[Column]) -> None:
        data = target.data
        assert data.space is not None
        assert data.choices is not None
        self.space: SearchSpace = data.space
        self.choices = data.choices
        self.latency_ms, self.usable = data.latency_ms, data.usable
        #: Rows that may be chosen: what the sources were measured on.
        self.known = np.flatnonzero(np.all([column.data.usable for column in others], axis=0))
        self.sources = [column.predictor for column in others]
        canonical = self.space.canonical(self.choices)
        self.features: TransferFeatures = transfer_features(self.space, self.sources, canonical)
        self.scale = FeatureScale.of(self.features)

    def chosen(self, pool: Rows) -> Rows:
        """The best rows of a pool, in order; one that fails on the target is passed over."""
        count = max(COUNTS) + 10
        rows = pool[choose_architectures(self.features.rows(pool), count)]
        return rows[self.usable[rows]][: max(COUNTS)]

    def judged(self, rows: Rows, *, whole: bool = False) -> Rho:
        """Fit both on these rows and judge them on all others, ``whole`` by the predictor."""
        left = np.setdiff1d(np.flatnonzero(self.usable), rows)
        latency = self.latency_ms[rows]
        sources = self.scale.apply(self.features).source_ms
        ridge = sources[left] @ fit_ridge(sources[rows], latency).coefficients
        if whole:
            predictor = TransferPredictor(self.space, self.sources)
            ours = predictor.fit(self.choices[rows], latency).predict(self.choices[left])
        else:
            fit = fit_transfer(self.features.rows(rows), latency, self.scale)
            ours = fit.predict(self.features.rows(left))
        measured = self.latency_ms[left]
        mape = 100 * float(np.mean(np.abs(ours / measured - 1)))
        return Rho(rho(ridge, measured), rho(ours, measured), mape)

    def results(self, draws: int, seed: int) -> dict[tuple[str, int], Rho]:
        """Rho by how rows are come by and how many."""
        found: dict[tuple[str, int], list[Rho]] = {}
        best = self.chosen(self.known)
        for count in COUNTS:
            found[ONCE, count] = [self.judged(best[:count], whole=True)]
        generator = np.random.RandomState(seed)
        for _ in range(draws):
            pool = generator.choice(self.known, POOL, replace=False)
            rows = self.chosen(pool)
            random = pool[self.usable[pool]]
            for count in COUNTS:
                found.setdefault((POOLS, count), []).append(self.judged(rows[:count]))
                found.setdefault((DRAWN, count), []).append(self.judged(random[:count]))
        return {key: mean_of(values) for key, values in found.items()}


def mean_of(results: list[Rho]) -> Rho:
    """The mean of each."""
    values = np.array([(each.ridge, each.transfer, each.mape) for each in results])
    return Rho(*values.mean(axis=0).tolist())


def judge(name: str, measured: list[Column], draws: int) -> bool:
    """Print a space's tables; return whether the figures are what is promised."""
    by_column = [
        Task(target, [other for other in measured if other is not target]).results(draws, number)
        for number, target in enumerate(measured)
    ]
    ways = [way for way in (ONCE, POOLS, DRAWN) if (way, COUNTS[0]) in by_column[0]]
    for count in COUNTS:
        print(f"\n{name}, {count} rows".ljust(26) + "".join(f"{way:>30}" for way in ways))
        heads = f"{'ridge':>10}{'transfer':>10}{'MAPE %':>10}" * len(ways)
        print(f"{'column':16}{'all rows':>9}{heads}")
        for column, results in zip(measured, by_column, strict=True):
            line(column.device, column.limit, [results[way, count] for way in ways])
        limit = float(np.mean([column.limit for column in measured]))
        line("mean", limit, [mean_of([each[way, count] for each in by_column]) for way in ways])
    good = True
    for way in ways:
        ten = [results[way, 10] for results in by_column]
        if way != ONCE:  # one draw of a column's noise is no figure to hold a method to
            good = good and mean_of(ten).transfer >= mean_of(ten).ridge
        if name == "nasbench201" and way != DRAWN:
            good = good and mean_of(ten).transfer >= PROMISED
        if name == "nasbench201" and way == POOLS:
            good = good and all(each.transfer >= each.ridge for each in ten)
    for column, results in zip(measured, by_column, strict=True):
        good = beside_ridge(column.device, results) and good
    return good


def beside_ridge(device: str, results: dict[tuple[str, int], Rho]) -> bool:
    """Print where means over draws are clearly below the ridge's; return whether none is."""
    good = True
    for (way, count), found in results.items():
        if way != ONCE and found.transfer < found.ridge - MARGIN:
            good = False
            below = found.ridge - found.transfer
            print(f"{device}, {count} rows {way}: {below:.4f} below the ridge  MISSED")
    return good


def line(label: str, limit: float, results: list[Rho]) -> None:
    """Print one row of a table."""
    cells = "".join(f"{each.ridge:10.4f}{each.transfer:10.4f}{each.mape:10.2f}" for each in results)
    print(f"{label:15}{limit:10.4f}{cells}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--space", action="append", choices=SPACES, help="only this one")
    parser.add_argument("--sources", default="hybrid", choices=predictor_names())
    parser.add_argument("--draws", type=int, default=DRAWS, help="random draws a figure")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    good = True
    for name in arguments.space or SPACES:
        start = time.perf_counter()
        measured = columns(arguments.data, name, arguments.sources)
        good = judge(name, measured, arguments.draws) and good
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.check and not good:
        raise SystemExit("a promised figure is missed")


if __name__ == "__main__":
    main()
