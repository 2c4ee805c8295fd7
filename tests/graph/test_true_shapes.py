"""What the reader says of shapes and work is what ONNX Runtime does, whatever a file says."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.graph.reader import read_network

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node


def weight(name, *dims):
    return numpy_helper.from_array(np.ones(dims, np.float32), name)


def value(name, kind=None, shape=None):
    if kind is None:
        return onnx.ValueInfoProto(name=name)
    return helper.make_tensor_value_info(name, kind, shape)


def built(nodes, weights, inputs=(("x", (1, 8)),), functions=(), infos=(), outputs=("y",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [value(name, FLOAT, shape) for name, shape in inputs],
        [each if isinstance(each, onnx.ValueInfoProto) else value(each) for each in outputs],
        weights,
        value_info=infos,
    )
    domains = (("", 17), ("com.microsoft", 1), ("local", 1))
    opsets = [helper.make_opsetid(*each) for each in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def run(model):
    """The shapes that ONNX Runtime's results have, by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    given = {each.name: np.ones(each.shape, np.float32) for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    return {n: v.shape for n, v in zip(names, session.run(names, given), strict=True)}


def work(network):
    return sum(each.macs * each.trips for each in network.operators)


def body(nodes, inputs, outputs, weights=(), sparse=()):
    made = helper.make_graph(
        nodes, "body", [value(*each) for each in inputs], [value(o) for o in outputs], weights
    )
    made.sparse_initializer.extend(sparse)
    return made


def product(first, second, to):
    return node("MatMul", [first, second], [to])


def lying(*, at):
    """A file that says 100 rows of a value, or of its output, of which there is one."""
    lie = value(at, FLOAT, (100, {"h": 8, "y": 3}[at]))
    nodes = [node("Relu", ["x"], ["h"]), product("h", "w", "y")]
    more = {"outputs": (lie,)} if at == "y" else {"infos": (lie,)}
    return built(nodes, [weight("w", 8, 3)], **more)


def lying_branch():
    lies = body([product("x", "w", "b")], [], ["b"])
    lies.output[0].CopyFrom(value("b", FLOAT, (100, 3)))
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Cast", ["m"], ["flag"], to=BOOL),
        node("If", ["flag"], ["i"], then_branch=lies, else_branch=lies),
        product("i", "v", "y"),
    ]
    return built(nodes, [weight("w", 8, 3), weight("v", 3, 5)])


def sparse_branch():
    numbers = numpy_helper.from_array(np.ones(2, np.float32), "s")
    places = numpy_helper.from_array(np.array([1, 5]), "places")
    sparse = helper.make_sparse_tensor(numbers, places, [8, 8])
    branches = (
        body([product("x", "s", "a")], [], ["a"], sparse=[sparse]),
        body([node("Relu", ["x"], ["b"])], [], ["b"]),
    )
    flag = numpy_helper.from_array(np.array(True), "flag")
    one = node("If", ["flag"], ["y"], then_branch=branches[0], else_branch=branches[1])
    return built([one], [flag])


def default_of_a_function():
    """A stride that only the function's default says, called at once and from a function."""
    conv = node("Conv", ["a", "b"], ["c"])
    conv.attribute.add(name="strides", ref_attr_name="step", type=onnx.AttributeProto.INTS)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    step = helper.make_attribute("step", [2, 2])
    inner = helper.make_function(
        "local", "F", ["a", "b"], ["c"], [conv], opsets, attribute_protos=[step]
    )
    calls = [
        node("F", ["a", "b"], ["t"], domain="local"),
        node("F", ["t", "b"], ["c"], domain="local", step=[1, 1]),
    ]
    outer = helper.make_function("local", "G", ["a", "b"], ["c"], calls, opsets)
    nodes = [node("G", ["x", "w"], ["y"], domain="local")]
    inputs = (("x", (1, 4, 9, 9)),)
    return built(nodes, [weight("w", 4, 4, 3, 3)], inputs, functions=[inner, outer])


def function_of_a_known_name():
    """A function called Gelu in ONNX Runtime's domain, which runs its own."""
    table = numpy_helper.from_array(np.ones((8, 3), np.float32))
    nodes = [node("Constant", [], ["k"], value=table), product("a", "k", "c")]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("com.microsoft", "Gelu", ["a"], ["c"], nodes, opsets)
    calls = [node("Gelu", ["x"], ["h"], domain="com.microsoft"), product("h", "w", "y")]
    return built(calls, [weight("w", 8, 5)], functions=[function])


