"""NSGA-II (Deb et al. 2002) for the front of accuracy against latency, by pymoo."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latprof.common.extras import require
from latprof.common.limits import NOT_NEGATIVE, whole
from latprof.searchers.base import (
    EvaluatingSearcher,
    Proposals,
    Scores,
    SearchProblem,
    pareto_front,
    sample_within,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Choices, SearchSpace

Floats: TypeAlias = NDArray[np.float64]

#: Generations and population of the search on the model's accuracies, which cost next to nothing.
_MODEL_GENERATIONS = 15
_MODEL_POPULATION = 60


@dataclass(eq=False, repr=False)
class NSGA2Search(EvaluatingSearcher):
    """Non-dominated sorting: finds the whole front at once, within the limit where there is one.

    Latencies come from a predictor and cost nothing; accuracies are expensive. So by default a
    Gaussian process learns the ranks of the accuracies seen so far, NSGA-II finds the Pareto front
    of its predictions (plus their uncertainty) and latency, and networks spread along that front
    are evaluated next, as NSGANetV2 does (Lu et al., ECCV 2020). With ``model=False`` it is NSGA-II
    alone: two objectives, the limit as a constraint, every child evaluated. Uniform crossover;
    mutation draws decisions again, for candidates have no order.

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
        Where pymoo or scikit-learn is not installed (``pip install 'latprof[search]'``).
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
    doubt: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require("search", "NSGA-II", "pymoo")
        if self.model:
            subject = "nsga2's accuracy model (--option model=false leaves it out)"
            require("search", subject, "sklearn", "scipy")

    def propose(self, problem: SearchProblem, generator: np.random.Generator) -> Proposals:
        drawn = sample_within(problem, 4 * self.population, generator)
        first = _distinct(drawn)[: self.population]
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
        known = yield first
        model = _RankModel(problem.space)
        while True:
            model.fit(known.choices, known.accuracy)

            def hoped(choices: Choices) -> Floats:
                mean, deviation = model.predict(choices)
                return mean + self.doubt * deviation

            fittest = known.choices[np.argsort(-known.accuracy)[:_MODEL_POPULATION]]
            front = known.choices[pareto_front(known.accuracy, known.latency_ms)]
            fresh = sample_within(problem, _MODEL_POPULATION, generator)
            start = _distinct(np.concatenate([front, fittest, fresh]))
            start = start[problem.keeps_limit(start)][:_MODEL_POPULATION]
            promising = _fronts_of_model(problem, hoped, start, generator)
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


def _distinct(choices: Choices) -> Choices:
    """Each row once, where it came first."""
    _, first = np.unique(choices, axis=0, return_index=True)
    return choices[np.sort(first)]


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


class _RankModel:
    """A Gaussian process on one-hot decisions for the normal scores of accuracies' ranks.

    Ranks are all that a front depends on, and networks that failed to train are no outliers there.
    """

    def __init__(self, space: SearchSpace) -> None:
        from sklearn.gaussian_process import GaussianProcessRegressor, kernels

        self._space = space
        self._make = GaussianProcessRegressor
        self._kernel = kernels.ConstantKernel() * kernels.RBF(2.0) + kernels.WhiteKernel(0.05)
        self._fits = 0

    def fit(self, choices: Choices, accuracy: Floats) -> None:
        """Learn from n accuracies, shape (n,)."""
        from scipy.stats import norm, rankdata

        scores = norm.ppf((rankdata(accuracy) - 0.5) / len(accuracy))
        # The kernel's three constants move little from one batch to the next.
        optimizer = "fmin_l_bfgs_b" if self._fits % 5 == 0 else None
        model = self._make(self._kernel, optimizer=optimizer, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant at the end of its range is no harm here
            self._fitted = model.fit(self._space.encode(choices), scores)
        self._kernel = self._fitted.kernel_
        self._fits += 1

    def predict(self, choices: Choices) -> tuple[Floats, Floats]:
        """Means and standard deviations of n networks' scores, shape (n,)."""
        mean, deviation = self._fitted.predict(self._space.encode(choices), return_std=True)
        return mean, deviation


def _fronts_of_model(
    problem: SearchProblem,
    hoped: Callable[[Choices], Floats],
    start: Choices,
    generator: np.random.Generator,
) -> list[Choices]:
    """The fronts, first to last, of the population that NSGA-II ends with on a cheap accuracy.

    In a space of fewer networks than it would evaluate they are the fronts of all of them.
    """
    if problem.space.num_architectures <= len(start) * _MODEL_GENERATIONS:
        return _fronts_of_all(problem, hoped)
    algorithm = _algorithm(problem, start, len(start), generator)
    for _ in range(_MODEL_GENERATIONS):
        asked = algorithm.ask()
        if asked is None or not len(asked):  # a small space: it has proposed every network
            break
        choices = asked.get("X").astype(np.uint8)
        scores = Scores(
            choices, hoped(choices), problem.latency_ms(choices), problem.bound_ms(choices)
        )
        _tell(algorithm, asked, scores, problem.limit_ms)
    population = algorithm.pop
    inside = population.get("feas").ravel()
    choices, rank = population.get("X")[inside].astype(np.uint8), population.get("rank")[inside]
    return [choices[rank == number] for number in np.unique(rank)]


def _fronts_of_all(problem: SearchProblem, hoped: Callable[[Choices], Floats]) -> list[Choices]:
    """The fronts, first to last, of all networks that keep the limit."""
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    choices = problem.space.sample_choices(problem.space.num_architectures)
    choices = choices[problem.keeps_limit(choices)]
    objectives = np.column_stack([-hoped(choices), problem.latency_ms(choices)])
    return [choices[front] for front in NonDominatedSorting().do(objectives)]


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
