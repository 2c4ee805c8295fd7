"""The contract of a searcher: what it is given, what it yields, and how it resumes."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.common.limits import ABOVE_0, Limit, check_limits, check_seed, whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import InvalidValueError, shown

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, Choices, SearchSpace

Floats: TypeAlias = NDArray[np.float64]

#: From n architectures to n accuracies, larger is better; every accuracy source is one of these.
AccuracySource: TypeAlias = Callable[[Sequence["Architecture"]], ArrayLike]

#: A searcher that proposes nothing new so many times in a row has come to its end.
_PATIENCE = 100

#: Of the draws: those of a seed alone are the networks that a collection with this seed measures.
_STREAM = 5

#: Networks or epochs of one search: all of them are kept in memory.
MOST_STEPS = 10_000_000

_LIMITS = {
    "limit_ms": ABOVE_0,
    "upper": Limit(0.5, 1, open_high=True, optional=True),
    "at_once": Limit(1, MOST_STEPS, whole=True, optional=True),
}


class LatencySource(Protocol):
    """What tells latencies: every fitted predictor, and a table of measurements."""

    @property
    def space(self) -> SearchSpace:
        """The space of the architectures it knows."""
        ...

    def predict(self, architectures: Any, *, upper: float | None = None) -> Floats:
        """Latencies in milliseconds, shape (n,); with ``upper`` what they stay below so often."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class SearchProblem(ShortRepr):
    """What is searched for: the most accurate network whose latency keeps a limit.

    Parameters
    ----------
    latency : LatencySource
        A fitted predictor, or a table; brings the space.
    accuracy : AccuracySource
        From a sequence of n architectures to n accuracies; larger is better.
    limit_ms : float
        Largest latency in milliseconds; infinity for a front without a limit.
    upper : float, optional
        A share such as 0.95: it is the bound that measurements stay below this often which must
        keep the limit, not the prediction. None where latencies are exact, or the source has no
        calibration.
    at_once : int, optional
        Most networks that the accuracy source is asked about in one call; with 1 each answer is
        yielded, and can be kept, before the next network is asked about. None: as many as the
        method proposes together.

    Raises
    ------
    InvalidValueError
        For a limit that is not above 0, or an ``upper`` that is no share from a half.
    """

    latency: LatencySource
    accuracy: AccuracySource
    limit_ms: float = math.inf
    upper: float | None = None
    at_once: int | None = None

    def __post_init__(self) -> None:
        check_limits(self, _LIMITS)

    @property
    def space(self) -> SearchSpace:
        """The space that is searched."""
        return self.latency.space

    def latency_ms(self, choices: Choices) -> Floats:
        """Predicted latencies of n architectures, shape (n,)."""
        return self.latency.predict(choices)

    def bound_ms(self, choices: Choices) -> Floats:
        """What must keep the limit, shape (n,): the upper bounds, or the predictions.

        Infinite for what the space does not allow.
        """
        predict = self.latency.predict
        bound = predict(choices) if self.upper is None else predict(choices, upper=self.upper)
        if not self.space.is_constrained:
            return bound
        return np.where(self.space.allowed(choices), bound, np.inf)

    def keeps_limit(self, choices: Choices) -> NDArray[np.bool_]:
        """Whether each of n architectures keeps the limit; asks for no accuracy."""
        if math.isinf(self.limit_ms):
            return self.space.allowed(choices)
        return self.bound_ms(choices) <= self.limit_ms


@dataclass(frozen=True)
class Evaluation:
    """One step of a trail: an architecture whose accuracy was asked for.

    ``bound_ms`` is what must keep the limit (the prediction where no bound was asked for).
    """

    architecture: Architecture
    accuracy: float
    latency_ms: float
    bound_ms: float


@dataclass(frozen=True, eq=False, repr=False)
class Scores(ShortRepr):
    """What a searcher learns about the n architectures it proposed; arrays of shape (n,)."""

    choices: Choices
    accuracy: Floats
    latency_ms: Floats
    bound_ms: Floats


#: A searcher's side of the conversation: it yields choices, shape (n, decisions), and is sent their
#: scores, shape (n,) each, networks that were evaluated before included.
Proposals: TypeAlias = Generator["Choices", Scores, None]


