"""Measuring one network at several batch sizes, numbers of threads, and of concurrent sessions."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from latprof.common.cores import allowed_cores
from latprof.common.extras import needs
from latprof.common.limits import whole
from latprof.common.short_reprs import ShortRepr
from latprof.errors import UsageError
from latprof.workflows.arguments import (
    Inputs,
    NetworkLike,
    OnNote,
    PathLike,
    RuntimeArguments,
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
from latprof.workflows.report import check_page, write_page

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import SearchSpace
    from latprof.profilers.base import RunOptions
    from latprof.profilers.sessions.streams import StreamFigures
    from latprof.profilers.sweeping import Sweep
    from latprof.profilers.visits.network_source import NetworkSource
    from latprof.profilers.visits.schedule import OnVisit

#: Of a batch, and of threads or streams at once.
_MOST = 1 << 20


@dataclass(frozen=True, repr=False)
class SweepResult(ShortRepr):
    """What was measured, and the page and the pictures that were written of it."""

    sweep: Sweep
    page: Path | None = None
    pictures: tuple[Path, ...] = ()

    @property
    def exit_status(self) -> int:
        """5 where a point or visits failed, else 0."""
        return self.sweep.exit_status

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return self.sweep.to_dict() | {
            "page": None if self.page is None else str(self.page),
            "pictures": [str(path) for path in self.pictures],
        }


@needs("collect", "scipy")
def sweep(
    network: NetworkLike,
    target: str = "cpu:onnxruntime",
    *,
    space: SpaceLike | None = None,
    batch_sizes: Sequence[int] = (1,),
    threads: Sequence[int] = (1,),
    streams: Sequence[int] = (),
    shapes: Shapes = None,
    inputs: Inputs = None,
    visits: int = 8,
    half_width: float | None = None,
    max_visits: int | None = None,
    timeout_s: float = 300.0,
    output: PathLike | None = None,
    png: PathLike | None = None,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    on_progress: OnVisit | None = None,
    on_note: OnNote | None = None,
    **run: Unpack[RuntimeArguments],
) -> SweepResult:
    """Measure a network's latency and throughput at several settings, in one paired campaign.

    Parameters
    ----------
    network : path, Architecture or str
        An ONNX file, or an architecture: its spelling with the space before a colon.
    target : str
        What to measure on; :func:`latprof.devices` lists the spellings.
    space : SearchSpace or str, optional
        The architecture's space, where it is one of your own.
    batch_sizes : sequence of int
        Items a run. Of a model, the first dimension of each input of two or more is set.
    threads : sequence of int
        Threads inside an operator.
    streams : sequence of int
        Concurrent sessions, each in a process of its own: their throughput together, by the clock.
    shapes : mapping of str to sequence of int, optional
        Shapes of the model's inputs whose own are dynamic; the first dimension is the batch.
    inputs : mapping of str to path, optional
        NumPy files (``.npy``) with the values of the model's inputs; for one batch size.
    visits : int
        Fresh loads at each setting.
    half_width : float, optional
        Confidence half-width as a share of the latency: visits are added until half of each 90 %
        interval is this narrow.
    max_visits : int, optional
        With ``half_width``: most fresh loads (64, or ``visits``).
    timeout_s : float
        Longest time for one visit, in seconds.
    output, png : path, optional
        A page with the curves, and a folder for them as pictures.
    wait_quiet_s : float, optional
        Wait at most so long for a quiet host, in seconds.
    require_quiet : bool
        Give no number where the host is busy.
    on_progress : callable, optional
        Called after every visit.
    on_note : callable, optional
        Called with remarks.
    **run
        How the network runs: ``cores``, ``dtype``, ``mode``, ``tune_trials``
        (:class:`~latprof.workflows.arguments.RuntimeArguments`).

    Raises
    ------
    UsageError, InputFileError
        For what cannot be measured.
    UnsupportedModelError, RuntimeFailedError, MeasurementTimeoutError
        Where every setting failed.
    HostBusyError
        Where a quiet host is required and this one is busy.
    """
    from latprof.profilers.sweeping import sweep_network
    from latprof.profilers.targets import profiler_class

    batch_sizes, threads, streams = (
        _numbers(name, given)
        for name, given in (("batch_size", batch_sizes), ("threads", threads), ("streams", streams))
    )
    if not batch_sizes or not threads:
        raise UsageError("a sweep needs a batch size and a number of threads")
    values = inputs.values() if isinstance(inputs, Mapping) else ()
    check_page(output, png, (network, *values))
    say = on_note or (lambda _text: None)
    watch = watch_of(quiet_of(wait_quiet_s, require_quiet=require_quiet), on_progress, on_note)
    options = run_options(target, {**run, "batch_size": 1, "threads": threads[0]}, on_note)
    if streams and not profiler_class(target).runs_here:
        raise UsageError("`streams` are for targets of this computer", field="streams", got=target)
    cores = len(options.cores) or len(allowed_cores())
    with _sources(network, space_of(space), batch_sizes, shapes, inputs) as (name, sources):
        found = sweep_network(
            name,
            sources,
            threads,
            target,
            options,
            protocol=protocol_of(visits, half_width, max_visits),
            timeout_s=timeout_s,
            cores=cores,
            watch=watch,
        )
        if streams:
            asked = _Streams(target, options, streams, timeout_s, say)
            found = _with_streams(found, sources, asked)
    if output is None and png is None:
        return SweepResult(found)
    from latprof.reports.sweep_report import build_sweep_report

    written = write_page(build_sweep_report(found), output, png)
    return SweepResult(found, written.page, written.pictures)


def _numbers(name: str, given: Sequence[int]) -> tuple[int, ...]:
    for number in given:
        whole(1, _MOST).check(name, number)
    return tuple(sorted(set(given)))


@contextmanager
def _sources(
    network: NetworkLike,
    own: SearchSpace | None,
    batch_sizes: Sequence[int],
    shapes: Shapes,
    inputs: Inputs,
) -> Iterator[tuple[str, dict[int, NetworkSource]]]:
    """The network's name, and what is measured at each batch size."""
    from latprof.datasets.spaces.base import Architecture
    from latprof.profilers.visits.network_source import NetworkSource

    asked = network_of(network, own)
    if isinstance(asked, Path):
        if inputs and len(batch_sizes) > 1:
            raise UsageError("`inputs` hold one batch", field="inputs", hint="give one batch size")
        found = {
            batch: NetworkSource.of_model(asked, batched_shapes(asked, shapes, batch), inputs)
            for batch in batch_sizes
        }
        yield asked.name, found
        return
    if shapes or inputs:
        raise UsageError("`shapes` and `inputs` are for models", field="shapes")
    space, architecture = asked
    assert isinstance(architecture, Architecture)
    with tempfile.TemporaryDirectory(prefix="latprof-") as folder:
        found = {}
        for batch in batch_sizes:
            path = Path(folder) / f"batch-{batch}.onnx"
            path.write_bytes(space.onnx_bytes(architecture, batch_size=batch))
            source = NetworkSource.of_model(path)
            subject = dataclasses.replace(source.subject, name=f"{architecture} batch {batch}")
            found[batch] = dataclasses.replace(source, subject=subject)
        yield str(architecture), found


@dataclass(frozen=True)
class _Streams:
    target: str
    options: RunOptions
    numbers: Sequence[int]
    timeout_s: float
    say: Callable[[str], None]


def _with_streams(found: Sweep, sources: Mapping[int, NetworkSource], streams: _Streams) -> Sweep:
    """The sweep with the throughput of concurrent sessions at each point that could be measured."""
    from latprof.profilers.sessions.streams import MOST_STREAMS, measure_streams

    whole(1, MOST_STREAMS).check("streams", max(streams.numbers))
    measured: list[StreamFigures] = []
    points = [point for point in found.points if point.failure is None]
    for number, point in enumerate(points, 1):
        streams.say(
            f"running {', '.join(map(str, streams.numbers))} sessions at once: batch "
            f"{point.batch_size}, threads {point.threads} ({number} of {len(points)})"
        )
        measured += measure_streams(
            streams.target,
            dataclasses.replace(streams.options, threads=point.threads),
            sources[point.batch_size],
            point.batch_size,
            streams.numbers,
            cores=found.cores,
            timeout_s=streams.timeout_s,
        )
    return dataclasses.replace(found, streams=tuple(measured))
