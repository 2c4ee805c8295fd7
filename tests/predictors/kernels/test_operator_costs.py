"""Costs of operators: learnt from a search space, asked about any network."""

import io
import json
import warnings

import numpy as np
import pytest

from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import (
    MOBILENET_V2_CHOICES,
    MOBILENET_V2_WIDTHS,
    ProxylessSpace,
)
from latprof.errors import InvalidValueError, NotEnoughDataError, PackError
from latprof.graph.operators import Network, Operator
from latprof.graph.reader import read_network
from latprof.predictors.kernels.operator_costs import OperatorCostModel, work_of

SPACE = ProxylessSpace()
RATES = {"conv": 6e-9, "depthwise": 4e-8, "linear": 1e-8}


def _true_ms(operator):
    """A made-up device: each family its rate of multiplications, and memory for everyone."""
    macs, elements, weights, count = work_of(operator)
    rate = next((r for family, r in RATES.items() if operator.kind.startswith(family)), 0.0)
    return rate * macs + 3e-7 * elements + 2e-7 * weights + 0.004 * count


def _latency(operators):
    return sum(map(_true_ms, operators))


@pytest.fixture(scope="module")
def networks():
    return [SPACE.operators(architecture) for architecture in SPACE.sample(400, seed=1)]


@pytest.fixture(scope="module")
def model(networks):
    noise = np.random.default_rng(0).standard_normal(300)
    latency = np.array([_latency(operators) for operators in networks[:300]])
    return OperatorCostModel().fit(networks[:300], latency * (1 + 0.01 * noise))