@dataclass(frozen=True, repr=False)
class Found(ShortRepr):
    """What a search came to: the best architecture that keeps the limit, and the whole trail.

    ``best`` is None where no evaluated architecture keeps the limit.
    """

    best: Evaluation | None
    trail: tuple[Evaluation, ...]

    @property
    def architecture(self) -> Architecture:
        """The best architecture; raises InvalidValueError where none keeps the limit."""
        if self.best is None:
            raise InvalidValueError(
                f"none of {len(self.trail)} evaluated architectures keeps the limit",
                hint="raise the limit, or the budget",
            )
        return self.best.architecture


class Searcher(ABC):
    """Chooses architectures: one contract for every method.

    Subclasses set :attr:`name` and implement :meth:`search`; those that learn from accuracies alone
    subclass :class:`EvaluatingSearcher`. :class:`latprof.testing.SearcherContract` and
    :class:`latprof.testing.EvaluatingSearcherContract` check what follows.

    Threads: a searcher may be used for several searches one after another; two searches at the same
    time need two searchers. The problem's sources are called by the thread that asks for steps.

    Ownership: ``__init__`` stores options and checks their limits; a search leaves the problem and
    the trail that it was given as they are. An iterator may be dropped after any step.

    Errors: InvalidValueError for options, budgets and seeds outside their limits, for a limit that
    nothing keeps, and for accuracies that are no finite numbers; MissingDependencyError where a
    library of the method is not installed. What a source raises is passed on as it is.

    ``search`` yields each step as it is made, so that it can be shown, stored and interrupted. The
    same arguments give the same steps; given the trail of an interrupted search, it resumes
    there and asks for no accuracy twice.
    """

    #: The name that the command line takes.
    name: ClassVar[str] = ""
    #: Whether it trains a supernet on images and follows gradients: its budget counts epochs, and
    #: its first argument is a task (:class:`~latprof.searchers.supernets.image_tasks.ImageTask`).
    gradient: ClassVar[bool] = False
    #: Limits of the options, by name; a dataclass of options has them checked as it is made.
    limits: ClassVar[Mapping[str, Limit]] = MappingProxyType({})

    def __post_init__(self) -> None:
        check_limits(self, self.limits)

    @abstractmethod
    def search(
        self,
        problem: SearchProblem,
        budget: int,
        *,
        seed: int = 0,
        trail: Iterable[Evaluation] = (),
    ) -> Iterator[Evaluation]:
        """Yield the evaluations one by one, those of ``trail`` first.

        Parameters
        ----------
        problem : SearchProblem
        budget : int
            How many different networks may be evaluated; for methods that train one network with
            all candidates in it, how many epochs.
        seed : int
        trail : iterable of Evaluation
            The steps of an earlier call with the same arguments.

        Raises
        ------
        InvalidValueError
            For a budget below 1, and where no architecture keeps the limit as far as the method
            can tell.
        """

    def run(
        self,
        problem: SearchProblem,
        budget: int,
        *,
        seed: int = 0,
        trail: Iterable[Evaluation] = (),
    ) -> Found:
        """Search to the end; arguments and errors as of :meth:`search`."""
        steps = tuple(self.search(problem, budget, seed=seed, trail=trail))
        return Found(self.answer(problem, steps), steps)

    def answer(self, problem: SearchProblem, trail: Iterable[Evaluation]) -> Evaluation | None:
        """What a trail comes to: here the best evaluation that keeps the limit, or None."""
        return best_of(trail, problem.limit_ms)


