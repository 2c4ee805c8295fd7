"""Packs as the sources of a transfer: of one search space, and one device each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.models.transfer import TransferPredictor
from latprof.predictors.pack.pack import HeldOut, Pack
from latprof.predictors.training.stored_training import stored_block_times, stored_rows

if TYPE_CHECKING:
    from latprof.measurement.store.store import Store, StoredTarget


def transfer_from_store(packs: Sequence[Pack], store: Store, stored: StoredTarget) -> Pack:
    """Fit a predictor of a new device to all that ``store`` holds of it, kernel times included.

    The pack's held-out rows are all of them, each predicted without itself.
    Freezes the target's reference constant, so that every later label is in the same milliseconds.

    Parameters
    ----------
    packs : sequence of Pack
        Of other devices, all of one search space.
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
    rows = stored_rows(store, stored, space)
    times = stored_block_times(store, stored, rows)
    predictor = TransferPredictor(space, [pack.predictor for pack in packs], times)
    predictor.fit(rows.architectures, rows.latency_ms)
    left_out = predictor.out_of_fold_ms_
    return dataclasses.replace(
        Pack.of(predictor, stored.target),
        metrics=evaluate(left_out, rows.latency_ms),
        held_out=HeldOut(
            tuple(map(str, rows.architectures)), rows.latency_ms, np.maximum(left_out, 1e-9)
        ),
        noise_floor=rows.noise_floor,
        reference=stored.reference,
        reference_ms=rows.reference_ms,
    )
