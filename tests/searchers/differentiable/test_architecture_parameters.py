"""Gates and probabilities: gradients against the formulas, draws against their frequencies."""

import itertools

import numpy as np
import pytest
import torch

from latprof.datasets.spaces.named import get_space
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.predictors.models.linear import LinearPredictor
from latprof.searchers.differentiable.architecture_parameters import (
    ArchitectureParameters,
    gumbel_gates,
    rescale_pairs,
    two_path_gates,
)

#: Decisions of 6 and of 7 candidates, so there is padding.
SPACE = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
SIZES = SPACE.num_choices.tolist()
#: Eight decisions of three candidates; with equal logits one draw of all is eight draws of one.
MACRO = get_space("nasbench-macro")
THREE = [0.5, 0.3, 0.2]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_parameters(seed=0, dtype=torch.float64):
    parameters = ArchitectureParameters(SPACE).to(dtype)
    values = torch.randn(parameters.logits.shape, generator=seeded(seed), dtype=dtype)
    parameters.logits.data = values
    return parameters


def three_candidates(probabilities=THREE):
    parameters = ArchitectureParameters(MACRO).double()
    parameters.logits.data += torch.tensor(probabilities, dtype=torch.float64).log()
    return parameters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pairs_of(paths):
    return np.array([path.candidates for path in paths])


def two_path_gradient(logits, pair, slopes):
    """``sum_j dL/dg_j p_j (delta_ij - p_i)`` over the pair, its probabilities scaled to sum 1."""
    weights = np.exp(logits[pair] - np.logaddexp.reduce(logits[pair]))
    gradient = np.zeros(len(logits))
    for i, j in itertools.product(range(2), repeat=2):
        gradient[pair[i]] += slopes[j] * weights[j] * ((i == j) - weights[i])
    return gradient


def test_padding_has_no_probability_and_the_rest_sums_to_one():
    p = random_parameters().probabilities().detach().numpy()

    assert p.shape == (21, 7)
    assert p.sum(axis=1) == pytest.approx(np.ones(21))
    assert [(row > 0).sum() for row in p] == SIZES


def test_the_gradient_of_a_draw_is_the_two_path_formula():
    parameters = random_parameters()
    logits = parameters.logits.detach().numpy()
    for seed in range(40):
        generator = seeded(seed)
        paths, _ = two_path_gates(parameters, generator)
        slopes = torch.randn(len(paths), 2, generator=generator, dtype=torch.float64)
        loss = sum((path.weights * row).sum() for path, row in zip(paths, slopes, strict=True))
        (gradient,) = torch.autograd.grad(loss, parameters.logits)

        for row, pair in enumerate(pairs_of(paths)):
            expected = two_path_gradient(logits[row], pair, slopes[row].numpy())
            assert gradient[row].numpy() == pytest.approx(expected, abs=1e-12)


def test_gates_are_binary_and_one_of_the_two_is_active():
    for seed in range(20):
        for path in two_path_gates(random_parameters(seed), seeded(seed))[0]:
            assert sorted(path.weights.tolist()) == [0.0, 1.0]  # exactly: 0 is run without a graph
            assert len(set(path.candidates)) == 2


@pytest.fixture(scope="module")
def draws():
    """Of 8,000 draws from three candidates: the pair in order, the active one, the gradient.

    The loss is linear in the gates, with slopes 1, -2 and 4.
    """
    parameters, generator = three_candidates(), seeded(5)
    slopes = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)
    pairs, active, gradients = [], [], []
    for _ in range(1000):
        paths, _ = two_path_gates(parameters, generator)
        loss = sum((path.weights * slopes[list(path.candidates)]).sum() for path in paths)
        gradients.append(torch.autograd.grad(loss, parameters.logits)[0].numpy())
        pairs += [tuple(sorted(path.candidates)) for path in paths]
        active += [path.candidates[int(path.weights.argmax())] for path in paths]
    return pairs, active, np.concatenate(gradients)


def pair_probabilities():
    p = dict(enumerate(THREE))
    return {
        (i, j): p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
        for i, j in itertools.combinations(p, 2)
    }


def test_pairs_come_without_replacement_and_the_active_one_by_its_share_of_the_pair(draws):
    pairs, active, _ = draws
    for pair, of_pair in pair_probabilities().items():
        for candidate in pair:
            expected = of_pair * THREE[candidate] / (THREE[pair[0]] + THREE[pair[1]])
            drawn = zip(pairs, active, strict=True)
            found = np.mean([outcome == (pair, candidate) for outcome in drawn])
            deviation = np.sqrt(expected * (1 - expected) / len(pairs))
            assert abs(found - expected) < 3 * deviation, (pair, candidate)


