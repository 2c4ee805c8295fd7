"""Small campaigns on a test phone: their commands, models and stored visits."""

import contextlib
import sqlite3
import time

import numpy as np
import onnx
from command_line import LONGEST_S
from onnx import TensorProto, helper

SMALL = ("--space", "proxyless", "--resolution", "64", "--visits", "2", "--repeat-fraction", "0")
#: Of a busy computer: disturbed visits are kept as they are after their retries.
STATUS = None


def visits_of(path):
    """The stored visits: subject, code of a failure, whether disturbed, conditions, samples."""
    with sqlite3.connect(path) as database, contextlib.suppress(sqlite3.OperationalError):
        columns = "subjects.name, failure_code, disturbed, conditions"
        tables = "measurements join subjects on subjects.id = measurements.subject_id"
        return database.execute(f"select {columns} from {tables}").fetchall()
    return []  # it is being made


def small_model(path, operator="Relu"):
    """An ONNX file with a convolution and one more operator."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1], name="c"),
            helper.make_node(operator, ["h"], ["y"], name="o"),
        ],
        "g",
        [value("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("y", TensorProto.FLOAT, None if operator == "NonZero" else [1, 8, 32, 32])],
        [helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)],
    )
    if operator == "NonZero":
        graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def await_no_runner(station):
    """It ends by itself after its host has gone."""
    end = time.monotonic() + LONGEST_S
    while station.phone.processes("runner-"):
        assert time.monotonic() < end
        time.sleep(0.05)
