"""NSGA-II (Deb et al. 2002) for the front of accuracy against latency."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.extras import require
from latprof.common.limits import NOT_NEGATIVE, whole
from latprof.datasets.spaces.batches import first_ones
from latprof.searchers.base import (
    EvaluatingSearcher,
    Proposals,
    Scores,
    SearchProblem,
    pareto_front,
)
from latprof.searchers.evaluating.rank_model import RankModel
from latprof.searchers.evaluating.variation import varied
from latprof.searchers.sampling import sample_within

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace

Floats: TypeAlias = NDArray[np.float64]

#: Generations and population of the search on the model's accuracies, which cost next to nothing.
_MODEL_GENERATIONS = 8
_MODEL_POPULATION = 60
#: Share of the children there that come of two parents.
_CROSSED = 0.5


@dataclass(eq=False, repr=False)
class NSGA2Search(EvaluatingSearcher):
    """Non-dominated sorting: finds the whole front at once, within the limit where there is one.

    Latencies come from a predictor and cost nothing; accuracies are expensive. So by default a
    Gaussian process learns the ranks of the accuracies seen so far, NSGA-II finds the Pareto front
    of its predictions (plus their uncertainty) and latency, and networks spread along that front
    are evaluated next, as NSGANetV2 does (Lu et al., ECCV 2020). With ``model=False`` it is NSGA-II
    alone, pymoo's: two objectives, the limit as a constraint, every child evaluated. Uniform
    crossover; mutation draws decisions again, for candidates have no order.

    Parameters
    ----------
    population : int
        Random architectures at the start; without a model that of NSGA-II. At least 4.
    children : int
        Evaluated between two fits of the model; without one between two generations.
    model : bool
    doubt : float
        Standard deviations of the model's prediction that are added to it.

    Raises
    ------
    InvalidValueError
        For options out of their range.
    MissingDependencyError
        Without a model where pymoo is not installed (``pip install 'latprof[search]'``).
    """

    name = "nsga2"
    limits: ClassVar = {
        "population": whole(4, 100_000),
        "children": whole(1, 100_000),
        "doubt": NOT_NEGATIVE,
    }
    population: int = 50
    children: int = 15
    model: bool = True
    doubt: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model:
            require("search", "NSGA-II without its accuracy model", "pymoo")

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        drawn = sample_within(problem, 4 * self.population, generator)
        first = first_ones(drawn)[: self.population]
        if self.model:
            return self._with_model(problem, first, generator)
        return self._alone(problem, first, generator)

    def _alone(
        self, problem: SearchProblem, first: Choices, generator: np.random.Generator
    ) -> Proposals:
        algorithm = _algorithm(problem, first, self.children, generator)
        while True:
            asked = algorithm.ask()
            if asked is None or not len(asked):
                return
            _tell(algorithm, asked, (yield asked.get("X").astype(np.uint8)), problem.limit_ms)

    def _with_model(
        self, problem: SearchProblem, first: Choices, generator: np.random.Generator
    ) -> Proposals:
        known = told = yield first
        model = RankModel(problem.space)
        while True:
            model.add(told.choices, told.accuracy)
            fittest = known.choices[np.argsort(-known.accuracy)[:_MODEL_POPULATION]]
            front = known.choices[pareto_front(known.accuracy, known.latency_ms)]
            fresh = sample_within(problem, _MODEL_POPULATION, generator)
            start = first_ones(np.concatenate([front, fittest, fresh]))
            start = start[problem.keeps_limit(start)][:_MODEL_POPULATION]
            promising = _fronts_of_model(problem, model, self.doubt, start, generator)
            told = yield self._chosen(problem, promising, known.choices, fresh)
            known = _joined(known, told)

    def _chosen(
        self, problem: SearchProblem, fronts: list[Choices], seen: Choices, fresh: Choices
    ) -> Choices:
        """What is evaluated next: of the first fronts' networks those not seen, spread along each.

        Random ones where there are none, shape (at most children, decisions).
        """
        chosen: list[Choices] = []
        for front in fronts:
            left = self.children - sum(map(len, chosen))
            new = _unseen(front, seen)
            if left > 0 and len(new):
                chosen.append(_spread(new, problem.latency_ms(new), left))
        return np.concatenate(chosen) if chosen else fresh[: self.children]


def _unseen(choices: Choices, seen: Choices) -> Choices:
    """Rows that are not among ``seen``."""
    known = {row.tobytes() for row in seen}
    return choices[[row.tobytes() not in known for row in choices]]


def _spread(choices: Choices, latency_ms: Floats, n: int) -> Choices:
    """``n`` of the rows, evenly spread in the order of their latencies."""
    order = np.argsort(latency_ms, kind="stable")
    places = np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(np.int64)
    return choices[order[np.unique(places)]]


def _joined(known: Scores, told: Scores) -> Scores:
    choices = np.concatenate([known.choices, told.choices])
    _, first = np.unique(choices, axis=0, return_index=True)
    kept = np.sort(first)
    values = (
        np.concatenate([before, after])[kept]
        for before, after in (
            (known.accuracy, told.accuracy),
            (known.latency_ms, told.latency_ms),
            (known.bound_ms, told.bound_ms),
        )
    )
    return Scores(choices[kept], *values)


def _fronts_of_model(
    problem: SearchProblem,
    model: RankModel,
    doubt: float,
    population: Choices,
    generator: np.random.Generator,
) -> list[Choices]:
    """The fronts, first to last, of the population that NSGA-II ends with on the model's scores.

    In a space of fewer networks than it would look at they are the fronts of all of them.
    """
    few = problem.space.num_architectures <= _MODEL_POPULATION * _MODEL_GENERATIONS
    if few:
        everything = problem.space.sample_choices(problem.space.num_architectures)
        population = everything[problem.keeps_limit(everything)]
    objectives = _hoped(problem, model, doubt, population)
    for _ in range(0 if few else _MODEL_GENERATIONS):
        children = varied(
            problem.space,
            population,
            _MODEL_POPULATION,
            generator,
            mutation_probability=1 / len(problem.space.num_choices),
            crossover_share=_CROSSED,
        )
        children = _unseen(first_ones(children), population)
        children = children[problem.keeps_limit(children)]
        if not len(children):
            continue
        population = np.concatenate([population, children])
        objectives = np.concatenate([objectives, _hoped(problem, model, doubt, children)])
        kept = _survivors(objectives, _MODEL_POPULATION)
        population, objectives = population[kept], objectives[kept]
    return [population[front] for front in _fronts(objectives)]


def _hoped(problem: SearchProblem, model: RankModel, doubt: float, choices: Choices) -> Floats:
    """What is hoped of n networks' accuracy scores, and their latencies, shape (n, 2)."""
    mean, deviation = model.predict(choices)
    return np.column_stack([mean + doubt * deviation, problem.latency_ms(choices)])