def test_the_mean_gradient_is_the_expectation_over_all_pairs(draws):
    _, _, gradients = draws
    slopes, logits = np.array([1.0, -2.0, 4.0]), np.log(THREE)
    expected = sum(
        probability * two_path_gradient(logits, list(pair), slopes[list(pair)])
        for pair, probability in pair_probabilities().items()
    )
    deviation = gradients.std(axis=0, ddof=1) / np.sqrt(len(gradients))

    assert np.all(np.abs(gradients.mean(axis=0) - expected) < 3 * deviation)
    assert np.all(3 * deviation < 0.2 * np.abs(expected).max())  # so that it says something


def test_expected_latency_has_gradients_on_the_two_drawn_candidates_only():
    choices = SPACE.sample_choices(300, seed=1)
    kinds = np.array([0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 0.0])
    predictor = LinearPredictor(SPACE).fit(choices, 1.0 + kinds[choices].sum(axis=1))
    entries = np.nan_to_num(predictor.table_)
    parameters = random_parameters(seed=2, dtype=torch.float32)
    p = parameters.probabilities().detach().numpy()
    paths, shared = two_path_gates(parameters, seeded(3))
    expected_latency(predictor, shared).backward()

    assert shared.detach().numpy() == pytest.approx(p, abs=1e-6)
    for row, pair in enumerate(pairs_of(paths)):
        logits = parameters.logits.detach().numpy()[row]
        together = p[row, pair].sum()
        expected = two_path_gradient(logits, pair, together * entries[row, pair])
        found = parameters.logits.grad[row].numpy()
        assert found == pytest.approx(expected, abs=1e-6)
        others = np.setdiff1d(np.arange(7), pair)
        assert (found[others] == 0).all()  # a remainder Adam would make a step of
        assert (found[pair] != 0).all()


def test_rescaling_leaves_all_other_probabilities_and_the_ratio_of_the_two():
    parameters = random_parameters(dtype=torch.float32)
    paths, _ = two_path_gates(parameters, seeded(1))
    pairs = pairs_of(paths)
    rows = np.arange(len(pairs))[:, None]
    before, logits = parameters.probabilities().detach().numpy(), parameters.logits.detach().clone()
    with torch.no_grad():
        parameters.logits[rows, pairs] += torch.randn(pairs.shape, generator=seeded(2))
    updated = parameters.probabilities().detach().numpy()[rows, pairs]
    rescale_pairs(parameters, paths, logits)
    after = parameters.probabilities().detach().numpy()

    others = np.ones(before.shape, dtype=bool)
    others[rows, pairs] = False
    assert np.abs(after - before)[others].max() < 1e-6
    ratio = after[rows, pairs][:, 0] / after[rows, pairs][:, 1]
    assert ratio == pytest.approx(updated[:, 0] / updated[:, 1], rel=1e-4)
    assert np.abs(after - before)[~others].max() > 0.1


def test_steps_of_adam_leave_all_other_probabilities():
    """Adam scales gradients: of what should be 0 but is rounded it would make whole steps."""
    parameters = random_parameters(dtype=torch.float32)
    optimizer = torch.optim.Adam([parameters.logits], lr=0.05, betas=(0.0, 0.999))
    generator = seeded(4)
    for _ in range(10):
        before = parameters.probabilities().detach()
        logits = parameters.logits.detach().clone()
        paths, shared = two_path_gates(parameters, generator)
        slopes = torch.randn(len(paths), 2, generator=generator)
        loss = sum((path.weights * row).sum() for path, row in zip(paths, slopes, strict=True))
        optimizer.zero_grad()
        (loss + shared.square().sum()).backward()
        optimizer.step()
        rescale_pairs(parameters, paths, logits)

        change = (parameters.probabilities().detach() - before).abs()
        drawn = torch.from_numpy(pairs_of(paths))
        assert change.gather(1, drawn).max() > 1e-3
        assert change.scatter(1, drawn, 0.0).max() < 1e-6


def test_gumbel_gates_sum_to_one_and_spare_padding():
    for temperature in (5.0, 0.5, 0.01):
        gates = gumbel_gates(random_parameters(), temperature, seeded()).detach().numpy()
        assert gates.sum(axis=1) == pytest.approx(np.ones(21))
        assert (gates[np.array(SIZES) == 6, 6] == 0).all()


