"""Measuring one network now, and each of its kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from latprof.common.extras import needs
from latprof.workflows.arguments import (
    Inputs,
    NetworkLike,
    OnNote,
    PathLike,
    RunArguments,
    Shapes,
    network_of,
    now_and_then,
    run_options,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.profilers.profiling import Profile


@needs("collect", "scipy")
def profile(
    network: NetworkLike,
    target: str = "cpu:onnxruntime",
    *,
    space: SearchSpace | None = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    kernels: bool = True,
    visits: int = 8,
    timeout_s: float = 300.0,
    trace: PathLike | None = None,
    on_note: OnNote | None = None,
    **run: Unpack[RunArguments],
) -> Profile:
    """Measure one network now, and each of its kernels.

    Kernels are what the runtime really ran after fusion. Their sum is compared with the end-to-end
    latency; the gap is the runtime's own work between them.

    Parameters
    ----------
    network : path, Architecture or str
        An ONNX file, or an architecture: its spelling with the space before a colon.
    target : str
        What to measure on; :func:`latprof.devices` lists the spellings.
    space : SearchSpace, optional
        The architecture's space, where it is not the one of :func:`latprof.get_space`.
    shapes : mapping of str to sequence of int, optional
        Shapes of the model's inputs whose own are dynamic.
    inputs : mapping of str to path, optional
        NumPy files (``.npy``) with the values of the model's inputs, by name.
    kernels : bool
        Also time the kernels.
    visits : int
        Fresh loads of the network.
    timeout_s : float
        Longest time for one visit, in seconds.
    trace : path, optional
        Write a Chrome trace there, which opens in Perfetto.
    on_note : callable, optional
        Called with what the target's profiler cautions against.
    **run
        How the network runs (:class:`~latprof.workflows.arguments.RunArguments`).

    Raises
    ------
    UsageError, InputFileError
        For what cannot be measured.
    UnsupportedModelError, RuntimeFailedError, MeasurementTimeoutError
        Where the runtime refuses the network, or every visit failed.
    """
    from latprof.common.files import check_output
    from latprof.datasets.spaces.base import Architecture
    from latprof.errors import UsageError
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.profiling import profile as measure

    if trace is not None:
        if not kernels:
            raise UsageError("`trace` needs `kernels`", field="trace")
        check_output(trace)
    asked = network if isinstance(network, Architecture) else network_of(network)
    measured = measure(
        asked[1] if isinstance(asked, tuple) else asked,
        target,
        space=space,
        options=run_options(target, run, on_note),
        shapes=shapes or None,
        inputs=inputs or None,
        protocol=PairedProtocol(visits=visits),
        kernels=kernels,
        timeout_s=timeout_s,
        on_wait=now_and_then(on_note),
    )
    if trace is not None:
        from latprof.reports.trace import write_trace

        write_trace(measured, trace)
    return measured
