"""One network at several batch sizes and numbers of threads, in one paired campaign."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from latprof.common.short_reprs import ShortRepr
from latprof.errors import EXIT_OK, EXIT_PARTIAL, HostBusyError, LatprofError
from latprof.measurement.quiet.busy import MOST_TIMES, busy_share, needs_more, refuse_too_busy
from latprof.measurement.quiet.finding import Moment, find_constant
from latprof.measurement.records import PairedProtocol, Target
from latprof.measurement.statistics import (
    combine_visits,
    interval_around,
    visit_ratios,
)
from latprof.measurement.visits import Failure, VisitCounts
from latprof.profilers.host.host_report import HostReport
from latprof.profilers.profiling import half_width_of
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measurers import measurers
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S
from latprof.profilers.visits.network_source import NetworkSource, reference_network
from latprof.profilers.visits.schedule import MadeVisit, PlannedVisit, Schedule, VisitProgress
from latprof.profilers.watching import Watch, settled

if TYPE_CHECKING:
    from latprof.measurement.records import Subject
    from latprof.profilers.base import Profiler, RunOptions
    from latprof.profilers.sessions.streams import StreamFigures
    from latprof.profilers.visits.measurer import Measurer
    from latprof.profilers.visits.schedule import MakeMeasurer

#: Measuring processes that share the visits of each number of threads.
_PROCESSES = 4


@dataclass(frozen=True)
class SweepPoint:
    """The network at one batch size and one number of threads.

    Parameters
    ----------
    batch_size, threads : int
        Items a run, and threads inside an operator.
    target : Target
    latency_ms, low_ms, high_ms : float
        Of a run, with its 90 % interval; NaN where it failed.
    visits : int
        That count.
    failure : Failure, optional
        Why there is no number.
    """

    batch_size: int
    threads: int
    target: Target
    latency_ms: float = math.nan
    low_ms: float = math.nan
    high_ms: float = math.nan
    visits: int = 0
    failure: Failure | None = None

    @property
    def throughput(self) -> float:
        """Items a second: the batch over the latency of a run."""
        return 1000 * self.batch_size / self.latency_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON values."""
        return {
            "batch_size": self.batch_size,
            "threads": self.threads,
            "target": self.target.to_dict(),
            "latency_ms": self.latency_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "items_per_s": self.throughput,
            "visits": self.visits,
            "failure": None if self.failure is None else self.failure.to_dict(),
        }


@dataclass(frozen=True, repr=False)
class Sweep(ShortRepr):
    """One network at several settings: ``points`` by pairs, ``streams`` of concurrent sessions.

    ``counts`` says what became of the visits, ``host`` what spoke against the numbers, ``cores``
    how many cores this process may use.
    """

    name: str
    points: tuple[SweepPoint, ...]
    counts: VisitCounts
    host: HostReport
    cores: int
    streams: tuple[StreamFigures, ...] = ()

    def describe_target(self) -> str:
        """One line for people: what all points share, and in what they differ."""
        target = self.points[0].target
        mode = f" ({target.mode})" if target.mode else ""
        pinned = f", cores {target.cores}" if target.cores else ""
        batches, threads = (
            ", ".join(map(str, sorted({getattr(point, name) for point in self.points})))
            for name in ("batch_size", "threads")
        )
        return (
            f"{target.spelling} {target.runtime_version}{mode} on {target.device_name}, "
            f"{target.precision}, batch {batches}; threads {threads}{pinned}"
        )

    @property
    def exit_status(self) -> int:
        """5 where a point or visits failed, else 0."""
        lost = any(point.failure is not None for point in self.points) or self.counts.failed
        return EXIT_PARTIAL if lost else EXIT_OK

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as plain JSON values."""
        return {
            "network": self.name,
            "points": [point.to_dict() for point in self.points],
            "streams": [each.to_dict() for each in self.streams],
            "cores": self.cores,
            "host": self.host.to_dict(),
            **self.counts.to_dict(),
        }


def sweep_network(
    name: str,
    sources: Mapping[int, NetworkSource],
    threads: Sequence[int],
    target: str,
    options: RunOptions,
    *,
    protocol: PairedProtocol | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    cores: int = 1,
    watch: Watch | None = None,
) -> Sweep:
    """Measure a network at each batch size of ``sources`` and each number of threads.

    Every number of threads has processes of its own, which take turns: in each, all batch sizes are
    visited, so that a drift of the host falls on all points alike. A point that cannot be measured
    is a failure in the result; where all fail, the first failure is raised. More threads than a
    device has cores for are refused before anything is measured. On a busy host more visits follow,
    and a point whose visits disagree has no number.
    """
    watch, protocol = watch or Watch(), protocol or PairedProtocol()
    profiler = profiler_class(target)(options)
    checks = watch.before(profiler)
    each = {number: dataclasses.replace(options, threads=number) for number in threads}
    campaign = _Campaign(sources, each, target, protocol, timeout_s, watch)
    campaign.run()
    visits = [each.visit for made in campaign.made.values() for each in made]
    counts = campaign.counts()
    host = watch.after(profiler, checks, visits, counts)
    points = tuple(
        campaign.point(number, batch, host.quiet_memory) for number in threads for batch in sources
    )
    failures = [point.failure for point in points if point.failure is not None]
    if len(failures) == len(points):
        raise failures[0].error()
    return Sweep(name, points, counts, host, cores)


def _judged(visits: Sequence[MadeVisit]) -> tuple[float, float]:
    """The half-width of a point's visits, and how much others took of them."""
    samples = [visit.samples for visit in visits]
    return half_width_of(samples, [visit.process for visit in visits]), busy_share(samples)


