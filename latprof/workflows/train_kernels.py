"""Fitting kernel packs: from a store, or from tables of other projects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs, require
from latprof.workflows.arguments import OnNote, PathLike, StoreLike, open_store

if TYPE_CHECKING:
    from latprof.predictors.pack.kernel_pack import KernelPack


@needs("train")
def train_kernels(
    store: StoreLike | None = None,
    output: PathLike | None = None,
    *,
    kernels: PathLike | Sequence[PathLike] | None = None,
    target: str | None = None,
    seed: int = 0,
    on_note: OnNote | None = None,
) -> KernelPack:
    """Fit a kernel pack, which answers for any network.

    Parameters
    ----------
    store : path, URL or Store, optional
        With timed kernels, of ``latprof collect --kernels``.
    output : path, optional
        Where the pack is saved too.
    kernels : path or sequence of path, optional
        In place of ``store``: a table of mobile-ml-benchmark (``tflite_cnn_ops_gpu.csv``) or of
        TinyNAS (``conv_fp32.out``), or a data set of ``latprof collect --kernels``, by its name or
        file; a store is one, too. Of several data sets the first is what the pack is of; the
        others, of the same processor and runtime, add kernels in other number formats and batches.
    target : str, optional
        Which of the store's targets, or of the table's devices (``"mi8se|gpu"``).
    seed : int
    on_note : callable, optional
        Called with remarks, such as which networks are left out.

    Raises
    ------
    OutputPathError
        For an output that cannot be written, before anything is fitted.
    StoreError, DataSetError, NotEnoughDataError
        For a store or a table that is none, or that holds too little.
    """
    from latprof.common.files import check_output, is_sqlite
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.pack.kernel_pack import save_kernel_pack
    from latprof.predictors.training.kernel_training import (
        train_on_published_kernels,
        train_on_stored_kernels,
    )

    if isinstance(kernels, str | os.PathLike):
        kernels = [kernels]
    if output is not None:
        check_output(output, others=kernels or ())
    paths = [Path(each) for each in kernels or []]
    if len(paths) == 1 and is_sqlite(paths[0]):
        store, paths = paths[0], []
    if paths:
        pack = train_on_published_kernels(*paths, device=target, seed=seed, on_note=on_note)
    else:
        assert store is not None
        with open_store(store) as opened:
            pack = train_on_stored_kernels(
                TargetLabels.of(opened, target), seed=seed, on_note=on_note
            )
    if output is not None:
        save_kernel_pack(pack, output)
    return pack


def train_kernels_values(pack: KernelPack, output: PathLike) -> dict[str, Any]:
    """A trained kernel pack's errors beside the noise floor as plain JSON values."""
    floor = pack.noise_floor
    return {
        "pack": os.fspath(output),
        "target": pack.target.to_dict(),
        "kernels": pack.kernel_rows,
        "networks": pack.network_rows,
        "families_left_out": None if pack.metrics is None else pack.metrics.to_dict(),
        "kernels_left_out": None if pack.kernel_metrics is None else pack.kernel_metrics.to_dict(),
        "noise_floor_percent": None if floor is None else floor.percent,
        "agreement": None if pack.agreement is None else pack.agreement.to_dict(),
    }


def holds_kernels_only(store: StoreLike) -> bool:
    """Whether a store has timed kernels, and no architecture of a search space."""
    require("train", "latprof train")
    with open_store(store) as opened:
        kinds = {
            subject.kind
            for stored in opened.targets()
            for subject in opened.subjects_with_kernels(stored.target)
        }
    return "built" in kinds and "architecture" not in kinds
