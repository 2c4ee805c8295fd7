"""Rewards and latency terms: hand-computed values of the papers, gradients, refusals."""

import math

import numpy as np
import pytest
import torch

from latprof import load_pack
from latprof.errors import InvalidValueError, UnknownNameError
from latprof.searchers import HARD, SOFT, expected_latency, latency_regularizer, mnas_reward

FORMS = {
    "add#plain": {"strength": 0.05},
    "add#linear": {"target_ms": 30.0},
    "mul#log": {"target_ms": 30.0},
    "fbnet": {},
    "lightnas": {"target_ms": 30.0, "strength": 0.4},
}


def test_soft_constraint_trades_double_latency_for_five_percent_accuracy():
    at_target, doubled = mnas_reward([0.70, 0.735], [75.0, 150.0], 75.0, SOFT)

    assert at_target == pytest.approx(0.70)
    assert doubled == pytest.approx(0.735 * 2**-0.07)
    assert doubled == pytest.approx(at_target, rel=1e-2)


def test_hard_constraint_ignores_latency_below_the_target_and_divides_above():
    reward = mnas_reward([0.7, 0.7, 0.7], [10.0, 75.0, 150.0], 75.0, HARD)

    assert reward == pytest.approx([0.7, 0.7, 0.35])


@pytest.mark.parametrize("exponents", [HARD, SOFT])
def test_a_negative_accuracy_is_no_better_for_being_slower(exponents):
    reward = mnas_reward([-0.7, -0.7, -0.7], [75.0, 100.0, 150.0], 75.0, exponents)

    assert reward[0] == pytest.approx(-0.7)
    assert reward[0] > reward[1] > reward[2]


def test_mobilenetv3s_exponent_for_the_small_model():
    """``w = -0.15``: at twice the target 0.9013 of the accuracy is left."""
    assert mnas_reward(0.675, 30.0, 15.0, (-0.15, -0.15)) == pytest.approx(
        0.675 * 0.90125, rel=1e-4
    )


@pytest.mark.parametrize(("latency", "target"), [([0.0], 1.0), ([1.0], 0.0), ([1.0], math.nan)])
def test_latencies_are_above_zero(latency, target):
    with pytest.raises(InvalidValueError):
        mnas_reward([0.5], latency, target)


@pytest.mark.parametrize("latency", [[math.nan], [math.inf], [-1.0]])
def test_what_is_no_latency_has_no_reward(latency):
    with pytest.raises(InvalidValueError):
        mnas_reward([0.5], latency, 1.0)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("add#plain", 2.0 + 0.05 * 60.0),
        ("add#linear", 2.0 + 0.1 * (60.0 - 30.0) / 30.0),
        ("mul#log", 2.0 * 0.2 * 1.20380**0.3),  # ln 60 / ln 30 = 4.09434 / 3.40120
        ("fbnet", 2.0 * 0.2 * 4.09434**0.6),
        ("lightnas", 2.0 + 0.4 * (60.0 / 30.0 - 1)),
    ],
)
def test_forms_agree_with_the_papers_by_hand(form, expected):
    assert latency_regularizer(2.0, 60.0, form=form, **FORMS[form]) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("form", FORMS)
def test_numbers_arrays_and_tensors_give_the_same(form):
    options = {"form": form, **FORMS[form]}
    latencies = [12.0, 30.0, 75.0]
    one_by_one = [latency_regularizer(1.5, latency, **options) for latency in latencies]

    assert latency_regularizer(1.5, np.array(latencies), **options) == pytest.approx(one_by_one)
    tensor = latency_regularizer(torch.tensor(1.5), torch.tensor(latencies), **options)
    assert tensor.tolist() == pytest.approx(one_by_one)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_finite_differences(form):
    loss = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    latency = torch.tensor(47.0, dtype=torch.float64, requires_grad=True)

    def total(loss, latency):
        return latency_regularizer(loss, latency, form=form, **FORMS[form])

    assert torch.autograd.gradcheck(total, (loss, latency), eps=1e-6, rtol=1e-3, atol=1e-9)


def test_lightnas_strength_learns_by_ascent_towards_the_target():
    strength = torch.tensor(0.0, requires_grad=True)
    for latency, sign in ((40.0, 1.0), (20.0, -1.0)):
        value = latency_regularizer(1.0, latency, 30.0, form="lightnas", strength=strength)
        (gradient,) = torch.autograd.grad(value, strength)
        assert gradient.item() == pytest.approx(sign / 3)  # (LAT - T) / T


