"""Model files as they are measured: what their inputs hold, files for them, costs not known."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from latprof.datasets.zoo.built_models import zoo_key
from latprof.errors import InputFileError, InvalidValueError, ModelFileError
from latprof.measurement.records import PairedProtocol
from latprof.profilers.base import RunOptions
from latprof.profilers.campaign.collection import Collection
from latprof.profilers.runtimes.cpu.cpu_onnxruntime import CpuOnnxRuntime
from latprof.profilers.visits.measurer import InProcessMeasurer
from latprof.profilers.visits.network_source import (
    NetworkSource,
    reference_network,
    with_distinct_names,
)

F, I64 = TensorProto.FLOAT, TensorProto.INT64
PROTOCOL = PairedProtocol(rounds=1, burst_ms=0.2, reference_loads=1)


def saved(path, nodes, inputs, weights=(), outputs=("y",), opset=17, domains=()):
    """A file of a model with inputs (name, type, shape) and weights (name, values)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def loaded(path, shapes=None, inputs=None):
    """A network's model in ONNX Runtime after a run."""
    network = NetworkSource.of_model(path, shapes, inputs)
    profiler = CpuOnnxRuntime(RunOptions())
    profiler.input_rules = NetworkSource.from_dict(network.to_dict()).rules
    model = profiler.load(network.model(1))
    assert len(model.run(2)) == 2
    return network, model


def lookup(path, rows, kind=I64, before=(), indices="ids"):
    nodes = [*before, helper.make_node("Gather", ["table", indices], ["y"], "gather")]
    return saved(path, nodes, [("ids", kind, (2, 16))], [("table", floats(rows, 4))])


# Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_indices_lie_within_a_small_table(tmp_path, rows):
    network, model = loaded(lookup(tmp_path / "m.onnx", rows))

    assert set(np.unique(model.inputs["ids"])) == set(range(rows))
    assert network.subject.key.endswith(f" ids~0..{rows - 1}")


def test_indices_of_a_large_table_are_what_they_were(tmp_path):
    network, model = loaded(lookup(tmp_path / "m.onnx", 8))

    usual = np.random.default_rng(0).integers(1, 8, (2, 16))
    np.testing.assert_array_equal(model.inputs["ids"], usual)
    assert not network.rules
    assert len(network.subject.key) == 64


def test_indices_are_followed_through_operators(tmp_path):
    before = [
        helper.make_node("Cast", ["ids"], ["a"], to=I64),
        helper.make_node("Add", ["a", "two"], ["b"]),
        helper.make_node("Unsqueeze", ["b", "axis"], ["c"]),
        helper.make_node("Reshape", ["c", "flat"], ["d"]),
    ]
    path = lookup(tmp_path / "m.onnx", 5, TensorProto.INT32, before, "d")
    model = onnx.load(path)
    for name, values in (("two", 2), ("axis", [0]), ("flat", [-1])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
    onnx.save(model, path)

    _, found = loaded(path)

    assert found.inputs["ids"].max() == 2
    assert found.inputs["ids"].min() == 0


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (helper.make_node("GatherND", ["t", "i"], ["y"]), [("t", floats(3, 2))]),
        (helper.make_node("GatherElements", ["t", "i"], ["y"], axis=1), [("t", floats(3, 2))]),
        (
            helper.make_node("ScatterND", ["t", "i", "u"], ["y"]),
            [("t", floats(3, 2)), ("u", floats(3))],
        ),
    ],
    ids=lambda each: getattr(each, "op_type", ""),
)
def test_indices_of_other_operators_lie_within_their_data(tmp_path, node, weights):
    path = saved(tmp_path / "m.onnx", [node], [("i", I64, (3, 2))], weights)

    _, model = loaded(path)

    assert model.inputs["i"].max() <= 1


def test_an_index_that_the_graph_does_not_tell_is_what_the_runtime_takes(tmp_path):
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),  # of unknown size
        helper.make_node("Gather", ["places", "i"], ["y"], axis=0),
    ]
    path = saved(tmp_path / "m.onnx", nodes, [("x", F, (4, 4)), ("i", I64, (3,))])

    _, model = loaded(path)

    assert set(model.inputs["i"]) <= {0, 1}


