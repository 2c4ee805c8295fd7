"""Each operator that the TFLite writer translates computes what it does in ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tflite_comparison import (
    largest_difference,
    make_model,
    one_operator,
    operator_names,
    random_feeds,
    run_onnx,
)

from latprof.common.extras import is_installed
from latprof.errors import UnsupportedModelError
from latprof.graph.convert.tflite.translation import RULES, write_tflite

pytestmark = pytest.mark.skipif(
    not is_installed("ai_edge_litert"), reason="ai-edge-litert is not installed"
)

TOLERANCE = 1e-5
IMAGE = (2, 3, 4, 5)
RANDOM = np.random.default_rng(11)
node = helper.make_node


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(*values):
    return np.array(values, np.int64)


def number(value):
    return np.float32(value)


def chain(*nodes, inputs, constants=None, outputs=("y",), opset=17):
    return make_model(list(nodes), inputs, list(outputs), constants, opset)


def case(op_type, *shapes, **options):
    """A model of one operator with a name for the test."""
    return pytest.param(one_operator(op_type, *shapes, **options), id=f"{op_type}-{len(CASES)}")


CASES = []
for name in (
    *("Abs", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish"),
    *("LeakyRelu", "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus"),
    *("Softsign", "Tanh", "ThresholdedRelu"),
):
    CASES += [case(name, shape, opset=18) for shape in (IMAGE, (7,), (2, 3, 4))]
for name in (
    *("Add", "Sub", "Mul", "Div", "Max", "Min"),
    *("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"),
):
    for left, right in (
        (IMAGE, IMAGE),
        (IMAGE, (3, 1, 1)),
        ((3, 1, 1), IMAGE),
        (IMAGE, (5,)),
        ((1, 3, 1, 5), (2, 1, 4, 1)),
        ((4, 1), (1, 5)),
        (IMAGE, ()),
    ):
        CASES += [case(name, left, right), case(name, left, constants={"c": normal(*right)})]
CASES += [case(name, IMAGE, (3, 1, 1), (1,)) for name in ("Max", "Min", "Sum", "Mean")]
CASES += [
    case("HardSigmoid", IMAGE, alpha=1 / 6, beta=0.5),
    case("Elu", (2, 3), alpha=2.0),
    case("LeakyRelu", (2, 3), alpha=0.3),
    case("Gelu", (2, 3, 4), opset=20),
    case("Clip", (2, 3), opset=10, min=0.0, max=6.0),
    case("Clip", IMAGE, constants={"low": number(-1), "high": number(1)}),
    case("Clip", IMAGE, constants={"low": number(0), "high": number(6)}),
    case("Clip", IMAGE, constants={"low": number(0)}),
    case("Pow", (2, 3), constants={"p": np.int64(3)}),
    case("Pow", (2, 3), constants={"p": number(2)}),
    case("PRelu", (2, 3), constants={"s": normal(3)}),
    case("PRelu", (2, 3), (3,)),
    *(
        case("PRelu", IMAGE, constants={"s": normal(*shape)})
        for shape in ((3, 1, 1), (1,), (3, 4, 5), (5,))
    ),
]
for before, after in (
    (IMAGE, (2, 60)),
    ((2, 12, 4, 5), (2, 3, 4, 4, 5)),
    (IMAGE, (6, 20)),
    ((1, 3, 4, 5), (3, 20)),
    (IMAGE, (0, -1)),
    ((2, 3, 4), (4, 3, 2)),
    (IMAGE, (5, 4, 3, 2)),
):
    CASES.append(case("Reshape", before, constants={"s": whole(*after)}))
CASES += [
    *(case("Transpose", IMAGE, perm=p) for p in ((0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0))),
    case("Transpose", (2, 3, 4)),
    case("Transpose", (2, 3, 4, 5, 6), perm=(0, 2, 1, 4, 3)),
    *(case("Concat", IMAGE, IMAGE, axis=axis) for axis in (0, 1, 3, -1)),
    case("Concat", IMAGE, constants={"c": normal(*IMAGE)}, axis=1),
    *(case("Flatten", IMAGE, axis=axis) for axis in (0, 1, 2)),
    case("Squeeze", (2, 1, 4, 1), constants={"a": whole(1)}),
    case("Squeeze", (2, 1, 4, 1)),
    case("Unsqueeze", (2, 3, 4), constants={"a": whole(0, -1)}),
    case("Split", (2, 6, 4, 5), outputs=3, axis=1),
    case("Split", (2, 6, 4, 5), constants={"s": whole(1, 2, 3)}, outputs=3, axis=1),
    case("Expand", (3, 1), constants={"s": whole(2, 1, 4)}),
    case("Expand", (1, 3, 1, 1), constants={"s": whole(2, 3, 4, 5)}),
    case("Tile", IMAGE, constants={"r": whole(1, 2, 3, 1)}),
    case("DepthToSpace", (2, 12, 3, 4), blocksize=2),
    case("DepthToSpace", (2, 12, 3, 4), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (2, 3, 4, 6), blocksize=2),
    case("CumSum", (2, 3, 4), constants={"a": np.int64(1)}, exclusive=1),
    case("CumSum", (2, 3, 4), constants={"a": np.int64(-1)}, reverse=1),
    case("TopK", IMAGE, constants={"k": whole(2)}, outputs=2, axis=1),
    case("LRN", (2, 7, 4, 5), size=5, alpha=0.1),
    case("Pad", IMAGE, constants={"p": whole(0, 0, 1, 2, 0, 0, 2, 1), "v": number(3)}),
    case("Pad", IMAGE, constants={"p": whole(0, 1, -1, 2, 0, 0, 2, -1)}),
    case("Pad", (1, 3, 4, 5), constants={"p": whole(0, 0, 0, 0, 0, 4, 0, 0)}),
    *(
        case("Pad", IMAGE, constants={"p": whole(0, 0, 1, 2, 0, 0, 2, 1)}, opset=19, mode=mode)
        for mode in ("constant", "edge", "reflect", "wrap")
    ),
]
for starts, ends, axes, steps in (
    ((1,), (3,), (1,), (1,)),
    ((0, 1), (99, -1), (2, 3), (2, 1)),
    ((-1,), (-99,), (1,), (-1,)),
    ((5, 0), (0, 4), (1, 2), (-2, 3)),
):
    cut = {"s": whole(*starts), "e": whole(*ends), "a": whole(*axes), "p": whole(*steps)}
    CASES.append(case("Slice", (2, 6, 7, 8), constants=cut))
for index in (np.int64(1), whole(1), whole(0, 2), whole(2, 1, 0), whole(-1), whole([0, 1], [2, 0])):
    CASES += [case("Gather", (3, 3, 4, 5), constants={"i": index}, axis=a) for a in (0, 1, -1)]
for left, right in (
    ((3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 3, 4, 5), (5, 6)),
    ((2, 3, 4, 5), (2, 3, 5, 6)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((4,), (4, 5)),
    ((2, 3, 4), (4,)),
    ((4,), (4,)),
    ((3, 4), (2, 4, 5)),
):
    CASES += [case("MatMul", left, right), case("MatMul", left, constants={"b": normal(*right)})]
    product = node("MatMul", ["c", "x"], ["y"])
    left_constant = chain(product, inputs={"x": right}, constants={"c": normal(*left)})
    CASES.append(pytest.param(left_constant, id=f"MatMul-constant-left-{len(CASES)}"))
for a_turned in (0, 1):
    for b_turned in (0, 1):
        a_shape, b_shape = ((4, 3) if a_turned else (3, 4)), ((5, 4) if b_turned else (4, 5))
        turned = {"transA": a_turned, "transB": b_turned}
        CASES.append(case("Gemm", a_shape, b_shape, (5,), **turned))
        for bias in ({}, {"c": normal(5)}, {"c": normal(3, 5)}, {"c": normal(1)}):
            given_constants = {"b": normal(*b_shape), **bias}
            CASES.append(
                case("Gemm", a_shape, constants=given_constants, alpha=0.5, beta=2.0, **turned)
            )
for name in (
    *("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceSumSquare", "ReduceLogSumExp"),
):
    for axes in ([2, 3], [-1], [0, 2]):
        CASES += [case(name, IMAGE, axes=axes, keepdims=keep) for keep in (0, 1)]
    CASES.append(case(name, (2, 3), keepdims=0))
CASES += [
    case("ReduceSum", IMAGE, constants={"a": whole(2, 3)}, keepdims=0),
    *(case("Softmax", IMAGE, axis=axis) for axis in (0, 1, 3)),
    *(case("LogSoftmax", IMAGE, axis=axis, opset=11) for axis in (0, 1, 3)),
    *(case("ArgMax", IMAGE, axis=axis) for axis in (1, 3)),
    case("ArgMin", IMAGE, axis=1, keepdims=0),
    *(case(n, s) for n in ("GlobalAveragePool", "GlobalMaxPool") for s in (IMAGE, (2, 3, 5))),
    case("LayerNormalization", (2, 3, 8), constants={"g": normal(8), "b": normal(8)}),
    case("LayerNormalization", IMAGE, constants={"g": normal(4, 5)}, axis=2),
    case("RMSNormalization", (2, 3, 8), constants={"g": normal(8)}, opset=23),
    case("InstanceNormalization", IMAGE, constants={"g": normal(3), "b": normal(3)}),
    case("LpNormalization", IMAGE, axis=1),
    case("MeanVarianceNormalization", IMAGE),
    *(
        case("GroupNormalization", (2, 6, 4, 5), constants=c, num_groups=3, opset=opset)
        for opset, c in (
            (18, {"g": normal(3), "b": normal(3)}),
            (21, {"g": normal(6), "b": normal(6)}),
        )
    ),
    *(
        case("Einsum", a, b, equation=equation)
        for equation, a, b in (
            ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
            ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
            ("ij,jk->ki", (3, 4), (4, 5)),
        )
    ),
    case("Attention", (2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 8), opset=23),
]
for mode, roundings in (
    ("nearest", ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")),
    ("linear", ("floor",)),
):
    for places in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for rounding in roundings:
            for high, wide in ((8, 10), (2, 3), (7, 9)):
                way = {
                    "mode": mode,
                    "coordinate_transformation_mode": places,
                    "nearest_mode": rounding,
                }
                resized = chain(
                    node("Resize", ["x", "", "", "s"], ["y"], **way),
                    inputs={"x": (1, 3, 4, 5)},
                    constants={"s": whole(1, 3, high, wide)},
                )
                CASES.append(pytest.param(resized, id=f"Resize-{len(CASES)}"))


@pytest.mark.parametrize("model", CASES)
def test_it_computes_what_onnx_runtime_does(model):
    assert largest_difference(model) < TOLERANCE


def test_every_rule_is_tried():
    tried = {parameter.id.split("-")[0] for parameter in CASES}
    elsewhere = {"Conv", "ConvTranspose", "AveragePool", "MaxPool", "BatchNormalization"}
    elsewhere |= {"And", "Or", "Not", "Where", "Cast", "Log", "Sqrt", "Reciprocal"}
    aliases = {"Identity", "Dropout", "Shape", "Size", "Upsample", "ReduceLogSum"}
    contributed = {"CastLike", "QuickGelu", "Swish"}
    assert RULES.keys() - tried <= elsewhere | aliases | contributed


BELOW = chain(
    node("Greater", ["x", "z"], ["above"]),
    node("Less", ["x", "z"], ["below"]),
    node("Not", ["above"], ["not"]),
    node("And", ["below", "not"], ["both"]),
    node("Or", ["both", "above"], ["any"]),
    node("Cast", ["any"], ["number"], to=TensorProto.FLOAT),
    node("Where", ["above", "x", "number"], ["y"]),
    inputs={"x": IMAGE, "z": (3, 1, 1)},
)
POSITIVE = chain(
    node("Abs", ["x"], ["size"]),
    node("Add", ["size", "half"], ["more"]),
    node("Sqrt", ["more"], ["root"]),
    node("Log", ["more"], ["log"]),
    node("Reciprocal", ["more"], ["part"]),
    node("Pow", ["more", "power"], ["power_of"]),
    node("Sum", ["root", "log", "part", "power_of"], ["y"]),
    inputs={"x": IMAGE},
    constants={"half": number(0.5), "power": number(-1.5)},
)
GELU = chain(
    node("Div", ["x", "root"], ["scaled"]),
    node("Erf", ["scaled"], ["erf"]),
    node("Add", ["erf", "one"], ["more"]),
    node("Mul", ["x", "more"], ["product"]),
    node("Mul", ["product", "half"], ["y"]),
    inputs={"x": (2, 3, 50)},
    constants={"root": number(2**0.5), "one": number(1), "half": number(0.5)},
)
SILU = chain(
    node("Sigmoid", ["x"], ["gate"]), node("Mul", ["x", "gate"], ["y"]), inputs={"x": IMAGE}
)
EMBEDDING = chain(
    node("Gather", ["table", "ids"], ["y"]),
    inputs={"ids": ((2, 3), TensorProto.INT64)},
    constants={"table": normal(5, 6)},
)
PADDED_AXES = chain(
    node("Pad", ["x", "pads", "", "axes"], ["y"]),
    inputs={"x": IMAGE},
    constants={"pads": whole(1, 2), "axes": whole(-1)},
    opset=18,
)
SHAPE_ARITHMETIC = chain(
    node("Shape", ["x"], ["shape"]),
    node("Gather", ["shape", "zero"], ["batch"]),
    node("Unsqueeze", ["batch", "axes"], ["first"]),
    node("Concat", ["first", "rest"], ["wanted"], axis=0),
    node("Reshape", ["x", "wanted"], ["y"]),
    inputs={"x": IMAGE},
    constants={"zero": np.int64(0), "axes": whole(0), "rest": whole(-1)},
)


@pytest.mark.parametrize(
    "model", [BELOW, POSITIVE, GELU, SILU, EMBEDDING, PADDED_AXES, SHAPE_ARITHMETIC]
)
def test_operators_together_compute_what_they_do_in_onnx_runtime(model):
    assert largest_difference(model) < TOLERANCE


ATTENTION = chain(
    node("MatMul", ["x", "wq"], ["q"]),
    node("Reshape", ["q", "heads"], ["q_heads"]),
    node("Transpose", ["q_heads"], ["q_turned"], perm=(0, 2, 1, 3)),
    node("MatMul", ["x", "wk"], ["k"]),
    node("Reshape", ["k", "heads"], ["k_heads"]),
    node("Transpose", ["k_heads"], ["k_turned"], perm=(0, 2, 3, 1)),
    node("MatMul", ["q_turned", "k_turned"], ["scores"]),
    node("Softmax", ["scores"], ["shares"], axis=-1),
    node("MatMul", ["shares", "q_turned"], ["mixed"]),
    node("Transpose", ["mixed"], ["mixed_turned"], perm=(0, 2, 1, 3)),
    node("Reshape", ["mixed_turned", "flat"], ["y"]),
    inputs={"x": (2, 6, 16)},
    constants={
        "wq": normal(16, 16) / 4,
        "wk": normal(16, 16) / 4,
        "heads": whole(2, 6, 4, 4),
        "flat": whole(2, 6, 16),
    },
)
SHUFFLE = chain(
    node("Conv", ["x", "w"], ["c"]),
    node("Reshape", ["c", "split"], ["groups"]),
    node("Transpose", ["groups"], ["turned"], perm=(0, 2, 1, 3, 4)),
    node("Reshape", ["turned", "flat"], ["joined"]),
    node("Conv", ["joined", "w"], ["y"]),
    inputs={"x": (2, 8, 4, 5)},
    constants={"w": normal(8, 8, 1, 1), "split": whole(2, 2, 4, 4, 5), "flat": whole(2, 8, 4, 5)},
)
CONVNEXT = chain(
    node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
    node("Transpose", ["c"], ["last"], perm=(0, 2, 3, 1)),
    node("LayerNormalization", ["last", "scale"], ["normal"]),
    node("MatMul", ["normal", "dense"], ["wide"]),
    node("Transpose", ["wide"], ["first"], perm=(0, 3, 1, 2)),
    node("Conv", ["first", "w2"], ["y"]),
    inputs={"x": (1, 4, 6, 7)},
    constants={
        "w": normal(8, 4, 3, 3),
        "scale": normal(8),
        "dense": normal(8, 6),
        "w2": normal(3, 6, 1, 1),
    },
)
NORMALISED = chain(
    node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
    node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"]),
    node("Relu", ["n"], ["y"]),
    inputs={"x": (2, 3, 6, 7)},
    constants={
        "w": normal(4, 3, 3, 3),
        "s": normal(4),
        "b": normal(4),
        "m": normal(4),
        "v": np.abs(normal(4)) + number(0.5),
    },
)
FLATTENED = chain(
    node("GlobalAveragePool", ["x"], ["p"]),
    node("Flatten", ["p"], ["f"]),
    node("Gemm", ["f", "w", "b"], ["y"]),
    inputs={"x": (2, 3, 6, 7)},
    constants={"w": normal(3, 5), "b": normal(5)},
)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (SHUFFLE, ["CONV_2D", "RESHAPE", "TRANSPOSE", "RESHAPE", "CONV_2D"]),
        (NORMALISED, ["CONV_2D"]),
        (FLATTENED, ["MEAN", "FULLY_CONNECTED"]),
    ],
    ids=["channel shuffle", "batch normalisation", "classifier"],
)
def test_these_operators_are_what_is_left(model, names):
    assert operator_names(write_tflite(model).content) == names
    assert largest_difference(model) < TOLERANCE


@pytest.mark.parametrize(
    ("model", "transposes"),
    [(CONVNEXT, 0), (ATTENTION, 3)],
    ids=["convnext", "attention"],
)
def test_transposes_are_few(model, transposes):
    assert operator_names(write_tflite(model).content).count("TRANSPOSE") == transposes
    assert largest_difference(model) < TOLERANCE


SIDE, PAD, STEP = st.integers(8, 14), st.integers(0, 2), st.integers(1, 3)
#: What ONNX Runtime itself refuses, or where padding is counted from is disagreed on.
REFUSED = ("smaller than its stride", "larger than its image")


def pairs(of, count=2):
    return st.lists(of, min_size=count, max_size=count)


def compared(model, seed):
    """Compare, unless ONNX Runtime refuses the model itself."""
    try:
        run_onnx(model, random_feeds(model, seed))
    except Exception:
        assume(False)
    try:
        difference = largest_difference(model, seed)
    except UnsupportedModelError as error:
        if not any(part in str(error) for part in REFUSED):
            raise
    else:
        assert difference < TOLERANCE


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_convolutions_of_every_shape(data):
    groups = data.draw(st.sampled_from([1, 1, 2, 4]))
    inputs, outputs = 4, 4 * data.draw(st.integers(1, 3))
    kernel = data.draw(pairs(st.integers(1, 4)))
    way = {"kernel_shape": kernel, "strides": data.draw(pairs(STEP)), "group": groups}
    automatic = data.draw(st.sampled_from(["", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if automatic:
        way["auto_pad"] = automatic
    else:
        way |= {
            "pads": data.draw(pairs(PAD, 4)),
            "dilations": data.draw(pairs(st.integers(1, 2))),
        }
    constants = {"w": normal(outputs, inputs // groups, *kernel)}
    if data.draw(st.booleans()):
        constants["b"] = normal(outputs)
    shape = (data.draw(st.integers(1, 2)), inputs, data.draw(SIDE), data.draw(SIDE))
    compared(one_operator("Conv", shape, constants=constants, **way), data.draw(st.integers(0, 9)))


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([1, 2, 4]), st.integers(1, 4), STEP, st.integers(1, 2), pairs(PAD))
def test_convolutions_of_one_side(groups, kernel, stride, dilation, pads):
    way = {"kernel_shape": [kernel], "strides": [stride], "dilations": [dilation], "pads": pads}
    constants = {"w": normal(8, 4 // groups, kernel), "b": normal(8)}
    compared(one_operator("Conv", (2, 4, 20), constants=constants, group=groups, **way), 1)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_transposed_convolutions_of_every_shape(data):
    groups = data.draw(st.sampled_from([1, 1, 2]))
    kernel, strides, dilations = (data.draw(pairs(st.integers(1, n))) for n in (4, 3, 2))
    way = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
    if data.draw(st.booleans()):
        extent = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        way["pads"] = [data.draw(st.integers(0, min(2, extent[i % 2]))) for i in range(4)]
        way["output_padding"] = [data.draw(st.integers(0, s - 1)) for s in strides]
    else:
        way["auto_pad"] = data.draw(st.sampled_from(["SAME_UPPER", "VALID"]))
    constants = {"w": normal(4, 6 // groups, *kernel), "b": normal(6)}
    compared(one_operator("ConvTranspose", (1, 4, 7, 6), constants=constants, **way), 1)


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_pools_of_every_shape(data):
    name = data.draw(st.sampled_from(["AveragePool", "MaxPool"]))
    kernel = data.draw(pairs(st.integers(1, 4)))
    way = {"kernel_shape": kernel, "strides": data.draw(pairs(STEP))}
    automatic = data.draw(st.sampled_from(["", "", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if automatic:
        way["auto_pad"] = automatic
    else:
        way["pads"] = [data.draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
        way["ceil_mode"] = data.draw(st.integers(0, 1))
    if name == "AveragePool":
        way["count_include_pad"] = data.draw(st.integers(0, 1))
    shape = (1, 3, data.draw(SIDE), data.draw(SIDE))
    compared(one_operator(name, shape, opset=19 if name == "AveragePool" else 17, **way), 2)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_reshapes_and_transposes_between_convolutions(data):
    """Values keep their meaning however their axes lie."""
    shape, value, nodes, constants = [2, 4, 3, 6], "c", [], {"w": normal(4, 4, 1, 1)}
    nodes.append(node("Conv", ["x", "w"], ["c"]))
    for step in range(data.draw(st.integers(1, 5))):
        new = f"v{step}"
        if data.draw(st.booleans()):
            order = data.draw(st.permutations(range(len(shape))))
            nodes.append(node("Transpose", [value], [new], perm=order))
            shape = [shape[axis] for axis in order]
        else:
            shape = factors(data, int(np.prod(shape)))
            constants[f"s{step}"] = whole(*shape)
            nodes.append(node("Reshape", [value, f"s{step}"], [new]))
        value = new
    nodes.append(node("Relu", [value], ["y"]))
    model = make_model(nodes, {"x": (2, 4, 3, 6)}, ["y"], constants)
    assert largest_difference(model) < TOLERANCE


def factors(data, total):
    """A shape of up to five axes with so many elements."""
    shape = []
    while len(shape) < 4 and total > 1:
        divisors = [d for d in range(1, total + 1) if total % d == 0]
        shape.append(data.draw(st.sampled_from(divisors)))
        total //= shape[-1]
    return [*shape, total]
