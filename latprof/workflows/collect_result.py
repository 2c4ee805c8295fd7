"""What a collection did, and what its store holds of the target after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from latprof.common.framed import Framed
from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_DEVICE, EXIT_OK, EXIT_PARTIAL, EXIT_TIMEOUT
from latprof.measurement.quiet.busy import FEWEST_JUDGED, is_too_busy

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import Target
    from latprof.measurement.summary import Summary
    from latprof.profilers.campaign.campaign import CampaignResult
    from latprof.profilers.campaign.collection import Collection
    from latprof.profilers.host.host_report import HostReport
    from latprof.profilers.visits.model_files.models import Costs


@dataclass(frozen=True)
class Label:
    """One model's latency in ms, its 90 % interval (NaN for one visit), and its visits that count.

    ``stopped_by`` says what ended the visits, as in exports. ``too_busy`` says that the host was
    too busy for a number: others preempted the runs and the visits disagree, so that the latency is
    NaN and the interval wide.
    """

    network: str
    latency_ms: float
    low_ms: float
    high_ms: float
    visits: int
    stopped_by: str
    too_busy: bool = False


@dataclass(frozen=True, repr=False)
class CollectResult(ShortRepr, Framed):
    """What a collection did, and what the store holds of the target after it.

    Parameters
    ----------
    target : Target
    outcome : CampaignResult
        Visits made, already complete and failed in this run, and tries that were repeated.
    summary : Summary or None
        Of all that the store holds of the target; None where nothing was measured.
    costs : mapping of str to Costs
        What is known of each model file before it runs, by its name.
    labels : tuple of Label
        The latency of each model that was named.
    host : HostReport or None
        What the host did before and during the visits of this run.
    table : DataFrame or None
        The labels of the target.
    unusable : mapping of str to str
        Why files among several could not be measured, by their paths.
    """

    target: Target
    outcome: CampaignResult
    summary: Summary | None
    costs: Mapping[str, Costs] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()
    host: HostReport | None = None
    table: pd.DataFrame | None = field(default=None, repr=False, compare=False)
    unusable: Mapping[str, str] = field(default_factory=dict)

    def frame_rows(self) -> list[dict[str, Any]]:
        """A row a network that the store holds of the target, as :func:`latprof.labels` has it."""
        if self.table is None:
            return []
        rows = self.table[self.table["label"] == 0].to_dict("records")
        return [{str(name): value for name, value in row.items()} for row in rows]

    @property
    def exit_status(self) -> int:
        """0; 5 with failures; 4 where nothing could be measured, 124 where all timed out.

        A model for which the host was too busy is a failure, and so is a file that cannot be used.
        """
        outcome = self.outcome
        done, failures = outcome.made + outcome.resumed + outcome.elsewhere, outcome.failures
        if done:
            lost = failures or self.unusable or any(label.too_busy for label in self.labels)
            return EXIT_PARTIAL if lost else EXIT_OK
        if not failures:
            return EXIT_PARTIAL
        only_timeouts = {failure.code for _, failure in failures} == {"timeout"}
        return EXIT_TIMEOUT if only_timeouts else EXIT_DEVICE

    @property
    def batch(self) -> str:
        """The batch of the models in words; empty for architectures, which have the target's."""
        sizes = {costs.batch_size for costs in self.costs.values()}
        if len(sizes) == 1 and (size := sizes.pop()) is not None:
            return f"batch {size}"
        return "each model's own batch" if self.costs else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        outcome = self.outcome
        return ({} if self.summary is None else self.summary.to_dict()) | {
            "visits_made": outcome.made,
            "visits_resumed": outcome.resumed,
            "visits_elsewhere": outcome.elsewhere,
            "visits_failed": outcome.failed,
            "visits_disturbed": outcome.disturbed,
            "tries_repeated": outcome.repeated,
            "visits_left": outcome.left,
            "models": {name: costs.to_dict() for name, costs in self.costs.items()},
            "labels": [asdict(label) for label in self.labels],
            "unusable": dict(self.unusable),
            "host": None if self.host is None else self.host.to_dict(),
        }


def labels_of(
    known: TargetLabels, collection: Collection, host: HostReport | None = None
) -> tuple[Label, ...]:
    """The labels of the networks that were named, in their order; wider where ``host`` was busy."""
    table = known.labels
    rows = {row["subject"]: row for row in table[table["label"] == 0].to_dict("records")}
    found = [
        (network.subject.name, rows.get(network.subject.key)) for network in collection.networks
    ]
    return tuple(label_of(name, row, host) for name, row in found if row is not None)


def label_of(name: str, row: Mapping[Any, Any], host: HostReport | None = None) -> Label:
    """A row of the table of labels, unless the host was too busy for it.

    A memory hog that only copying in memory tells of is in no table.
    """
    low_ms, high_ms = float(row["low_ms"]), float(row["high_ms"])
    whole = math.log(high_ms / low_ms) / 2
    half = math.sqrt(max(whole**2 - row["doubt"] ** 2, 0.0))
    unseen = 0.0 if host is None or host.others_gb_s >= 0 else host.memory_doubt
    wider = math.exp(math.hypot(whole, unseen) - whole)
    visits = int(row["visits"])
    too_busy = visits >= FEWEST_JUDGED and is_too_busy(half, float(row["taken"]))
    return Label(
        name,
        math.nan if too_busy else float(row["latency_ms"]),
        low_ms / wider,
        high_ms * wider,
        visits,
        str(row["stopped_by"]),
        too_busy,
    )


def costs_of(collection: Collection) -> dict[str, Costs]:
    """What is known of the collection's models."""
    return {n.subject.name: n.costs for n in collection.networks if n.costs is not None}
