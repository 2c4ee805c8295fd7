"""Which operators of a graph each of XNNPACK's kernels ran, from their names and their order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from latprof.graph.operators import Operator

Mask: TypeAlias = NDArray[np.bool_]

_PRODUCTS = ("Convolution", "Fully Connected", "Batch Matrix Multiply", "Deconvolution")
_POOLS = ("Mean", "Average", "Glob")
_SHAPES = ("Static Reshape", "Copy")
#: What kernels of an operator may be called: how the name begins. What is not listed is called
#: like the operator.
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"), _PRODUCTS),
    **dict.fromkeys(("GlobalAveragePool", "AveragePool", "ReduceMean"), _POOLS),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _SHAPES),
    "MaxPool": ("Max Pooling",),
    "Sub": ("Subtract",),
    "Mul": ("Multiply",),
    "Div": ("Divide", "Multiply"),
    "Neg": ("Negate",),
    "Pow": ("Pow", "Square (", "Multiply"),
    "Sqrt": ("Square Root",),
    "Concat": ("Concat", "Copy"),
    "Split": ("Split", "Even Split", "Slice", "Copy"),
    "Slice": ("Slice", "Strided", "Copy"),
    "Pad": ("Constant Pad", "Pad"),
    "Clip": ("Clamp", "Relu"),
    "Relu": ("Clamp", "Relu"),
    "Expand": ("Broadcast", "Multiply", "Add"),
    "ReduceL2": ("Normalize", "Sum", "Square"),
    "Where": ("Select",),
}
_NORMALIZATION = ("Mean", "Subtract", "Add", "Reciprocal", "Multiply", "Square", "Normalize",
                  "Divide")  # fmt: skip
#: What more kernels an operator may run as.
_MORE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization"),
        _NORMALIZATION,
    ),
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), ("Constant Pad", "Pad")),
    **dict.fromkeys(("Concat", "Split", "Slice"), ("Slice", "Copy")),
    **dict.fromkeys(("HardSigmoid", "HardSwish"), ("Multiply", "Add", "Clamp", "Divide")),
    **dict.fromkeys(("QuickGelu", "Swish"), ("Sigmoid", "Multiply")),
    "BatchNormalization": ("Multiply", "Add"),
    "ReduceL2": ("Normalize", "Sum", "Square"),
    "MatMul": ("Transpose", "Static Reshape"),
    "Gemm": ("Multiply", "Add"),
    "Erf": ("Abs", "Multiply", "Add", "Divide", "Square", "Negate", "Exp", "Subtract", "Sign"),
}
#: Applied, or folded, by the kernel that made their input.
_JOINING = frozenset({"BatchNormalization", "Clip", "Relu"})
#: Points for a kernel of the operator, and for one more of the same.
_FIRST, _AGAIN = 10, 6


def aligned(names: Sequence[str], operators: Sequence[Operator]) -> list[list[Operator]]:
    """For each kernel the operators that it ran, first the one that it is called by; may be none.

    Kernels and operators are in the order of the graph, so that as many kernels as can be had are
    given to operators in order; of two equal ones the later. An activation or a normalisation
    without a kernel ran with the operator that made its input.
    """
    first, again = _table(names, operators, _NAMES), _table(names, operators, _MORE)
    found: list[list[Operator]] = [[] for _ in names]
    ran: dict[str, int] = {}
    for kernel, number in _path(first, again):
        found[kernel].append(operators[number])
        for name in operators[number].writes:
            ran.setdefault(name, kernel)
    owned = {id(operator) for each in found for operator in each}
    readers = Counter(name for operator in operators for name in operator.reads)
    for operator in operators:
        before = ran.get(operator.reads[0], -1) if len(operator.reads) == 1 else -1
        if id(operator) in owned or before < 0 or readers[operator.reads[0]] != 1:
            continue
        if operator.op_type in _JOINING:
            found[before].append(operator)
            ran.update(dict.fromkeys(operator.writes, before))
    return found


def _table(
    names: Sequence[str], operators: Sequence[Operator], called: dict[str, tuple[str, ...]]
) -> Mask:
    """Whether each kernel may be one of each operator's, shape (kernels, operators)."""
    plain = {name: _plain(name) for name in names}
    own = called is _NAMES
    fits: dict[tuple[str, str], bool] = {}
    for op_type in {operator.op_type for operator in operators}:
        beginnings = called.get(op_type, (op_type,) if own else ())
        wanted = tuple(map(_plain, beginnings))
        fits |= {(name, op_type): bool(wanted) and plain[name].startswith(wanted) for name in plain}
    rows = [[fits[name, operator.op_type] for operator in operators] for name in names]
    return np.array(rows, dtype=np.bool_).reshape(len(names), len(operators))


def _plain(name: str) -> str:
    """``Static Reshape (NC)`` as ``staticreshape(nc)``, ``RESIZE_NEAREST`` as ``resizenearest``."""
    return name.lower().replace(" ", "").replace("_", "")


def _path(first: Mask, again: Mask) -> list[tuple[int, int]]:
    """Kernels with their operators, by the alignment with the most points.

    An operator has one kernel of its own, and before and after it others that it may run as well.
    """
    kernels, operators = first.shape
    score = np.zeros((kernels + 1, operators + 1), dtype=np.int32)
    #: The same where the last kernels ran before that of the operator.
    before = np.full((kernels + 1, operators + 1), -_FIRST - _AGAIN, dtype=np.int32)
    for i in range(kernels):
        row = score[i].copy()
        own = np.maximum(score[i, :-1], before[i, 1:]) + _FIRST
        row[1:] = np.maximum(row[1:], np.where(first[i], own, 0))
        row[1:] = np.maximum(row[1:], np.where(again[i], score[i, 1:] + _AGAIN, 0))
        early = np.maximum(before[i, 1:], score[i, :-1]) + _AGAIN
        before[i + 1, 1:] = np.where(again[i], early, before[0, 1:])
        score[i + 1] = np.maximum.accumulate(row)
    found = []
    i, j, early_ones = kernels, operators, False
    while i and j:
        here = before[i, j] if early_ones else score[i, j]
        if early_ones or (again[i - 1, j - 1] and here == score[i - 1, j] + _AGAIN):
            i -= 1
            found.append((i, j - 1))
            if early_ones and here != before[i, j] + _AGAIN:
                j, early_ones = j - 1, False
        elif first[i - 1, j - 1] and here == before[i - 1, j] + _FIRST:
            i, early_ones = i - 1, True
            found.append((i, j - 1))
        elif first[i - 1, j - 1] and here == score[i - 1, j - 1] + _FIRST:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif here == score[i, j - 1]:
            j -= 1
        else:
            i -= 1
    return found[::-1]
