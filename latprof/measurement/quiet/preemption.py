"""How much of a visit others took: its preempted runs, and the share of its time it had a core."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from latprof.measurement.run_usage import is_free

if TYPE_CHECKING:
    from collections.abc import Iterator

    from latprof.measurement.records import PairedSamples
    from latprof.measurement.run_usage import RunUsage


def counted_usage(samples: PairedSamples) -> Iterator[tuple[float, RunUsage]]:
    """Duration in ms and usage of each counted run, of target and reference; where it is known."""
    drop = samples.dropped_runs
    pairs = itertools.chain(
        zip(samples.target, samples.target_usage, strict=False),
        zip(samples.reference, samples.reference_usage, strict=False),
    )
    for burst, usage in pairs:
        yield from zip(burst[drop:], usage[drop:], strict=True)


def preempted_share(samples: PairedSamples) -> float:
    """Share of a visit's counted runs that were preempted, or waited for a core; NaN if unknown."""
    free = [is_free(ms, usage) for ms, usage in counted_usage(samples)]
    return 1 - sum(free) / len(free) if free else math.nan


def waiting_share(samples: PairedSamples) -> float:
    """Share of the time of a visit's counted runs in which they waited for a core; NaN if unknown.

    Of several threads that wait at the same time, each counts.
    """
    waited_us = total_ms = 0.0
    for ms, usage in counted_usage(samples):
        if usage.waited_us is None:
            return math.nan
        waited_us += usage.waited_us
        total_ms += ms
    return waited_us / 1000 / total_ms if total_ms else math.nan