def test_colder_gumbel_gates_are_nearer_to_one_candidate_by_its_probability():
    parameters = three_candidates()
    largest = []
    for temperature in (5.0, 1.0, 0.2, 1e-4):
        generator = seeded(8)
        with torch.no_grad():
            gates = torch.cat(
                [gumbel_gates(parameters, temperature, generator) for _ in range(500)]
            )
        largest.append(float(gates.max(1).values.mean()))
        frequency = np.bincount(gates.argmax(1).numpy(), minlength=3) / len(gates)
        deviation = np.sqrt(np.array(THREE) * (1 - np.array(THREE)) / len(gates))
        assert np.all(np.abs(frequency - THREE) < 3 * deviation)

    assert largest == sorted(largest)
    assert largest[0] < 0.5
    assert largest[-1] > 0.999


def test_gumbel_gates_have_the_gradient_of_their_softmax():
    parameters = three_candidates()
    slopes = torch.randn(8, 3, generator=seeded(1), dtype=torch.float64)

    def loss(logits):
        parameters.logits.data = logits.detach()
        gates = gumbel_gates(parameters, 0.7, seeded(2))
        return (gates * slopes).sum()

    start = parameters.logits.detach().clone()
    (gradient,) = torch.autograd.grad(loss(start), parameters.logits)
    for row, column in ((0, 0), (3, 1), (7, 2)):
        step = torch.zeros_like(start)
        step[row, column] = 1e-6
        numeric = (loss(start + step) - loss(start - step)).item() / 2e-6
        assert gradient[row, column].item() == pytest.approx(numeric, rel=1e-3, abs=1e-9)


def test_pruning_drops_what_is_dominated_and_nothing_else():
    parameters = random_parameters(seed=3)
    latency = torch.rand(parameters.logits.shape, generator=seeded(4), dtype=torch.float64)
    latency = latency.masked_fill(~parameters.alive, torch.inf)
    p = parameters.probabilities().detach()
    dominated = {
        (row, i)
        for row, size in enumerate(SIZES)
        for i, j in itertools.permutations(range(size), 2)
        if latency[row, j] <= latency[row, i] and p[row, i] < 0.5 * p[row, j]
    }
    assert parameters.prune(latency, 0.5) == len(dominated) > 10

    alive = {(row, i) for row, i in parameters.alive.nonzero().tolist()}
    assert alive == {(row, i) for row, size in enumerate(SIZES) for i in range(size)} - dominated
    after = parameters.probabilities().detach()
    assert all(after[row, i] == 0 for row, i in dominated)
    assert after.sum(1).numpy() == pytest.approx(np.ones(21))
    assert parameters.prune(latency, 1e-6) == 0
    drawn = torch.stack([parameters.sample(seeded(seed)) for seed in range(100)])
    assert {(row, int(i)) for found in drawn for row, i in enumerate(found)} <= alive
    gates = gumbel_gates(parameters, 1.0, seeded())
    assert ((gates > 0) == parameters.alive).all()


def test_what_is_as_fast_and_less_probable_goes_and_what_is_faster_stays():
    parameters = three_candidates([0.5, 0.3, 0.2])
    latency = torch.tensor([2.0, 1.0, 2.0], dtype=torch.float64).expand(8, 3)

    assert parameters.prune(latency, 0.3) == 0
    assert parameters.prune(latency, 0.45) == 8  # 0.2 is less than 0.45 * 0.5
    assert parameters.alive.tolist() == [[True, True, False]] * 8
    assert parameters.probabilities()[0].tolist() == pytest.approx([0.625, 0.375, 0.0])


@pytest.mark.parametrize("seed", range(5))
def test_the_last_candidate_is_never_dropped(seed):
    parameters = random_parameters(seed)
    latency = torch.rand(parameters.logits.shape, generator=seeded(seed))
    for _ in range(5):
        best = parameters.most_probable()
        parameters.prune(latency, 0.999)
        assert parameters.alive.any(1).all()
        assert (parameters.most_probable() == best).all()
        with torch.no_grad():
            parameters.logits += torch.randn(parameters.logits.shape, generator=seeded(seed + 9))


def test_where_one_candidate_is_left_it_is_the_active_one_beside_one_that_exists():
    parameters = random_parameters()
    parameters.alive[:] = torch.arange(7) == 2
    generator = seeded()
    for _ in range(30):
        paths, shared = two_path_gates(parameters, generator)
        for path, size in zip(paths, SIZES, strict=True):
            assert path.candidates[int(path.weights.argmax())] == 2
            assert max(path.candidates) < size
        assert (shared[:, 2] == 1).all()
    assert (parameters.most_probable() == 2).all()
