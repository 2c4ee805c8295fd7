"""Training on a store: its labels, one target and one space at a time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from latprof.datasets.registry import space_from_description
from latprof.datasets.splits import split_rows
from latprof.errors import NotEnoughDataError, UsageError
from latprof.measurement.frames import labels_frame, noise_floor, visits_frame
from latprof.predictors.operator_costs import OperatorCostModel
from latprof.predictors.registry import predictor_class
from latprof.predictors.training import train

if TYPE_CHECKING:
    from latprof.measurement.store import Store, StoredTarget
    from latprof.predictors.pack import Pack

#: The pack's extra file with the model for networks outside the search space.
OPERATOR_COSTS_FILE = "operator_costs.json"


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
    visits = visits_frame(store, stored.target)
    measured = visits[(visits["kind"] == "architecture") & visits["failure_code"].isna()]
    descriptions = sorted(measured["space"].unique())
    if not descriptions:
        raise NotEnoughDataError(
            f"{store.location} holds no architectures of a search space",
            hint="collect some with latprof collect --space",
        )
    if len(descriptions) > 1:
        raise UsageError(
            f"{store.location} holds architectures of {len(descriptions)} spaces",
            hint="keep each space in a store of its own",
        )
    reference_ms = store.freeze_reference_ms(stored.target)
    labels = labels_frame(visits, reference_ms)
    floor = noise_floor(visits, labels)
    rows = labels[(labels["label"] == 0) & (labels["kind"] == "architecture")]
    # Sorted, so that the split depends on which networks there are and not on who came first.
    rows = rows.sort_values("subject")
    with store.reading("an architecture"):
        space = space_from_description(descriptions[0])
        architectures = [space.parse(key) for key in rows["subject"]]
    latency_ms = rows["latency_ms"].to_numpy()
    choices = space.choices(architectures)
    pack = train(
        space,
        choices,
        latency_ms,
        predictor=predictor,
        target=stored.target,
        noise_floor=floor,
        reference=stored.reference,
        reference_ms=reference_ms,
        test_fraction=test_fraction,
        seed=seed,
        compare=compare,
    )
    fitted, _ = split_rows(len(choices), test_fraction, seed)
    costs = OperatorCostModel().fit(
        [space.operators(architectures[row], stored.target.batch_size) for row in fitted],
        latency_ms[fitted],
    )
    return dataclasses.replace(pack, extra_files={OPERATOR_COSTS_FILE: costs.to_bytes()})
