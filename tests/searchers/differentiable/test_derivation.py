"""From probabilities to a network: the limit is kept, and little probability is lost."""

import numpy as np
import pytest
from known_problem import ALL, LATENCY, SPACE, latencies

from latprof.datasets.spaces.ofa_mobilenetv3 import OFAMobileNetV3Space
from latprof.errors import InvalidValueError
from latprof.searchers import LatencyTable, SearchProblem
from latprof.searchers.differentiable.derivation import derive
from latprof.searchers.sampling import neighbours

OF_ALL = latencies(ALL)


class Bounded(LatencyTable):
    """Measurements stay below 1.25 times the prediction."""

    def predict(self, architectures, *, upper=None):
        return self(architectures) * (1.0 if upper is None else 1.25)


def within(limit_ms, source=LATENCY, upper=None):
    return SearchProblem(source, None, limit_ms=limit_ms, upper=upper)


def drawn(seed, spread=1.0):
    """Logarithms of random probabilities, shape (8, 3)."""
    logits = spread * np.random.default_rng(seed).normal(size=(8, 3))
    return logits - np.logaddexp.reduce(logits, axis=1)[:, None]


def scores(log_probabilities, choices=ALL):
    return log_probabilities[np.arange(8), choices].sum(axis=1)


def lost_by(choices, log_probabilities, inside):
    """The loss of log-probability against the best of all networks that are inside."""
    return scores(log_probabilities)[inside].max() - scores(log_probabilities, choices[None])[0]


@pytest.mark.parametrize("limit", [np.inf, 11.0])
def test_the_most_probable_network_is_derived_where_it_fits(limit):
    for seed in range(10):
        found = derive(within(limit), drawn(seed))
        assert found.dtype == np.uint8
        assert (found == drawn(seed).argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("limit", "best_ones", "mean_loss"),
    [(2.0, 0.8, 0.1), (4.0, 0.85, 0.03), (6.0, 0.98, 0.002), (9.0, 1.0, 1e-9)],
)
def test_the_limit_is_kept_and_little_probability_is_lost(limit, best_ones, mean_loss):
    """Against all 6,561 networks: most often the best one, never far from it."""
    lost = []
    for seed in range(30):
        found = derive(within(limit), drawn(seed))
        assert latencies(found[None])[0] <= limit
        lost.append(lost_by(found, drawn(seed), limit >= OF_ALL))

    assert min(lost) >= -1e-9
    assert np.mean(np.array(lost) < 1e-9) >= best_ones
    assert np.mean(lost) < mean_loss


def test_no_single_change_makes_it_more_probable_within_the_limit():
    for seed in range(30):
        found = derive(within(5.0), drawn(seed))
        around = neighbours(SPACE, found)
        around = around[latencies(around) <= 5.0]
        assert scores(drawn(seed), around).max() <= scores(drawn(seed), found[None])[0]


def test_the_bound_must_keep_the_limit_not_the_prediction():
    source = Bounded(SPACE, ALL, OF_ALL)
    for seed in range(10):
        found = derive(within(6.0, source, upper=0.95), drawn(seed))
        assert latencies(found[None])[0] <= 6.0 / 1.25


def test_a_limit_that_only_one_network_keeps_leads_there():
    assert derive(within(1.0), drawn(0)).tolist() == [0] * 8


@pytest.mark.parametrize("limit", [0.5, 0.999])
def test_an_impossible_limit_is_refused_with_the_least_that_was_found(limit):
    with pytest.raises(InvalidValueError, match=r"1\.000 ms") as caught:
        derive(within(limit), drawn(0))
    assert caught.value.field == "limit_ms"


@pytest.mark.parametrize("limit", [3.0, 5.0, 8.0])
def test_near_uses_the_limit_up(limit):
    """Also where the most probable network takes much less."""
    fast = np.log(np.tile([0.8, 0.15, 0.05], (8, 1)))
    rows = [fast + 0.1 * drawn(seed) for seed in range(20)]

    assert all(latencies(derive(within(limit), row)[None])[0] == 1.0 for row in rows)
    for row in rows:
        found = derive(within(limit), row, near=0.03)
        assert 0.97 * limit <= latencies(found[None])[0] <= limit
        # What it costs: against the best of all networks that are as near.
        near = (limit >= OF_ALL) & (0.97 * limit <= OF_ALL)
        assert lost_by(found, row, near) < 2.0


def test_two_changes_at_once_lead_where_single_ones_do_not():
    missed = 0
    for seed in range(60):
        row = 3 * drawn(seed)
        found = derive(within(4.6), row, near=0.03)
        assert latencies(found[None])[0] <= 4.6
        missed += latencies(found[None])[0] < 0.97 * 4.6
    assert missed <= 2  # with single changes alone a third of them


def test_near_changes_nothing_where_the_limit_is_used_up_or_endless():
    slow = np.log(np.tile([0.05, 0.15, 0.8], (8, 1)))

    assert derive(within(11.0), slow, near=0.03).tolist() == [2] * 8
    assert derive(within(np.inf), slow[:, ::-1], near=0.03).tolist() == [0] * 8
    # What the largest network takes is all there is.
    assert derive(within(50.0), slow[:, ::-1], near=0.03).tolist() == [2] * 8


def test_near_keeps_the_bound():
    source = Bounded(SPACE, ALL, OF_ALL)
    fast = np.log(np.tile([0.8, 0.15, 0.05], (8, 1)))
    found = derive(within(6.0, source, upper=0.95), fast, near=0.1)

    assert 4.2 <= latencies(found[None])[0] <= 6.0 / 1.25


class Sized:
    """A latency of a space whose decisions may be inactive and differ in number."""

    space = OFAMobileNetV3Space()

    def predict(self, architectures, *, upper=None):
        choices = self.space.choices(architectures)
        return 1.0 + (choices * self.space.active(choices)).sum(axis=1) / 10.0


def test_padding_is_never_chosen():
    source = Sized()
    sizes = source.space.num_choices
    shape = (len(sizes), sizes.max())
    logits = np.random.default_rng(0).normal(size=shape)
    logits[np.arange(shape[1]) >= sizes[:, None]] = -np.inf
    largest = float(source.predict(logits.argmax(axis=1)[None].astype(np.uint8))[0])
    found = derive(within(0.6 * largest, source), logits)[None]

    assert (found < sizes).all()
    assert source.predict(found)[0] <= 0.6 * largest
