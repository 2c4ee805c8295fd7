"""Searches by gradient: gradients against differences, small searches, and checkpoints."""

import math
import os

import numpy as np
import pytest
import torch
from known_problem import ALL, LATENCY, SPACE, latencies
from torch.utils.data import TensorDataset

from latprof import load_pack
from latprof.datasets.spaces.nasbench_macro import NASBenchMacroSpace
from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import InputFileError, InvalidValueError
from latprof.predictors.gradients.torch_latency import expected_latency
from latprof.predictors.models.linear import LinearPredictor
from latprof.predictors.models.lookup_table_predictor import LookupTablePredictor
from latprof.searchers import (
    FBNetSearch,
    ImageTask,
    LightNAS,
    ProxylessG,
    ProxylessR,
    SearchProblem,
    latency_regularizer,
    mnas_reward,
)
from latprof.searchers.differentiable.architecture_parameters import (
    ArchitectureParameters,
    two_path_gates,
)
from latprof.searchers.differentiable.gradient_search import SearchState
from latprof.searchers.differentiable.proxyless import reinforce_loss

METHODS = {
    "proxyless-g": ProxylessG,
    "proxyless-r": ProxylessR,
    "fbnet": FBNetSearch,
    "lightnas": LightNAS,
}
FORMS = {
    "add#plain": {"strength": 0.05},
    "add#linear": {"target_ms": 5.0},
    "mul#log": {"target_ms": 5.0, "unit_ms": 1e-3},
    "fbnet": {"unit_ms": 1e-3},
    "lightnas": {"target_ms": 5.0, "strength": 0.4},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(n, seed, side=8):
    """Two classes of images that differ in brightness."""
    labels = torch.arange(n) % 2
    noise = torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(noise + labels[:, None, None, None], labels)


TASK = ImageTask("brightness", images(8, 0), images(8, 1), images(4, 2), (3, 8, 8), 2)
OTHER_TASK = ImageTask("brightness", images(8, 3), images(8, 1), images(4, 2), (3, 8, 8), 2)
OPTIONS = {"batch_size": 4}
PREDICTOR = LinearPredictor(SPACE).fit(ALL[:500], latencies(ALL[:500]))
SLOWER = LinearPredictor(SPACE).fit(ALL[:500], 1.01 * latencies(ALL[:500]))


def within(limit_ms=5.0, predictor=PREDICTOR):
    return SearchProblem(predictor, None, limit_ms=limit_ms)


def state_of(searcher, problem=None, budget=4, seed=0):
    return SearchState(searcher, problem or within(), budget, seed)


def batch(part=TASK.validation, dtype=torch.float32):
    return part.tensors[0].to(dtype), part.tensors[1]


def numeric_gradient(function, start, entries, step=1e-4):
    """Central differences of a function of a tensor, at some of its entries."""
    found = []
    for entry in entries:
        moved = [start.clone(), start.clone()]
        moved[0][entry] += step
        moved[1][entry] -= step
        found.append((function(moved[0]) - function(moved[1])).item() / (2 * step))
    return found


# Gradients -------------------------------------------------------------------------------


def of_blocks():
    """Of 21 decisions, of 6 and of 7 candidates."""
    space = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=10)
    choices = space.sample_choices(300, seed=1)
    kinds = np.array([0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 0.0])
    return LinearPredictor(space).fit(choices, 1.0 + kinds[choices].sum(axis=1) / 4)


PREDICTORS = {
    "linear": of_blocks,
    "lookup-table": lambda: LookupTablePredictor(SPACE).fit(ALL[:200], latencies(ALL[:200])),
    "pairs": lambda: load_pack("proxyless-cpu-ort1").predictor,
}


@pytest.fixture(scope="module", params=PREDICTORS)
def predictor(request):
    return PREDICTORS[request.param]()


def logits_of(predictor):
    parameters = ArchitectureParameters(predictor.space).double()
    generator = torch.Generator().manual_seed(2)
    values = torch.randn(parameters.logits.shape, generator=generator, dtype=torch.float64)
    return parameters, values


