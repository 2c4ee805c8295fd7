"""What a collection cost, also where several commands wrote at once."""

import pandas as pd
import pytest

from latprof.measurement.statistics import NoiseFloor
from latprof.measurement.summary import campaign_cost, describe_noise_floor


def visits(starts, wall_s=2.0, timed_s=1.0):
    return pd.DataFrame(
        {
            "started_at": starts,
            "wall_s": wall_s,
            "timed_s": timed_s,
            "label": 0,
            "kind": "model",
            "space": "",
            "subject": [str(number) for number in range(len(starts))],
        }
    )


def test_all_time_from_one_visit_to_the_next_counts():
    rate, untimed = campaign_cost(visits([0.0, 4.0, 8.0, 12.0]))
    assert rate == pytest.approx(3600 * 4 / 14)
    assert untimed == pytest.approx(1 - 4 / 14)


def test_an_interruption_is_no_cost_and_a_visit_before_it_is():
    rate, untimed = campaign_cost(visits([0.0, 4.0, 5000.0], wall_s=70.0, timed_s=69.0))
    assert 0 < untimed < 0.1
    rate, untimed = campaign_cost(visits([0.0, 5000.0]))
    assert rate == pytest.approx(3600 * 2 / 4)
    assert untimed == pytest.approx(0.5)


def test_writers_at_the_same_time_have_a_time_each():
    own = visits([0.0, 2.0, 4.0, 6.0], timed_s=1.9)
    beside = visits([0.5, 2.5, 4.5, 6.5], timed_s=1.9)
    rate, untimed = campaign_cost(pd.concat([own, beside]))
    assert untimed == pytest.approx(0.05)
    assert rate == pytest.approx(3600 * 4 / 8.5)


def test_a_clock_that_steps_back_gives_a_share_all_the_same():
    _, untimed = campaign_cost(visits([100.0, 102.0, 50.0, 52.0], timed_s=1.5))
    assert 0 <= untimed < 1


@pytest.mark.parametrize(
    ("pairs", "method", "words"),
    [
        (1, "visits", "from the spread of the visits of 1 network"),
        (2, "visits", "from the spread of the visits of 2 networks"),
        (1, "repeats", "from 1 network measured again"),
    ],
)
def test_a_noise_floor_counts_its_networks(pairs, method, words):
    assert describe_noise_floor(NoiseFloor(0.01, 0.1, pairs, method)).endswith(words)
