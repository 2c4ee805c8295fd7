"""What a store holds of one target, in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor

#: A longer pause between two visits is an interruption of the collection, in seconds.
_PAUSE_S = 60.0


@dataclass(frozen=True)
class Summary:
    """A target's measurements in figures.

    ``networks_an_hour`` and ``untimed_fraction`` count all time from a visit's start to the next
    one's (pauses left out): building, loading, warm-up, starting processes and writing.
    """

    target: Target
    reference: str
    reference_ms: float
    networks: int
    failed: int
    mean_ms: float
    noise_floor: NoiseFloor | None
    networks_an_hour: float
    untimed_fraction: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        floor = self.noise_floor
        return {
            "target": self.target.to_dict(),
            "reference": self.reference,
            "reference_ms": self.reference_ms,
            "networks": self.networks,
            "failed": self.failed,
            "mean_ms": self.mean_ms,
            "noise_floor_percent": None if floor is None else floor.percent,
            "noise_floor_ms": None if floor is None else floor.rmse_ms,
            "noise_floor_pairs": None if floor is None else floor.pairs,
            "noise_floor_method": None if floor is None else floor.method,
            "networks_an_hour": self.networks_an_hour,
            "untimed_fraction": self.untimed_fraction,
        }

    def lines(self, batch: str = "") -> list[str]:
        """The figures for people, one a line; ``batch`` in place of the target's own."""
        failed = f", {self.failed} failed" if self.failed else ""
        return [
            f"target          {self.target.describe(batch)}",
            f"reference       {self.reference}, {self.reference_ms:.3f} ms on a quiet host",
            f"networks        {self.networks} measured{failed}, mean {self.mean_ms:.3f} ms",
            f"noise floor     {describe_noise_floor(self.noise_floor)}",
            (
                f"cost            {self.networks_an_hour:.0f} networks an hour, "
                f"{self.untimed_fraction:.0%} of the time outside timed runs"
            ),
        ]


def describe_noise_floor(floor: NoiseFloor | None) -> str:
    """A noise floor in words."""
    if floor is None:
        return "unknown: nothing was measured twice"
    how = (
        f"{floor.pairs} networks measured again"
        if floor.method == "repeats"
        else f"the spread of the visits of {floor.pairs} networks"
    )
    return f"{floor.percent:.2f} % ({floor.rmse_ms:.3f} ms), from {how}"


def summarize(measured: TargetLabels) -> Summary:
    """Summarise what a store holds of a target; raises NotEnoughDataError for nothing."""
    visits, labels = measured.visits, measured.labels
    first = labels[labels["label"] == 0]
    labelled = set(zip(labels["space"], labels["subject"], strict=True))
    asked = set(zip(visits["space"], visits["subject"], strict=True))
    rate, untimed = campaign_cost(visits)
    return Summary(
        target=measured.target,
        reference=measured.reference,
        reference_ms=measured.reference_ms,
        networks=len(first),
        failed=len(asked - labelled),
        mean_ms=float(first["latency_ms"].mean()),
        noise_floor=measured.noise_floor,
        networks_an_hour=rate,
        untimed_fraction=untimed,
    )


def campaign_cost(visits: pd.DataFrame) -> tuple[float, float]:
    """Networks an hour, and the share of time outside timed runs.

    All of a network's visits so far count as its cost; the time that repeats take is in it.
    """
    ordered = visits.sort_values("started_at")
    starts = ordered["started_at"].to_numpy()
    steps = (starts[1:] - starts[:-1]).clip(min=0)
    elapsed_s = float(steps[steps < _PAUSE_S].sum() + ordered["wall_s"].iloc[-1])
    networks = len(visits.loc[visits["label"] == 0, ["kind", "space", "subject"]].drop_duplicates())
    untimed = 1 - float(ordered["timed_s"].sum()) / elapsed_s
    return 3600 * networks / elapsed_s, untimed
