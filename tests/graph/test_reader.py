"""Reading networks from ONNX: operators, shapes, parameters, and every way a file can be bad."""

import io
import os
import warnings

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from latprof.datasets.spaces.proxyless import ProxylessSpace
from latprof.errors import (
    DynamicShapeError,
    InvalidValueError,
    LatprofError,
    ModelFileError,
    UnknownCostsError,
)
from latprof.graph.reader import (
    known_operators,
    load_model,
    model_bytes,
    model_digest,
    parse_shape,
    read_network,
)

FLOAT = TensorProto.FLOAT


def _model(nodes, initializers=(), shape=(1, 3, 8, 8), outputs=("y",), **more):
    """A model with one input x; weights have shapes and no values."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        list(initializers),
    )
    more.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, ir_version=8, **more)


def _weight(name, *dims):
    return TensorProto(name=name, data_type=FLOAT, dims=dims)


def _indices(name, *values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def _node(op_type, inputs, output, **attributes):
    return helper.make_node(op_type, inputs.split(), [output], name=f"{output}.op", **attributes)


CONV = _node("Conv", "x w", "y")
CONV_WEIGHT = _weight("w", 4, 3, 3, 3)


# Operators, shapes, costs --------------------------------------------------------------------


def test_a_convolution_is_read_with_shapes_window_and_costs():
    node = _node("Conv", "x w b", "y", strides=[2, 2], pads=[1] * 4, group=3)
    network = read_network(_model([node], [_weight("w", 6, 1, 3, 3), _weight("b", 6)]))

    (operator,) = network.operators

    assert (operator.name, operator.op_type, operator.kind) == ("y.op", "Conv", "depthwise3x3")
    assert operator.input_shapes == ((1, 3, 8, 8),)
    assert operator.output_shapes == ((1, 6, 4, 4),)
    assert (operator.kernel, operator.stride, operator.groups) == (3, 2, 3)
    assert operator.weight_shape == (6, 1, 3, 3)
    assert network.parameters == 6 * 9 + 6
    assert network.macs == 6 * 4 * 4 * 9
    assert (network.inputs, network.outputs) == ((("x", (1, 3, 8, 8)),), (("y", (1, 6, 4, 4)),))


def test_a_model_comes_as_a_path_as_text_as_bytes_or_as_itself(tmp_path):
    model = _model([helper.make_node("Relu", ["x"], ["y"])])
    path = tmp_path / "relu.onnx"
    path.write_bytes(model.SerializeToString())
    content = path.read_bytes()
    for source in (str(path), path, content, model):
        assert read_network(source) == read_network(path)
    assert model_digest(str(path)) == model_digest(path) == model_digest(content)
    assert model_bytes(str(path)) == model_bytes(path)
    assert load_model(str(path)) == load_model(path)
    for missing in ("absent.onnx", tmp_path / "absent.onnx"):
        with pytest.raises(ModelFileError, match=r"no such file: .*absent\.onnx"):
            read_network(missing)


def test_learnt_values_are_counted_and_others_are_not():
    nodes = [
        _node("Conv", "x w", "a", pads=[1] * 4),
        _node("BatchNormalization", "a scale shift mean variance", "b"),
        _node("Clip", "b low high", "c"),
        _node("Reshape", "c to", "d"),
        _node("MatMul", "d m", "e"),
        _node("Add", "e bias", "y"),
    ]
    statistics = [_weight(name, 4) for name in ("scale", "shift", "mean", "variance")]
    bounds = [helper.make_tensor(name, FLOAT, [], [1.0]) for name in ("low", "high")]
    rest = [_indices("to", 1, 256), _weight("m", 256, 10), _weight("bias", 10)]

    network = read_network(_model(nodes, [_weight("w", 4, 3, 3, 3), *statistics, *bounds, *rest]))

    assert network.parameters == 4 * 27 + 2 * 4 + 2560 + 10
    assert network.macs == 64 * 4 * 27 + 2560


def test_a_shared_weight_counts_once():
    nodes = [_node("MatMul", "x w", "a"), _node("MatMul", "a w", "y")]

    network = read_network(_model(nodes, [_weight("w", 8, 8)], shape=(1, 8)))

    assert [operator.parameters for operator in network.operators] == [64, 0]
    assert network.macs == 128


@pytest.mark.parametrize(
    ("node", "weight", "shape", "macs"),
    [
        (_node("Gemm", "x w", "y", transB=1), (10, 6), (4, 6), 240),
        (_node("Gemm", "x w", "y", transA=1), (6, 10), (6, 4), 240),
        (_node("MatMul", "x w", "y"), (6, 10), (2, 4, 6), 480),
        (_node("MatMul", "w x", "y"), (10, 6), (6, 4), 240),
        (_node("ConvTranspose", "x w", "y", strides=[2, 2]), (3, 5, 2, 2), (1, 3, 4, 4), 960),
    ],
)
def test_products_count_every_multiplication(node, weight, shape, macs):
    assert read_network(_model([node], [_weight("w", *weight)], shape)).macs == macs


def test_kinds_tell_kernels_apart():
    nodes = [
        _node("Conv", "x a", "1", pads=[0, 3, 0, 3]),
        _node("Conv", "1 b", "2", group=2, pads=[1] * 4),
        _node("ConvTranspose", "2 c", "3"),
        _node("GlobalAveragePool", "3", "y"),
    ]
    weights = [_weight("a", 4, 3, 1, 7), _weight("b", 4, 2, 3, 3), _weight("c", 4, 4, 2, 2)]

    network = read_network(_model(nodes, weights))

    assert [o.kind for o in network.operators] == ["conv1x7", "grouped3x3", "transposed2x2", "pool"]


def test_what_does_nothing_at_inference_is_left_out():
    nodes = [
        helper.make_node("Constant", [], ["k"], value=helper.make_tensor("", FLOAT, [1], [2.0])),
        _node("Identity", "w", "w2"),
        _node("Transpose", "w2", "w3", perm=[0, 1, 3, 2]),
        _node("Identity", "x", "x2"),
        _node("Conv", "x2 w3", "a"),
        _node("Dropout", "a", "b"),
        _node("Mul", "b k", "y"),
    ]

    network = read_network(_model(nodes, [CONV_WEIGHT]))

    assert [operator.op_type for operator in network.operators] == ["Conv", "Mul"]
    assert network.operators[0].parameters == 4 * 27
    assert network.operators[1].reads == ("a",)


def test_a_branch_follows_its_if():
    branches = [
        helper.make_graph(
            [_node("Relu", "x", name)], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )
        for name in ("p", "q")
    ]
    nodes = [
        _node("ReduceSum", "x", "s", keepdims=0),
        _node("Cast", "s", "c", to=TensorProto.BOOL),
        _node("If", "c", "y", then_branch=branches[0], else_branch=branches[1]),
    ]

    network = read_network(_model(nodes))

    assert [o.kind for o in network.operators] == ["reducesum", "cast", "if", "activation"]
    assert "decided as it runs" in network.unknown[0]


def test_operators_are_read_in_execution_order_whatever_the_file_has():
    nodes = [_node("Relu", "a", "y"), _node("Conv", "x w", "a")]

    operators = read_network(_model(nodes, [CONV_WEIGHT])).operators

    assert [operator.op_type for operator in operators] == ["Conv", "Relu"]


def test_local_functions_are_written_out():
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    function = helper.make_function("local", "Twice", ["a"], ["c"], [
        _node("Relu", "a", "b"), _node("Relu", "b", "c")
    ], opset[:1])  # fmt: skip
    nodes = [helper.make_node("Twice", ["x"], ["y"], domain="local")]

    network = read_network(_model(nodes, opset_imports=opset, functions=[function]))

    assert [operator.op_type for operator in network.operators] == ["Relu", "Relu"]


def test_operators_of_unknown_domains_keep_the_shapes_that_are_known():
    nodes = [_node("Conv", "x w", "a"), helper.make_node("Odd", ["a"], ["y"], domain="there")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("there", 1)]

    odd = read_network(_model(nodes, [CONV_WEIGHT], opset_imports=opsets)).operators[1]

    assert (odd.kind, odd.input_shapes, odd.output_shapes) == ("odd", ((1, 4, 6, 6),), ())
    assert (odd.macs, odd.activation_elements) == (0, 144)


# Inputs with sizes given -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported():
    """A network that computes shapes, exported by torch with dynamic sizes."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional

    class Shuffling(torch.nn.Module):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 16, 3, 2, 1)
            self.classifier = torch.nn.Linear(16, 10)

        def forward(self, images):
            values = functional.silu(self.stem(images))
            n, c, h, w = values.shape
            values = values.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            values = functional.interpolate(values, size=(h // 2 * 3, w // 2 * 3))
            values = functional.adaptive_avg_pool2d(values, 1)
            return self.classifier(values.view(values.size(0), -1))

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(
            Shuffling().eval(),
            (torch.zeros(1, 3, 32, 32),),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            dynamic_axes={"images": {0: "batch", 2: "height"}},
        )
    return buffer.getvalue()


def test_dynamic_sizes_are_named_with_the_option_that_gives_them(exported):
    with pytest.raises(DynamicShapeError) as caught:
        read_network(exported)

    message = str(caught.value)
    assert "'images' has no size in dimension 0 ('batch'), 2 ('height')" in message
    assert "--shape images=1,3,224,32" in message
    assert caught.value.field == "images"


@pytest.mark.parametrize("key", ["images", None])
def test_given_sizes_resolve_exporters_shape_arithmetic(exported, key):
    network = read_network(exported, shapes={key: (4, 3, 64, 32)})

    shapes = {o.op_type: o.output_shapes for o in network.operators}
    assert shapes["Resize"] == ((4, 16, 48, 24),)
    assert shapes["Gemm"] == ((4, 10),)
    assert "Shape" not in shapes
    assert "Gather" not in shapes
    assert all(o.output_shapes for o in network.operators)


def test_static_sizes_can_be_replaced():
    space = ProxylessSpace(resolution=64)
    model = space.build_onnx(space.sample(1)[0])

    once, eight = read_network(model), read_network(model, shapes={"input": (8, 3, 64, 64)})

    assert eight.macs == 8 * once.macs
    assert eight.parameters == once.parameters
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_graph_made_for_another_size_is_refused():
    nodes = [_node("Conv", "x w", "a"), _node("Reshape", "a to", "y")]
    model = _model(nodes, [CONV_WEIGHT, _indices("to", 1, 144)])

    assert read_network(model).outputs == (("y", (1, 144)),)
    with pytest.raises(ModelFileError, match="another size"):
        read_network(model, shapes={"x": (2, 3, 8, 8)})


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"image": (1, 3, 8, 8)}, "no input 'image'; inputs: x"),
        ({"x": (1, 3, 8)}, "expected 4, got 3"),
        ({"x": (1, 3, 8, -1)}, "at least 0"),
        ({"x": ()}, "expected 4, got 0"),
        ({"x": (2**40, 3, 8, 8)}, "impossible"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(shapes, says):
    with pytest.raises(InvalidValueError) as caught:
        read_network(_model([CONV], [CONV_WEIGHT]), shapes=shapes)

    assert says in str(caught.value)


def test_a_shape_without_a_name_needs_a_single_input():
    model = _model([_node("Add", "x z", "y")])
    model.graph.input.append(helper.make_tensor_value_info("z", FLOAT, (1, 3, 8, 8)))

    with pytest.raises(InvalidValueError, match="inputs: x, z"):
        read_network(model, shapes={None: (1, 3, 8, 8)})


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("input=1,3,224,224", ("input", (1, 3, 224, 224))),
        ("1x3x224x224", (None, (1, 3, 224, 224))),
        (" a=b = 1, 2", ("a=b", (1, 2))),
        ("7", (None, (7,))),
    ],
)
def test_shapes_are_parsed(text, parsed):
    assert parse_shape(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "=", "a=", "=1,2", "1,,2", "-1,2", "1.5", "a", "1_0", "+1", "٣", "1,2,", "9" * 20],
)
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(InvalidValueError, match="not a shape"):
        parse_shape(text)


