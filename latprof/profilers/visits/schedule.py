"""The schedule of visits: who makes them, which are made again, and when there are enough.

One for everything that is measured: a campaign into a store, one profile, a comparison, the
verification of a search. Its rules:

- A visit that failed or was disturbed has :data:`RETRIES` further tries. A failure that another try
  would only repeat (:data:`FINAL_FAILURES`) has none, and ends the visits to its network.
- Where half of :data:`PATIENCE` visits in a row were disturbed, the host is permanently noisy, and
  disturbed visits count as they are.
- Measuring processes make equal shares of the visits, so that the bias of each can be estimated;
  all run the reference network as often as the first did.
- No visit starts after the time limit.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from latprof.errors import ConnectionLostError, DeviceError
from latprof.measurement.disturbance import NEVER_USED, disturbances
from latprof.measurement.statistics import counted_runs
from latprof.measurement.visits import Failure, Visit, VisitCounts, VisitKey
from latprof.profilers.visits.measuring_process import GONE
from latprof.profilers.visits.taking_turns import PROCESSES

if TYPE_CHECKING:
    from latprof.measurement.records import KernelProfile, PairedProtocol, PairedSamples, Subject
    from latprof.profilers.visits.measurer import Measurer
    from latprof.profilers.visits.network_source import NetworkSource

#: Further tries of a visit that failed or was disturbed.
RETRIES = 2
#: Further tries of a visit that is never used as it is: the device was waited for before each.
UNUSABLE_RETRIES = 9
#: So many visits in a row are looked at to tell whether the host is always disturbed.
PATIENCE = 40
#: Failures that another try would only repeat.
FINAL_FAILURES = frozenset(
    {"unsupported", "model-file", "dynamic-shape", "invalid-value", "unknown-name"}
)
#: Items that a measurer of this host is told of ahead.
LOOKAHEAD = PROCESSES - 1
_Item = TypeVar("_Item")

#: Makes what visits the networks, given how often each reference runs in a burst (of one that is
#: missing the measurer finds out).
MakeMeasurer: TypeAlias = "Callable[[Mapping[str, int]], Measurer]"


@dataclass
class KnownReferences:
    """What earlier visits settled about the references of a target's family, and later ones keep.

    Parameters
    ----------
    runs : dict of str to int
        Counted runs in a burst of each reference, by its name.
    of_network : dict of Subject to str
        Which of them each network is measured against.
    runs_of_network : dict of Subject to int
        Counted runs in a burst of each network: a burst's later runs are faster.
    """

    runs: dict[str, int] = field(default_factory=dict)
    of_network: dict[Subject, str] = field(default_factory=dict)
    runs_of_network: dict[Subject, int] = field(default_factory=dict)

    def note(self, network: Subject, samples: PairedSamples) -> None:
        """Keep what the first visit to a network, and the first with a reference, did."""
        own_runs, reference_runs = counted_runs(samples)
        self.runs.setdefault(samples.reference_name, reference_runs)
        self.of_network.setdefault(network, samples.reference_name)
        self.runs_of_network.setdefault(network, own_runs)


@dataclass(frozen=True)
class VisitProgress:
    """Where a schedule stands after a visit: of ``total`` so many are made and given up."""

    total: int
    made: int
    failed: int
    elapsed_s: float

    @property
    def left_s(self) -> float:
        """Seconds that the rest will take at this rate."""
        settled = self.made + self.failed
        return self.elapsed_s * (self.total - settled) / settled if settled else math.nan


#: Called after every visit.
OnVisit: TypeAlias = Callable[[VisitProgress], None]


class Clock(Protocol):
    """What the module :mod:`time` has, and a clock of tests."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def time(self) -> float:
        """Unix time in seconds."""
        ...


@dataclass(frozen=True)
class PlannedVisit:
    """One visit that is to be made."""

    network: NetworkSource
    label: int
    number: int

    @property
    def key(self) -> VisitKey:
        """Which visit it is."""
        return VisitKey(self.network.subject, self.label, self.number)


@dataclass(frozen=True)
class Judgement:
    """What a visit counts for: whether it was disturbed, is made again, and may be used at all."""

    disturbed: bool
    again: bool
    usable: bool = True


@dataclass(frozen=True)
class MadeVisit:
    """A visit that counts; ``process`` numbers the processes of the schedule from 0."""

    planned: PlannedVisit
    process: int
    visit: Visit

    @property
    def samples(self) -> PairedSamples:
        """The visit's raw runs."""
        assert self.visit.samples is not None
        return self.visit.samples

    @property
    def conditions(self) -> Mapping[str, Any]:
        """The state of what the network ran on, before and after the runs."""
        return self.visit.conditions


