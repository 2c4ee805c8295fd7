"""Fitting a predictor to a store's measurements."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.errors import UsageError
from latprof.workflows.arguments import (
    OnNote,
    PathLike,
    SpaceLike,
    StoreLike,
    open_store,
    paths_of,
    space_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from latprof.measurement.store.store import Store
    from latprof.predictors.pack.kernel_pack import KernelPack
    from latprof.predictors.pack.pack import Pack
    from latprof.predictors.training.split_training import OnFit


#: Fewer held-out networks than this are warned of.
FEW_HELD_OUT = 20


@needs("train")
def train(
    store: StoreLike | None = None,
    output: PathLike | None = None,
    *,
    space: SpaceLike | None = None,
    published: str | None = None,
    kernels: PathLike | Sequence[PathLike] | None = None,
    prior: PathLike | Sequence[PathLike] | None = None,
    device_name: str = "",
    predictor: str = "hybrid",
    target: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    compare: bool = True,
    on_progress: OnFit | None = None,
    on_note: OnNote | None = None,
) -> Pack | KernelPack:
    """Fit a predictor to a store's measurements of one target, or to published ones.

    The pack says how large the error is on networks held out of the fit (``metrics``, and
    ``comparison`` for the other predictors), beside the noise floor, the error that a perfect
    predictor would still show. A store of kernels makes a pack of kernels, which answers for any
    network.

    Parameters
    ----------
    store : path, URL or Store
        Left out with ``published`` and ``kernels``.
    output : path, optional
        Where the pack is saved too.
    space : SearchSpace or str, optional
        Which of the store's search spaces; of your own it is needed, since a store has its
        description only.
    published : str, optional
        A column of a public collection in place of a store, for example
        ``"help:FOLDER/nasbench201/pixel3"``; the forms are those of
        :func:`latprof.datasets.column_forms`.
    kernels : path or sequence of path, optional
        Fit a pack of kernels to these: a table of mobile-ml-benchmark (``tflite_cnn_ops_gpu.csv``)
        or of TinyNAS (``conv_fp32.out``), or a data set of ``latprof collect --kernels``, by its
        name or file; a store is one, too. Of several data sets the first is what the pack is of;
        the others, of the same processor and runtime, add kernels in other number formats and
        batches.
    prior : path or sequence of path, optional
        For a pack of kernels: data sets of another target's kernels, by name or file, as
        ``"kernels-epyc-ort1"``. Times are compared with those, so that far fewer kernels are
        enough; it takes some minutes.
    device_name : str
        What the pack calls the device of a published column, where the file's own name says little.
    predictor : str
        One of :func:`latprof.predictors.predictor_names`.
    target : str, optional
        Which of the store's targets, where it holds several: its spelling, or a part of its
        description. Of a table of kernels one of its devices (``"mi8se|gpu"``).
    test_fraction : float
        Share of the networks that is held out of the fit.
    seed : int
        Of the split and of the predictor.
    compare : bool
        Also fit the other predictors on the same split.
    on_progress : callable, optional
        Called before each fit with what is fitted, and to how many rows.
    on_note : callable, optional
        Called with remarks, such as which predictor could not be compared.

    Raises
    ------
    UnknownNameError, MissingDependencyError
        For the predictor, before the store is opened.
    InvalidValueError
        For a fraction outside (0, 1), or a seed that is none, before the store is opened.
    OutputPathError
        For an output that cannot be written, before anything is fitted.
    StoreError, NotEnoughDataError
        For a store that is none, or that holds too little.
    UsageError
        For a store with several targets, for one with several search spaces where ``space`` does
        not say which, for one without it (also where its source was changed since), for none of a
        store, a published column and kernels, or several, for ``device_name`` without
        ``published``, for ``prior`` without kernels, and for a column that no predictor can be
        fitted to.
    DataSetError
        For a published file or a table that is missing or malformed.
    """
    from latprof.common.files import check_output
    from latprof.common.limits import INNER_SHARE, check_seed
    from latprof.datasets.spaces.own.function_space import FunctionSpace
    from latprof.predictors.models.by_name import predictor_class
    from latprof.predictors.pack.kernel_pack import KernelPack, save_kernel_pack
    from latprof.predictors.pack.saving import save_pack

    files = [] if kernels is None else paths_of(kernels, "kernels")
    priors = [] if prior is None else paths_of(prior, "prior")
    others_given = (target, space) != (None, None)
    _check_source(store, published, files, device_name, others_given=others_given)
    if published is not None and priors:
        raise UsageError("`prior` is for kernels", field="prior")
    predictor_class(predictor)
    INNER_SHARE.check("test_fraction", test_fraction)
    check_seed(seed)
    own = space_of(space)
    if output is not None:
        check_output(output, others=[*files, *priors])
    if on_note is not None and isinstance(own, FunctionSpace) and not own.is_compared:
        on_note(f"building networks of {own.name} to find its parts, this once")
    options: dict[str, Any] = {
        "predictor": predictor,
        "test_fraction": test_fraction,
        "seed": seed,
        "compare": compare,
        "on_progress": on_progress,
    }
    pack: Pack | KernelPack
    if files:
        pack = _train_on_kernels(files, priors, target, seed, on_note)
    elif published is not None:
        from latprof.datasets.importers.columns import load_column
        from latprof.predictors.training.imported_training import train_on_column

        pack = train_on_column(load_column(published), device_name=device_name, **options)
    else:
        assert store is not None
        pack = _train_on_store(store, target, priors, on_note, space=own, **options)
    if isinstance(pack, KernelPack):
        if output is not None:
            save_kernel_pack(pack, output)
        return pack
    if output is not None:
        save_pack(pack, output)
    if on_note is not None:
        _note(pack, on_note, compare=compare)
    return pack


def _train_on_store(
    store: StoreLike,
    target: str | None,
    prior: Sequence[Path],
    on_note: OnNote | None,
    **options: Any,
) -> Pack | KernelPack:
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.training.kernel_training import train_on_stored_kernels
    from latprof.predictors.training.stored_training import train_on_labels

    with open_store(store) as opened:
        measured = TargetLabels.of(opened, target)
        if _holds_kernels_only(opened):
            seed = options["seed"]
            return train_on_stored_kernels(measured, prior=prior, seed=seed, on_note=on_note)
        if prior:
            raise UsageError("`prior` is for kernels", field="prior")
        return train_on_labels(measured, **options)


def _train_on_kernels(
    files: Sequence[Path],
    prior: Sequence[Path],
    target: str | None,
    seed: int,
    on_note: OnNote | None,
) -> KernelPack:
    from latprof.common.files import is_sqlite
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.training.kernel_training import (
        train_on_published_kernels,
        train_on_stored_kernels,
    )

    if len(files) > 1 or not is_sqlite(files[0]):
        return train_on_published_kernels(
            *files, device=target, prior=prior, seed=seed, on_note=on_note
        )
    with open_store(files[0]) as opened:
        measured = TargetLabels.of(opened, target)
        return train_on_stored_kernels(measured, prior=prior, seed=seed, on_note=on_note)


def _holds_kernels_only(store: Store) -> bool:
    """Whether a store has timed kernels, and no architecture of a search space."""
    kinds = {
        subject.kind
        for stored in store.targets()
        for subject in store.subjects_with_kernels(stored.target)
    }
    return "built" in kinds and "architecture" not in kinds


def _note(pack: Pack, on_note: OnNote, *, compare: bool) -> None:
    """Say what lessens the worth of a pack's errors."""
    from latprof.predictors.models.by_name import predictor_names

    held_out = 0 if pack.metrics is None else pack.metrics.rows
    if held_out < FEW_HELD_OUT:
        on_note(
            f"only {held_out} networks are held out: errors and rank correlations of so few say "
            "little; collect more"
        )
    if compare:
        for name in sorted(set(predictor_names()) - set(pack.comparison)):
            on_note(
                f"{name} cannot be compared: held-out networks have blocks that no network of the "
                "fit has"
            )


