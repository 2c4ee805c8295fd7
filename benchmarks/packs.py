"""Refit the operator costs of the packs that come with latprof: ``python -m benchmarks.packs``.

To the training rows and the kernels of the data sets of the same names; their predictors, and with
them every prediction of an architecture, stay as they are, unless ``--predictors`` is given: then
packs are trained anew, as ``latprof train`` does, on the split of the data set. ``--output FOLDER``
writes there, not over the packs; ``--only`` takes those with a text in their name. Prints the
held-out error and the size of each.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.published.loading import dataset_names, load, load_kernels
from latprof.errors import DataSetError
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.predictors.pack.shipped import resolve
from latprof.predictors.training.split_training import train
from latprof.predictors.training.stored_training import timed_operators

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.predictors.pack.pack import Pack


def refitted(name: str) -> Pack:
    """A shipped pack with the operator costs that its data set gives now."""
    pack, rows = load_pack(name), load(name, split="train")
    choices = pack.space.choices([pack.space.parse(text) for text in rows["architecture"]])
    batch_size = 1 if pack.target is None else pack.target.batch_size
    kernels = timed_operators(pack.space, batch_size, _profiles(name, pack))
    return pack.with_costs_of((choices, rows["latency_ms"].to_numpy()), kernels)


def trained(name: str) -> Pack:
    """A shipped pack whose predictor is fitted anew to the training rows of its data set."""
    pack = load_pack(name)
    rows = load(name).sort_values("architecture")  # the order in which a store's are split
    batch_size = 1 if pack.target is None else pack.target.batch_size
    again = train(
        pack.space,
        [pack.space.parse(text) for text in rows["architecture"]],
        rows["latency_ms"].to_numpy(),
        kernels=timed_operators(pack.space, batch_size, _profiles(name, pack)),
        target=pack.target,
        noise_floor=pack.noise_floor,
        reference=pack.reference,
        reference_ms=pack.reference_ms,
    )
    tested = rows[rows["split"] == "test"]["latency_ms"].to_numpy()
    if again.held_out is None or not np.array_equal(again.held_out.measured_ms, tested):
        raise SystemExit(f"{name}: the data set has another split than a training on it")
    return dataclasses.replace(again, constant=pack.constant, extra_files=pack.extra_files)


def _profiles(name: str, pack: Pack) -> Iterator[tuple[Architecture, list[tuple[str, float]]]]:
    """The architectures whose kernels were timed; none for most data sets."""
    try:
        kernels = load_kernels(name)
    except DataSetError:
        return
    for text, rows in kernels.groupby("architecture"):
        times = zip(rows["name"], rows["latency_ms"].astype(float), strict=True)
        yield pack.space.parse(str(text)), list(times)


def main() -> None:
    """Write the packs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="folder; the shipped packs themselves without")
    parser.add_argument("--predictors", action="store_true", help="fit the predictors anew, too")
    parser.add_argument("--only", default="", help="packs with this in their name")
    arguments = parser.parse_args()
    for name in dataset_names():
        if arguments.only not in name:
            continue
        shipped = Path(resolve(name))
        path = shipped if arguments.output is None else arguments.output / f"{name}.pack"
        before, error = shipped.stat().st_size, _error(load_pack(name))
        pack = trained(name) if arguments.predictors else refitted(name)
        save_pack(pack, path)
        print(
            f"{name}: {error} % held out and {before:,} bytes before, "
            f"{_error(pack)} % and {path.stat().st_size:,} now",
            flush=True,
        )


def _error(pack: Pack) -> str:
    return "-" if pack.metrics is None else f"{pack.metrics.rmse_percent:.3f}"


if __name__ == "__main__":
    main()
