"""Files that the TFLite writer makes: TFLite's own schema reads them; odd models are refused."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tflite_comparison import largest_difference, make_model, one_operator, operator_names

from latprof.common.extras import is_installed
from latprof.datasets.spaces.named import get_space
from latprof.errors import LatprofError, UnsupportedModelError
from latprof.graph.convert.tflite import constants
from latprof.graph.convert.tflite.flat_schema import OPERATORS, OPTIONS, TYPE_CODES
from latprof.graph.convert.tflite.translation import write_tflite
from latprof.registry import SPACES

pytestmark = pytest.mark.skipif(
    not is_installed("ai_edge_litert"), reason="ai-edge-litert is not installed"
)
node = helper.make_node


@pytest.fixture(scope="module")
def schema():
    return pytest.importorskip("ai_edge_litert.schema_py_generated")


def test_numbers_of_operators_types_and_options_are_the_schemas(schema):
    for name, (code, _, _) in OPERATORS.items():
        assert getattr(schema.BuiltinOperator, name) == code
    for name, code in TYPE_CODES.items():
        assert getattr(schema.TensorType, name.upper()) == code
    assert {table for _, _, table in OPERATORS.values()} - {""} == OPTIONS.keys()
    for table, (union, _) in OPTIONS.items():
        assert getattr(schema.BuiltinOptions, f"{table}Options") == union


def test_options_are_read_where_they_were_written(schema):
    weights = np.ones((4, 2, 3, 5), np.float32)
    content = write_tflite(
        one_operator(
            "Conv",
            (1, 4, 20, 24),
            constants={"w": weights},
            strides=[2, 3],
            dilations=[4, 2],
            group=2,
        )
    ).content
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    operator = model.subgraphs[0].operators[0]
    options = operator.builtinOptions
    assert content[4:8] == b"TFL3"
    assert model.version == 3
    assert (options.strideH, options.strideW) == (2, 3)
    assert (options.dilationHFactor, options.dilationWFactor) == (4, 2)
    assert options.padding == schema.Padding.VALID


def test_both_fields_hold_an_operators_code(schema):
    nodes = [node("Gelu", ["x"], ["g"]), node("HardSwish", ["g"], ["y"])]
    content = write_tflite(make_model(nodes, {"x": (2, 3)}, ["y"], opset=20)).content
    codes = schema.ModelT.InitFromPackedBuf(content, 0).operatorCodes
    assert {(c.deprecatedBuiltinCode, c.builtinCode) for c in codes} == {(127, 150), (117, 117)}


def test_weights_are_aligned_and_lie_where_it_says(schema):
    space = get_space("nasbench-macro")
    written = write_tflite(space.onnx_bytes(space.sample(1, seed=1)[0]))
    model = schema.ModelT.InitFromPackedBuf(written.content, 0)
    graph = model.subgraphs[0]
    assert model.buffers[0].data is None
    learnt = [np.frombuffer(written.content, "<f4", n, start) for start, n in written.weights]
    assert all(start % 16 == 0 for start, _ in written.weights)
    kernels = {
        operator.inputs[1]
        for operator in graph.operators
        if len(operator.inputs) == 3 and operator.inputs[1] >= 0
    }
    stored = [model.buffers[graph.tensors[k].buffer].data.view("<f4") for k in kernels]
    for kernel in stored:
        assert any(np.array_equal(kernel, values) for values in learnt)


@pytest.mark.parametrize("name", sorted(SPACES.names()))
def test_members_of_every_space(name):
    space = get_space(name)
    model = space.onnx_bytes(space.sample(1, seed=5)[0])
    assert largest_difference(model) < 1e-5
    names = operator_names(write_tflite(model).content)
    shuffles = 60 if name == "fbnet" else 0
    if name != "uninet":  # attention needs both
        assert names.count("TRANSPOSE") <= shuffles
        assert "BATCH_MATMUL" not in names


@pytest.mark.parametrize("name", ["nasbench201", "ofa-mobilenetv3"])
def test_batch_normalisation_that_was_kept_is_folded(name):
    space = get_space(name)
    architecture = space.sample(1, seed=2)[0]
    kept = space.build_onnx(architecture, batch_norm="kept").SerializeToString()
    folded = space.onnx_bytes(architecture)
    assert largest_difference(kept) < 1e-5
    names = [operator_names(write_tflite(model).content) for model in (kept, folded)]
    assert names[0].count("MUL") <= names[1].count("MUL") + 1
    assert names[0].count("CONV_2D") == names[1].count("CONV_2D")


def test_inputs_and_outputs_that_are_passed_on_or_constant():
    same = make_model(
        [
            node("Identity", ["x"], ["again"]),
            node("Relu", ["x"], ["twice"]),
            node("Mul", ["c", "c"], ["square"]),
        ],
        {"x": (2, 3)},
        ["again", "twice", "square"],
        {"c": np.float32([1, 2])},
    )
    assert largest_difference(same) == 0


def refused(model, match=None):
    with pytest.raises(UnsupportedModelError, match=match):
        write_tflite(model)


def test_types_that_have_no_translation_are_refused():
    for kind in (TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.STRING):
        refused(make_model([node("Relu", ["x"], ["y"])], {"x": ((2, 3), kind)}, ["y"]))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Reshape", ["x", "s"], ["y"], name="odd")],
        [node("Transpose", ["x"], ["y"], name="odd", perm=[0, 0])],
        [node("Concat", ["x", "s"], ["y"], name="odd", axis=9)],
        [node("Squeeze", ["x", "s"], ["y"], name="odd")],
        [node("Conv", ["x", "x"], ["y"], name="odd")],
        [node("Gemm", ["x", "s"], ["y"], name="odd")],
        [node("Gather", ["x", "s"], ["y"], name="odd")],
        [node("Softmax", ["x"], ["y"], name="odd", axis=7)],
        [node("MaxPool", ["x"], ["y"], name="odd", kernel_shape=[0, 0])],
        [node("ReduceMean", ["x"], ["y"], name="odd", axes=[5])],
        [node("Split", ["x", "s"], ["y", "z"], name="odd")],
        [node("Pad", ["x", "s"], ["y"], name="odd")],
        [node("Loop", ["x"], ["y"], name="odd")],
        [node("Sigmoid", [], ["y"], name="odd")],
        [node("Sigmoid", ["nowhere"], ["y"], name="odd")],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_operators_that_contradict_themselves_are_named(nodes):
    constants_of = {"s": np.array([7, 9], np.int64)}
    with pytest.raises(LatprofError, match=r"odd|nowhere"):
        write_tflite(make_model(nodes, {"x": (2, 3)}, ["y"], constants_of))


def test_constants_that_grow_without_end_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(constants, "MOST_ELEMENTS", 1 << 20)
    doubled = [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)]
    last = node("Add", ["x", "c40"], ["y"])
    refused(
        make_model([*doubled, last], {"x": (1,)}, ["y"], {"c0": np.zeros(1, np.float32)}),
        "too many values",
    )
    huge = {"shape": np.array([1 << 40], np.int64)}
    for op_type in ("ConstantOfShape", "Expand"):
        read = ["shape"] if op_type == "ConstantOfShape" else ["one", "shape"]
        made = node(op_type, read, ["big"])
        given_constants = {**huge, "one": np.zeros(1, np.float32)}
        model = make_model(
            [made, node("Add", ["x", "big"], ["y"])], {"x": (1,)}, ["y"], given_constants
        )
        refused(model, "too many values|contradicts itself")


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_damaged_models_end_in_an_error_of_latprof_or_a_file(data):
    content = bytearray(DAMAGED)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        written = write_tflite(bytes(content))
    except LatprofError:
        return
    assert written.content[4:8] == b"TFL3"


def small_network():
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4, name="conv"),
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["p", "s"], ["f"]),
        node("Gemm", ["f", "d"], ["y"], transB=1),
    ]
    generator = np.random.default_rng(2)
    weights = {
        "w": generator.standard_normal((2, 2, 3, 3)).astype(np.float32),
        "b": np.zeros(2, np.float32),
        "s": np.array([1, -1], np.int64),
        "d": generator.standard_normal((3, 8)).astype(np.float32),
    }
    model = onnx.load_from_string(make_model(nodes, {"x": (1, 2, 4, 4)}, ["y"], weights))
    return model.SerializeToString()


DAMAGED = small_network()
