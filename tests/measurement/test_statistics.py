"""Statistics of paired samples, against values worked out by hand and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latprof.errors import InvalidValueError
from latprof.measurement.records import PairedSamples
from latprof.measurement.statistics import (
    ROUND_BOUND,
    burst_medians,
    combine_visits,
    counted_runs,
    cut_bursts,
    interval_around,
    noise_floor_of_repeats,
    noise_floor_of_visits,
    raw_median_ms,
    raw_minimum_ms,
    reconcile,
    reference_drift,
    relative_half_width,
    round_ratios,
    visit_ratio,
    visit_ratios,
)

SAMPLES = PairedSamples(
    target=((99.0, 4.0, 6.0, 5.0), (99.0, 8.0, 8.0, 2.0)),
    reference=((99.0, 2.0, 2.0), (99.0, 3.0, 3.0), (99.0, 5.0, 5.0)),
)
POSITIVE = st.floats(0.01, 100)


def test_statistics_of_known_samples():
    target, reference = burst_medians(SAMPLES)

    assert target.tolist() == [5.0, 8.0]
    assert reference.tolist() == [2.0, 3.0, 5.0]
    assert round_ratios(SAMPLES).tolist() == [2.0, 2.0]
    assert visit_ratio(SAMPLES) == 2.0
    assert raw_median_ms(SAMPLES) == 5.5
    assert raw_minimum_ms(SAMPLES) == 2.0
    assert reference_drift(SAMPLES) == 1.5


def test_nothing_is_dropped_where_nothing_is_to_be():
    samples = PairedSamples(((4.0,),), ((2.0,), (2.0,)), dropped_runs=0)

    assert visit_ratio(samples) == 2.0


def test_of_two_rounds_an_interrupted_one_counts_for_little():
    quiet = ((9.0, 1.0, 1.0),) * 3
    interrupted = PairedSamples(((9.0, 2.0, 2.0), (9.0, 2.0, 20.0)), quiet)
    assert visit_ratio(interrupted) == pytest.approx(2.0 * (1 + ROUND_BOUND / 2))
    alike = PairedSamples(((9.0, 2.0, 2.0), (9.0, 2.1, 2.1)), quiet)
    assert visit_ratio(alike) == pytest.approx(2.05)
    three = PairedSamples((*interrupted.target, (9.0, 2.2, 2.2)), (*quiet, quiet[0]))
    assert visit_ratio(three) == pytest.approx(2.2), "three rounds have a middle"


def test_visits_are_compared_over_the_runs_that_all_made():
    """A burst's later runs are faster here, for both: 4 and 3, 2 and 1.5 ms."""
    short = PairedSamples(((9.0, 4.0),), ((9.0, 2.0),) * 2)
    long = PairedSamples(((9.0, 4.0, 3.0, 3.0),), ((9.0, 2.0, 1.5),) * 2)
    assert counted_runs(short) == (1, 1)
    assert counted_runs(long) == (3, 2)
    assert visit_ratio(long) != pytest.approx(2.0)
    np.testing.assert_allclose(visit_ratios([short, long]), [2.0, 2.0])
    np.testing.assert_allclose(visit_ratios([long]), [visit_ratio(long)])
    assert cut_bursts(long, 3, 2) == long
    assert visit_ratios([]).shape == (0,)


@given(st.lists(POSITIVE, min_size=6, max_size=6), st.floats(0.1, 10))
def test_ratios_do_not_know_the_clock(values, factor):
    def samples(scale):
        a, b, c, d, e, f = (value * scale for value in values)
        return PairedSamples(((9.0, a), (9.0, b, c)), ((9.0, d), (9.0, e), (9.0, f)))

    assert visit_ratio(samples(factor)) == pytest.approx(visit_ratio(samples(1.0)))


@pytest.mark.parametrize(
    ("visits", "combined"),
    [
        ([2.0], 2.0),
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, 90.0], 2.0),
        ([0.1, 1.0, 3.0, 90.0], 2.0),
        ([90.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 91.0], 3.5),
    ],
)
def test_visits_combine_to_the_mean_of_their_middle(visits, combined):
    assert combine_visits(visits) == pytest.approx(combined)
    assert combine_visits(visits[::-1]) == pytest.approx(combined)


@given(st.lists(POSITIVE, min_size=1, max_size=12))
def test_a_combination_lies_between_its_visits(visits):
    assert min(visits) * (1 - 1e-12) <= combine_visits(visits) <= max(visits) * (1 + 1e-12)


def test_the_combination_wastes_as_little_as_documented():
    visits = np.random.default_rng(0).standard_normal((20_000, 8))
    combined = np.array([combine_visits(row) for row in visits[:5000]])

    inefficiency = combined.var() / visits.mean(axis=1).var()
    assert 1.1 < inefficiency < 1.35
    assert inefficiency < np.median(visits, axis=1).var() / visits.mean(axis=1).var()


def test_no_visits_do_not_combine():
    with pytest.raises(InvalidValueError):
        combine_visits([])