def _check_source(
    store: StoreLike | None,
    published: str | None,
    kernels: Sequence[object],
    device_name: str,
    *,
    others_given: bool,
) -> None:
    if kernels and (store is not None or published is not None):
        raise UsageError(
            "several things to fit to", expected="one of a store, `published` and `kernels`"
        )
    if published is None and store is None and not kernels:
        raise UsageError("a store is needed, or `published` measurements")
    if published is None and device_name:
        raise UsageError("`device_name` is for `published` measurements", field="device_name")
    if published is not None and (store is not None or others_given):
        raise UsageError("`published` takes no store, no target and no space")


def train_values(pack: Pack | KernelPack, output: PathLike) -> dict[str, Any]:
    """A trained pack's errors beside the noise floor as plain JSON values."""
    from latprof.predictors.pack.kernel_pack import KernelPack

    floor = pack.noise_floor
    if isinstance(pack, KernelPack):
        agreement, left_out = pack.agreement, pack.kernel_metrics
        return {
            "pack": os.fspath(output),
            "target": pack.target.to_dict(),
            "kernels": pack.kernel_rows,
            "networks": pack.network_rows,
            "prior": [*pack.prior],
            "families_left_out": None if pack.metrics is None else pack.metrics.to_dict(),
            "kernels_left_out": None if left_out is None else left_out.to_dict(),
            "noise_floor_percent": None if floor is None else floor.percent,
            "agreement": None if agreement is None else agreement.to_dict(),
        }
    return {
        "pack": os.fspath(output),
        "predictor": pack.predictor.name,
        "target": None if pack.target is None else pack.target.to_dict(),
        "training_rows": pack.training_rows,
        "held_out": None if pack.metrics is None else pack.metrics.to_dict(),
        "comparison": {name: metrics.to_dict() for name, metrics in pack.comparison.items()},
        "noise_floor_percent": None if floor is None else floor.percent,
        "noise_floor_ms": None if floor is None else floor.rmse_ms,
        "interval_coverage": pack.interval_coverage,
        "interval_relative": pack.interval_relative,
        "origin": None if pack.origin is None else pack.origin.to_dict(),
    }
