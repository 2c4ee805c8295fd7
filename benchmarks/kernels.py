"""Networks from their kernels: ``python -m benchmarks.kernels --data FOLDER``.

Or ``--part networks --store STORE``.

``public``: FOLDER holds ``mobile-ml-benchmark`` and ``tinynas-v100``. On the GPUs of a Pixel 4 and
a Mi 8 SE the 79 networks are predicted in 5 folds (``RandomState(0)``), the kernels, the scale and
the offset from the other folds; once more with no shape of a left-out kernel in the training;
and single kernels of shapes that were left out (5 folds of shapes). On the V100 80 % of the
convolutions predict the others, and 1,000 do.

``networks``: STORE is one of ``latprof collect --kernels``. The zoo's networks that were measured
end to end there are predicted with their whole family left out of the kernels.

``--check`` exits with status 1 where a promised figure is missed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latprof.measurement.labels import TargetLabels
from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.kernels.learning.kernel_fitting import fit_kernel_model
from latprof.predictors.kernels.learning.network_fitting import (
    correction_of,
    fit_networks,
    leave_families_out,
)
from latprof.predictors.kernels.learning.published_kernels import mobile_ml_table, tinynas_table
from latprof.predictors.kernels.network_kernels import NetworkKernelModel
from latprof.predictors.training.kernel_training import stored_kernels
from latprof.workflows.arguments import open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.predictors.kernels.learning.network_fitting import KernelTable

FOLDS = 5
#: Promised mean absolute percentage errors: networks, the same of new shapes, kernels of these.
PHONES = {"pixel4|gpu": (3.0, 4.2, 9.0), "mi8se|gpu": (2.6, 4.4, 9.0)}
CONVOLUTIONS = {0: 4.0, 1000: 13.0}
DRAWS = 3
#: Promised of networks whose family is left out.
MAPE, WITHIN_5, WITHIN_10, SPEARMAN, HALF_WIDTH = 3.5, 80.0, 97.0, 0.99, 0.07


def mape(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Mean absolute percentage error."""
    return float(100 * np.mean(np.abs(predicted / measured - 1)))


def folds_of_networks(table: KernelTable, *, new_shapes: bool) -> tuple[float, float]:
    """Errors of networks by predicted kernels and by their true times, in percent."""
    predicted, true = np.empty(len(table.names)), np.empty(len(table.names))
    shapes = np.array(table.kernels.digests(), dtype=np.uint64)
    for fold in np.array_split(np.random.RandomState(0).permutation(len(table.names)), FOLDS):
        left_out = np.isin(np.arange(len(table.names)), fold)
        held = left_out[table.network]
        inside = ~held & ~np.isin(shapes, shapes[held]) if new_shapes else ~held
        correction = correction_of(table, left_out)
        kernels = fit_kernel_model(table.kernels.rows(inside), table.latency_ms[inside])
        model = NetworkKernelModel(kernels, correction, np.empty(0))
        for index in fold:
            predicted[index] = model.predict(table.of_network(index)).latency_ms
            own = table.latency_ms[table.network == index]
            true[index] = correction.each(own).sum() + correction.constant_ms
    return mape(predicted, table.network_ms), mape(true, table.network_ms)


def kernels_of_new_shapes(table: KernelTable) -> float:
    """The error of single kernels of shapes that were left out, in percent."""
    shapes = np.array(table.kernels.digests(), dtype=np.uint64)
    distinct, number = np.unique(shapes, return_inverse=True)
    fold = (np.random.RandomState(0).permutation(len(distinct)) % FOLDS)[number]
    predicted = np.empty(len(shapes))
    for held in range(FOLDS):
        inside = fold != held
        model = fit_kernel_model(table.kernels.rows(inside), table.latency_ms[inside])
        predicted[~inside] = model.predict(table.kernels.rows(~inside)).latency_ms
    return mape(predicted, table.latency_ms)


