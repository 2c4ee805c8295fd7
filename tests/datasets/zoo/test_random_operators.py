"""Random networks of rare operators are models that run, and whose kernels are told apart."""

import numpy as np
import onnx
import onnxruntime as ort

from latprof.datasets.zoo.built_models import built_bytes, built_family, built_model


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
