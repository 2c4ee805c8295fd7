"""A search's winner is measured on this computer, in the milliseconds of a pack made on it."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from latprof import Verification, load_pack, verify
from latprof.errors import InvalidValueError, TargetMismatchError
from latprof.measurement import VisitCounts
from latprof.measurement.quiet.target_constant import Constant, Tie
from latprof.workflows.search_result import SearchResult


@pytest.fixture(scope="module")
def loaded(pack):
    return load_pack(pack)


@pytest.fixture(scope="module")
def architecture(loaded):
    return loaded.space.sample(1, seed=5)[0]


@pytest.fixture(scope="module")
def verified(loaded, architecture):
    return verify(loaded, architecture, limit_ms=1e6, visits=2)


def test_a_network_is_measured_beside_its_prediction(loaded, architecture, verified):
    choices = loaded.space.choices([architecture])

    assert verified.architecture == str(architecture)
    assert 0 < verified.measured_ms <= verified.high_ms
    assert verified.visits.made in (2, 4, 6, 8), "until the interval is narrow enough"
    assert verified.visits.failed == 0
    assert verified.low_ms <= verified.measured_ms
    assert verified.predicted_ms == pytest.approx(loaded.predictor.predict(choices)[0])
    # 14 networks are too few for a bound that holds 95 times in 100.
    assert (verified.bound_ms, verified.upper) == (verified.predicted_ms, None)
    assert verified.gap == pytest.approx(verified.measured_ms / verified.predicted_ms - 1)


def test_the_bound_is_that_of_the_share_that_is_asked_for(loaded, architecture):
    choices = loaded.space.choices([architecture])
    found = verify(loaded, architecture, upper=0.8, visits=2, half_width=1)
    assert found.upper == found.to_dict()["upper"] == 0.8
    assert found.bound_ms == pytest.approx(loaded.predictor.predict(choices, upper=0.8)[0])
    with pytest.raises(InvalidValueError, match="upper"):
        verify(loaded, architecture, upper=2)


def test_both_numbers_are_of_this_computer(loaded, verified):
    assert verified.same_target
    assert verified.target == verified.measured_on == loaded.target
    assert verified.keeps_limit


def test_a_verification_is_plain_json(verified):
    values = json.loads(json.dumps(verified.to_dict(), allow_nan=False))

    assert values["measured_ms"] == verified.measured_ms
    assert values["visits_made"] == verified.visits.made
    assert values["limit_ms"] == 1e6
    assert values["target"] == values["measured_on"] == verified.target.to_dict()
    assert (values["gap"], values["same_target"], values["keeps_limit"]) == (
        verified.gap,
        True,
        True,
    )
    unlimited = replace(verified, limit_ms=math.inf).to_dict()
    assert unlimited["limit_ms"] is None
    assert unlimited["keeps_limit"]


def test_the_measured_latency_must_keep_the_limit_not_the_prediction():
    found = Verification("a", 5.0, 4.5, 5.5, 4.0, 4.4, 4.5, None, None)

    assert not found.keeps_limit
    assert found.gap == pytest.approx(0.25)
    assert replace(found, limit_ms=5.0).keeps_limit


def elsewhere(loaded):
    """The pack as it would be of another version of the runtime."""
    return replace(loaded, target=replace(loaded.target, runtime_version="0.0.1"))


def test_a_pack_of_another_target_is_refused(loaded, architecture):
    with pytest.raises(TargetMismatchError, match=r"0\.0\.1") as caught:
        verify(elsewhere(loaded), architecture, visits=2)
    assert loaded.target.describe() in str(caught.value)


def test_where_it_is_wished_numbers_of_two_targets_stand_side_by_side(loaded, architecture):
    """In this computer's own milliseconds: the pack's constant would be of another one."""
    foreign = replace(elsewhere(loaded), reference_ms=1e6)
    found = verify(foreign, architecture, visits=2, half_width=1, other_target=True)

    assert not found.same_target
    assert found.target.runtime_version == "0.0.1"
    assert found.measured_on == loaded.target
    assert 0 < found.measured_ms < 1e4
    assert not found.to_dict()["same_target"]
    assert found.limit_ms == math.inf


def test_measured_milliseconds_are_those_of_the_pack(loaded, architecture):
    """A pack whose clock was a thousand times slower gets a thousand times the milliseconds."""
    slower = replace(loaded, reference_ms=1000.0 * loaded.reference_ms)
    found = verify(slower, architecture, visits=2, half_width=1)

    assert 200.0 < found.measured_ms / found.predicted_ms < 5000.0
    assert found.high_ms / found.measured_ms == pytest.approx(found.measured_ms / found.low_ms)
    assert 0 < found.low_ms <= found.measured_ms


def test_a_reference_of_another_size_is_tied_to_the_packs_milliseconds(loaded, architecture):
    """The pack's own reference is another one, of a thousandth of this one's time."""
    ties = {loaded.reference: Tie(1000.0, 0.001, 12)}
    known = Constant(loaded.reference_ms, doubt=0.01, ties=ties)
    tied = replace(loaded, reference="another", constant=known)
    found = verify(tied, architecture, visits=2, half_width=1)

    assert 200.0 < found.measured_ms / found.predicted_ms < 5000.0
    untied = verify(replace(tied, constant=None), architecture, visits=2, half_width=1)
    assert untied.measured_ms < 200.0 * untied.predicted_ms, "this host's own milliseconds"


@pytest.mark.parametrize("visits", [1, 0])
def test_one_visit_has_no_interval_and_is_refused(loaded, architecture, visits):
    with pytest.raises(InvalidValueError) as caught:
        verify(loaded, architecture, visits=visits)
    assert caught.value.field == "visits"


def test_a_pack_without_a_target_is_refused(loaded, architecture):
    with pytest.raises(InvalidValueError, match="the pack has no target"):
        verify(replace(loaded, target=None), architecture, visits=2)


def test_a_search_whose_winner_lost_visits_ends_with_a_status_of_its_own():
    run = SimpleNamespace(found=SimpleNamespace(best="some network"))
    whole = Verification("a", 5.0, 4.5, 5.5, 4.0, 4.4, 6.0, None, None, VisitCounts(16))
    lost = replace(whole, visits=VisitCounts(15, 1))

    assert SearchResult(None, run, whole).exit_status == 0
    assert SearchResult(None, run, lost).exit_status == 5
    assert SearchResult(None, run, replace(lost, limit_ms=4.0)).exit_status == 1
