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
from latprof.predictors.kernels.operator_costs import OperatorCostModel
from latprof.predictors.kernels.work_rates import work_of

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
def timed(networks):
    """The same, and every operator of thirty networks timed as a kernel."""
    kernels = [(op, _true_ms(op)) for operators in networks[:30] for op in operators]
    latency = [_latency(operators) for operators in networks[:300]]
    return OperatorCostModel().fit(networks[:300], latency, kernels)


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


@pytest.mark.parametrize("fitted", ["model", "timed"])
def test_networks_of_the_space_are_predicted(fitted, request, networks):
    model = request.getfixturevalue(fitted)
    errors = [
        model.predict(Network("n", operators, (), ())).latency_ms / _latency(operators) - 1
        for operators in networks[300:]
    ]

    assert np.sqrt(np.mean(np.square(errors))) < 0.005


def test_what_every_network_has_once_is_not_known_from_whole_networks(model, networks):
    prediction = model.predict(Network("n", networks[300], (), ()))

    unknown = {cost.name for cost in prediction.per_operator if not cost.known}
    assert unknown == {"stem", "pool", "classifier"}
    assert prediction.unknown_kinds == ("conv3x3", "linear", "pool")
    of_known = sum(cost.latency_ms for cost in prediction.per_operator if cost.known)
    assert prediction.coverage == pytest.approx(of_known / prediction.latency_ms)
    assert 0.9 < prediction.coverage < 1


@pytest.mark.parametrize("name", ["stem", "pool", "classifier"])
def test_a_timed_kernel_answers_for_its_operator_alone(model, timed, networks, name):
    (operator,) = (op for op in networks[0] if op.name == name)
    alone = Network("n", (operator,), (), ())

    known, guessed = timed.predict(alone), model.predict(alone)

    assert known.latency_ms == pytest.approx(_true_ms(operator))
    assert known.coverage == 1
    assert guessed.coverage == 0
    assert guessed.latency_ms > 0


def _dense(rows, columns, batch=1):
    return Operator(
        "dense", "Gemm", ((batch, rows),), ((batch, columns),), weight_shape=(columns, rows)
    )


