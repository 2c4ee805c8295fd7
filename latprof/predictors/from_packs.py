"""Packs as the sources of a transfer: of one search space, and one device each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latprof.datasets.registry import space_from_description
from latprof.errors import NotEnoughDataError, UsageError
from latprof.measurement.frames import labels_frame, noise_floor, visits_frame
from latprof.predictors.evaluation import evaluate
from latprof.predictors.pack import HeldOut, Pack, load_pack
from latprof.predictors.transfer import TransferPredictor

if TYPE_CHECKING:
    from latprof.measurement.store import Store, StoredTarget


def load_sources(paths: Sequence[str | os.PathLike[str]]) -> list[Pack]:
    """Load the packs of other devices.

    Raises UsageError for none, PackSpaceError for packs of several spaces, and as
    :func:`~latprof.predictors.pack.load_pack`.
    """
    if not paths:
        raise UsageError(
            "there is no pack to transfer from", field="from", expected="--from PACK, once or more"
        )
    packs = [load_pack(path) for path in paths]
    for pack in packs[1:]:
        packs[0].check_space(pack.space)
    return packs


def transfer_from_store(packs: Sequence[Pack], store: Store, stored: StoredTarget) -> Pack:
    """Fit a predictor of a new device to all that ``store`` holds of it.

    The pack's held-out rows are all of them, each predicted without itself.
    Freezes the target's reference constant, so that every later label is in the same milliseconds.

    Parameters
    ----------
    packs : sequence of Pack
        Of other devices, as :func:`load_sources` returns them.
    store : Store
        Open for writing.
    stored : StoredTarget
        The new device.

    Raises
    ------
    NotEnoughDataError
        For fewer than three measured architectures of the packs' space.
    UsageError
        When the store holds another space.
    """
    space = packs[0].space
    visits = visits_frame(store, stored.target)
    measured = visits[(visits["kind"] == "architecture") & visits["failure_code"].isna()]
    others = sorted(set(measured["space"]) - {space.description})
    if others:
        with store.reading("an architecture"):
            name = space_from_description(others[0]).name
        raise UsageError(
            f"{store.location} holds architectures of another space",
            expected=space.description,
            got=f"{name}: {others[0]}"[:500],
        )
    if measured.empty:
        raise NotEnoughDataError(
            f"{store.location} holds no architectures of {space.name}",
            hint="collect some with latprof collect --plan transfer",
        )
    reference_ms = store.freeze_reference_ms(stored.target)
    labels = labels_frame(visits, reference_ms)
    rows = labels[(labels["label"] == 0) & (labels["kind"] == "architecture")]
    with store.reading("an architecture"):
        choices = space.choices([space.parse(key) for key in rows["subject"]])
    predictor = TransferPredictor(space, [pack.predictor for pack in packs])
    latency_ms = rows["latency_ms"].to_numpy()
    predictor.fit(choices, latency_ms)
    coverage, relative = predictor.typical_interval(choices)
    left_out = predictor.out_of_fold_ms_
    return Pack(
        predictor=predictor,
        target=stored.target,
        metrics=evaluate(left_out, latency_ms),
        held_out=HeldOut(
            tuple(map(str, space.architectures(choices))), latency_ms, np.maximum(left_out, 1e-9)
        ),
        noise_floor=noise_floor(visits, labels),
        reference=stored.reference,
        reference_ms=reference_ms,
        training_rows=len(choices),
        interval_coverage=coverage,
        interval_relative=relative,
    )
