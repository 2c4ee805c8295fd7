"""The contract suites of search methods: subclass one in your own tests.

::

    class TestMySearch(EvaluatingSearcherContract):
        @pytest.fixture
        def searcher(self):
            return MySearch(population=12)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
import pytest

from latprof.datasets.spaces.mnasnet import MnasNetSpace
from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.errors import InvalidValueError
from latprof.searchers.base import Found, Searcher, SearchProblem, best_of
from latprof.testing.problems import AnyLatencies, CountingAccuracy, TinySpace, known_problem

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture, SearchSpace

ProblemUnder: TypeAlias = Callable[[float], SearchProblem]

#: The last searches of :meth:`SearcherContract.whole`, by suite and parameters.
_WHOLE: dict[object, Found] = {}
_MOST_WHOLE = 8


class SearcherContract:
    """What :class:`latprof.searchers.base.Searcher` promises, as tests for pytest.

    A subclass gives the fixture ``searcher``. A method that needs another problem than
    :func:`~latprof.testing.problems.known_problem` (gradients of the latency, images) gives
    ``problem_under`` too, and what of its limits can be kept.
    """

    #: Whether the seed matters: another seed gives other steps.
    random: ClassVar[bool] = True
    #: A limit that many architectures of the problem keep, and one that none does; milliseconds.
    limit_ms: ClassVar[float] = 6.0
    impossible_ms: ClassVar[float] = 0.5
    #: Networks evaluated, or epochs.
    budget: ClassVar[int] = 45

    @pytest.fixture
    def searcher(self) -> Searcher:
        """The search method under test."""
        raise NotImplementedError("the subclass gives the fixture `searcher`")

    @pytest.fixture
    def problem_under(self) -> ProblemUnder:
        """From a limit in milliseconds to a problem."""
        return known_problem

    @pytest.fixture
    def problem(self, problem_under: ProblemUnder) -> SearchProblem:
        """The problem with the limit that many architectures keep."""
        return problem_under(self.limit_ms)

    @pytest.fixture
    def whole(
        self, request: pytest.FixtureRequest, searcher: Searcher, problem: SearchProblem
    ) -> Found:
        """What the search finds, which is made once for several tests."""
        key = (type(self), request.node.name.partition("[")[2])
        if key not in _WHOLE:
            if len(_WHOLE) == _MOST_WHOLE:
                del _WHOLE[next(iter(_WHOLE))]
            _WHOLE[key] = searcher.run(problem, self.budget)
        return _WHOLE[key]

    def test_it_has_a_name(self, searcher: Searcher) -> None:
        assert searcher.name

    def test_steps_are_networks_of_the_space_with_the_sources_latencies(
        self, whole: Found, problem: SearchProblem
    ) -> None:
        choices = problem.space.choices([step.architecture for step in whole.trail])
        assert np.array_equal(problem.space.canonical(choices), choices)
        latency = [step.latency_ms for step in whole.trail]
        np.testing.assert_allclose(latency, problem.latency_ms(choices), rtol=1e-9)
        bound = [step.bound_ms for step in whole.trail]
        np.testing.assert_allclose(bound, problem.bound_ms(choices), rtol=1e-9)
        assert 0 < len(whole.trail) <= self.budget

    def test_the_answer_keeps_the_limit_and_is_one_of_the_steps(
        self, searcher: Searcher, problem: SearchProblem
    ) -> None:
        found = searcher.run(problem, self.budget)

        assert found.best is not None
        assert found.best in found.trail
        assert found.best.bound_ms <= problem.limit_ms
        assert searcher.answer(problem, found.trail) == found.best

    def test_the_same_seed_gives_the_same_steps_and_another_seed_others(
        self, searcher: Searcher, problem: SearchProblem
    ) -> None:
        first, second, other = (searcher.run(problem, self.budget, seed=s) for s in (3, 3, 4))

        assert first == second
        assert (first != other) == self.random

    def test_an_interrupted_search_is_resumed(
        self, searcher: Searcher, problem: SearchProblem, whole: Found
    ) -> None:
        for made in (1, len(whole.trail) // 2, len(whole.trail)):
            again = searcher.run(problem, self.budget, trail=whole.trail[:made])
            assert again == whole

    def test_a_search_may_be_stopped_after_any_step(
        self, searcher: Searcher, problem: SearchProblem, whole: Found
    ) -> None:
        steps = searcher.search(problem, self.budget)
        assert list(itertools.islice(steps, 2)) == list(whole.trail[:2])
        if isinstance(steps, Generator):
            steps.close()

    def test_a_budget_below_1_and_a_seed_that_is_none_are_refused(
        self, searcher: Searcher, problem: SearchProblem
    ) -> None:
        for budget in (0, -1, 1.5, True):
            with pytest.raises(InvalidValueError):
                searcher.run(problem, budget)  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError):
            searcher.run(problem, 1, seed=-1)

    def test_under_an_impossible_limit_nothing_is_found(
        self, searcher: Searcher, problem_under: ProblemUnder
    ) -> None:
        try:
            found = searcher.run(problem_under(self.impossible_ms), self.budget)
        except InvalidValueError:
            return
        assert found.best is None


class EvaluatingSearcherContract(SearcherContract):
    """What a method that learns from accuracies owes beyond :class:`SearcherContract`.

    That is :class:`latprof.searchers.base.EvaluatingSearcher`, which does most of it.
    """

    def test_the_budget_is_exact_and_no_network_is_asked_about_twice(
        self, searcher: Searcher
    ) -> None:
        accuracy = CountingAccuracy()
        found = searcher.run(known_problem(self.limit_ms, accuracy), budget=60)

        assert len(found.trail) == len(accuracy.asked) == len(set(accuracy.asked)) == 60
        assert found.best == best_of(found.trail, self.limit_ms)

    def test_a_resumed_search_asks_for_no_accuracy_twice(self, searcher: Searcher) -> None:
        whole = searcher.run(known_problem(self.limit_ms), self.budget)
        for made in (1, len(whole.trail) // 2, len(whole.trail)):
            accuracy = CountingAccuracy()
            problem = known_problem(self.limit_ms, accuracy)
            searcher.run(problem, self.budget, trail=whole.trail[:made])
            assert accuracy.asked == [step.architecture.choices for step in whole.trail[made:]]

    def test_no_more_are_asked_about_at_once_than_allowed(self, searcher: Searcher) -> None:
        accuracy = CountingAccuracy()
        problem = known_problem(self.limit_ms, accuracy, at_once=1)
        for number, _ in enumerate(searcher.search(problem, 20), 1):
            assert len(accuracy.asked) == number
        assert max(accuracy.calls) == 1

    def test_an_accuracy_that_is_none_is_refused(self, searcher: Searcher) -> None:
        def broken(architectures: Sequence[Architecture]) -> list[float]:
            return [float("nan")] * len(architectures)

        with pytest.raises(InvalidValueError):
            searcher.run(known_problem(self.limit_ms, broken), 10)

    @pytest.mark.parametrize("space", [MnasNetSpace(), OFAMobileNetV3Space()], ids=lambda s: s.name)
    def test_decisions_may_differ_in_number_and_be_inactive(
        self, searcher: Searcher, space: SearchSpace
    ) -> None:
        source = AnyLatencies(space)
        limit = float(np.median(source.predict(space.sample_choices(500), upper=0.95)))
        problem = SearchProblem(source, _sums, limit_ms=limit, upper=0.95)
        found = searcher.run(problem, 40)

        choices = space.choices([step.architecture for step in found.trail])
        assert len(found.trail) == 40
        assert (space.canonical(choices) == choices).all()
        assert found.best is None or found.best.bound_ms <= limit

    def test_it_ends_where_there_is_nothing_new(self, searcher: Searcher) -> None:
        space = TinySpace()
        found = searcher.run(SearchProblem(AnyLatencies(space), _sums), 100)

        networks = {step.architecture for step in found.trail}
        assert len(networks) == len(found.trail) <= space.num_architectures


def _sums(architectures: Sequence[Architecture]) -> list[float]:
    return [float(sum(architecture.choices)) for architecture in architectures]
