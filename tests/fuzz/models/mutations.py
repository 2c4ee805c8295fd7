"""Structural mutations of ONNX models: still messages of ONNX, mostly, and seldom right."""

from copy import deepcopy

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

NUMBERS = (0, 1, -1, 2, 3, 7, 64, 255, 2**16, 2**31 - 1, 2**31, 2**38, 2**62, 2**63 - 1, -(2**63))
OPERATORS = (
    *(
        "Add",
        "And",
        "Cast",
        "Concat",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "Expand",
        "Flatten",
    ),
    *(
        "Gather",
        "GatherND",
        "Gemm",
        "Identity",
        "If",
        "Loop",
        "LSTM",
        "MatMul",
        "MaxPool",
        "NonZero",
    ),
    *("OneHot", "Pad", "Range", "Reshape", "Resize", "Scan", "SequenceEmpty", "Shape", "Size"),
    *("Slice", "Split", "SplitToSequence", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze"),
    *("Where", "Einsum", "Upsample", "SpaceToDepth", "DepthToSpace", "Attention", "Unknown", ""),
)


def number(random):
    return NUMBERS[random.integers(len(NUMBERS))]


def one(random, items):
    return items[random.integers(len(items))] if len(items) else None


def values_of(graph):
    names = [each.name for each in (*graph.input, *graph.initializer)]
    return [*names, *(name for node in graph.node for name in node.output)]


def drop_node(random, model):
    if len(model.graph.node) > 1:
        del model.graph.node[random.integers(len(model.graph.node))]


def repeat_node(random, model):
    if node := one(random, model.graph.node):
        copy = model.graph.node.add()
        copy.CopyFrom(node)
        if random.random() < 0.7:
            copy.output[:] = [f"{name}.again" for name in copy.output]


def rewire(random, model):
    node = one(random, model.graph.node)
    if node and node.input:
        names = [*values_of(model.graph), "", "nowhere"]
        node.input[random.integers(len(node.input))] = one(random, names)


def rewire_output(random, model):
    node = one(random, model.graph.node)
    if node and node.output:
        names = [*values_of(model.graph), "", "elsewhere"]
        node.output[random.integers(len(node.output))] = one(random, names)


def change_arity(random, model):
    if node := one(random, model.graph.node):
        names = node.input if random.random() < 0.7 else node.output
        if random.random() < 0.5 and names:
            del names[-1]
        else:
            names.extend([one(random, values_of(model.graph))] * int(random.integers(1, 5)))


def change_operator(random, model):
    if node := one(random, model.graph.node):
        node.op_type = one(random, OPERATORS)
        node.domain = one(random, ("", "", "", "ai.onnx.ml", "com.microsoft", "local"))


def change_attribute(random, model):
    node = one(random, [n for n in model.graph.node if n.attribute])
    attribute = one(random, node.attribute) if node else None
    if attribute is None:
        return
    kind = random.integers(6)
    if kind == 0:
        attribute.i = number(random)
    elif kind == 1:
        attribute.ints[:] = [number(random) for _ in range(random.integers(6))]
    elif kind == 2:
        attribute.type = int(random.integers(15))
    elif kind == 3:
        attribute.name = one(random, ("axis", "to", "perm", "value", "group", "body", ""))
    elif kind == 4:
        node.attribute.remove(attribute)
    elif len(attribute.ints):
        attribute.ints[random.integers(len(attribute.ints))] = number(random)


def add_attribute(random, model):
    if node := one(random, model.graph.node):
        names = ("axis", "axes", "kernel_shape", "strides", "pads", "dilations", "group", "to")
        name = one(random, (*names, "allowzero", "output_shape", "hidden_size", "blocksize"))
        many = [number(random) for _ in range(random.integers(1, 6))]
        node.attribute.append(
            helper.make_attribute(name, many if random.random() < 0.5 else many[0])
        )


def tensors_of(model):
    graph = model.graph
    found = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.HasField("t"))]
    return [*found, *(s.values for s in graph.sparse_initializer)]


def change_tensor(random, model):
    tensor = one(random, tensors_of(model))
    if tensor is None:
        return
    kind = random.integers(6)
    if kind == 0 and len(tensor.dims):
        tensor.dims[random.integers(len(tensor.dims))] = number(random)
    elif kind == 1:
        tensor.dims.extend([number(random)] * int(random.integers(1, 80)))
    elif kind == 2:
        tensor.data_type = int(random.integers(30))
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]
    elif kind == 4:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=one(random, ("/etc/passwd", "../a", "a")))
    else:
        del tensor.dims[:]


def change_numbers(random, model):
    """Replace the values of a small tensor of integers."""
    found = [t for t in tensors_of(model) if t.data_type == TensorProto.INT64]
    if tensor := one(random, found):
        name, size = tensor.name, int(random.integers(5))
        tensor.CopyFrom(numpy_helper.from_array(np.array([number(random)] * size, np.int64), name))


