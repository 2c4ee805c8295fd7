"""Fitting a predictor to a store's measurements."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from latprof.common.extras import needs
from latprof.errors import UsageError
from latprof.workflows.arguments import (
    OnNote,
    PathLike,
    SpaceLike,
    StoreLike,
    open_store,
    space_of,
)

if TYPE_CHECKING:
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
    device_name: str = "",
    predictor: str = "hybrid",
    target: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    compare: bool = True,
    on_progress: OnFit | None = None,
    on_note: OnNote | None = None,
) -> Pack:
    """Fit a predictor to a store's measurements of one target, or to published ones.

    The pack says how large the error is on networks held out of the fit (``metrics``, and
    ``comparison`` for the other predictors), beside the noise floor, the error that a perfect
    predictor would still show.

    Parameters
    ----------
    store : path, URL or Store
        Left out with ``published``.
    output : path, optional
        Where the pack is saved too.
    space : SearchSpace or str, optional
        The store's search space, where it is one of your own: a store has its description only.
    published : str, optional
        A column of a public collection in place of a store, for example
        ``"help:FOLDER/nasbench201/pixel3"``; the forms are those of
        :func:`latprof.datasets.column_forms`.
    device_name : str
        What the pack calls the device of a published column, where the file's own name says little.
    predictor : str
        One of :func:`latprof.predictors.predictor_names`.
    target : str, optional
        Which of the store's targets, where it holds several: its spelling, or a part of its
        description.
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
    OutputPathError
        For an output that cannot be written, before anything is fitted.
    StoreError, NotEnoughDataError
        For a store that is none, or that holds too little.
    UsageError
        For a store with several targets or several search spaces, or of another space than
        ``space`` (also where its source was changed since), for neither a store nor a
        published column, or both, for ``device_name`` without ``published``, and for a column that
        no predictor can be fitted to.
    DataSetError
        For a published file that is missing or malformed.
    """
    from latprof.common.files import check_output
    from latprof.datasets.spaces.own.function_space import FunctionSpace
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.models.by_name import predictor_class, predictor_names
    from latprof.predictors.pack.saving import save_pack
    from latprof.predictors.training.stored_training import train_on_labels

    _check_source(store, published, device_name, others_given=(target, space) != (None, None))
    predictor_class(predictor)
    own = space_of(space)
    if output is not None:
        check_output(output)
    if on_note is not None and isinstance(own, FunctionSpace) and not own.is_compared:
        on_note(f"building networks of {own.name} to find its parts, this once")
    options: dict[str, Any] = {
        "predictor": predictor,
        "test_fraction": test_fraction,
        "seed": seed,
        "compare": compare,
        "on_progress": on_progress,
    }
    if published is not None:
        from latprof.datasets.importers.columns import load_column
        from latprof.predictors.training.imported_training import train_on_column

        pack = train_on_column(load_column(published), device_name=device_name, **options)
    else:
        assert store is not None
        with open_store(store) as opened:
            pack = train_on_labels(TargetLabels.of(opened, target), space=own, **options)
    if output is not None:
        save_pack(pack, output)
    held_out = 0 if pack.metrics is None else pack.metrics.rows
    if on_note is not None and held_out < FEW_HELD_OUT:
        on_note(
            f"only {held_out} networks are held out: errors and rank correlations of so few say "
            "little; collect more"
        )
    if compare and on_note is not None:
        for name in sorted(set(predictor_names()) - set(pack.comparison)):
            on_note(
                f"{name} cannot be compared: held-out networks have blocks that no network of the "
                "fit has"
            )
    return pack


def _check_source(
    store: StoreLike | None, published: str | None, device_name: str, *, others_given: bool
) -> None:
    if published is None and store is None:
        raise UsageError("a store is needed, or `published` measurements")
    if published is None and device_name:
        raise UsageError("`device_name` is for `published` measurements", field="device_name")
    if published is not None and (store is not None or others_given):
        raise UsageError("`published` takes no store, no target and no space")


def train_values(pack: Pack, output: PathLike) -> dict[str, Any]:
    """A trained pack's errors beside the noise floor as plain JSON values."""
    floor = pack.noise_floor
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
