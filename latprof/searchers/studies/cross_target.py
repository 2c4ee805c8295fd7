"""Each target's own network, and what it takes on the others (ProxylessNAS, table 4).

A network that was searched for one device is seldom the fastest on another. Networks are compared
at one accuracy: for each target the fastest network that reaches it is searched for, and then every
network's latency is given on every target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError
from latprof.searchers.base import Evaluation, SearchProblem, accuracies_of

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, Choices
    from latprof.predictors.pack.pack import Pack
    from latprof.searchers.base import AccuracySource, LatencySource, Searcher

Floats: TypeAlias = NDArray[np.float64]

#: Networks within so many points of one accuracy count as equally accurate.
SAME_ACCURACY = 0.2
#: More than the least accuracy and this makes no better parent; of equal ones the faster is.
_ENOUGH = 1.0
_TIE = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class CrossTarget(ShortRepr):
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
    known: Iterable[Evaluation] = (),
) -> Evaluation:
    """Find the fastest network of at least this accuracy with a searcher under limits.

    Whenever a network is accurate enough, its latency becomes the limit: from then on only faster
    ones are evaluated.

    Parameters
    ----------
    searcher : Searcher
        One that evaluates networks: evolution, say.
    problem : SearchProblem
        Its limit holds too; infinity for none.
    accuracy : float
        Least accuracy, in the problem's units.
    budget : int
        Different networks evaluated.
    seed : int
    known : iterable of Evaluation
        Networks whose accuracy is known, under this problem's latencies; they cost nothing.

    Raises
    ------
    InvalidValueError
        Where no evaluated network is accurate enough.
    """
    trail = {step.architecture.choices: step for step in known}
    tightening = _Tightening(
        problem.latency,
        problem.accuracy,
        problem.limit_ms,
        problem.upper,
        problem.at_once,
        trail,
        accuracy,
    )
    try:
        for _ in searcher.search(tightening, budget, seed=seed):
            pass
    except InvalidValueError as error:
        # Nothing is faster, or no network keeps the problem's own limit.
        if not trail or error.field == "accuracy":
            raise
    best = tightening.best
    if best is None:
        most = max((step.accuracy for step in trail.values()), default=float("nan"))
        raise InvalidValueError(
            f"none of {len(trail)} networks reaches the accuracy",
            field="accuracy",
            expected=f"at least {accuracy:g}",
            got=f"{most:g} at most",
        )
    return best


@dataclass(frozen=True, eq=False)
class _Tightening(SearchProblem):
    """A problem whose limit falls with every network that is accurate enough and faster."""

    trail: dict[tuple[int, ...], Evaluation] = field(default_factory=dict)
    least: float = -math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        asked = self.accuracy
        object.__setattr__(self, "accuracy", lambda found: self._scores(asked, found))

    @property
    def best(self) -> Evaluation | None:
        """The fastest network that is accurate enough and keeps the limit; or None."""
        enough = (
            step
            for step in self.trail.values()
            if step.accuracy >= self.least and step.bound_ms <= self.limit_ms
        )
        return min(enough, key=lambda step: (step.bound_ms, -step.accuracy), default=None)

    def keeps_limit(self, choices: Choices) -> NDArray[np.bool_]:
        best = self.best
        if best is None:
            return super().keeps_limit(choices)
        faster: NDArray[np.bool_] = self.bound_ms(choices) < best.bound_ms
        return faster

    def _scores(self, asked: AccuracySource, architectures: Sequence[Architecture]) -> Floats:
        """Accuracies that count: above the least one by more than a point is worth no more."""
        wanted = [a for a in architectures if a.choices not in self.trail]
        values = accuracies_of(asked, wanted) if wanted else []
        choices = self.space.choices(architectures)
        latency, bound = self.latency_ms(choices), self.bound_ms(choices)
        told = dict(zip((a.choices for a in wanted), values, strict=True))
        for architecture, *numbers in zip(architectures, latency, bound, strict=True):
            if architecture.choices in told:
                value = told[architecture.choices]
                step = Evaluation(architecture, value, *map(float, numbers))
                self.trail[architecture.choices] = step
        found = np.array([self.trail[a.choices].accuracy for a in architectures])
        scores: Floats = np.minimum(found, self.least + _ENOUGH) - _TIE * bound
        return scores


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


def search_targets(
    searcher: Searcher,
    problems: Mapping[str, SearchProblem],
    accuracy: float,
    budget: int,
    *,
    seed: int = 0,
    known: Iterable[tuple[Architecture, float]] = (),
) -> dict[str, Evaluation]:
    """The fastest network of at least this accuracy on each target.

    Accuracies are the same on every target: what was evaluated for one is a candidate for all.

    Parameters
    ----------
    searcher, accuracy, budget, seed
        As of :func:`fastest_at_accuracy`; the budget is that of each target.
    problems : mapping of str to SearchProblem
        By target; with one accuracy source.
    known : iterable of (Architecture, float)
        Networks whose accuracy is known.

    Raises
    ------
    InvalidValueError
        Where no evaluated network is accurate enough.
    """
    shared = {architecture.choices: value for architecture, value in known}
    for problem in problems.values():
        told = _under(problem, shared)
        recording = replace(problem, accuracy=_recorded(problem.accuracy, shared))
        fastest_at_accuracy(searcher, recording, accuracy, budget, seed=seed, known=told)
    found = {}
    for target, problem in problems.items():
        steps = [step for step in _under(problem, shared) if step.accuracy >= accuracy]
        found[target] = min(steps, key=lambda step: (step.bound_ms, -step.accuracy))
    return found


def _recorded(source: AccuracySource, shared: dict[tuple[int, ...], float]) -> AccuracySource:
    """A source whose answers are kept."""

    def ask(architectures: Sequence[Architecture]) -> list[float]:
        values = accuracies_of(source, architectures)
        shared.update(zip((a.choices for a in architectures), values, strict=True))
        return values

    return ask


def _under(problem: SearchProblem, shared: Mapping[tuple[int, ...], float]) -> list[Evaluation]:
    """Known networks under a problem's latencies."""
    if not shared:
        return []
    choices = np.array(list(shared), dtype=np.uint8)
    numbers = zip(
        problem.space.architectures(choices),
        shared.values(),
        problem.latency_ms(choices).tolist(),
        problem.bound_ms(choices).tolist(),
        strict=True,
    )
    steps = [Evaluation(*row) for row in numbers]
    return [step for step in steps if step.bound_ms <= problem.limit_ms]


