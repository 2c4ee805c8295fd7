"""Sound models at random, of which ONNX Runtime's shapes are compared with what the reader says.

The work of convolutions, products and recurrent layers is compared, too. Where the reader says that
something is not known, that is no fault.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from latprof.errors import UnknownCostsError
from latprof.graph.reader import read_network
from tests.fuzz.outcomes import BAD

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
OPSETS = (13, 14, 16, 17, 18, 19, 20, 21, 22)
FAR = 2**62


class Made:
    """A model in the making, with its random numbers."""

    def __init__(self, random, opset):
        self.random, self.opset = random, opset
        self.nodes, self.weights, self.inputs = [], [], []
        self._count = 0

    def number(self, low, high):
        return int(self.random.integers(low, high))

    def one_of(self, *options):
        return options[self.random.integers(len(options))]

    def chance(self, share=0.5):
        return self.random.random() < share

    def sizes(self, count, low=1, high=6):
        return [self.number(low, high) for _ in range(count)]

    def axis(self, axis, sides):
        return axis - sides if self.chance() else axis

    def axes(self, sides, count):
        chosen = self.random.choice(sides, count, replace=False)
        return [self.axis(int(each), sides) for each in chosen]

    def name(self):
        self._count += 1
        return f"v{self._count}"

    def constant(self, values, dtype=np.int64):
        name = self.name()
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, *shape, dtype=np.float32):
        return self.constant(np.ones(shape), dtype)

    def input(self, shape, kind=FLOAT):
        name = self.name()
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def add(self, op_type, inputs, outputs=1, **attributes):
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def model(self, *outputs):
        graph = helper.make_graph(
            self.nodes,
            "g",
            self.inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            self.weights,
        )
        domains = (("", self.opset), ("com.microsoft", 1))
        opsets = [helper.make_opsetid(*each) for each in domains]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def size_of(shape):
    return int(np.prod(shape, dtype=object)) if len(shape) else 1


# Arithmetic on sizes ----------------------------------------------------------------------------


def calculated(made, value, _image):
    other = made.one_of("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod")
    more = {"fmod": made.number(0, 2)} if other == "Mod" else {}
    return made.add(other, [value, made.constant([made.one_of(-3, -2, 2, 3, 4)])], **more)


def signed(made, value, _image):
    return made.add(made.one_of("Neg", "Abs", "Sign"), [value])


def one_taken(made, value, _image):
    return made.add("Gather", [value, made.constant([made.number(-1, 1)])], axis=0)


def some_taken(made, value, _image):
    ends = [made.number(-5, 5)], [made.one_of(-99, -1, 1, 2, 99, FAR)], [0]
    return made.add("Slice", [value, *map(made.constant, ends)])


def doubled(made, value, _image):
    return made.add("Concat", [value, value], axis=made.one_of(0, -1))


def summed(made, value, _image):
    kind = made.one_of("ReduceProd", "ReduceMax", "ReduceMin", "ReduceSum")
    return made.add(kind, [value], keepdims=1)


def scaled(made, value, _image):
    real = made.add("Cast", [value], to=FLOAT)
    factor = made.constant([made.one_of(0.5, 1.5, 2.5, 0.3, -0.7)], np.float32)
    result = made.add(made.one_of("Mul", "Div"), [real, factor])
    rounded = made.add(made.one_of("Floor", "Ceil", "Round", "Identity"), [result])
    return made.add("Cast", [rounded], to=INT64)


def chosen(made, value, _image):
    asked = made.add(made.one_of("Equal", "Less", "Greater"), [value, made.constant([2])])
    return made.add("Where", [asked, value, made.constant([3])])


def tiled(made, value, _image):
    return made.add("Tile", [value, made.constant([made.number(0, 3)])])


def counted(made, value, _image):
    last = made.add("Squeeze", [made.add("Gather", [value, made.constant([0])])])
    return made.add("Range", [made.constant(0), last, made.constant(made.one_of(1, 2))])


def added_up(made, value, _image):
    more = {"exclusive": made.number(0, 2), "reverse": made.number(0, 2)}
    return made.add("CumSum", [value, made.constant(0)], **more)


def shifted(made, value, _image):
    one = made.add("Cast", [made.constant([1])], to=TensorProto.UINT64)
    bits = made.add("Cast", [value], to=TensorProto.UINT64)
    result = made.add("BitShift", [bits, one], direction=made.one_of("LEFT", "RIGHT"))
    return made.add("Cast", [result], to=INT64)


def asked_again(made, _value, image):
    if made.opset < 15:
        return made.add("Unsqueeze", [made.add("Size", [image]), made.constant([0])])
    return made.add("Shape", [image], start=made.number(-5, 5), end=made.number(-5, 5))


#: Each one operator on a list of whole numbers.
STEPS = (
    *(calculated, calculated, calculated, signed, one_taken, some_taken, doubled, summed, scaled),
    *(chosen, tiled, counted, added_up, shifted, asked_again),
)


def sizes(made):
    """Sizes computed from the input's, and an operator whose output has them."""
    shape = made.sizes(made.number(2, 5), high=9)
    image = made.input(shape)
    value = made.add("Shape", [image])
    for _ in range(made.number(2, 9)):
        value = made.one_of(*STEPS)(made, value, image)
    few = made.add("Min", [value, made.constant([12])])
    few = made.add("Max", [few, made.constant([0])])
    first = made.add("Gather", [few, made.constant([0])])
    largest = made.add("ReduceMax", [image], keepdims=0)
    kind = made.number(0, 5)
    if kind == 0:
        return made.add("Add", [made.add("ConstantOfShape", [few]), largest]), None
    if kind == 1:
        return made.add("Expand", [largest, few]), None
    if kind == 2:
        return made.add("Slice", [image, made.constant([0]), first, made.constant([0])]), None
    if kind == 3:
        row = made.add("Reshape", [image, made.constant([-1])])
        return made.add("Tile", [row, first]), None
    pads = [made.constant([0] * len(shape)), first, made.constant([0] * (len(shape) - 1))]
    return made.add("Pad", [image, made.add("Concat", pads, axis=0)]), None


