"""Two networks measured in turn, and two stores side by side, for a verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.limits import whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import (
    InvalidValueError,
    NotEnoughDataError,
    TargetMismatchError,
    did_you_mean,
)
from latprof.measurement.comparison import (
    Comparison,
    Side,
    compare_groups,
    compare_pairs,
    comparisons_html,
    holm,
)
from latprof.measurement.quiet.busy import (
    MOST_TIMES,
    busy_share,
    needs_more,
    refuse_too_busy,
)
from latprof.measurement.quiet.finding import Moment, find_constant
from latprof.measurement.records import PairedProtocol, Subject
from latprof.measurement.statistics import (
    counted_runs,
    interval_around,
    relative_half_width,
    visit_ratios,
)
from latprof.profilers.host.host_report import HostReport
from latprof.profilers.visits.schedule import KnownReferences, PlannedVisit, Schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from latprof.measurement.labels import TargetLabels
    from latprof.measurement.quiet.target_constant import Constant
    from latprof.measurement.records import PairedSamples
    from latprof.measurement.visits import Visit, VisitCounts
    from latprof.profilers.visits.network_source import NetworkSource
    from latprof.profilers.visits.schedule import MadeVisit, MakeMeasurer, OnVisit

Floats: TypeAlias = NDArray[np.float64]

#: Default effort: measuring processes, and visits to each network in each of them.
PROCESSES = 8
VISITS = 3
#: Most processes where a half-width is asked for.
MOST_PROCESSES = 32


@dataclass(frozen=True)
class RatiosInTurn:
    """Two networks' ratios to the reference, of shape (processes, visits) each.

    Only of processes that made all their visits: in others a drift would not fall on both alike.
    ``visits`` says what became of those that were planned, ``made`` are those that count, and
    ``constant`` is, by all of them, that of the reference ``reference`` (empty for the target's
    own).
    """

    a: Floats
    b: Floats
    visits: VisitCounts
    made: tuple[Visit, ...]
    constant: Constant
    reference: str = ""

    @property
    def relative_half_width(self) -> float:
        """Half of the 90 % interval around B's latency over A's, on logarithms."""
        quotients = (self.b / self.a).prod(axis=1) ** (1 / self.a.shape[1])
        return float(relative_half_width(quotients))


def measure_in_turn(
    a: NetworkSource,
    b: NetworkSource,
    make_measurer: MakeMeasurer,
    *,
    processes: int = PROCESSES,
    visits: int = VISITS,
    half_width: float = 0.0,
    max_processes: int = MOST_PROCESSES,
    on_visit: OnVisit | None = None,
) -> RatiosInTurn:
    """Visit two networks in turn in fresh processes.

    Within a process the order is A B B A A B ..., so that a drift falls on both alike. With a
    ``half_width``, as many processes again follow until the logarithm of the two networks' ratio is
    known that well (90 %), or ``max_processes`` are reached. On a busy host more follow without
    being asked for (:func:`latprof.measurement.quiet.busy.needs_more`). Raises the failure of a
    network that cannot be measured at all, or fails in so many processes that fewer than two made
    all their visits, and HostBusyError where the processes agree on nothing.
    """
    whole(2, 10_000).check("processes", processes)
    whole(1, 10_000).check("visits", visits)
    whole(2, 10_000).check("max_processes", max_processes)
    references = _OneReference(networks=(a.subject, b.subject))
    schedule = Schedule(make_measurer, PairedProtocol(), references=references, on_visit=on_visit)
    made: list[MadeVisit] = []
    started, most = 0, max(max_processes, processes) if half_width else MOST_TIMES * processes
    while True:
        more = min(processes, most - started)
        made += schedule.measure(_in_turn((a, b), range(started, started + more), visits), more)
        started += more
        found = _whole(made, visits, schedule)
        half = found.relative_half_width
        share = busy_share([visit.samples for visit in found.made if visit.samples is not None])
        is_wide = half > half_width if half_width else needs_more(started, processes, half, share)
        if not is_wide or started >= most:
            refuse_too_busy(half, share)
            return found


@dataclass
class _OneReference(KnownReferences):
    """Has both networks measured against the reference of the first visit, so that it cancels."""

    networks: tuple[Subject, ...] = ()

    def note(self, network: Subject, samples: PairedSamples) -> None:
        super().note(network, samples)
        for each in self.networks:
            self.of_network.setdefault(each, samples.reference_name)


def _in_turn(
    networks: tuple[NetworkSource, NetworkSource], processes: Iterable[int], visits: int
) -> list[PlannedVisit]:
    return [
        PlannedVisit(networks[side], side, process * visits + number)
        for process in processes
        for number in range(visits)
        for side in ((0, 1) if (process + number) % 2 == 0 else (1, 0))
    ]


def _whole(made: Sequence[MadeVisit], visits: int, schedule: Schedule) -> RatiosInTurn:
    """The processes that made all their visits; the last failure where there are fewer than 2."""
    by_process = Counter(visit.process for visit in made)
    kept = [visit for visit in made if by_process[visit.process] == 2 * visits]
    if len(kept) < 4 * visits:
        _, failure = schedule.failures[-1]
        raise failure.error()
    first, second = _ratios_of_sides(
        *([each.samples for each in kept if each.planned.label == side] for side in (0, 1))
    )
    moments = [Moment.of(each.samples, each.conditions) for each in kept]
    return RatiosInTurn(
        first.reshape(-1, visits),
        second.reshape(-1, visits),
        schedule.counts(),
        tuple(each.visit for each in kept),
        find_constant(moments),
        kept[0].samples.reference_name,
    )


def _ratios_of_sides(
    a: Sequence[PairedSamples], b: Sequence[PairedSamples]
) -> tuple[Floats, Floats]:
    """The visits' ratios of either side, over as many runs of both where they take about as long.

    A burst's later runs are faster, and networks of one latency may lie on either side of a limit.
    """
    runs = [min(counted_runs(samples)[0] for samples in side) for side in (a, b)]
    if max(runs) <= 2 * min(runs):
        ratios = visit_ratios([*a, *b])
        return ratios[: len(a)], ratios[len(a) :]
    return visit_ratios(a), visit_ratios(b)


def compare_networks(
    a: NetworkSource,
    b: NetworkSource,
    make_measurer: MakeMeasurer,
    *,
    alpha: float = 0.05,
    processes: int = PROCESSES,
    visits: int = VISITS,
) -> Comparison:
    """Measure two networks in turn and compare B with A; what was lost is in ``visits``."""
    found = measure_in_turn(a, b, make_measurer, processes=processes, visits=visits)
    return compare_in_turn((a.subject.name, b.subject.name), found, alpha)


def compare_in_turn(
    names: tuple[str, str],
    found: RatiosInTurn,
    alpha: float = 0.05,
    host: HostReport | None = None,
) -> Comparison:
    """Compare two networks, A and B, that were measured in turn; with their milliseconds.

    Their intervals are wider where the constant, or ``host``, says that it was busy; that of the
    effect where a memory hog was: it slows the one network more than the other.
    """
    host = host or HostReport()
    sides = [
        _side(name, ratios, found.constant, host)
        for name, ratios in zip(names, (found.a, found.b), strict=True)
    ]
    return replace(
        compare_pairs(
            f"{names[1]} against {names[0]}", found.a, found.b, alpha, doubt=host.memory_doubt
        ),
        visits=found.visits,
        a=sides[0],
        b=sides[1],
    )


def _side(name: str, ratios: Floats, constant: Constant, host: HostReport) -> Side:
    """One network's latency: the geometric mean over the processes, as the effect is of them."""
    processes = np.exp(np.log(ratios).mean(axis=1)) * constant.reference_ms
    latency_ms = float(np.exp(np.log(processes).mean()))
    half = constant.widened(host.widened(relative_half_width(processes)))
    low, high = interval_around(latency_ms, half)
    return Side(name, latency_ms, float(low), float(high))


