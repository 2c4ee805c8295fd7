"""Expected latencies: exact where they can be, and differentiable."""

import itertools
from typing import Any

import numpy as np
import pytest
from small_space import SmallSpace
from synthetic_latency import SPACE, measured

from latprof.datasets.spaces.named import get_space
from latprof.errors import CoverageError, InvalidValueError
from latprof.predictors.fitting.factors import Factor
from latprof.predictors.gradients.torch_latency import as_torch, expected_latency, surrogate_error
from latprof.predictors.models.by_name import make_predictor

torch = pytest.importorskip("torch")

SIZES = SPACE.num_choices.tolist()


def random_probabilities(seed=0, sizes=SIZES, *, requires_grad=False):
    generator = np.random.default_rng(seed)
    values = np.zeros((len(sizes), max(sizes)))
    for row, size in zip(values, sizes, strict=True):
        row[:size] = generator.dirichlet(np.ones(size))
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad)


def one_hot(choices):
    return torch.tensor(np.eye(max(SIZES))[choices], dtype=torch.float64)


def test_at_a_certain_choice_the_expectation_is_the_prediction(fitted):
    choices = SPACE.sample_choices(50, seed=4)
    expected = expected_latency(fitted, one_hot(choices)).numpy()
    predicted = fitted.predict(choices)
    if fitted.name in ("linear", "lookup-table"):
        np.testing.assert_allclose(expected, predicted, rtol=1e-6)
    else:  # trees: what singles and pairs explain
        assert np.sqrt(np.mean((expected - predicted) ** 2)) < 0.1 * predicted.std()


@pytest.mark.parametrize("name", ["linear", "lookup-table", "hybrid"])
def test_an_additive_expectation_is_the_sum_over_probabilities(name, rows):
    fitted: Any = make_predictor(name, SPACE).fit(*rows)
    assert not len(getattr(fitted, "trees_", ()))
    p = random_probabilities()
    level = getattr(fitted, "intercept_ms_", None) or fitted.fixed_ms_
    expected = level + float((p.numpy() * np.nan_to_num(fitted.table_)).sum())
    assert float(expected_latency(fitted, p)) == pytest.approx(expected, rel=1e-6)


def test_gradients_agree_with_finite_differences_and_padding_has_none(fitted):
    p = random_probabilities(1, requires_grad=True)
    expected_latency(fitted, p).backward()
    module = as_torch(fitted).double()
    for decision, choice in [(0, 0), (0, 5), (3, 2), (8, 1), (20, 4)]:
        ends = []
        for step in (-1e-4, 1e-4):
            moved = p.detach().clone()
            moved[decision, choice] += step
            ends.append(float(module(moved)))
        numeric = (ends[1] - ends[0]) / 2e-4
        assert float(p.grad[decision, choice]) == pytest.approx(numeric, rel=1e-3, abs=1e-6)
    assert torch.all(p.grad[0, 6:] == 0)  # the first block has six candidates


def test_torch_agrees_that_the_gradient_is_right(fitted):
    module = as_torch(fitted).double()
    assert torch.autograd.gradcheck(module, (random_probabilities(2, requires_grad=True),))


def test_a_batch_of_distributions_gives_a_batch_of_latencies(fitted):
    rows = [random_probabilities(seed) for seed in range(6)]
    together = expected_latency(fitted, torch.stack(rows).reshape(2, 3, 21, 7))
    apart = [float(expected_latency(fitted, row)) for row in rows]
    np.testing.assert_allclose(together.numpy().ravel(), apart, rtol=1e-9)


def test_a_shape_that_is_not_the_spaces_is_refused(fitted):
    with pytest.raises(InvalidValueError, match=r"expected \(\.\.\., 21, 7\), got \(21, 6\)"):
        expected_latency(fitted, torch.zeros(21, 6))


def test_single_and_double_precision_and_a_refit_are_kept_apart():
    choices, latency = measured(100, noise=0.01)
    predictor = make_predictor("linear", SPACE).fit(choices, latency)
    p = random_probabilities()
    before = float(expected_latency(predictor, p))
    assert expected_latency(predictor, p.float()).dtype == torch.float32
    predictor.fit(choices, 2 * latency)
    assert float(expected_latency(predictor, p)) == pytest.approx(2 * before, rel=1e-5)