# Single operators -------------------------------------------------------------------------------


def window(made, sides, *, pads=3):
    found = {}
    if made.chance():
        found["strides"] = made.sizes(sides, high=4)
    if made.chance(0.4):
        found["pads"] = made.sizes(2 * sides, 0, pads)
    elif made.chance():
        found["auto_pad"] = made.one_of("SAME_UPPER", "SAME_LOWER", "VALID")
    return found


def convolution(made):
    sides, groups = made.number(1, 4), made.one_of(1, 1, 2, 4)
    inputs, outputs = groups * made.number(1, 4), groups * made.number(1, 4)
    kernel = made.sizes(sides, high=4)
    image = made.input([made.number(1, 3), inputs, *made.sizes(sides, 5, 12)])
    found = window(made, sides)
    if made.chance() and not found.get("auto_pad", "").startswith("SAME"):
        found["dilations"] = made.sizes(sides, high=3)
    weight = made.weight(outputs, inputs // groups, *kernel)
    y = made.add("Conv", [image, weight], group=groups, **found)
    return y, lambda shapes: size_of(shapes[y]) * inputs // groups * size_of(kernel)


def transposed_convolution(made):
    sides, groups = made.number(1, 3), made.one_of(1, 1, 2)
    inputs, outputs = groups * made.number(1, 4), made.number(1, 4)
    kernel, strides = made.sizes(sides, high=4), made.sizes(sides, high=4)
    shape = [made.number(1, 3), inputs, *made.sizes(sides, 4, 9)]
    found = window(made, sides, pads=2) | {"strides": strides}
    is_same = found.get("auto_pad", "").startswith("SAME")  # ONNX Runtime forgets the padding then
    if not is_same and made.chance(0.3):
        found["output_padding"] = [min(1, each - 1) for each in strides]
    elif made.chance(0.3):
        found["output_shape"] = [a * b for a, b in zip(shape[2:], strides, strict=True)]
    weight = made.weight(inputs, outputs, *kernel)
    y = made.add("ConvTranspose", [made.input(shape), weight], group=groups, **found)
    return y, lambda _: size_of(shape) * outputs * size_of(kernel)


def quantised_convolution(made):
    channels, side = made.number(1, 5), made.number(1, 4)
    scale = [made.constant(0.1, np.float32), made.constant(3, np.uint8)]
    strides = [made.number(1, 3)] * 2
    weight = made.weight(4, channels, side, side, dtype=np.uint8)
    last = made.chance()
    shape = [1, 9, 7, channels] if last else [1, channels, 9, 7]
    data = made.add("QuantizeLinear", [made.input(shape), *scale])
    more = {"domain": "com.microsoft", "channels_last": 1} if last else {}
    y = made.add("QLinearConv", [data, *scale, weight, *scale, *scale], strides=strides, **more)
    count = channels * side * side
    return made.add("DequantizeLinear", [y, *scale]), lambda shapes: size_of(shapes[y]) * count


def pool(made):
    sides, kind = made.number(1, 4), made.one_of("MaxPool", "AveragePool")
    kernel = made.sizes(sides, high=4)
    found = window(made, sides, pads=min(kernel)) | {"ceil_mode": made.number(0, 2)}
    is_same = found.get("auto_pad", "").startswith("SAME")  # ONNX Runtime forgets dilations then
    if not is_same and (kind == "MaxPool" or made.opset >= 19) and made.chance(0.3):
        found["dilations"] = made.sizes(sides, high=3)
    image = made.input([1, 3, *made.sizes(sides, 5, 12)])
    return made.add(kind, [image], kernel_shape=kernel, **found), None


def resize(made):
    shape = [1, *made.sizes(made.number(2, 4), 2, 9)]
    by_scale = made.chance()
    wanted = [
        made.one_of(0.3, 0.5, 1.0, 1.3, 2.5) if by_scale else made.number(1, 12) for _ in shape
    ]
    wanted[0], found = 1, {"mode": made.one_of("nearest", "linear")}
    if made.opset >= 18 and made.chance():
        found["axes"] = axes = sorted(
            int(a) + 1 for a in made.random.choice(len(shape) - 1, 2, False)
        )
        wanted = [wanted[axis] for axis in axes]
        if not by_scale and made.chance():
            found["keep_aspect_ratio_policy"] = made.one_of("not_larger", "not_smaller")
    given = ["", made.constant(wanted, np.float32)] if by_scale else ["", "", made.constant(wanted)]
    return made.add("Resize", [made.input(shape), *given], **found), None


def pad(made):
    shape = made.sizes(made.number(1, 5), 4, 8)
    sides = len(shape)
    if made.opset >= 18 and made.chance():
        axes = made.axes(sides, made.number(1, sides + 1))
        pads = made.constant(made.sizes(2 * len(axes), -1, 4))
        return made.add("Pad", [made.input(shape), pads, "", made.constant(axes)]), None
    pads = made.constant(made.sizes(2 * sides, -1, 4))
    return made.add("Pad", [made.input(shape), pads], mode=made.one_of("constant", "edge")), None


def cut(made):
    shape = made.sizes(made.number(1, 5), high=8)
    axes = made.axes(len(shape), made.number(1, len(shape) + 1))
    parts = [
        [made.one_of(-99, -3, -1, 0, 1, 2, 5, FAR) for _ in axes],
        [made.one_of(-FAR, -99, -3, -1, 0, 1, 2, 5, FAR) for _ in axes],
        axes,
        [made.one_of(-3, -1, 1, 2, 5) for _ in axes],
    ]
    return made.add("Slice", [made.input(shape), *map(made.constant, parts)]), None


def moved(made):
    """What keeps all elements."""
    shape = made.sizes(made.number(1, 5), high=5)
    sides, image = len(shape), made.input(shape)
    kind = made.number(0, 5)
    if kind == 0:
        return made.add("Flatten", [image], axis=made.number(-sides, sides + 1)), None
    if kind == 1:
        count = made.number(1, 4)
        return made.add("Unsqueeze", [image, made.constant(made.axes(sides + count, count))]), None
    if kind == 2:
        order = [int(each) for each in made.random.permutation(sides)]
        return made.add("Transpose", [image], **({"perm": order} if made.chance() else {})), None
    if kind == 3:
        left, to = size_of(shape), []
        while left > 1 and len(to) < 3:
            to.append(made.one_of(*(n for n in range(1, left + 1) if left % n == 0)))
            left //= to[-1]
        to.append(left)
        to[made.number(0, len(to))] = -1
        return made.add("Reshape", [image, made.constant(to)]), None
    block = made.number(1, 4)
    shape = [1, block * block * made.number(1, 4), *made.sizes(2)]
    return made.add("DepthToSpace", [made.input(shape)], blocksize=block), None


def reduced(made):
    shape = made.sizes(made.number(1, 5), high=5)
    sides, keep = len(shape), made.number(0, 2)
    if made.chance(0.3):
        axis = made.number(-sides, sides)
        return made.add("ArgMax", [made.input(shape)], axis=axis, keepdims=keep), None
    kind = made.one_of("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceLogSumExp")
    axes = made.axes(sides, made.number(0, sides + 1))
    if made.opset >= 18 or kind == "ReduceSum":
        given = [made.input(shape)] + ([made.constant(axes)] if made.chance(0.8) else [])
        more = {"noop_with_empty_axes": made.number(0, 2)}
        return made.add(kind, given, keepdims=keep, **more), None
    more = {"axes": axes} if axes else {}
    return made.add(kind, [made.input(shape)], keepdims=keep, **more), None


def broadcast(made, shape):
    """A shape that broadcasts to another."""
    return [side if made.chance(0.6) else 1 for side in shape][made.number(0, len(shape) + 1) :]


def product(made):
    batches, (rows, inner, columns) = made.sizes(made.number(0, 3), high=4), made.sizes(3, high=7)
    first = [*broadcast(made, batches), rows, inner]
    second = [*broadcast(made, batches), inner, columns]
    if made.chance(0.2):
        first = [inner]
    elif made.chance(0.2):
        second = [inner]
    left = made.weight(*first) if made.chance(0.3) else made.input(first)
    right = made.weight(*second) if made.inputs and made.chance() else made.input(second)
    y = made.add("MatMul", [left, right])
    return y, lambda shapes: size_of(shapes[y]) * inner


def dense(made):
    rows, inner, columns = made.sizes(3, high=7)
    turned = {"transA": made.number(0, 2), "transB": made.number(0, 2)}
    first = made.input([inner, rows] if turned["transA"] else [rows, inner])
    shape = [columns, inner] if turned["transB"] else [inner, columns]
    second = made.input(shape) if made.chance() else made.weight(*shape)
    kind = made.one_of("Gemm", "FusedGemm", "FusedMatMul")
    more = {} if kind == "Gemm" else {"domain": "com.microsoft"}
    more |= {"activation": "Relu"} if kind == "FusedGemm" else {}
    return made.add(kind, [first, second], **turned, **more), lambda _: rows * inner * columns


def einsum(made):
    i, j, k, h = made.sizes(4)
    equation, shapes, macs = made.one_of(
        ("ij,jk->ik", ([i, j], [j, k]), i * j * k),
        ("bij, bjk -> bik", ([i, j, k], [i, k, h]), i * j * k * h),
        ("ij,j", ([i, j], [j]), i * j),
        ("...kl,lk->...k", ([i, j, k, h], [h, k]), i * j * k * h),
        ("bhqd,bhkd->bhqk", ([i, j, h, k], [i, j, 3, k]), i * j * h * 3 * k),
        ("ij,jk,kl->il", ([i, j], [j, k], [k, h]), i * j * k + i * k * h),
    )
    return made.add("Einsum", list(map(made.input, shapes)), equation=equation), lambda _: macs


def recurrent(made):
    kind, gates = made.one_of(("LSTM", 4), ("GRU", 3), ("RNN", 1))
    hidden, data, steps, batch = made.sizes(4)
    both = made.number(1, 3)
    layout = made.number(0, 2) if made.opset >= 14 and made.chance(0.3) else 0
    image = made.input([batch, steps, data] if layout else [steps, batch, data])
    weights = made.weight(both, gates * hidden, data), made.weight(both, gates * hidden, hidden)
    direction = "bidirectional" if both == 2 else made.one_of("forward", "reverse")
    more = {"layout": 1} if layout else {}
    outputs = made.add(kind, [image, *weights], 2, hidden_size=hidden, direction=direction, **more)
    return outputs, lambda _: both * steps * batch * gates * hidden * (data + hidden)


def attention(made):
    batch, queries, keys = made.sizes(3)
    wide = made.one_of(4, 8)
    shapes = [batch, queries, 8], [batch, keys, 8], [batch, keys, wide]
    more = {"domain": "com.microsoft", "num_heads": 2}
    y = made.add("MultiHeadAttention", list(map(made.input, shapes)), **more)
    return y, lambda _: batch * queries * keys * (8 + wide)


def picked(made):
    shape = made.sizes(made.number(1, 4), 2, 6)
    image, sides = made.input(shape), len(shape)
    axis = made.number(-sides, sides)
    kind = made.number(0, 5)
    if kind == 0:
        places = made.constant(made.random.integers(-1, 2, made.sizes(made.number(0, 3), high=4)))
        return made.add("Gather", [image, places], axis=axis), None
    if kind == 1:
        count = made.constant([made.number(0, shape[axis] + 1)])
        return made.add("TopK", [image, count], 2, axis=axis), None
    if kind == 2:
        repeats = made.constant(made.sizes(sides, 0, 4))
        return made.add("Tile", [image, repeats]), None
    if kind == 3:
        deep = made.constant(made.number(2, 6))
        places = made.input(shape, INT64)
        more = {"axis": made.number(-sides - 1, sides + 1)}
        return made.add("OneHot", [places, deep, made.constant([0, 1], np.float32)], **more), None
    parts = sorted(made.sizes(2, 0, shape[axis] + 1))
    lengths = np.diff([0, *parts, shape[axis]]).tolist()
    return made.add("Split", [image, made.constant(lengths)], 3, axis=axis), None


def joined(made):
    shape = made.sizes(made.number(1, 5), high=5)
    if made.chance():
        return made.add("Add", [made.input(broadcast(made, shape)), made.input(shape)]), None
    axis = made.number(0, len(shape))
    parts = []
    for _ in range(made.number(1, 4)):
        shape[axis] = made.number(1 if axis == 0 else 0, 5)  # a batch of 0 is one of any size
        parts.append(made.input(shape))
    return made.add("Concat", parts, axis=made.axis(axis, len(shape))), None


# Bodies -----------------------------------------------------------------------------------------


def body(nodes, inputs, outputs):
    values = [helper.make_tensor_value_info(*each) for each in inputs]
    ends = [onnx.ValueInfoProto(name=name) for name in outputs]
    return helper.make_graph(nodes, "body", values, ends)


def loop(made):
    rows, runs = made.number(1, 4), made.number(0, 6)
    image, weight = made.input([rows, 4]), made.weight(4, 4)
    twice = made.chance()
    last = helper.make_node("MatMul", [image, weight], ["o"])
    nodes = [
        helper.make_node("Identity", ["c"], ["again"]),
        helper.make_node("MatMul", ["s", weight], ["t"]),
        last if twice else helper.make_node("Identity", ["t"], ["o"]),
    ]
    values = [("i", INT64, []), ("c", BOOL, []), ("s", FLOAT, None)]
    given = [made.constant(runs), made.constant(True, bool), image]
    outputs = made.add("Loop", given, 2, body=body(nodes, values, ["again", "t", "o"]))
    return outputs, lambda _: runs * rows * 16 * (1 + twice)


def scan(made):
    steps, axis = made.number(1, 6), made.number(0, 2)
    shape = [3, 4]
    shape.insert(axis, steps)
    weight = made.weight(4, 4)
    nodes = [
        helper.make_node("MatMul", ["e", weight], ["h"]),
        helper.make_node("Add", ["h", "a"], ["b"]),
        helper.make_node("Identity", ["b"], ["o"]),
    ]
    values = [("a", FLOAT, None), ("e", FLOAT, None)]
    outputs = made.add(
        "Scan",
        [made.input([3, 4]), made.input(shape)],
        2,
        body=body(nodes, values, ["b", "o"]),
        num_scan_inputs=1,
        scan_input_axes=[made.axis(axis, 3)],
        scan_output_axes=[made.one_of(0, 1, 2, -1)],
        scan_input_directions=[made.number(0, 2)],
    )
    return outputs, lambda _: steps * 3 * 16


def branches(made):
    image, depth = made.input([2, 4]), made.number(0, 3)
    weights = made.weight(4, 8), made.weight(4, made.one_of(3, 8))

    def branch(weight, depth, name):
        if not depth:
            return body([helper.make_node("MatMul", [image, weight], [name])], [], [name])
        flag = numpy_helper.from_array(np.array(made.chance()), f"{name}.flag")
        inner = {
            "then_branch": branch(weight, depth - 1, f"{name}t"),
            "else_branch": branch(weight, depth - 1, f"{name}e"),
        }
        found = body([helper.make_node("If", [flag.name], [name], **inner)], [], [name])
        found.initializer.append(flag)
        return found

    flag = made.constant(made.chance(), bool)
    if made.chance(0.3):
        large = made.add("Greater", [made.add("Size", [image]), made.constant(made.number(5, 12))])
        flag = made.add("Identity", [large])
    both = [branch(weight, depth, name) for weight, name in zip(weights, "tf", strict=True)]
    y = made.add("If", [flag], then_branch=both[0], else_branch=both[1])
    return made.add("Relu", [y]), None


MAKERS = (
    *(sizes, sizes, sizes, convolution, transposed_convolution, quantised_convolution, pool),
    *(resize, pad, cut, moved, reduced, product, dense, einsum, recurrent, attention, picked),
    *(joined, loop, scan, branches),
)


def fuzz_shapes(numbers, seed, _folder):
    """Models of each kind by turns, read and run."""
    for number in numbers:
        maker = MAKERS[number % len(MAKERS)]
        random = np.random.default_rng([seed, number, 2])
        made = Made(random, OPSETS[random.integers(len(OPSETS))])
        outputs, macs = maker(made)
        model = made.model(*([outputs] if isinstance(outputs, str) else outputs))
        outcome, detail = judge(model, macs)
        kinds = " ".join(node.op_type for node in model.graph.node)
        yield maker.__name__, outcome, f"{number} ({kinds}, opset {made.opset}): {detail}"


def judge(model, macs):
    """Outcome and detail of one model; ``macs`` is of its work, from ONNX Runtime's shapes."""
    try:
        truth = run(model)
    except Exception as error:
        return "not run", str(error)[:200]
    try:
        network = read_network(model)
    except UnknownCostsError as error:
        return "not known", str(error)
    except Exception as error:
        return BAD, f"refused: {error!r}"
    if wrong := wrong_shapes(network, truth):
        return BAD, wrong
    found = sum(operator.macs * operator.trips for operator in network.operators)
    is_known = not any(operator.unknown for operator in network.operators)
    if is_known and macs is not None and found != macs(truth):
        return BAD, f"{found} multiply-accumulates, not {macs(truth)}"
    return "the same" if is_known else "in part not known", ""


def wrong_shapes(network, truth):
    """Which shapes are others, of operators that are known; empty for none."""
    told = [
        pair
        for operator in network.operators
        if not operator.unknown
        for pair in zip(operator.writes, operator.output_shapes, strict=False)
    ]
    return "; ".join(
        f"{name} is {shape}, not {truth[name]}"
        for name, shape in told
        if truth.get(name) not in {None, shape}
    )


def run(model):
    """Shapes of every value of the graph as ONNX Runtime makes it, by name."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    known = {each.name for each in copy.graph.output}
    made = [name for node in copy.graph.node for name in node.output if name not in known]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    dtypes = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    given = {each.name: np.ones(each.shape, dtypes[each.type]) for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    return {n: v.shape for n, v in zip(names, session.run(names, given), strict=True)}