def test_a_smaller_unit_admits_networks_of_less_than_a_millisecond():
    """mul#log depends on the unit as the authors' code does: 300 and 400 microseconds here."""
    value = latency_regularizer(2.0, 0.3, 0.4, form="mul#log", unit_ms=1e-3)

    assert value == pytest.approx(2.0 * 0.2 * (math.log(300) / math.log(400)) ** 0.3)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"form": "mul#log", "target_ms": None}, InvalidValueError),
        ({"form": "mul#log", "target_ms": 0.9}, InvalidValueError),
        ({"form": "mul#log", "target_ms": math.nan}, InvalidValueError),
        ({"form": "mul#log", "target_ms": math.inf}, InvalidValueError),
        ({"form": "add#linear", "target_ms": 0.0}, InvalidValueError),
        ({"form": "add#linear", "target_ms": -3.0}, InvalidValueError),
        ({"form": "add#plain"}, InvalidValueError),
        ({"form": "lightnas", "target_ms": 30.0}, InvalidValueError),
        ({"form": "fbnet", "unit_ms": 0.0}, InvalidValueError),
        ({"form": "fbnet", "unit_ms": math.nan}, InvalidValueError),
        ({"form": "log"}, UnknownNameError),
        ({"form": None}, UnknownNameError),
    ],
)
def test_impossible_terms_are_refused(options, error):
    with pytest.raises(error):
        latency_regularizer(1.0, 20.0, **options)


@pytest.mark.parametrize("latency", [0.5, 1.0, math.nan, torch.tensor([20.0, 0.3])])
@pytest.mark.parametrize("form", ["fbnet", "mul#log"])
def test_a_logarithm_that_is_not_above_zero_is_refused_not_nan(latency, form):
    with pytest.raises(InvalidValueError, match="smaller unit"):
        latency_regularizer(1.0, latency, 30.0, form=form)


@pytest.fixture(scope="module")
def pack():
    return load_pack("proxyless-cpu-ort1")


def _uniform(space):
    sizes = space.num_choices.tolist()
    return [torch.full((size,), 1 / size, dtype=torch.float64) for size in sizes]


def test_probabilities_may_come_one_tensor_a_decision(pack):
    rows = _uniform(pack.space)
    most = max(len(row) for row in rows)
    padded = torch.stack([torch.nn.functional.pad(row, (0, most - len(row))) for row in rows])

    together = expected_latency(pack.predictor, padded)
    assert expected_latency(pack.predictor, rows).item() == pytest.approx(together.item())


def test_probabilities_of_another_space_are_refused(pack):
    with pytest.raises(InvalidValueError, match="decisions"):
        expected_latency(pack.predictor, _uniform(pack.space)[:-1])


def test_expected_latency_of_one_hot_choices_is_their_prediction(pack):
    choices = pack.space.sample_choices(20, seed=3)
    rows = [
        torch.nn.functional.one_hot(
            torch.tensor(choices[:, i].astype(np.int64)), int(size)
        ).double()
        for i, size in enumerate(pack.space.num_choices)
    ]

    latency = expected_latency(pack.predictor, rows)
    assert latency.numpy() == pytest.approx(pack.predictor.predict(choices), rel=5e-3)


@pytest.mark.parametrize("form", FORMS)
def test_the_whole_latency_loss_agrees_with_finite_differences(pack, form):
    """Through softmax, expected latency and term, for some of the architecture parameters."""
    generator = torch.Generator().manual_seed(0)
    sizes = pack.space.num_choices.tolist()
    logits = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    options = FORMS[form] | {k: 5.0 for k in ("target_ms",) if k in FORMS[form]}

    def loss(values):
        probabilities = [value.softmax(-1) for value in values]
        expected = expected_latency(pack.predictor, probabilities)
        return latency_regularizer(2.0, expected, form=form, **options)

    for position in (0, 7, 20):
        value = logits[position].clone().requires_grad_()
        given = [*logits[:position], value, *logits[position + 1 :]]
        (gradient,) = torch.autograd.grad(loss(given), value)
        step = 1e-4
        for index in range(sizes[position]):
            shifted = []
            for sign in (1, -1):
                moved = logits[position].clone()
                moved[index] += sign * step
                shifted.append(loss([*logits[:position], moved, *logits[position + 1 :]]).item())
            numeric = (shifted[0] - shifted[1]) / (2 * step)
            assert gradient[index].item() == pytest.approx(numeric, rel=1e-3, abs=1e-6)