class EvaluatingSearcher(ShortRepr, Searcher):
    """A searcher that learns from accuracies alone: it proposes, and is told.

    Subclasses implement :meth:`propose`. Budget, repeated networks, trail and resuming are here:
    a network that was proposed before costs nothing and is told again. One that the space does not
    allow is not evaluated, but told as the least accurate, above every limit.
    """

    @abstractmethod
    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        """Yield batches of choices, shape (n, decisions), and be sent their :class:`Scores`.

        Ends when the method is done; it is closed when the budget is spent. A batch may be
        evaluated in part then.
        """

    def search(
        self,
        problem: SearchProblem,
        budget: int,
        *,
        seed: int = 0,
        trail: Iterable[Evaluation] = (),
    ) -> Iterator[Evaluation]:
        check_budget(budget)
        # Replayed: the method is deterministic, so what it asks first is what the trail holds.
        known = {step.architecture.choices: step for step in trail}
        told: dict[tuple[int, ...], Evaluation] = {}
        proposals = self.propose(problem, np.random.default_rng([check_seed(seed), _STREAM]))
        most = min(budget, problem.space.num_architectures)
        idle = 0
        try:
            batch = next(proposals)
            while True:
                choices = problem.space.canonical(problem.space.choices(batch))
                rows = list(map(tuple, choices.tolist()))
                allowed = itertools.compress(rows, problem.space.allowed(choices))
                fresh = list(dict.fromkeys(row for row in allowed if row not in told))
                idle = 0 if fresh else idle + 1
                fresh = fresh[: budget - len(told)]
                for step in _evaluated(problem, fresh, known):
                    told[step.architecture.choices] = step
                    yield step
                if len(told) >= most or idle >= _PATIENCE:
                    return
                least = min((step.accuracy for step in told.values()), default=0.0)
                steps = [told.get(row) or _excluded(problem, row, least) for row in rows]
                batch = proposals.send(
                    Scores(
                        choices,
                        np.array([step.accuracy for step in steps]),
                        np.array([step.latency_ms for step in steps]),
                        np.array([step.bound_ms for step in steps]),
                    )
                )
        except StopIteration:
            return
        finally:
            proposals.close()


def _excluded(problem: SearchProblem, row: tuple[int, ...], accuracy: float) -> Evaluation:
    """What a method is told of a network that the space does not allow: it is never the best."""
    (architecture,) = problem.space.architectures(np.array([row], dtype=np.uint8))
    latency_ms = float(problem.latency_ms(np.array([row], dtype=np.uint8))[0])
    return Evaluation(architecture, accuracy, latency_ms, math.inf)


def best_of(trail: Iterable[Evaluation], limit_ms: float = math.inf) -> Evaluation | None:
    """The most accurate evaluation that keeps the limit, of equal ones the fastest; or None."""
    kept = [step for step in trail if step.bound_ms <= limit_ms]
    return max(kept, key=lambda step: (step.accuracy, -step.latency_ms), default=None)


def pareto_front(accuracy: ArrayLike, latency_ms: ArrayLike) -> NDArray[np.int64]:
    """Indices of what nothing beats in both accuracy and latency, the fastest first, shape (k,)."""
    scores, latencies = np.asarray(accuracy, np.float64), np.asarray(latency_ms, np.float64)
    order = np.lexsort((-scores, latencies))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], scores[order]]))
    front: NDArray[np.int64] = order[scores[order] > best[:-1]]
    return front


def _evaluated(
    problem: SearchProblem,
    rows: Sequence[tuple[int, ...]],
    known: dict[tuple[int, ...], Evaluation],
) -> Iterator[Evaluation]:
    """Evaluate architectures, in one batch, but for those whose evaluation is known."""
    if not rows:
        return
    choices = np.array(rows, dtype=np.uint8)
    wanted = [index for index, row in enumerate(rows) if row not in known]
    architectures = problem.space.architectures(choices)
    latency, bound = problem.latency_ms(choices), problem.bound_ms(choices)
    scores: dict[int, float] = {}
    for index, row in enumerate(rows):
        if row not in known and index not in scores:
            chunk = [other for other in wanted if other >= index][: problem.at_once]
            asked = [architectures[other] for other in chunk]
            scores |= zip(chunk, accuracies_of(problem.accuracy, asked), strict=True)
        accuracy = known[row].accuracy if row in known else scores[index]
        yield Evaluation(architectures[index], accuracy, float(latency[index]), float(bound[index]))


def accuracies_of(source: AccuracySource, architectures: Sequence[Architecture]) -> list[float]:
    """Ask a source; raises InvalidValueError unless it gives n finite numbers for n networks."""
    answer = source(architectures)
    try:
        if hasattr(answer, "detach"):
            answer = answer.detach()
        values = np.asarray(answer, dtype=np.float64)
    except Exception:  # noqa: BLE001 - a user's object may raise anything
        values = np.empty(0)
    if values.shape != (len(architectures),) or not np.all(np.isfinite(values)):
        raise InvalidValueError(
            "the accuracy source gave something else than an accuracy for each architecture",
            field="accuracy",
            expected=f"{len(architectures)} finite numbers",
            got=shown(answer, 100),
        )
    return [float(value) for value in values]


def check_budget(budget: int) -> None:
    """Raise InvalidValueError for a budget that is no whole number from 1 to MOST_STEPS."""
    whole(1, MOST_STEPS).check("budget", budget)