def _empty_point(profiler: Profiler, number: int, batch: int, source: NetworkSource) -> SweepPoint:
    shape = None if source.costs is None else source.costs.input_shape
    identity = dataclasses.replace(profiler.target(shape), batch_size=batch)
    return SweepPoint(batch, number, identity)


class _Campaign:
    """The visits of a sweep: a schedule for each number of threads."""

    def __init__(
        self,
        sources: Mapping[int, NetworkSource],
        options: Mapping[int, RunOptions],
        target: str,
        protocol: PairedProtocol,
        timeout_s: float,
        watch: Watch,
    ) -> None:
        self._sources, self._protocol = sources, protocol
        self._profilers = {n: profiler_class(target)(chosen) for n, chosen in options.items()}
        self._empty = {
            (number, batch): _empty_point(profiler, number, batch, source)
            for number, profiler in self._profilers.items()
            for batch, source in sources.items()
        }
        self._watch = watch
        self._said: set[str] = set()
        self._failures: dict[tuple[int, Subject], Failure] = {}
        self.made: dict[int, list[MadeVisit]] = {number: [] for number in options}
        self._reference_name, reference = reference_network()

        def maker(number: int) -> MakeMeasurer:
            def make(reference_runs: Mapping[str, int]) -> Measurer:
                return self._makers[number](reference_runs)

            return make

        self._makers: dict[int, MakeMeasurer] = {}
        self._measurers = {
            number: partial(
                measurers,
                target,
                chosen,
                reference,
                protocol,
                timeout_s=timeout_s,
                on_wait=watch.on_wait,
            )
            for number, chosen in options.items()
        }
        self._schedules = {
            number: Schedule(maker(number), protocol, on_visit=self._report) for number in options
        }

    def run(self) -> None:
        """Make the planned visits, and more until the intervals are as narrow as was asked."""
        processes = min(_PROCESSES, self._protocol.visits)
        begins = [number * self._protocol.visits // processes for number in range(processes + 1)]
        for turn in range(processes):
            self._turn(turn, range(begins[turn], begins[turn + 1]), self._alive)
        planned, turn = self._protocol.visits, processes
        most = MOST_TIMES * planned if not self._protocol.half_width else self._protocol.most_visits
        while planned < most:
            wanting = {
                number: [each for each in self._alive(number) if not self._enough(number, each)]
                for number in self._schedules
            }
            if not any(wanting.values()):
                break
            stop = min(planned + 2, most)
            self._turn(turn, range(planned, stop), wanting.__getitem__)
            planned, turn = stop, turn + 1

    def _alive(self, number: int) -> list[NetworkSource]:
        return [s for s in self._sources.values() if (number, s.subject) not in self._failures]

    def _enough(self, number: int, source: NetworkSource) -> bool:
        half, share = _judged(visits := self._visits(number, source))
        if self._protocol.half_width or not visits:
            return bool(self._protocol.enough(len(visits), half))
        return not needs_more(len(visits), self._protocol.visits, half, share)

    def _turn(
        self, turn: int, numbers: range, chosen: Callable[[int], list[NetworkSource]]
    ) -> None:
        """One process for each number of threads; who begins changes from turn to turn."""
        order = [*self._schedules]
        for number in (*order[turn % len(order) :], *order[: turn % len(order)]):
            self._process(number, turn, numbers, chosen)

    def _process(
        self,
        number: int,
        turn: int,
        numbers: range,
        chosen: Callable[[int], list[NetworkSource]],
    ) -> None:
        """Visits by one process; again without a network that cannot be measured."""
        schedule = self._schedules[number]
        while sources := [s for s in chosen(number) if (number, s.subject) not in self._failures]:
            shift = turn % len(sources)
            planned = [
                PlannedVisit(source, 0, visit)
                for visit in numbers
                for source in (*sources[shift:], *sources[:shift])
            ]
            known = len(schedule.failures)
            try:
                with self._measurers[number]() as make:
                    self._makers[number] = make
                    self.made[number] += schedule.measure(planned, 1)
            except LatprofError as error:
                failed = [name for name, _ in schedule.failures[known:]]
                bad = [s for s in sources if s.subject.name in failed] or sources
                self._failures |= {(number, s.subject): Failure.of(error) for s in bad}
                continue
            return

    def _visits(self, number: int, source: NetworkSource) -> list[MadeVisit]:
        return [v for v in self.made[number] if v.planned.network.subject == source.subject]

    def _report(self, _progress: VisitProgress) -> None:
        each = self._schedules.values()
        total = self._protocol.visits * len(self._sources) * len(self._schedules)
        made, failed = sum(s.made for s in each), sum(s.failed for s in each)
        elapsed_s = max(schedule.elapsed_s for schedule in each)
        if self._watch.on_visit is not None:
            self._watch.on_visit(VisitProgress(max(total, made + failed), made, failed, elapsed_s))

    def _note(self, text: str) -> None:
        """Say something once, whichever points it holds for."""
        if text not in self._said:
            self._said.add(text)
            self._watch.on_note(text)

    def counts(self) -> VisitCounts:
        """Of all schedules together."""
        every = [schedule.counts() for schedule in self._schedules.values()]
        return VisitCounts(
            made=sum(counts.made for counts in every),
            failed=sum(counts.failed for counts in every),
            disturbed=sum(counts.disturbed for counts in every),
            repeated=sum(counts.repeated for counts in every),
            disturbed_tries=sum(counts.disturbed_tries for counts in every),
            busy=any(counts.busy for counts in every),
            failures=tuple(failure for counts in every for failure in counts.failures),
        )

    def point(self, number: int, batch: int, quiet_memory: float) -> SweepPoint:
        """What was measured at one number of threads and one batch size.

        ``quiet_memory`` is that of :class:`HostReport`.
        """
        source, empty = self._sources[batch], self._empty[number, batch]
        visits = self._visits(number, source)
        if not visits:
            return dataclasses.replace(empty, failure=self._failures.get((number, source.subject)))
        half, share = _judged(visits)
        try:
            refuse_too_busy(half, share)
        except HostBusyError as error:
            return dataclasses.replace(empty, visits=len(visits), failure=Failure.of(error))
        samples = [visit.samples for visit in visits]
        host = HostReport.of((), [each.visit for each in visits], VisitCounts(), quiet_memory)
        moments = [
            Moment.of(visit.samples, visit.conditions)
            for visit in self.made[number]
            if visit.samples.reference_name == samples[0].reference_name
        ]
        name = samples[0].reference_name or self._reference_name
        constant = settled(self._profilers[number], name, find_constant(moments), self._note)
        latency_ms = combine_visits(visit_ratios(samples)) * constant.reference_ms
        low, high = interval_around(latency_ms, constant.widened(host.widened(half)))
        return dataclasses.replace(
            empty,
            latency_ms=latency_ms,
            low_ms=float(low),
            high_ms=float(high),
            visits=len(visits),
        )