@pytest.fixture(scope="module")
def cnn():
    """A small network from elsewhere: known and unknown operators, unlike the space's."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layers = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 1),
        nn.Hardswish(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 11, padding=5),
        nn.Conv2d(64, 64, 3, padding=1, groups=4),
        nn.PReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
        nn.LogSoftmax(1),
    )
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(
            layers.eval(), (torch.zeros(1, 3, 224, 224),), buffer, dynamo=False, opset_version=17
        )
    return read_network(buffer.getvalue())


def test_networks_of_the_space_are_predicted_and_wholly_known(model, networks):
    errors = []
    for operators in networks[300:]:
        prediction = model.predict(Network("n", operators, (), ()))
        assert prediction.coverage == 1.0
        assert prediction.unknown_kinds == prediction.unknown_sizes == ()
        errors.append(prediction.latency_ms / _latency(operators) - 1)

    assert np.sqrt(np.mean(np.square(errors))) < 0.005


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
def test_a_model_file_costs_what_its_architecture_does(model, batch_norm):
    architecture = SPACE.sample(1, seed=8)[0]
    read = read_network(SPACE.build_onnx(architecture, batch_norm=batch_norm))

    from_file = model.predict(read)
    from_space = model.predict(Network("n", SPACE.operators(architecture), (), ()))

    assert from_file.latency_ms == pytest.approx(from_space.latency_ms)
    assert from_file.per_operator == from_space.per_operator
    assert from_file.coverage == 1.0


def test_a_related_network_of_other_widths_is_known_too(model):
    space = ProxylessSpace(MOBILENET_V2_WIDTHS)
    architecture = Architecture("proxyless", MOBILENET_V2_CHOICES)

    prediction = model.predict(read_network(space.build_onnx(architecture)))

    assert prediction.latency_ms == pytest.approx(_latency(space.operators(architecture)), rel=0.02)
    assert prediction.coverage > 0.99


def test_the_interval_covers_networks_it_has_not_seen(model, networks):
    random = np.random.default_rng(5)
    inside = 0
    for operators in networks[300:]:
        measured = _latency(operators) * (1 + 0.01 * random.standard_normal())
        predicted = model.predict(Network("n", operators, (), ())).latency_ms
        inside += abs(measured / predicted - 1) <= model.interval_relative_

    assert 80 <= inside <= 99
    assert model.interval_relative_ == pytest.approx(0.0165, rel=0.25)


def test_a_network_from_elsewhere_shows_what_is_unknown(model, cnn):
    prediction = model.predict(cnn)

    costs = {cost.kind: cost for cost in prediction.per_operator}
    assert 0.0 < prediction.coverage < 0.5
    assert {"conv11x11", "grouped3x3", "prelu", "logsoftmax"} <= set(prediction.unknown_kinds)
    assert costs["conv1x1"].known
    assert not costs["conv11x11"].known
    assert "normalization" not in costs
    assert prediction.latency_ms == pytest.approx(
        sum(cost.latency_ms for cost in prediction.per_operator)
    )


def test_no_unknown_operator_is_free(model, cnn):
    assert all(c.latency_ms > 0 for c in model.predict(cnn).per_operator if not c.known)


def test_an_unknown_kernel_is_costed_as_the_nearest_one(model):
    def convolution(kernel):
        shape = (1, 96, 28, 28)
        return Operator("o", "Conv", (shape,), (shape,), (96, 1, kernel, kernel), 0, kernel, 1, 96)

    (unknown,) = model.predict(Network("n", (convolution(9),), (), ())).per_operator

    assert (unknown.kind, unknown.known) == ("depthwise9x9", False)
    assert unknown.latency_ms == pytest.approx(_true_ms(convolution(9)), rel=0.25)


def test_known_kinds_far_outside_the_training_sizes_are_marked(model):
    space = ProxylessSpace(resolution=1024)
    operators = space.operators(space.sample(1)[0])

    prediction = model.predict(Network("n", operators, (), ()))

    assert "conv1x1" in prediction.unknown_sizes
    assert prediction.unknown_kinds == ()
    assert prediction.coverage < 0.5
    assert prediction.latency_ms == pytest.approx(_latency(operators), rel=0.1)


def test_an_operator_without_shapes_is_unknown_and_not_free(model, networks):
    odd = Operator("odd", "Odd", (), ())

    prediction = model.predict(Network("n", (*networks[0], odd), (), ()))

    assert prediction.per_operator[-1].latency_ms > 0
    assert prediction.unknown_kinds == ("odd",)
    assert prediction.coverage == pytest.approx(1 - 1 / (len(networks[0]) + 1))
    assert model.predict(Network("n", (odd,), (), ())).coverage == 0.0


def test_few_networks_are_enough_for_their_like(networks):
    latency = [_latency(operators) for operators in networks]
    model = OperatorCostModel().fit(networks[:20], latency[:20])

    predicted = [model.predict(Network("n", ops, (), ())).latency_ms for ops in networks[20:60]]

    assert np.allclose(predicted, latency[20:60], rtol=0.01)


def test_coefficients_are_not_negative_even_for_noise(networks):
    latency = np.random.default_rng(3).uniform(1, 50, 50)

    model = OperatorCostModel().fit(networks[:50], latency)

    assert all(np.all(cost.coefficients >= 0) for cost in model.costs_.values())
    assert np.all(model.shared_ >= 0)
    assert model.interval_relative_ > 0.1


def test_fitting_does_not_depend_on_the_unit(networks):
    latency = np.array([_latency(operators) for operators in networks[:40]])
    ms, s = (OperatorCostModel().fit(networks[:40], latency * f) for f in (1.0, 1e-3))

    for kind, cost in ms.costs_.items():
        assert np.allclose(
            cost.coefficients, 1e3 * s.costs_[kind].coefficients, rtol=1e-3, atol=1e-9
        )


@pytest.mark.parametrize(
    "latency", [np.ones(9), np.ones((10, 1)), -np.ones(10), np.full(10, np.nan)]
)
def test_wrong_latencies_are_refused(networks, latency):
    with pytest.raises(InvalidValueError):
        OperatorCostModel().fit(networks[:10], latency)


def test_too_few_or_empty_networks_are_refused(networks):
    with pytest.raises(NotEnoughDataError):
        OperatorCostModel().fit(networks[:9], np.ones(9))
    with pytest.raises(InvalidValueError, match="no operators"):
        OperatorCostModel().fit([*networks[:9], ()], np.ones(10))


def test_an_unfitted_model_and_an_empty_network_are_refused(model):
    with pytest.raises(InvalidValueError, match="fit"):
        OperatorCostModel().predict(Network("n", (), (), ()))
    with pytest.raises(InvalidValueError, match="fit"):
        OperatorCostModel().to_bytes()
    with pytest.raises(InvalidValueError, match="no operators"):
        model.predict(Network("n", (), (), ()))


def test_a_model_survives_its_bytes(model, cnn):
    again = OperatorCostModel.from_bytes(model.to_bytes())

    assert again.predict(cnn) == model.predict(cnn)
    assert again.to_bytes() == model.to_bytes()


def _changed(**changes):
    return lambda values: {**values, **changes}


@pytest.mark.parametrize(
    "change",
    [
        _changed(format=2),
        _changed(format="1"),
        _changed(work=["macs"]),
        _changed(kinds={}),
        _changed(kinds=[]),
        _changed(kinds={"add": {}}),
        _changed(kinds={"add": {"coefficients": [1, 2, 3], "low": [0] * 3, "high": [0] * 3}}),
        _changed(kinds={"add": {"coefficients": [-1, 0, 0, 0], "low": [0] * 3, "high": [0] * 3}}),
        _changed(shared=[None] * 4),
        _changed(shared="abcd"),
        _changed(ms_per_work=0),
        _changed(ms_per_operator=-1),
        _changed(interval_relative="wide"),
        lambda values: [values],
        lambda values: {k: v for k, v in values.items() if k != "ridge"},
    ],
)
def test_malformed_bytes_are_refused(model, change):
    content = json.dumps(change(json.loads(model.to_bytes()))).encode()

    with pytest.raises(PackError):
        OperatorCostModel.from_bytes(content)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b'{"format": NaN}']
)
def test_what_is_no_json_object_is_refused(content):
    with pytest.raises(PackError):
        OperatorCostModel.from_bytes(content)