def search_each_target(
    searcher: Searcher,
    problem: SearchProblem,
    packs: Sequence[Pack],
    best: Evaluation,
    budget: int,
    *,
    seed: int = 0,
    measure_ms: Callable[[Pack, Architecture], float] | None = None,
) -> CrossTarget:
    """Find each pack's fastest network of one accuracy, and report all networks on all targets.

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
    measure_ms : callable, optional
        Measures an architecture on a pack's target, in milliseconds; in place of predictions.
    """
    names = _names(packs)
    problems = {
        name: replace(
            problem,
            latency=pack.predictor,
            limit_ms=math.inf,
            upper=problem.upper if pack.predictor.calibration_ is not None else None,
        )
        for name, pack in zip(names, packs, strict=True)
    }
    known = [(best.architecture, best.accuracy)]
    least = best.accuracy - SAME_ACCURACY
    searched = search_targets(searcher, problems, least, budget, seed=seed, known=known)
    latency = {name: each.latency for name, each in problems.items()}
    reached = [found.accuracy for found in searched.values()]
    table = cross_target(searched, latency, reached, source="predicted")
    if measure_ms is None:
        return table
    rows = [[measure_ms(pack, found) for pack in packs] for found in table.architectures]
    return replace(table, latency_ms=np.array(rows), source="measured")


def _names(packs: Sequence[Pack]) -> list[str]:
    """A different name for the target of each pack."""
    names: list[str] = []
    for number, pack in enumerate(packs, start=1):
        target = pack.target
        name = f"target {number}"
        if target is not None:
            threads = "1 thread" if target.threads == 1 else f"{target.threads} threads"
            name = f"{target.spelling} batch {target.batch_size}, {threads}"
        names.append(name if name not in names else f"{name} ({number})")
    return names
