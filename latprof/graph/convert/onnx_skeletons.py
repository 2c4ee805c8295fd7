"""Skeletons of ONNX models: files without the float32 weights of their graph."""

from __future__ import annotations

import math

from onnx import TensorProto

from latprof.graph.convert.skeletons import LEAST_FILLED, fill_for, skeleton_bytes
from latprof.graph.model_file import read_model


def onnx_skeleton(content: bytes) -> bytes:
    """Return a serialised model without its weights, for the runner to fill.

    :func:`latprof.graph.convert.skeletons.filled` makes a model of it again, whose weights are
    random with the scale of the model's own. Weights of other types, and constants of few values,
    are kept as they are. Raises ModelFileError for what is no ONNX model.
    """
    fills, searched = [], 0
    for index, tensor in enumerate(read_model(content).graph.initializer):
        values = tensor.raw_data
        count = len(values) // 4
        if tensor.data_type != TensorProto.FLOAT or count < LEAST_FILLED:
            continue
        if count != math.prod(tensor.dims):
            continue
        start = content.find(values, searched)  # a file holds them in this order
        if start < 0:
            continue
        fills.append(fill_for(content, start, count, index))
        searched = start + len(values)
    return skeleton_bytes(content, fills)
