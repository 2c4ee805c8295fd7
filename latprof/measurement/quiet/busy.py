"""When a network needs more visits, as on a busy host, and when there is no number at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latprof.errors import HostBusyError
from latprof.measurement.quiet.preemption import preempted_share, waiting_share

if TYPE_CHECKING:
    from latprof.measurement.records import PairedSamples

#: A host is busy where others take more than this share of the runs, or of their time.
BUSY_SHARE = 0.1
#: Visits are added until the interval reaches so far to either side, on logarithms, on a busy host
#: and on any other, or there are so many times the usual visits.
BUSY_HALF_WIDTH, WIDE_HALF_WIDTH, MOST_TIMES = 0.015, 0.03, 3
#: By which a ratio is in doubt on a busy host, on logarithms, beyond what its visits show: networks
#: lose more or less by cold caches than their reference does.
PREEMPTED_DOUBT = 0.02
#: A program that goes through so many gigabytes a second (more than caches hold in the 10 ms that
#: are looked at) uses the memory's bandwidth, and puts a ratio so far in doubt: networks use memory
#: more or less than their reference. Streams through memory were seen with 8.7 to 10.5, busy loops
#: with none.
HOG_GB_S, HOG_DOUBT = 5.0, 0.05
#: Of fewer visits that were asked for, the interval says so little that a campaign neither adds
#: visits to them nor gives no number.
FEWEST_JUDGED = 4
#: No number is given where the interval still reaches farther than this.
TOO_WIDE = 0.05


def busy_share(visits: Sequence[PairedSamples]) -> float:
    """How much others took of visits, as a share; NaN where it is not known of any.

    Of each the larger of the share of its runs that were preempted and the share of their time that
    they waited: short runs are seldom preempted, and wait long then.
    """
    shares = [share for share in map(taken_share, visits) if not math.isnan(share)]
    return sum(shares) / len(shares) if shares else math.nan


def taken_share(visit: PairedSamples) -> float:
    """The same of one visit; threads that wait at the same time take all of it at most."""
    waited = waiting_share(visit)
    preempted = preempted_share(visit)
    return preempted if math.isnan(waited) else min(max(preempted, waited), 1.0)


def others_doubt(taken: float, *, has_hog: bool) -> float:
    """By how much others put a ratio in doubt beyond what its visits show, on logarithms.

    ``taken`` is the share of the runs, or of their time, that they took; NaN where unknown.
    """
    preempted = PREEMPTED_DOUBT if taken > BUSY_SHARE else 0.0
    return math.hypot(preempted, HOG_DOUBT if has_hog else 0.0)


def needs_more(planned: int, usual: int, half_width: float, share: float) -> bool:
    """Whether the interval is too wide after so many visits.

    On a quiet host, too, processes may disagree: memory lies otherwise in each. ``usual`` is the
    number of visits that a network has anyway, ``share`` that of the preempted runs.
    """
    wanted = BUSY_HALF_WIDTH if share > BUSY_SHARE else WIDE_HALF_WIDTH
    return half_width > wanted and planned < MOST_TIMES * usual


def is_too_busy(half_width: float, share: float) -> bool:
    """Whether a busy host allows no number: others take the cores, and the visits disagree."""
    return share > BUSY_SHARE and half_width > TOO_WIDE


def refuse_too_busy(half_width: float, share: float) -> None:
    """Raise HostBusyError where a busy host allows no number."""
    if is_too_busy(half_width, share):
        raise HostBusyError(
            f"host too busy: {share:.0%} of the runs or their time taken, and visits disagree",
            expected=f"an interval within {TOO_WIDE:.0%}",
            got=f"{half_width:.1%}",
            hint="stop other work or wait until it ends; latprof doctor says what runs",
        )
