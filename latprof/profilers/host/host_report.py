"""Whether the host is quiet enough to measure now, and what the visits saw of it.

What measures looks before its first visit (:func:`look`, under 0.3 s), may wait for quiet
(:func:`await_quiet`), and says beside its number what was wrong (:class:`HostReport`).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from latprof.common.short_reprs import ShortRepr
from latprof.errors import HostBusyError
from latprof.measurement.quiet.busy import BUSY_SHARE, HOG_GB_S, others_doubt
from latprof.measurement.quiet.conditions import other_load, withheld_fraction
from latprof.measurement.quiet.preemption import preempted_share, waiting_share
from latprof.profilers.host.checks import Check, run_checks
from latprof.profilers.host.facts import Host
from latprof.profilers.host.memory_probe import HOG_FACTOR

if TYPE_CHECKING:
    from latprof.measurement.visits import Visit, VisitCounts

#: Over which counters are compared before a measurement, in seconds.
WINDOW_S = 0.2
#: Between two looks while quiet is waited for, in seconds.
_LOOK_EVERY_S = 2.0
#: Quiet looks in a row after which the host counts as quiet.
_QUIET_LOOKS = 2
#: The host counts as busy during visits where others took a larger share of the spare cores.
_MOST_LOAD = 0.1
#: And where more of the runs were preempted: a core's own work interrupts one now and then.
_MOST_PREEMPTED = 0.05
#: And where the hypervisor or a quota took more of the time that was wanted.
_MOST_WITHHELD = 0.02
#: And where more of the tries were disturbed.
_MOST_DISTURBED = 0.25


class WaitingClock(Protocol):
    """What the module :mod:`time` has, and a clock of tests."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


@dataclass(frozen=True)
class Quiet:
    """What is asked of the host before a measurement.

    Parameters
    ----------
    wait_s : float, optional
        Wait so long for a quiet moment, at most.
    required : bool
        Refuse to measure on a busy host.
    """

    wait_s: float | None = None
    required: bool = False


def look(host: Host | None = None) -> tuple[Check, ...]:
    """Judge what happens on the host now, in under 0.3 s: doctor's checks of the moment."""
    return tuple(run_checks(host or Host(window_s=WINDOW_S), momentary=True))


def reasons(checks: Iterable[Check]) -> list[str]:
    """Why a host is not quiet: no core to spare, time taken away, memory moving; empty if it is.

    What is only a setting (a quota that was not reached, swap that lies still) is no reason.
    """
    return [
        f"{check.name}: {check.finding}"
        for check in checks
        if check.status == "FAIL" or (check.status == "WARN" and check.name == "load now")
    ]


def await_quiet(
    asked: Quiet,
    on_note: Callable[[str], None] = lambda _text: None,
    *,
    look_now: Callable[[], tuple[Check, ...]] = look,
    clock: WaitingClock = time,
) -> tuple[Check, ...]:
    """Look at the host, wait for quiet where that is asked, and return the last look.

    Raises HostBusyError where quiet is required and there is none.
    """
    checks = look_now()
    if asked.wait_s is not None and reasons(checks):
        checks = _waited(asked.wait_s, checks, on_note, look_now, clock)
    busy = reasons(checks)
    if busy and asked.required:
        raise HostBusyError(
            f"the host is busy: {'; '.join(busy)}",
            expected="a quiet host",
            hint="stop other work, wait with `wait_quiet`, or measure without `require_quiet`",
        )
    return checks


def _waited(
    wait_s: float,
    checks: tuple[Check, ...],
    on_note: Callable[[str], None],
    look_now: Callable[[], tuple[Check, ...]],
    clock: WaitingClock,
) -> tuple[Check, ...]:
    start = clock.monotonic()
    on_note(f"waiting up to {wait_s:g} s for a quiet host: {'; '.join(reasons(checks))}")
    quiet = 0
    while quiet < _QUIET_LOOKS:
        left_s = start + wait_s - clock.monotonic()
        if left_s <= 0:
            on_note(f"the host did not become quiet in {wait_s:g} s")
            break
        clock.sleep(min(_LOOK_EVERY_S, left_s))
        checks = look_now()
        quiet = 0 if reasons(checks) else quiet + 1
    else:
        on_note(f"the host is quiet after {clock.monotonic() - start:.0f} s")
    return checks


