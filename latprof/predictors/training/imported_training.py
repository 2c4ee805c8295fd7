"""Training on latencies that somebody else measured and published."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.importers.flags import DRIFT, SYNTHETIC
from latprof.datasets.importers.twins import noise_of_twins
from latprof.errors import UsageError
from latprof.measurement.records import Target
from latprof.predictors.pack.origin import NOT_STATED, PUBLISHED, Origin
from latprof.predictors.training.split_training import MIN_ROWS, train

if TYPE_CHECKING:
    from latprof.datasets.importers.base import ImportedLatencies
    from latprof.predictors.pack.pack import Pack
    from latprof.predictors.training.split_training import OnFit


def train_on_column(
    column: ImportedLatencies,
    *,
    device_name: str = "",
    conditions: str = "",
    predictor: str = "hybrid",
    test_fraction: float = 0.2,
    seed: int = 0,
    compare: bool = True,
    on_progress: OnFit | None = None,
) -> Pack:
    """Fit a predictor to one column of a public collection, and judge it on its other rows.

    Only usable rows count. The pack's target is a published one, whose runtime and threads nobody
    stated; its batch size is 1 where the file does not tell. The noise floor comes from networks
    that the column holds under two names, where there are any. Where latencies follow the order of
    the rows, that is taken off before the fit.

    Parameters
    ----------
    column : ImportedLatencies
    device_name, conditions : str
        What the collection's paper says of the device and of how it was measured.
    predictor, test_fraction, seed, compare, on_progress
        As for :func:`latprof.predictors.training.split_training.train`.

    Raises
    ------
    UsageError
        For a column whose rows are no architectures of a search space, for one that was summed from
        a table and never measured, and for one that holds a single value.
    UnknownNameError, NotEnoughDataError, InvalidValueError, CoverageError
        As ``train``.
    """
    if column.space is None or column.choices is None:
        raise UsageError(
            f"the rows of {column.name} are not architectures of a search space",
            hint="predictors of a search space need rows of one, such as those of help and brp-nas",
        )
    usable_ms = column.latency_ms[column.usable]
    if len(usable_ms) >= MIN_ROWS and np.ptp(usable_ms) == 0:
        raise UsageError(
            f"all {len(usable_ms):,} rows of {column.name} have the same latency",
            got=f"{usable_ms[0]:g} ms",
            hint="nothing can be learned from it; take another column",
        )
    if SYNTHETIC in column.flags:
        raise UsageError(
            f"{column.name} was summed from a table, not measured",
            hint="a pack of it would say how near a sum is to a sum; take a measured column",
        )
    source = hashlib.sha256(Path(column.source).read_bytes()).hexdigest()
    stated = column.batch_size is not None
    target = Target(
        device=PUBLISHED,
        device_name=device_name or column.device,
        runtime=NOT_STATED,
        runtime_version=NOT_STATED,
        batch_size=column.batch_size or 1,
        threads=0,
    )
    pack = train(
        column.space,
        column.choices[column.usable],
        usable_ms,
        predictor=predictor,
        target=target,
        noise_floor=noise_of_twins(column),
        test_fraction=test_fraction,
        seed=seed,
        compare=compare,
        order=np.flatnonzero(column.usable) if DRIFT in column.flags else None,
        on_progress=on_progress,
    )
    words = [conditions] if conditions else []
    words += [] if stated else ["batch size not stated, taken as 1"]
    origin = Origin(
        column=column.name,
        citation=column.citation,
        licence=column.licence,
        conditions="; ".join(words),
        traps=tuple(sorted(column.flags)),
        sha256=source,
    )
    return dataclasses.replace(pack, origin=origin)