def attention(values):
    nodes = [
        node("MultiHeadAttention", ["x", "k", "v"], ["h"], domain="com.microsoft", num_heads=2),
        node("Relu", ["h"], ["y"]),
    ]
    keys = values if len(values) == 4 else (1, 5, 16)
    return built(nodes, [], (("x", (1, 3, 16)), ("k", keys), ("v", values)))


def shifted_sizes():
    """Arithmetic on sizes with bits: 8 >> 1 rows."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["u"], to=TensorProto.UINT64),
        node("BitShift", ["u", "one"], ["h"], direction="RIGHT"),
        node("Cast", ["h"], ["n"], to=INT64),
        node("Expand", ["x0", "n"], ["e"]),
        node("Add", ["e", "x1"], ["y"]),
        node("ReduceMax", ["x"], ["x1"], keepdims=0),
    ]
    ones = numpy_helper.from_array(np.array([1, 1], np.uint64), "one")
    return built(nodes, [ones, weight("x0", 1, 1)], (("x", (6, 8)),))


CASES = {
    "a value's shape is another": (lambda: lying(at="h"), 24),
    "the output's shape is another": (lambda: lying(at="y"), 24),
    "a branch's shape is another": (lying_branch, 24 + 15),
    "a branch with sparse weights": (sparse_branch, 64),
    "a function's default": (default_of_a_function, 36 * 4 * (16 + 4)),
    "a function of a known name": (function_of_a_known_name, 40),
    "values narrower than keys": (lambda: attention((1, 5, 4)), 3 * 5 * (16 + 4)),
    "values by heads": (lambda: attention((1, 2, 5, 8)), 3 * 5 * 32),
    "sizes that are shifted": (shifted_sizes, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_work_are_the_runtimes(name):
    make, macs = CASES[name]
    model = make()
    network = read_network(model)
    assert dict(network.outputs) == run(model)
    assert work(network) == macs


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool", "LpPool", "quantised"])
@pytest.mark.parametrize("opset", [18, 22])
def test_pools_that_round_up_have_no_window_behind_the_data(kind, opset):
    """onnx counts one before opset 22; every window, stride and padding of a small pool is run."""
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(3, np.uint8), "zero")
    both = ["scale", "zero"]
    windows = [
        (size, stride, data, pads)
        for size in (1, 2, 3)
        for stride in (1, 2, 3, 4)
        for data in (7, 8, 9)
        for pads in ((0, 0, 0, 0), (1, 0, 1, 1), (0, 0, 1, 1))
        if max(pads) < size
    ]
    nodes, inputs, names = [], [], []
    for at, (size, stride, data, pads) in enumerate(windows):
        given = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": pads, "ceil_mode": 1}
        inputs.append((f"x{at}", (1, 2, data, data)))
        names.append(f"y{at}")
        if kind == "quantised":
            nodes += [
                node("QuantizeLinear", [f"x{at}", *both], [f"q{at}"]),
                node(
                    "QLinearAveragePool",
                    [f"q{at}", *both, *both],
                    [f"p{at}"],
                    domain="com.microsoft",
                    **given,
                ),
                node("DequantizeLinear", [f"p{at}", *both], [f"y{at}"]),
            ]
        else:
            nodes.append(node(kind, [f"x{at}"], [f"y{at}"], **given))
    model = built(nodes, [scale, zero], inputs, outputs=names)
    model.opset_import[0].version = opset
    assert dict(read_network(model).outputs) == run(model)


def test_a_loop_whose_state_grows_is_counted_as_its_first_run_and_says_so():
    """Each run appends a row to what the next one multiplies."""
    values = [("i", INT64, ()), ("c", BOOL, ()), ("s",)]
    nodes = [
        node("Identity", ["c"], ["again"]),
        node("Concat", ["s", "x"], ["t"], axis=0),
        product("t", "w", "h"),
        node("ReduceSum", ["h"], ["o"], keepdims=0),
    ]
    grows = body(nodes, values, ["again", "t", "o"])
    runs = numpy_helper.from_array(np.array(5), "n")
    flag = numpy_helper.from_array(np.array(True), "flag")
    model = built(
        [node("Loop", ["n", "flag", "x"], ["last", "y"], body=grows)],
        [weight("w", 8, 8), runs, flag],
    )
    inner = [each for each in read_network(model).operators if each.trips > 1]
    assert {each.trips for each in inner} == {5}
    assert all("may change: counted as in its first run" in each.unknown for each in inner)
