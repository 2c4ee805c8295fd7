"""Every operator that works has work: multiply-accumulates counted by loops over what is summed."""

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.errors import InvalidValueError
from latprof.graph import (
    GraphNode,
    OperatorHandler,
    onnxruntime_kernels,
    read_network,
    register_operator,
)
from latprof.graph.work import handlers
from latprof.profilers.visits.model_files.models import ModelReading

FLOAT, INT8, INT64 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64
MICROSOFT = "com.microsoft"


def _read(nodes, inputs, weights=(), opset=17, **shapes):
    """The network of nodes; ``inputs`` and ``weights`` are shapes by name, or (shape, type)."""

    def typed(value):
        return value if isinstance(value[0], tuple) else (value, FLOAT)

    given = [
        helper.make_tensor_value_info(name, typed(value)[1], typed(value)[0])
        for name, value in inputs.items()
    ]
    stored = [
        numpy_helper.from_array(value, name)
        if isinstance(value, np.ndarray)
        else helper.make_tensor(name, typed(value)[1], typed(value)[0], _zeros(typed(value)[0]))
        for name, value in dict(weights).items()
    ]
    outputs = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "g", given, outputs, stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    opsets.append(helper.make_opsetid("com.example", 1))
    return read_network(helper.make_model(graph, opset_imports=opsets), shapes=shapes or None)


def _zeros(shape):
    return [0] * int(np.prod(shape))


def _node(op_type, inputs, output="y", domain="", **attributes):
    names = [each if each != "-" else "" for each in inputs.split()]
    return helper.make_node(op_type, names, output.split(), domain=domain, **attributes)


def _counted_by_loops(*ranges):
    """How often the innermost line of so many loops runs."""
    return sum(1 for _ in product(*map(range, ranges)))


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_recurrent_layer_multiplies_inputs_and_state_in_each_step(kind, gates, directions):
    steps, batch, size, hidden = 5, 2, 3, 4
    weights = {"w": (directions, gates * hidden, size), "r": (directions, gates * hidden, hidden)}
    how = {"direction": "bidirectional" if directions == 2 else "forward"}
    node = _node(kind, "x w r", hidden_size=hidden, **how)

    network = _read([node], {"x": (steps, batch, size)}, weights)

    inputs = _counted_by_loops(steps, batch, directions, gates, hidden, size)
    state = _counted_by_loops(steps, batch, directions, gates, hidden, hidden)
    assert network.macs == inputs + state
    assert network.unknown == ()


def _attention(query, keys, heads, size, value_size):
    return _counted_by_loops(heads, query, keys, size) + _counted_by_loops(
        heads, query, keys, value_size
    )


@pytest.mark.parametrize("past", [0, 3])
def test_attention_of_the_standard(past):
    inputs: dict[str, tuple[int, ...]] = {"q": (1, 2, 4, 5), "k": (1, 2, 6, 5), "v": (1, 2, 6, 7)}
    reads = "q k v"
    if past:
        inputs |= {"pk": (1, 2, past, 5), "pv": (1, 2, past, 7)}
        reads = "q k v - pk pv"
    node = _node("Attention", reads, "y a b" if past else "y")

    assert _read([node], inputs, opset=23).macs == _attention(4, 6 + past, 2, 5, 7)


def test_attention_with_heads_in_the_last_side():
    inputs = {"q": (1, 4, 20), "k": (1, 6, 10), "v": (1, 6, 14)}
    node = _node("Attention", "q k v", q_num_heads=4, kv_num_heads=2)

    assert _read([node], inputs, opset=23).macs == _attention(4, 6, 4, 5, 7)


def test_attention_of_onnx_runtime_projects_too():
    node = _node("Attention", "x w b", domain=MICROSOFT, num_heads=2)
    network = _read([node], {"x": (1, 4, 6)}, {"w": (6, 18), "b": (18,)})

    assert network.macs == _counted_by_loops(4, 6, 18) + _attention(4, 4, 2, 3, 3)
    assert network.operators[0].output_shapes == ((1, 4, 6),)


