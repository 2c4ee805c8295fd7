"""Find a target's constant in the reference's bursts of many visits, and say how far to trust it.

Quiet is what was seen to be quiet: no run of the visit preempted, nobody else busy, nothing stolen.
Where there were such visits only they count; where there were none, the reference's own times under
load stand in (:mod:`latprof.measurement.quiet.preemption`), which are longer by what cold caches
and busy neighbours cost, and the doubt says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.measurement.quiet.conditions import other_load, withheld_fraction
from latprof.measurement.quiet.preemption import of_one_kind, preempted_share, times_of
from latprof.measurement.quiet.target_constant import Constant

if TYPE_CHECKING:
    from latprof.measurement.records import Burst, PairedSamples
    from latprof.measurement.run_usage import BurstUsage

#: Of the reference's burst medians: what it takes when the host is quiet.
QUIET_QUANTILE = 0.1
#: A visit is quiet with at most these shares of its runs preempted, of the spare cores used by
#: others, and of the time withheld; what is not known counts as none.
QUIET_LIMITS = {"preempted": 0.05, "other_load": 0.1, "withheld": 0.02}
#: So many bursts of quiet visits are enough to leave the others aside.
FEWEST_BURSTS = 12
#: A constant is known no better than this.
LEAST_DOUBT = 0.005
#: In doubt where the host was not quiet: always, and times the share of preempted runs. Trials with
#: up to four busy loops on two cores found processor times of 8 % less to 16 % more.
BUSY_DOUBT, PREEMPTED_DOUBT = 0.03, 0.07


@dataclass(frozen=True)
class Moment:
    """A visit's bursts of a reference, and how busy the host was; NaN for what is not known."""

    name: str
    bursts: tuple[Burst, ...]
    usage: tuple[BurstUsage, ...]
    dropped_runs: int
    preempted: float
    other_load: float
    withheld: float
    specimen: str = ""

    @classmethod
    def of(cls, samples: PairedSamples, conditions: Mapping[str, Any]) -> Moment:
        """The moment of a visit."""
        before, after = conditions.get("before", {}), conditions.get("after", {})
        return cls(
            samples.reference_name,
            samples.reference,
            samples.reference_usage,
            samples.dropped_runs,
            preempted_share(samples),
            other_load(before, after),
            withheld_fraction(before, after),
            str(conditions.get("specimen", "")),
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was seen that took time."""
        return not any(getattr(self, name) > most for name, most in QUIET_LIMITS.items())


def find_constant(moments: Sequence[Moment]) -> Constant:
    """The constant of the reference whose bursts these are, at least one.

    The 10th percentile of the bursts' own times over the runs that all of them have, as the ratios
    are: later runs of a burst are faster.
    """
    runs = min(len(burst) for moment in moments for burst in moment.bursts)
    quiet = [moment for moment in moments if moment.is_quiet]
    bursts = sum(len(moment.bursts) for moment in moments)
    quiet_bursts = sum(len(moment.bursts) for moment in quiet)
    is_quiet = quiet_bursts >= FEWEST_BURSTS or len(quiet) == len(moments)
    own_ms = np.concatenate([_own_ms(moment, runs) for moment in (quiet if is_quiet else moments)])
    reference_ms = float(np.quantile(own_ms, QUIET_QUANTILE))
    spread = float(np.median(own_ms)) / reference_ms - 1
    means = {name: _mean([getattr(moment, name) for moment in moments]) for name in QUIET_LIMITS}
    doubt = spread / 2 + LEAST_DOUBT * math.sqrt(1 + FEWEST_BURSTS / len(own_ms))
    if not is_quiet:
        doubt += BUSY_DOUBT + PREEMPTED_DOUBT * (means["preempted"] or 0.0)
    found = {"bursts": bursts, "quiet_bursts": quiet_bursts, "spread": spread, **means}
    return Constant(reference_ms, doubt=doubt, found=found)


def find_pooled_constant(moments: Sequence[Moment]) -> Constant:
    """As :func:`find_constant`; of several specimens the geometric mean of theirs."""
    specimens = {moment.specimen for moment in moments}
    if len(specimens) == 1:
        return find_constant(moments)
    every = [find_constant([m for m in moments if m.specimen == name]) for name in specimens]
    reference_ms = math.exp(sum(math.log(each.reference_ms) for each in every) / len(every))
    return replace(max(every, key=lambda each: each.doubt), reference_ms=reference_ms)


def _own_ms(moment: Moment, runs: int) -> list[float]:
    cut = [burst[:runs] for burst in moment.bursts]
    usage = [burst[:runs] for burst in moment.usage]
    (bursts,) = times_of([(cut, usage)], moment.dropped_runs)
    return of_one_kind(bursts)


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None
