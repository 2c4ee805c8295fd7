"""Search methods that each break one requirement; ``breaks`` names the tests that must say so."""

import dataclasses
import itertools

import numpy as np
import pytest

from latprof.errors import InvalidValueError
from latprof.searchers.base import EvaluatingSearcher, best_of
from latprof.searchers.evaluating.random_search import RandomSearch
from latprof.searchers.sampling import random_choices
from latprof.testing.searcher_contract import EvaluatingSearcherContract


class Broken(EvaluatingSearcherContract):
    Made = RandomSearch

    @pytest.fixture
    def searcher(self):
        return self.Made()


class TestNameless(Broken):
    breaks = ("test_it_has_a_name",)

    class Made(RandomSearch):
        name = ""


class TestOwnLatencies(Broken):
    breaks = ("test_steps_are_networks_of_the_space_with_the_sources_latencies",)

    class Made(RandomSearch):
        def search(self, *arguments, **named):
            for step in super().search(*arguments, **named):
                yield dataclasses.replace(step, latency_ms=step.latency_ms + 0.1)


class TestLimitIgnored(Broken):
    breaks = (
        "test_the_answer_keeps_the_limit_and_is_one_of_the_steps",
        "test_under_an_impossible_limit_nothing_is_found",
    )

    class Made(EvaluatingSearcher):
        name = "ignores the limit"

        def propose(self, problem, generator):
            while True:
                yield random_choices(problem.space, 8, generator)

        def answer(self, problem, trail):
            return best_of(trail)


class TestSeedIgnored(Broken):
    breaks = ("test_the_same_seed_gives_the_same_steps_and_another_seed_others",)

    class Made(RandomSearch):
        def search(self, problem, budget, *, seed=0, trail=()):
            return super().search(problem, budget, seed=0, trail=trail)


class TestResumedElsewhere(Broken):
    breaks = ("test_an_interrupted_search_is_resumed",)

    class Made(RandomSearch):
        def search(self, problem, budget, *, seed=0, trail=()):
            steps = tuple(trail)
            return super().search(problem, budget, seed=seed + len(steps), trail=steps)


class TestNotStopped(Broken):
    breaks = ("test_a_search_may_be_stopped_after_any_step",)

    class Made(RandomSearch):
        def search(self, *arguments, **named):
            for step in super().search(*arguments, **named):
                try:
                    yield step
                except GeneratorExit:
                    yield step


class TestNoBudget(Broken):
    breaks = ("test_a_budget_below_1_and_a_seed_that_is_none_are_refused",)

    class Made(RandomSearch):
        def search(self, problem, budget, *, seed=0, trail=()):
            return super().search(problem, max(1, int(budget)), seed=abs(seed), trail=trail)


class TestAsksTwice(Broken):
    breaks = ("test_the_budget_is_exact_and_no_network_is_asked_about_twice",)

    class Made(RandomSearch):
        def search(self, problem, budget, **named):
            for step in super().search(problem, budget, **named):
                problem.accuracy([step.architecture])
                yield step


class TestTrailIgnored(Broken):
    breaks = ("test_a_resumed_search_asks_for_no_accuracy_twice",)

    class Made(RandomSearch):
        def search(self, problem, budget, *, seed=0, trail=()):
            return super().search(problem, budget, seed=seed)


class TestAllAtOnce(Broken):
    breaks = ("test_no_more_are_asked_about_at_once_than_allowed",)

    class Made(RandomSearch):
        def search(self, problem, budget, **named):
            return super().search(dataclasses.replace(problem, at_once=None), budget, **named)


class TestAnyAccuracy(Broken):
    breaks = ("test_an_accuracy_that_is_none_is_refused",)

    class Made(RandomSearch):
        def search(self, *arguments, **named):
            try:
                yield from super().search(*arguments, **named)
            except InvalidValueError:
                return


class TestInactiveDecisions(Broken):
    breaks = ("test_decisions_may_differ_in_number_and_be_inactive",)

    class Made(RandomSearch):
        def search(self, problem, budget, **named):
            space = problem.space
            for step in super().search(problem, budget, **named):
                choices = space.choices([step.architecture])
                last = (space.num_choices - 1).astype(np.uint8)
                other = np.where(space.active(choices), choices, last)
                yield dataclasses.replace(step, architecture=space.architectures(other)[0])


class TestRepeats(Broken):
    breaks = ("test_it_ends_where_there_is_nothing_new",)

    class Made(RandomSearch):
        def search(self, *arguments, **named):
            for step in super().search(*arguments, **named):
                yield from itertools.repeat(step, 2)
