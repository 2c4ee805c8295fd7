"""Percentiles of raw runs: what a caller on this host waited, without pairing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

#: What is reported: the median, and what 90, 95 and 99 of 100 runs stay below.
PERCENTILES = (50, 90, 95, 99)
#: Of MLPerf's early stopping.
_CONFIDENCE = 0.99
#: From this percentile on, too few runs give no number at all.
_STRICT = 99


@cache
def fewest_runs(percentile: float) -> int:
    """Runs from which an estimate of a percentile is safe, by MLPerf's early-stopping rule.

    So many that at most one of them lies above the percentile with a probability of at most 1 %:
    the largest run but none is then an upper bound of it at 99 % confidence (64 runs for the 90th,
    662 for the 99th; MLPerf Inference Rules, appendix "Early Stopping Criterion", and
    ``loadgen/early_stopping.cc`` of mlcommons/inference with its tolerance of 0).
    """
    above = 1 - percentile / 100
    runs = 2
    # P(at most one of n runs lies above) = q^n + n p q^(n - 1), with p above and q below.
    while (1 - above) ** (runs - 1) * (1 - above + runs * above) > 1 - _CONFIDENCE:
        runs += 1
    return runs


@dataclass(frozen=True)
class RawPercentiles:
    """Percentiles of the raw runs of one network, as they were felt on this host.

    Parameters
    ----------
    runs : int
        Counted runs of all visits. Runs of one load are no independent draws: a load stays faster
        or slower than others.
    values_ms : tuple of float or None
        Of each of :data:`PERCENTILES`; None where there are too few runs to say anything.
    """

    runs: int
    values_ms: tuple[float | None, ...]

    @classmethod
    def of(cls, runs_ms: Sequence[float]) -> RawPercentiles:
        """From the durations of runs, in milliseconds."""
        known = np.asarray(runs_ms, dtype=np.float64)
        return cls(
            len(known),
            tuple(
                float(np.percentile(known, each)) if len(known) >= _least(each) else None
                for each in PERCENTILES
            ),
        )

    def describe(self) -> str:
        """One line for people; ``~`` marks an estimate from too few runs."""
        if not self.runs:
            return "not known, only averages"
        words = []
        for each, value in zip(PERCENTILES, self.values_ms, strict=True):
            if value is None:
                needed = _least(each)
                words.append(f"p{each} n too small ({self.runs} of {needed} runs)")
            else:
                rough = "~" if self.runs < fewest_runs(each) else ""
                digits = f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"
                words.append(f"p{each} {rough}{digits}")
        return ", ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Return the percentiles as plain JSON values; null where there are too few runs."""
        return {
            "raw_runs": self.runs,
            "raw_percentiles_ms": {
                f"p{each}": value for each, value in zip(PERCENTILES, self.values_ms, strict=True)
            },
            "raw_percentiles_sure": {
                f"p{each}": self.runs >= fewest_runs(each) for each in PERCENTILES
            },
        }


def _least(percentile: float) -> int:
    """Runs below which a percentile has no number: one run above it must be expected."""
    if percentile >= _STRICT:
        return fewest_runs(percentile)
    return math.ceil(round(1 / (1 - percentile / 100), 6))
