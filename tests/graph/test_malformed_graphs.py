"""Graphs that hardly any exporter makes: each is answered, or refused in an error of ours."""

import contextlib
import tracemalloc
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.errors import LatprofError, ModelFileError, UnknownCostsError
from latprof.graph import onnxruntime_kernels, read_network
from latprof.graph.shape_arithmetic import is_plain
from latprof.predictors.kernels.graph_kernels import kernels_of
from latprof.profilers.visits.network_source import NetworkSource

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
X = ("x", FLOAT, [1, 4, 8, 8])
node = helper.make_node
#: What is asked of a target whose kernels are told: on an x86 and on an ARM processor.
TARGETS = [
    SimpleNamespace(device="cpu", runtime="onnxruntime", mode="", device_name=name)
    for name in ("Xeon Platinum", "4x 0x41/0xd0c")
]


def model(nodes, weights=(), inputs=(X,), outputs=("y",), opset=21, functions=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in weights],
    )
    domains = (("", opset), ("local", 1), ("com.microsoft", 1), ("org.unknown", 1))
    opsets = [helper.make_opsetid(*each) for each in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def branch(nodes, outputs=(), weights=()):
    values = [onnx.ValueInfoProto(name=name) for name in outputs]
    return helper.make_graph(nodes, "branch", [], values, weights)


def one(op_type, inputs="x", outputs="y", *, weights=(), **attributes):
    """A model of one operator."""
    return model([node(op_type, inputs.split(), outputs.split(), **attributes)], weights)


RELU = node("Relu", ["x"], ["y"])
CONV = [("w", np.zeros((4, 4, 3, 3), np.float32))]
NAN = [("c", np.array([np.nan], np.float32))]
EMPTY = [("c", np.zeros(0, np.float32))]
COMPLEX = [("c", np.array([1 + 2j, 8]))]
MALFORMED = {
    "If without outputs": lambda: model(
        [node("If", ["f"], [], then_branch=branch([RELU]), else_branch=branch([])), RELU],
        [("f", np.array(True))],
    ),
    "no inputs": lambda: one("DequantizeLinear", ""),
    "complex sizes": lambda: one("Tile", "x c", weights=COMPLEX),
    "complex data": lambda: one("Add", "x c", weights=COMPLEX),
    "no inputs of a Transpose": lambda: model(
        [node("Transpose", [], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["x", "t"], ["y"])]
    ),
    "no outputs": lambda: model(
        [node("Transpose", ["x"], ["t"]), node("Reshape", ["t", "x"], []), RELU]
    ),
    "Shape of two outputs": lambda: model([node("Shape", ["x"], ["s", "t"]), RELU]),
    "an axis beyond all": lambda: model(
        [node("Shape", ["x"], ["s"]), node("Unsqueeze", ["s", "a"], ["u"]), RELU],
        [("a", [2**40])],
    ),
    "kernel_shape is a number": lambda: one("Conv", "x w", kernel_shape=3, weights=CONV),
    "strides are text": lambda: one("Conv", "x w", strides=["a", "b"], weights=CONV),
    "group is text": lambda: one("Conv", "x w", group="many", weights=CONV),
    "num_groups is text": lambda: one(
        "GroupNormalization", "x c c", num_groups="all", weights=[("c", np.ones(4, np.float32))]
    ),
    "weights of no bits": lambda: one(
        "MatMulNBits", "x w w", domain="com.microsoft", bits=0, weights=CONV
    ),
    "perm is a number": lambda: one("Transpose", perm=2),
    "perm of another length": lambda: model(
        [node("Transpose", ["x"], ["t"], perm=[9, 1]), node("Transpose", ["t"], ["y"], perm=[0])]
    ),
    "ends are a number": lambda: one("Slice", "x c c", ends=1, weights=[("c", [0])]),
    "Scan of no inputs": lambda: one("Scan", "", body=branch([RELU]), num_scan_inputs=0),
    "Scan of minus seven": lambda: one("Scan", body=branch([RELU]), num_scan_inputs=-7),
    "Scan of very many": lambda: one("Scan", body=branch([RELU]), num_scan_inputs=2**40),
    "an empty padding": lambda: model(
        [node("Pad", ["x", "p", "c"], ["t"]), node("Conv", ["t", "w"], ["y"])],
        [*EMPTY, *CONV, ("p", [0] * 8)],
    ),
    "an empty zero point": lambda: model(
        [RELU, node("QuantizeLinear", ["y", "s", "c"], ["q"])],
        [("s", np.float32(0.1)), ("c", np.zeros(0, np.uint8))],
        outputs=["q"],
    ),
    "an index of nothing": lambda: model(
        [node("Gather", ["x", "i"], [name], axis=0) for name in "yz"],
        [("i", [0])],
        [("x", FLOAT, [0, 4])],
    ),
    "an attribute without a type": lambda: without_type(
        one("Attention", "x w", weights=CONV, domain="com.microsoft", num_heads=1)
    ),
    "a depth that is no number": lambda: of_indices([node("OneHot", ["i", "c", "v"], ["y"])], NAN),
    "a depth that is not there": lambda: of_indices([node("OneHot", ["i"], ["y"])]),
    "a table of nothing": lambda: of_indices(
        [node("Cast", [], ["t"], to=1), node("Gather", ["t", "i"], ["y"])]
    ),
    "a factor of almost nothing": lambda: of_indices(scaled("Mul", "Mul"), [("c", 1e-200)]),
    "an index beyond all numbers": lambda: of_indices(scaled("Add"), [("c", -1e30)]),
    "sums beyond all numbers": lambda: of_indices(scaled("Add", "Add"), [("c", 1.7e308)]),
    "a mask that nobody scales": lambda: of_indices(
        [node("Sub", ["one", "i"], []), node("Cast", ["i"], ["y"], to=1)], [("one", [1])]
    ),
    "one factor": lambda: of_indices(
        [node("Sub", ["one", "i"], ["s"]), node("Mul", ["s"], ["y"])], [("one", [1])]
    ),
    "a shape without dimensions": lambda: model(
        [node("Reshape", ["x", "n"], ["y"])], (), [X, ("n", INT64, [])]
    ),
}


def scaled(*op_types):
    """Indices as numbers, changed by a constant, to indices of a table again."""
    nodes = [node("Cast", ["i"], ["t0"], to=TensorProto.DOUBLE)]
    nodes += [node(kind, [f"t{at}", "c"], [f"t{at + 1}"]) for at, kind in enumerate(op_types)]
    last = node("Cast", [f"t{len(op_types)}"], ["j"], to=INT64)
    return [*nodes, last, node("Gather", ["w", "j"], ["y"])]


def of_indices(nodes, weights=()):
    values = ("v", np.zeros(2, np.float32))
    return model(nodes, [*weights, values, *CONV], [("i", INT64, [2])])


def without_type(made):
    made.graph.node[0].attribute[0].type = onnx.AttributeProto.UNDEFINED
    return made


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_graph_is_answered_or_refused(tmp_path, name):
    path = tmp_path / "m.onnx"
    path.write_bytes(MALFORMED[name]().SerializeToString())
    for read in (
        lambda: NetworkSource.of_model(path),
        *(lambda each=target: kernels_of(read_network(path), each) for target in (None, *TARGETS)),
    ):
        with contextlib.suppress(LatprofError):
            read()


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([node("Pow", ["two", "x"], ["y"])], [("two", np.float32(2))]),
        ([node("ReduceMean", ["c", "i"], ["y"])], [("c", np.ones((2, 3), np.float32))]),
        (
            [
                node("Mystery", ["x"], ["m"], domain="org.unknown"),
                *(node("Transpose", [a], [b]) for a, b in ("mt", "ty")),
            ],
            [],
        ),
        (
            [node("Cast", ["i"], ["p"], to=INT64), node("Pad", ["c", "p"], ["y"])],
            [("c", np.ones((2, 3), np.float32))],
        ),
        (
            [node("LayerNormalization", ["c", "x"], ["y"])],
            [("c", np.ones((1, 4, 8, 8), np.float32))],
        ),
    ],
)
def test_a_constant_where_values_mostly_are_is_a_kernel_like_another(nodes, weights):
    network = read_network(model(nodes, weights, [X, ("i", INT64, [1])]))
    first, *_ = onnxruntime_kernels(network)
    assert first.op_type == nodes[0].op_type


