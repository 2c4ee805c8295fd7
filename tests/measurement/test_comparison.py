"""Verdicts err as rarely as they say, find what is there, and are corrected over many networks."""

import dataclasses

import numpy as np
import pytest

from latprof.errors import InvalidValueError, NotEnoughDataError
from latprof.measurement.comparison import (
    Comparison,
    compare_groups,
    compare_pairs,
    comparisons_html,
    holm,
)

PROCESS_NOISE, LOAD_NOISE = 0.005, 0.015


def visits(generator, processes=8, loads=3, scale=1.0):
    common = 1 + PROCESS_NOISE * generator.standard_normal((processes, 1))
    return scale * common * (1 + LOAD_NOISE * generator.standard_normal((processes, loads)))


def test_no_difference_is_called_about_as_often_as_alpha():
    generator = np.random.default_rng(0)
    called = [
        compare_pairs("n", visits(generator), visits(generator)).verdict != "no evidence"
        for _ in range(1000)
    ]
    assert 0.03 < np.mean(called) < 0.065


def test_three_percent_is_found_nine_times_in_ten():
    generator = np.random.default_rng(1)
    found = [
        compare_pairs("n", visits(generator), visits(generator, scale=1.03)).verdict == "slower"
        for _ in range(300)
    ]
    assert np.mean(found) >= 0.9


def test_the_interval_holds_the_true_effect_as_often_as_it_says():
    generator = np.random.default_rng(2)
    inside = []
    for _ in range(500):
        found = compare_groups(
            "n", visits(generator, 8, 1).ravel(), visits(generator, 8, 1, 1.05).ravel()
        )
        inside.append(found.low <= 0.05 <= found.high)
    assert 0.92 < np.mean(inside) < 0.98


def test_what_a_process_has_for_both_falls_out():
    common = np.array([[1.0], [1.3], [0.8], [1.1]])
    found = compare_pairs("n", common * [[1.0, 1.001]], common * [[1.02, 1.021]])
    assert found.effect == pytest.approx(0.02, abs=1e-3)
    assert found.verdict == "slower"
    assert found.low > 0.01


def one(p_value, effect=0.1):
    verdict = "slower" if p_value < 0.05 else "no evidence"
    return Comparison("n", effect, 0.0, 0.2, p_value, p_value, verdict, 8)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    found = holm([one(0.04), one(0.001), one(0.02), one(0.9)])
    assert [c.adjusted_p_value for c in found] == pytest.approx([0.08, 0.004, 0.06, 0.9])
    assert [c.verdict for c in found] == ["no evidence", "slower", "no evidence", "no evidence"]


def test_equal_values_are_no_evidence_and_different_ones_without_noise_are():
    same = np.ones((3, 2))
    assert compare_pairs("n", same, same).verdict == "no evidence"
    assert compare_pairs("n", same, 2 * same).verdict == "slower"


def test_the_interval_widens_with_the_number_of_comparisons():
    found = compare_pairs("n", visits(np.random.default_rng(2)), visits(np.random.default_rng(3)))
    assert found.interval(0.05) == (found.low, found.high)  # to the last digit, as both are printed
    low, high = found.interval(0.05, comparisons=20)
    assert low < found.low < found.effect < found.high < high
    once = compare_pairs(
        "n", visits(np.random.default_rng(2)), visits(np.random.default_rng(3)), alpha=0.05 / 20
    )
    assert (low, high) == pytest.approx((once.low, once.high))


def test_too_little_to_compare_is_refused():
    with pytest.raises(NotEnoughDataError):
        compare_pairs("n", np.ones((1, 5)), np.ones((1, 5)))
    with pytest.raises(NotEnoughDataError):
        compare_groups("n", [1.0], [1.0, 2.0])
    with pytest.raises(InvalidValueError):
        compare_pairs("n", np.ones((2, 5)), np.ones((3, 5)))
    with pytest.raises(InvalidValueError):
        compare_groups("n", [1.0, 2.0], [1.0, 2.0], alpha=0)


def test_comparisons_are_shown_as_a_table():
    slower = dataclasses.replace(one(0.001, effect=0.031), name="<b>net</b>")
    html = comparisons_html([slower], missing=("gone",))
    for text in ("&lt;b&gt;net", "slower", "+3.10%", "gone", "not measured in B"):
        assert text in html
    assert slower._repr_html_() == comparisons_html([slower])
