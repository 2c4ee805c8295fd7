"""XNNPACK's kernels as LiteRT's profiler names them, each with the operators of the graph it ran.

The profiler tells kernels in the order of the graph, by names such as ``Convolution (NHWC, F32)
DWConv``, and no operators. Both sequences are aligned by what a kernel can be, and
the names joined. Operators that XNNPACK did not take are LiteRT's own, by names such as ``GATHER``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from latprof.errors import LatprofError, RuntimeFailedError
from latprof.graph.fusion import fuse
from latprof.graph.reader import read_network
from latprof.measurement.records import KernelTime
from latprof.profilers.runtimes.kernel_events import DELEGATE_OPERATOR_EVENT, OPERATOR_EVENT

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Operator
    from latprof.profilers.runtimes.kernel_events import KernelEvent

#: What an operator of the graph, by its type, may be called by XNNPACK: how the name begins.
_PRODUCTS = ("Convolution", "Fully Connected", "Batch Matrix Multiply", "Deconvolution")
_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _PRODUCTS),
    **dict.fromkeys(
        ("GlobalAveragePool", "AveragePool", "ReduceMean"), ("Mean", "Average", "Glob")
    ),
    "MaxPool": ("Max Pooling",),
    "Add": ("Add",),
    "Sub": ("Subtract",),
    "Mul": ("Multiply",),
    "Div": ("Divide",),
    "HardSwish": ("HardSwish",),
    "Sigmoid": ("Sigmoid",),
    "Softmax": ("Softmax",),
    "Concat": ("Concat", "Copy"),
    "Clip": ("Clamp",),
    "Relu": ("Clamp",),
}
#: What the profiler tells as 0 microseconds took about half of one: no kernel takes no time.
_LEAST_US = 0.5
_WORD = re.compile(r"[a-z0-9]+")


def kernel_times(
    runs: Sequence[Sequence[KernelEvent]], model: ModelSource | None
) -> list[KernelTime]:
    """The kernels of one run in order, each with its median over the runs.

    Parameters
    ----------
    runs : sequence of sequence of KernelEvent
    model : bytes or path, optional
        The ONNX model, for operators and shapes; None where there is none.

    Raises
    ------
    RuntimeFailedError
        Where the runs have no kernels, or not the same.
    """
    kernels = [[*filter(_is_kernel, run)] or [*run] for run in runs]
    names = [event.name for event in kernels[0]] if kernels else []
    if not names or any([event.name for event in run] != names for run in kernels):
        raise RuntimeFailedError("LiteRT's profile does not hold the same kernels in every run")
    times = np.median([[event.duration_us for event in run] for run in kernels], axis=0)
    times = np.maximum(times, _LEAST_US) / 1000
    operators = _aligned(names, _operators(model))
    return [
        _kernel(position, name, float(ms), operator)
        for position, (name, ms, operator) in enumerate(zip(names, times, operators, strict=True))
    ]


def _is_kernel(event: KernelEvent) -> bool:
    """Whether this is a kernel, of XNNPACK or LiteRT, and not XNNPACK as a whole."""
    own = event.kind == OPERATOR_EVENT and "delegate" not in event.name.lower()
    return own or event.kind == DELEGATE_OPERATOR_EVENT


def _operators(model: ModelSource | None) -> Sequence[Operator]:
    if model is None:
        return ()
    try:
        return fuse(read_network(model)).operators
    except LatprofError:  # it runs, though its operators cannot be told
        return ()


def _kernel(position: int, name: str, ms: float, operator: Operator | None) -> KernelTime:
    if operator is None:
        words = _WORD.findall(name.lower())
        return KernelTime(position, words[0] if words else "kernel", name, (), ms)
    return KernelTime(
        position,
        operator.kind,
        f"{operator.name}.{name}",
        operator.parts or (operator.name,),
        ms,
        operator.input_shapes,
        operator.output_shapes,
    )


def _aligned(names: Sequence[str], operators: Sequence[Operator]) -> list[Operator | None]:
    """For each kernel its operator, as many as can be had in order; of two equal ones the later.

    An operator that becomes several kernels ends with the largest of them mostly: a scale after the
    arithmetic of its factor.
    """
    fits = np.array(
        [
            [name.startswith(_NAMES.get(o.op_type, (o.op_type,))) for o in operators]
            for name in names
        ],
        bool,
    ).reshape(len(names), len(operators))
    longest = np.zeros((len(names) + 1, len(operators) + 1), np.int32)
    for i, row in enumerate(fits, 1):
        for j, fit in enumerate(row, 1):
            longest[i, j] = (
                longest[i - 1, j - 1] + 1 if fit else max(longest[i - 1, j], longest[i, j - 1])
            )
    found: list[Operator | None] = [None] * len(names)
    i, j = longest.shape[0] - 1, longest.shape[1] - 1
    while i and j:
        if fits[i - 1, j - 1]:
            i, j = i - 1, j - 1
            found[i] = operators[j]
        elif longest[i - 1, j] >= longest[i, j - 1]:
            i -= 1
        else:
            j -= 1
    return found