def test_the_noise_floor_of_repeats_finds_the_noise_that_was_put_in():
    random = np.random.default_rng(1)
    truth = random.uniform(5, 20, 5000)
    first, second = (truth * (1 + 0.01 * random.standard_normal(5000)) for _ in range(2))

    floor = noise_floor_of_repeats(first, second)

    assert floor.relative == pytest.approx(0.01, rel=0.05)
    assert floor.percent == pytest.approx(1.0, rel=0.05)
    assert floor.rmse_ms == pytest.approx(0.01 * np.sqrt(np.mean(truth**2)), rel=0.05)
    assert (floor.pairs, floor.method) == (5000, "repeats")


def test_the_noise_floor_of_visits_agrees_with_that_of_repeats():
    random = np.random.default_rng(2)
    truth = random.uniform(5, 20, 2000)
    visits = truth[:, None] * (1 + 0.02 * random.standard_normal((2000, 8)))
    again = truth[:, None] * (1 + 0.02 * random.standard_normal((2000, 8)))
    labels, second = ([combine_visits(row) for row in rows] for rows in (visits, again))

    by_visits = noise_floor_of_visits(list(visits), labels)
    by_repeats = noise_floor_of_repeats(labels, second)

    assert by_visits.relative == pytest.approx(by_repeats.relative, rel=0.06)
    assert by_visits.rmse_ms == pytest.approx(by_repeats.rmse_ms, rel=0.06)
    assert by_visits.method == "visits"


def test_networks_visited_once_are_left_out_of_the_noise_floor():
    floor = noise_floor_of_visits([[1.0, 1.1], [2.0]], [1.05, 2.0])

    assert floor.pairs == 1


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [1.0, 2.0])])
def test_a_noise_floor_needs_pairs(first, second):
    with pytest.raises(InvalidValueError):
        noise_floor_of_repeats(first, second)


def test_a_noise_floor_needs_a_second_visit():
    with pytest.raises(InvalidValueError):
        noise_floor_of_visits([[1.0]], [1.0])


def test_the_noise_floor_is_that_of_the_first_measurement_whatever_the_second_had():
    generator = np.random.default_rng(0)
    n, m = 9, 2
    first = 5 * (1 + 0.01 * generator.standard_normal((4000, n)).mean(axis=1))
    second = 5 * (1 + 0.01 * generator.standard_normal((4000, m)).mean(axis=1))
    floor = noise_floor_of_repeats(first, second, (np.full(4000, n), np.full(4000, m)))

    assert floor.relative == pytest.approx(0.01 / n**0.5, rel=0.05)
    assert floor.rmse_ms == pytest.approx(5 * 0.01 / n**0.5, rel=0.05)


def test_the_half_width_is_students():
    # t(0.95, 3) = 2.35336; mean 2, standard deviation 0.0163299
    ratios = [1.98, 2.0, 2.02, 2.0]

    assert relative_half_width(ratios) == pytest.approx(2.35336 * 0.0163299 / 2 / 2, rel=1e-3)
    assert np.isnan(relative_half_width([2.0]))
    # Eight visits: the outermost drawn in, 1 of 8 at either end; t(0.95, 5) = 2.01505
    ratios = [1.5, 2.0, 1.98, 2.02, 2.0, 1.99, 2.01, 9.0]
    spread = np.std([1.98, 1.98, 1.99, 2.0, 2.0, 2.01, 2.02, 2.02], ddof=1) / 0.75
    expected = 2.01505 * spread / 8**0.5 / 2
    assert relative_half_width(ratios) == pytest.approx(expected, rel=1e-3)
    assert np.isnan(relative_half_width([]))


def test_an_interval_is_on_logarithms_and_never_reaches_0():
    ratios = [1.0, 3.0, 0.2]  # few visits on a host that disturbs them
    low, high = interval_around(combine_visits(ratios), relative_half_width(ratios))
    assert 0 < low < combine_visits(ratios) < high
    inverse = [1 / ratio for ratio in ratios]
    assert relative_half_width(inverse) == pytest.approx(relative_half_width(ratios))


def test_reconciling_finds_the_line_and_what_is_left():
    sums = np.array([1.0, 2.0, 4.0, 8.0])
    found = reconcile(sums, 1.05 * sums + 0.1)

    assert (found.scale, found.offset_ms) == pytest.approx((1.05, 0.1))
    assert found.mape_percent == pytest.approx(0, abs=1e-9)
    assert found.gap_percent == pytest.approx(5 + 10 * (1 / sums).mean())
    with pytest.raises(InvalidValueError):
        reconcile([1.0, 2.0], [1.0, 2.0])


@pytest.mark.parametrize("visits", [4, 5, 8, 16])
@pytest.mark.parametrize("outliers", [0.0, 0.02])
def test_intervals_hold_what_they_promise_with_outliers_too(visits, outliers):
    generator = np.random.default_rng(visits)
    held = []
    for _ in range(3000):
        noise = 0.014 * generator.standard_normal(visits)
        noise += 0.1 * (generator.random(visits) < outliers) * generator.choice([-1, 1], visits)
        held.append(abs(combine_visits(1 + noise) - 1) <= relative_half_width(1 + noise))

    assert 0.86 < np.mean(held) < 0.93
