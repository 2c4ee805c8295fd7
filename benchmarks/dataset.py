"""What a shipped data set promises: ``python -m benchmarks.dataset [NAME]``.

The noise floor, and what it would be with fewer visits or without parts of the protocol; the error
of every predictor on the held-out architectures, by the number of training rows (the mean of
several draws, for few rows); the share within 3 %; kernel sums against end-to-end latencies.
``--check`` exits with status 1 where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latprof.datasets.published.datasheet import floor_of_visits
from latprof.datasets.published.loading import datasheet, load, load_kernels, load_visits
from latprof.datasets.spaces.named import space_from_description
from latprof.errors import CoverageError, DataSetError
from latprof.measurement.process_effects import process_effects
from latprof.measurement.records import Target
from latprof.measurement.statistics import reconcile
from latprof.predictors.models.block_times import BlockTimes
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.models.transfer_predictor import TransferPredictor

if TYPE_CHECKING:
    import pandas as pd

    from latprof.datasets.spaces.base import SearchSpace

#: Training rows, and draws of so many over which errors are averaged; all rows come first.
ROWS = {1000: 3, 300: 5, 100: 10, 30: 10}
#: Promised errors of the best predictor in percent of the mean.
LIMITS = {100: 1.6, 30: 2.1}
#: The same of a table of the rows' kernels, by rows.
WITH_KERNELS = {30: 1.1}
FLOOR_LIMIT = 0.8
WITHIN_3_LIMIT = 97.0
KERNEL_LIMIT = 3.0
KERNEL_NETWORKS = 300
DEFAULT = "proxyless-cpu-ort1"

Floats = NDArray[np.float64]
Choices = NDArray[np.uint8]


def rows_of(frame: pd.DataFrame, space: SearchSpace) -> tuple[Choices, Floats]:
    """Choices of shape (n, decisions) and latencies in ms."""
    choices = space.choices([space.parse(text) for text in frame["architecture"]])
    return choices, frame["latency_ms"].to_numpy()


def predict(
    name: str, space: SearchSpace, train: tuple[Choices, Floats], choices: Choices
) -> Floats:
    """Held-out predictions, NaN where a candidate is not known."""
    try:
        return make_predictor(name, space).fit(*train).predict(choices)
    except CoverageError:
        return np.full(len(choices), np.nan)


def rmse_percent(predicted: Floats, measured: Floats) -> float:
    """Root mean square error in percent of the mean."""
    return 100 * float(np.sqrt(np.mean((predicted - measured) ** 2)) / measured.mean())


def promise(text: str, value: float, limit: float, *, at_least: bool = False) -> bool:
    """Print a figure beside its limit."""
    good = value >= limit if at_least else value <= limit
    word = "at least" if at_least else "at most"
    print(f"{text}: {value:.2f} % ({word} {limit:.2f} %){'' if good else '  MISSED'}")
    return good


def floors(visits: pd.DataFrame) -> None:
    """Print the noise floors of labels made of the first so many visits, with and without parts.

    "medians" are raw medians without a reference; "paired" are ratios to it; the last column also
    divides out what the visits of one process have in common, found from these visits alone.
    """
    usable = visits[~visits["disturbed"]].astype({"ratio": float, "raw_median_ms": float})
    print("\nnoise floor in % of labels of so many visits")
    print(f"{'visits':>6}{'medians':>10}{'paired':>10}{'paired, processes apart':>26}")
    for number in range(1, int(usable["visit"].max()) + 2):
        some = usable[usable["visit"] < number].copy()
        some["apart"] = some["ratio"] / process_effects(
            some["architecture"].to_numpy(str), some["process"], some["ratio"]
        )
        found = [floor_of_visits(some, column) for column in ("raw_median_ms", "ratio", "apart")]
        cells = [math.nan if floor is None else floor.percent for floor in found]
        print(f"{number:6}{cells[0]:10.2f}{cells[1]:10.2f}{cells[2]:26.2f}")


def accuracy(frame: pd.DataFrame, limit_percent: float) -> bool:
    """Print the table of errors and what follows from it, with a limit for all rows."""
    space = space_from_description(frame.attrs["space"])
    choices, latency = rows_of(frame[frame["split"] == "train"], space)
    test_choices, measured = rows_of(frame[frame["split"] == "test"], space)
    names = predictor_names()
    print(f"\nRMSE on {len(measured):,} held-out architectures, % of their mean, by training rows")
    print(f"{'rows':>6}{'draws':>7}" + "".join(f"{name:>14}" for name in names))
    best: dict[int, float] = {}
    within: dict[str, float] = {}
    winner = ""
    draws_of = {len(latency): 1} | {n: k for n, k in ROWS.items() if n < len(latency)}
    for n, draws in draws_of.items():
        errors: dict[str, list[float]] = {name: [] for name in names}
        for draw in range(draws):
            some = np.random.default_rng(draw).permutation(len(latency))[:n]
            for name in names:
                predicted = predict(name, space, (choices[some], latency[some]), test_choices)
                errors[name].append(rmse_percent(predicted, measured))
                if n == len(latency):
                    within[name] = 100 * float(np.mean(np.abs(predicted / measured - 1) <= 0.03))
        means = {name: float(np.mean(values)) for name, values in errors.items()}
        known = {name: mean for name, mean in means.items() if not np.isnan(mean)}
        best[n] = min(known.values())
        if n == max(best):
            winner = min(known, key=known.__getitem__)
        cells = "".join(f"{'-' if np.isnan(m) else f'{m:.3f}':>14}" for m in means.values())
        print(f"{n:6}{draws:7}{cells}", flush=True)
    print("- a candidate of a held-out network was in no row of some draw\n")
    most = max(best)
    good = promise(f"best predictor, {most:,} rows", best[most], limit_percent)
    for n, limit in LIMITS.items():
        if n in best:
            good &= promise(f"best predictor, {n} rows", best[n], limit)
    good &= promise(
        f"held-out networks within 3 % by {winner}, {most:,} rows",
        within[winner],
        WITHIN_3_LIMIT,
        at_least=True,
    )
    return good


def few_with_kernels(frame: pd.DataFrame, name: str) -> bool:
    """Print errors from a few networks whose kernels were timed too, which ``train`` uses.

    The networks are drawn from those of the training split that have kernels.
    """
    try:
        table = load_kernels(name).astype({"latency_ms": float})
    except DataSetError:
        return name != DEFAULT
    space = space_from_description(frame.attrs["space"])
    train, test = (frame[frame["split"] == split] for split in ("train", "test"))
    train = train[train["architecture"].isin(set(table["architecture"]))]
    test_choices, measured = rows_of(test, space)
    choices, latency = rows_of(train, space)
    by_network = {
        spelled: list(zip(rows["name"], rows["latency_ms"], strict=True))
        for spelled, rows in table.groupby("architecture")
    }
    good = True
    print("\nthe same from networks whose kernels were timed too, and without the kernels")
    for n, limit in WITH_KERNELS.items():
        errors = []
        for draw in range(ROWS[n]):
            some = np.random.default_rng(draw).permutation(len(latency))[:n]
            timed = [by_network[spelled] for spelled in train["architecture"].iloc[some]]
            times = BlockTimes.of_kernels(space, space.architectures(choices[some]), timed)
            fitted = TransferPredictor(space, (), times).fit(choices[some], latency[some])
            plain = predict("hybrid", space, (choices[some], latency[some]), test_choices)
            errors.append(
                [rmse_percent(p, measured) for p in (fitted.predict(test_choices), plain)]
            )
        found, without = np.mean(errors, axis=0).tolist()
        print(f"{n} rows, {ROWS[n]} draws: {found:.3f} % with, {without:.3f} % without")
        if name == DEFAULT:
            good &= promise(f"{n} rows and their kernels", found, limit)
    return good


def kernels(frame: pd.DataFrame, name: str) -> bool:
    """Print how the kernels' sums meet the end-to-end latencies."""
    try:
        table = load_kernels(name)
    except DataSetError as error:
        print(f"no kernels: {error}")
        return name != DEFAULT
    sums = table.astype({"latency_ms": float}).groupby("architecture")["latency_ms"].sum()
    latency = frame.set_index("architecture")["latency_ms"].reindex(sums.index).dropna()
    found = reconcile(sums.loc[latency.index], latency)
    print(
        f"kernels of {found.networks} networks: latency = {found.scale:.4f} x sum "
        f"{found.offset_ms:+.4f} ms; without that the latencies are {found.gap_percent:+.2f} % "
        "off the sum"
    )
    print(
        f"profiling made a run {frame.attrs['profiling_overhead_percent']:+.1f} % longer (median)"
    )
    good = promise("kernel sums against latencies, MAPE", found.mape_percent, KERNEL_LIMIT)
    return good and (name != DEFAULT or found.networks >= KERNEL_NETWORKS)


def main() -> None:
    """Print every promised figure of a data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default=DEFAULT)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a figure is missed")
    arguments = parser.parse_args()
    frame = load(arguments.name)
    assert datasheet(arguments.name)
    floor, mean_ms = frame.attrs["noise_floor"], float(frame["latency_ms"].mean())
    if floor is None:
        raise SystemExit(f"{arguments.name} has no noise floor: nothing was measured twice")
    print(f"{arguments.name}: {len(frame):,} architectures, mean {mean_ms:.3f} ms")
    print(Target.from_dict(frame.attrs["target"]).describe())
    share = 100 * floor["rmse_ms"] / mean_ms
    good = promise(
        f"noise floor, {floor['pairs']} pairs, RMSE over the mean ({floor['rmse_ms']:.4f} ms)",
        share,
        FLOOR_LIMIT,
    )
    floors(load_visits(arguments.name))
    good &= accuracy(frame, max(1.3 * share, FLOOR_LIMIT))
    good &= few_with_kernels(frame, arguments.name)
    good &= kernels(frame, arguments.name)
    if arguments.check and not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
