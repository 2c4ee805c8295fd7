"""Packs as the sources of a transfer: of one search space, and one device each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latprof.predictors.fitting.evaluation import evaluate
from latprof.predictors.models.transfer_predictor import TransferPredictor
from latprof.predictors.pack.pack import HeldOut, Pack
from latprof.predictors.training.stored_training import stored_block_times, stored_rows

if TYPE_CHECKING:
    from latprof.measurement.labels import TargetLabels


def transfer_to_labels(packs: Sequence[Pack], measured: TargetLabels) -> Pack:
    """Fit a predictor of a new device to all that a store holds of it, kernel times included.

    The pack's held-out rows are all of them, each predicted without itself.

    Parameters
    ----------
    packs : sequence of Pack
        Of other devices, all of one search space.
    measured : TargetLabels
        Of the new device.

    Raises
    ------
    NotEnoughDataError
        For fewer than three measured architectures of the packs' space.
    UsageError
        When the store holds another space.
    """
    space = packs[0].space
    rows = stored_rows(measured, space)
    times = stored_block_times(measured, space)
    predictor = TransferPredictor(space, [pack.predictor for pack in packs], times)
    predictor.fit(rows.architectures, rows.latency_ms)
    left_out = predictor.out_of_fold_ms_
    return dataclasses.replace(
        Pack.of(predictor, measured.target),
        metrics=evaluate(left_out, rows.latency_ms),
        held_out=HeldOut(
            tuple(map(str, rows.architectures)), rows.latency_ms, np.maximum(left_out, 1e-9)
        ),
        noise_floor=measured.noise_floor,
        reference=measured.reference,
        reference_ms=measured.reference_ms,
        constant=measured.constant,
    )