def change_shape(random, model):
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    value = one(random, values)
    dims = value.type.tensor_type.shape.dim
    kind = random.integers(5)
    if kind == 0 and len(dims):
        one(random, dims).dim_value = number(random)
    elif kind == 1:
        dims.add().dim_value = number(random)
    elif kind == 2 and len(dims):
        one(random, dims).dim_param = "n"
    elif kind == 3:
        value.type.tensor_type.elem_type = int(random.integers(30))
    else:
        value.type.sequence_type.elem_type.tensor_type.elem_type = 1


def claim_shape(random, model):
    name = one(random, values_of(model.graph))
    shape = [number(random) for _ in range(random.integers(6))]
    kind = one(random, (1, 7, 9))
    model.graph.value_info.append(helper.make_tensor_value_info(name, kind, shape))


def change_versions(random, model):
    if random.random() < 0.5:
        model.ir_version = number(random)
    for opset in model.opset_import:
        opset.version = int(one(random, (1, 6, 9, 11, 13, 18, 22, 25, 40, number(random))))


def shuffle(random, model):
    nodes = deepcopy(list(model.graph.node))  # parsed again it may be too deep
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in random.permutation(len(nodes)))


def make_cycle(random, model):
    nodes = model.graph.node
    if len(nodes) > 1 and nodes[0].input and nodes[-1].output:
        nodes[0].input[0] = nodes[-1].output[0]


def wrap(random, model):
    """Move a node into a branch, again and again."""
    node = one(random, model.graph.node)
    if node is None:
        return
    for _ in range(int(one(random, (1, 2, 10, 30)))):
        ends = [onnx.ValueInfoProto(name=name) for name in node.output]
        try:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
        except DecodeError:  # deeper than protobuf goes
            return
        graph = helper.make_graph([copy], "wrapped", [], ends)
        outputs = [*node.output]
        node.Clear()
        node.op_type = one(random, ("If", "If", "Loop", "Scan"))
        node.input.append(one(random, values_of(model.graph)) or "x")
        node.output.extend(outputs)
        name = "then_branch" if node.op_type == "If" else "body"
        try:
            node.attribute.append(helper.make_attribute(name, graph))
        except DecodeError:  # deeper than protobuf goes
            return


def insert_growth(random, model):
    """Operators that make much of little, at the end."""
    name = "big"
    start = np.array([number(random)] * int(random.integers(1, 5)), np.int64)
    model.graph.initializer.append(numpy_helper.from_array(start, name))
    kind = one(random, ("Expand", "Tile", "ConstantOfShape", "Range", "Concat", "Reshape"))
    for step in range(int(one(random, (1, 3, 40)))):
        inputs = {"ConstantOfShape": [name], "Range": [name] * 3}.get(kind, [name, name])
        name = f"big{step}"
        model.graph.node.append(helper.make_node(kind, inputs, [name]))
        if kind == "Concat":
            model.graph.node[-1].attribute.append(helper.make_attribute("axis", 0))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))


def add_function(random, model):
    """Functions that call each other, or themselves."""
    names = [f"F{number}" for number in range(int(one(random, (1, 3, 20))))]
    for at, name in enumerate(names):
        called = names[(at + 1) % len(names)] if random.random() < 0.3 else names[at - 1]
        calls = int(one(random, (1, 2, 10)))
        nodes = [helper.make_node(called, ["a"], [f"b{i}"], domain="local") for i in range(calls)]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        model.functions.append(helper.make_function("local", name, ["a"], ["b0"], nodes, opsets))
    model.graph.node.append(helper.make_node(names[0], ["x"], ["called"], domain="local"))


def rename(random, model):
    names = ("", "x" * 100_000, "\N{SNOWMAN}", "x", "y", "\n\x1b[31m")
    if node := one(random, model.graph.node):
        node.name = one(random, names)
    if value := one(random, model.graph.input):
        value.name = one(random, names)


MUTATIONS = (
    *(drop_node, repeat_node, rewire, rewire_output, change_arity, change_operator),
    *(change_attribute, add_attribute, change_tensor, change_numbers, change_shape, claim_shape),
    *(change_versions, shuffle, make_cycle, wrap, insert_growth, add_function, rename),
)


def mutate(random, content):
    """A mutant's content, and what was done."""
    model = onnx.load_from_string(content)
    done = []
    for _ in range(int(random.integers(1, 5))):
        mutation = one(random, MUTATIONS)
        mutation(random, model)
        done.append(mutation.__name__)
    content = model.SerializeToString()
    if random.random() < 0.1:
        changed = bytearray(content)
        changed[random.integers(len(changed))] = random.integers(256)
        content = bytes(changed)
        done.append("a byte")
    return content, " ".join(done)
