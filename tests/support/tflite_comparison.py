"""ONNX graphs run by ONNX Runtime and, as TFLite models that latprof writes, by LiteRT."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from latprof.graph.convert.tflite.translation import write_tflite
from latprof.graph.convert.to_tflite import silenced


def make_model(nodes, inputs, outputs, constants=None, opset=17):
    """A model's bytes; inputs are shapes of float32 values, or (shape, type), by name."""
    taken = []
    for name, shape in inputs.items():
        kind = TensorProto.FLOAT
        if shape and isinstance(shape[0], tuple):
            shape, kind = shape  # noqa: PLW2901 - the pair's own parts
        taken.append(helper.make_tensor_value_info(name, kind, shape))
    graph = helper.make_graph(
        nodes,
        "graph",
        taken,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("elsewhere", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def one_operator(op_type, *shapes, constants=None, outputs=1, opset=17, **attributes):
    """A model of one operator that reads inputs of these shapes, then the constants."""
    inputs = {f"x{index}": shape for index, shape in enumerate(shapes)}
    names = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(
        op_type, [*inputs, *(constants or {})], names, name="node", **attributes
    )
    return make_model([node], inputs, names, constants, opset)


def random_feeds(model, seed=0):
    """Normal numbers for each input, 0 to 3 for whole ones."""
    generator, feeds = np.random.default_rng(seed), {}
    for value in onnx.load_from_string(model).graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        whole = tensor.elem_type != TensorProto.FLOAT
        made = generator.integers(0, 4, shape) if whole else generator.standard_normal(shape)
        feeds[value.name] = made.astype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return feeds


def run_onnx(model, feeds):
    """The outputs by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def run_tflite(content, feeds):
    """The outputs by LiteRT, images channels-first as ONNX has them."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        values = feeds[detail["name"]]
        values = values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
        interpreter.set_tensor(detail["index"], np.array(values, detail["dtype"], order="C"))
    interpreter.invoke()
    found = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    return [values.transpose(0, 3, 1, 2) if values.ndim == 4 else values for values in found]


def largest_difference(model, seed=0):
    """Largest difference between the two, by the largest absolute output; shapes must agree."""
    feeds = random_feeds(model, seed)
    expected = run_onnx(model, feeds)
    found = run_tflite(write_tflite(model).content, feeds)
    assert [e.shape for e in expected] == [f.shape for f in found]
    differences = [0.0]
    for reference, values in zip(expected, found, strict=True):
        scale = np.abs(reference.astype(np.float64)).max()
        difference = np.abs(values.astype(np.float64) - reference).max()
        differences.append(difference / scale if scale else difference)
    return max(differences)


def operator_names(content):
    """The names of a TFLite model's operators, in order, before any delegate takes them."""
    from ai_edge_litert import schema_py_generated as schema

    kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = [kinds[code.builtinCode] for code in model.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]
