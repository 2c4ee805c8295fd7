"""What a store holds of one target, in a few figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.measurement.process_effects import FEWEST_VISITS

if TYPE_CHECKING:
    import pandas as pd

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.quiet.target_constant import Constant
    from latprof.measurement.records import Target
    from latprof.measurement.statistics import NoiseFloor

Floats: TypeAlias = NDArray[np.float64]

#: A longer pause between two visits is an interruption of the collection, in seconds.
_PAUSE_S = 60.0
#: Two readings of a clock by one writer differ by less, in seconds.
_OVERLAP_S = 0.05


@dataclass(frozen=True, repr=False)
class Summary(ShortRepr):
    """A target's measurements in figures.

    ``networks_an_hour`` and ``untimed_fraction`` count all time from a visit's start to the next
    one's (pauses left out): building, loading, warm-up, starting processes and writing.
    ``specimens`` are the factors of :attr:`TargetLabels.specimens`.
    """

    target: Target
    reference: str
    constant: Constant
    networks: int
    failed: int
    mean_ms: float
    noise_floor: NoiseFloor | None
    networks_an_hour: float
    untimed_fraction: float
    specimens: Mapping[str, float] = field(default_factory=dict)

    @property
    def reference_ms(self) -> float:
        """The reference's latency on the quiet host, in ms."""
        return self.constant.reference_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        floor = self.noise_floor
        return {
            "target": self.target.to_dict(),
            "reference": self.reference,
            "reference_ms": self.reference_ms,
            "constant": self.constant.to_dict(),
            "networks": self.networks,
            "failed": self.failed,
            "mean_ms": self.mean_ms,
            "noise_floor_percent": None if floor is None else floor.percent,
            "noise_floor_ms": None if floor is None else floor.rmse_ms,
            "noise_floor_pairs": None if floor is None else floor.pairs,
            "noise_floor_method": None if floor is None else floor.method,
            "networks_an_hour": self.networks_an_hour,
            "untimed_fraction": self.untimed_fraction,
            "specimens": dict(self.specimens),
        }

    def lines(self, batch: str = "") -> list[str]:
        """The figures for people, one a line; ``batch`` in place of the target's own."""
        failed = f", {self.failed} failed" if self.failed else ""
        constant = self.constant.describe()
        return [
            f"target          {self.target.describe(batch)}",
            f"reference       {self.reference}, {self.reference_ms:.3f} ms, {constant}",
            f"networks        {self.networks} measured{failed}, mean {self.mean_ms:.3f} ms",
            f"noise floor     {describe_noise_floor(self.noise_floor)}",
            (
                f"cost            {self.networks_an_hour:.0f} networks an hour, "
                f"{self.untimed_fraction:.0%} of the time outside timed runs"
            ),
            *self._specimen_lines(),
        ]

    def _specimen_lines(self) -> list[str]:
        if not self.specimens:
            return []
        known = {name: factor for name, factor in self.specimens.items() if factor != 1.0}
        parts = []
        if known:
            spread = max(known.values()) / min(known.values()) - 1
            each = ", ".join(f"{name} {factor - 1:+.2%}" for name, factor in known.items())
            parts.append(f"{spread:.2%} between {len(known)}: {each}")
        if unknown := ", ".join(name for name in self.specimens if name not in known):
            parts.append(
                f"unknown for {unknown}: fewer than {FEWEST_VISITS} undisturbed visits to networks "
                "that others visited"
            )
        return [f"specimens       {'; '.join(parts)}"]


def describe_noise_floor(floor: NoiseFloor | None) -> str:
    """A noise floor in words."""
    if floor is None:
        return "unknown: nothing was measured twice"
    networks = f"{floor.pairs} network{'s' * (floor.pairs != 1)}"
    repeated = floor.method == "repeats"
    how = f"{networks} measured again" if repeated else f"the spread of the visits of {networks}"
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
        constant=measured.constant,
        networks=len(first),
        failed=len(asked - labelled),
        mean_ms=float(first["latency_ms"].mean()),
        noise_floor=measured.noise_floor,
        networks_an_hour=rate,
        untimed_fraction=untimed,
        specimens=measured.specimens,
    )


def campaign_cost(visits: pd.DataFrame) -> tuple[float, float]:
    """Networks an hour, and the share of time outside timed runs.

    All of a network's visits so far count as its cost; the time that repeats take is in it. Where
    several hosts or commands write at once, the hour is one of the clock, and the share one of
    their times together: visits that overlap are of different writers.
    """
    ordered = visits.sort_values("started_at", kind="stable")
    starts, walls = (ordered[name].to_numpy(float) for name in ("started_at", "wall_s"))
    took = _times_to_next(starts, walls)
    ends = np.maximum.accumulate(starts + took)
    covered = starts + took - np.maximum(starts, np.concatenate([starts[:1], ends[:-1]]))
    networks = len(visits.loc[visits["label"] == 0, ["kind", "space", "subject"]].drop_duplicates())
    untimed = 1 - float(ordered["timed_s"].sum()) / float(took.sum())
    return 3600 * networks / float(covered.clip(min=0).sum()), untimed


def _times_to_next(starts: Floats, walls: Floats) -> Floats:
    """Each visit's time until its writer's next one; its own time before a pause and at the end.

    ``starts`` are in order. A visit is by the writer that was free last when it started.
    """
    took = walls.copy()
    ends: list[tuple[float, int]] = []  # of each writer's last visit, and which it is
    for number, start in enumerate(starts.tolist()):
        free = [known for known in ends if known[0] <= start + _OVERLAP_S]
        if free:
            before = max(free)
            ends.remove(before)
            if start - before[0] < _PAUSE_S:
                took[before[1]] = max(start - starts[before[1]], walls[before[1]])
        ends.append((start + walls[number], number))
    return took
