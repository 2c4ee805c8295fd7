"""A campaign: many networks, each visited several times, spread over time and processes.

Every pass visits every network once, in another order and in fresh measuring processes, so that
drift and the bias of processes average out over networks. Where a precision is asked
for, further passes visit those networks whose interval is still too wide. What is in the store is
not done again: the same call resumes where it was interrupted, however hard.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from latprof.errors import DeviceError, NotEnoughDataError
from latprof.measurement.disturbance import disturbances
from latprof.measurement.labels import freeze_reference
from latprof.measurement.records import Failure, Measurement, Target
from latprof.measurement.statistics import burst_medians, visit_ratio
from latprof.profilers.base import NETWORKS_PER_PROCESS
from latprof.profilers.campaign.intervals import Intervals
from latprof.profilers.campaign.plan import network_key
from latprof.profilers.visits.taking_turns import PROCESSES

if TYPE_CHECKING:
    from latprof.measurement.store.store import Store
    from latprof.profilers.campaign.plan import Plan, Task
    from latprof.profilers.visits.measurer import Measurer, Visit
    from latprof.profilers.visits.network_source import Network

#: Items that a measurer is told of ahead.
_LOOKAHEAD = PROCESSES - 1
#: Further tries of a visit that failed or was disturbed.
RETRIES = 2
#: Where at least half of so many visits in a row were disturbed, the host is always like that, and
#: to make them again would bring the same.
_PATIENCE = 40
_Item = TypeVar("_Item")
_LabelKey: TypeAlias = tuple[str, str, str, int]
#: Failures that another try would only repeat.
_FINAL_FAILURES = frozenset(
    {"unsupported", "model-file", "dynamic-shape", "invalid-value", "unknown-name"}
)


@dataclass(frozen=True)
class Progress:
    """Where a campaign stands; visits are counted, and after them networks without kernels.

    ``drift`` is how far the reference's latency is now from its least in this run, as a fraction;
    ``left_s`` the time the rest will take, NaN until that can be told.
    """

    total: int
    done: int
    failed: int
    left: int
    left_s: float
    drift: float
    elapsed_s: float
    kernels_left: int = 0


@dataclass(frozen=True)
class Outcome:
    """What one run of a campaign did: visits made, already complete, failed, disturbed.

    ``left`` and ``kernels_left`` count the visits, and the networks whose kernels, the time limit
    cut off; ``busy`` says that the host disturbed so many visits that they were not made again.
    """

    made: int
    resumed: int
    failed: int
    disturbed: int
    elapsed_s: float
    failures: tuple[tuple[str, Failure], ...] = ()
    left: int = 0
    kernels_left: int = 0
    busy: bool = False


def collect(
    plan: Plan,
    store: Store,
    target: Target,
    reference: str,
    make_measurer: Callable[[], Measurer],
    *,
    host: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    networks_per_process: int = NETWORKS_PER_PROCESS,
) -> Outcome:
    """Make all the plan's visits that the store does not hold yet.

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
        Makes what visits the networks; called afresh every ``networks_per_process`` visits.
    host : mapping, optional
        Facts about the host, stored with the campaign.
    on_progress : callable, optional
        Called after every visit.
    networks_per_process : int
        See :attr:`latprof.profilers.base.Profiler.networks_per_process`.

    Returns
    -------
    Outcome
        Failed visits are counted and stored; they raise nothing.
    """
    store.add_target(target, reference)
    asked = dict(plan.source)
    if plan.time_limit_s is not None:
        asked["time_limit_s"] = plan.time_limit_s
    campaign_id = store.start_campaign(target, asked, plan.protocol.to_dict(), dict(host or {}))
    run = _Run(plan, store, target, campaign_id, on_progress)
    for tasks in plan.passes(run.wants_more):
        if run.time_is_up():
            break
        _work_off(run.unfinished(tasks), run.do, make_measurer, networks_per_process, run)
    without = run.without_kernels()
    run.kernels_left = len(without)
    _work_off(without, run.time_late_kernels, make_measurer, networks_per_process, run)
    store.end_campaign(campaign_id)
    outcome = run.outcome()
    if not outcome.left:
        with contextlib.suppress(NotEnoughDataError):
            freeze_reference(store, target)
    return outcome


def _work_off(
    items: Iterable[_Item],
    do: Callable[[Measurer, _Item, Sequence[_Item]], bool],
    make_measurer: Callable[[], Measurer],
    networks_per_process: int,
    run: _Run,
) -> None:
    """Do every item, in a fresh measurer every so often; again at the end where ``do`` says so.

    ``do`` gets the measurer, the item, and what the measurer does next, as far as is known.
    """
    queue = deque(items)
    while queue and not run.time_is_up():
        # Equal shares: what a process with few visits does to all of them could not be told. The
        # last one also does what is to be done again.
        processes = math.ceil(len(queue) / networks_per_process)
        share = math.ceil(len(queue) / processes) if processes > 1 else networks_per_process
        with make_measurer() as measurer:
            for left in reversed(range(share)):
                item = queue.popleft()
                if do(measurer, item, [*itertools.islice(queue, min(left, _LOOKAHEAD))]):
                    queue.append(item)
                if not queue or run.time_is_up():
                    break


class _Run:
    """The state of one run of a campaign."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        target: Target,
        campaign_id: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._plan, self._store, self._target = plan, store, target
        self._campaign_id, self._on_progress = campaign_id, on_progress
        self.finished = store.finished_visits(target)
        self._with_kernels = store.subjects_with_kernels(target)
        self._total = (len(plan.networks) + plan.repeated) * plan.protocol.visits
        wanted = {task.key for tasks in plan.passes() for task in tasks}
        self._resumed = len(wanted & self.finished)
        self._without_kernels = False
        self._made = self.failed = self._disturbed = self.kernels_left = 0
        self._tries: dict[tuple[str, str, str, int, int], int] = {}
        self._hopeless: set[tuple[str, str, str]] = set()
        self._given_up: set[tuple[str, str, str]] = set()
        self._failures: list[tuple[str, Failure]] = []
        self._intervals = Intervals()
        self._kept_disturbed: dict[_LabelKey, int] = defaultdict(int)
        self._lately: deque[bool] = deque(maxlen=_PATIENCE)
        self._busy = False
        self._start = time.monotonic()
        if plan.protocol.precision:
            self._recall()
        self._recent: deque[tuple[float, int]] = deque(maxlen=200)
        self._least_reference_ms = math.inf
        self._drift = 0.0

    def _recall(self) -> None:
        """Read what earlier runs found, for the intervals."""
        for measurement in self._store.measurements(self._target):
            if measurement.samples is not None and not measurement.disturbed:
                subject = measurement.subject
                self._intervals.add(
                    (subject.kind, subject.space, subject.key),
                    measurement.label,
                    measurement.process,
                    visit_ratio(measurement.samples),
                )

    def time_is_up(self) -> bool:
        """Whether the plan's time limit is reached."""
        limit_s = self._plan.time_limit_s
        return limit_s is not None and time.monotonic() - self._start >= limit_s

    def wants_more(self, network: Network, label: int) -> bool:
        """Whether the interval around a network's latency is still too wide."""
        key = network_key(network)
        if key in self._given_up:
            return False
        made = len(self._intervals.ratios(key, label)) + self._kept_disturbed[*key, label]
        half_width = self._intervals.relative_half_width(key, label)
        return not self._plan.protocol.enough(made, half_width)

    def unfinished(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks of a pass that the store does not hold; those beyond the plan are counted."""
        added = [task for task in tasks if task.visit >= self._plan.protocol.visits]
        self._total += len(added)
        self._resumed += sum(task.key in self.finished for task in added)
        return [task for task in tasks if task.key not in self.finished]

    def without_kernels(self) -> list[Network]:
        """Networks whose kernels are asked for and not timed yet, though they could be measured."""
        if not self._plan.ops:
            return []
        wanted = {key[:3] for key in self._store.finished_visits(self._target)}
        wanted -= self._with_kernels
        return [network for network in self._plan.networks if network_key(network) in wanted]

    def do(self, measurer: Measurer, task: Task, following: Sequence[Task]) -> bool:
        """Make one visit and store it; return whether it should be tried again."""
        subject = task.network.subject
        if task.key[:3] in self._hopeless:
            self.failed += 1
            self._report()
            return False
        measurer.expect([later.network for later in following])
        visit = measurer.visit(task.network)
        if visit.failure is not None and visit.failure.code == DeviceError.code and not self._made:
            # Nothing has ever run: it is the target that fails, and will with the next network.
            raise DeviceError(visit.failure.message)
        self._note_reference(visit)
        again = self._judge(task, visit)
        disturbed = visit.samples is not None and self._is_disturbed(visit)
        self._store.add(
            Measurement(
                subject=subject,
                target=self._target,
                label=task.label,
                visit=task.visit,
                started_at=visit.started_at,
                wall_s=visit.wall_s,
                load_s=visit.load_s,
                process=visit.process,
                samples=visit.samples,
                failure=visit.failure,
                conditions=visit.conditions,
                disturbed=disturbed,
            ),
            self._campaign_id,
        )
        if visit.samples is not None and not disturbed:
            self._intervals.add(task.key[:3], task.label, visit.process, visit_ratio(visit.samples))
        if visit.samples is not None and self._plan.ops:
            self.time_kernels(measurer, task.network)
        self._report()
        return again

    def _judge(self, task: Task, visit: Visit) -> bool:
        """Count a visit; return whether it should be tried again."""
        tries = self._tries[task.key] = self._tries.get(task.key, 0) + 1
        if visit.failure is not None:
            if visit.failure.code in _FINAL_FAILURES:
                self._hopeless.add(task.key[:3])
            elif tries <= RETRIES:
                return True
            self.failed += 1
            self._given_up.add(task.key[:3])
            self._failures.append((task.network.subject.name, visit.failure))
            return False
        disturbed = self._is_disturbed(visit)
        self._lately.append(disturbed)
        if disturbed:
            self._disturbed += 1
            always = len(self._lately) == _PATIENCE and sum(self._lately) >= _PATIENCE / 2
            if tries <= RETRIES and not always:
                return True
            self._busy |= always
            self._kept_disturbed[*task.key[:3], task.label] += 1
        self._made += 1
        return False

    def _is_disturbed(self, visit: Visit) -> bool:
        assert visit.samples is not None
        return bool(disturbances(visit.samples, visit.conditions, self._plan.protocol))

    def time_kernels(self, measurer: Measurer, network: Network) -> bool:
        """Time a network's kernels, once; again where the reference moved meanwhile."""
        subject, key = network.subject, network_key(network)
        if key in self._with_kernels or self._without_kernels:
            return False
        for _ in range(1 + RETRIES):
            profile = measurer.profile(network)
            if isinstance(profile, Failure) or not disturbances(
                profile.samples, {}, self._plan.protocol
            ):
                break
        self._with_kernels.add(key)
        if isinstance(profile, Failure) and profile.code == DeviceError.code:
            # The runtime tells no kernels apart, whatever the network: said once.
            if not self._without_kernels:
                self._failures.append(("kernels", profile))
            self._without_kernels = True
        elif isinstance(profile, Failure):
            self._failures.append((f"kernels of {subject.name}", profile))
        else:
            self._store.add_kernels(subject, self._target, profile)
        return False

    def time_late_kernels(
        self, measurer: Measurer, network: Network, _following: Sequence[Network]
    ) -> bool:
        """Time the kernels of a network that was measured without, after the visits."""
        self.time_kernels(measurer, network)
        self.kernels_left -= 1
        self._report()
        return False

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(self.progress())

    def progress(self) -> Progress:
        """Where the run stands."""
        settled = self._made + self.failed
        left = self._total - self._resumed - settled
        elapsed_s = time.monotonic() - self._start
        self._recent.append((elapsed_s, settled))
        first_s, first_settled = self._recent[0]
        left_s = math.nan
        if settled > first_settled:
            left_s = left * (elapsed_s - first_s) / (settled - first_settled)
        return Progress(
            total=self._total,
            done=self._resumed + self._made,
            failed=self.failed,
            left=left,
            left_s=left_s,
            drift=self._drift,
            elapsed_s=elapsed_s,
            kernels_left=self.kernels_left,
        )

    def _note_reference(self, visit: Visit) -> None:
        """Follow the reference's latency, for the progress line."""
        if visit.samples is not None:
            now = float(np.median(burst_medians(visit.samples)[1]))
            self._least_reference_ms = min(self._least_reference_ms, now)
            self._drift = now / self._least_reference_ms - 1

    def outcome(self) -> Outcome:
        """What the run did."""
        return Outcome(
            made=self._made,
            resumed=self._resumed,
            failed=self.failed,
            disturbed=self._disturbed,
            elapsed_s=time.monotonic() - self._start,
            failures=tuple(self._failures),
            left=self._total - self._resumed - self._made - self.failed,
            kernels_left=self.kernels_left,
            busy=self._busy,
        )
