"""Refit the operator costs of the packs that come with latprof: ``python -m benchmarks.packs``.

To the training rows and the kernels of the data sets of the same names; their predictors, and with
them every prediction of an architecture, stay as they are. ``--output FOLDER`` writes there, not
over the packs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from latprof.datasets.published.loading import dataset_names, load, load_kernels
from latprof.errors import DataSetError
from latprof.predictors.kernels.timed_operators import timed_operators
from latprof.predictors.pack.saving import load_pack, save_pack
from latprof.predictors.pack.shipped import resolve

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
    output = parser.parse_args().output
    for name in dataset_names():
        path = Path(resolve(name)) if output is None else output / f"{name}.pack"
        before = Path(resolve(name)).stat().st_size
        save_pack(refitted(name), path)
        print(f"{name}: {before:,} bytes before, {path.stat().st_size:,} now")


if __name__ == "__main__":
    main()
