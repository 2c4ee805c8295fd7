"""What an ONNX graph computes from constants alone, computed once while it is converted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from latprof.errors import LatprofError, UnsupportedModelError
from latprof.graph.guarded.inference import Allowance, inferred
from latprof.graph.shape_arithmetic import is_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Elements that constant operators of one model may make, all together.
MOST_ELEMENTS = 1 << 27
#: Operators whose results differ from run to run.
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
    | {"RandomUniformLike"}
)
_NUMBERS = ("value_float", "value_floats", "value_int", "value_ints")


def read_constant(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The values of an initialiser; UnsupportedModelError for exotic types and damaged data."""
    try:
        values: NDArray[Any] = numpy_helper.to_array(tensor)
    except Exception as error:  # noqa: BLE001 - missing values, unknown types, sizes that do not fit
        raise UnsupportedModelError(
            f"the model has no TFLite form: weight {tensor.name!r} cannot be read: {error}"
        ) from None
    return values


class ConstantFolder:
    """Computes constant operators with ONNX's reference implementation, within a limit."""

    def __init__(self, opsets: list[onnx.OperatorSetIdProto]) -> None:
        self._opsets = opsets
        self._left = MOST_ELEMENTS
        self._allowance = Allowance()

    def run(self, node: onnx.NodeProto, inputs: list[NDArray[Any] | None]) -> list[NDArray[Any]]:
        """The results of an operator; UnsupportedModelError where it cannot be computed."""
        if node.op_type == "Constant":
            return [self._constant(node)]
        if node.op_type in _RANDOM or not all(map(is_plain, node.attribute)):
            raise _unsupported(node, "makes other values in every run, or holds a graph")
        given = {
            name: np.asarray(data)
            for name, data in zip(node.input, inputs, strict=True)
            if name and data is not None
        }
        model = self._model(node, given)
        self._spend(node, model, given)
        from onnx.reference import ReferenceEvaluator

        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(model).run(None, given)
        except Exception as error:  # noqa: BLE001 - the evaluator has no common base
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise _unsupported(node, f"cannot be computed: {reason}") from None
        if not all(isinstance(result, np.ndarray | np.generic) for result in results):
            raise _unsupported(node, "makes no tensor")
        return [np.asarray(result) for result in results]

    @staticmethod
    def _constant(node: onnx.NodeProto) -> NDArray[Any]:
        for attribute in node.attribute:
            if attribute.name == "value":
                return read_constant(attribute.t)
            if attribute.name in _NUMBERS:
                kind = np.float32 if "float" in attribute.name else np.int64
                return np.array(helper.get_attribute_value(attribute), kind)
        raise _unsupported(node, "holds a value that has no translation")

    def _model(self, node: onnx.NodeProto, given: dict[str, NDArray[Any]]) -> onnx.ModelProto:
        def info(name: str, data: NDArray[Any]) -> onnx.ValueInfoProto:
            kind = helper.np_dtype_to_tensor_dtype(data.dtype)
            return helper.make_tensor_value_info(name, kind, data.shape)

        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        inputs = [info(name, data) for name, data in given.items()]
        graph = helper.make_graph([node], "constant", inputs, outputs)
        return helper.make_model(graph, opset_imports=self._opsets)

    def _spend(
        self, node: onnx.NodeProto, model: onnx.ModelProto, given: dict[str, NDArray[Any]]
    ) -> None:
        """Refuse an operator whose result would be absurdly large, before it is computed."""
        shaped = onnx.ModelProto()
        shaped.CopyFrom(model)
        for name, data in given.items():
            if data.size <= 64 and data.dtype.kind in "iu":  # shapes, axes, repeats
                shaped.graph.initializer.append(numpy_helper.from_array(data, name))
        try:
            answer = inferred(shaped.SerializeToString(), "the model", self._allowance)
        except LatprofError as error:
            raise _unsupported(node, f"contradicts itself: {error}") from None
        for output in onnx.ModelProto.FromString(answer).graph.output:
            sizes = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
            self._left -= max(math.prod(sizes), 1)
        if node.op_type == "Range":
            start, limit, step = (float(data.reshape(())) for data in given.values())
            self._left -= int(abs((limit - start) / step)) if step else MOST_ELEMENTS
        if self._left < 0:
            raise _unsupported(node, "makes too many values of constants")


def _unsupported(node: onnx.NodeProto, why: str) -> UnsupportedModelError:
    name = node.name or next(filter(None, node.output), "")
    return UnsupportedModelError(f"the model has no TFLite form: {node.op_type} {name!r} {why}")