def _fronts(objectives: Floats, most: float = np.inf) -> Iterator[NDArray[np.int64]]:
    """Indices of each front, the first one first, until at least ``most`` rows are in them."""
    left = np.arange(len(objectives))
    while len(left) and len(objectives) - len(left) < most:
        front = pareto_front(objectives[left, 0], objectives[left, 1])
        yield left[front]
        left = np.delete(left, front)


def _survivors(objectives: Floats, n: int) -> NDArray[np.int64]:
    """The first fronts' rows; of the last that has a place those with the most room around them."""
    *first, last = _fronts(objectives, n)
    room = n - sum(map(len, first))
    # Crowding distance (Deb et al. 2002, section III B): the front is sorted by latency.
    values = objectives[last]
    spans = np.maximum(np.ptp(values, axis=0), 1e-12)
    distance = np.full(len(last), np.inf)
    distance[1:-1] = (np.abs(values[2:] - values[:-2]) / spans).sum(axis=1)
    return np.concatenate([*first, last[np.argsort(-distance, kind="stable")[:room]]])


def _algorithm(
    problem: SearchProblem, first: Choices, children: int, generator: np.random.Generator
) -> Any:
    """The algorithm of pymoo, set up with the first generation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that are only imported along with it
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.operators.crossover.ux import UniformCrossover
    sizes = problem.space.num_choices
    algorithm = NSGA2(
        pop_size=len(first),
        n_offsprings=children,
        sampling=first.astype(np.int64),
        crossover=UniformCrossover(),
        mutation=_redraw(problem.space),
    )
    algorithm.setup(
        Problem(n_var=len(sizes), n_obj=2, n_ieq_constr=1, xl=0, xu=sizes - 1, vtype=int),
        termination=NoTermination(),
        seed=int(generator.integers(2**31)),
    )
    return algorithm


def _redraw(space: SearchSpace) -> Any:
    """A mutation that gives each decision another candidate with probability 1 / decisions."""
    from pymoo.core.mutation import Mutation

    sizes = space.num_choices

    class Redraw(Mutation):  # type: ignore[misc,unused-ignore]
        def _do(self, _problem: Any, rows: Any, *, random_state: Any, **_: Any) -> Any:
            shift = (random_state.random(rows.shape) * np.maximum(sizes - 1, 1)).astype(np.int64)
            changed = random_state.random(rows.shape) < 1 / len(sizes)
            mutated = np.where(changed, (rows + 1 + shift) % sizes, rows)
            return space.canonical(mutated.astype(np.uint8)).astype(np.int64)

    return Redraw(prob=1.0)


def _tell(algorithm: Any, asked: Any, scores: Scores, limit_ms: float) -> None:
    """Hand pymoo what it minimises, and by how much the limit is exceeded."""
    from pymoo.core.evaluator import Evaluator
    from pymoo.problems.static import StaticProblem

    objectives = np.stack([-scores.accuracy, scores.latency_ms], axis=1)
    excess = scores.bound_ms - limit_ms if np.isfinite(limit_ms) else -np.ones(len(objectives))
    static = StaticProblem(algorithm.problem, F=objectives, G=excess[:, None])
    Evaluator().eval(static, asked)
    algorithm.tell(infills=asked)
