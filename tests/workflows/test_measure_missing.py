"""Kernels that a pack lacks, measured on this host, and known from then on."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from command_line import run_latprof
from onnx import TensorProto, helper

import latprof
from latprof.datasets.zoo import build
from latprof.errors import TargetMismatchError, UsageError
from latprof.graph.reader import read_network
from latprof.predictors.kernels.graph_kernels import kernels_of
from latprof.predictors.kernels.learning.network_fitting import KernelTable, fit_networks
from latprof.predictors.pack.kernel_pack import KernelPack, save_kernel_pack
from latprof.profilers.base import RunOptions
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime


@pytest.fixture(scope="module", autouse=True)
def data_folder(tmp_path_factory):
    """A data folder of the tests' own."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        yield folder


def pack_of(target):
    """A pack of this target from computed times: a thousand times too long."""
    kernels = kernels_of(read_network(build("mobilenet-v1", weights=False)), target).configurations
    times = 1.0 + kernels.column("macs") * 1e-5
    table = KernelTable(
        kernels, times, np.zeros(len(kernels), np.int64), ("a",), ("",), np.full(1, np.nan)
    )
    return KernelPack(fit_networks(table, trees=10).model, target, kernel_rows=len(kernels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    save_kernel_pack(pack_of(CpuOnnxRuntime(RunOptions()).target(None)), folder / "k.pack")
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, shape, np.full(shape, 0.1, np.float32))
        for name, shape in (("a", (16, 3, 3, 3)), ("b", (16, 16, 3, 3)), ("w", (4096, 10)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["c"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "b"], ["d"], "second", pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["d"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "w"], ["y"], "product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder


def predict(folder, *words):
    done = run_latprof("predict", "model.onnx", "--pack", "k.pack", "--json", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[0], done.stderr


def test_a_prediction_knows_what_was_measured_and_the_pack_is_as_it_was(folder, data_folder):
    content = (folder / "k.pack").read_bytes()
    before, _ = predict(folder)
    assert before["measured_here"] == 0
    assert before["latency_ms"] > 3

    found, said = predict(folder, "--measure-missing", "-q")

    assert found["measured_here"] == len(found["operators"])
    assert found["coverage"] == 1
    assert not found["is_guess"]
    assert found["latency_ms"] < 0.7 * before["latency_ms"]
    assert "never measured" in said
    assert str(data_folder) in said
    assert (folder / "k.pack").read_bytes() == content

    again, said = predict(folder, "--measure-missing", "-q")
    assert again["latency_ms"] == found["latency_ms"]
    assert "was measured before" in said
    later, _ = predict(folder)
    assert later["latency_ms"] == found["latency_ms"]


def test_a_damaged_file_of_measurements_is_none(folder, data_folder):
    grown = [*(data_folder / "latprof" / "kernels").glob("*.pack")]
    if not grown:
        predict(folder, "--measure-missing", "-q")
        grown = [*(data_folder / "latprof" / "kernels").glob("*.pack")]
    kept = grown[0].read_bytes()
    grown[0].write_bytes(kept[:100])
    assert predict(folder)[0]["measured_here"] == 0
    grown[0].write_bytes(kept)
    assert predict(folder)[0]["measured_here"]


def test_a_pack_of_another_host_is_refused_before_anything_is_measured(folder, tmp_path):
    here = CpuOnnxRuntime(RunOptions()).target(None)
    other = pack_of(dataclasses.replace(here, device_name="another processor"))
    with pytest.raises(TargetMismatchError, match="another processor"):
        latprof.predict(folder / "model.onnx", other, measure_missing=True)
    save_kernel_pack(other, tmp_path / "other.pack")
    words = ("--pack", tmp_path / "other.pack", "--measure-missing")
    done = run_latprof("predict", folder / "model.onnx", *words)
    assert done.returncode == 2
    assert done.stdout == ""


def test_without_kernels_there_is_nothing_to_refit(folder):
    with pytest.raises(UsageError, match="pack of kernels"):
        latprof.predict(folder / "model.onnx", "ofa-h100-torch-b8", measure_missing=True)
