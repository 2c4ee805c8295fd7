"""What processes have in common is found, and nothing else is taken for it."""

import dataclasses

import numpy as np
import pytest
from stored_visits import measurement

from latprof.errors import InvalidValueError
from latprof.measurement.process_effects import FEWEST_VISITS, process_effects
from latprof.measurement.tables.visit_table import visit_row, visit_table
from latprof.profilers.campaign.intervals import Intervals


def campaign(networks=60, visits=5, effects=(0.0, 0.01, -0.02, 0.07, 0.0), noise=0.0, seed=0):
    """Every network visited once by each process; returns networks, processes, ratios."""
    generator = np.random.default_rng(seed)
    costs = generator.uniform(0.6, 1.8, networks)
    network = np.tile(np.arange(networks), visits)
    process = np.repeat(np.arange(visits), networks)
    noisy = noise * generator.standard_t(4, len(network))
    return network, process, costs[network] * np.exp(np.array(effects)[process] + noisy)


def test_effects_without_noise_are_found_to_the_last_digit():
    network, process, ratios = campaign()
    found = np.log(process_effects(network, process, ratios)[::60])
    wanted = np.array([0.0, 0.01, -0.02, 0.07, 0.0])
    np.testing.assert_allclose(found, wanted - wanted.mean(), atol=1e-5)


def test_corrected_ratios_of_a_network_agree():
    network, process, ratios = campaign()
    corrected = (ratios / process_effects(network, process, ratios)).reshape(5, 60)
    np.testing.assert_allclose(corrected, np.broadcast_to(corrected[0], (5, 60)), rtol=1e-4)


def test_labels_of_few_visits_gain_most_from_it():
    network, process, ratios = campaign(noise=0.008)
    costs = np.random.default_rng(0).uniform(0.6, 1.8, 60)
    kept = np.delete(np.arange(300), np.arange(180, 210))  # half of what the worst process made
    network, process, ratios = network[kept], process[kept], ratios[kept]
    corrected = ratios / process_effects(network, process, ratios)
    errors = [
        [values[network == n].mean() / costs[n] for n in range(60)]
        for values in (ratios, corrected)
    ]
    assert np.std(errors[1]) < 0.6 * np.std(errors[0])


def test_the_level_of_the_ratios_stays():
    network, process, ratios = campaign(noise=0.01)
    assert np.log(process_effects(network, process, ratios)).mean() == pytest.approx(0, abs=1e-9)


def test_visits_gone_wrong_hardly_move_an_effect():
    network, process, ratios = campaign(effects=(0, 0, 0, 0, 0), noise=0.005)
    ratios[[3, 17, 31]] *= 1.5
    assert np.abs(process_effects(network, process, ratios) - 1).max() < 0.004


def test_where_there_is_nothing_in_common_next_to_nothing_is_removed():
    network, process, ratios = campaign(effects=(0, 0, 0, 0, 0), noise=0.01)
    assert np.abs(process_effects(network, process, ratios) - 1).max() < 0.005


@pytest.mark.parametrize(
    ("networks", "effects"), [(FEWEST_VISITS - 1, (0.0, 0.1)), (60, (0.1,)), (1, (0.0, 0.1, 0.2))]
)
def test_a_process_with_too_little_to_tell_it_by_is_left_alone(networks, effects):
    found = process_effects(*campaign(networks, len(effects), effects))
    np.testing.assert_array_equal(found, 1.0)


def test_networks_of_one_visit_follow_their_process_and_tell_nothing():
    network, process, ratios = campaign(effects=(0.0, 0.04, 0.0, 0.0, 0.0))
    network, process = np.append(network, [900, 901]), np.append(process, [1, 2])
    found = process_effects(network, process, np.append(ratios, [3.0, 3.0]))
    assert found[-2] / found[-1] == pytest.approx(np.exp(0.04), rel=1e-4)


def test_a_process_that_shares_networks_only_with_small_ones_is_left_alone():
    """Process 0 made ten visits; nine of their networks were also visited by others, once each."""
    shared = np.arange(20)
    network = np.concatenate([np.arange(10), shared + 100, shared + 100, np.arange(9)])
    process = np.concatenate([np.zeros(10), np.full(20, 1), np.full(20, 2), 10 + np.arange(9)])
    ratios = np.where(process == 0, 1.2, np.where(process == 1, 1.05, 1.0))
    found = process_effects(network, process, ratios)
    np.testing.assert_array_equal(found[process == 0], 1.0)
    assert found[10] / found[30] == pytest.approx(1.05, rel=1e-4)


def test_names_may_be_of_any_kind():
    network, process, ratios = campaign()
    named = process_effects([f"net {n}" for n in network], [f"host/{p}" for p in process], ratios)
    np.testing.assert_allclose(named, process_effects(network, process, ratios))


def test_no_visits_have_no_effects():
    assert process_effects([], [], []).shape == (0,)


@pytest.mark.parametrize(
    ("networks", "processes", "ratios"),
    [([1, 2], [1], [1.0, 1.0]), ([1], [1], [0.0]), ([1], [1], [float("nan")])],
)
def test_what_are_no_visits_is_refused(networks, processes, ratios):
    with pytest.raises(InvalidValueError):
        process_effects(networks, processes, ratios)


def test_processes_that_no_network_connects_keep_their_level():
    network, process, ratios = campaign(networks=12, visits=2, effects=(0.0, 0.02), noise=0.05)
    apart = process_effects(
        np.concatenate([network, network + 12, network + 24]),
        np.concatenate([process, process + 2, process + 4]),
        np.concatenate([ratios, 9 * ratios[::-1], ratios**2]),
    )
    for group in np.split(np.log(apart), 3):
        assert group.mean() == pytest.approx(0, abs=1e-9)


def test_ratios_to_references_of_two_sizes_say_nothing_of_a_process():
    made = []
    for visit, name in enumerate(["", "", "small", "small"]):
        for number in range(15):
            each = measurement(
                str(number), visit=visit, ratio=2.0 / (9 if name else 1), process=f"h/{visit}"
            )
            assert each.samples is not None
            samples = dataclasses.replace(each.samples, reference_name=name)
            made.append(dataclasses.replace(each, samples=samples))
    table = visit_table([visit_row(each) for each in made], lambda: made)
    np.testing.assert_allclose(table["process_effect"], 1.0, rtol=1e-9)
    intervals = Intervals()
    for each in made:
        intervals.add(each.subject, 0, each)
    assert intervals.relative_half_width(made[0].subject, 0) < 1e-6
