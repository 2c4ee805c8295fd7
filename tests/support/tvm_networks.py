"""Networks that TVM compiles in a second or less: a few kernels each."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_network(resolution=16, channels=8, classes=10, seed=0):
    """A convolution, a depthwise one, a residual pointwise one, pooling, a classifier."""
    generator = np.random.default_rng(seed)
    weights = {
        "stem.w": (channels, 3, 3, 3),
        "stem.b": (channels,),
        "depthwise.w": (channels, 1, 3, 3),
        "depthwise.b": (channels,),
        "project.w": (channels, channels, 1, 1),
        "project.b": (channels,),
        "classifier.w": (classes, channels),
        "classifier.b": (classes,),
        "low": None,
        "high": None,
    }
    limits = {"low": np.float32(0), "high": np.float32(6)}
    tensors = [
        numpy_helper.from_array(
            np.asarray(limits[name])
            if shape is None
            else generator.normal(0, 1 / max(1, np.prod(shape[1:])) ** 0.5, shape).astype("f"),
            name,
        )
        for name, shape in weights.items()
    ]

    def conv(name, source, stride=1, groups=1, size=3):
        return helper.make_node(
            "Conv",
            [source, f"{name}.w", f"{name}.b"],
            [name],
            name=name,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=groups,
        )

    def clip(name):
        return helper.make_node(
            "Clip", [name, "low", "high"], [f"{name}.clip"], name=f"{name}.clip"
        )

    nodes = [
        conv("stem", "image", stride=2),
        clip("stem"),
        conv("depthwise", "stem.clip", groups=channels),
        clip("depthwise"),
        conv("project", "depthwise.clip", size=1),
        helper.make_node("Add", ["project", "stem.clip"], ["sum"], name="residual"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node(
            "Gemm",
            ["flat", "classifier.w", "classifier.b"],
            ["scores"],
            name="classifier",
            transB=1,
        ),
    ]
    return onnx_bytes(nodes, [1, 3, resolution, resolution], [1, classes], tensors)


def tiny_network(resolution=16, channels=4, classes=10, seed=0):
    """A convolution, and one over all that it leaves: two kernels."""
    generator, side = np.random.default_rng(seed), resolution // 2
    shapes = {"w": (channels, 3, 3, 3), "v": (classes, channels, side, side)}
    weights = [
        numpy_helper.from_array(generator.normal(0, 0.1, shape).astype("f"), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"], "stem", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "v"], ["scores"], "classifier"),
    ]
    return onnx_bytes(nodes, [1, 3, resolution, resolution], [1, classes, 1, 1], weights)


def onnx_bytes(nodes, image, scores, tensors=(), dtype=TensorProto.FLOAT):
    """A model with the input ``image`` and the output ``scores``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", dtype, image)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, scores)],
        list(tensors),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("foreign", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = onnx.IR_VERSION_2023_5_5
    return model.SerializeToString()


def expected_scores(model, inputs):
    """What ONNX Runtime computes from the same input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs[0]})[0]


def assert_same_scores(found, model, inputs):
    """Equal to ONNX Runtime's by the scale of the output, which must not be nothing."""
    expected = expected_scores(model, inputs)
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-3 * scale)


def scores(model):
    """What a loaded model computed last, and from which input."""
    model.run(1)
    found = model.machine.get_outputs("main")
    return found.numpy()