def some_entries(predictor):
    """Of the first, a middle and the last decision, the first and the last candidate."""
    sizes = predictor.space.num_choices.tolist()
    return [(row, c) for row in (0, len(sizes) // 2, len(sizes) - 1) for c in (0, sizes[row] - 1)]


def test_gradients_of_the_expected_latency_agree_with_differences(predictor):
    parameters, values = logits_of(predictor)

    def expected(logits):
        parameters.logits.data = logits
        return expected_latency(predictor, parameters.probabilities())

    (gradient,) = torch.autograd.grad(expected(values), parameters.logits)
    entries = some_entries(predictor)
    numeric = numeric_gradient(expected, values, entries)
    assert [gradient[entry].item() for entry in entries] == pytest.approx(
        numeric, rel=1e-3, abs=1e-8
    )
    assert max(map(abs, numeric)) > 1e-2


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_the_architecture_loss_agree_with_differences(predictor, form):
    """The form of a loss and a latency that both depend on the logits."""
    parameters, values = logits_of(predictor)

    def loss(logits):
        parameters.logits.data = logits
        p = parameters.probabilities()
        expected = expected_latency(predictor, p)
        return latency_regularizer(1.0 + p[:, 1].square().sum(), expected, form=form, **FORMS[form])

    (gradient,) = torch.autograd.grad(loss(values), parameters.logits)
    entries = some_entries(predictor)
    numeric = numeric_gradient(loss, values, entries)
    assert [gradient[entry].item() for entry in entries] == pytest.approx(
        numeric, rel=1e-3, abs=1e-8
    )


def in_double(searcher, problem=None):
    """A state in double precision, candidates that are something, and logits that differ."""
    state = state_of(searcher, problem)
    state.supernet.double()
    state.supernet.freeze(True)
    for module in state.supernet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.fill_(0.7)
    state.parameters.double()
    state.parameters.logits.data += torch.linspace(-0.5, 0.5, 24, dtype=torch.float64).view(8, 3)
    return state


def test_the_gradient_of_fbnets_whole_loss_agrees_with_differences():
    """Through all paths of the supernet: Gumbel noise, weighted sums, cross-entropy, latency."""
    searcher = FBNetSearch(TASK, **OPTIONS)
    state = in_double(searcher)

    def loss(logits):
        state.generator.manual_seed(3)
        state.parameters.logits.data = logits
        return searcher.architecture_loss(state, *batch(dtype=torch.float64))

    start = state.parameters.logits.detach().clone()
    (gradient,) = torch.autograd.grad(loss(start), state.parameters.logits)
    entries = [(0, 0), (7, 2)]
    with torch.no_grad():
        numeric = numeric_gradient(loss, start, entries, 1e-5)
    assert [gradient[entry].item() for entry in entries] == pytest.approx(numeric, rel=1e-3)


def test_proxyless_g_adds_the_two_path_gradients_of_loss_and_latency():
    searcher = ProxylessG(TASK, form="add#linear", strength=2.0, **OPTIONS)
    state = in_double(searcher)

    def gradient(compute):
        state.generator.manual_seed(4)
        return torch.autograd.grad(compute(), state.parameters.logits)[0].numpy()

    inputs, labels = batch(dtype=torch.float64)

    def entropy():
        paths, _ = two_path_gates(state.parameters, state.generator)
        return torch.nn.functional.cross_entropy(state.supernet(inputs, paths), labels)

    def latency():
        _, shared = two_path_gates(state.parameters, state.generator)
        return expected_latency(PREDICTOR, shared)

    whole = gradient(lambda: searcher.architecture_loss(state, inputs, labels))
    parts = gradient(entropy) + 2.0 / 5.0 * gradient(latency)
    assert whole == pytest.approx(parts, rel=1e-6, abs=1e-12)
    searcher.strength = 0
    alone = gradient(lambda: searcher.architecture_loss(state, inputs, labels))
    assert alone == pytest.approx(gradient(entropy))


def test_lightnas_adds_the_latency_s_gradient_times_lambda_which_ascends():
    searcher = LightNAS(TASK, lambda_rate=0.3, **OPTIONS)
    state = in_double(searcher, within(4.0))
    inputs, labels = batch(dtype=torch.float64)

    def gradient(strength):
        state.generator.manual_seed(4)
        state.learned["lambda"] = strength
        loss = searcher.architecture_loss(state, inputs, labels)
        return torch.autograd.grad(loss, state.parameters.logits)[0].numpy()

    expected = expected_latency(PREDICTOR, state.parameters.probabilities())  # it is not cold yet
    of_latency = torch.autograd.grad(expected, state.parameters.logits)[0].numpy()
    assert gradient(0.8) - gradient(0.0) == pytest.approx(0.8 * of_latency / 4.0, abs=1e-12)
    assert (gradient(0.0) != 0).all()  # of the cross-entropy, straight through
    gradient(0.5)
    assert state.learned["lambda"] == pytest.approx(0.5 + 0.3 * (expected.item() / 4.0 - 1.0))


def test_lightnas_probabilities_sharpen_as_the_search_goes_on(monkeypatch):
    used = []

    def latency(predictor, probabilities):
        used.append(probabilities.detach())
        return expected_latency(predictor, probabilities)

    monkeypatch.setattr("latprof.searchers.differentiable.lightnas.expected_latency", latency)
    state = in_double(LightNAS(TASK, warmup=0.0, **OPTIONS), within(4.0))
    for state.epoch in range(5):
        state.searcher.architecture_loss(state, *batch(dtype=torch.float64))
    for p in used:
        assert p.sum(1).numpy() == pytest.approx(np.ones(8))
    largest = [p.max(1).values.mean().item() for p in used]
    assert largest == sorted(largest)
    assert largest[-1] > largest[0] + 0.1


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_the_mean_of_reinforces_gradient_is_that_of_the_expected_reward(baseline):
    """Over all nine networks of two decisions, each as often as it is drawn."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    drawn = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    rewards = torch.rand(9, generator=generator, dtype=torch.float64)

    def log_probabilities():
        return logits.log_softmax(-1)

    rows = torch.arange(2)
    chance = log_probabilities()[rows, drawn].sum(1).exp()
    (analytic,) = torch.autograd.grad(-(chance * rewards).sum(), logits)
    mean = sum(
        chance[n].item()
        * torch.autograd.grad(
            reinforce_loss(log_probabilities(), drawn[[n]], rewards[[n]] - baseline), logits
        )[0]
        for n in range(9)
    )
    assert mean.numpy() == pytest.approx(analytic.numpy(), rel=1e-3, abs=1e-12)


def test_reinforces_loss_is_the_mean_over_draws():
    values = torch.randn(2, 3, dtype=torch.float64).log_softmax(-1)
    drawn, rewards = torch.tensor([[0, 2], [1, 1]]), torch.tensor([1.0, -2.0]).double()

    one_by_one = [reinforce_loss(values, drawn[[n]], rewards[[n]]).item() for n in range(2)]
    assert reinforce_loss(values, drawn, rewards).item() == pytest.approx(np.mean(one_by_one))


def test_proxyless_r_rewards_accuracy_and_latency_and_keeps_a_moving_baseline():
    searcher = ProxylessR(TASK, exponents=(-0.07, -0.5), samples=3, baseline_kept=0.75, **OPTIONS)
    state = in_double(searcher)
    inputs, labels = batch(dtype=torch.float64)

    def expected_rewards():
        state.generator.manual_seed(5)
        drawn = torch.stack([state.parameters.sample(state.generator) for _ in range(3)])
        with torch.no_grad():
            answers = [state.supernet(inputs, row.tolist()).argmax(1) for row in drawn]
        accuracy = [(answer == labels).double().mean().item() for answer in answers]
        return mnas_reward(accuracy, latencies(drawn.numpy()), 5.0, (-0.07, -0.5)).mean()

    def step():
        state.generator.manual_seed(5)
        searcher.architecture_loss(state, inputs, labels)
        return state.learned["baseline"]

    mean = expected_rewards()
    assert step() == pytest.approx(mean, rel=1e-5)  # the first mean is the first baseline
    state.learned["baseline"] = 2.0
    assert step() == pytest.approx(0.75 * 2.0 + 0.25 * mean, rel=1e-5)


def test_a_reward_that_is_the_baseline_teaches_nothing():
    searcher = ProxylessR(TASK, samples=1, **OPTIONS)
    state = in_double(searcher)

    def gradient():
        loss = searcher.architecture_loss(state, *batch(dtype=torch.float64))
        return torch.autograd.grad(loss, state.parameters.logits)[0]

    assert (gradient() == 0).all()  # the first reward is its own baseline
    state.learned["baseline"] = -1.0
    assert (gradient() != 0).all()


# Steps -----------------------------------------------------------------------------------


class Fixed(ProxylessG):
    """Its weight steps all take one path."""

    def weight_gates(self, state):
        return [1] * 8


def test_a_weight_step_moves_the_active_path_only_and_no_logits():
    state = state_of(Fixed(TASK, weight_decay=0.1, **OPTIONS))
    before = {name: value.clone() for name, value in state.supernet.named_parameters()}
    for _ in range(2):  # momentum and decay reach no other candidate either
        state.weight_step(*batch())

    inactive = [
        f"stages.{place}.{candidate}."
        for place, decision in enumerate(state.supernet.decisions)
        if decision is not None
        for candidate in (0, 2)
    ]
    for name, value in state.supernet.named_parameters():
        idle = any(name.startswith(prefix) for prefix in inactive)
        assert torch.equal(value, before[name]) == idle, name
        assert (value.grad is None) == idle, name
    assert (state.parameters.logits == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_an_architecture_step_moves_logits_and_no_weights(method):
    state = state_of(METHODS[method](TASK, **OPTIONS))
    before = [value.clone() for value in state.supernet.parameters()]
    loss = state.architecture_step(*batch())

    assert math.isfinite(loss)
    assert (state.parameters.logits != 0).any()
    for value, old in zip(state.supernet.parameters(), before, strict=True):
        assert torch.equal(value, old)
        assert value.grad is None
        assert value.requires_grad  # for the next weight step


def test_steps_of_proxyless_g_leave_candidates_that_were_not_drawn(monkeypatch):
    drawn = []

    def gates(parameters, generator):
        paths, probabilities = two_path_gates(parameters, generator)
        drawn.append([path.candidates for path in paths])
        return paths, probabilities

    monkeypatch.setattr("latprof.searchers.differentiable.proxyless.two_path_gates", gates)
    state = state_of(ProxylessG(TASK, **OPTIONS))
    for _ in range(4):
        before = state.parameters.probabilities().detach()
        state.architecture_step(*batch())
        change = (state.parameters.probabilities().detach() - before).abs()
        pairs = torch.tensor(drawn[-1])
        assert change.gather(1, pairs).max() > 1e-4
        assert change.scatter(1, pairs, 0.0).max() < 1e-6


def test_weights_alone_learn_in_the_warm_up():
    state = state_of(LightNAS(TASK, warmup=0.5, **OPTIONS), budget=4)
    logits = []
    for _ in range(3):
        state.run_epoch()
        logits.append(state.parameters.logits.detach().abs().max().item())

    assert logits[:2] == [0.0, 0.0]
    assert logits[2] > 0
    assert state.warmup_epochs == 2
    assert state.progress == 0.5


def test_fbnet_cools_from_its_temperature_along_the_papers_curve(monkeypatch):
    used = []

    def gates(parameters, temperature, generator):
        used.append(temperature)
        return parameters.probabilities()

    monkeypatch.setattr("latprof.searchers.differentiable.fbnet.gumbel_gates", gates)
    state = state_of(FBNetSearch(TASK, temperature=4.0, warmup=0.0, **OPTIONS), budget=2)
    for state.epoch in range(3):
        state.searcher.weight_gates(state)
    assert used == pytest.approx([4.0 * math.exp(-0.045 * 90 * done) for done in (0, 0.5, 1)])


def test_a_search_that_prunes_drops_slow_improbable_candidates_and_goes_on():
    state = state_of(ProxylessG(TASK, prune=0.9, warmup=0.0, **OPTIONS))
    state.parameters.logits.data[:, 2] = -3.0  # the slowest one of each layer
    state.run_epoch()
    dropped = ~state.parameters.alive

    assert dropped[:, 2].all()
    assert not dropped[:, 0].all()
    assert (state.parameters.probabilities()[dropped] == 0).all()
    state.parameters.alive[:, 1] = False  # one is left
    state.run_epoch()
    assert state.steps[-1].architecture.choices == (0,) * 8


# Searches --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return METHODS[request.param]


@pytest.fixture(scope="module")
def whole(method):
    """Four epochs without an interruption."""
    return method(TASK, **OPTIONS).run(within(), 4, seed=3)


def test_a_search_yields_one_evaluation_an_epoch_and_the_last_is_the_answer(method, whole):
    assert method.name in METHODS
    assert len(whole.trail) == 4
    assert whole.best == whole.trail[-1]
    for step in whole.trail:
        choices = SPACE.choices([step.architecture])
        assert step.bound_ms == step.latency_ms == PREDICTOR.predict(choices)[0] <= 5.0
        assert 0 <= step.accuracy <= 100


def test_the_same_seed_gives_the_same_steps_from_a_checkpoint_too(method, whole, tmp_path):
    """Broken off after two of four epochs, and taken up by another searcher."""
    checkpoint = tmp_path / "search.pt"
    steps = method(TASK, checkpoint=checkpoint, **OPTIONS).search(within(), 4, seed=3)
    first = [next(steps), next(steps)]
    steps.close()
    assert first == list(whole.trail[:2])

    again = method(TASK, checkpoint=str(checkpoint), **OPTIONS)
    state = state_of(again, seed=3)
    state.load(checkpoint)
    assert state.epoch == 2  # so what follows is taken up, not made again
    assert again.run(within(), 4, seed=3) == whole
    assert again.run(within(), 4, seed=3) == whole  # a finished one is only told


def test_another_seed_gives_other_weights_and_other_draws():
    one, other = (state_of(ProxylessG(TASK, **OPTIONS), seed=seed) for seed in (0, 1))
    seeds = set()
    for state in (one, other):
        for _ in range(2):
            state.run_epoch()
            seeds.add(state.generator.initial_seed())
    assert not torch.equal(one.parameters.logits, other.parameters.logits)
    assert len(seeds) == 4  # so have the epochs of one search


def test_the_largest_seed_is_taken():
    found = ProxylessR(TASK, samples=1, **OPTIONS).run(within(), 2, seed=2**63 - 1)
    assert len(found.trail) == 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("search") / "search.pt"
    next(ProxylessR(TASK, samples=1, checkpoint=path, **OPTIONS).search(within(), 2))
    return path


@pytest.mark.parametrize(
    "other",
    [
        lambda **kept: (ProxylessR(TASK, samples=2, **kept), within(), 2, 0),
        lambda **kept: (ProxylessG(TASK, **kept), within(), 2, 0),
        lambda **kept: (ProxylessR(TASK, samples=1, prune=0.5, **kept), within(), 2, 0),
        lambda **kept: (ProxylessR(TASK, samples=1, **kept), within(4.0), 2, 0),
        lambda **kept: (ProxylessR(TASK, samples=1, **kept), within(), 3, 0),
        lambda **kept: (ProxylessR(TASK, samples=1, **kept), within(), 2, 1),
        lambda **kept: (ProxylessR(TASK, samples=1, **kept), within(predictor=SLOWER), 2, 0),
        lambda **kept: (ProxylessR(OTHER_TASK, samples=1, **kept), within(), 2, 0),
    ],
    ids=["option", "method", "prune", "limit", "budget", "seed", "predictor", "images"],
)
def test_the_checkpoint_of_another_search_is_refused(checkpoint, other):
    searcher, problem, budget, seed = other(checkpoint=checkpoint, **OPTIONS)
    with pytest.raises(InputFileError, match="another search"):
        next(searcher.search(problem, budget, seed=seed))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_checkpoint_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "search.pt"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="no checkpoint"):
        next(ProxylessR(TASK, samples=1, checkpoint=path, **OPTIONS).search(within(), 2))
    assert path.read_bytes() == content
    pipe = tmp_path / "pipe.pt"
    os.mkfifo(pipe)
    with pytest.raises(InputFileError, match="no checkpoint"):
        next(ProxylessR(TASK, samples=1, checkpoint=pipe, **OPTIONS).search(within(), 2))


def test_a_cut_checkpoint_and_one_of_other_values_are_refused(checkpoint, tmp_path):
    path = tmp_path / "search.pt"
    searcher = ProxylessR(TASK, samples=1, checkpoint=path, **OPTIONS)
    path.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(InputFileError, match="no checkpoint"):
        next(searcher.search(within(), 2))
    torch.save([1, 2], path)
    with pytest.raises(InputFileError, match="no checkpoint"):
        next(searcher.search(within(), 2))


@pytest.mark.parametrize("part", ["epoch", "steps", "supernet"])
def test_a_checkpoint_without_all_its_parts_is_refused(checkpoint, tmp_path, part):
    state = torch.load(checkpoint, weights_only=True)
    del state[part]
    path = tmp_path / "search.pt"
    torch.save(state, path)
    searcher = ProxylessR(TASK, samples=1, checkpoint=path, **OPTIONS)
    with pytest.raises(InputFileError, match="damaged"):
        next(searcher.search(within(), 2))


class Recording(LightNAS):
    """Remembers the expected latency after each epoch."""

    expected: list[float]

    def derive(self, state):
        expected = expected_latency(state.predictor, self._probabilities(state).detach())
        self.expected.append(expected.item())
        return super().derive(state)


def test_lightnas_ends_at_the_latency_that_was_asked_for():
    """In a space whose networks' latencies lie close together."""
    predictor = of_blocks()
    task = ImageTask("larger", images(4, 0, 32), images(4, 1, 32), images(4, 2), (3, 32, 32), 2)
    towards = {}
    for target in (3.0, 4.5):
        options = {"lambda_rate": 0.5, "architecture_rate": 0.2, "warmup": 0.0, "batch_size": 4}
        searcher = Recording(task, **options)
        searcher.expected = []
        found = searcher.run(within(target, predictor), 8)
        assert 0.97 * target <= found.best.latency_ms <= target
        towards[target] = np.mean(searcher.expected[4:])

    # Not by the derivation alone: from uniform probabilities they part towards both.
    assert towards[3.0] < 3.5
    assert towards[4.5] > 4.0


# Refusals --------------------------------------------------------------------------------


def test_a_limit_that_nothing_keeps_is_refused():
    with pytest.raises(InvalidValueError, match="no network within"):
        ProxylessR(TASK, samples=1, **OPTIONS).run(within(0.5), 1)


def test_lightnas_needs_a_limit():
    with pytest.raises(InvalidValueError, match="searches for a latency"):
        LightNAS(TASK, warmup=0.0, **OPTIONS).run(within(math.inf), 1)


@pytest.mark.parametrize("method", ["proxyless-r", "fbnet"])
def test_others_search_without_a_limit(method):
    found = METHODS[method](TASK, warmup=0.0, **OPTIONS).run(within(math.inf), 1)
    assert found.best == found.trail[0]


def test_a_table_has_no_gradients():
    with pytest.raises(InvalidValueError, match="expected latency"):
        ProxylessG(TASK, **OPTIONS).run(within(predictor=LATENCY), 1)


def test_a_supernet_of_other_decisions_is_refused():
    other = ProxylessSpace(widths=(8,) * 9, resolution=32, num_classes=2)
    with pytest.raises(InvalidValueError, match="other decisions"):
        ProxylessG(TASK, supernet_space=other, **OPTIONS).run(within(), 1)


def test_the_supernet_may_be_of_a_space_that_is_given():
    space = NASBenchMacroSpace(resolution=8, num_classes=5)
    state = state_of(ProxylessG(TASK, supernet_space=space, **OPTIONS))
    assert state.supernet(batch()[0], [0] * 8).shape == (8, 5)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("proxyless-g", {"weight_rate": -0.1}),
        ("proxyless-g", {"architecture_rate": math.nan}),
        ("proxyless-g", {"weight_decay": math.inf}),
        ("proxyless-g", {"warmup": 1.0}),
        ("proxyless-g", {"prune": 1.5}),
        ("proxyless-g", {"batch_size": 1}),
        ("proxyless-g", {"batch_size": 8.0}),
        ("proxyless-r", {"samples": 0}),
        ("proxyless-r", {"baseline_kept": 1.0}),
        ("fbnet", {"temperature": 0.0}),
        ("lightnas", {"lambda_rate": 0.0}),
        ("lightnas", {"last_temperature": math.inf}),
    ],
)
def test_impossible_options_are_refused(method, options):
    (field,) = options
    with pytest.raises(InvalidValueError) as caught:
        METHODS[method](TASK, **options)
    assert caught.value.field == field


@pytest.mark.parametrize("budget", [0, 1.5])
def test_impossible_budgets_are_refused(budget):
    with pytest.raises(InvalidValueError, match="budget"):
        ProxylessG(TASK, **OPTIONS).run(within(), budget)