def test_a_table_with_gaps_has_no_expectation():
    choices, latency = measured(12)
    table = make_predictor("lookup-table", SPACE).fit(choices, latency)
    with pytest.raises(CoverageError, match="lacks"):
        as_torch(table)


def test_the_surrogate_of_trees_is_near_the_mean_of_samples(with_trees):
    assert len(with_trees.trees_)
    assert surrogate_error(with_trees, draws=20, samples=4000) < 1.0
    additive = make_predictor("linear", SPACE).fit(*measured(300, noise=0.01))
    assert surrogate_error(additive, draws=20) < 0.1


def test_a_product_of_tables_is_exact_over_all_architectures():
    space = SmallSpace()
    choices = np.array(list(itertools.product(*map(range, space.num_choices))), dtype=np.uint8)
    generator = np.random.default_rng(0)
    latency = 10 + generator.random(len(choices)) * 5
    predictor = make_predictor("hybrid", space).fit(choices, latency)
    sizes = space.num_choices.tolist()
    p = random_probabilities(3, sizes)
    weights = np.prod([p.numpy()[i, choices[:, i]] for i in range(len(sizes))], axis=0)
    exact = float(weights @ predictor.predict(choices))
    assert float(expected_latency(predictor, p)) == pytest.approx(exact, rel=1e-6)


def test_factors_of_several_decisions_are_contracted_with_their_own(fitted):
    from latprof.predictors.base import Terms
    from latprof.predictors.gradients.expectation import expectation_of
    from latprof.predictors.gradients.torch_expectation import ExpectedLatency

    generator = np.random.default_rng(1)
    factors = (
        Factor((0, 4), generator.random((6, 6))),
        Factor((1, 2), generator.random((7, 7))),
        Factor((3, 5, 9), generator.random((7, 7, 7))),
    )
    module = ExpectedLatency(expectation_of(Terms(2.0, factors), SIZES)).double()
    choices = SPACE.sample_choices(20)
    expected = 2.0 + sum(f.table_ms[tuple(choices[:, list(f.decisions)].T)] for f in factors)
    np.testing.assert_allclose(module(one_hot(choices)).numpy(), expected, rtol=1e-6)


def test_decisions_that_fix_a_block_together_are_exact_also_where_they_do_not_count():
    space = get_space("ofa-mobilenetv3", resolutions=(128, 160, 192))
    choices = space.sample_choices(60, seed=1)
    macs = np.array([space.macs(a) for a in space.architectures(choices)])
    predictor = make_predictor("hybrid", space).fit(choices, 2 + macs / 30e6)
    sizes = space.num_choices.tolist()
    anything = (np.random.default_rng(2).random((30, len(sizes))) * sizes).astype(np.uint8)
    assert not np.array_equal(space.canonical(anything), anything)  # some layers are not there
    certain = torch.tensor(np.eye(max(sizes))[anything], dtype=torch.float64)
    module = as_torch(predictor).double()
    np.testing.assert_allclose(module(certain).numpy(), predictor.predict(anything), rtol=1e-6)
    p = random_probabilities(4, sizes)
    sampled = np.array(
        [
            np.random.default_rng(i).choice(size, 20_000, p=p.numpy()[i, :size])
            for i, size in enumerate(sizes)
        ],
        dtype=np.uint8,
    ).T
    drawn = predictor.predict(sampled)
    error = drawn.std() / np.sqrt(len(drawn))
    assert float(module(p)) == pytest.approx(drawn.mean(), abs=4 * error)
    assert torch.autograd.gradcheck(module, (p.requires_grad_(),))


def test_a_first_look_without_gradients_does_not_take_them_from_later_ones(rows):
    fitted = make_predictor("linear", SPACE).fit(*rows)
    with torch.inference_mode():
        expected_latency(fitted, random_probabilities())
    p = random_probabilities(requires_grad=True)
    expected_latency(fitted, p).backward()
    assert p.grad.any()


@pytest.mark.parametrize("wrong", [None, [[0.5]], np.ones((21, 7)), torch.ones(21, 7).long()])
def test_what_is_no_tensor_of_floats_is_refused(fitted, wrong):
    with pytest.raises(InvalidValueError, match="floating-point"):
        expected_latency(fitted, wrong)
