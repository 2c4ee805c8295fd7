"""What a budget says, and what an interval shows of it."""

import math

import numpy as np
import pytest

from latprof.errors import InvalidValueError, NotEnoughDataError, UsageError
from latprof.measurement.budgets import (
    Budget,
    BudgetResult,
    percentile_interval,
    read_budgets,
)


@pytest.mark.parametrize(
    ("text", "quantity", "limit", "percentile"),
    [
        ("> 5 ms", "latency", 5, None),
        ("latency>5ms", "latency", 5, None),
        ("> 250 us", "latency", 0.25, None),
        ("p95 > 8 ms", "percentile", 8, 95),
        ("p99.9>1s", "percentile", 1000, 99.9),
        ("slower>3%", "slower", 0.03, None),
        (" faster > 2.5 %", "faster", 0.025, None),
    ],
)
def test_conditions_are_read(text, quantity, limit, percentile):
    budget = Budget.parse(text)
    assert (budget.quantity, budget.percentile) == (quantity, percentile)
    assert budget.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    "text",
    [
        *("", "5 ms", "> 5", "> 5 %", "< 5 ms", ">= 5 ms", "> -1 ms", "> 0 ms", "> nan ms"),
        *("slower", "slower>3", "worse>3%", "slower>-1%", "slower>3%%", "slower > 3 ms"),
        *("p0 > 5 ms", "p100 > 5 ms", "p95 > 5 %", "> \uff15 ms", "> 1_0 ms", "> 1e3 ms"),
    ],
)
def test_other_conditions_are_refused(text):
    with pytest.raises(InvalidValueError, match="the condition cannot be read"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("> 5", "it has no unit"),
        ("5 ms", "it has no sign"),
        ("< 5 ms", "its sign is <"),
        ("> 5 %", "its unit is %"),
        ("slower > 3 ms", "its unit is ms"),
        ("> 0 ms", "its limit is not above 0"),
        ("p0 > 5 ms", "its percentile is not above 0"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_condition(text, reason):
    with pytest.raises(InvalidValueError, match=f"cannot be read: {reason} ") as caught:
        Budget.parse(text)
    assert f"got {text!r}" in str(caught.value)


def test_a_verdict_has_all_digits_of_its_limit():
    assert Budget.parse("> 12345.678 ms").describe() == "at most 12345.678 ms"
    assert Budget.parse("slower > 7 %").describe() == "slower by at most 7 %"


def test_what_may_be_taken_is_the_other_side_of_a_condition():
    assert Budget.within("5 ms") == Budget.within("<= 5 ms") == Budget.parse("> 5 ms")
    assert Budget.within("p95 8 ms") == Budget.parse("p95 > 8 ms")
    with pytest.raises(InvalidValueError, match="the condition cannot be read"):
        Budget.within("> 5 ms")


@pytest.mark.parametrize(
    ("low", "high", "outcome", "status", "allowed"),
    [
        (4.0, 4.9, "kept", 0, 0),
        (4.0, 5.0, "kept", 0, 0),
        (4.6, 5.3, "not shown", 1, 0),
        (5.0, 5.3, "not shown", 1, 0),
        (5.1, 5.3, "broken", 1, 1),
        (4.0, math.inf, "not shown", 1, 0),
        (math.nan, math.nan, "no verdict", 5, 5),
    ],
)
def test_the_interval_decides_and_never_the_point(low, high, outcome, status, allowed):
    verdict = Budget.parse("> 5 ms").judge("m", low, high, "why")
    assert verdict.outcome == outcome
    assert outcome in verdict.describe()
    assert "\n" not in verdict.describe()
    assert BudgetResult((verdict,)).exit_status == status
    assert BudgetResult((verdict,), allow_open=True).exit_status == allowed


def test_one_that_is_broken_counts_before_one_without_a_verdict():
    budget = Budget.parse("> 5 ms")
    found = tuple(budget.judge("m", low, 9.0, "") for low in (math.nan, 6.0, 1.0))
    assert BudgetResult(found, allow_open=True).exit_status == 1
    assert BudgetResult(found[::2], allow_open=True).exit_status == 5


def test_the_line_has_the_interval():
    verdict = Budget.parse("> 5 ms").judge("m.onnx", 4.6, 5.3, "90% interval of the latency")
    expected = "m.onnx: at most 5 ms: not shown: 4.600 to 5.300 ms (90% interval of the latency)"
    assert verdict.describe() == expected


def test_a_quantity_that_is_not_there_is_refused():
    assert len(read_budgets(["> 5 ms", "p95 > 8 ms"], {"latency", "percentile"}, "it")) == 2
    assert read_budgets(None, {"latency"}, "it") == ()
    with pytest.raises(UsageError, match="it has no such figure"):
        read_budgets("slower > 3 %", {"latency", "percentile"}, "it")


def test_the_interval_of_a_percentile_holds_the_true_one_although_loads_differ():
    """Independent runs would promise five times too much: here each load has its own speed."""
    generator = np.random.default_rng(0)
    true = np.quantile(made(generator, 4000), 0.9)
    intervals = [percentile_interval(made(generator, 8), 90) for _ in range(300)]
    held = np.mean([low <= true <= high for low, high in intervals])
    assert held > 0.8
    pooled = [percentile_interval([*made(generator, 8).reshape(200, -1)], 90) for _ in range(300)]
    assert np.mean([low <= true <= high for low, high in pooled]) < held


def made(generator, visits, runs=100):
    loads = 1 + 0.05 * generator.standard_normal((visits, 1))
    return loads * (1 + 0.02 * generator.standard_normal((visits, runs)))


def test_few_runs_do_not_bound_a_high_percentile():
    low, high = percentile_interval([[1.0, 2.0], [3.0, 4.0]], 99)
    assert low < 4
    assert high == math.inf
    assert all(map(math.isnan, percentile_interval([[1.0, 2.0]], 50)))
    with pytest.raises(NotEnoughDataError):
        percentile_interval([[], []], 50)
