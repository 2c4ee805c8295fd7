"""Measuring one network now, and each of its kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from latprof.common.extras import needs
from latprof.common.limits import whole
from latprof.workflows.arguments import (
    Inputs,
    NetworkLike,
    OnNote,
    PathLike,
    RunArguments,
    Shapes,
    SpaceLike,
    batched_shapes,
    network_of,
    protocol_of,
    quiet_of,
    run_options,
    space_of,
    watch_of,
)

if TYPE_CHECKING:
    from latprof.profilers.profiling import Profile
    from latprof.profilers.visits.schedule import OnVisit


@needs("collect", "scipy")
def profile(
    network: NetworkLike,
    target: str = "cpu:onnxruntime",
    *,
    space: SpaceLike | None = None,
    shapes: Shapes = None,
    inputs: Inputs = None,
    kernels: bool = True,
    visits: int = 8,
    half_width: float | None = None,
    max_visits: int | None = None,
    timeout_s: float = 300.0,
    trace: PathLike | None = None,
    annotated: PathLike | None = None,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    on_progress: OnVisit | None = None,
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
    space : SearchSpace or str, optional
        The architecture's space, where its name does not say it: one of your own, or with options.
        ``network`` may then leave the space's name out.
    shapes : mapping of str to sequence of int, optional
        Shapes of the model's inputs whose own are dynamic.
    inputs : mapping of str to path, optional
        NumPy files (``.npy``) with the values of the model's inputs, by name.
    kernels : bool
        Also time the kernels.
    visits : int
        Fresh loads of the network.
    half_width : float, optional
        Confidence half-width as a share of the latency: as many visits again are made until half of
        the 90 % interval is this narrow.
    max_visits : int, optional
        With ``half_width``: most fresh loads (64, or ``visits``).
    timeout_s : float
        Longest time for one visit, in seconds.
    trace : path, optional
        Write a Chrome trace there, which opens in Perfetto.
    annotated : path, optional
        Write a copy of the ONNX file there, with the kernels' times in the metadata of its nodes,
        which Netron shows.
    wait_quiet_s : float, optional
        Wait at most so long for a quiet host, in seconds.
    require_quiet : bool
        Give no number where the host is busy.
    on_progress : callable, optional
        Called after every visit.
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
    HostBusyError
        Where a quiet host is required and this one is busy.
    """
    from latprof.common.files import check_output
    from latprof.datasets.spaces.base import Architecture
    from latprof.errors import UsageError
    from latprof.profilers.profiling import profile as measure

    values = inputs.values() if isinstance(inputs, Mapping) else ()
    named: list[PathLike] = []
    for path, word in ((trace, "trace"), (annotated, "annotated")):
        if path is not None:
            if not kernels:
                raise UsageError(f"`{word}` needs `kernels`", field=word)
            check_output(path, others=(network, *values, *named))
            named.append(path)
    quiet = quiet_of(wait_quiet_s, require_quiet=require_quiet)
    batch_size = run.get("batch_size", 1)
    whole(1, 1 << 20).check("batch_size", batch_size)
    own = space_of(space)
    asked = network if isinstance(network, Architecture) else network_of(network, own)
    if annotated is not None and not (isinstance(asked, Path) and asked.suffix == ".onnx"):
        raise UsageError("`annotated` is for an ONNX file", field="annotated")
    if isinstance(asked, Path) and batch_size != 1:
        shapes, run = batched_shapes(asked, shapes, batch_size), {**run, "batch_size": 1}
    measured = measure(
        asked[1] if isinstance(asked, tuple) else asked,
        target,
        space=own or (asked[0] if isinstance(asked, tuple) else None),
        options=run_options(target, run, on_note),
        shapes=shapes or None,
        inputs=inputs or None,
        protocol=protocol_of(visits, half_width, max_visits),
        kernels=kernels,
        loading=True,
        timeout_s=timeout_s,
        watch=watch_of(quiet, on_progress, on_note),
    )
    if half_width and measured.relative_half_width > half_width and on_note is not None:
        on_note(
            f"the visits' interval reaches {measured.relative_half_width:.2%} to either side, not "
            f"{half_width:.2%}: --max-visits allows more"
        )
    if trace is not None:
        from latprof.reports.trace import write_trace

        write_trace(measured, trace)
    if annotated is not None and isinstance(asked, Path):
        from latprof.reports.annotated_model import write_annotated

        caution = write_annotated(measured, asked, annotated)
        if caution and on_note is not None:
            on_note(caution)
    return measured
