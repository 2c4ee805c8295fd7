"""Attacks on the reader of models: mutants, tiny files, and weights in other files."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from latprof.errors import LatprofError
from tests.fuzz.models.judging import Judge
from tests.fuzz.models.mutations import NUMBERS, mutate
from tests.fuzz.models.originals import FLOAT, INT64, MAKERS, build, integers, original
from tests.fuzz.outcomes import BAD


def fuzz_mutants(numbers, seed, folder):
    """Structural mutants of the twenty models."""
    names = list(MAKERS)
    with Judge() as judge:
        for number in numbers:
            name, path = names[number % len(names)], folder / "mutant.onnx"
            content, how = mutate(np.random.default_rng([seed, number]), original(name))
            path.write_bytes(content)
            outcome, detail = judge(path)
            yield name, outcome, f"{number} {name} ({how}): {detail}"


# Tiny files -------------------------------------------------------------------------------------


def huge_values(n):
    kinds = ("Add", "Mul", "Sub", "Concat", "Neg", "Gather", "Div", "Unsqueeze", "Squeeze", "Cast")
    kind = kinds[n % len(kinds)]
    more = {"Concat": {"axis": 0}, "Cast": {"to": 1}}.get(kind, {})
    inputs = ["x"] if kind in ("Neg", "Cast") else ["x", "x"]
    nodes = [
        helper.make_node(kind, inputs, ["z"], **more),
        helper.make_node("Cast", ["z"], ["y"], to=1),
    ]
    return build(nodes, (), [("x", INT64, [2 ** (30 + n % 20)])])


def doubling(n):
    kind = ("Concat", "Tile", "Expand", "Add", "Mul", "Pad")[n % 6]
    nodes = [
        helper.make_node(
            kind, [f"c{i}"] * 2, [f"c{i + 1}"], **({"axis": 0} if kind == "Concat" else {})
        )
        for i in range(20 + 10 * n)
    ]
    nodes.append(helper.make_node("Relu", ["x"], ["y"]))
    return build(nodes, [integers("c0", *range(1, 9))])


def negative_claims(n):
    kind = (
        "Slice",
        "Gather",
        "Split",
        "Reshape",
        "Squeeze",
        "Concat",
        "Tile",
        "Expand",
        "Size",
        "Pad",
    )[n % 10]
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node(kind, ["s", "z", "o"][: 1 + n % 3], ["b"]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    model = build(nodes, [integers("z", 0), integers("o", 1)])
    numbers = [NUMBERS[(n + i) % len(NUMBERS)] for i in range(1 + n % 3)]
    model.graph.value_info.append(helper.make_tensor_value_info("s", INT64, numbers))
    return model


def big_constants(n):
    value = numpy_helper.from_array(np.array([2 ** (10 + 2 * n)] * (1 + n % 3), np.int64), "n")
    kind = ("ConstantOfShape", "Expand", "Tile", "Range", "Reshape", "Resize", "OneHot", "Pad")[
        n % 8
    ]
    inputs = {"ConstantOfShape": ["n"], "Range": ["n", "n", "n"]}.get(kind, ["x", "n"])
    return build([helper.make_node(kind, inputs, ["y"])], [value])


def deep(n):
    """Branches in branches, made of bytes: protobuf's own writer stops before."""
    node = helper.make_node("Relu", ["x"], ["y"]).SerializeToString()
    for _ in range(6 * n * n):
        graph = field(1, node)  # GraphProto.node
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        node = field(1, b"x") + field(2, b"y") + field(4, b"If") + field(5, attribute)
    return build([]).SerializeToString() + field(7, field(1, node))


