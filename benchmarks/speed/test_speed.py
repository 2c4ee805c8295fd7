"""Times of what search loops and commands do most, on networks of the ProxylessNAS space.

Run with ``pytest benchmarks/speed --benchmark-only``. With ``--benchmark-json`` the predictors'
results hold ``predictions_a_second`` beside the times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.predictors import SPACE, measured
from latprof.datasets.spaces.named import get_space
from latprof.graph.reader import read_network
from latprof.predictors.models.by_name import make_predictor, predictor_names
from latprof.predictors.pack.answering import predict_network
from latprof.predictors.pack.saving import load_pack
from latprof.predictors.pack.shipped import DEFAULT_PACK

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from latprof.predictors.base import Predictor
    from latprof.predictors.pack.pack import Pack

ROWS = 100_000


@pytest.fixture(scope="module")
def fitted() -> dict[str, Predictor]:
    """Each predictor, fitted to 1,500 networks with costs between neighbouring blocks."""
    choices, latency = measured(1500, seed=0, interaction=0.1)
    return {name: make_predictor(name, SPACE).fit(choices, latency) for name in predictor_names()}


@pytest.fixture(scope="module")
def pack() -> Pack:
    """The bundled pack that answers where none is named."""
    return load_pack(DEFAULT_PACK)


def onnx_file(space_name: str, folder: Path) -> Path:
    """A network of a space in an ONNX file."""
    space = get_space(space_name)
    (architecture,) = space.architectures(space.sample_choices(1, seed=0))
    path = folder / f"{space_name}.onnx"
    path.write_bytes(space.onnx_bytes(architecture))
    return path


@pytest.mark.benchmark(group=f"predict {ROWS:,} architectures")
@pytest.mark.parametrize("name", predictor_names())
def test_predict(benchmark: BenchmarkFixture, fitted: dict[str, Predictor], name: str) -> None:
    batch = SPACE.sample_choices(ROWS, seed=9)
    result = benchmark(fitted[name].predict, batch)
    assert result.shape == (ROWS,)
    if benchmark.stats is not None:
        rate = ROWS / benchmark.stats.stats.min
        benchmark.extra_info["predictions_a_second"] = round(rate)


@pytest.mark.benchmark(group="fit to 1,500 networks")
@pytest.mark.parametrize("name", predictor_names())
def test_fit(benchmark: BenchmarkFixture, name: str) -> None:
    choices, latency = measured(1500, seed=0, interaction=0.1)
    pedantic: Any = benchmark.pedantic
    found = pedantic(lambda: make_predictor(name, SPACE).fit(choices, latency), rounds=3)
    assert found.predict(choices[:1]).shape == (1,)


@pytest.mark.benchmark(group="expected_latency of 21 x 7 probabilities, forward and backward")
@pytest.mark.parametrize("name", ["linear", "hybrid"])
def test_expected_latency(
    benchmark: BenchmarkFixture, fitted: dict[str, Predictor], name: str
) -> None:
    torch = pytest.importorskip("torch")
    from latprof.predictors.gradients.torch_latency import expected_latency

    torch.set_num_threads(1)
    probabilities = torch.full((21, 7), 1 / 7, requires_grad=True)

    def step() -> None:
        probabilities.grad = None
        expected_latency(fitted[name], probabilities).backward()

    benchmark(step)
    assert probabilities.grad is not None


@pytest.mark.benchmark(group="read and predict one model")
@pytest.mark.parametrize("space", ["proxyless", "mnasnet"])
def test_read_network(benchmark: BenchmarkFixture, tmp_path: Path, space: str) -> None:
    network = benchmark(read_network, onnx_file(space, tmp_path))
    assert network.operators


@pytest.mark.benchmark(group="read and predict one model")
@pytest.mark.parametrize("space", ["proxyless", "mnasnet"])
def test_predict_network(
    benchmark: BenchmarkFixture, pack: Pack, tmp_path: Path, space: str
) -> None:
    network = read_network(onnx_file(space, tmp_path))
    answer = benchmark(predict_network, pack, network, "model")
    assert answer.latency_ms > 0


@pytest.mark.benchmark(group="load a pack")
def test_load_pack(benchmark: BenchmarkFixture) -> None:
    assert benchmark(load_pack, DEFAULT_PACK).space.name == "proxyless"