@dataclass(frozen=True, repr=False)
class StoreComparison(ShortRepr):
    """Store B against store A, network by network.

    ``missing`` names the networks of A without usable visits in B; ``in_milliseconds`` says that
    the targets differ, so that milliseconds were compared and not ratios to one reference.
    """

    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]
    in_milliseconds: bool

    def _repr_html_(self) -> str:
        return comparisons_html(self.comparisons, self.missing)


def compare_stores(
    a: TargetLabels,
    b: TargetLabels,
    *,
    alpha: float = 0.05,
    ignore: Collection[str] = (),
) -> StoreComparison:
    """Compare every network that two stores have in common, store B with store A.

    A network is the same where its architecture or its file's content is; else a model file is held
    against the only one of the same name. Stores of one target are compared by the ratios to their
    reference, so that what each calls a millisecond plays no part.

    Parameters
    ----------
    a, b : TargetLabels
    alpha : float
        Rate of false verdicts over all networks together (Holm's correction).
    ignore : collection of str
        Fields of the targets that may differ, for example ``{"runtime_version"}``.

    Raises
    ------
    TargetMismatchError
        When the targets differ in other fields, or in their reference network.
    NotEnoughDataError
        When the stores have no network in common that two processes of either measured.
    """
    first, second = a.target.to_dict(), b.target.to_dict()
    unknown = sorted(set(ignore) - set(first))
    if unknown:
        raise InvalidValueError(
            f"targets have no field {', '.join(unknown)}",
            field="ignore",
            expected=", ".join(first),
            hint=did_you_mean(unknown[0], first),
        )
    different = [name for name in first if first[name] != second[name]]
    refused = [
        f"{name} {first[name]!r} against {second[name]!r}"
        for name in different
        if name not in ignore
    ]
    if a.reference != b.reference:
        refused.append(f"reference {a.reference!r} against {b.reference!r}")
    if refused:
        raise TargetMismatchError(
            "the stores' targets differ",
            got="; ".join(refused),
            hint="compare like with like, or name what may differ with --ignore",
        )
    groups = [ratios_by_process(side, in_milliseconds=bool(different)) for side in (a, b)]
    pairs, missing = _matched(*groups)
    if not pairs:
        raise NotEnoughDataError(
            "the stores have no network in common that two processes measured in each"
        )
    sides = [sides_of(each) for each in (a, b)]
    found = [
        replace(
            compare_groups(one.name, groups[0][one], groups[1][other], alpha),
            a=sides[0][one],
            b=sides[1][other],
        )
        for one, other in pairs
    ]
    return StoreComparison(tuple(holm(found, alpha)), missing, bool(different))