def field(number, content):
    size, length = len(content), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def many_dims(n):
    tensor = TensorProto(
        name="w", data_type=FLOAT, dims=[NUMBERS[n % len(NUMBERS)]] * 10 ** (n % 6)
    )
    return build([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def exploding_functions(n):
    names = [f"F{i}" for i in range(5 + 8 * n)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = []
    for at, name in enumerate(names):
        called, domain = (names[at + 1], "local") if at + 1 < len(names) else ("Relu", "")
        calls = [
            helper.make_node(called, ["a"], [f"b{i}"], domain=domain) for i in range(2 + n % 9)
        ]
        functions.append(helper.make_function("local", name, ["a"], ["b0"], calls, opsets))
    return build([helper.make_node("F0", ["x"], ["y"], domain="local")], functions=functions)


def late_cycle(n):
    count = 10**4 * (1 + n % 4)
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    nodes += [helper.make_node("Add", ["b", "x"], ["v0"]), helper.make_node("Relu", ["v0"], ["b"])]
    return build(nodes, outputs=(f"v{count}",))


def many_evaluations(n):
    kinds = ("Add", "Mul", "Div", "Reshape", "Slice", "Gather", "Cast", "Where", "Sqrt", "Range")
    kind = kinds[n % len(kinds)]
    nodes = [helper.make_node("Shape", ["x"], ["s"])]
    nodes += [
        helper.make_node(kind, ["s", "s", "s"][: 1 + n % 3], [f"a{i}"]) for i in range(20_000)
    ]
    nodes += [
        helper.make_node("NonZero", ["x"], ["q"]),
        helper.make_node("Reshape", ["x", "q"], ["y"]),
    ]
    return build(nodes)


def empty_messages(n):
    tag = (b"\x0a", b"\x2a", b"\x5a", b"\x62", b"\x6a", b"\x7a", b"\x72", b"\x52")[n % 8]
    body = (tag + b"\x00") * (50_000 * 2 ** (n % 8))
    return build([helper.make_node("Relu", ["x"], ["y"])]).SerializeToString() + field(7, body)


TINY = (
    *(huge_values, doubling, negative_claims, big_constants, deep, many_dims),
    *(exploding_functions, late_cycle, many_evaluations, empty_messages),
)


def fuzz_tiny(numbers, _seed, folder):
    """Files that ask for much more than they are."""
    with Judge() as judge:
        for number in numbers:
            attack, path = TINY[number % len(TINY)], folder / "tiny.onnx"
            made = attack(number // len(TINY))
            path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
            outcome, detail = judge(path)
            yield attack.__name__, outcome, f"{number} {attack.__name__}: {detail}"


# Weights in other files -------------------------------------------------------------------------

SECRET = np.full(64, 4711.25, np.float32).tobytes()
PLACES = {
    "absolute": lambda inside, outside: str(outside / "secret"),
    "parent": lambda inside, outside: "../outside/secret",
    "dots inside": lambda inside, outside: "sub/../../outside/secret",
    "symbolic link": lambda inside, outside: made(os.symlink, outside / "secret", inside / "w"),
    "hard link": lambda inside, outside: made(os.link, outside / "secret", inside / "w"),
    "link to a folder": lambda inside, outside: made(os.symlink, outside, inside / "w") + "/secret",
    "link of a link": lambda inside, outside: made(
        os.symlink, inside / made(os.symlink, outside / "secret", inside / "v"), inside / "w"
    ),
    "working directory": lambda inside, outside: "secret",
    "process": lambda inside, outside: "/proc/self/cwd/secret",
    "pipe": lambda inside, outside: made(lambda _, path: os.mkfifo(path), None, inside / "w"),
    "memory": lambda inside, outside: in_memory(inside),
}


def in_memory(inside):
    """A file of the name by which ONNX Runtime takes an offset for an address."""
    (inside / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (inside / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(256))
    return "*/_ORT_MEM_ADDR_/*"


def made(how, source, path):
    how(source, path)
    return path.name


def external(where, location):
    """A model of which one tensor is elsewhere."""
    if where == "branch's condition":
        tensor = TensorProto(name="c", data_type=TensorProto.BOOL)
    else:
        dims = [8, 8] if where in ("initializer", "attribute", "subgraph") else [4]
        tensor = TensorProto(name="w", data_type=FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    inputs = [("x", FLOAT, [1, 8])]
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    flag = numpy_helper.from_array(np.array(True), "flag")
    if where == "initializer":
        return build([product], [tensor], inputs)
    if where == "attribute":
        constant = helper.make_node("Constant", [], ["w"], value=tensor)
        return build([constant, product], (), inputs)
    if where == "subgraph":
        branch = helper.make_graph([product], "b", [], [onnx.ValueInfoProto(name="y")], [tensor])
        return build([if_node(branch, branch)], [flag], inputs)
    if where == "branch's condition":
        nodes = [if_node(one_node("Relu"), one_node("Tanh"), "c")]
        inner = helper.make_graph(nodes, "b", [], [onnx.ValueInfoProto(name="y")], [tensor])
        return build([if_node(inner, inner)], [flag], inputs)
    hidden: Any = {
        "list of tensors": lambda: [tensor],
        "sparse attribute": lambda: SparseTensorProto(
            values=tensor, indices=integers("", 0, 1, 2, 3), dims=[8]
        ),
        "graph of an operator": lambda: helper.make_graph([product], "b", [], [], [tensor]),
    }[where]()
    shape = helper.make_node("Abs", ["s"], ["t"], more=hidden)  # worked out by onnx's reference
    nodes = [helper.make_node("Shape", ["x"], ["s"]), shape]
    return build([*nodes, helper.make_node("Reshape", ["x", "t"], ["y"])], (), inputs)


def if_node(then, otherwise, flag="flag"):
    return helper.make_node("If", [flag], ["y"], then_branch=then, else_branch=otherwise)


def one_node(kind):
    value = onnx.ValueInfoProto(name="y")
    return helper.make_graph([helper.make_node(kind, ["x"], ["y"])], kind, [], [value])


WHERES = (
    *("initializer", "attribute", "subgraph", "branch's condition"),
    *("list of tensors", "sparse attribute", "graph of an operator"),
)


def told(path):
    """What predict reads of a model, or why it refuses."""
    from latprof.graph.reader import read_network

    try:
        return repr(read_network(path).operators)
    except LatprofError as error:
        return str(error)


def fuzz_external(numbers, _seed, folder):
    """Every place with every kind of tensor, as predict, profile and collect read them.

    What predict says must not depend on what the file outside holds, or whether it is there.
    """
    from latprof.graph.reader import model_bytes
    from latprof.profilers.visits.network_source import NetworkSource

    at = Path.cwd()
    for number in numbers:
        place, where = list(PLACES)[number % len(PLACES)], WHERES[number % len(WHERES)]
        inside, outside = folder / "inside", folder / "outside"
        for each in (inside, outside):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir()
        secret = outside / "secret"
        secret.write_bytes(SECRET)
        path = inside / "m.onnx"
        path.write_bytes(external(where, PLACES[place](inside, outside)).SerializeToString())
        outcome, problem = "nothing read", ""
        os.chdir(outside)
        try:
            for read in (model_bytes, lambda p: NetworkSource.of_model(p).model(1)):
                try:
                    read(path)
                    outcome, problem = BAD, "it was accepted"
                except LatprofError as error:
                    problem = str(error)
            heard = [told(path)]
            secret.write_bytes(bytes(len(SECRET)))
            heard.append(told(path))
            secret.unlink()
            heard.append(told(path))
            if len({*heard}) > 1:
                outcome, problem = BAD, f"it was read: {heard}"
        except Exception as error:
            outcome, problem = BAD, repr(error)
        finally:
            os.chdir(at)
        yield where, outcome, f"{number} {place}, {where}: {problem}"