def equal_shares(most: int) -> Callable[[int], int]:
    """How many of the items that are left the next process makes, where one makes ``most``.

    The bias of a process with few visits could not be estimated. The last one also makes what is to
    be made again.
    """

    def share(left: int) -> int:
        processes = math.ceil(left / most)
        return math.ceil(left / processes) if processes > 1 else most

    return share


class Schedule:
    """Has visits made in measuring processes, and judges each.

    Parameters
    ----------
    make_measurer : callable
        Makes a measurer with a process, or processes, of its own.
    protocol : PairedProtocol
        Says what a disturbed visit is.
    time_limit_s : float, optional
        No visit starts later than this after the schedule was made.
    references : KnownReferences, optional
        What earlier visits settled; kept up here.
    clock : Clock
    on_visit : callable, optional
        Called after every visit of :meth:`measure`.
    lookahead : int
        Items that a measurer is told of ahead.
    """

    def __init__(
        self,
        make_measurer: MakeMeasurer,
        protocol: PairedProtocol,
        *,
        time_limit_s: float | None = None,
        references: KnownReferences | None = None,
        clock: Clock = time,
        on_visit: OnVisit | None = None,
        lookahead: int = LOOKAHEAD,
    ) -> None:
        self.lookahead = lookahead
        self._on_visit = on_visit or (lambda _progress: None)
        self._planned = 0
        self._make_measurer, self._protocol = make_measurer, protocol
        self._time_limit_s, self._clock = time_limit_s, clock
        self.references = references or KnownReferences()
        self._start = clock.monotonic()
        self._tries: Counter[VisitKey] = Counter()
        self._lately: deque[bool] = deque(maxlen=PATIENCE)
        self._busy = False
        self._processes = 0
        self._settled: dict[Subject, NetworkSource] = {}
        self._measured: set[Subject] = set()
        self._hopeless: set[Subject] = set()
        self._repeated = self._disturbed_tries = 0
        #: Visits that count, and visits that were given up or not tried any more after that.
        self.made = self.failed = 0
        #: What failed for good: the network's name and why.
        self.failures: list[tuple[str, Failure]] = []
        #: Networks of which a visit was given up.
        self.given_up: set[Subject] = set()
        #: Visits to each network and label that count although they were disturbed.
        self.kept_disturbed: Counter[tuple[Subject, int]] = Counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the schedule was made."""
        return self._clock.monotonic() - self._start

    def time_is_up(self) -> bool:
        """Whether the time limit is reached."""
        return self._time_limit_s is not None and self.elapsed_s >= self._time_limit_s

    def counts(self) -> VisitCounts:
        """What has become of the visits so far."""
        return VisitCounts(
            self.made,
            self.failed,
            self.kept_disturbed.total(),
            self._repeated,
            self._disturbed_tries,
            self._busy,
            tuple(self.failures),
        )

    def work_off(
        self,
        items: Iterable[_Item],
        do: Callable[[Measurer, _Item, Sequence[_Item]], bool],
        share: Callable[[int], int],
        after_share: Callable[[Measurer], None] = lambda _measurer: None,
        claim: Callable[[deque[_Item]], bool] = bool,
    ) -> None:
        """Do every item, in a fresh measurer for each share of them.

        Parameters
        ----------
        items : iterable
        do : callable
            Gets the measurer, an item, and what the measurer does next as far as is known; an item
            for which it returns True is done again after all others.
        share : callable
            From the number of items left to how many of them the next measurer does.
        after_share : callable, optional
            Gets each measurer when it has done its share.
        claim : callable, optional
            Gets the queue before each item, and may take out of it what others do; returns whether
            its first item is to be done here.
        """
        queue = deque(items)
        while not self.time_is_up() and claim(queue):
            size = share(len(queue))
            with self._make_measurer(dict(self.references.runs)) as measurer:
                for left in reversed(range(size)):
                    item = queue.popleft()
                    ahead = min(left, self.lookahead)
                    if do(measurer, item, [*itertools.islice(queue, ahead)]):
                        queue.append(item)
                    if self.time_is_up() or not claim(queue):
                        break
                after_share(measurer)
            self._processes += 1

    def visit(self, measurer: Measurer, planned: PlannedVisit) -> tuple[Visit, Judgement] | None:
        """Make one try of a visit and judge it; None where visits to its network are hopeless.

        Raises DeviceError where nothing has ever run, or the device is gone: it is the target that
        fails, and will with the next network. The visit is still to be made then.
        """
        if planned.network.subject in self._hopeless:
            self.failed += 1
            return None
        visit = measurer.visit(self.settled(planned.network))
        code = "" if visit.failure is None else visit.failure.code
        if visit.failure and (code in GONE or (code == DeviceError.code and not self.made)):
            raise visit.failure.error()
        return visit, self._judge(planned, visit)

    def settled(self, network: NetworkSource) -> NetworkSource:
        """A network with the reference, and the runs of a burst, of earlier visits to it."""
        name = self.references.of_network.get(network.subject, network.reference)
        runs = self.references.runs_of_network.get(network.subject, network.runs)
        if (name, runs) == (network.reference, network.runs):
            return network
        known = self._settled.get(network.subject)
        if known is None or (known.reference, known.runs) != (name, runs):
            known = replace(network, reference=name, runs=runs)
            self._settled[network.subject] = known
        return known

    def _judge(self, planned: PlannedVisit, visit: Visit) -> Judgement:
        judgement = self._judged(planned, visit)
        self._repeated += judgement.again
        self._disturbed_tries += judgement.disturbed
        return judgement

    def _judged(self, planned: PlannedVisit, visit: Visit) -> Judgement:
        self._tries[planned.key] += 1
        may_retry = self._tries[planned.key] <= RETRIES
        if visit.samples is None:
            assert visit.failure is not None
            final = visit.failure.code in FINAL_FAILURES
            if may_retry and not final:
                return Judgement(disturbed=False, again=True)
            if final:
                self._hopeless.add(planned.network.subject)
            self._give_up(planned)
            self.failures.append((planned.network.subject.name, visit.failure))
            return Judgement(disturbed=False, again=False)
        self.references.note(planned.network.subject, visit.samples)
        found = disturbances(visit.samples, visit.conditions, self._protocol)
        if not NEVER_USED.isdisjoint(found):
            return self._judge_unusable(planned, found)
        disturbed = bool(found)
        self._lately.append(disturbed)
        if disturbed:
            always = len(self._lately) == PATIENCE and sum(self._lately) >= PATIENCE / 2
            if may_retry and not always:
                return Judgement(disturbed=True, again=True)
            self._busy |= always
            self.kept_disturbed[planned.network.subject, planned.label] += 1
        self.made += 1
        self._measured.add(planned.network.subject)
        return Judgement(disturbed=disturbed, again=False)

    def _judge_unusable(self, planned: PlannedVisit, found: Sequence[str]) -> Judgement:
        """A visit that is no part of any label: made again, and given up at last."""
        if self._tries[planned.key] <= UNUSABLE_RETRIES:
            return Judgement(disturbed=True, again=True)
        self._give_up(planned)
        why = DeviceError(f"every try was disturbed: {', '.join(found)}")
        self.failures.append((planned.network.subject.name, Failure.of(why)))
        return Judgement(disturbed=True, again=False, usable=False)

    def _give_up(self, planned: PlannedVisit) -> None:
        self.failed += 1
        self.given_up.add(planned.network.subject)

    def measure(
        self,
        planned: Sequence[PlannedVisit],
        processes: int,
        after_share: Callable[[Measurer], None] = lambda _measurer: None,
    ) -> list[MadeVisit]:
        """Make visits in order, in equal shares; what is made again is made again at once.

        A process in which a visit to a network was given up makes no more to it. Raises the failure
        of a visit that is given up before any to its network was made, in whichever process.
        """
        made: list[MadeVisit] = []
        broken: set[tuple[int, Subject]] = set()

        def do(measurer: Measurer, item: PlannedVisit, _following: object) -> bool:
            here = self._processes, item.network.subject
            if here in broken:
                self._give_up(item)
                return False
            visit = self._settle(measurer, item)
            if visit is not None and visit.samples is not None:
                made.append(MadeVisit(item, self._processes, visit))
            else:
                broken.add(here)
            self._on_visit(VisitProgress(self._planned, self.made, self.failed, self.elapsed_s))
            return False

        self._planned += len(planned)
        last = self._processes + processes
        self.work_off(
            planned, do, lambda left: math.ceil(left / (last - self._processes)), after_share
        )
        return made

    def _settle(self, measurer: Measurer, planned: PlannedVisit) -> Visit | None:
        """Make a visit at once until it is judged for good."""
        while found := self.visit(measurer, planned):
            visit, judgement = found
            if judgement.again:
                continue
            failed = visit.failure is not None or not judgement.usable
            if failed and planned.network.subject not in self._measured:
                raise self.failures[-1][1].error()
            return visit if judgement.usable else None
        return None

    def time_kernels(self, measurer: Measurer, network: NetworkSource) -> KernelProfile | Failure:
        """Time a network's kernels; again where the device was lost, or the reference moved."""
        for _ in range(1 + RETRIES):
            profile = measurer.profile(self.settled(network))
            if isinstance(profile, Failure):
                if profile.code != ConnectionLostError.code:
                    break
            elif not disturbances(profile.samples, {}, self._protocol):
                break
        return profile
