"""Which values a model's inputs may have, read from what its operators do with them.

Random integers are no input where they are indices of a small table, and random numbers no mask.
Each input is followed through the operators that move its values, add to them or multiply them, to
those that use them: an index has to lie within what it picks from, a mask is made of 0 and 1. What
cannot be told from the graph stays without a rule; the runtime decides then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from latprof.errors import InvalidValueError
from latprof.graph.input_values.index_limits import largest_index
from latprof.graph.input_values.value_trace import Reached, Trace
from latprof.graph.model_file import graph_inputs

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: Integers are from 1 to this where no rule says otherwise.
USUAL_HIGH = 7
#: A larger index belongs to no table.
_MOST_LOW = 2**40
#: What a mask is multiplied by, at least, to become what is added to scores.
_LARGE = 1e3
#: Where operators of other domains take a mask.
_MASK_INPUTS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("com.microsoft", "EmbedLayerNormalization"): (7,),
    ("com.microsoft", "Attention"): (3,),
    ("com.microsoft", "QAttention"): (5,),
    ("com.microsoft", "MultiHeadAttention"): (4,),
}


@dataclass(frozen=True)
class InputRule:
    """How the values of one input are made, where they are not the usual random ones.

    Parameters
    ----------
    kind : str
        ``"range"``: integers from ``low`` to ``high``; ``"mask"``: 1, and 0 in the last quarter of
        the last dimension; ``"reshape"``: sizes that reshape anything; ``"file"``: what lies in the
        NumPy file at ``path``, whose content has the SHA-256 ``digest``.
    """

    kind: Literal["range", "mask", "reshape", "file"]
    low: int = 0
    high: int = 0
    path: str = ""
    digest: str = ""

    def describe(self) -> str:
        """What the values are, in a word: a part of the identity of what was measured."""
        if self.kind == "range":
            return f"{self.low}..{self.high}"
        return self.digest[:16] if self.kind == "file" else self.kind

    @property
    def file_name(self) -> str:
        """What the file is called, without its folder."""
        return PurePath(self.path).name

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of the same shape and dtype that follow the rule.

        ``values`` are the usual random ones; those that do already are kept.
        """
        if self.kind == "mask":
            found = np.ones_like(values)
            if found.ndim:
                length = found.shape[-1]
                found[..., length - length // 4 :] = 0
            return found
        if self.kind == "reshape":
            found = np.ones_like(values)
            if found.ndim:
                found[..., -1:] = -1
            return found
        fits = (values >= self.low) & (values <= self.high)
        wrapped = self.low + (values.astype(np.int64) - self.low) % (self.high - self.low + 1)
        return np.where(fits, values, wrapped.astype(values.dtype))

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> InputRule:
        """Rebuild a rule from :meth:`to_dict`; raises InvalidValueError for anything else."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InvalidValueError(f"a rule of an input cannot be read: {error}") from None


#: Rules by the names of inputs.
Rules: TypeAlias = Mapping[str, InputRule]


def input_rules(model: onnx.ModelProto) -> dict[str, InputRule]:
    """The rules of a model's inputs; those that take the usual values have none.

    Parameters
    ----------
    model : onnx.ModelProto
        With its inputs' shapes fixed; its weights may lack their data.
    """
    trace = Trace(model)
    rules: dict[str, InputRule] = {}
    for value in graph_inputs(model.graph):
        if value.type.HasField("tensor_type") and (rule := _rule(trace, value)):
            rules[value.name] = rule
    return rules


def _rule(trace: Trace, value: onnx.ValueInfoProto) -> InputRule | None:
    """The rule of one input; none for text and random Boolean values."""
    from onnx import helper

    elements = value.type.tensor_type.elem_type
    known = elements in helper.get_all_tensor_dtypes()
    kind = helper.tensor_dtype_to_np_dtype(elements).kind if known else ""
    if kind in "bOSU":  # the empty kind is among them
        return None
    try:
        return _followed(trace, value, kind)
    except (ArithmeticError, LookupError, ValueError):  # of a graph that is no sound one
        return None


def _followed(trace: Trace, value: onnx.ValueInfoProto, kind: str) -> InputRule | None:
    """The rule that the operators tell which a value of numbers of this kind reaches."""
    low, high = 0.0, math.inf
    for node, position, reached in trace.uses(value.name):
        if _takes_mask(trace, node, position, reached):
            return InputRule("mask")
        if kind == "i" and node.op_type == "Reshape" and position == 1:
            return InputRule("reshape")
        least, most = largest_index(trace, node, position)
        if kind in "iu" and most is not None:
            low = max(low, math.ceil((least - reached.low) / reached.scale))
            high = min(high, math.floor((most - reached.high) / reached.scale))
    if "mask" in value.name.lower():
        return InputRule("mask")
    if high < low or low > _MOST_LOW or (low <= 1 and high >= USUAL_HIGH):
        return None
    return InputRule("range", int(low), int(min(high, max(low, USUAL_HIGH))))


def _takes_mask(trace: Trace, node: onnx.NodeProto, position: int, reached: Reached) -> bool:
    """Whether an operator takes a value for a mask: for true or false, or from 1 to be scaled."""
    from onnx import TensorProto

    if not reached.is_copy:
        return False
    if node.op_type == "Cast":
        return any(a.name == "to" and a.i == TensorProto.BOOL for a in node.attribute)
    if position in _MASK_INPUTS.get((node.domain, node.op_type), ()):
        return True
    if node.op_type != "Sub" or position != 1:
        return False
    one = trace.constant(node.input[0])
    return one is not None and bool((one == 1).all()) and _is_scaled_up(trace, node.output[0])


def _is_scaled_up(trace: Trace, name: str) -> bool:
    """Whether a value is multiplied by something large, to be added to scores."""
    for node, position, reached in trace.uses(name):
        if node.op_type == "Mul" and reached.is_copy:
            factor = trace.constant(node.input[1 - position])
            if factor is not None and bool((np.abs(factor) >= _LARGE).all()):
                return True
    return False
