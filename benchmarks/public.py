"""Accuracy on public measurements: ``python -m benchmarks.public --data FOLDER``.

FOLDER holds ``floors.csv`` and the collection ``help``. For every column of the file and every
number of training rows (80 %, 900, 100 and 20) it prints the floor (the better of a ridge on
one-hot choices and an untuned XGBoost, both from the file), the RMSE of ``hybrid`` on the same
test rows, and their ratio. With ``i = RandomState(0).permutation(n)`` the first fifth of i is the
test set; n rows are the mean over training sets ``RandomState(100 + s).permutation(train)[:n]``: 3
draws at 900, 4 at 100, 6 at 20. Beside them stands the processor time of the fit at 80 %. Where a
column shows its noise, the RMSE at 80 % over it follows, as it is, and far outliers left out of
both and at the same latencies. ``--only`` takes
some of the columns. ``--intervals`` prints the coverage of 90 % intervals over 20 splits instead
(about an hour), ``--few`` at 20 and 100 training rows, over 20 and 10 draws made as above: that of
one draw of 20 rows varies by 6 points where all is right. ``--keep`` writes what was found of each
column to a file and reads it there the next time, so that a run can be interrupted.
``--check`` exits with status 1 where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from latprof.datasets.importers.collections.help import load_help
from latprof.datasets.importers.twins import latencies_of_twins
from latprof.predictors.models.by_name import make_predictor

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies
    from latprof.datasets.spaces.base import SearchSpace

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

#: Draws of so many training rows; 0 stands for all that are not tested on.
DRAWS = {0: 1, 900: 3, 100: 4, 20: 6}
NAMES = {0: "80 %", 900: "900", 100: "100", 20: "20"}
#: Promised ratios to the better floor.
LARGEST = {0: 1.01, 100: 1.02, 20: 1.02}
EACH = {("ofa", "v100_64"): 0.30, ("ofa", "titan_rtx_64"): 0.30}
MEAN_OF_ALL = 0.85
MEAN_NASBENCH201 = 0.97
MEAN_OVER_NOISE = 1.05
MEAN_MOBILE = {100: 0.45, 20: 0.55}
#: Promised processor seconds of a fit at 80 %.
FIT_S = 6.0
SPLITS = 20
#: Draws of numbers of rows that are few, and promised mean coverage of 90 % intervals there, by
#: space, in %.
FEW, COVERED = {20: 20, 100: 10}, (88, 92)
#: Robust standard deviations (1.4826 times the median absolute error) beyond which errors are far
#: outliers.
FAR = 7


@dataclass(frozen=True)
class Column:
    """A measured column, its disconnected cells dropped, and its floors by training rows, in ms."""

    name: str
    device: str
    data: ImportedLatencies
    floors: dict[int, float]

    @property
    def latency_ms(self) -> Floats:
        """All rows, also those that are not usable."""
        return self.data.latency_ms

    @property
    def choices(self) -> NDArray[np.uint8]:
        """All rows, also those that are not usable."""
        assert self.data.choices is not None
        return self.data.choices

    @property
    def space(self) -> SearchSpace:
        """The space of the rows."""
        assert self.data.space is not None
        return self.data.space

    @property
    def rows(self) -> Rows:
        """The usable rows."""
        return np.flatnonzero(self.data.usable)

    def split(self, seed: int) -> tuple[Rows, Rows]:
        """Training and test rows."""
        rows = self.rows
        order = np.random.RandomState(seed).permutation(len(rows))
        count = len(rows) // 5
        return rows[order[count:]], rows[order[:count]]


@dataclass(frozen=True)
class Kept:
    """What was found of columns, in a JSON file; nowhere without a path."""

    path: Path | None

    def figures(
        self, column: Column, find: Callable[[Column], dict[str, float]]
    ) -> dict[str, float]:
        """What the file holds of a column, or what is found now."""
        key = f"{column.name} {column.device} {find.__name__}"
        kept = {}
        if self.path is not None and self.path.exists():
            kept = json.loads(self.path.read_text("utf-8"))
        if key not in kept:
            kept[key] = find(column)
            if self.path is not None:
                self.path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        found: dict[str, float] = kept[key]
        return found


def columns(folder: Path, only: str = "") -> Iterator[Column]:
    """The columns of ``floors.csv`` whose space and device, with a space between, hold ``only``."""
    floors: dict[tuple[str, str], dict[int, float]] = {}
    with (folder / "floors.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_rows = floors.setdefault((row["space"], row["device"]), {})
            count = int(row["n_train"])
            count = count if count in DRAWS else 0
            by_rows[count] = min(by_rows.get(count, np.inf), float(row["rmse_ms"]))
    for (space, device), by_rows in floors.items():
        if only in f"{space} {device}":
            yield Column(space, device, load_help(folder / "help", space, device), by_rows)


def errors_ms(column: Column, train: Rows, test: Rows) -> Floats:
    """Errors on ``test`` of ``hybrid`` fitted on ``train``, shape (test rows,)."""
    choices, latency = column.choices, column.latency_ms
    fitted = make_predictor("hybrid", column.space).fit(choices[train], latency[train])
    errors: Floats = fitted.predict(choices[test]) - latency[test]
    return errors


def rmse(errors: Floats) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(errors**2)))


def far(errors: Floats, step: float = 0.0) -> NDArray[np.bool_]:
    """Which errors are far outliers, of latencies rounded to this step in ms."""
    scale = max(1.4826 * float(np.median(np.abs(errors))), step / np.sqrt(12))
    found: NDArray[np.bool_] = np.abs(errors) > FAR * scale
    return found


def noise_ms(column: Column) -> tuple[float, float] | None:
    """Standard deviation of a measurement, from networks named twice; None where there are none.

    As it is, and at the latencies of all rows, far outliers left out: the variance is fitted as a
    constant and a share of the latency squared, since networks named twice are shorter than most.
    """
    pairs = latencies_of_twins(column.data)
    if pairs is None:
        return None
    differences = (pairs[1] - pairs[0]) / np.sqrt(2)
    # Where most pairs are the same millisecond the median says nothing.
    near = ~far(differences, float(np.diff(np.unique(column.latency_ms[column.rows])).min()))
    level = (np.mean(pairs, axis=0)[near]) ** 2
    parts = nnls(np.column_stack([np.ones(len(level)), level]), differences[near] ** 2)[0]
    at_all_rows = parts @ [1.0, np.mean(column.latency_ms[column.rows] ** 2)]
    return rmse(differences), float(np.sqrt(at_all_rows))


def draws(column: Column, count: int, most: int) -> list[Rows]:
    """Draws of ``count`` training rows; all of them, once, for 0."""
    train, _ = column.split(0)
    if not count:
        return [train]
    # They permute positions, as the floors' do.
    return [np.random.RandomState(100 + s).permutation(train)[:count] for s in range(most)]


def errors_of(column: Column) -> dict[str, float]:
    """RMSE in ms by training rows (means over draws), and seconds of the fit to all of them.

    And, with all, the ratio that far outliers alone would leave, and the RMSE without them.
    """
    _, test = column.split(0)
    found: dict[str, float] = {}
    for count, most in DRAWS.items():
        start = time.process_time()
        errors = [errors_ms(column, rows, test) for rows in draws(column, count, most)]
        found[NAMES[count]] = float(np.mean(list(map(rmse, errors))))
        if not count:
            found["fit_s"] = time.process_time() - start
            outliers = far(errors[0])
            alone = rmse(np.where(outliers, errors[0], 0.0))
            found["outliers"] = alone / column.floors[count]
            found["near"] = rmse(errors[0][~outliers])
    return found


def accuracy(folder: Path, only: str, kept: Kept) -> bool:
    """Print the ratios; return whether all that is promised is kept."""
    print("RMSE of hybrid on the test rows, floor (the better of two baselines) and their ratio")
    heads = "".join(f"{name:>27}" for name in NAMES.values())
    print(f"{'column':27}{'mean ms':>9}{'noise':>9}{'outliers':>10}{'fit s':>7}  {heads}")
    ratios: dict[int, dict[tuple[str, str], float]] = {count: {} for count in DRAWS}
    over_noise: dict[str, tuple[float, float]] = {}
    longest = 0.0
    for column in columns(folder, only):
        name = f"{column.name} {column.device}"
        found = kept.figures(column, errors_of)
        cells = ""
        for count, label in NAMES.items():
            floor, error = column.floors[count], found[label]
            ratios[count][column.name, column.device] = error / floor
            cells += f"{floor:11.4f}{error:9.4f}{error / floor:7.3f}"
        noise = noise_ms(column)
        if noise is not None:
            over_noise[name] = (found[NAMES[0]] / noise[0], found["near"] / noise[1])
        longest = max(longest, found["fit_s"])
        shown = "-" if noise is None else f"{noise[0]:.3f}"
        first = f"{column.latency_ms[column.rows].mean():9.3f}{shown:>9}{found['outliers']:10.3f}"
        print(f"{name:27}{first}{found['fit_s']:7.1f}  {cells}", flush=True)
    print("noise: ms, of one measurement, from networks that the space names twice; it holds what")
    print("their layout changes too. RMSE below it is not to be had where rows are independent.")
    print("outliers: the ratio at 80 % were all test rows predicted exactly but far outliers, off")
    print(f"by more than {FAR} robust standard deviations.\n")
    good = promise("longest fit at 80 %, processor seconds", longest, FIT_S)
    return good & judged_by_noise(over_noise) & promises(ratios)


def judged_by_noise(over_noise: dict[str, tuple[float, float]]) -> bool:
    """Print RMSE at 80 % over the noise of one measurement, where a column shows its own."""
    if not over_noise:
        return True
    print(
        "RMSE at 80 % over noise, 1 being all that can be had: as it is, and without far outliers"
    )
    print("on either side, the noise at the latencies of all rows")
    print("\n".join(f"{name:27}{a:9.3f}{b:9.3f}" for name, (a, b) in over_noise.items()))
    plain, near = (geometric_mean(list(each)) for each in zip(*over_noise.values(), strict=True))
    print(f"RMSE over noise without far outliers, geometric mean: {near:.3f}")
    return promise("RMSE over noise, geometric mean", plain, MEAN_OVER_NOISE)


def geometric_mean(values: list[float]) -> float:
    """Of ratios."""
    return float(np.exp(np.mean(np.log(values))))


def promise(text: str, value: float, limit: float) -> bool:
    """Print a figure beside its limit."""
    good = value <= limit
    print(f"{text}: {value:.3f} (at most {limit:.2f}){'' if good else '  MISSED'}")
    return good


def promises(ratios: dict[int, dict[tuple[str, str], float]]) -> bool:
    """Print the promised figures."""
    good = True
    for count, limit in LARGEST.items():
        name, worst = max(ratios[count].items(), key=lambda item: item[1])
        good &= promise(f"largest ratio at {NAMES[count]} rows ({' '.join(name)})", worst, limit)
    for name, limit in EACH.items():
        if name not in ratios[0]:
            continue
        good &= promise(f"{' '.join(name)} at 80 %", ratios[0][name], limit)
    cells = [value for (space, _), value in ratios[0].items() if space == "nasbench201"]
    if cells:
        text = "NAS-Bench-201 at 80 %, geometric mean"
        good &= promise(text, geometric_mean(cells), MEAN_NASBENCH201)
    for count, limit in MEAN_MOBILE.items():
        mobile = [value for (space, _), value in ratios[count].items() if space != "nasbench201"]
        text = f"FBNet and Once-for-All at {count} rows, geometric mean"
        good &= not mobile or promise(text, geometric_mean(mobile), limit)
    overall = geometric_mean(list(ratios[0].values()))
    good &= overall <= MEAN_OF_ALL
    print(f"geometric mean of ratios: {overall:.3f}")
    return good


def coverage_of(column: Column) -> dict[str, float]:
    """Coverage and width of intervals over splits, and the share of rows below a bound, in %."""
    choices, found = column.choices, []
    for seed in range(1, SPLITS + 1):
        train, test = column.split(seed)
        fitted = make_predictor("hybrid", column.space)
        fitted.fit(choices[train], column.latency_ms[train])
        low, high = fitted.predict_interval(choices[test])
        latency = column.latency_ms[test]
        bound = fitted.predict(choices[test], upper=0.95)
        inside = (low <= latency) & (latency <= high)
        width = (high - low).mean() / latency.mean()
        found.append((inside.mean(), width, np.mean(latency <= bound)))
    cover, width, below = 100 * np.array(found).T
    return {
        "mean": float(cover.mean()),
        "least": float(cover.min()),
        "most": float(cover.max()),
        "width": float(width.mean()),
        "below": float(below.mean()),
    }


def intervals(folder: Path, only: str, kept: Kept) -> bool:
    """Print coverage and width of 90 % intervals over splits; return whether they hold."""
    print(f"90 % intervals of hybrid, {SPLITS} splits (RandomState(1..{SPLITS}), a fifth tested)")
    heads = f"{'coverage %':>11}{'least':>8}{'most':>8}{'width, % of mean':>18}{'95 % bound':>12}"
    print(f"{'column':27}{heads}")
    good = True
    for column in columns(folder, only):
        name = f"{column.name} {column.device}"
        found = kept.figures(column, coverage_of)
        held = 89 <= found["mean"] <= 91 and found["least"] >= 86 and found["most"] <= 94
        good &= held
        print(
            f"{name:27}{found['mean']:11.2f}{found['least']:8.1f}{found['most']:8.1f}"
            f"{found['width']:18.2f}{found['below']:12.2f}{'' if held else '  MISSED'}",
            flush=True,
        )
    print("95 % bound: percent of measurements at or below predict(..., upper=0.95)")
    return good


def coverage_of_few(column: Column) -> dict[str, float]:
    """Coverage of intervals by the number of training rows, in %."""
    _, test = column.split(0)
    latency, found = column.latency_ms[test], {}
    for count, most in FEW.items():
        covered = []
        for rows in draws(column, count, most):
            fitted = make_predictor("hybrid", column.space)
            fitted.fit(column.choices[rows], column.latency_ms[rows])
            low, high = fitted.predict_interval(column.choices[test])
            covered.append(100 * np.mean((low <= latency) & (latency <= high)))
        found[str(count)] = float(np.mean(covered))
    return found


def few_rows(folder: Path, only: str, kept: Kept) -> bool:
    """Print the coverage of 90 % intervals with few rows; return whether the means hold."""
    print("Coverage of 90 % intervals of hybrid on the test rows, %, means over draws")
    print(f"{'column':27}" + "".join(f"{count:>9} rows" for count in FEW))
    by_space: dict[tuple[str, int], list[float]] = {}
    for column in columns(folder, only):
        name = f"{column.name} {column.device}"
        found = kept.figures(column, coverage_of_few)
        for count in FEW:
            by_space.setdefault((column.name, count), []).append(found[str(count)])
        print(f"{name:27}" + "".join(f"{found[str(count)]:14.1f}" for count in FEW), flush=True)
    good = True
    for (space, count), values in by_space.items():
        held = COVERED[0] <= np.mean(values) <= COVERED[1]
        good &= bool(held)
        words = "" if held else "  MISSED"
        print(f"{space} at {count} rows, mean: {np.mean(values):.1f} % (88 to 92){words}")
    return good


def main() -> None:
    """Print accuracy or intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data")
    parser.add_argument("--intervals", action="store_true", help="coverage over 20 splits")
    parser.add_argument("--few", action="store_true", help="coverage with few rows")
    parser.add_argument("--only", default="", help="columns with this in their name")
    parser.add_argument("--keep", type=Path, help="file that keeps what was found of columns")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    start = time.perf_counter()
    kept = Kept(arguments.keep)
    judge = intervals if arguments.intervals else few_rows if arguments.few else accuracy
    good = judge(arguments.data, arguments.only, kept)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if arguments.check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
