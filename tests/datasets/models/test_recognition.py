"""A network is told from its operators, in spaces of every shape and whoever exported it."""

import io

import numpy as np
import onnx
import pytest

import latprof
from latprof.datasets import ChainSpace, Layer, Place, convolution_block, get_space
from latprof.graph import read_network

WIDTHS = (8, 16, 24)
ACTIVATIONS = ("relu", "hswish", "relu6")


class Chain(ChainSpace):
    """Four blocks that look alike, which may be left out, and whose activation is chosen."""

    name = "chain-of-tests"

    def __init__(self, resolution=16, num_classes=10):
        self.resolution, self.num_classes = resolution, num_classes

    @property
    def candidates(self):
        return (("none", *(f"{w} {a}" for w in WIDTHS for a in ACTIVATIONS)),) * 4

    @property
    def candidate_blocks(self):
        places = [Place(f"block{i}", i, 16, 16, 8) for i in range(4)]
        return tuple((p.block("none", ()), *self._blocks(p)) for p in places)

    def _blocks(self, place):
        for width in WIDTHS:
            for applied in ACTIVATIONS:
                first = Layer(f"{place.name}.a", 16, width, 3, activation=applied)
                second = Layer(f"{place.name}.b", width, 16, 3, activation=None)
                yield place.block(f"{width} {applied}", (first, second), kernel=3, residual=True)

    @property
    def fixed_blocks(self):
        stem = convolution_block(Place("stem", None, 3, 16, self.resolution, 2), kernel=3)
        return (stem,), (convolution_block(Place("last", None, 16, 32, 8), kernel=1),)


def built(choices):
    """Two branches whose widths depend on both decisions, and a third that is there or not."""
    from onnx import TensorProto, helper, numpy_helper

    first, second, third = choices
    shapes = {"a": (first, 3, 3, 3), "b": (second, first, 1, 1), "c": (second, second, 3, 3)}
    convolutions = [("a", "x", "t0"), ("b", "t0", "t1")]
    nodes = [
        helper.make_node("Conv", [reads, name], [writes], name, pads=_pads(shapes[name]))
        for name, reads, writes in convolutions
    ]
    last = "t1"
    if third:
        nodes += [
            helper.make_node("Conv", ["t1", "c"], ["t2"], "c", pads=[1] * 4),
            helper.make_node("Add", ["t1", "t2"], ["t3"], "sum"),
        ]
        last = "t3"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["y"], "pool"))
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in shapes.items()
        if third or name != "c"
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, second, 1, 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _pads(shape):
    return [shape[-1] // 2] * 4


SPACES = {
    "chain": Chain,
    "function": lambda: latprof.space_from_function(
        built, [(4, 8), (4, 8), (False, True)], (3, 8, 8)
    ),
    "depths and gates": lambda: get_space("ofa-mobilenetv3"),
}


@pytest.mark.parametrize("kind", SPACES)
def test_own_exports_are_recognized(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    space = SPACES[kind]()
    for architecture in space.sample(3, seed=4):
        content = space.onnx_bytes(architecture, batch_size=2, batch_norm="kept")
        found = space.recognize(read_network(content))
        # Or another one that is the same network: blocks that are left out leave no place.
        assert found is not None
        assert _work(space, found) == _work(space, architecture)


def _work(space, architecture):
    return sorted(
        (op.kind, op.op_type, op.activation, op.output_shapes)
        for op in space.operators(architecture)
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_export_of_the_torch_module_is_recognized_and_another_network_is_not():
    torch = pytest.importorskip("torch")
    space = Chain()
    architecture = space.architectures(np.array([[2, 0, 9, 1]], np.uint8))[0]
    module = space.build_torch(architecture)

    def exported(module, side=16):
        buffer = io.BytesIO()
        image = torch.zeros((1, 3, side, side))
        torch.onnx.export(module, (image,), buffer, opset_version=17, dynamo=False)
        return buffer.getvalue()

    content = exported(module)
    found = space.recognize(read_network(content))
    assert _work(space, found) == _work(space, architecture)
    assert space.recognize(read_network(exported(module, 32))) is None

    model = onnx.load_model_from_string(content)
    for node in model.graph.node:
        if node.op_type == "Add":  # the block's own input no more
            node.input[1] = node.input[0]
    assert space.recognize(read_network(model.SerializeToString())) is None
    model = onnx.load_model_from_string(content)
    for node in model.graph.node:
        if node.op_type == "HardSwish":
            node.op_type = "Elu"
    assert space.recognize(read_network(model.SerializeToString())) is None
