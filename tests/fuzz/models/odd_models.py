"""Small models that say what hardly any model says: each is answered or refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from tests.fuzz.models.judging import Judge
from tests.fuzz.models.originals import FLOAT, INT64, build, integers, weight

#: Numbers that are odd where a size, a version or an axis belongs.
ODD = (0, -1, 1, 7, 2**31, 2**62, -(2**63), 2**63 - 1, 999, -7, 2**20, 65537)
node = helper.make_node


def number(n: int) -> int:
    return ODD[n % len(ODD)]


def calls_itself(n):
    """A function that calls itself: at once, through another, from a branch, with a long way."""
    length = 1 + n * n
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            *("local", f"F{at}", ["a"], ["b"]),
            [node(f"F{(at + 1) % length}", ["a"], ["b"], domain="local")],
            opsets,
        )
        for at in range(length)
    ]
    return build([node("F0", ["x"], ["y"], domain="local")], functions=functions)


def is_its_own_input(n):
    nodes = [node("Relu", [f"v{i}"], [f"v{(i + 1) % (n + 1)}"]) for i in range(n + 1)]
    return build([*nodes, node("Add", ["x", "v0"], ["y"])])


def same_names(n):
    """Two of a kind under one name: nodes, values, weights, inputs, outputs."""
    model = build(
        [node("Conv", ["x", "w"], ["y"], name="n"), node("Relu", ["y"], ["y"], name="n")][
            : 1 + n % 2
        ],
        [weight("w", 4, 4, 3, 3)],
    )
    lists = (model.graph.initializer, model.graph.input, model.graph.output, model.graph.node)
    for each in lists[: 1 + n % 4]:
        each.extend([each[0]] * (n + 1))
    return model


def strings(n):
    words = numpy_helper.from_array(np.array(["\x1b[2J", "a" * 10**n, ""], dtype=object), "s")
    kinds = ("Identity", "Concat", "StringNormalizer", "LabelEncoder", "Gather", "Conv", "Reshape")
    kind = kinds[n % len(kinds)]
    return build([node(kind, ["s", "x"][: 1 + n % 2], ["t"]), node("Relu", ["x"], ["y"])], [words])


def sparse(n):
    model = build([node("Conv", ["x", "w"], ["y"])])
    dims = [number(n), 4, 3, 3]
    indices = integers("", *[number(n + i) for i in range(3)])
    indices.dims[:] = [3] if n % 2 else [3, number(n)]
    values = weight("w", 3)
    model.graph.sparse_initializer.append(
        SparseTensorProto(values=values, indices=indices, dims=dims)
    )
    return model


def versions(n):
    model = build([node("Relu", ["x"], ["y"])])
    kind = n % 4
    if kind == 0:
        model.opset_import[0].version = number(n // 4)
    elif kind == 1:
        model.ir_version = number(n // 4)
    elif kind == 2:
        model.opset_import.extend([helper.make_opsetid("", 18 + n)] * (n + 1))
    else:
        del model.opset_import[:]
    return model


def domains(n):
    names = (
        "",
        "ai.onnx.ml",
        "com.microsoft",
        "org.evil",
        "\x1b[2J",
        "x" * 10**5,
        "ai.onnx",
        "\u202e",
    )
    kinds = ("Relu", "Conv", "", "If", "FusedConv", "TreeEnsembleRegressor", "QAttention", "\x00")
    kind, domain = kinds[n % 8], names[n * 3 // 2 % 8]
    return build([node(kind, ["x", "", "x"], ["y", ""], domain=domain)])


def attributes(n):
    """Attributes that are huge, of another type, not finite, or there many times."""
    model = build([node("Conv", ["x", "w"], ["y"])], [weight("w", 4, 4, 3, 3)])
    name = ("pads", "strides", "dilations", "kernel_shape", "group", "auto_pad")[n % 6]
    values: Any = (
        *([number(n)] * 4, float("nan"), [1] * 10**6, "SAME_" * 10**5, [float("inf")] * 2),
        *([b"x"] * 3, number(n), numpy_helper.from_array(np.zeros(10**6, np.float32), "t")),
    )[n // 2 % 8]
    made = helper.make_attribute(name, values)
    model.graph.node[0].attribute.extend([made] * (1 + n % 3))
    if n % 5 == 4:
        model.graph.node[0].attribute[0].type = AttributeProto.GRAPHS
    return model


def dimensions(n):
    """Negative, huge and named sizes of inputs, weights and claims."""
    size: Any = (number(n), "batch", "", "n" * 10**5, None)[n % 5]
    inputs = [("x", FLOAT, [1, size, 16, size])]
    model = build([node("Conv", ["x", "w"], ["y"])], [weight("w", 4, 4, 3, 3)], inputs)
    model.graph.value_info.append(
        helper.make_tensor_value_info("y", FLOAT, [number(n + 3)] * (n + 1))
    )
    model.graph.initializer[0].dims[n % 4] = number(n)
    return model


def loops(n):
    """Loops in loops, each with as many runs as it can say."""
    body = None
    for depth in range(1 + n % 6):
        inner = (
            [node("Relu", ["x"], ["r"])]
            if body is None
            else [node("Loop", ["m", "c", "x"], ["r"], body=body)]
        )
        values = [
            helper.make_tensor_value_info(name, kind, shape)
            for name, kind, shape in (
                ("i", INT64, []),
                ("ci", TensorProto.BOOL, []),
                ("v", FLOAT, None),
            )
        ]
        outputs = [
            helper.make_tensor_value_info("ci", TensorProto.BOOL, []),
            helper.make_tensor_value_info("r", FLOAT, None),
        ]
        body = helper.make_graph(inner, f"b{depth}", values, outputs)
    runs = numpy_helper.from_array(np.array(number(n), np.int64), "m")
    go = numpy_helper.from_array(np.array(True), "c")
    return build([node("Loop", ["m", "c", "x"], ["y"], body=body)], [runs, go])


def odd_types(n):
    """Tensors of types and with data that do not belong together."""
    tensor = TensorProto(name="w", data_type=n * 2, dims=[4, 4, 3, 3])
    field = ("raw_data", "float_data", "int32_data", "string_data", "double_data")[n % 5]
    content: Any = {"raw_data": bytes(7), "string_data": [b"x"] * 144}.get(field, [1] * (140 + n))
    if field == "raw_data":
        tensor.raw_data = content
    else:
        getattr(tensor, field).extend(content)
    return build([node("Conv", ["x", "w"], ["y"])], [tensor])


def odd_kinds(n):
    """Operators whose work is read from attributes and constants, with odd ones."""
    k = number(n)
    made: Callable[[], Any] = (
        lambda: (node("Einsum", ["x", "x"], ["y"], equation="ab,bc->" * 200), []),
        lambda: (node("Einsum", ["x"], ["y"], equation="...i->...i" + "j" * (k % 1000)), []),
        lambda: (node("LSTM", ["x", "w", "w"], ["y"], hidden_size=k), [weight("w", 1, 4, 4)]),
        lambda: (
            node("Resize", ["x", "", "s"], ["y"]),
            [
                weight("s", 4),
            ],
        ),
        lambda: (node("Pad", ["x", "p"], ["y"]), [integers("p", *[k] * 8)]),
        lambda: (node("Tile", ["x", "p"], ["y"]), [integers("p", *[k] * 4)]),
        lambda: (node("Reshape", ["x", "p"], ["y"]), [integers("p", k, k, -1, -1)]),
        lambda: (
            node("ConvTranspose", ["x", "w"], ["y"], output_shape=[k, k]),
            [weight("w", 4, 4, 3, 3)],
        ),
        lambda: (node("MaxPool", ["x"], ["y"], kernel_shape=[k, k], strides=[0, 0]), []),
        lambda: (node("Split", ["x"], ["y", "z"], axis=k), []),
        lambda: (node("DFT", ["x", "p"], ["y"]), [integers("p", k)]),
        lambda: (node("OneHot", ["x", "p", "p"], ["y"]), [integers("p", k)]),
        lambda: (
            node("Range", ["p", "q", "r"], ["y"]),
            [integers("p", 0), integers("q", k), integers("r", 1)],
        ),
        lambda: (node("NonMaxSuppression", ["x", "x", "p"], ["y"]), [integers("p", k)]),
        lambda: (node("QLinearConv", ["x"] * 9, ["y"]), []),
        lambda: (node("Attention", ["x", "x", "x"], ["y"], q_num_heads=k, kv_num_heads=1), []),
    )[n % 16]
    one, weights = made()
    return build([one], weights)


def long_texts(n):
    model = build([node("Relu", ["x"], ["y"], name="\n" * 10**n)])
    text = "\x1b]0;" + "<b>" * 10**n
    model.graph.name = model.producer_name = model.doc_string = model.domain = text
    for at in range(10 ** (n % 4)):
        model.metadata_props.add(key=f"{text[:99]}{at}", value="x")
    model.graph.node[0].output[0] = model.graph.output[0].name = text
    return model


def nothing(n):
    """Graphs without what a graph has."""
    model = build([node("Relu", ["x"], ["y"])])
    graph = model.graph
    drop: Callable[[], Any] = (
        lambda: graph.ClearField("output"),
        lambda: graph.ClearField("input"),
        lambda: graph.ClearField("node"),
        lambda: model.ClearField("graph"),
        lambda: graph.node[0].ClearField("output"),
        lambda: graph.node[0].ClearField("input"),
        lambda: graph.node[0].ClearField("op_type"),
        lambda: graph.input[0].ClearField("type"),
        lambda: graph.input[0].type.tensor_type.ClearField("shape"),
        lambda: graph.input[0].type.sequence_type.elem_type.tensor_type.shape.dim.extend([]),
        lambda: graph.input[0].type.optional_type.elem_type.map_type.CopyFrom(
            graph.input[0].type.map_type
        ),
        lambda: graph.output.extend([graph.input[0]] * 1000),
    )[n % 12]
    drop()
    return model


ATTACKS = (
    *(calls_itself, is_its_own_input, same_names, strings, sparse, versions, domains, attributes),
    *(dimensions, loops, odd_types, odd_kinds, long_texts, nothing),
)
#: Variants of each attack; texts grow tenfold with each.
VARIANTS = {strings: 7, long_texts: 6}


def fuzz_odd(numbers, _seed, folder):
    """Each attack in each of its variants, by turns."""
    with Judge() as judge:
        for at in numbers:
            attack, path = ATTACKS[at % len(ATTACKS)], folder / "odd.onnx"
            variant = at // len(ATTACKS)
            made = attack(variant % VARIANTS.get(attack, 10**9))
            path.write_bytes(made.SerializeToString())
            outcome, detail = judge(path)
            yield attack.__name__, outcome, f"{at} {attack.__name__}({variant}): {detail}"
