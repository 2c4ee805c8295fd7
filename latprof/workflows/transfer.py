"""Learning a new device from a few measurements and the packs of other devices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.extras import needs
from latprof.workflows.arguments import (
    PackLike,
    PathLike,
    SpaceLike,
    StoreLike,
    open_store,
    packs_of,
    source_packs,
    space_of,
)

if TYPE_CHECKING:
    from latprof.predictors.pack.pack import Pack


@needs("train")
def transfer(
    sources: PackLike | Sequence[PackLike],
    store: StoreLike,
    output: PathLike | None = None,
    *,
    space: SpaceLike | None = None,
    target: str | None = None,
) -> Pack:
    """Learn a new device from a few measurements and the packs of other devices.

    Ten architectures chosen by ``latprof.collect(plan="transfer", sources=...)`` are a good number;
    with ``ops=True`` the times of their kernels help too. In the pack, ``metrics`` are of the
    measured networks, each predicted without itself, and ``predictor.weights_`` says how much each
    source counts.

    Parameters
    ----------
    sources : pack, or sequence of packs
        Of other devices, for one search space.
    store : path, URL or Store
        The new device's.
    output : path, optional
        Where the pack is saved too.
    space : SearchSpace or str, optional
        The packs' search space, where it is one of your own.
    target : str, optional
        Which of the store's targets, where it holds several.

    Raises
    ------
    UsageError
        For no source, or a store of another search space.
    PackSpaceError
        For sources of several search spaces.
    NotEnoughDataError
        For fewer than three measured architectures.
    OutputPathError
        For an output that cannot be written, before anything is fitted.
    """
    from latprof.common.files import check_output
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.pack.saving import save_pack
    from latprof.predictors.training.transfer_training import transfer_to_labels

    given = packs_of(sources)
    packs = source_packs(given, space_of(space))
    if output is not None:
        check_output(output, others=given)
    with open_store(store) as opened:
        pack = transfer_to_labels(packs, TargetLabels.of(opened, target))
    if output is not None:
        save_pack(pack, output)
    return pack


def transfer_values(
    pack: Pack, sources: Sequence[str], output: PathLike | None = None
) -> dict[str, Any]:
    """A transferred pack's errors and the weight of each of its sources as plain JSON values."""
    weights: list[float] = getattr(pack.predictor, "weights_", np.empty(0)).tolist()
    return {
        "pack": None if output is None else os.fspath(output),
        "target": None if pack.target is None else pack.target.to_dict(),
        "training_rows": pack.training_rows,
        "sources": dict(zip(sources, weights, strict=False)),
        "kernels": weights[len(sources)] if len(weights) > len(sources) else None,
        "left_out": None if pack.metrics is None else pack.metrics.to_dict(),
        "interval_coverage": pack.interval_coverage,
        "interval_relative": pack.interval_relative,
    }
