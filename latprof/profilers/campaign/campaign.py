"""A campaign: many networks, each visited several times, spread over time and processes.

Every pass visits every network once, in another order and in fresh measuring processes, so that
drift and the bias of a process average out over networks. Where a confidence half-width is asked
for, further passes visit those networks whose interval is still too wide. What is in the store is
not done again: the same call resumes where it was interrupted, however hard. Processes that make
the same call at the same time share the visits (:mod:`latprof.measurement.store.claims`).
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.short_reprs import ShortRepr
from latprof.errors import DeviceError
from latprof.measurement.quiet.busy import FEWEST_JUDGED, needs_more, taken_share
from latprof.measurement.statistics import burst_medians
from latprof.measurement.visits import Failure
from latprof.profilers.base import NETWORKS_PER_PROCESS
from latprof.profilers.campaign.intervals import Intervals
from latprof.profilers.campaign.sharing import SharedWork
from latprof.profilers.campaign.stored_campaign import StoredCampaign
from latprof.profilers.visits.references import chain, tie_source
from latprof.profilers.visits.schedule import LOOKAHEAD, PlannedVisit, Schedule, equal_shares

if TYPE_CHECKING:
    from latprof.measurement.records import Subject, Target
    from latprof.measurement.store.claims import Claims
    from latprof.measurement.store.store import Store
    from latprof.measurement.visits import Measurement, Visit
    from latprof.profilers.campaign.plan import Plan
    from latprof.profilers.visits.measurer import Measurer
    from latprof.profilers.visits.network_source import NetworkSource
    from latprof.profilers.visits.schedule import Clock, MakeMeasurer


#: Visits that tie a sibling of the reference to its neighbour, as a multiple of those to a network,
#: and how many one process makes: a tie's error is in the labels of all networks that were measured
#: against it.
TIE_VISITS, TIE_VISITS_A_PROCESS = 1.5, 4


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands; visits are counted, and after them networks without kernels.

    ``drift`` is how far the reference's latency is now from its least in this run, as a fraction;
    ``left_s`` the time the rest will take, NaN until there is an estimate. ``waiting`` says what
    the device is waited for; empty after a visit.
    """

    total: int
    done: int
    failed: int
    left: int
    left_s: float
    drift: float
    elapsed_s: float
    kernels_left: int = 0
    waiting: str = ""


@dataclass(frozen=True, repr=False)
class CampaignResult(ShortRepr):
    """What one run of a campaign did: visits to networks made, already complete, failed.

    ``disturbed`` of those that were made were so in their last try, too; ``repeated`` counts tries
    that failed or were disturbed and were made again. ``left`` and ``kernels_left`` count the
    visits, and the networks whose kernels, the time limit cut off; ``busy`` says that the host
    disturbed so many visits that they were not made again. ``elsewhere`` counts the visits that
    other processes made, or gave up, meanwhile.
    """

    made: int
    resumed: int
    failed: int
    disturbed: int
    repeated: int
    elapsed_s: float
    failures: tuple[tuple[str, Failure], ...] = ()
    left: int = 0
    kernels_left: int = 0
    busy: bool = False
    elsewhere: int = 0


def collect(  # noqa: PLR0913 - what a campaign needs is named here
    plan: Plan,
    store: Store,
    target: Target,
    reference: str,
    make_measurer: MakeMeasurer,
    *,
    host: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    networks_per_process: int = NETWORKS_PER_PROCESS,
    lookahead: int = LOOKAHEAD,
    clock: Clock = time,
) -> CampaignResult:
    """Make all the plan's visits that the store does not hold yet, and that nobody else makes.

    Visits that other processes have begun are waited for, and made here where these die.

    Parameters
    ----------
    plan : Plan
    store : Store
        Open for writing; every visit is in it as soon as it is made, failures too.
    target : Target
        The identity under which the measurements are stored.
    reference : str
        The reference network's name.
    make_measurer : callable
        Makes what visits the networks, given how often each reference runs in a burst; called
        afresh every ``networks_per_process`` visits.
    host : mapping, optional
        Facts about the host, stored with the campaign.
    on_progress : callable, optional
        Called after every visit.
    networks_per_process : int
        See :attr:`latprof.profilers.base.Profiler.networks_per_process`.
    lookahead : int
        Networks that the measurer is told of ahead.
    clock : Clock
        For the time limit, the progress, and the start and end in the store.

    Returns
    -------
    CampaignResult
        Failed visits are counted and stored; they raise nothing.
    """
    stored = StoredCampaign(store, target, reference, plan, host or {}, clock)
    schedule = Schedule(
        make_measurer,
        plan.protocol,
        time_limit_s=plan.time_limit_s,
        references=stored.references,
        clock=clock,
        lookahead=lookahead,
    )
    with stored.claims() as claims:
        run = _Run(plan, stored, schedule, claims, on_progress or (lambda _progress: None))
        run.make_visits(equal_shares(networks_per_process))
    result = run.result()
    stored.end(complete=not result.left)
    return result


