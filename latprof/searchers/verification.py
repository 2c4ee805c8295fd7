"""A search's winner as it was measured, beside the prediction and the limit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latprof.measurement.records import Target
    from latprof.measurement.visits import VisitCounts
    from latprof.profilers.host.host_report import HostReport


@dataclass(frozen=True)
class Verification:
    """A network's measured latency beside what was predicted; milliseconds are the pack's.

    Parameters
    ----------
    architecture : str
        Its spelling.
    measured_ms, low_ms, high_ms : float
        With its 90 % interval, from the spread between processes; wider on a busy host.
    predicted_ms, bound_ms : float
        The prediction, and what the share ``upper`` of measurements stays below (the prediction
        where the pack has no such bound).
    limit_ms : float
        Infinity where none was given.
    target, measured_on : Target
        The pack's, and this host's.
    visits : VisitCounts, optional
        What became of the visits that were planned.
    host : HostReport, optional
        What spoke against the number.
    upper : float, optional
        The share of ``bound_ms``; None where that is the prediction.
    """

    architecture: str
    measured_ms: float
    low_ms: float
    high_ms: float
    predicted_ms: float
    bound_ms: float
    limit_ms: float
    target: Target
    measured_on: Target
    visits: VisitCounts | None = None
    host: HostReport | None = None
    upper: float | None = None

    @property
    def gap(self) -> float:
        """Measured over predicted, minus 1."""
        return self.measured_ms / self.predicted_ms - 1

    @property
    def same_target(self) -> bool:
        """Whether the two numbers are of one target; otherwise they cannot be held together."""
        return self.target == self.measured_on

    @property
    def keeps_limit(self) -> bool:
        """Whether the measured latency is at or below the limit."""
        return self.measured_ms <= self.limit_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as plain JSON values; no limit is None."""
        values = asdict(self) | {
            "target": self.target.to_dict(),
            "measured_on": self.measured_on.to_dict(),
            "gap": self.gap,
            "same_target": self.same_target,
            "keeps_limit": self.keeps_limit,
        }
        values["limit_ms"] = None if math.isinf(self.limit_ms) else self.limit_ms
        values["host"] = None if self.host is None else self.host.to_dict()
        del values["visits"]
        return values | ({} if self.visits is None else self.visits.to_dict())