@given(st.text(max_size=30))
def test_any_text_is_a_shape_or_refused(text):
    try:
        _, shape = parse_shape(text)
        assert min(shape) >= 0
    except InvalidValueError:
        pass


# Bad files -------------------------------------------------------------------------------------


def _refused(source, **options):
    """The one line that a bad model is refused with."""
    with pytest.raises(ModelFileError) as caught:
        read_network(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def content():
    space = ProxylessSpace(resolution=32, num_classes=2)
    return space.build_onnx(space.sample(1)[0]).SerializeToString()


def test_bad_paths_are_refused(tmp_path):
    (tmp_path / "empty.onnx").touch()
    os.mkfifo(tmp_path / "pipe.onnx")

    assert "no such file" in _refused(tmp_path / "missing.onnx")
    assert "is a directory" in _refused(tmp_path)
    assert "is empty" in _refused(tmp_path / "empty.onnx")
    assert "not a regular file" in _refused(tmp_path / "pipe.onnx")
    assert "cannot read" in _refused(tmp_path / ("x" * 300))
    assert "cannot read" in _refused(tmp_path / "nul\0.onnx")


@pytest.mark.parametrize(
    "build",
    [
        lambda: _model([CONV], [_weight("w", *(40 * [-(2**63)]))]),
        lambda: _model([CONV], [CONV_WEIGHT], shape=60 * (2**62,)),
    ],
    ids=["weight", "input"],
)
def test_a_shape_of_many_large_sides_is_quoted_in_short(build):
    with pytest.raises(LatprofError) as caught:
        read_network(build())
    assert len(str(caught.value)) <= 400


def test_an_enormous_file_is_refused_unread(tmp_path):
    path = tmp_path / "sparse.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)

    assert "too large" in _refused(path)


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x")

    def denied(self, *args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)

    assert "Permission denied" in _refused(path)


@pytest.mark.parametrize(
    "text", [b"import onnx\n", b"\x00" * 50, b"{}", b"\xff" * 50, b"<html>", b"PK\x03\x04", b"\n"]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.onnx"
    path.write_bytes(text)

    assert "not an ONNX model" in _refused(path)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(content, part):
    _refused(content[: int(len(content) * part)])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(content, data):
    """The header, where the structure is, rather than the weights that fill most of a file."""
    model = onnx.load_from_string(content)
    model.graph.ClearField("initializer")
    damaged = bytearray(model.SerializeToString())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    try:
        network = read_network(bytes(damaged))
    except LatprofError as error:
        message = str(error)
    else:
        message = ""
        assert [(o.kind, o.macs, o.activation_elements) for o in network.operators]
    assert "\n" not in message


def _negative():
    model = _model([CONV], [CONV_WEIGHT])
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -8
    return model


def _with_empty_outputs(number):
    model = _model([_node("Relu", "x", "y")])
    model.graph.MergeFromString(b"\x62\x00" * number)
    return model


def _without(field):
    model = _model([CONV], [CONV_WEIGHT])
    model.graph.ClearField(field) if field != "opset_import" else model.ClearField(field)
    return model


ABSURD = {
    "no graph": (onnx.ModelProto(ir_version=8), "not an ONNX model"),
    "no nodes": (_without("node"), "no operators"),
    "endless outputs": (_with_empty_outputs(200_000), "too many inputs and outputs"),
    "no inputs": (_without("input"), "which nothing produces"),
    "no opset": (_without("opset_import"), "opset_import"),
    "constant only": (_model([_node("Relu", "w", "y")], [CONV_WEIGHT]), "no operators that depend"),
    "negative size": (_negative(), "no size in dimension 2"),
    "zero size": (_model([CONV], [CONV_WEIGHT], (1, 3, 0, 8)), "impossible shape"),
    "zero batch": (_model([CONV], [CONV_WEIGHT], (0, 3, 8, 8)), "no size in dimension 0"),
    "huge input": (_model([_node("Relu", "x", "y")], (), (2**62, 2**62)), "impossible shape"),
    "huge weight": (_model([CONV], [_weight("w", 2**62, 3, 3, 3)]), "impossible shape"),
    "negative weight": (_model([CONV], [_weight("w", -4, 3, 3, 3)]), "impossible shape"),
    "no shape": (_model([CONV], [CONV_WEIGHT], None), "has no shape"),
    "cycle": (_model([_node("Relu", "b", "y"), _node("Relu", "y", "b")]), "cycle through Relu"),
    "own output": (_model([_node("Relu", "y", "y")]), "cycle through Relu 'y.op'"),
    "dangling": (_model([_node("Relu", "nobody", "y")]), "'nobody', which nothing produces"),
    "two writers": (_model([_node("Relu", "x", "y"), _node("Abs", "x", "y")]), "two operators"),
    "no type": (_model([helper.make_node("", ["x"], ["y"])]), "without an operator type"),
    "no weight": (_model([_node("Conv", "x", "y")]), ""),
    "wrong channels": (_model([CONV], [_weight("w", 4, 5, 3, 3)]), "does not fit its input"),
    "flat weight": (_model([CONV], [_weight("w", 4)]), ""),
    "no groups": (_model([_node("Conv", "x w", "y", group=0)], [CONV_WEIGHT]), "does not fit"),
    "no stride": (_model([_node("Conv", "x w", "y", strides=[0, 0])], [CONV_WEIGHT]), "resolved"),
    "kernel beyond input": (_model([CONV], [_weight("w", 4, 3, 99, 99)]), ""),
    "wrong product": (_model([_node("MatMul", "x w", "y")], [_weight("w", 5, 5)]), "resolved"),
    "scalar product": (_model([_node("MatMul", "x w", "y")], [_weight("w", 5)], ()), "resolved"),
    "unknown domain": (_model([helper.make_node("Odd", ["x"], ["y"], domain="z")]), ""),
    "unknown opset": (
        _model([CONV], [CONV_WEIGHT], opset_imports=[helper.make_opsetid("", -5)]),
        "",
    ),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_models_are_refused(name):
    model, says = ABSURD[name]

    assert says in _refused(model)


def test_an_input_that_is_no_tensor_is_refused():
    model = _model([CONV], [CONV_WEIGHT])
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, None))

    assert "is not a tensor" in _refused(model)


def test_functions_that_explode_or_call_themselves_are_refused():
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]

    def doubling(index, callee):
        domain = "local" if callee != "Relu" else ""
        calls = [helper.make_node(callee, [a], [b], domain=domain) for a, b in ("ab", "bc")]
        return helper.make_function("local", f"F{index}", ["a"], ["c"], calls, opsets)

    nodes = [helper.make_node("F0", ["x"], ["y"], domain="local")]
    chain = [doubling(i, f"F{i + 1}" if i < 59 else "Relu") for i in range(60)]
    many = [doubling(i, "Relu") for i in range(1000)]

    def model(functions):
        return _model(nodes, opset_imports=opsets, functions=functions)

    assert "too many operators" in _refused(model(chain))
    assert "calls itself" in _refused(model([doubling(0, "F1"), doubling(1, "F0")]))
    assert len(read_network(model(many)).operators) == 2, "most are called by nobody"


