"""Networks quantised without data: in the spellings of ONNX Runtime's tools, weights made up.

A latency does not depend on what the numbers are. So a graph is enough, no calibration runs, and
the result is the same with every version of the tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from onnx import TensorProto, helper

from latprof.errors import UnknownNameError
from latprof.graph.convert.quantized.dynamic_graph import write_dynamic, write_four_bits
from latprof.graph.convert.quantized.parts import QuantizedGraph
from latprof.graph.convert.quantized.qdq_graph import write_qdq
from latprof.graph.convert.quantized.qlinear_graph import write_qlinear

if TYPE_CHECKING:
    import onnx

_Writer: TypeAlias = Callable[[QuantizedGraph], None]

#: What writes each form, whether its activations are int8, and its weights have a scale a channel.
_FORMS: Mapping[str, tuple[_Writer, bool, bool]] = {
    "qdq": (write_qdq, True, False),
    "qdq-u8": (write_qdq, False, True),
    "qoperator": (write_qlinear, True, False),
    "qoperator-u8": (write_qlinear, False, True),
    "dynamic": (write_dynamic, False, False),
    "int4": (write_four_bits, False, False),
}
#: Names of the forms: activations are int8 and weights have one scale a tensor, unless ``-u8``:
#: uint8, and a scale a channel.
FORMS = tuple(_FORMS)
#: Standard deviation of weights that stay floats.
_DEVIATION = 0.05


def quantized_form(model: onnx.ModelProto, form: str) -> onnx.ModelProto:
    """Quantise a float32 graph whose weights need no values, in place, and return it.

    Parameters
    ----------
    model : onnx.ModelProto
        Of static shapes and named nodes, without bodies of If and Loop.
    form : str
        One of :data:`FORMS`.

    Raises
    ------
    UnknownNameError
        For a form that is none.
    """
    if form not in _FORMS:
        raise UnknownNameError("quantised form", form, [*FORMS])
    write, signed, channels = _FORMS[form]
    graph = QuantizedGraph(model, signed=signed, channels=channels)
    write(graph)
    graph.finish()
    return model


def with_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make up the values that a model's constants lack, in place, and return it."""
    generator = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        count = int(np.prod(tensor.dims, dtype=np.int64))
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if tensor.raw_data or not count or dtype == np.int64 or tensor.float_data:
            continue
        if tensor.data_type == TensorProto.FLOAT:
            values = generator.standard_normal(count, np.float32) * np.float32(_DEVIATION)
        elif dtype == np.int32:
            values = generator.integers(-1000, 1000, count, np.int32)
        else:
            limits = np.iinfo(dtype)
            # Weights of 7 bits: pairs of products never overflow 16.
            low, high = (limits.min // 2, limits.max // 2)
            values = generator.integers(low, high, count, dtype, endpoint=True)
        tensor.raw_data = values.tobytes()
    return model
