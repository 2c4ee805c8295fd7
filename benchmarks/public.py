"""Accuracy on public measurements: ``python -m benchmarks.public --data FOLDER``.

FOLDER holds ``floors.csv`` and the collection ``help``. For every column of the file and every
number of training rows (80 %, 900, 100 and 20) it prints the floor (the better of a ridge on
one-hot choices and an untuned XGBoost, both from the file), the RMSE of ``hybrid`` on the same
test rows, and their ratio. With ``i = RandomState(0).permutation(n)`` the first fifth of i is the
test set; n rows are the mean over training sets ``RandomState(100 + s).permutation(train)[:n]``: 3
draws at 900, 4 at 100, 6 at 20. Beside them stands the processor time of the fit at 80 %. Where a
column shows its noise, the RMSE at 80 % over it follows. ``--only`` takes some of the columns.
``--intervals`` prints the coverage of 90 % intervals over 20 splits instead (about an hour),
``--few`` at 20 and 100 training rows, over the draws above. ``--check`` exits with status 1 where a
promised figure is missed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.importers.help import load_help
from latprof.datasets.importers.twins import noise_of_twins
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
#: Promised processor seconds of a fit of Once-for-All at 80 %.
FIT_S = 6.0
SPLITS = 20
#: Numbers of rows that are few, and promised mean coverage of 90 % intervals there, by space, in %.
FEW, COVERED = (20, 100), (88, 92)


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


def outliers_alone(errors: Floats) -> float:
    """What the RMSE would be were all rows but the far outliers predicted exactly.

    Far is beyond 7 robust standard deviations (1.4826 times the median absolute error).
    """
    far = np.abs(errors) > 7 * 1.4826 * np.median(np.abs(errors))
    return rmse(np.where(far, errors, 0.0))


def mean_error(column: Column, count: int) -> tuple[float, float]:
    """RMSE, and what far outliers alone would leave: means over draws of ``count`` rows, in ms."""
    train, test = column.split(0)
    draws = [train]
    if count:
        # The draws permute positions, as the floors' do.
        draws = [
            np.random.RandomState(100 + s).permutation(train)[:count] for s in range(DRAWS[count])
        ]
    errors = [errors_ms(column, rows, test) for rows in draws]
    return float(np.mean(list(map(rmse, errors)))), float(
        np.mean(list(map(outliers_alone, errors)))
    )


def accuracy(folder: Path, only: str) -> bool:
    """Print the ratios; return whether all that is promised is kept."""
    print("RMSE of hybrid on the test rows, floor (the better of two baselines) and their ratio")
    heads = "".join(f"{name:>27}" for name in NAMES.values())
    print(f"{'column':27}{'mean ms':>9}{'noise':>9}{'outliers':>10}{'fit s':>7}  {heads}")
    ratios: dict[int, dict[tuple[str, str], float]] = {count: {} for count in DRAWS}
    over_noise: dict[str, float] = {}
    fit_s: dict[tuple[str, str], float] = {}
    for column in columns(folder, only):
        cells, outliers = "", np.nan
        for count in DRAWS:
            start = time.process_time()
            (error, far), floor = mean_error(column, count), column.floors[count]
            if not count:
                outliers = far / floor
                fit_s[column.name, column.device] = time.process_time() - start
            ratios[count][column.name, column.device] = error / floor
            if not count and (noise := noise_of_twins(column.data)) is not None:
                over_noise[f"{column.name} {column.device}"] = error / noise.rmse_ms
            cells += f"{floor:11.4f}{error:9.4f}{error / floor:7.3f}"
        noise = noise_of_twins(column.data)
        shown = "-" if noise is None else f"{noise.rmse_ms:.3f}"
        mean = column.latency_ms[column.rows].mean()
        name = f"{column.name} {column.device}"
        seconds = fit_s[column.name, column.device]
        print(f"{name:27}{mean:9.3f}{shown:>9}{outliers:10.3f}{seconds:7.1f}  {cells}", flush=True)
    print("noise: ms, of one measurement, from networks that the space names twice; it holds what")
    print("their layout changes too. RMSE below it is not to be had where rows are independent.")
    print(
        "outliers: the ratio at 80 % were all test rows predicted exactly but those that are off by"
    )
    print("more than 7 robust standard deviations.\n")
    longest = max((s for (space, _), s in fit_s.items() if space.startswith("ofa")), default=0.0)
    good = promise("Once-for-All, longest fit at 80 %, processor seconds", longest, FIT_S)
    return good & judged_by_noise(over_noise) & promises(ratios)


def judged_by_noise(over_noise: dict[str, float]) -> bool:
    """Print RMSE at 80 % over the noise of one measurement, where a column shows its own."""
    if not over_noise:
        return True
    print("RMSE at 80 % over noise: 1 is all that can be had")
    print("\n".join(f"{name:27}{value:9.3f}" for name, value in over_noise.items()))
    mean = geometric_mean(list(over_noise.values()))
    return promise("RMSE over noise, geometric mean", mean, MEAN_OVER_NOISE)


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


def intervals(folder: Path, only: str) -> bool:
    """Print coverage and width of 90 % intervals over splits; return whether they hold."""
    print(f"90 % intervals of hybrid, {SPLITS} splits (RandomState(1..{SPLITS}), a fifth tested)")
    heads = f"{'coverage %':>11}{'least':>8}{'most':>8}{'width, % of mean':>18}{'95 % bound':>12}"
    print(f"{'column':27}{heads}")
    good = True
    for column in columns(folder, only):
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
            found.append((100 * inside.mean(), 100 * width, 100 * np.mean(latency <= bound)))
        cover, width, below = np.array(found).T
        held = 89 <= cover.mean() <= 91 and cover.min() >= 86 and cover.max() <= 94
        good &= bool(held)
        print(
            f"{column.name + ' ' + column.device:27}{cover.mean():11.2f}{cover.min():8.1f}"
            f"{cover.max():8.1f}{width.mean():18.2f}{below.mean():12.2f}"
            f"{'' if held else '  MISSED'}",
            flush=True,
        )
    print("95 % bound: percent of measurements at or below predict(..., upper=0.95)")
    return good


def few_rows(folder: Path, only: str) -> bool:
    """Print the coverage of 90 % intervals with few rows; return whether the means hold."""
    print("Coverage of 90 % intervals of hybrid on the test rows, %, means over draws")
    print(f"{'column':27}" + "".join(f"{count:>9} rows" for count in FEW))
    found: dict[tuple[str, int], list[float]] = {}
    for column in columns(folder, only):
        train, test = column.split(0)
        line = f"{column.name + ' ' + column.device:27}"
        for count in FEW:
            covered = []
            for seed in range(DRAWS[count]):
                rows = np.random.RandomState(100 + seed).permutation(train)[:count]
                fitted = make_predictor("hybrid", column.space)
                fitted.fit(column.choices[rows], column.latency_ms[rows])
                low, high = fitted.predict_interval(column.choices[test])
                latency = column.latency_ms[test]
                covered.append(100 * np.mean((low <= latency) & (latency <= high)))
            line += f"{np.mean(covered):14.1f}"
            found.setdefault((column.name, count), []).append(float(np.mean(covered)))
        print(line, flush=True)
    good = True
    for (space, count), values in found.items():
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
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    start = time.perf_counter()
    if arguments.intervals:
        good = intervals(arguments.data, arguments.only)
    elif arguments.few:
        good = few_rows(arguments.data, arguments.only)
    else:
        good = accuracy(arguments.data, arguments.only)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if arguments.check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
