"""Whether what was measured, predicted or compared keeps its budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from latprof.common.limits import INNER_SHARE
from latprof.errors import UsageError
from latprof.measurement.budgets import (
    Budget,
    BudgetResult,
    BudgetVerdict,
    Quantity,
    percentile_interval,
    read_budgets,
)

if TYPE_CHECKING:
    from latprof.measurement.comparison import Comparison
    from latprof.predictors.pack.answering import Answer
    from latprof.profilers.profiling import Profile

#: What can be said of one network, and of two.
OF_ONE: frozenset[Quantity] = frozenset({"latency", "percentile"})
OF_TWO: frozenset[Quantity] = frozenset({"latency", "slower", "faster"})


def check_budgets(
    found: Profile | Answer | Sequence[Answer],
    fail_if: str | Sequence[str],
    *,
    allow_open: bool = False,
    upper: float | None = None,
) -> BudgetResult:
    """Say whether networks keep budgets, as ``--fail-if`` does.

    Parameters
    ----------
    found : Profile, Answer or sequence of Answer
        What :func:`latprof.profile` or :func:`latprof.predict` returned.
    fail_if : str or sequence of str
        Conditions that fail: ``"> 5 ms"`` or ``"p95 > 8 ms"``. A percentile of a profile is one of
        its runs; of an answer it is the bound that was predicted with ``upper=0.95``.
    allow_open : bool
        What is not shown does not fail.
    upper : float, optional
        The share that the answers' upper bounds are of.

    Raises
    ------
    InvalidValueError, UsageError
        For what is no such condition, and a percentile that was not predicted.
    """
    from latprof.predictors.pack.answering import Answer

    replace(INNER_SHARE, optional=True).check("upper", upper)
    if not isinstance(found, Answer | Sequence):
        budgets = read_budgets(fail_if, OF_ONE, "a profile")
        verdicts = [profile_verdict(found, budget) for budget in budgets]
        return BudgetResult(tuple(verdicts), allow_open)
    answers = [found] if isinstance(found, Answer) else list(found)
    budgets = read_budgets(fail_if, OF_ONE, "a prediction")

    def predicted(share: float) -> Sequence[Answer]:
        if upper is None or not math.isclose(share, upper):
            raise UsageError(
                f"the percentile p{share * 100:g} was not predicted",
                field="fail-if",
                hint=f"call `predict` and this with upper={share:g}",
            )
        return answers

    return BudgetResult(tuple(answer_verdicts(answers, budgets, predicted)), allow_open)


def profile_verdict(found: Profile, budget: Budget) -> BudgetVerdict:
    """The verdict on a profile: its interval, or that of a percentile of its runs."""
    if budget.percentile is None:
        low, high = found.interval_ms
        return budget.judge(found.name, low, high, _basis(low, "90% interval of the latency"))
    if found.target.tells_averages:
        raise UsageError(
            f"{found.target.spelling} tells averages of runs, and no percentiles",
            field="fail-if",
            hint="take a budget of the latency",
        )
    visits = [samples.counted_runs for samples in found.samples]
    low, high = percentile_interval(visits, budget.percentile)
    runs = sum(map(len, visits))
    basis = f"90% interval of the percentile of {runs} runs by the clock"
    return budget.judge(found.name, low, high, _basis(low, basis))


def _basis(low: float, basis: str) -> str:
    return "one visit has none" if math.isnan(low) else basis


def answer_verdicts(
    answers: Sequence[Answer],
    budgets: Sequence[Budget],
    predicted: Callable[[float], Sequence[Answer]],
) -> list[BudgetVerdict]:
    """The verdicts on answers.

    ``predicted`` returns the same answers with the bound of a share.
    """
    bounds = {
        budget.percentile: predicted(budget.percentile / 100)
        for budget in budgets
        if budget.percentile is not None
    }
    verdicts: list[BudgetVerdict] = []
    for row, answer in enumerate(answers):
        for budget in budgets:
            if budget.percentile is None:
                low, high = answer.low_ms, answer.high_ms
                basis = f"{answer.interval_coverage:.0%} interval of the prediction"
            else:
                bound = bounds[budget.percentile][row].upper_ms
                low, high = answer.low_ms, math.nan if bound is None else bound
                basis = f"predicted upper bound of {budget.percentile:g}% of measurements"
            if math.isnan(low) or math.isnan(high):
                basis = "a guess has none" if answer.is_guess else "the pack has none"
            elif answer.distance is not None and answer.distance > 1:
                basis += ", which may be too narrow here"
            verdicts.append(budget.judge(answer.name, low, high, basis))
    return verdicts


def comparison_verdicts(
    comparisons: Sequence[Comparison], budgets: Sequence[Budget], alpha: float
) -> list[BudgetVerdict]:
    """The verdicts on comparisons.

    That one of many networks is beyond its budget is only found where the lower end of its interval
    is, corrected for so many (Bonferroni). That all keep theirs needs no correction: each of them
    has to (Berger, Technometrics 24, 1982).
    """
    verdicts = []
    for comparison in comparisons:
        for budget in budgets:
            if budget.quantity == "latency":
                side = comparison.b
                low, high = (math.nan, math.nan) if side is None else (side.low_ms, side.high_ms)
                verdicts.append(budget.judge(comparison.name, low, high, "90% interval of B"))
                continue
            sure_low, sure_high = comparison.interval(alpha, len(comparisons))
            low, high = sure_low, comparison.high
            if budget.quantity == "faster":
                low, high = -sure_high, -comparison.low
            basis = f"{100 * (1 - alpha):g}% interval of the effect"
            if len(comparisons) > 1:
                basis += f", its lower end corrected for {len(comparisons)} networks"
            verdicts.append(budget.judge(comparison.name, low, high, basis))
    return verdicts
