"""Few measurements of a new device, on public ones: ``python -m benchmarks.transfer --data DIR``.

DIR holds the collection ``help``. In each of its spaces every measured column is the new device
once; the sources are ``hybrid`` predictors of all rows of the other columns (``--sources`` takes
another kind). For 5, 10, 20 and 50 measured rows it prints Spearman's rho over all other rows: of
``transfer``, and on the same rows of a ridge on the sources' predictions with its penalty by
leave-one-out. The rows are chosen as ``choose_for_transfer`` does, once from all rows and, since
the noise of so few rows is luck, in means over draws of 2,000 rows to choose from; or they are
drawn. Beside them stand the mean absolute percentage errors of both, and the rho of rows left out
of that kind of predictor fitted on the column itself, which is about what the column's noise
allows. Disconnected cells are dropped.

``--space others`` goes between runtimes and collections: the data sets that come with latprof are
the new devices; the sources are the other data sets of the space on other devices, the published
block table of a Pixel 1, and for Once-for-All the columns of ``help``. ``--check`` exits with
status 1 where a promised figure is missed.
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

from latprof.datasets import load
from latprof.datasets.importers.collections.help import help_devices, load_help
from latprof.datasets.importers.flags import SYNTHETIC
from latprof.datasets.spaces.named import space_from_description
from latprof.predictors.fitting.ridge import fit_ridge
from latprof.predictors.fitting.transfer_model import (
    FeatureScale,
    choose_architectures,
    fit_transfer,
)
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.models.transfer_predictor import TransferPredictor, transfer_features
from latprof.predictors.pack.saving import load_pack

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.predictors.base import Predictor
    from latprof.predictors.fitting.transfer_model import TransferFeatures

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

SPACES = ("nasbench201", "fbnet", "ofa")
OTHERS = "others"
#: Data sets of ProxylessNAS on two kinds of processor and one of Once-for-All, and a block table.
PROXYLESS = ("proxyless-cpu-ort1", "proxyless-cpu-ort1-b8", "proxyless-h100-torch-b8")
ONCE_FOR_ALL = "ofa-h100-torch-b8"
PIXEL1 = "pixel1-proxyless"
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
    """Latencies of a device, the predictor fitted on them, and the rho of its rows left out."""

    device: str
    space: SearchSpace
    choices: NDArray[np.uint8]
    latency_ms: Floats
    usable: NDArray[np.bool_]
    predictor: Predictor
    limit: float


@dataclass(frozen=True)
class Rho:
    """Spearman's rho of the ridge and of ``transfer``, and their MAPE in percent."""

    ridge: float
    transfer: float
    ridge_mape: float
    mape: float


def rho(predicted: Floats, measured: Floats) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(predicted, measured).statistic)


def percent(predicted: Floats, measured: Floats) -> float:
    """Mean absolute percentage error."""
    return 100 * float(np.mean(np.abs(predicted / measured - 1)))


def column(
    device: str,
    space: SearchSpace,
    kind: str,
    choices: NDArray[np.uint8],
    latency_ms: Floats,
    usable: NDArray[np.bool_],
) -> Column:
    """A column and the predictor of that kind of its usable rows."""
    latency = latency_ms[usable]
    fitted = make_predictor(kind, space).fit(choices[usable], latency)
    limit = rho(fitted.out_of_fold_ms_, latency)
    return Column(device, space, choices, latency_ms, usable, fitted, limit)


def columns(folder: Path, name: str, kind: str) -> list[Column]:
    """The measured columns of a space."""
    found = []
    for device in help_devices(folder / "help", name):
        data = load_help(folder / "help", name, device)
        if SYNTHETIC in data.flags:
            continue
        assert data.space is not None
        assert data.choices is not None
        found.append(column(device, data.space, kind, data.choices, data.latency_ms, data.usable))
    return found


def data_set(name: str, kind: str) -> Column:
    """A data set that comes with latprof."""
    frame = load(name)
    space = space_from_description(frame.attrs["space"])
    choices = space.choices([space.parse(text) for text in frame["architecture"]])
    latency = frame["latency_ms"].to_numpy()
    return column(name, space, kind, choices, latency, np.ones(len(latency), dtype=bool))


