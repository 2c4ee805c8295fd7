"""Random networks of rare operators are models that run, and whose kernels are told apart."""

import math

import numpy as np
import onnx
import onnxruntime as ort

from latprof.datasets.zoo.built_models import built_bytes, built_family, built_model
from latprof.datasets.zoo.random_modules import DRAWN
from latprof.graph import onnxruntime_kernels, read_network


def test_they_run_and_stay_numbers_and_shapes_agree():
    kinds = set()
    for seed in range(6):
        key = f"operators:{seed} batch_size=2"
        assert not built_family(key)
        content = built_bytes(key)
        assert content == built_bytes(key)
        model = onnx.load_from_string(content)
        onnx.shape_inference.infer_shapes(built_model(key), strict_mode=True, data_prop=True)
        kinds.update(node.op_type for node in model.graph.node)
        session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
        (wanted,) = session.get_inputs()
        (out,) = session.run(None, {wanted.name: np.ones(wanted.shape, np.float32)})
        assert np.isfinite(out).all(), seed
    assert len(kinds) > 30


def test_modules_of_exported_networks_are_read_whole_and_run():
    kinds, unknown = set(), {}
    for seed in range(len(DRAWN)):
        network = read_network(built_model(f"modules:{seed} batch_size=1"))
        kinds.update(kernel.op_type for kernel in onnxruntime_kernels(network))
        if network.unknown:
            unknown[seed] = network.unknown
        assert sum(math.prod(op.output_shapes[0]) for op in network.operators if op.output_shapes)
    wanted = {"LSTM", "GRU", "ScatterND", "ScatterElements", "ReduceL2", "STFT", "Attention",
              "MultiHeadAttention", "TopK", "GroupQueryAttention", "InstanceNormalization",
              "BatchNormalization", "Resize", "ConvTranspose", "GatherElements"}  # fmt: skip
    assert wanted <= kinds
    assert all("NonMaxSuppression" in str(why) or "decided" in str(why) for why in unknown.values())
    for seed in (1, 4, 6, 12):
        content = built_bytes(f"modules:{seed} batch_size=1")
        session = ort.InferenceSession(content, providers=["CPUExecutionProvider"])
        given = {
            each.name: np.ones(each.shape, np.int64 if "int64" in each.type else np.float32)
            for each in session.get_inputs()
        }
        (out,) = session.run(None, given)
        assert np.isfinite(out).all(), seed