@pytest.mark.parametrize("past", [0, 3])
def test_multi_head_attention(past):
    inputs: dict[str, tuple[int, ...]] = {"q": (1, 4, 6), "k": (1, 5, 6), "v": (1, 5, 8)}
    reads = "q k v"
    if past:
        inputs |= {"pk": (1, 2, past, 3), "pv": (1, 2, past, 4)}
        reads = "q k v - - - pk pv"
    node = _node("MultiHeadAttention", reads, domain=MICROSOFT, num_heads=2)

    assert _read([node], inputs).macs == _attention(4, 5 + past, 2, 3, 4)


def test_group_query_attention_with_a_past():
    inputs: dict[str, tuple[int, ...]] = {"q": (1, 1, 8), "k": (1, 1, 4), "v": (1, 1, 4)}
    inputs |= {"pk": (1, 2, 6, 2), "pv": (1, 2, 6, 2)}
    node = _node(
        "GroupQueryAttention", "q k v pk pv", domain=MICROSOFT, num_heads=4, kv_num_heads=2
    )

    assert _read([node], inputs).macs == _attention(1, 7, 4, 2, 2)


@pytest.mark.parametrize(
    ("equation", "shapes", "loops"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], (2, 3, 4)),
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)], (2, 3, 4, 6, 5)),
        ("...ij,...jk->...ik", [(2, 1, 3, 4), (5, 4, 6)], (2, 5, 3, 4, 6)),
        ("ij,j", [(2, 3), (3,)], (2, 3)),
        ("i,j->ij", [(2,), (3,)], (2, 3)),
        ("ijz,jk->ik", [(2, 3, 9), (3, 4)], (2, 3, 4)),
    ],
)
def test_einsum_multiplies_over_all_sides_of_two_factors(equation, shapes, loops):
    inputs = {f"x{i}": shape for i, shape in enumerate(shapes)}

    network = _read([_node("Einsum", " ".join(inputs), equation=equation)], inputs)

    assert network.macs == _counted_by_loops(*loops)


def test_einsum_of_one_factor_multiplies_nothing():
    assert _read([_node("Einsum", "x", equation="ij->ji")], {"x": (2, 3)}).macs == 0


@pytest.mark.parametrize(
    ("left", "right", "fixed", "loops"),
    [
        ((2, 3), (3, 4), "b", (2, 3, 4)),
        ((5, 2, 3), (3, 4), "b", (5, 2, 3, 4)),
        ((5, 1, 2, 3), (6, 3, 4), "", (5, 6, 2, 3, 4)),
        ((2, 3), (5, 3, 4), "a", (5, 2, 3, 4)),
        ((5, 2, 3), (5, 3, 4), "a", (5, 2, 3, 4)),
        ((3,), (3, 4), "a", (3, 4)),
        ((2, 3), (3,), "b", (2, 3)),
    ],
)
def test_matrix_products_with_batches_and_constant_factors(left, right, fixed, loops):
    shapes = {"a": left, "b": right}
    weights = {name: shapes.pop(name) for name in fixed}

    assert _read([_node("MatMul", "a b")], shapes, weights).macs == _counted_by_loops(*loops)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_gemm_with_transposed_factors(left, right):
    inputs = {"a": (3, 2) if left else (2, 3), "b": (4, 3) if right else (3, 4)}
    node = _node("Gemm", "a b", transA=int(left), transB=int(right))

    assert _read([node], inputs).macs == _counted_by_loops(2, 3, 4)