class VisitSeen(NamedTuple):
    """How busy a visit saw the memory, and what others took of its time; NaN for unknown."""

    quotient: float
    others_gb_s: float
    preempted: float
    waited: float
    other_load: float
    withheld: float

    @classmethod
    def of(cls, visit: Visit) -> VisitSeen:
        """What a visit's record says."""
        before, after = visit.conditions.get("before", {}), visit.conditions.get("after", {})
        return cls(
            _number(after.get("memory_quotient")),
            _number(after.get("others_memory_gb_s")),
            math.nan if visit.samples is None else preempted_share(visit.samples),
            math.nan if visit.samples is None else waiting_share(visit.samples),
            other_load(before, after),
            withheld_fraction(before, after),
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nobody was seen to take time from the visit."""
        return (
            self.other_load <= _MOST_LOAD
            and not self.preempted > _MOST_PREEMPTED
            and not self.withheld > _MOST_WITHHELD
        )


@dataclass(frozen=True, repr=False)
class HostReport(ShortRepr):
    """What the host did before and during a measurement.

    Parameters
    ----------
    checks : tuple of Check
        Doctor's checks of the moment before it; empty for a device that is not this host.
    preempted : float
        Share of the counted runs that were preempted or waited for a core; NaN where the kernel
        does not say.
    waited : float
        Share of these runs' time in which they waited for a core: short runs are seldom preempted,
        and wait long then. NaN as above.
    other_load : float
        Median over the visits: the share of the spare cores that other processes took. NaN where it
        is not visible.
    withheld : float
        Median over the visits: the share of the wanted time that the hypervisor or a quota took.
    disturbed : int
        Tries of visits during which conditions changed too much.
    tries : int
        All tries.
    memory : float
        Median over the visits of what copying in memory takes beside copying in the cache
        (:mod:`latprof.profilers.host.memory_probe`). NaN where nobody looked.
    quiet_memory : float
        The same on this host when it is quiet; NaN where that is not known.
    others_gb_s : float
        Median over the visits of how much memory the busiest other program went through a second.
        NaN where nobody looked.
    """

    checks: tuple[Check, ...] = ()
    preempted: float = math.nan
    waited: float = math.nan
    other_load: float = math.nan
    withheld: float = math.nan
    disturbed: int = 0
    tries: int = 0
    memory: float = math.nan
    quiet_memory: float = math.nan
    others_gb_s: float = math.nan

    @classmethod
    def of(
        cls,
        checks: tuple[Check, ...],
        visits: Iterable[Visit],
        counts: VisitCounts,
        quiet_memory: float = math.nan,
    ) -> HostReport:
        """From the look before, and the conditions around each visit that counts."""
        seen = [VisitSeen.of(visit) for visit in visits]
        return cls.of_seen(checks, seen, counts.disturbed_tries, counts.tries, quiet_memory)

    @classmethod
    def of_seen(
        cls,
        checks: tuple[Check, ...],
        seen: Sequence[VisitSeen],
        disturbed: int,
        tries: int,
        quiet_memory: float = math.nan,
    ) -> HostReport:
        """From the look before, and what each visit saw."""
        return cls(
            checks,
            _mean(each.preempted for each in seen),
            _mean(each.waited for each in seen),
            _middle(each.other_load for each in seen),
            _middle(each.withheld for each in seen),
            disturbed,
            tries,
            _middle(each.quotient for each in seen),
            quiet_memory,
            _middle(each.others_gb_s for each in seen),
        )

    @property
    def memory_slowdown(self) -> float:
        """How many times as long copying in memory took as on the quiet host; NaN if unknown."""
        return self.memory / self.quiet_memory

    @property
    def has_memory_hog(self) -> bool:
        """Whether another program uses the memory's bandwidth.

        By what was seen of the others where that is known, else by what copying took.
        """
        if math.isnan(self.others_gb_s):
            return self.memory_slowdown > HOG_FACTOR
        return self.others_gb_s > HOG_GB_S

    @property
    def memory_doubt(self) -> float:
        """By how much a hog puts a ratio in doubt, on logarithms; 0 where there is none."""
        return others_doubt(0.0, has_hog=self.has_memory_hog)

    def widened(self, half_width: float) -> float:
        """A half-width on logarithms with what preemptions and a memory hog put in doubt."""
        taken = max(_known((self.preempted, self.waited)), default=math.nan)
        return math.hypot(half_width, others_doubt(taken, has_hog=self.has_memory_hog))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the numbers doubtful, one phrase each; empty on a quiet host."""
        found = [f"{text} (just before)" for text in reasons(self.checks)]
        if self.preempted > _MOST_PREEMPTED:
            found.append(f"{self.preempted:.0%} of runs preempted")
        if self.waited > BUSY_SHARE:
            found.append(f"runs waited for a core for {self.waited:.0%} of their time")
        if self.other_load > _MOST_LOAD:
            found.append(f"other processes took {self.other_load:.0%} of the spare cores")
        if self.withheld > _MOST_WITHHELD:
            found.append(f"{self.withheld:.0%} of the time was withheld (steal, quota)")
        if self.has_memory_hog:
            how = f"copying in memory took {self.memory_slowdown:.2f} times as long as without it"
            if not math.isnan(self.others_gb_s):
                how = f"it goes through {self.others_gb_s:.0f} GB/s"
            found.append(f"memory bandwidth: another program uses it ({how})")
        if self.tries and self.disturbed / self.tries > _MOST_DISTURBED:
            found.append(f"{self.disturbed} of {self.tries} tries of visits were disturbed")
        return tuple(found)

    @property
    def quiet(self) -> bool:
        """Whether nothing spoke against the numbers."""
        return not self.warnings

    def describe(self) -> str:
        """One line for people."""
        if self.quiet:
            return "quiet" if self.checks else "quiet, as far as it shows"
        return f"BUSY: {'; '.join(self.warnings)}"

    def check(self, asked: Quiet) -> None:
        """Raise HostBusyError where quiet is required and the visits were not quiet."""
        if asked.required and not self.quiet:
            raise HostBusyError(
                f"the host was busy during the visits: {'; '.join(self.warnings)}",
                expected="a quiet host",
                hint="measure again later, or without --require-quiet",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values, None for what is not known."""
        numbers = {
            "preempted_runs": self.preempted,
            "waited": self.waited,
            "other_load": self.other_load,
            "withheld": self.withheld,
            "memory_slowdown": self.memory_slowdown,
            "others_memory_gb_s": self.others_gb_s,
        }
        return {
            "quiet": self.quiet,
            "warnings": list(self.warnings),
            "checks": [dataclasses.asdict(check) for check in self.checks],
            "tries": self.tries,
            "tries_disturbed": self.disturbed,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        }


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) else math.nan


def _middle(values: Iterable[float]) -> float:
    known = _known(values)
    return median(known) if known else math.nan


def _mean(values: Iterable[float]) -> float:
    known = _known(values)
    return sum(known) / len(known) if known else math.nan


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]