@pytest.mark.parametrize("kind", [I64, TensorProto.INT32, F])
def test_a_mask_is_made_of_1_and_0(tmp_path, kind):
    nodes = [
        helper.make_node("Cast", ["keep"], ["a"], to=F),
        helper.make_node("Sub", ["one", "a"], ["b"]),
        helper.make_node("Mul", ["b", "large"], ["y"]),
    ]
    weights = [("one", np.asarray(np.float32(1))), ("large", np.asarray(np.float32(-1e9)))]
    path = saved(tmp_path / "m.onnx", nodes, [("keep", kind, (1, 8))], weights)

    network, model = loaded(path)

    assert model.inputs["keep"].tolist() == [[1] * 6 + [0] * 2]
    assert network.subject.key.endswith(" keep~mask")


def test_an_image_is_no_mask(tmp_path):
    nodes = [helper.make_node("Sub", ["one", "x"], ["y"])]
    path = saved(
        tmp_path / "m.onnx", nodes, [("x", F, (1, 8))], [("one", np.asarray(np.float32(1)))]
    )

    assert not NetworkSource.of_model(path).rules


@pytest.mark.parametrize(
    "name",
    ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL", "FLOAT8E4M3FN"]
    + [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)],
)
def test_every_type_that_the_runtime_takes_has_an_input(tmp_path, name):
    kind = getattr(TensorProto, name)
    node = helper.make_node("Identity", ["x"], ["y"])
    path = saved(tmp_path / "m.onnx", [node], [("x", kind, (2, 3))], opset=19)

    network, model = loaded(path)

    assert model.inputs["x"].dtype == helper.tensor_dtype_to_np_dtype(kind)
    assert not network.rules


def test_a_scalar_and_an_empty_cache_are_inputs(tmp_path):
    nodes = [
        helper.make_node("Concat", ["past", "x"], ["k"], axis=1),
        helper.make_node("Mul", ["k", "s"], ["y"]),
    ]
    inputs = [("past", F, (1, "length", 4)), ("x", F, (1, 2, 4)), ("s", F, ())]
    path = saved(tmp_path / "m.onnx", nodes, inputs)

    network, model = loaded(path, {"past": (1, 0, 4)})

    assert model.inputs["past"].shape == (1, 0, 4)
    assert network.subject.name == "m.onnx past=1x0x4"


# Files ----------------------------------------------------------------------------------------


