"""Each target's own network, and what it takes on the others (ProxylessNAS, table 4).

A network that was searched for one device is seldom the fastest on another. Networks are compared
at one accuracy: for each target the fastest network that reaches it is sought, and then every
network's latency is told on every target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.errors import InvalidValueError
from latprof.searchers.base import Evaluation

if TYPE_CHECKING:
    from latprof.datasets.space import Architecture
    from latprof.predictors.pack import Pack
    from latprof.searchers.base import LatencySource, Searcher, SearchProblem

Floats: TypeAlias = NDArray[np.float64]

#: Networks within so many points of one accuracy count as equally accurate.
SAME_ACCURACY = 0.2


@dataclass(frozen=True, eq=False)
class CrossTarget:
    """k networks, each searched for one of k targets, and their latencies on all of them.

    Parameters
    ----------
    targets : tuple of str
        Names; row and column i belong to target i.
    architectures : tuple of Architecture
        Row i was searched for target i.
    accuracy : array of shape (k,)
        In percent.
    latency_ms : array of shape (k, k)
        Of the network of row i on the target of column j, in milliseconds.
    source : str
        What the milliseconds are: ``"measured"`` or ``"predicted"``.
    """

    targets: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    accuracy: Floats
    latency_ms: Floats
    source: str = "measured"

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain JSON values."""
        return {
            "targets": list(self.targets),
            "architectures": [str(architecture) for architecture in self.architectures],
            "accuracy": self.accuracy.tolist(),
            "latency_ms": self.latency_ms.tolist(),
            "source": self.source,
            "own_is_fastest": self.own_is_fastest.tolist(),
        }

    @property
    def own_is_fastest(self) -> NDArray[np.bool_]:
        """Whether no other row's network is faster on target j than its own, shape (k,)."""
        own = np.diagonal(self.latency_ms)
        fastest: NDArray[np.bool_] = own <= self.latency_ms.min(axis=0)
        return fastest