def _convolution(kernel, inputs, outputs, side, groups=1, dilation=1):
    return Operator(
        "conv",
        "Conv",
        ((1, inputs, side, side),),
        ((1, outputs, side, side),),
        (outputs, inputs // groups, kernel, kernel),
        kernel=kernel,
        groups=groups,
        dilation=dilation,
    )


def _rated(operator):
    macs, elements, weights, _ = work_of(operator)
    return macs, elements + weights


@pytest.mark.parametrize("fitted", ["model", "timed"])
@pytest.mark.parametrize(
    "operators",
    [
        [_dense(1024, 1024)] * 30,
        [_convolution(3, 64, 64, 56)] * 12,
        [_convolution(1, 256, 256, 14)] * 12,
        [_convolution(3, 256, 256, 28, groups=256)] * 12,
        [_dense(64, 64, batch=4096)],
    ],
    ids=["mlp", "dense", "pointwise", "depthwise", "tokens"],
)
def test_nothing_is_answered_above_the_fastest_rates(fitted, request, networks, operators):
    model = request.getfixturevalue(fitted)
    rows = [(*np.sum([_rated(op) for op in row], axis=0), _latency(row)) for row in networks[:300]]
    if fitted == "timed":
        rows += [(*_rated(op), _true_ms(op)) for row in networks[:30] for op in row]
    fastest = [max(row[side] / row[2] for row in rows) for side in (0, 1)]
    slack = 1.001 if fitted == "timed" else 1.05  # the other's latencies have noise

    prediction = model.predict(Network("n", tuple(operators), (), ()))

    for operator, cost in zip(operators, prediction.per_operator, strict=True):
        macs, values = _rated(operator)
        assert macs / cost.latency_ms <= fastest[0] * slack
        assert values / cost.latency_ms <= fastest[1] * slack


def test_a_stack_of_one_kind_is_no_network_of_the_training(model):
    stack = Network("n", (_convolution(1, 96, 96, 28),) * 20, (), ())

    assert model.predict(stack).coverage == 0
    assert model.predict(stack).unknown_sizes == ("conv1x1",)


def test_a_dilated_operator_is_not_the_plain_one(timed):
    plain, dilated = (
        timed.predict(Network("n", (_convolution(3, 144, 144, 28, 144, dilation),), (), ()))
        for dilation in (1, 2)
    )

    assert plain.coverage == 1
    assert dilated.coverage == 0
    assert dilated.unknown_kinds == ("depthwise3x3 dilated 2",)


def test_kernels_slower_than_their_networks_leave_a_fit_that_predicts(networks):
    latency = [_latency(operators) for operators in networks[:100]]
    slow = [(op, 3 * _true_ms(op)) for operators in networks[:30] for op in operators]

    fitted = OperatorCostModel().fit(networks[:100], latency, slow)

    assert all(np.all(np.isfinite(cost.coefficients)) for cost in fitted.costs_.values())
    assert OperatorCostModel.from_bytes(fitted.to_bytes()).to_bytes() == fitted.to_bytes()


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
def test_a_model_file_costs_what_its_architecture_does(model, batch_norm):
    architecture = SPACE.sample(1, seed=8)[0]
    read = read_network(SPACE.build_onnx(architecture, batch_norm=batch_norm))

    from_file = model.predict(read)
    from_space = model.predict(Network("n", SPACE.operators(architecture), (), ()))

    assert from_file.latency_ms == pytest.approx(from_space.latency_ms)
    assert from_file.per_operator == from_space.per_operator
    assert from_file.coverage == from_space.coverage > 0.9


def test_a_related_network_of_other_widths_is_predicted_too(model):
    space = ProxylessSpace(MOBILENET_V2_WIDTHS)
    architecture = Architecture("proxyless", MOBILENET_V2_CHOICES)

    prediction = model.predict(read_network(space.build_onnx(architecture)))

    assert prediction.latency_ms == pytest.approx(_latency(space.operators(architecture)), rel=0.02)
    assert prediction.coverage > 0.9


def test_the_interval_covers_networks_it_has_not_seen(model, networks):
    random = np.random.default_rng(5)
    inside = 0
    for operators in networks[300:]:
        measured = _latency(operators) * (1 + 0.01 * random.standard_normal())
        predicted = model.predict(Network("n", operators, (), ())).latency_ms
        inside += abs(measured / predicted - 1) <= model.interval_relative_

    assert 80 <= inside <= 99
    assert model.interval_relative_ == pytest.approx(0.0165, rel=0.25)


def test_a_network_from_elsewhere_shows_what_is_unknown(timed, cnn):
    prediction = timed.predict(cnn)

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


def test_an_unknown_kernel_is_costed_as_the_nearest_one(timed):
    operator = _convolution(9, 96, 96, 28, groups=96)
    (unknown,) = timed.predict(Network("n", (operator,), (), ())).per_operator

    assert (unknown.kind, unknown.known) == ("depthwise9x9", False)
    assert unknown.latency_ms == pytest.approx(_true_ms(operator), rel=0.25)


def test_known_kinds_far_outside_the_training_sizes_are_marked(model):
    space = ProxylessSpace(resolution=1024)
    operators = space.operators(space.sample(1)[0])

    prediction = model.predict(Network("n", operators, (), ()))

    assert "conv1x1" in prediction.unknown_sizes
    assert prediction.unknown_kinds == ("conv3x3", "linear", "pool")
    assert prediction.coverage < 0.5
    assert prediction.latency_ms == pytest.approx(_latency(operators), rel=0.1)


def test_an_operator_without_shapes_is_unknown_and_not_free(model, networks):
    odd = Operator("odd", "Odd", (), ())

    prediction = model.predict(Network("n", (*networks[0], odd), (), ()))

    assert prediction.per_operator[-1].latency_ms > 0
    assert not prediction.per_operator[-1].known
    assert "odd" in prediction.unknown_kinds
    assert model.predict(Network("n", (odd,), (), ())).coverage == 0.0


def test_few_networks_are_enough_for_their_like(networks):
    latency = [_latency(operators) for operators in networks]
    model = OperatorCostModel().fit(networks[:20], latency[:20])

    predicted = [model.predict(Network("n", ops, (), ())).latency_ms for ops in networks[20:60]]

    ratio = np.array(predicted) / latency[20:60]
    assert np.all(ratio > 0.99)
    # The fastest of twenty networks is a limit that a faster one is held to.
    assert np.median(ratio) < 1.001
    assert np.all(ratio < 1.03)


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


@pytest.mark.parametrize("fitted", ["model", "timed"])
def test_a_model_survives_its_bytes(fitted, request, cnn):
    model = request.getfixturevalue(fitted)

    again = OperatorCostModel.from_bytes(model.to_bytes())

    assert again.predict(cnn) == model.predict(cnn)
    assert again.to_bytes() == model.to_bytes()


def _of_format_1(model):
    """The bytes that the first format had of a model, as far as it went."""
    values = json.loads(model.to_bytes())
    for kind in values["kinds"].values():
        for name in ("varied", "shares", "kernels", "from_kernels"):
            del kind[name]
    del values["fastest_ms"], values["typical_ms"]
    return {**values, "format": 1, "ms_per_work": 1.6e-8}


def test_the_first_format_is_read_and_knows_no_more_than_it_can(model, networks):
    old = OperatorCostModel.from_bytes(json.dumps(_of_format_1(model)).encode())

    inside, alone = (
        old.predict(Network("n", operators, (), ()))
        for operators in (networks[300], networks[300][:1])
    )

    assert inside.latency_ms == pytest.approx(_latency(networks[300]), rel=0.3)
    assert {cost.name for cost in inside.per_operator if not cost.known} >= {"stem", "classifier"}
    assert alone.coverage == 0
    assert alone.latency_ms >= 1.6e-8 * networks[300][0].macs


@pytest.mark.parametrize("ms_per_work", [0, -1, None])
def test_malformed_bytes_of_the_first_format_are_refused(model, ms_per_work):
    values = {**_of_format_1(model), "ms_per_work": ms_per_work}

    with pytest.raises(PackError):
        OperatorCostModel.from_bytes(json.dumps(values).encode())


def _changed(**changes):
    return lambda values: {**values, **changes}


@pytest.mark.parametrize(
    "change",
    [
        _changed(format=3),
        _changed(format="1"),
        _changed(work=["macs"]),
        _changed(kinds={}),
        _changed(kinds=[]),
        _changed(kinds={"add": {}}),
        _changed(kinds={"add": {"coefficients": [1, 2, 3], "low": [0] * 3, "high": [0] * 3}}),
        _changed(kinds={"add": {"coefficients": [-1, 0, 0, 0], "low": [0] * 3, "high": [0] * 3}}),
        _changed(shared=[None] * 4),
        _changed(shared="abcd"),
        _changed(fastest_ms=[1]),
        _changed(typical_ms=[1, -1]),
        _changed(typical_ms=None),
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