@pytest.mark.parametrize("sides", [(7,), (7, 6), (5, 6, 7)])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_of_one_to_three_sides(sides, groups):
    window = (3, 2, 2)[: len(sides)]
    weights = {"w": (6, 4 // groups, *window)}
    node = _node("Conv", "x w", group=groups, strides=[2, 1, 1][: len(sides)])

    operator = _read([node], {"x": (1, 4, *sides)}, weights).operators[0]

    after = [(s - k) // d + 1 for s, k, d in zip(sides, window, (2, 1, 1), strict=False)]
    assert operator.macs == _counted_by_loops(6, *after, 4 // groups, *window)
    assert operator.kernel_shape == window
    assert operator.kind.endswith("x".join(map(str, window)))


def test_a_transposed_convolution_multiplies_each_input_with_its_weights():
    node = _node("ConvTranspose", "x w", strides=[2, 2], group=2)

    network = _read([node], {"x": (1, 4, 3, 3)}, {"w": (4, 3, 2, 2)})

    assert network.macs == _counted_by_loops(4, 3, 3, 3, 2, 2)


def _scales(*names):
    return {name: np.array(0.1, dtype=np.float32) for name in names}


def _points(*names, dtype=np.uint8):
    return {name: np.array(0, dtype=dtype) for name in names}


CONVOLUTION = _counted_by_loops(4, 3, 3, 2, 3, 3)
_X, _W = np.zeros((1, 2, 5, 5), np.uint8), np.zeros((4, 2, 3, 3), np.int8)


def test_an_8_bit_convolution_in_every_spelling():
    weights = {
        "w": _W,
        **_scales("xs", "ws", "ys"),
        **_points("xz", "yz"),
        "wz": np.array(0, np.int8),
    }
    byte = {"x": ((1, 2, 5, 5), TensorProto.UINT8)}
    spelled = {
        "QLinearConv": _read([_node("QLinearConv", "x xs xz w ws wz ys yz")], byte, weights),
        "ConvInteger": _read([_node("ConvInteger", "x w xz wz")], byte, weights),
        "Conv": _read(
            [
                _node("QuantizeLinear", "f xs xz", "q"),
                _node("DequantizeLinear", "q xs xz", "d"),
                _node("DequantizeLinear", "w ws wz", "e"),
                _node("Conv", "d e", "c"),
                _node("QuantizeLinear", "c ys yz", "y"),
            ],
            {"f": (1, 2, 5, 5)},
            weights,
        ),
    }

    for op_type, network in spelled.items():
        operator = next(op for op in network.operators if op.op_type == op_type)
        assert network.macs == CONVOLUTION
        assert operator.kind == "conv3x3 int8"
        assert operator.precision == "int8"


def test_8_bit_products():
    byte = ((2, 3), TensorProto.UINT8)
    weights = {"b": np.zeros((3, 4), np.int8), **_scales("as", "bs", "ys"), **_points("az", "yz")}
    weights["bz"] = np.array(0, np.int8)
    matrices = [
        (_node("QLinearMatMul", "a as az b bs bz ys yz"), byte),
        (_node("MatMulInteger", "a b az bz"), byte),
        (_node("MatMulIntegerToFloat", "a b as bs az bz", domain=MICROSOFT), byte),
        (_node("QGemm", "a as az b bs bz", domain=MICROSOFT), byte),
        (_node("DynamicQuantizeMatMul", "a b bs", domain=MICROSOFT), ((2, 3), FLOAT)),
    ]
    for node, given in matrices:
        network = _read([node], {"a": given}, weights)
        assert network.macs == _counted_by_loops(2, 3, 4)
        assert network.operators[0].kind == "linear int8"


def test_a_product_with_weights_of_four_bits():
    attributes = {"K": 32, "N": 5, "bits": 4, "block_size": 32}
    weights = {"w": np.zeros((5, 1, 16), np.uint8), "s": np.zeros(5, np.float32)}
    node = _node("MatMulNBits", "x w s", domain=MICROSOFT, **attributes)

    network = _read([node], {"x": (2, 3, 32)}, weights)

    assert network.macs == _counted_by_loops(2, 3, 32, 5)
    assert network.parameters == 32 * 5
    assert network.operators[0].output_shapes == ((2, 3, 5),)


def test_operators_that_onnx_runtime_has_fused():
    nodes = [
        _node("FusedConv", "x k", "a", domain=MICROSOFT, activation="Relu", pads=[1, 1, 1, 1]),
        _node("Reshape", "a s", "b"),
        _node("FusedMatMul", "b w", "c", domain=MICROSOFT, transB=1, alpha=0.5),
        _node("BiasGelu", "c v", "d", domain=MICROSOFT),
        _node("SkipLayerNormalization", "d c g", "e", domain=MICROSOFT),
        _node("FusedGemm", "e2 m", "f", domain=MICROSOFT, activation="Tanh"),
        _node("MatMul", "f m", "y"),
    ]
    nodes.insert(5, _node("Reshape", "e t", "e2"))
    weights: dict[str, Any] = {"k": (4, 2, 3, 3), "w": (6, 9), "v": (6,), "g": (6,), "m": (6, 6)}
    weights |= {"s": np.array([1, 4, 9], np.int64), "t": np.array([4, 6], np.int64)}

    network = _read(nodes, {"x": (1, 2, 3, 3)}, weights)

    expected = {"FusedConv": (4, 3, 3, 2, 3, 3), "FusedMatMul": (4, 9, 6), "FusedGemm": (4, 6, 6)}
    for op_type, loops in expected.items():
        operator = next(op for op in network.operators if op.op_type == op_type)
        assert operator.macs == _counted_by_loops(*loops)
    assert network.unknown == ()


@pytest.mark.parametrize(
    ("node", "inputs", "weights"),
    [
        (_node("Resize", "x - s"), {"x": (1, 2, 4, 4)}, {"s": np.float32([1, 1, 2, 2])}),
        (_node("Softmax", "x"), {"x": (2, 4)}, {}),
        (_node("LayerNormalization", "x s"), {"x": (2, 4)}, {"s": (4,)}),
        (_node("InstanceNormalization", "x s s"), {"x": (1, 4, 3, 3)}, {"s": (4,)}),
        (_node("TopK", "x k", "y i"), {"x": (2, 9)}, {"k": np.int64([3])}),
        (_node("ScatterND", "x i u"), {"x": (4, 4), "u": (1, 4)}, {"i": np.int64([[1]])}),
        (_node("MaxPool", "x", kernel_shape=[2, 2, 2]), {"x": (1, 2, 4, 4, 4)}, {}),
    ],
)
def test_what_multiplies_nothing_moves_bytes(node, inputs, weights):
    (operator,) = _read([node], inputs, weights).operators

    assert operator.macs == 0
    assert operator.unknown == ""
    assert operator.read_bytes == 4 * sum(int(np.prod(shape)) for shape in inputs.values())
    assert operator.write_bytes >= 4 * int(np.prod(operator.output_shapes[0]))


def test_bytes_follow_dtypes_and_what_is_looked_up():
    half = TensorProto.FLOAT16
    nodes = [_node("Gather", "t i", "a"), _node("MatMul", "a w", "y")]
    network = _read(nodes, {"i": ((3,), INT64)}, {"t": ((100, 8), half), "w": ((8, 2), half)})
    rows, matrix = network.operators

    assert (rows.read_bytes, rows.write_bytes) == (3 * 8, 3 * 8 * 2)
    assert matrix.precision == "float16"


def test_of_a_value_that_is_cut_only_the_part_is_read():
    bounds = {name: np.int64([n]) for name, n in (("b", 2), ("e", 5), ("a", 1))}
    cut, picked = (
        _read([node], {"x": (4, 100)}, bounds).operators[0]
        for node in (_node("Slice", "x b e a"), _node("Gather", "x a", axis=1))
    )

    assert (cut.read_bytes, cut.write_bytes) == (4 * 3 * 4, 4 * 3 * 4)
    assert picked.read_bytes == picked.write_bytes == 4 * 4


def test_axes_are_attributes_in_whatever_version_of_the_operators():
    older = _read([_node("ReduceMean", "x", axes=[1])], {"x": (2, 3, 4)})
    later = _read([_node("ReduceMean", "x a")], {"x": (2, 3, 4)}, {"a": np.int64([1])}, opset=18)
    sums = _read([_node("CumSum", "x a")], {"x": (2, 3, 4)}, {"a": np.array(1)})

    assert older.operators[0].attributes["axes"] == later.operators[0].attributes["axes"] == (1,)
    assert sums.operators[0].attributes["axis"] == 1


def test_a_normalisation_in_training_keeps_its_shapes_in_its_kernel():
    node = _node("BatchNormalization", "x s s s s", "y m v a b")
    after = _node("Conv", "d y", "z", kernel_shape=[1])
    weights: dict[str, Any] = {"x": (4, 3, 1), "s": (3,)}

    network = _read([node, after], {"d": (1, 3, 5)}, weights, opset=13)
    kernel = onnxruntime_kernels(network)[0]

    assert network.operators[0].writes[0] == "y"
    assert kernel.output_shapes[0] == (4, 3, 1)
    assert sum(int(np.prod(shape)) for shape in kernel.weight_shapes) == 4 * 3 + 4 * 3


def test_a_fused_product_tells_which_factor_it_reads_transposed():
    nodes = [_node("Transpose", "k", "t", perm=[0, 2, 1]), _node("MatMul", "q t")]

    (kernel,) = onnxruntime_kernels(_read(nodes, {"q": (2, 3, 4), "k": (2, 5, 4)}))

    assert (kernel.op_type, kernel.attributes) == ("FusedMatMul", {"transB": 1})
    assert kernel.macs == _counted_by_loops(2, 3, 5, 4)


def test_a_fourier_transform_counts_its_butterflies():
    node = _node("DFT", "x", axis=1)

    assert _read([node], {"x": (1, 8, 1)}).macs == 2 * 8 * 3


# Windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "pads"), [("SAME_UPPER", (0, 1, 1, 2)), ("SAME_LOWER", (1, 2, 0, 1))]
)
def test_padding_that_same_asks_for_is_resolved(how, pads):
    node = _node("Conv", "x w", auto_pad=how, strides=[2, 1], dilations=[1, 1])

    (operator,) = _read([node], {"x": (1, 1, 6, 6)}, {"w": (1, 1, 3, 4)}).operators

    assert operator.pads == pads
    assert (operator.strides, operator.kernel_shape, operator.stride) == ((2, 1), (3, 4), 2)


def test_each_side_of_a_dilation():
    node = _node("Conv", "x w", dilations=[1, 3], pads=[1, 3, 1, 3])

    (operator,) = _read([node], {"x": (1, 1, 9, 9)}, {"w": (1, 1, 3, 3)}).operators

    assert (operator.dilations, operator.dilation) == ((1, 3), 3)
    assert operator.pads == (1, 3, 1, 3)


# Bodies -------------------------------------------------------------------------------------------


def _branch(name, width):
    weight = helper.make_tensor(f"{name}_w", FLOAT, (3, width), _zeros((3, width)))
    again = helper.make_tensor(f"{name}_v", FLOAT, (width, 3), _zeros((width, 3)))
    nodes = [
        _node("MatMul", f"x {name}_w", f"{name}_a"),
        _node("MatMul", f"{name}_a {name}_v", name),
    ]
    out = [helper.make_tensor_value_info(name, FLOAT, None)]
    return helper.make_graph(nodes, name, [], out, [weight, again])


def test_of_an_if_the_branch_with_more_work_counts():
    node = _node("If", "c", then_branch=_branch("p", 4), else_branch=_branch("q", 5))

    network = _read([node], {"x": (2, 3), "c": ((1,), TensorProto.BOOL)})

    assert network.macs == 2 * _counted_by_loops(2, 3, 5)
    assert "which branch" in network.unknown[0]


@pytest.mark.parametrize(("taken", "width"), [(True, 4), (False, 5)])
def test_of_an_if_that_is_decided_the_branch_taken_counts(taken, width):
    node = _node("If", "c", then_branch=_branch("p", 4), else_branch=_branch("q", 5))

    network = _read([node], {"x": (2, 3)}, {"c": np.array(taken)})

    assert network.macs == 2 * _counted_by_loops(2, 3, width)
    assert network.unknown == ()
    assert "If" not in [op.op_type for op in network.operators]


def _loop(stops):
    body = helper.make_graph(
        [
            _node("MatMul", "v w", "n"),
            _node("Greater", "i l", "g") if stops else _node("Identity", "k", "g"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("k", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [
            helper.make_tensor_value_info(n, t, None)
            for n, t in (("g", TensorProto.BOOL), ("n", FLOAT))
        ],
        [
            helper.make_tensor("w", FLOAT, (3, 3), _zeros((3, 3))),
            helper.make_tensor("l", INT64, (), [2]),
        ],
    )
    return _node("Loop", "m t x", body=body)


@pytest.mark.parametrize(("stops", "trips"), [(False, 7), (True, 1)])
def test_a_loops_body_counts_as_often_as_it_runs_where_that_is_known(stops, trips):
    weights = {"m": np.array(7, np.int64), "t": np.array(True)}

    network = _read([_loop(stops)], {"x": (2, 3)}, weights)

    product = next(op for op in network.operators if op.op_type == "MatMul")
    assert product.trips == trips
    assert network.macs == trips * _counted_by_loops(2, 3, 3)
    assert bool(network.unknown) == stops


def test_a_scan_runs_its_body_for_each_slice():
    body = helper.make_graph(
        [_node("MatMul", "s w", "n"), _node("Identity", "n", "o")],
        "body",
        [helper.make_tensor_value_info(n, FLOAT, None) for n in ("h", "s")],
        [helper.make_tensor_value_info(n, FLOAT, None) for n in ("n", "o")],
        [helper.make_tensor("w", FLOAT, (3, 3), _zeros((3, 3)))],
    )
    node = _node("Scan", "h x", "e y", body=body, num_scan_inputs=1)

    network = _read([node], {"h": (2, 3), "x": (5, 2, 3)})

    assert network.macs == 5 * _counted_by_loops(2, 3, 3)


# Handlers -----------------------------------------------------------------------------------------


def _foreign(output="y"):
    return _node("Foreign", "x w", output, domain="com.example")


def test_an_operator_without_a_handler_is_named():
    network = _read([_foreign()], {"x": (2, 3)}, {"w": (3, 4)})

    assert network.unknown == ("com.example:Foreign has no handler",)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(handlers, "registered", {})


@pytest.mark.usefixtures("registered")
def test_a_handler_of_ones_own_counts_names_and_gives_shapes():
    @register_operator
    class Foreign(OperatorHandler):
        name = "com.example:Foreign"

        def macs(self, node: GraphNode) -> int:
            return node.shape(0)[0] * 100

        def kind(self, node: GraphNode) -> str:
            return "foreign-kernel"

        def output_shapes(self, node: GraphNode):
            return [(node.shape(0)[0], node.shape(1)[1])]

    nodes = [_foreign("a"), _node("MatMul", "a v", "y")]
    network = _read(nodes, {"x": (2, 3)}, {"w": (3, 4), "v": (4, 5)})

    assert [op.macs for op in network.operators] == [200, 2 * 4 * 5]
    assert network.operators[0].kind == "foreign-kernel"
    assert network.unknown == ()


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("error", [ValueError("no"), LookupError(0)])
def test_a_handler_that_fails_makes_the_work_unknown(error):
    @register_operator
    class Foreign(OperatorHandler):
        name = "com.example:Foreign"

        def macs(self, node: GraphNode) -> int:
            raise error

    network = _read([_foreign()], {"x": (2, 3)}, {"w": (3, 4)})

    assert network.unknown[0].startswith("com.example:Foreign ")


@pytest.mark.parametrize("wrong", [object, OperatorHandler, "name"])
def test_what_is_no_handler_is_refused(wrong):
    with pytest.raises(InvalidValueError, match="operator handler"):
        register_operator(wrong)


def test_every_operator_of_onnx_has_a_handler_or_is_new():
    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}

    missing = {name for name in known if handlers.handler_of(name, "") is None}

    assert missing <= {"LinearAttention"}


def test_a_profile_names_what_is_not_counted(tmp_path):
    model = helper.make_model(
        helper.make_graph(
            [_foreign()],
            "g",
            [helper.make_tensor_value_info("x", FLOAT, (2, 3))],
            [helper.make_empty_tensor_value_info("y")],
            [helper.make_tensor("w", FLOAT, (3, 4), _zeros((3, 4)))],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)],
    )
    onnx.save(model, tmp_path / "m.onnx")

    costs = ModelReading(tmp_path / "m.onnx", {}, {}).costs()

    assert "com.example:Foreign has no handler" in costs.describe()
    assert costs.to_dict()["costs_unknown"] == costs.unknown