def test_what_lacks_what_its_definition_promises_is_refused_with_the_reason(monkeypatch):
    network = read_network(model([RELU]))
    monkeypatch.setattr(
        "latprof.predictors.kernels.graph_kernels.fuse",
        lambda _: (_ for _ in ()).throw(KeyError(0)),
    )
    with pytest.raises(UnknownCostsError, match=r"promises \(got KeyError"):
        kernels_of(network)


def test_a_constant_is_worked_out_only_where_that_asks_for_little():
    """onnx's reference makes a list of as many numbers, and a billion fill the memory."""
    nodes = [node("Shape", ["x"], ["s"]), node("Split", ["s"], ["a", "b"], num_outputs=1 << 21)]
    nodes += [node("TopK", ["s", "k"], ["t", "u"]), RELU]
    tracemalloc.start()
    try:
        read_network(model(nodes, [("k", [1 << 21])]))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_nothing_of_other_files_is_worked_out(tmp_path, monkeypatch):
    """onnx reads them from the working directory: lists, sparse tensors and graphs of them, too."""
    monkeypatch.chdir(tmp_path)
    elsewhere = onnx.TensorProto(name="c", data_type=TensorProto.BOOL)
    elsewhere.data_location = TensorProto.EXTERNAL
    elsewhere.external_data.add(key="location", value="flag")
    sparse = onnx.SparseTensorProto(values=elsewhere)
    for value in (elsewhere, [elsewhere], sparse, [sparse], branch([]), [branch([])]):
        assert not is_plain(helper.make_attribute("value", value))
    branches = [branch([node(kind, ["x"], ["z"])], ["z"]) for kind in ("Relu", "Tanh")]
    chooses = node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    inner = branch([chooses], ["y"], [elsewhere])
    made = model([node("If", ["f"], ["y"], then_branch=inner, else_branch=inner)], [("f", True)])
    found = []
    for content in (b"\0", b"\1"):
        (tmp_path / "flag").write_bytes(content)
        found.append(read_network(made))
    assert found[0] == found[1]
    assert "which branch" in found[0].unknown[0]


