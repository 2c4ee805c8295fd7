"""Models that nobody vouches for: bounded before they are parsed, inferred in a child."""

import os
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from latprof.errors import LatprofError, ModelFileError, RuntimeFailedError
from latprof.graph.external_data import check_external_data
from latprof.graph.guarded import inference, wire
from latprof.graph.model_file import light_copy, read_model
from latprof.graph.reader import load_model, read_network

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, inputs=(("x", FLOAT, [1, 8]),), outputs=("y",), initializers=(), **more):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def small():
    return model([helper.make_node("Relu", ["x"], ["y"])])


def eats_memory():
    nodes = [
        helper.make_node("Add", ["x", "x"], ["z"]),
        helper.make_node("Cast", ["z"], ["y"], to=1),
    ]
    return model(nodes, [("x", INT64, [2**38])])


def aborts():
    """A slice of a shape that the model says is a weight's of a negative size."""
    nodes = [
        helper.make_node("Shape", ["x"], ["sh"]),
        helper.make_node("Slice", ["sh", "z", "one"], ["b"]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    sizes = [numpy_helper.from_array(np.array([i]), name) for i, name in enumerate(["z", "one"])]
    built = model(nodes, initializers=sizes)
    built.graph.value_info.append(helper.make_tensor_value_info("sh", INT64, [-(2**63), 65536]))
    return built


def doubling():
    nodes = [helper.make_node("Concat", [f"c{i}"] * 2, [f"c{i + 1}"], axis=0) for i in range(60)]
    start = numpy_helper.from_array(np.arange(8, dtype=np.int64), "c0")
    return model([*nodes, helper.make_node("Relu", ["x"], ["y"])], initializers=[start])


def guards():
    """Processes of this one that answer requests."""
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if any("inferring_process" in part for part in each.cmdline())
    ]


@pytest.fixture(autouse=True)
def no_guards():
    inference.end_children()
    yield
    inference.end_children()


# The child ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [eats_memory, doubling])
def test_a_model_that_takes_all_memory_is_refused_and_the_next_is_read(make):
    with pytest.raises(ModelFileError, match=r"memory|impossible"):
        read_network(make())
    assert read_network(small()).operators[0].op_type == "Relu"


def test_a_model_that_aborts_onnx_is_refused_and_this_process_lives():
    with pytest.raises(ModelFileError, match="impossible shape"):
        read_network(aborts())
    read_network(small())
    first = {each.pid for each in guards()}
    with pytest.raises(ModelFileError, match="SIGABRT"):
        inference.inferred(aborts().SerializeToString(), "m", inference.Allowance())
    read_network(small())
    assert first.isdisjoint(each.pid for each in guards())


def test_a_child_that_died_while_it_waited_is_replaced_unseen():
    read_network(small())
    for each in guards():
        each.kill()
    assert len(read_network(small()).operators) == 1


def test_a_child_is_kept_and_time_is_bounded():
    read_network(small())
    first = {each.pid for each in guards()}
    read_network(small())
    assert {each.pid for each in guards()} == first
    with pytest.raises(ModelFileError, match="takes more than"):
        inference.inferred(b"", "m", inference.Allowance(cpu_seconds=0))


def test_threads_read_at_once_and_few_children_are_kept():
    found, errors = [], []

    def read():
        try:
            found.append(len(read_network(small()).operators))
        except LatprofError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(12)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (found, errors) == ([1] * 12, [])
    assert len(guards()) <= 2 * 4  # each has a keeper


FORKING = """
import os, sys
from latprof.graph.reader import read_network
path = sys.argv[1]
read_network(path)
child = os.fork()
if child == 0:
    os._exit(len(read_network(path).operators))
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), len(read_network(path).operators))
"""


def test_a_forked_process_has_children_of_its_own_and_a_script_needs_no_main_guard(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(small().SerializeToString())
    script = tmp_path / "script.py"
    script.write_text(FORKING)
    done = subprocess.run(
        [sys.executable, "-W", "error", script, path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1 1\n", "")


def test_no_child_outlives_its_parent(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(small().SerializeToString())
    code = (
        "import sys, time; from latprof.graph.reader import read_network; "
        "read_network(sys.argv[1]); print(1, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"1\n"
    theirs = psutil.Process(parent.pid).children(recursive=True)
    assert theirs
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(theirs, timeout=600)
    assert not alive


def test_no_process_to_be_had_is_said(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(RuntimeFailedError, match="no process can be started"):
        read_network(small())


# What is bounded before -----------------------------------------------------------------------


def test_a_late_cycle_of_many_nodes_is_found_at_once():
    names = [f"v{i}" for i in range(20_000)]
    nodes = [
        helper.make_node("Relu", [a], [b])
        for a, b in zip(["x", *names], [*names, "y"], strict=False)
    ]
    nodes += [helper.make_node("Add", ["b", "y"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    begun = time.process_time()
    with pytest.raises(ModelFileError, match="cycle"):
        read_network(model(nodes))
    assert time.process_time() - begun < 60  # it was quadratic: minutes


def test_many_dimensions_are_refused():
    weight = TensorProto(name="w", data_type=FLOAT, dims=[2**40] * 300_000)
    with pytest.raises(ModelFileError, match="dimensions"):
        read_network(model([helper.make_node("Add", ["x", "w"], ["y"])], initializers=[weight]))


def with_subgraph(count):
    """A model of which one attribute has so many nodes of two bytes."""
    empty = helper.make_graph([], "g", [], [])
    built = model([helper.make_node("If", ["x"], ["y"], then_branch=empty)])
    graph = onnx.GraphProto()
    graph.node.extend([onnx.NodeProto()] * count)
    built.graph.node[0].attribute[0].g.MergeFrom(graph)
    return built.SerializeToString()


def test_nodes_of_subgraphs_are_counted_before_they_take_memory():
    with pytest.raises(ModelFileError, match="too much besides"):
        read_network(with_subgraph(1_100_000))
    with pytest.raises(ModelFileError, match="too many operators"):
        read_network(with_subgraph(100_001))


def test_an_outline_has_all_but_data():
    weight = numpy_helper.from_array(np.ones((100, 100), np.float32), "w")
    few = numpy_helper.from_array(np.arange(4), "few")
    constant = helper.make_node("Constant", [], ["c"], value=weight)
    built = model(
        [constant, helper.make_node("MatMul", ["x", "w"], ["y"])], initializers=[weight, few]
    )
    built.doc_string = "words " * 1000
    parsed = onnx.ModelProto.FromString(wire.outline(built.SerializeToString()))
    assert not parsed.graph.initializer[0].raw_data
    assert not parsed.graph.node[0].attribute[0].t.raw_data
    assert not parsed.doc_string
    wanted = light_copy(built)
    wanted.graph.node[0].attribute[0].t.ClearField("raw_data")
    assert light_copy(parsed) == wanted


@pytest.mark.parametrize(
    "content", [b"\x3a\x05", b"\xff" * 12, b"\x0b", b"\x3a\xff\xff\xff\xff\x0f"]
)
def test_what_is_no_message_is_malformed(content):
    with pytest.raises(wire.Malformed):
        wire.outline(content)
    with pytest.raises(ModelFileError):
        read_model(content)


def test_an_outline_of_a_file_is_that_of_its_bytes(tmp_path):
    weights = [
        numpy_helper.from_array(np.ones((each, 100), np.float32), f"w{each}") for each in range(90)
    ]
    nodes = [helper.make_node("Relu", [f"v{i}" * 40], [f"v{i + 1}" * 40]) for i in range(500)]
    content = model(nodes, initializers=weights).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert wire.outline(wire.FileBytes(file.fileno(), len(content))) == wire.outline(content)
        with pytest.raises(wire.Malformed):
            wire.outline(wire.FileBytes(file.fileno(), len(content) - 1))
        path.write_bytes(content[: len(content) // 2])  # by another process, meanwhile
        with pytest.raises(wire.Malformed):
            wire.outline(wire.FileBytes(file.fileno(), len(content)))


#: Reads a model and prints the most memory that the process had, before and after, in bytes.
MEMORY_OF_READING = """
import sys
from latprof.graph.reader import read_network

def most():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

before = most()
network = read_network(sys.argv[1])
print(before, most())
"""


def memory_of_reading(path):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_READING, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return map(int, done.stdout.split())


def test_reading_a_large_file_takes_less_than_its_size(tmp_path):
    weight = numpy_helper.from_array(np.ones((1024, 32 * 1024), np.float32), "w")
    path = tmp_path / "m.onnx"
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    built = model([node], [("x", FLOAT, [1, 1024])], initializers=[weight])
    path.write_bytes(built.SerializeToString())
    _, most = memory_of_reading(path)
    assert most < path.stat().st_size


WEIGHT = numpy_helper.from_array(np.zeros((8, 8, 3, 3), np.float32), "w")


def relu(read, written):
    return helper.make_node("Relu", [read], [written], name=f"/a/scope/of/some/length/{written}")


def convolution(read, written):
    more = {"dilations": [1, 1], "group": 1, "kernel_shape": [3, 3], "strides": [1, 1]}
    return helper.make_node("Conv", [read, "w"], [written], pads=[1, 1, 1, 1], **more)


def addition(read, written):
    return helper.make_node("Add", [read, f"{written}.bias"], [written])


@pytest.mark.parametrize(
    ("node", "told"), [(relu, False), (convolution, False), (convolution, True), (addition, False)]
)
def test_reading_takes_the_memory_that_was_counted(node, told, tmp_path):
    names = ["x", *(f"v{i}" for i in range(5_999)), "y"]
    biases = [
        numpy_helper.from_array(np.ones((8, 1, 1), np.float32), f"{name}.bias")
        for name in names[1:]
        if node is addition
    ]
    nodes = [node(*each) for each in pairwise(names)]
    built = model(nodes, [("x", FLOAT, [1, 8, 9, 9])], initializers=[WEIGHT, *biases])
    built.graph.value_info.extend(
        helper.make_tensor_value_info(name, FLOAT, [1, 8, 9, 9]) for name in names[1:-1] if told
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(built.SerializeToString())
    before, after = memory_of_reading(path)
    counted = wire.read_bytes(path.read_bytes())
    assert counted < 50_000_000
    assert after - before - path.stat().st_size < 1.1 * counted + 2_000_000


@pytest.mark.parametrize("bodies", [1, 3])
def test_bodies_take_the_memory_that_was_counted(bodies, tmp_path):
    written = [f"v{i}" for i in range(6_000)]
    nodes = [relu(*each) for each in pairwise(["x", *written])]
    result = written[-1]
    none = helper.make_graph(
        [relu("x", "r")], "n", [], [helper.make_tensor_value_info("r", 1, None)]
    )
    for number in range(bodies):
        made = [helper.make_tensor_value_info(result, FLOAT, None)]
        body = helper.make_graph(nodes, f"b{number}", [], made)
        result = f"if{number}"
        chosen = {"then_branch": body, "else_branch": none}
        nodes = [helper.make_node("If", ["c"], [result], **chosen)]
    inputs = [("x", FLOAT, [1, 8]), ("c", TensorProto.BOOL, [])]
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, inputs, [result]).SerializeToString())
    before, after = memory_of_reading(path)
    assert after - before < 1.15 * wire.read_bytes(path.read_bytes()) + 2_000_000


@pytest.mark.parametrize(("longer", "written_out"), [(1, True), (5_000, False)])
def test_names_of_a_branch_take_little_however_long_that_of_its_if_is(longer, written_out):
    names = ["x", *(f"v{i}" for i in range(1_500))]
    made = [helper.make_tensor_value_info(names[-1], FLOAT, None)]
    body = helper.make_graph([relu(*each) for each in pairwise(names)], "b", [], made)
    chosen = [
        helper.make_node("If", ["c"], [result], then_branch=body, else_branch=body)
        for result in ("r" * longer + "1", "r" * longer + "2")
    ]
    always = numpy_helper.from_array(np.array(True), "c")
    last = helper.make_node("Add", [node.output[0] for node in chosen], ["y"])
    operators = read_network(model([*chosen, last], initializers=[always])).operators
    assert ("If" not in [each.op_type for each in operators]) == written_out
    written = [name for each in operators for name in each.writes]
    assert len(written) == len(set(written)) >= 3_001
    assert sum(map(len, written)) < 2_000_000


def test_operators_of_more_memory_than_is_allowed_are_refused():
    built = model([convolution("x", "y")], initializers=[WEIGHT])
    node = convolution("y", "y").SerializeToString()
    more = b"\x0a%c%s" % (len(node), node) * 70_000
    length = bytes((len(more) & 127 | 128, len(more) >> 7 & 127 | 128, len(more) >> 14 & 127 | 128))
    content = built.SerializeToString() + b"\x3a" + length + bytes([len(more) >> 21]) + more
    with pytest.raises(ModelFileError, match="too much besides"):
        read_network(content)


def test_names_that_operators_read_are_counted_before_they_take_memory():
    wide = model([helper.make_node("Max", ["x"] * 500_000, ["y"])])
    with pytest.raises(ModelFileError, match="too many inputs and outputs"):
        read_network(wide)
    del wide.graph.node[0].input[-1]
    assert len(read_network(wide).operators[0].reads) == 499_999


# Weights in other files -----------------------------------------------------------------------


@pytest.fixture
def external(tmp_path):
    """A model whose weights are in the file of its folder that the fixture's function names."""
    folder, outside = tmp_path / "models", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    content = np.arange(64, dtype=np.float32).tobytes()
    (folder / "w.bin").write_bytes(content)
    (outside / "secret").write_bytes(content)

    def write(location, **entries):
        weight = TensorProto(name="w", data_type=FLOAT, dims=[8, 8])
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            weight.external_data.add(key=key, value=value)
        path = folder / "m.onnx"
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        path.write_bytes(model([node], initializers=[weight]).SerializeToString())
        return path

    return write


def test_weights_of_the_models_folder_are_read(external):
    path = external("w.bin", offset="0", length="256")
    check_external_data(read_model(path), path)
    loaded = load_model(path, external_data=True)
    assert numpy_helper.to_array(loaded.graph.initializer[0]).tolist()[0][:3] == [0, 1, 2]


def link(make):
    return lambda folder: make(folder.parent / "outside" / "secret", folder / "link")


def in_memory(folder):
    """A file of the name by which ONNX Runtime takes an offset for an address."""
    (folder / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(256))


PLACES = {
    "parent": ("../outside/secret", None),
    "absolute": ("/etc/passwd", None),
    "symbolic link": ("link", link(os.symlink)),
    "hard link": ("link", link(os.link)),
    "link to a folder": (
        "link/secret",
        lambda folder: (folder / "link").symlink_to(folder.parent / "outside"),
    ),
    "pipe": ("link", lambda folder: os.mkfifo(folder / "link")),
    "folder": ("link", lambda folder: (folder / "link").mkdir()),
    "nothing": ("", None),
    "itself, by dots": ("sub/../../models/w.bin", None),
    "memory": ("*/_ORT_MEM_ADDR_/*", in_memory),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_other_place_is_read(external, place):
    location, make = PLACES[place]
    path = external(location)
    if make:
        make(path.parent)

    def checked(path):
        check_external_data(read_model(path), path)

    for read in (checked, lambda path: load_model(path, external_data=True)):
        with pytest.raises(ModelFileError, match="external weights cannot be read"):
            read(path)


@pytest.mark.parametrize(
    "entries", [{"offset": "1"}, {"offset": "-1"}, {"length": "10000000000000"}, {"length": "x"}]
)
def test_no_byte_beyond_the_file_is_read(external, entries):
    with pytest.raises(ModelFileError, match="external weights cannot be read"):
        load_model(external("w.bin", **entries), external_data=True)