@pytest.fixture
def scaled(tmp_path):
    """A model with an input whose first size is open."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    return saved(tmp_path / "m.onnx", nodes, [("x", F, ("N", 4))])


def written(path, values):
    np.save(path, values)
    return path


def test_a_file_gives_an_input_its_values_and_its_shape(tmp_path, scaled):
    values = floats(3, 4)

    network, model = loaded(scaled, None, {"x": written(tmp_path / "x.npy", values)})

    np.testing.assert_array_equal(model.inputs["x"], values)
    assert network.shapes == {"x": (3, 4)}
    assert network.subject.name == "m.onnx x=3x4 x=x.npy"


@pytest.mark.parametrize(
    ("told", "values", "gives"),
    [
        ((), np.float32(2), {}),
        (None, np.float32(2), {"x": ()}),
        ((0, 4), floats(0, 4), {"x": (0, 4)}),
        ((0, 4), floats(3, 4), {"x": (3, 4)}),
        ((-1, -1), floats(3, 4), {"x": (3, 4)}),
    ],
    ids=["a scalar", "a scalar of no shape", "none", "a batch that is told as 0", "told as -1"],
)
def test_a_file_gives_whatever_has_no_size_and_a_scalar(tmp_path, told, values, gives):
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, [("x", F, told)])

    network, model = loaded(path, None, {"x": written(tmp_path / "x.npy", values)})

    np.testing.assert_array_equal(model.inputs["x"], values)
    assert network.shapes == gives


def test_other_values_are_another_subject(tmp_path, scaled):
    keys = {
        NetworkSource.of_model(scaled, None, {"x": written(tmp_path / "x.npy", values)}).subject.key
        for values in (floats(3, 4), floats(3, 4) + 1)
    }
    assert len(keys) == 2


def test_a_file_that_changes_after_the_check_is_refused(tmp_path, scaled):
    path = written(tmp_path / "x.npy", floats(3, 4))
    network = NetworkSource.of_model(scaled, None, {"x": path})
    written(path, floats(3, 4) + 1)
    _, reference = reference_network()
    measurer = InProcessMeasurer(
        CpuOnnxRuntime(RunOptions()), reference, PROTOCOL, reference_runs={"": 2}
    )

    visit = measurer.visit(network)

    assert "has changed" in visit.failure.message


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((3, 5), np.float32), "another shape"),
        (np.zeros(4, np.float32), "another number of dimensions"),
        (np.zeros((3, 4)), "another dtype.*expected float32, got float64"),
        (np.array([["a"] * 4]), "another dtype"),
        (np.array([[None] * 4], dtype=object), "without pickles"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, scaled, values, says):
    path = written(tmp_path / "x.npy", values)

    with pytest.raises((InputFileError, InvalidValueError), match=says):
        NetworkSource.of_model(scaled, None, {"x": path})


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{"])
def test_what_is_no_numpy_file_is_refused(tmp_path, scaled, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)

    with pytest.raises(InputFileError, match=r"x\.npy"):
        NetworkSource.of_model(scaled, None, {"x": path})


def test_a_missing_file_is_refused(tmp_path, scaled):
    with pytest.raises(InputFileError, match="No such file"):
        NetworkSource.of_model(scaled, None, {"x": tmp_path / "none.npy"})


def test_text_comes_from_a_file_or_is_refused(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, [("x", TensorProto.STRING, (2,))])

    with pytest.raises(ModelFileError, match="give it with --input x=FILE"):
        NetworkSource.of_model(path)
    _, model = loaded(path, None, {"x": written(tmp_path / "x.npy", np.array(["a", "bc"]))})
    assert model.inputs["x"].tolist() == ["a", "bc"]


def test_a_sequence_comes_from_a_file_or_is_refused(tmp_path):
    nodes = [helper.make_node("SequenceAt", ["x", "at"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, [], [("at", np.asarray(1))])
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_sequence_value_info("x", F, None))
    onnx.save(model, path)

    with pytest.raises(ModelFileError, match="no tensor"):
        NetworkSource.of_model(path)
    network, _ = loaded(path, None, {"x": written(tmp_path / "x.npy", floats(3, 4))})
    assert "is not a tensor" in network.costs.unknown


def test_an_input_larger_than_any_memory_is_refused(tmp_path):
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, [("x", I64, (2**38,))])

    with pytest.raises(ModelFileError, match="too large"):
        NetworkSource.of_model(path)


# Several models -------------------------------------------------------------------------------


def named(path, name):
    return saved(path, [helper.make_node("Relu", [name], ["y"])], [(name, F, ("N", 4))])


def test_shapes_apply_where_the_name_is_there(tmp_path):
    paths = [named(tmp_path / "a.onnx", "input"), named(tmp_path / "b.onnx", "data")]

    networks = NetworkSource.of_models(paths, {"input": (1, 4), "data": (2, 4)})

    assert [network.shapes for network in networks] == [{"input": (1, 4)}, {"data": (2, 4)}]


def test_files_of_one_name_are_named_with_what_distinguishes_their_folders(tmp_path):
    paths = []
    for folder in ("fast/v1", "fast/v2", "slow/v2", "other"):
        (tmp_path / folder).mkdir(parents=True)
        paths.append(named(tmp_path / folder / "m.onnx", "input"))
    paths.append(named(tmp_path / "alone.onnx", "input"))
    found = NetworkSource.of_models([*paths, paths[0]], {"input": (1, 4)})
    names = [each.subject.name.split(" ")[0] for each in with_distinct_names(found)]
    assert names == [
        *("fast/v1/m.onnx", "fast/v2/m.onnx", "slow/v2/m.onnx"),
        *(f"{tmp_path.name}/other/m.onnx", "alone.onnx", "fast/v1/m.onnx"),
    ]
    (one,) = with_distinct_names(NetworkSource.of_models(paths[:1], {"input": (1, 4)}))
    assert one.subject.name == "m.onnx input=1x4"


def test_a_plan_has_each_model_once_and_its_place_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    paths = []
    for size, folder in enumerate(("fast", "slow", "copy"), 1):
        (tmp_path / "build" / folder).mkdir(parents=True)
        paths.append(tmp_path / "build" / folder / "m.onnx")
        saved(paths[-1], [helper.make_node("Relu", ["x"], ["y"])], [("x", F, (1, size))])
    paths[2].write_bytes(paths[0].read_bytes())

    def names():
        found = Collection.of_models(paths, options=RunOptions())
        assert len(found.networks) == 2
        digests = found.source["networks"]
        assert digests[next(iter(digests))] == [*digests.values()][2]
        return [*digests]

    monkeypatch.chdir(tmp_path / "build")
    assert names() == ["fast/m.onnx", "slow/m.onnx", "copy/m.onnx"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert names() == ["build/fast/m.onnx", "build/slow/m.onnx", "build/copy/m.onnx"]


def test_a_name_that_no_model_has_is_refused_with_those_they_have(tmp_path):
    paths = [named(tmp_path / "a.onnx", "input"), named(tmp_path / "b.onnx", "data")]
    shapes = {"input": (1, 4), "data": (2, 4), "image": (1, 4)}

    with pytest.raises(InvalidValueError, match=r"'image'.*a\.onnx: input; b\.onnx: data"):
        NetworkSource.of_models(paths, shapes)


# Costs and kernels ----------------------------------------------------------------------------


def test_costs_that_are_not_known_do_not_stop_a_measurement(tmp_path):
    nodes = [
        helper.make_node(
            "UnfoldTensor", ["x"], ["a"], "unfold", "", "com.microsoft", size=2, step=2
        ),
        helper.make_node("MatMul", ["a", "w"], ["y"], "product"),
    ]
    path = saved(
        tmp_path / "m.onnx",
        nodes,
        [("x", F, (4, 4))],
        [("w", floats(2, 5))],
        domains=["com.microsoft"],
    )

    network, _ = loaded(path)

    assert network.costs.macs is None
    assert "'product' has a shape that cannot be resolved" in network.costs.unknown
    assert (network.costs.batch_size, network.costs.input_shape) == (4, (4, 4))


def kernels_of(path):
    profiler = CpuOnnxRuntime(RunOptions())
    model = profiler.load_profiled(path)
    model.run(6)
    return model.kernel_times(range(2, 6))


@pytest.mark.parametrize(("sides", "kind"), [((5,), "5"), ((3, 5), "3x5"), ((2, 3, 4), "2x3x4")])
@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
def test_convolutions_have_their_own_kernel_size(tmp_path, sides, kind, op_type):
    node = helper.make_node(op_type, ["x", "w"], ["y"])
    shape = (1, 4, *(12 for _ in sides))
    path = saved(tmp_path / "m.onnx", [node], [("x", F, shape)], [("w", floats(4, 4, *sides))])

    names = [kernel.kind for kernel in kernels_of(path) if kernel.operators]

    assert names == [{"Conv": "conv", "ConvTranspose": "transposed"}[op_type] + kind]


def test_unnamed_nodes_are_called_by_their_output(tmp_path):
    nodes = [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Sin", ["a"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, [("x", F, (4, 4))])

    for model in (path, path.read_bytes()):
        assert [kernel.name for kernel in kernels_of(model)] == ["a", "y"]


def looped(path, trips):
    """A loop of a product, each of some hundred microseconds."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["v", "w"], ["v_out"], "product"),
            helper.make_node("Identity", ["c"], ["c_out"], "condition"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", I64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", F, [128, 128]),
        ],
        [
            helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", F, [128, 128]),
        ],
    )
    node = helper.make_node("Loop", ["trips", "yes", "x"], ["y"], "loop", body=body)
    weights = [
        ("w", floats(128, 128)),
        ("trips", np.asarray(trips)),
        ("yes", np.asarray(True)),
    ]
    return saved(path, [node], [("x", F, (128, 128))], weights)


def test_kernels_of_a_loop_are_counted_once_with_all_their_runs(tmp_path):
    kernels = kernels_of(looped(tmp_path / "m.onnx", 8))

    times = {kernel.name: kernel.latency_ms for kernel in kernels}
    assert next(iter(times)) == "loop"
    assert sorted(times) == ["condition", "loop", "product"]
    # The loop itself has what its body's kernels leave.
    assert times["product"] > times["loop"]


@pytest.mark.parametrize("key", [zoo_key("bert-tiny"), "tokens:14 batch_size=1"])
def test_built_networks_are_fed_what_their_graphs_ask_for(key):
    rules = NetworkSource.of_built(key).rules
    assert rules["token_type_ids"].kind == "range"
    assert rules["token_type_ids"].high == 1
    assert rules["attention_mask"].kind == "mask"
