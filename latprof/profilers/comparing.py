"""Two networks measured in turn, and two stores side by side, for a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.errors import (
    InvalidValueError,
    NotEnoughDataError,
    RuntimeFailedError,
    TargetMismatchError,
)
from latprof.measurement.comparison import Comparison, compare_groups, compare_pairs, holm
from latprof.measurement.disturbance import disturbances
from latprof.measurement.records import PairedProtocol
from latprof.measurement.frames import visits_frame
from latprof.measurement.statistics import visit_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import pandas as pd

    from latprof.measurement.store import Store, StoredTarget
    from latprof.profilers.bench import Measurer
    from latprof.profilers.networks import Network

#: Default effort: measuring processes, and visits to each network in each of them.
PROCESSES = 8
VISITS = 3


def measure_in_turn(
    a: Network,
    b: Network,
    make_measurer: Callable[[], Measurer],
    *,
    processes: int = PROCESSES,
    visits: int = VISITS,
) -> tuple[list[list[float]], list[list[float]]]:
    """Visit two networks in turn in fresh processes; return their ratios, (processes, visits) each.

    Within a process the order is A B B A A B ..., so that a drift falls on both alike. Raises
    RuntimeFailedError when a visit fails.
    """
    if processes < 2 or visits < 1:
        raise InvalidValueError("a comparison needs at least 2 processes and 1 visit")
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    for process in range(processes):
        rows: tuple[list[float], list[float]] = ([], [])
        with make_measurer() as measurer:
            for number in range(visits):
                order = (0, 1) if (process + number) % 2 == 0 else (1, 0)
                for side in order:
                    rows[side].append(_ratio(measurer, (a, b)[side]))
        for side in (0, 1):
            found[side].append(rows[side])
    return found


def _ratio(measurer: Measurer, network: Network) -> float:
    """One visit's ratio; a disturbed visit is done again, the last of three counts in any case."""
    for left in reversed(range(3)):
        visit = measurer.visit(network)
        if visit.samples is None:
            assert visit.failure is not None
            raise RuntimeFailedError(visit.failure.message)
        if not left or not disturbances(visit.samples, visit.conditions, PairedProtocol()):
            break
    assert visit.samples is not None
    return visit_ratio(visit.samples)


def compare_networks(
    a: Network,
    b: Network,
    make_measurer: Callable[[], Measurer],
    *,
    alpha: float = 0.05,
    processes: int = PROCESSES,
    visits: int = VISITS,
) -> Comparison:
    """Measure two networks in turn and compare B with A."""
    ratios = measure_in_turn(a, b, make_measurer, processes=processes, visits=visits)
    return compare_pairs(f"{b.subject.name} against {a.subject.name}", *ratios, alpha)


def compare_stores(
    a: tuple[Store, StoredTarget],
    b: tuple[Store, StoredTarget],
    *,
    alpha: float = 0.05,
    ignore: Collection[str] = (),
) -> list[Comparison]:
    """Compare every network that two stores have in common, store B with store A.

    Parameters
    ----------
    a, b : (Store, StoredTarget)
    alpha : float
        Rate of false verdicts over all networks together (Holm's correction).
    ignore : collection of str
        Fields of the targets that may differ, for example ``{"runtime_version"}``.

    Raises
    ------
    TargetMismatchError
        When the targets differ in other fields.
    NotEnoughDataError
        When the stores have no network in common.
    """
    first, second = a[1].target.to_dict(), b[1].target.to_dict()
    unknown = sorted(set(ignore) - set(first))
    if unknown:
        raise InvalidValueError(
            f"targets have no field {', '.join(unknown)}", expected=", ".join(first)
        )
    different = [name for name in first if first[name] != second[name] and name not in ignore]
    if different:
        raise TargetMismatchError(
            "the stores' targets differ",
            got="; ".join(f"{n} {first[n]!r} against {second[n]!r}" for n in different),
            hint="compare like with like, or name what may differ with --ignore",
        )
    groups = [_visit_latencies(store, stored) for store, stored in (a, b)]
    common = [key for key in groups[0] if key in groups[1]]
    if not common:
        raise NotEnoughDataError("the stores have no network in common")
    return holm(
        [compare_groups(key[2], groups[0][key], groups[1][key], alpha) for key in common], alpha
    )


def _visit_latencies(
    store: Store, stored: StoredTarget
) -> dict[tuple[str, str, str], pd.Series[float]]:
    """Milliseconds of each network's undisturbed visits, at least two."""
    reference_ms = stored.reference_ms or store.provisional_reference_ms(stored.target)
    visits = visits_frame(store, stored.target)
    usable = visits[visits["failure_code"].isna() & ~visits["disturbed"]]
    return {
        (str(kind), str(space), str(name)): group * reference_ms
        for (kind, space, name), group in usable.groupby(["kind", "space", "name"])["ratio"]
        if len(group) > 1
    }
