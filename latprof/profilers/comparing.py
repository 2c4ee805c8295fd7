"""Two networks measured in turn, and two stores side by side, for a verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.errors import (
    InvalidValueError,
    NotEnoughDataError,
    RuntimeFailedError,
    TargetMismatchError,
)
from latprof.measurement.comparison import (
    Comparison,
    compare_groups,
    compare_pairs,
    comparisons_html,
    holm,
)
from latprof.measurement.records import PairedProtocol, PairedSamples
from latprof.measurement.statistics import visit_ratios
from latprof.profilers.visits.measurer import undisturbed_visit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from latprof.measurement.labels import TargetLabels
    from latprof.profilers.visits.measurer import Measurer
    from latprof.profilers.visits.network_source import Network

Floats: TypeAlias = NDArray[np.float64]

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
    found: tuple[list[PairedSamples], list[PairedSamples]] = ([], [])
    for process in range(processes):
        with make_measurer() as measurer:
            for number in range(visits):
                order = (0, 1) if (process + number) % 2 == 0 else (1, 0)
                for side in order:
                    found[side].append(_samples(measurer, (a, b)[side]))
    first, second = (visit_ratios(samples).reshape(processes, visits) for samples in found)
    return first.tolist(), second.tolist()


def _samples(measurer: Measurer, network: Network) -> PairedSamples:
    visit = undisturbed_visit(measurer, network, PairedProtocol())
    if visit.samples is None:
        assert visit.failure is not None
        raise RuntimeFailedError(visit.failure.message)
    return visit.samples


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


@dataclass(frozen=True)
class StoreComparison:
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
            f"targets have no field {', '.join(unknown)}", expected=", ".join(first)
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
    groups = [_by_process(side, in_milliseconds=bool(different)) for side in (a, b)]
    pairs, missing = _matched(*groups)
    if not pairs:
        raise NotEnoughDataError("the stores have no network in common")
    found = [
        compare_groups(one[-1], groups[0][one], groups[1][other], alpha) for one, other in pairs
    ]
    return StoreComparison(tuple(holm(found, alpha)), missing, bool(different))


#: Kind, space, key and name of a network.
_NetworkKey: TypeAlias = tuple[str, str, str, str]


def _by_process(measured: TargetLabels, *, in_milliseconds: bool) -> dict[_NetworkKey, Floats]:
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
        (str(kind), str(space), str(key), str(name)): group.to_numpy()
        for (kind, space, key, name), group in values.groupby(level=[0, 1, 2, 3])
        if len(group) > 1
    }


def _matched(
    a: Mapping[_NetworkKey, Floats], b: Mapping[_NetworkKey, Floats]
) -> tuple[list[tuple[_NetworkKey, _NetworkKey]], tuple[str, ...]]:
    """Pairs of the same network in both, and the names of those that only ``a`` has."""
    same = {key[:3]: key for key in b}
    ours = {key[:3] for key in a}
    names = Counter(key[3] for key in a if key[0] == "model")
    namesakes = defaultdict(list)
    for key in b:
        if key[0] == "model" and key[:3] not in ours:
            namesakes[key[3]].append(key)
    pairs, missing = [], []
    for key in a:
        if key[:3] in same:
            pairs.append((key, same[key[:3]]))
        elif key[0] == "model" and names[key[3]] == len(namesakes[key[3]]) == 1:
            pairs.append((key, namesakes[key[3]][0]))
        else:
            missing.append(key[3])
    return pairs, tuple(missing)
