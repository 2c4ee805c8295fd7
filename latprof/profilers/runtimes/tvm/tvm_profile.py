"""Kernel times in TVM's virtual machine, mapped to the graph's operators by the kernels' names.

A kernel is called by what was fused into it (``fused_conv2d3_add2_maximum1_minimum1``). Operators
keep their order, so the third convolution of a run is the graph's third convolution; its weights'
shape must agree. What cannot be told is left without operators, never guessed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import LatprofError, RuntimeFailedError
from latprof.graph.reader import read_network
from latprof.measurement.records import KernelTime

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Operator, Shape

#: Functions of the virtual machine itself: memory, checks of shapes.
_BUILT_IN = ("vm.builtin.", "vm.binding.", "ffi.", "runtime.")
#: What TVM calls the main part of each operator.
_ANCHORS: Mapping[str, str] = {
    "Conv": "conv2d",
    "ConvTranspose": "conv2d_transpose",
    "Gemm": "matmul",
    "MatMul": "matmul",
    "GlobalAveragePool": "mean",
    "ReduceMean": "mean",
    "AveragePool": "avg_pool2d",
    "MaxPool": "max_pool2d",
    "Concat": "concatenate",
    "Softmax": "softmax",
    "Flatten": "reshape",
    "Reshape": "reshape",
    "Transpose": "transpose",
    "Add": "add",
    "Mul": "multiply",
    "Clip": "maximum",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "clip",
}
#: Parts that come along with an operator's main one: a bias, the other limit.
_COMPANIONS: Mapping[str, tuple[str, ...]] = {
    "Conv": ("add",),
    "Gemm": ("add",),
    "Clip": ("minimum",),
}
_WEIGHTED = frozenset({"conv2d", "conv2d_transpose"})
_NUMBER = re.compile(r"\d+$")
_PARTS = sorted({*_ANCHORS.values(), "minimum"}, key=len, reverse=True)


@dataclass
class KernelClock:
    """Times every kernel of a run; :meth:`__call__` is what the virtual machine calls.

    ``runs`` holds one entry a run: (name, milliseconds) in order. ``shapes`` are the shapes of each
    kernel's arguments, its output last, from the first run.
    """

    runs: list[list[tuple[str, float]]] = field(default_factory=list)
    shapes: list[tuple[Shape, ...]] = field(default_factory=list)
    _start: int = 0

    def __call__(self, _func: Any, name: str, before: Any, _result: Any, *arguments: Any) -> int:
        """Start or stop the clock around one call; 0 lets the machine continue."""
        now = time.perf_counter_ns()
        if name.startswith(_BUILT_IN):
            return 0
        if before:
            if len(self.runs) == 1:
                found = [getattr(argument, "shape", None) for argument in arguments]
                self.shapes.append(tuple(tuple(map(int, s)) for s in found if s is not None))
            self._start = time.perf_counter_ns()
        else:
            self.runs[-1].append((name, (now - self._start) / 1e6))
        return 0


def kernel_times(
    clock: KernelClock, counted: Collection[int], model: ModelSource
) -> list[KernelTime]:
    """The kernels of one run in order, each the median over the counted runs.

    Raises RuntimeFailedError where a run is missing, or ran other kernels.
    """
    if not counted or max(counted) >= len(clock.runs):
        raise RuntimeFailedError("TVM's virtual machine did not report every run")
    runs = [clock.runs[number] for number in sorted(counted)]
    names = [name for name, _ in clock.runs[0]]
    if any([name for name, _ in run] != names for run in runs) or not names:
        raise RuntimeFailedError("TVM's virtual machine did not run the same kernels every time")
    times = np.median([[ms for _, ms in run] for run in runs], axis=0)
    try:
        operators = read_network(model).operators
    except LatprofError:  # TVM runs networks whose shapes we cannot tell
        operators = ()
    found = match_operators(names, clock.shapes, operators)
    return [
        _kernel(position, name, float(ms), shapes, covered)
        for position, (name, ms, shapes, covered) in enumerate(
            zip(names, times, clock.shapes, found, strict=True)
        )
    ]


def match_operators(
    names: Sequence[str], shapes: Sequence[Sequence[Shape]], operators: Sequence[Operator]
) -> list[tuple[Operator, ...]]:
    """The graph's operators in each kernel, in order; empty where they cannot be told.

    Parameters
    ----------
    names : sequence of str
        Kernels in the order they ran.
    shapes : sequence of sequence of Shape
        Shapes of each kernel's arguments.
    operators : sequence of Operator
        The graph's, in order.
    """
    left = list(operators)
    found: list[tuple[Operator, ...]] = []
    for name, arguments in zip(names, shapes, strict=True):
        covered = _covered(parts(name), arguments, left)
        for operator in covered:
            left.remove(operator)
        found.append(covered)
    return found


def parts(name: str) -> list[str]:
    """What was fused into a kernel: ``["conv2d", "add"]`` for ``"fused_conv2d12_add8"``."""
    rest = name.removeprefix("fused_")
    found = []
    while rest:
        match = re.match(rf"({'|'.join(_PARTS)})(\d*)(_|$)", rest)
        word = match[1] if match else _NUMBER.sub("", rest.split("_", 1)[0])
        found.append(word)
        rest = rest[match.end() :] if match else rest.partition("_")[2]
    return found


def _covered(
    words: list[str], arguments: Sequence[Shape], left: Sequence[Operator]
) -> tuple[Operator, ...]:
    """The operators that these parts are, none where one part is nobody's."""
    words = list(words)
    covered: list[Operator] = []
    for operator in left:
        if not words:
            break
        if _ANCHORS.get(operator.op_type) != words[0]:
            if covered:
                return ()
            continue
        if words[0] in _WEIGHTED and tuple(operator.weight_shape) not in arguments:
            return ()
        words.pop(0)
        for companion in _COMPANIONS.get(operator.op_type, ()):
            if words and words[0] == companion:
                words.pop(0)
        covered.append(operator)
    return tuple(covered) if not words else ()


def _kernel(
    position: int,
    name: str,
    latency_ms: float,
    shapes: tuple[Shape, ...],
    covered: tuple[Operator, ...],
) -> KernelTime:
    names = tuple(operator.name for operator in covered)
    return KernelTime(
        position=position,
        kind=covered[0].kind if covered else parts(name)[0],
        name=names[0] if names else name,
        operators=names,
        latency_ms=latency_ms,
        input_shapes=shapes[:-1],
        output_shapes=shapes[-1:],
    )