def convolutions(table: KernelTable, rows: int) -> float:
    """The error on a fifth of the convolutions, from so many of the others (0: all), in percent."""
    order = np.random.RandomState(0).permutation(len(table.latency_ms))
    test, train = np.split(order, [len(order) // 5])
    errors = []
    for draw in range(DRAWS if rows else 1):
        chosen = np.random.RandomState(100 + draw).permutation(train)[:rows] if rows else train
        model = fit_kernel_model(
            table.kernels.rows(chosen), table.latency_ms[chosen], trees=400 if rows else 1500
        )
        errors.append(
            mape(model.predict(table.kernels.rows(test)).latency_ms, table.latency_ms[test])
        )
    return float(np.mean(errors))


def public(data: Path) -> list[str]:
    """Print the figures on public tables; return what misses its promise."""
    missed = []

    def show(what: str, found: float, promised: float, more: str = "") -> None:
        print(f"{what:60} {found:5.2f} %  (promised {promised} %){more}", flush=True)
        if found > promised:
            missed.append(what)

    folder = data / "mobile-ml-benchmark"
    for device, (whole, new, kernels) in PHONES.items():
        table = mobile_ml_table(
            folder / "tflite_cnn_ops_gpu.csv", folder / "tflite_cnn_e2e.csv", device
        )
        found, true = folds_of_networks(table, new_shapes=False)
        show(f"{device}, networks in 5 folds", found, whole, f", true kernel times {true:.2f} %")
        found, _ = folds_of_networks(table, new_shapes=True)
        show(f"{device}, networks, no shape of theirs in training", found, new)
        show(f"{device}, kernels of new shapes", kernels_of_new_shapes(table), kernels)
    table = tinynas_table(data / "tinynas-v100" / "conv_fp32.out")
    for rows, promised in CONVOLUTIONS.items():
        name = f"V100 convolutions, {rows or '80 %'} rows to fit"
        show(name, convolutions(table, rows), promised)
    return missed


def networks(store: str) -> list[str]:
    """Print how the zoo's networks are predicted without their family; return what is missed."""
    with open_store(store) as opened:
        measured = TargetLabels.of(opened)
        table = stored_kernels(measured)
        floor = measured.noise_floor
        print(measured.target.describe())
    fitted = fit_networks(table)
    found = evaluate(fitted.predicted_ms, fitted.measured_ms)
    judged = [each for each in leave_families_out(table) if each is not None]
    # Each network against the intervals that all others' errors make.
    scores = np.log(fitted.measured_ms / fitted.predicted_ms)
    scores /= np.array([each.difficulty for each in judged])
    inside, widths = [], []
    for index, each in enumerate(judged):
        model = dataclasses.replace(fitted.model, scores=np.sort(np.delete(scores, index)))
        low, high = (model.upper_ms(each, share) for share in (0.05, 0.95))
        inside.append(low <= fitted.measured_ms[index] <= high)
        widths.append((high - low) / 2 / each.latency_ms)
    different = len(set(table.kernels.digests()))
    print(f"kernels {len(table.latency_ms):,}, {different:,} different, networks {found.rows}")
    print(f"noise floor {'unknown' if floor is None else f'{floor.percent:.2f} %'}")
    print(
        f"MAPE {found.mape_percent:.2f} %, within 5 % {found.within_5_percent:.0f} %, within 10 % "
        f"{found.within_10_percent:.0f} %, Spearman {found.spearman:.4f}"
    )
    width = float(np.median(widths))
    print(f"90 % intervals hold for {np.mean(inside):.0%}, half-width {width:.1%} (median)")
    promised = {
        "MAPE": found.mape_percent <= MAPE,
        "within 5 %": found.within_5_percent >= WITHIN_5,
        "within 10 %": found.within_10_percent >= WITHIN_10,
        "Spearman": found.spearman >= SPEARMAN,
        "half-width": width <= HALF_WIDTH,
    }
    return [name for name, kept in promised.items() if not kept]


def main() -> None:
    """Print the figures of one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the public collections")
    parser.add_argument("--part", default="public", choices=["public", "networks"])
    parser.add_argument("--store", help="of latprof collect --kernels")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    missed: list[str] = []
    if arguments.part == "public":
        if arguments.data is None:
            parser.error("--part public needs --data")
        missed += public(arguments.data)
    else:
        if arguments.store is None:
            parser.error("--part networks needs --store")
        missed += networks(arguments.store)
    if missed and arguments.check:
        sys.exit(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