class _Run:
    """The state of one run of a campaign."""

    def __init__(
        self,
        plan: Plan,
        stored: StoredCampaign,
        schedule: Schedule,
        claims: Claims,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._plan, self._stored, self._schedule = plan, stored, schedule
        self._on_progress = on_progress
        self._shared = SharedWork(
            claims, stored, self._count, self._wait, schedule.lookahead, self._left_to_all
        )
        wanted = {visit.key for planned in plan.passes() for visit in planned}
        self._total = len(wanted)
        self._complete = wanted & stored.finished
        self._resumed = len(self._complete)
        self._has_kernels = plan.ops
        self._kernels_left = 0
        self._to_networks = schedule.counts()
        self._intervals = Intervals()
        self._taken: dict[tuple[Subject, int], list[float]] = defaultdict(list)
        if plan.protocol.half_width or not wanted <= stored.finished:
            for made in stored.undisturbed():
                self._count(made)
        self._recent: deque[tuple[float, int]] = deque(maxlen=200)
        self._least_reference_ms: dict[str, float] = {}
        self._drift = 0.0

    def make_visits(self, share: Callable[[int], int]) -> None:
        """Make them all: to networks, to siblings of the reference, and the kernels left."""
        is_up = self._schedule.time_is_up
        self._shared.await_references(is_up)
        for planned in self._plan.passes(self._wants_more):
            if is_up():
                break
            self._work_off(self._unfinished(planned), share)
            if self._plan.protocol.half_width:  # which are visited again follows from all visits
                self._make_others(share)
        self._make_others(share)
        self._work_off(self._ties(), lambda _left: TIE_VISITS_A_PROCESS)
        self._make_others(lambda _left: TIE_VISITS_A_PROCESS)
        self._schedule.work_off(self._without_kernels(), self._time_late_kernels, share)

    def _work_off(self, visits: Sequence[PlannedVisit], share: Callable[[int], int]) -> None:
        self._schedule.work_off(visits, self._visit, share, claim=self._shared.claim)

    def _make_others(self, share: Callable[[int], int]) -> None:
        """Wait for the visits of others; make those of processes that died."""
        while visits := self._shared.others_visits(self._schedule.time_is_up):
            self._work_off(visits, share)

    def _count(self, made: Measurement) -> None:
        """Add a visit that was not made here to the intervals."""
        if made.samples is not None and not made.disturbed:
            self._note(made, made.subject, made.label)

    def _wait(self, text: str) -> None:
        self._on_progress(replace(self._progress(), waiting=text))

    def _wants_more(self, network: NetworkSource, label: int) -> bool:
        """Whether the interval around a network's latency is still too wide.

        For the half-width that is asked for, or where none is for a host like this.
        """
        subject, protocol = network.subject, self._plan.protocol
        shares = [share for share in self._taken[subject, label] if not math.isnan(share)]
        share = sum(shares) / len(shares) if shares else 0.0
        is_judged = protocol.half_width or protocol.visits >= FEWEST_JUDGED
        if subject in self._schedule.given_up or not is_judged:
            return False
        counted = self._intervals.ratios(subject, label)
        made = len(counted) + self._schedule.kept_disturbed[subject, label]
        half_width = self._intervals.relative_half_width(subject, label)
        if protocol.half_width:
            return not protocol.enough(made, half_width)
        return needs_more(made, protocol.visits, half_width, share)

    def _note(self, visit: Visit, network: Subject, label: int) -> None:
        """Take an undisturbed visit into account."""
        assert visit.samples is not None
        self._intervals.add(network, label, visit)
        self._taken[network, label].append(taken_share(visit.samples))

    def _unfinished(self, planned: Sequence[PlannedVisit]) -> list[PlannedVisit]:
        """The visits of a pass that the store does not hold; those beyond the plan are counted."""
        added = {visit.key for visit in planned if visit.number >= self._plan.protocol.visits}
        finished = {visit.key for visit in planned} & self._stored.finished
        self._total += len(added)
        self._resumed += len(added & finished)
        self._shared.elsewhere += len(finished - self._complete - added)
        return [visit for visit in planned if visit.key not in finished]

    def _ties(self) -> list[PlannedVisit]:
        """The visits that tie the siblings of the reference which networks were measured against.

        Siblings that are tied already have no more.
        """
        used = set(self._schedule.references.of_network.values()) - {""}
        pairs = dict.fromkeys(pair for name in sorted(used) for pair in chain(name))
        planned = [
            PlannedVisit(tie_source(*pair), 0, number)
            for number in range(math.ceil(TIE_VISITS * self._plan.protocol.visits))
            for pair in pairs
        ]
        left = [visit for visit in planned if visit.key not in self._stored.finished]
        self._total += len(left)
        self._to_networks = self._schedule.counts()
        return left

    def _without_kernels(self) -> list[NetworkSource]:
        """Networks whose kernels are asked for and not timed yet, though they could be measured."""
        found = []
        if self._plan.ops:
            wanted = {key.subject for key in self._stored.finished} - self._stored.with_kernels
            networks = self._plan.sharded(self._plan.networks)
            found = [network for network in networks if network.subject in wanted]
        self._kernels_left = len(found)
        return found

    def _visit(
        self, measurer: Measurer, planned: PlannedVisit, following: Sequence[PlannedVisit]
    ) -> bool:
        """Make one try of a visit and store it; return whether it should be made again."""
        ours = [later.network for later in following if self._shared.is_ours(later)]
        measurer.expect([*map(self._schedule.settled, ours)])
        found = self._schedule.visit(measurer, planned)
        again = False
        if found is None:
            self._shared.settled(planned.key, counts=False)
        else:
            visit, judgement = found
            again = judgement.again
            self._note_reference(visit)
            counts = visit.ok and not judgement.disturbed
            also = _nothing if again else self._shared.settle(planned.key, counts=counts)
            self._stored.add(planned.key, visit, disturbed=judgement.disturbed, also=also)
            if visit.samples is not None and not judgement.disturbed:
                self._note(visit, planned.network.subject, planned.label)
            if visit.ok and planned.network.subject.kind != "reference":
                self._time_kernels(measurer, planned.network)
        self._report()
        return again

    def _time_kernels(self, measurer: Measurer, network: NetworkSource) -> None:
        """Time a network's kernels where they are asked for, once."""
        subject = network.subject
        if not self._has_kernels or subject in self._stored.with_kernels:
            return
        self._stored.with_kernels.add(subject)
        if not self._shared.may_time_kernels(subject):
            return
        profile = self._schedule.time_kernels(measurer, network)
        if not isinstance(profile, Failure):
            self._stored.add_kernels(subject, profile)
            return
        # A runtime without times of single kernels has them for no network: said once.
        self._has_kernels = profile.code != DeviceError.code
        name = f"kernels of {subject.name}" if self._has_kernels else "kernels"
        self._schedule.failures.append((name, profile))

    def _time_late_kernels(
        self, measurer: Measurer, network: NetworkSource, _following: object
    ) -> bool:
        """Time the kernels of a network that was measured without, after the visits."""
        self._time_kernels(measurer, network)
        self._kernels_left -= 1
        self._report()
        return False

    def _report(self) -> None:
        self._on_progress(self._progress())

    def _progress(self) -> Progress:
        made, failed = self._schedule.made, self._schedule.failed
        left = self._left(made + failed)
        elapsed_s = self._schedule.elapsed_s
        self._recent.append((elapsed_s, made + failed))
        first_s, first_settled = self._recent[0]
        left_s = math.nan
        if made + failed > first_settled:
            left_s = left * (elapsed_s - first_s) / (made + failed - first_settled)
        return Progress(
            total=self._total,
            done=self._resumed + self._shared.elsewhere + made,
            failed=failed,
            left=left,
            left_s=left_s,
            drift=self._drift,
            elapsed_s=elapsed_s,
            kernels_left=self._kernels_left,
        )

    def _note_reference(self, visit: Visit) -> None:
        """Follow the reference's latency, for the progress line."""
        if visit.samples is not None:
            now = float(np.median(burst_medians(visit.samples)[1]))
            name = visit.samples.reference_name
            self._least_reference_ms[name] = min(self._least_reference_ms.get(name, now), now)
            self._drift = now / self._least_reference_ms[name] - 1

    def result(self) -> CampaignResult:
        """What the run did."""
        counts, every = self._to_networks, self._schedule.counts()
        return CampaignResult(
            made=counts.made,
            resumed=self._resumed,
            failed=counts.failed,
            disturbed=counts.disturbed,
            repeated=counts.repeated,
            elapsed_s=self._schedule.elapsed_s,
            failures=every.failures,
            left=self._left(every.made + every.failed),
            kernels_left=self._kernels_left,
            busy=every.busy,
            elsewhere=self._shared.elsewhere,
        )

    def _left_to_all(self, queued: int) -> int:
        """Visits that may be shared now: those of all passes that are known already."""
        if self._plan.protocol.half_width:
            return queued
        return max(queued, self._left(self._schedule.made + self._schedule.failed))

    def _left(self, settled: int) -> int:
        return self._total - self._resumed - self._shared.elsewhere - settled


def _nothing(_connection: object) -> None:
    """A try that is made again settles nothing."""