class Task:
    """One column as the new device, the others as sources."""

    def __init__(self, target: Column, others: list[Column]) -> None:
        self.space, self.choices = target.space, target.choices
        self.latency_ms, self.usable = target.latency_ms, target.usable
        #: Rows that may be chosen: what the sources that have these rows were measured on.
        shared = [each.usable for each in others if each.choices.shape == self.choices.shape]
        self.known = np.flatnonzero(np.all([np.ones_like(self.usable), *shared], axis=0))
        self.sources = [each.predictor for each in others]
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
        fitted = fit_ridge(sources[rows], latency)
        ridge = fitted.intercept + sources[left] @ fitted.coefficients
        if whole:
            predictor = TransferPredictor(self.space, self.sources)
            ours = predictor.fit(self.choices[rows], latency).predict(self.choices[left])
        else:
            fit = fit_transfer(self.features.rows(rows), latency, self.scale)
            ours = fit.predict(self.features.rows(left))
        measured = self.latency_ms[left]
        return Rho(
            rho(ridge, measured),
            rho(ours, measured),
            percent(ridge, measured),
            percent(ours, measured),
        )

    def results(self, draws: int, seed: int) -> dict[tuple[str, int], Rho]:
        """Rho by how rows are come by and how many."""
        found: dict[tuple[str, int], list[Rho]] = {}
        best = self.chosen(self.known)
        for count in COUNTS:
            found[ONCE, count] = [self.judged(best[:count], whole=True)]
        generator = np.random.RandomState(seed)
        for _ in range(draws):
            pool = generator.choice(self.known, min(POOL, len(self.known) // 2), replace=False)
            rows = self.chosen(pool)
            random = pool[self.usable[pool]]
            for count in COUNTS:
                found.setdefault((POOLS, count), []).append(self.judged(rows[:count]))
                found.setdefault((DRAWN, count), []).append(self.judged(random[:count]))
        return {key: mean_of(values) for key, values in found.items()}


def mean_of(results: list[Rho]) -> Rho:
    """The mean of each."""
    values = np.array([(each.ridge, each.transfer, each.ridge_mape, each.mape) for each in results])
    return Rho(*values.mean(axis=0).tolist())


def all_but_one(measured: list[Column]) -> list[tuple[Column, list[Column]]]:
    """Each column as the new device, the rest as its sources."""
    return [(each, [other for other in measured if other is not each]) for each in measured]


def between_runtimes(folder: Path, kind: str) -> list[tuple[Column, list[Column]]]:
    """Data sets as new devices, and sources of other devices, runtimes and collections."""
    found = [data_set(name, kind) for name in PROXYLESS]
    pack = load_pack(PIXEL1)
    no_rows = np.empty((0, found[0].choices.shape[1]), dtype=np.uint8)
    table = Column(PIXEL1, pack.space, no_rows, np.empty(0), np.empty(0, bool), pack.predictor, 1)
    processors, gpu = found[:2], found[2]
    return [
        *((each, [gpu, table]) for each in processors),
        (gpu, [*processors, table]),
        (data_set(ONCE_FOR_ALL, kind), columns(folder, "ofa", kind)),
    ]


def judge(name: str, tasks: list[tuple[Column, list[Column]]], draws: int) -> bool:
    """Print a space's tables; return whether the figures are what is promised."""
    measured = [target for target, _ in tasks]
    by_column = [Task(*task).results(draws, number) for number, task in enumerate(tasks)]
    ways = [way for way in (ONCE, POOLS, DRAWN) if (way, COUNTS[0]) in by_column[0]]
    for count in COUNTS:
        print(f"\n{name}, {count} rows".ljust(35) + "".join(f"{way:>36}" for way in ways))
        heads = f"{'ridge':>10}{'transfer':>10}{'MAPE %':>8}{'MAPE %':>8}" * len(ways)
        print(f"{'column':25}{'all rows':>9}{heads}")
        for target, results in zip(measured, by_column, strict=True):
            line(target.device, target.limit, [results[way, count] for way in ways])
        limit = float(np.mean([target.limit for target in measured]))
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
    for target, results in zip(measured, by_column, strict=True):
        good = beside_ridge(target.device, results) and good
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
    cells = "".join(
        f"{each.ridge:10.4f}{each.transfer:10.4f}{each.ridge_mape:8.2f}{each.mape:8.2f}"
        for each in results
    )
    print(f"{label:24}{limit:10.4f}{cells}", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--space", action="append", choices=(*SPACES, OTHERS), help="only this one")
    parser.add_argument("--sources", default="hybrid", choices=predictor_names())
    parser.add_argument("--draws", type=int, default=DRAWS, help="random draws a figure")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    good = True
    for name in arguments.space or (*SPACES, OTHERS):
        start = time.perf_counter()
        if name == OTHERS:
            tasks = between_runtimes(arguments.data, arguments.sources)
        else:
            tasks = all_but_one(columns(arguments.data, name, arguments.sources))
        good = judge(name, tasks, arguments.draws) and good
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    if arguments.check and not good:
        raise SystemExit("a promised figure is missed")


if __name__ == "__main__":
    main()
