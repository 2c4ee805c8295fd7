"""A report's data, out of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.datasets.spaces.named import space_from_description
from latprof.errors import NotEnoughDataError, TargetMismatchError, UsageError
from latprof.measurement.summary import campaign_cost
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.reports.data import BLOCK_COST_COLUMNS, ReportData

if TYPE_CHECKING:
    import pandas as pd

    from latprof.datasets.spaces.base import SearchSpace
    from latprof.measurement.labels import TargetLabels
    from latprof.predictors.pack.pack import Pack


def report_data(
    measured: TargetLabels, pack: Pack | None = None, space: SearchSpace | None = None
) -> ReportData:
    """Gather what a report on one target shows; ``space`` is the store's, where it is a user's own.

    The host's facts are those of the target's last campaign, not of the host that writes the
    report. Raises TargetMismatchError for a pack of another target.
    """
    target = measured.target
    if pack is not None and pack.target is not None and pack.target != target:
        raise TargetMismatchError(
            "the pack was trained on another target than the store's",
            got="; ".join(pack.target.differences(target)),
        )
    visits = measured.visits
    rate, untimed = campaign_cost(visits)
    with measured.store.reading("an architecture"):
        block_costs = _block_costs(measured.labels, space, pack)
    return ReportData(
        target=target,
        reference=measured.reference,
        reference_ms=measured.reference_ms,
        reference_frozen=measured.is_frozen,
        labels=measured.labels,
        visits=visits,
        noise_floor=measured.noise_floor,
        kernels=measured.kernels,
        pack=pack,
        block_costs=block_costs,
        conditions=tuple(
            (str(name), str(value)) for name, value in measured.conditions.get("facts", {}).items()
        ),
        doctor=tuple(
            (check["status"], check["name"], check["finding"], check["remedy"])
            for check in measured.conditions.get("checks", ())
        ),
        campaign={
            "wall_s": float(visits["wall_s"].sum()),
            "overhead_share": untimed,
            "networks_per_hour": rate,
            "done": int(visits["failure_code"].isna().sum()),
            "failed": int(visits["failure_code"].notna().sum()),
            "protocol": measured.protocol,
        },
    )


def _block_costs(
    labels: pd.DataFrame, space: SearchSpace | None, pack: Pack | None
) -> pd.DataFrame:
    """Where the time goes by block: the entries of a lookup table fitted to a space's labels.

    Of several spaces in a store it is the user's own or the pack's, else none.
    """
    import pandas as pd

    rows = labels[(labels["label"] == 0) & (labels["kind"] == "architecture")]
    nothing = pd.DataFrame(columns=list(BLOCK_COST_COLUMNS))
    described = list(rows["space"].unique())
    if len(described) > 1:
        wanted = space or (None if pack is None else pack.space)
        described = [d for d in described if wanted is not None and not wanted.difference_from(d)]
        rows = rows[rows["space"].isin(described)]
    if not described:
        return nothing
    description = described[0]
    if space is None and pack is not None and not pack.space.difference_from(description):
        space = pack.space
    space = space or space_from_description(description)
    if difference := space.difference_from(description):
        raise UsageError(f"the store is of another search space: {difference}", field="space")
    table = LookupTablePredictor(space)
    try:
        table.fit([space.parse(key) for key in rows["subject"]], rows["latency_ms"])
    except NotEnoughDataError:
        return nothing
    entries = [
        (row.position, row.block, row.candidate, row.key, row.latency_ms, row.count)
        for row in table.rows()
    ]
    fixed = (-1, "fixed part", "stem, first block, head", "", table.fixed_ms_, len(rows))
    return pd.DataFrame(
        [fixed, *entries],
        columns=list(BLOCK_COST_COLUMNS),
    )
