"""ONNX and torch models of architectures: valid, equal to each other, and of a steady scale."""

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from latprof.datasets.models import onnx_export
from latprof.datasets.models.onnx_export import OPSET
from latprof.datasets.models.weights import WeightSource
from latprof.datasets.spaces.base import Architecture
from latprof.datasets.spaces.proxyless import MOBILE_CHOICES, MOBILE_WIDTHS, ProxylessSpace

SPACE = ProxylessSpace(resolution=128)
#: SHA-256 of models as version 0.1.0 wrote them: stored measurements are of these.
RECORDED = {
    (0, "folded"): "496a0c1e49bdc7212e9403fd0a6067982cc4a13bb34c249b25e8a68b223c947c",
    (0, "kept"): "8796847015e9ea1c0237655a3b48a1396971039faf06fa1ca79e34799ef1a7c3",
    (1, "folded"): "2540aeb5c386af944ea5348954074107d8a3740de15415e624894e70f1f04b12",
    (1, "kept"): "a099721cc5a46518f5d80e4c476f0cb46594963ac9705ee003fb99b9dcf165cb",
}
RECORDED_MOBILE = {
    "folded": "b0f8c7e7320cd44196bdef6630b102e551bb62f78345820484cc1d50d3885938",
    "kept": "df3cad8cce0c64e5da8da6d58bac5a7d5be6111cc90f897f45e5abd11cd40426",
}


def _run(model, values):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"input": values})[0]


def _images(space, batch_size=1, seed=0):
    shape = (batch_size, *space.input_shape)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
def test_models_pass_the_full_check(seed, batch_norm):
    model = SPACE.build_onnx(SPACE.sample(1, seed)[0], batch_norm=batch_norm)

    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert OPSET == 17


@pytest.mark.parametrize(("batch_size", "resolution"), [(1, 96), (8, 128), (1, 161), (2, 256)])
def test_output_shapes_follow_batch_size_and_resolution(batch_size, resolution):
    space = ProxylessSpace(resolution=resolution, num_classes=17)
    model = space.build_onnx(space.sample(1)[0], batch_size=batch_size)

    output = _run(model, _images(space, batch_size))

    declared = [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    assert output.shape == tuple(declared) == (batch_size, 17)


@pytest.mark.parametrize("seed", range(4))
def test_folded_kept_and_torch_compute_the_same(seed):
    torch = pytest.importorskip("torch")
    architecture = SPACE.sample(1, seed + 50)[0]
    images = _images(SPACE, 2, seed)

    folded, kept = (
        _run(SPACE.build_onnx(architecture, batch_size=2, seed=seed, batch_norm=form), images)
        for form in ("folded", "kept")
    )
    with torch.no_grad():
        module = SPACE.build_torch(architecture, seed=seed)(torch.from_numpy(images)).numpy()

    assert np.abs(folded - module).max() / module.std() < 1e-4
    assert np.abs(kept - module).max() / module.std() < 1e-4


def test_the_torch_module_has_the_parameters_of_the_paper_counting():
    pytest.importorskip("torch")
    architecture = SPACE.sample(1)[0]
    module = SPACE.build_torch(architecture)

    assert sum(p.numel() for p in module.parameters()) == SPACE.parameters(architecture)


@pytest.mark.parametrize("seed", range(4))
def test_activations_keep_their_scale(seed):
    architecture = SPACE.sample(1, seed + 20)[0]
    model = SPACE.build_onnx(architecture, seed=seed)
    for node in model.graph.node:
        if node.op_type == "Add" or node.name == "stem":
            model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    values = session.run(None, {"input": _images(SPACE)})

    deviations = [float(value.std()) for value in values]
    assert min(deviations) > 0.05
    assert max(deviations) < 20


@pytest.mark.parametrize("batch_norm", ["folded", "kept"])
def test_models_of_the_proxyless_space_are_the_same_bytes_as_ever(monkeypatch, batch_norm):
    monkeypatch.setattr(onnx_export, "__version__", "0.1.0")
    small, mobile = ProxylessSpace(resolution=64, num_classes=10), ProxylessSpace(MOBILE_WIDTHS)

    for index, architecture in enumerate(small.sample(2, seed=5)):
        content = small.onnx_bytes(architecture, seed=3, batch_norm=batch_norm)
        assert hashlib.sha256(content).hexdigest() == RECORDED[index, batch_norm]
    content = mobile.onnx_bytes(
        Architecture("proxyless", MOBILE_CHOICES), batch_size=2, batch_norm=batch_norm
    )
    assert hashlib.sha256(content).hexdigest() == RECORDED_MOBILE[batch_norm]


def test_weights_differ_by_seed_and_repeat_with_it():
    architecture = SPACE.sample(1)[0]
    first, again, other = (SPACE.build_onnx(architecture, seed=s) for s in (1, 1, 2))

    assert first.SerializeToString() == again.SerializeToString()
    assert first.SerializeToString() != other.SerializeToString()


def test_the_pool_of_random_numbers_begins_again_at_its_end():
    source = WeightSource(0)
    first = source.normal((1 << 22,), 1.0)
    second = source.normal((1 << 22,), 1.0)

    assert np.array_equal(first, second)
    assert abs(first.mean()) < 0.01
    assert abs(first.std() - 1) < 0.01