def fastest_at_accuracy(
    searcher: Searcher,
    problem: SearchProblem,
    accuracy: float,
    budget: int,
    *,
    seed: int = 0,
    rounds: int = 8,
    known: Iterable[Evaluation] = (),
) -> Evaluation:
    """Find the fastest network of at least this accuracy with a searcher for limits.

    Each round searches under a limit just below the fastest network so far that is accurate enough;
    what was evaluated before is not asked for again, and no round makes more than its share of the
    budget.

    Parameters
    ----------
    searcher : Searcher
    problem : SearchProblem
        Its limit is where the first round begins; infinity for none.
    accuracy : float
        Least accuracy, in the problem's units.
    budget : int
        Different networks evaluated, in all rounds together.
    seed : int
    rounds : int
        At most so many limits.
    known : iterable of Evaluation
        Networks whose accuracy is known, under this problem's latencies; they cost nothing.

    Raises
    ------
    InvalidValueError
        Where no evaluated network is accurate enough.
    """
    trail = {step.architecture.choices: step for step in known}
    budget += len(trail)
    best = _fastest(trail, accuracy)
    for number in range(rounds):
        left = budget - len(trail)
        share = max(1, left // (rounds - number))
        if left < 1:
            break
        found = _steps_below(searcher, problem, best, share, seed + number, trail)
        if not found:
            break
        trail |= {step.architecture.choices: step for step in found}
        best = _fastest(trail, accuracy)
    if best is None:
        most = max((step.accuracy for step in trail.values()), default=float("nan"))
        raise InvalidValueError(
            f"none of {len(trail)} networks reaches the accuracy",
            field="accuracy",
            expected=f"at least {accuracy:g}",
            got=f"{most:g} at most",
        )
    return best


def _fastest(trail: Mapping[tuple[int, ...], Evaluation], accuracy: float) -> Evaluation | None:
    enough = [step for step in trail.values() if step.accuracy >= accuracy]
    return min(enough, key=lambda step: (step.bound_ms, -step.accuracy), default=None)


def _steps_below(
    searcher: Searcher,
    problem: SearchProblem,
    best: Evaluation | None,
    share: int,
    seed: int,
    trail: Mapping[tuple[int, ...], Evaluation],
) -> list[Evaluation]:
    """New evaluations under a limit just below ``best``; none where nothing can be below."""
    limited = problem
    if best is not None:
        limited = replace(problem, limit_ms=float(np.nextafter(best.bound_ms, 0.0)))
    new: dict[tuple[int, ...], Evaluation] = {}
    budget = share
    try:
        # A search counts known networks too: the same one goes on until enough were new.
        while len(new) < share and budget <= len(trail) + share:
            known = (*trail.values(), *new.values())
            steps = list(searcher.search(limited, budget, seed=seed, trail=known))
            found = {step.architecture.choices: step for step in steps}
            new |= {choices: step for choices, step in found.items() if choices not in trail}
            if len(steps) < budget:
                break
            budget += share - len(new)
    except InvalidValueError as error:
        if error.field == "accuracy":
            raise
        # No architecture keeps the limit: nothing is faster.
    return list(new.values())


def cross_target(
    searched: Mapping[str, Evaluation | Architecture],
    latency: Mapping[str, LatencySource],
    accuracy: Sequence[float],
    *,
    source: str = "measured",
) -> CrossTarget:
    """The table of networks, each searched for one target, on all targets.

    Parameters
    ----------
    searched : mapping of str to Evaluation or Architecture
        The network of each target.
    latency : mapping of str to LatencySource
        Of the same targets: what the table's milliseconds come from.
    accuracy : sequence of float
        Of the networks, in the order of ``searched``.
    source : str
        What the milliseconds are called.

    Raises
    ------
    InvalidValueError
        Where the targets differ.
    """
    targets = tuple(searched)
    if set(targets) != set(latency) or len(accuracy) != len(targets) or not targets:
        raise InvalidValueError(
            "networks, latencies and accuracies are of different targets",
            expected=", ".join(targets),
            got=", ".join(latency),
        )
    architectures = tuple(
        found.architecture if isinstance(found, Evaluation) else found
        for found in searched.values()
    )
    columns = [latency[target].predict(list(architectures)) for target in targets]
    return CrossTarget(
        targets, architectures, np.asarray(accuracy, dtype=np.float64), np.stack(columns, 1), source
    )


def search_each_target(
    searcher: Searcher,
    problem: SearchProblem,
    packs: Sequence[Pack],
    best: Evaluation,
    budget: int,
    *,
    seed: int = 0,
    measured: bool = False,
    other_target: bool = False,
) -> CrossTarget:
    """Find each pack's fastest network of one accuracy, and tell all networks on all targets.

    Parameters
    ----------
    searcher : Searcher
    problem : SearchProblem
        Its accuracy source and ``upper`` are used; the latencies are those of the packs.
    packs : sequence of Pack
        One a target, of one search space.
    best : Evaluation
        Networks within :data:`SAME_ACCURACY` of its accuracy count as equally accurate.
    budget : int
        Networks evaluated for each target.
    seed : int
    measured : bool
        Measure each network on each target, which must be this host's, in place of predictions.
    other_target : bool
        As of :func:`~latprof.searchers.verification.verify`.
    """
    names = _names(packs)
    searched: dict[str, Evaluation] = {}
    for name, pack in zip(names, packs, strict=True):
        upper = problem.upper if pack.predictor.calibration_ is not None else None
        own = replace(problem, latency=pack.predictor, limit_ms=np.inf, upper=upper)
        row = problem.space.choices([best.architecture])
        bounds = float(own.latency_ms(row)[0]), float(own.bound_ms(row)[0])
        start = Evaluation(best.architecture, best.accuracy, *bounds)
        least = best.accuracy - SAME_ACCURACY
        searched[name] = fastest_at_accuracy(searcher, own, least, budget, seed=seed, known=[start])
    sources: dict[str, LatencySource] = {
        name: pack.predictor for name, pack in zip(names, packs, strict=True)
    }
    reached = [found.accuracy for found in searched.values()]
    table = cross_target(searched, sources, reached, source="predicted")
    if not measured:
        return table
    from latprof.searchers.verification import verify

    latency = [
        [verify(p, a, other_target=other_target).measured_ms for p in packs]
        for a in table.architectures
    ]
    return replace(table, latency_ms=np.array(latency), source="measured")


def _names(packs: Sequence[Pack]) -> list[str]:
    """Names of the packs' targets that tell them apart."""
    names: list[str] = []
    for number, pack in enumerate(packs, start=1):
        target = pack.target
        name = f"target {number}"
        if target is not None:
            name = f"{target.spelling} batch {target.batch_size}, {target.threads} threads"
        names.append(name if name not in names else f"{name} ({number})")
    return names
