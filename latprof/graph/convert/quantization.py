"""ONNX models in other numbers: 8-bit integers and 16-bit floats.

Both are made from the float32 model with random inputs at hand and no data: what a network costs
does not depend on its weights' values, and a latency is all that is asked of the result. For
accuracy calibrate on real images.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common import telemetry
from latprof.common.extras import require
from latprof.errors import InvalidValueError, UnsupportedModelError
from latprof.graph.external_data import load_external_data
from latprof.graph.input_values.input_rules import input_rules
from latprof.graph.model_file import graph_inputs, read_model
from latprof.graph.static_shapes import fix_inputs

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from latprof.graph.model_file import ModelSource

telemetry.switch_off()  # before any function below imports ONNX Runtime

#: Batches of random numbers that the ranges of a network's values are taken from.
_CALIBRATION_BATCHES = 4
#: Only what is fatal is logged; everything else arrives as an exception.
_LOG_FATAL = 4
_QUANTIZED = frozenset(
    {"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeLSTM"}
    | {"DynamicQuantizeMatMul", "MatMulBnb4", "MatMulInteger", "MatMulIntegerToFloat"}
    | {"MatMulNBits", "QAttention", "QGemm", "QLinearConv", "QLinearMatMul", "QuantizeLinear"}
)


def to_int8(model: ModelSource, seed: int = 0, operators: Collection[str] | None = None) -> bytes:
    """Quantise a model to 8-bit integers: QuantizeLinear and DequantizeLinear around operators.

    Weights are signed with a scale a channel, activations unsigned with a scale a tensor, their
    ranges the least and the largest value seen in four runs on normal random inputs. Batch
    normalisation is folded into its convolution first. Operators that ONNX Runtime does not
    quantise stay in float32 (HardSwish, HardSigmoid, Sigmoid). Inputs and outputs keep their type.

    Parameters
    ----------
    model : bytes or path
        A float32 model of static shapes. One that holds quantised operators already comes back as
        it is, unless operators are named.
    seed : int
        Of the random inputs.
    operators : collection of str, optional
        Names of the nodes to quantise; all that can be, unless given.

    Raises
    ------
    ModelFileError
        For what is no ONNX model.
    DynamicShapeError
        For an input without a fixed shape.
    InvalidValueError
        For names that the model has no node of.
    UnsupportedModelError
        For what cannot be run or quantised.
    """
    require("collect", "quantising a model", "onnxruntime")
    loaded = _loaded(model)
    already = is_quantized(loaded)
    if already and operators is not None:
        raise InvalidValueError(
            "the model holds quantised operators already", field="operators", expected="none named"
        )
    _check_names(loaded, operators)
    content: bytes
    if already or (operators is not None and not operators):
        content = loaded.SerializeToString()
        return content
    with _translated("quantised"), _quiet(), tempfile.TemporaryDirectory(prefix="latprof-") as path:
        if any(node.op_type == "BatchNormalization" for node in loaded.graph.node):
            loaded = _folded(loaded, Path(path))
        return _quantized(loaded, seed, operators, Path(path))


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a model holds quantised operators."""
    return any(node.op_type in _QUANTIZED for node in model.graph.node)


def to_float16(model: ModelSource) -> bytes:
    """Turn a float32 model's weights and values into 16-bit floats; inputs and outputs stay.

    Raises ModelFileError for what is no ONNX model, DynamicShapeError for an input without a fixed
    shape, UnsupportedModelError for what cannot be converted.
    """
    require("collect", "turning a model into float16", "onnxruntime")
    loaded = _loaded(model)
    with _translated("turned into float16"), _quiet():
        from onnxruntime.transformers.float16 import convert_float_to_float16

        converted = convert_float_to_float16(loaded, keep_io_types=True)
        content: bytes = converted.SerializeToString()
        return content


def _loaded(model: ModelSource) -> onnx.ModelProto:
    """The model with every weight inside; its shapes are static."""
    if not isinstance(model, bytes):
        from latprof.graph.reader import load_model

        return load_model(model, external_data=True)
    loaded = read_model(model)
    fix_inputs(loaded, None, "the model")
    load_external_data(loaded, None, "the model")
    return loaded


def _check_names(model: onnx.ModelProto, operators: Collection[str] | None) -> None:
    unknown = sorted(set(operators or ()) - {node.name for node in model.graph.node})
    if unknown:
        raise InvalidValueError(
            "the model has no such operators", field="operators", got=", ".join(unknown[:5])
        )


def _quantized(
    model: onnx.ModelProto, seed: int, operators: Collection[str] | None, directory: Path
) -> bytes:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)  # or it warns, twice, that the model might be prepared better
    output = directory / "int8.onnx"
    quantize_static(
        model,
        output,
        _calibration(model, seed),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # Processors with AVX2 but no VNNI add pairs of products in 16 bits, which 8-bit weights
        # overflow; 7 bits never do, and run in the same kernels.
        reduce_range=True,
        nodes_to_quantize=None if operators is None else sorted(operators),
    )
    return output.read_bytes()


def _calibration(model: onnx.ModelProto, seed: int) -> Any:
    """Batches of random inputs in the form that ONNX Runtime's quantiser reads."""
    from onnxruntime.quantization import CalibrationDataReader

    batches = iter(_random_batches(model, seed))

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no annotations
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(batches, None)

    return Reader()


def _random_batches(model: onnx.ModelProto, seed: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Inputs as profilers make them: normal for floats, 1 to 7 for integers, or by the rules."""
    from onnx.helper import tensor_dtype_to_np_dtype

    generator, rules = np.random.default_rng(seed), input_rules(model)
    for _ in range(_CALIBRATION_BATCHES):
        batch = {}
        for value in graph_inputs(model.graph):
            tensor = value.type.tensor_type
            shape = [dim.dim_value for dim in tensor.shape.dim]
            dtype = np.dtype(tensor_dtype_to_np_dtype(tensor.elem_type))
            whole = dtype.kind in "iu"
            drawn = generator.integers(1, 8, shape) if whole else generator.standard_normal(shape)
            values, rule = np.asarray(drawn).astype(dtype), rules.get(value.name)
            batch[value.name] = values if rule is None else rule.apply(values)
        yield batch


def _folded(model: onnx.ModelProto, directory: Path) -> onnx.ModelProto:
    """The model with batch normalisation in the convolutions' weights, by ONNX Runtime."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(directory / "folded.onnx")
    options.log_severity_level = _LOG_FATAL
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return onnx.load(directory / "folded.onnx")


@contextmanager
def _translated(done: str) -> Iterator[None]:
    """Turn what ONNX Runtime's tools raise, which has no common base, into an error of ours."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UnsupportedModelError(f"the model cannot be {done}: {reason}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's tools, which log through the root logger, from writing to stderr.

    Without a handler there, their first message would give it one for good.
    """
    root, handler, disabled = (
        logging.getLogger(),
        logging.NullHandler(),
        logging.root.manager.disable,
    )
    root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.removeHandler(handler)