def test_names_that_are_no_text_are_refused():
    content = _model([CONV], [CONV_WEIGHT]).SerializeToString().replace(b"Conv", b"C\xffnv")

    _refused(content)


def test_nothing_is_printed_while_a_bad_model_is_read(capfd):
    for model, _ in ABSURD.values():
        _refused(model)
    _refused(b"nonsense")

    assert capfd.readouterr() == ("", "")


# Models for runtimes ---------------------------------------------------------------------------


@pytest.fixture
def external(tmp_path):
    """A model whose weight lies in another file."""
    values = onnx.numpy_helper.from_array(
        onnx.numpy_helper.np.ones((4, 3, 3, 3), dtype="float32"), "w"
    )
    model = _model([CONV], [values], ("batch", 3, 8, 8))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_a_network_is_read_without_its_external_weights(external):
    (external.parent / "w.bin").unlink()

    network = read_network(external, shapes={"x": (2, 3, 8, 8)})

    assert (network.parameters, network.macs) == (108, 2 * 4 * 36 * 27)


def test_models_for_runtimes_have_static_shapes_and_their_weights(external):
    model = load_model(external, shapes={"x": (2, 3, 8, 8)})
    whole = onnx.load_from_string(model_bytes(external, shapes={"x": (2, 3, 8, 8)}))

    for value, sizes in (
        (model.graph.input[0], [2, 3, 8, 8]),
        (model.graph.output[0], [2, 4, 6, 6]),
    ):
        assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == sizes
    assert model.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert len(whole.graph.initializer[0].raw_data) == 4 * 108