def sides_of(measured: TargetLabels) -> dict[Subject, Side]:
    """Each network's label, as every other command prints it."""
    labels = measured.labels
    columns = ["kind", "subject", "name", "space", "latency_ms", "low_ms", "high_ms"]
    rows = labels.loc[labels["label"] == 0, columns].itertuples(index=False, name=None)
    return {
        Subject(kind, key, name, space): Side(name, latency_ms, low_ms, high_ms)
        for kind, key, name, space, latency_ms, low_ms, high_ms in rows
    }


def ratios_by_process(
    measured: TargetLabels, *, in_milliseconds: bool = False
) -> dict[Subject, Floats]:
    """Each network's undisturbed visits, one value a process, of at least two processes.

    Disturbed visits count only where a network has too few others. What a process does to all its
    networks stays in: two stores differ by it, so it must be in the evidence.
    """
    scale = measured.reference_ms if in_milliseconds else 1.0
    visits = measured.visits
    made = visits[visits["failure_code"].isna()]
    network = ["kind", "space", "subject", "name"]
    clean = made["process"].where(~made["disturbed"])
    processes = clean.groupby([made[name] for name in network]).transform("nunique")
    usable = made[~made["disturbed"] | (processes < 2)]
    logarithms = np.log(usable["ratio"]).groupby([usable[name] for name in (*network, "process")])
    values = np.exp(logarithms.mean()) * scale
    return {
        Subject(str(kind), str(key), str(name), str(space)): group.to_numpy()
        for (kind, space, key, name), group in values.groupby(level=[0, 1, 2, 3])
        if len(group) > 1
    }


def _matched(
    a: Mapping[Subject, Floats], b: Mapping[Subject, Floats]
) -> tuple[list[tuple[Subject, Subject]], tuple[str, ...]]:
    """Pairs of the same network in both, and the names of those that only ``a`` has."""
    names = Counter(subject.name for subject in a if subject.kind == "model")
    namesakes = defaultdict(list)
    for subject in b:
        if subject.kind == "model" and subject not in a:
            namesakes[subject.name].append(subject)
    pairs, missing = [], []
    for subject in a:
        if subject in b:
            pairs.append((subject, subject))
        elif subject.kind == "model" and names[subject.name] == len(namesakes[subject.name]) == 1:
            pairs.append((subject, namesakes[subject.name][0]))
        else:
            missing.append(subject.name)
    return pairs, tuple(missing)