@pytest.mark.parametrize("ring", [False, True])
def test_calls_of_functions_may_be_deeper_than_pythons_stack(ring):
    count = 700
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    functions = []
    for at in range(count):
        called, domain = (f"F{at + 1}", "local") if at + 1 < count else ("Relu", "")
        if ring and not domain:
            called, domain = "F0", "local"
        body = [node(called, ["a"], ["b"], domain=domain)]
        functions.append(helper.make_function("local", f"F{at}", ["a"], ["b"], body, opsets))
    made = model([node("F0", ["x"], ["y"], domain="local")], functions=functions)
    with pytest.raises(ModelFileError, match="calls itself" if ring else "cannot be written out"):
        read_network(made)


@pytest.mark.parametrize("name", ["a-branch", "a-result", "a-weight"])
def test_a_name_in_a_branch_that_is_no_text_is_refused(name):
    value = helper.make_tensor_value_info
    weight = helper.make_tensor("a-weight", TensorProto.FLOAT, [4], [1.0] * 4)
    outputs = [value("a-result", TensorProto.FLOAT, [4])]
    nodes = [helper.make_node("Add", ["x", "a-weight"], ["a-result"])]
    branch = helper.make_graph(nodes, "a-branch", [], outputs, [weight])
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        "g",
        [value("c", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = made.SerializeToString()
    assert [each.op_type for each in read_network(content).operators] == ["If", "Add"]
    with pytest.raises(ModelFileError, match="names that are no text"):
        read_network(content.replace(name.encode(), b"\xb3" + name[1:].encode()))


@pytest.mark.parametrize("name", ["a-function", "a.domain", "an-input"])
def test_a_name_of_a_function_that_is_no_text_is_refused(name):
    opset = helper.make_opsetid("", 17)
    inner = [helper.make_node("Relu", ["an-input"], ["r"])]
    function = helper.make_function("a.domain", "a-function", ["an-input"], ["r"], inner, [opset])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [4])],
        [value("y", TensorProto.FLOAT, [4])],
    )
    made = helper.make_model(graph, opset_imports=[opset], functions=[function], ir_version=8)
    content = made.SerializeToString()
    assert [each.op_type for each in read_network(content).operators] == ["Relu"]
    with pytest.raises(ModelFileError, match="names that are no text"):
        read_network(content.replace(name.encode(), b"\xb3" + name[1:].encode()))
