"""Small graphs of any operators, wired at random: what optimisers look for, and what breaks it.

Nodes lack inputs and outputs or have too many, read constants where values belong, are empty or not
a number, have attributes of any type, and follow on values of unknown shape.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from latprof.graph.work.attention import ATTENTION
from latprof.graph.work.data_movement import MOVES_DATA
from latprof.graph.work.machine_learning import LEARNED
from latprof.graph.work.products import PRODUCTS
from tests.fuzz.models.judging import Judge
from tests.fuzz.models.mutations import NUMBERS, number, one
from tests.fuzz.models.originals import FLOAT, INT64, integers, weight

#: Every operator that latprof knows, and one that nobody does.
KINDS = sorted({*MOVES_DATA, *ATTENTION, *PRODUCTS, *LEARNED, "org.unknown:Mystery"})
#: What runtimes merge, in the order in which it stands.
IDIOMS = tuple(
    line.split()
    for line in """
    Div Erf Add Mul Mul
    Pow Mul Add Mul Tanh Add Mul
    ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add
    Pow ReduceMean Add Sqrt Div Mul
    Mul Sigmoid Mul
    Sigmoid Mul
    Transpose Add Relu Transpose Reshape Transpose
    Transpose Split Squeeze Transpose
    Transpose Transpose MatMul Mul
    Pad Conv BatchNormalization Clip
    Conv Mul Add Relu Add
    MatMul Add Add LayerNormalization
    Slice Gather Slice Concat
    QuantizeLinear DequantizeLinear Conv Relu QuantizeLinear DequantizeLinear Transpose
    DequantizeLinear MatMul Add QuantizeLinear
    DynamicQuantizeLinear MatMulInteger Cast Mul Add
    Reshape Transpose Reshape
    HardSwish Mish GroupNormalization Swish
    Shape Gather Unsqueeze Concat Reshape
    Shape Split TopK Abs Reshape
    Cast Mul Sub Cast Gather
    org.unknown:Mystery Transpose Transpose Pad Conv Resize MaxPool
    """.strip().splitlines()
)
CONSTANTS = {
    "w": weight("w", 4, 4, 3, 3),
    "v": weight("v", 4),
    "one": weight("one"),
    "empty": numpy_helper.from_array(np.zeros(0, np.float32), "empty"),
    "nan": numpy_helper.from_array(np.array([np.nan, np.inf], np.float32), "nan"),
    "tiny": numpy_helper.from_array(np.array(1e-200), "tiny"),
    "large": numpy_helper.from_array(np.array(-1e300), "large"),
    "bytes": numpy_helper.from_array(np.array(3, np.uint8), "bytes"),
    "flag": numpy_helper.from_array(np.array(True), "flag"),
    "words": numpy_helper.from_array(np.array(["a", ""], dtype=object), "words"),
    "two": numpy_helper.from_array(np.array(2, np.float32), "two"),
    "half": numpy_helper.from_array(np.array(0.5, np.float32), "half"),
    "root": numpy_helper.from_array(np.array(2**0.5, np.float32), "root"),
    "k": integers("k", 1),
    "axes": integers("axes", -1, 7),
    "sizes": integers("sizes", 1, 4, 0, -1),
    "huge": integers("huge", 2**40),
}
ATTRIBUTES = """
axis axes perm kernel_shape strides pads dilations group auto_pad mode to ends starts
steps num_outputs num_groups num_scan_inputs scan_input_axes activation k blocksize
keepdims equation num_heads q_num_heads qkv_hidden_sizes batch_dims hidden_size allowzero
N K bits transA value output_shape start end sorted split channels
""".split()
INPUTS = (
    ("x", FLOAT, [1, 4, 16, 16]),
    ("i", INT64, [1, 4]),
    ("n", INT64, []),
    ("u", TensorProto.UINT8, [4]),
)
OPSETS = (7, 9, 11, 13, 15, 17, 18, 20, 21, 22, 23)
MICROSOFT = ("com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "ai.onnx.ml")


def fuzz_graphs(numbers, seed, folder):
    """Graphs by their numbers, read, predicted, and prepared for a measurement."""
    with Judge() as judge:
        for at in numbers:
            random = np.random.default_rng([seed, at, 1])
            path = folder / "graph.onnx"
            model = random_model(random)
            path.write_bytes(model.SerializeToString())
            kinds = " ".join(node.op_type for node in model.graph.node)
            outcome, detail = judge(path)
            yield "graphs", outcome, f"{at} ({kinds}): {detail}"


def random_model(random):
    """A graph of one to twelve nodes over the constants and inputs."""
    nodes = list(random_nodes(random, [*CONSTANTS, *(name for name, *_ in INPUTS)], "h", 2))
    written = [name for node in nodes for name in node.output if name] or ["x"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in INPUTS],
        [onnx.ValueInfoProto(name=one(random, written)) for _ in range(random.integers(1, 3))],
        list(CONSTANTS.values()),
    )
    domains = [("", int(one(random, OPSETS))), *((name, 1) for name in (*MICROSOFT, "org.unknown"))]
    opsets = [helper.make_opsetid(*each) for each in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def random_nodes(random, names, prefix, depth):
    """Nodes that each read what is there already; their subgraphs are ``depth`` deep."""
    last = "x"
    kinds = [*one(random, IDIOMS)] if random.random() < 0.7 else []
    for at in range(len(kinds)):
        if random.random() < 0.15:
            kinds[at] = one(random, KINDS)
    kinds += [one(random, KINDS) for _ in range(random.integers(0 if kinds else 1, 4))]
    for at, kind in enumerate(kinds):
        domain, _, op_type = kind.rpartition(":")
        given = [one(random, [*names, ""]) for _ in range(one(random, (0, 0, 1, 1, 1, 2, 3, 5)))]
        given.insert(int(one(random, (0, 0, 0, len(given)))), last)
        given = given if random.random() < 0.95 else []
        written = [f"{prefix}{at}.{i}" for i in range(one(random, (1, 1, 1, 1, 1, 1, 2, 3, 0)))]
        node = helper.make_node(op_type, given, written, domain=domain)
        for _ in range(one(random, (0, 0, 0, 1, 2))):
            node.attribute.append(attribute(random, one(random, ATTRIBUTES)))
        if op_type in ("If", "Loop", "Scan", "SequenceMap") and depth:
            for name in ("then_branch", "else_branch", "body")[: random.integers(1, 4)]:
                body = subgraph(random, [*names], f"{prefix}{at}.{name}", depth - 1)
                node.attribute.append(helper.make_attribute(name, body))
        names += written
        last = written[0] if written else last
        yield node


def subgraph(random, names, prefix, depth):
    """A body with up to three inputs and outputs."""
    own = [f"{prefix}.in{at}" for at in range(random.integers(4))]
    nodes = list(random_nodes(random, [*names, *own], prefix, depth))
    written = [name for node in nodes for name in node.output if name] or names
    outputs = [onnx.ValueInfoProto(name=one(random, written)) for _ in range(random.integers(3))]
    values = [onnx.ValueInfoProto(name=name) for name in own]
    weights = [CONSTANTS["flag"]] if random.random() < 0.3 else []
    return helper.make_graph(nodes, prefix, values, outputs, weights)


def attribute(random, name):
    """An attribute of any type, its numbers odd."""
    small = int(one(random, (-1, 0, 1, 1, 2, 3)))
    values = (
        *(small, small, number(random), float(one(random, (1.0, np.nan, np.inf)))),
        *([small, 1], [0, 2, 3, 1], [3, 3], [one(random, NUMBERS)] * 4, [1.0, float("nan")]),
        *("SAME_UPPER", "linear", b"\xff", ["a", "b"], CONSTANTS["v"], [CONSTANTS["v"]]),
    )
    return helper.make_attribute(name, values[random.integers(len(values))])
