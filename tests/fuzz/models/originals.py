"""Twenty ONNX models of every sort that the reader knows, without large weights."""

from functools import cache, partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from latprof.datasets.spaces.named import get_space
from latprof.graph.model_file import without_data

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
MEMBERS = ("proxyless", "mnasnet", "nasbench201", "ofa-mobilenetv3")


def weight(name, *dims):
    return numpy_helper.from_array(np.full(dims, 0.1, np.float32), name)


def integers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def build(nodes, weights=(), inputs=(("x", FLOAT, [1, 4, 16, 16]),), outputs=("y",), **more):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        list(weights),
    )
    opsets = [helper.make_opsetid(domain, v) for domain, v in (("", 17), ("local", 1))]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def member(name):
    space = get_space(name)
    (architecture,) = space.architectures(space.sample_choices(1, seed=3))
    model = onnx.load_from_string(space.onnx_bytes(architecture))
    without_data(model, keep_elements=16)
    return model


def chain(*steps, weights=(), **more):
    """Nodes one after the other: each an operator, its further inputs and its attributes."""
    nodes, last = [], "x"
    for number, (kind, others, attributes) in enumerate(steps):
        name = "y" if number == len(steps) - 1 else f"h{number}"
        nodes.append(
            helper.make_node(kind, [last, *others], [name], name=f"n{number}", **attributes)
        )
        last = name
    return build(nodes, weights, **more)


def branch(name, kind):
    node = helper.make_node(kind, ["x"], [f"{name}.y"])
    value = helper.make_tensor_value_info(f"{name}.y", FLOAT, None)
    return helper.make_graph([node], name, [], [value])


def if_model():
    flag = numpy_helper.from_array(np.array(True), "flag")
    branches = {"then_branch": branch("a", "Relu"), "else_branch": branch("b", "Tanh")}
    return build([helper.make_node("If", ["flag"], ["y"], **branches)], [flag])


def loop_model():
    values = [
        helper.make_tensor_value_info(n, t, s)
        for n, t, s in (("i", INT64, []), ("c", TensorProto.BOOL, []), ("s", FLOAT, [1, 4, 16, 16]))
    ]
    ends = [helper.make_tensor_value_info(n, t, None) for n, t in (("d", 9), ("t", FLOAT))]
    nodes = [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Relu", ["s"], ["t"])]
    body = helper.make_graph(nodes, "body", values, ends)
    flag = numpy_helper.from_array(np.array(True), "flag")
    node = helper.make_node("Loop", ["n", "flag", "x"], ["y"], body=body)
    return build([node], [numpy_helper.from_array(np.array(3), "n"), flag])


def recurrent(kind, gates):
    weights = [weight("w", 1, gates * 8, 4), weight("r", 1, gates * 8, 8)]
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=8)
    return build([node], weights, [("x", FLOAT, [5, 1, 4])])


def shape_arithmetic():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Mul", ["n", "two"], ["m"]),
        helper.make_node("Div", ["m", "two"], ["k"]),
        helper.make_node("Concat", ["k", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["r"]),
        helper.make_node("Gemm", ["r", "w"], ["y"], transB=1),
    ]
    numbers = [integers("first", 0), integers("two", 2), integers("rest", -1)]
    return build(nodes, [*numbers, weight("w", 3, 1024)])


def local_function():
    opsets = [helper.make_opsetid("", 17)]
    inner = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Tanh", ["b"], ["c"])]
    function = helper.make_function("local", "Twice", ["a"], ["c"], inner, opsets)
    nodes = [
        helper.make_node("Twice", ["x"], ["h"], domain="local"),
        helper.make_node("Twice", ["h"], ["y"], domain="local"),
    ]
    return build(nodes, functions=[function])


def quantised():
    scale, zero = weight("scale"), numpy_helper.from_array(np.array(3, np.uint8), "zero")
    kernel = numpy_helper.from_array(np.ones((4, 4, 3, 3), np.uint8), "k")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node(
            "QLinearConv", ["q", "scale", "zero", "k", "scale", "zero", "scale", "zero"], ["c"]
        ),
        helper.make_node("DequantizeLinear", ["c", "scale", "zero"], ["y"]),
    ]
    return build(nodes, [scale, zero, kernel])


def attention():
    nodes = [helper.make_node("MatMul", ["x", f"w{n}"], [n]) for n in "qkv"]
    nodes += [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"]),
    ]
    return build(nodes, [weight(f"w{n}", 8, 8) for n in "qkv"], [("x", FLOAT, [1, 6, 8])])


def sparse():
    model = build([helper.make_node("MatMul", ["x", "w"], ["y"])], (), [("x", FLOAT, [1, 8])])
    values, places = weight("w", 2), integers("", 1, 5)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [8, 8]))
    return model


CONV = ("Conv", ["w"], {"pads": [1] * 4})
W = weight("w", 4, 4, 3, 3)
MAKERS = {
    **{name: partial(member, name) for name in MEMBERS},
    "conv": lambda: chain(CONV, ("Relu", [], {}), weights=[W]),
    "depthwise": lambda: chain(("Conv", ["w"], {"group": 4}), weights=[weight("w", 4, 1, 5, 5)]),
    "transposed": lambda: chain(("ConvTranspose", ["w"], {"strides": [2, 2]}), weights=[W]),
    "residual": lambda: chain(CONV, ("Add", ["x"], {}), ("HardSigmoid", [], {}), weights=[W]),
    "pools": lambda: chain(
        ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        *(("GlobalAveragePool", [], {}), ("Flatten", [], {}), ("Gemm", ["w"], {})),
        weights=[weight("w", 4, 3)],
    ),
    "resize": lambda: chain(
        ("Resize", ["", "s"], {}),
        CONV,
        weights=[W, numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")],
    ),
    "slices": lambda: chain(
        ("Slice", ["a", "b", "c"], {}),
        ("Expand", ["e"], {}),
        ("Tile", ["t"], {}),
        weights=[
            integers("a", 0),
            integers("b", 2),
            integers("c", 1),
            integers("e", 1, 2, 16, 16),
            integers("t", 1, 2, 1, 1),
        ],
    ),
    "if": if_model,
    "loop": loop_model,
    "lstm": lambda: recurrent("LSTM", 4),
    "gru": lambda: recurrent("GRU", 3),
    "shapes": shape_arithmetic,
    "function": local_function,
    "quantised": quantised,
    "attention": attention,
    "sparse": sparse,
}


@cache
def original(name):
    """A model's content, made once."""
    return MAKERS[name]().SerializeToString()
