"""Training on a store: its labels, one target and one space at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from latprof.common.short_reprs import ShortRepr
from latprof.datasets.spaces.named import space_from_description
from latprof.errors import NotEnoughDataError, UsageError
from latprof.measurement.frames import labels_frame, noise_floor, visits_frame
from latprof.measurement.statistics import quiet_kernels
from latprof.predictors.models.block_times import BlockTimes
from latprof.predictors.models.by_name import predictor_class
from latprof.predictors.training.split_training import train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from latprof.datasets.spaces.base import Architecture, SearchSpace
    from latprof.measurement.statistics import NoiseFloor
    from latprof.measurement.store.store import Store, StoredTarget
    from latprof.predictors.pack.pack import Pack


@dataclass(frozen=True, eq=False, repr=False)
class StoredRows(ShortRepr):
    """What a store holds of one target: architectures of one space, each with its label.

    Sorted by architecture, so that nothing depends on who was measured first.
    """

    space: SearchSpace
    architectures: list[Architecture]
    latency_ms: NDArray[np.float64]
    noise_floor: NoiseFloor | None
    reference_ms: float


def stored_rows(store: Store, stored: StoredTarget, space: SearchSpace | None = None) -> StoredRows:
    """Read the labels of a target's architectures.

    Freezes the target's reference constant, so that every later label is in the same milliseconds.
    Raises NotEnoughDataError for no architecture, UsageError for several spaces or another than
    ``space``, where that is given.
    """
    visits = visits_frame(store, stored.target)
    measured = visits[(visits["kind"] == "architecture") & visits["failure_code"].isna()]
    descriptions = sorted(measured["space"].unique())
    if not descriptions:
        raise NotEnoughDataError(
            f"{store.location} holds no architectures of a search space",
            hint="collect some with latprof collect",
        )
    if space is not None and descriptions != [space.description]:
        raise UsageError(
            f"{store.location} holds architectures of another space",
            expected=space.description,
            got=next(text for text in descriptions if text != space.description)[:500],
        )
    if len(descriptions) > 1:
        raise UsageError(
            f"{store.location} holds architectures of {len(descriptions)} spaces",
            hint="keep each space in a store of its own",
        )
    reference_ms = store.freeze_reference_ms(stored.target)
    labels = labels_frame(visits, reference_ms)
    rows = labels[(labels["label"] == 0) & (labels["kind"] == "architecture")]
    rows = rows.sort_values("subject")
    with store.reading("an architecture"):
        space = space or space_from_description(descriptions[0])
        architectures = [space.parse(key) for key in rows["subject"]]
    return StoredRows(
        space,
        architectures,
        rows["latency_ms"].to_numpy(),
        noise_floor(visits, labels),
        reference_ms,
    )


def stored_block_times(store: Store, stored: StoredTarget, rows: StoredRows) -> BlockTimes | None:
    """What the blocks of the rows' architectures took, None where no kernels were timed."""
    kernels: dict[str, list[tuple[str, float]]] = {}
    for subject, profile in store.kernel_profiles(stored.target):
        if subject.space == rows.space.description:
            kernels[subject.key] = [
                (kernel.name, kernel.latency_ms)
                for kernel in quiet_kernels(profile, rows.reference_ms)
            ]
    if not kernels:
        return None
    with store.reading("an architecture"):
        architectures = [rows.space.parse(key) for key in kernels]
    return BlockTimes.of_kernels(rows.space, architectures, [*kernels.values()])


def train_from_store(
    store: Store,
    stored: StoredTarget,
    *,
    predictor: str = "hybrid",
    test_fraction: float = 0.2,
    seed: int = 0,
    compare: bool = True,
) -> Pack:
    """Fit a predictor to what ``store`` holds of one target.

    Freezes the target's reference constant, so that every later label is in the same milliseconds.

    Raises
    ------
    UnknownNameError
        For an unknown predictor.
    NotEnoughDataError
        For too few architectures.
    UsageError
        When the store holds architectures of several spaces.
    """
    predictor_class(predictor)
    rows = stored_rows(store, stored)
    choices = rows.space.choices(rows.architectures)
    return train(
        rows.space,
        choices,
        rows.latency_ms,
        predictor=predictor,
        target=stored.target,
        noise_floor=rows.noise_floor,
        reference=stored.reference,
        reference_ms=rows.reference_ms,
        test_fraction=test_fraction,
        seed=seed,
        compare=compare,
    )
