"""UniNet's networks are measured, and its space is searched by the RNN controller under a limit."""

import numpy as np
import pytest

import latprof
from latprof.datasets.spaces.uninet import UniNetSpace
from latprof.predictors.models.linear import LinearPredictor
from latprof.searchers import SearchProblem, get_searcher
from latprof.testing.problems import made_up_latencies

SPACE = UniNetSpace(64, num_classes=10, channels=(16,) * 6, repeats=(1,) * 6)


def accuracy(architectures):
    """Favours attention late, convolutions early, and large networks a little."""
    choices = SPACE.choices(architectures).astype(np.float64)
    operators = choices[:, 0::5]
    late = (operators[:, 3:] == 1).sum(axis=1) + (operators[:, 2] == 0)
    return 60.0 + 3.0 * late + 0.5 * np.sqrt(choices[:, 1::5].sum(axis=1))


@pytest.fixture(scope="module")
def latency():
    """A predictor fitted to latencies of 400 networks."""
    choices = SPACE.sample_choices(400, seed=1)
    return LinearPredictor(SPACE).fit(choices, made_up_latencies(SPACE, choices))


def test_its_networks_are_profiled_kernel_by_kernel():
    """A stage of each operator, entered by each kind of module, in ONNX Runtime."""
    choices = [0] * len(SPACE.num_choices)
    for stage, operator, module in ((3, 1, 1), (4, 2, 2), (5, 0, 0)):
        choices[5 * stage - 1], choices[5 * stage] = module, operator
    network = SPACE.architectures(np.array([choices]))[0]
    found = latprof.profile(network, space=SPACE, visits=2)

    assert found.latency_ms > 0
    assert found.kernel_profile is not None
    kernels = found.kernel_profile.kernels
    assert {"softmax", "linear", "normalization"} <= {kernel.kind for kernel in kernels}
    names = {name for kernel in kernels for name in kernel.operators}
    for part in ("stage4.layer0.tokens.attention", "stage5.layer0.tokens.mix", "down5.pool.mix"):
        assert any(name.startswith(part) for name in names), part
    assert found.costs.macs == SPACE.macs(network)


def test_the_controller_finds_a_better_network_than_chance_and_keeps_the_limit(latency):
    limit = float(np.median(latency.predict(SPACE.sample_choices(400, seed=2))))
    problem = SearchProblem(latency, accuracy, limit_ms=limit)
    found = {
        name: [get_searcher(name).run(problem, 300, seed=seed).best for seed in range(2)]
        for name in ("mnas", "random")
    }

    for best in (*found["mnas"], *found["random"]):
        assert best.bound_ms <= limit
    means = {name: np.mean([best.accuracy for best in each]) for name, each in found.items()}
    assert means["mnas"] > means["random"]
