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
from latprof.graph.reader import read_network
from latprof.measurement.records import KernelTime
from latprof.profilers.runtimes.kernel_events import DELEGATE_OPERATOR_EVENT, OPERATOR_EVENT
from latprof.profilers.runtimes.xnnpack_alignment import aligned

if TYPE_CHECKING:
    from latprof.graph.model_file import ModelSource
    from latprof.graph.operators import Operator
    from latprof.profilers.runtimes.kernel_events import KernelEvent

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
        raise RuntimeFailedError(
            "LiteRT's profile does not hold the same kernels in every run",
            hint="run the same command again",
        )
    times = np.median([[event.duration_us for event in run] for run in kernels], axis=0)
    times = np.maximum(times, _LEAST_US) / 1000
    operators = aligned(names, _operators(model))
    return [
        _kernel(position, name, float(ms), ran)
        for position, (name, ms, ran) in enumerate(zip(names, times, operators, strict=True))
    ]


def _is_kernel(event: KernelEvent) -> bool:
    """Whether this is a kernel, of XNNPACK or LiteRT, and not XNNPACK as a whole."""
    own = event.kind == OPERATOR_EVENT and "delegate" not in event.name.lower()
    return own or event.kind == DELEGATE_OPERATOR_EVENT


def _operators(model: ModelSource | None) -> Sequence[Operator]:
    if model is None:
        return ()
    try:
        return read_network(model).operators
    except LatprofError:  # it runs, though its operators cannot be told
        return ()


def _kernel(position: int, name: str, ms: float, ran: Sequence[Operator]) -> KernelTime:
    if not ran:
        words = _WORD.findall(name.lower())
        return KernelTime(position, words[0] if words else "kernel", name, (), ms)
    most = max(ran, key=lambda operator: operator.macs)
    return KernelTime(
        position,
        most.kind,
        f"{most.name}.{name}",
        tuple(operator.name for operator in ran),
        ms,
        most.input_shapes,
        most.output_shapes,
    )