def test_missing_or_outside_weights_are_refused(external):
    (external.parent / "w.bin").unlink()
    with pytest.raises(ModelFileError, match="external weights cannot be read"):
        model_bytes(external, shapes={"x": (2, 3, 8, 8)})

    outside = load_model(external, shapes={"x": (2, 3, 8, 8)})
    outside.graph.initializer[0].external_data[0].value = "../../../etc/hostname"
    external.write_bytes(outside.SerializeToString())
    with pytest.raises(ModelFileError, match="external weights cannot be read"):
        model_bytes(external)


def test_a_model_with_dynamic_shapes_is_not_handed_to_a_runtime(external):
    with pytest.raises(DynamicShapeError):
        load_model(external)


def test_digests_follow_the_content(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    assert model_digest(path) == model_digest(content)
    assert model_digest(path) != model_digest(content + b"\0")
    assert len(model_digest(path)) == 64
    with pytest.raises(ModelFileError):
        model_digest(tmp_path / "missing")


# What can be measured and not read ------------------------------------------------------------


def _contrib(op_type, inputs, output):
    return helper.make_node(op_type, inputs.split(), [output], output, domain="com.microsoft")


def _with_contrib(*infos, shape=(None, 8)):
    """A product, an operator that onnx does not know, and a product of its output."""
    nodes = [
        _node("MatMul", "x w", "a"),
        _contrib("Unheard", "a", "b"),
        _node("MatMul", "b w", "y"),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = _model(nodes, [_weight("w", 8, 8)], shape, opset_imports=opsets)
    model.graph.value_info.extend(infos)
    return model


def test_an_operator_that_nobody_knows_leaves_costs_unknown():
    with pytest.raises(UnknownCostsError, match=r"'y.op' has a shape that cannot be resolved"):
        read_network(_with_contrib(shape=(1, 8)))
    assert known_operators(_with_contrib(shape=(1, 8)).SerializeToString()) == ()


@pytest.mark.parametrize("rows", [3, 5])
def test_what_the_file_says_of_a_value_is_kept_where_a_shape_is_given(rows):
    info = helper.make_tensor_value_info("b", FLOAT, ["N", 8])
    model = _with_contrib(info, shape=("N", 8))

    network = read_network(model, shapes={"x": (rows, 8)})

    assert [op.macs for op in network.operators if op.op_type == "MatMul"] == [rows * 64] * 2


def test_what_another_size_contradicts_is_not_kept():
    info = helper.make_tensor_value_info("b", FLOAT, [4, 8])
    model = _with_contrib(info, shape=(4, 8))

    assert len(read_network(model).operators) == 3
    with pytest.raises(UnknownCostsError, match="cannot be resolved"):
        read_network(model, shapes={"x": (5, 8)})


def test_what_the_file_says_is_not_believed_against_inference():
    lie = helper.make_tensor_value_info("a", FLOAT, [1, 8])
    model = _with_contrib(lie, helper.make_tensor_value_info("b", FLOAT, ["N", 8]), shape=("N", 8))

    network = read_network(model, shapes={"x": (7, 8)})

    assert network.operators[0].output_shapes == ((7, 8),)


def test_a_loaded_model_keeps_what_is_known_of_its_values(tmp_path):
    info = helper.make_tensor_value_info("b", FLOAT, ["N", 8])
    path = tmp_path / "m.onnx"
    weight = helper.make_tensor("w", FLOAT, [8, 8], [0.5] * 64)
    model = _with_contrib(info, shape=("N", 8))
    model.graph.initializer[0].CopyFrom(weight)
    onnx.save(model, path)

    assert len(known_operators(model_bytes(path, shapes={"x": (2, 8)}))) == 3


def test_a_model_that_cannot_be_read_is_loaded_with_its_shapes(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(_with_contrib(shape=("N", 8)), path)

    loaded = load_model(path, shapes={"x": (2, 8)})

    assert [dim.dim_value for dim in loaded.graph.input[0].type.tensor_type.shape.dim] == [2, 8]


def test_a_dimension_of_zero_is_a_shape():
    nodes = [_node("Concat", "x z", "k", axis=1), _node("MatMul", "k w", "y")]
    model = _model(nodes, [_weight("w", 8, 8)], (1, "past", 8))
    model.graph.input.append(helper.make_tensor_value_info("z", FLOAT, (1, 2, 8)))

    network = read_network(model, shapes=dict([parse_shape("x=1,0,8")]))

    assert network.inputs[0] == ("x", (1, 0, 8))
    assert network.macs == 2 * 64


def test_sparse_weights_have_a_shape():
    values = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    places = helper.make_tensor("w_places", TensorProto.INT64, [2], [0, 5])
    model = _model([CONV])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3, 3, 3]))

    assert read_network(model).macs == 6 * 6 * 4 * 27


@pytest.mark.parametrize("shapes", [{"image": (1, 3, 8, 8)}, {"x": (1, 3, 8)}, {"x": (-1,) * 4}])
def test_a_shape_that_does_not_fit_names_the_model(tmp_path, shapes):
    path = tmp_path / "m.onnx"
    onnx.save(_model([CONV], [CONV_WEIGHT]), path)

    with pytest.raises(InvalidValueError, match=r"m\.onnx"):
        read_network(path, shapes=shapes)


def test_a_sequence_is_no_tensor():
    model = _model([_node("SequenceAt", "x at", "y")], [_indices("at", 0)])
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", FLOAT, [2]))

    with pytest.raises(UnknownCostsError, match="'x' is not a tensor"):
        read_network(model)
