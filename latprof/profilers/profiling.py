"""Measure one network now: the campaign's protocol without a store."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.framed import Framed
from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.datasets.spaces.named import get_space
from latprof.errors import EXIT_OK, EXIT_PARTIAL, DeviceError
from latprof.measurement.quiet.busy import busy_share, needs_more, refuse_too_busy
from latprof.measurement.quiet.finding import Moment, find_constant
from latprof.measurement.records import (
    KernelProfile,
    KernelTime,
    PairedProtocol,
    PairedSamples,
    Target,
)
from latprof.measurement.statistics import (
    INTERVAL_COVERAGE,
    combine_visits,
    interval_around,
    quiet_kernels,
    quiet_run_ms,
    raw_median_ms,
    reference_drift,
    relative_half_width,
    visit_ratio,
    visit_ratios,
)
from latprof.measurement.visits import Failure, VisitCounts
from latprof.profilers.base import RunOptions
from latprof.profilers.host.host_report import HostReport
from latprof.profilers.sessions.load_figures import LoadFigures
from latprof.profilers.sessions.percentiles import RawPercentiles
from latprof.profilers.sessions.session_process import load_figures
from latprof.profilers.targets import check_formats, profiler_class
from latprof.profilers.visits.measurers import measurers
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S
from latprof.profilers.visits.model_files.models import Costs
from latprof.profilers.visits.network_source import (
    NetworkSource,
    PathLike,
    check_batch_size_of_models,
    reference_network,
)
from latprof.profilers.visits.schedule import PlannedVisit, Schedule
from latprof.profilers.watching import Watch, settled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.measurement.quiet.target_constant import Constant
    from latprof.profilers.visits.measurer import Measurer
    from latprof.profilers.visits.schedule import MadeVisit

#: Measuring processes that share the visits of one profile. The bias of a process
#: (:mod:`latprof.measurement.process_effects`) cannot be estimated from one network; several
#: processes average it out.
_PROCESSES = 4


@dataclass(frozen=True, repr=False)
class Profile(ShortRepr, Framed):
    """One network's measurement.

    ``latency_ms`` is ``ratio`` times ``reference_ms``, the quiet-state latency of the reference
    network that the visits were made against; ``constant`` says how that was found. ``samples`` are
    all raw runs, one entry a visit, and ``processes`` numbers the process that made each.
    ``visits`` says what became of the visits that were planned: those that failed are not in
    ``samples``. ``costs`` is what is known of the network without running it. ``without_kernels``
    says why there are no kernels where they were asked for and the runtime does not report them.
    ``load`` says what else the network costs, and ``host`` what spoke against the numbers.
    """

    name: str
    target: Target
    reference: str
    constant: Constant
    ratio: float
    samples: tuple[PairedSamples, ...]
    processes: tuple[int, ...]
    visits: VisitCounts
    costs: Costs
    kernel_profile: KernelProfile | None = None
    without_kernels: str = ""
    load: LoadFigures = field(default_factory=LoadFigures)
    host: HostReport = field(default_factory=HostReport)

    @property
    def reference_ms(self) -> float:
        """The reference's latency on the quiet host, in ms."""
        return self.constant.reference_ms

    @property
    def latency_ms(self) -> float:
        """The latency in milliseconds."""
        return self.ratio * self.reference_ms

    @property
    def relative_error(self) -> float:
        """Standard error of ``latency_ms`` as a fraction, from the spread of the processes.

        Visits of one process share its bias, so its mean is one value. NaN for a single process.
        """
        means = self.process_ratios
        if len(means) < 2:
            return float("nan")
        return float(means.std(ddof=1) / np.sqrt(len(means)) / means.mean())

    @property
    def interval_ms(self) -> tuple[float, float]:
        """The 90 % interval around ``latency_ms``; NaN for a single visit.

        Wider where the host was busy: by the constant's doubt, and by what a memory hog may do.
        """
        half = self.constant.widened(self.host.widened(self.relative_half_width))
        low, high = interval_around(self.latency_ms, half)
        return float(low), float(high)

    @property
    def process_ratios(self) -> NDArray[np.float64]:
        """The mean ratio of each process, shape (processes,)."""
        return process_ratios(self.samples, self.processes)

    @property
    def relative_half_width(self) -> float:
        """Half of the 90 % interval around ``latency_ms`` on logarithms; NaN for one visit."""
        return half_width_of(self.samples, self.processes)

    @cached_property
    def kernels(self) -> tuple[KernelTime, ...]:
        """The kernels of one run in order, in quiet-state milliseconds; empty if not asked for."""
        found = self.kernel_profile
        return () if found is None else quiet_kernels(found, self.reference_ms, self.profiled_ratio)

    @property
    def profiled_ratio(self) -> float:
        """The network's ratio while the runtime's profiler was on; NaN without a kernel profile.

        Where the reference moved meanwhile, by the clock: the runs with the profiler over those of
        the visits, the lower quartile of each. The profiler makes no run shorter.
        """
        if self.kernel_profile is None:
            return float("nan")
        samples = self.kernel_profile.samples
        found = visit_ratio(samples)
        if reference_drift(samples) > PairedProtocol().max_drift:
            plain = [quiet_run_ms(each) for each in self.samples]
            found = self.ratio * quiet_run_ms(samples) / float(np.median(plain))
        return max(found, self.ratio)

    @cached_property
    def kernel_sum_ms(self) -> float:
        """Sum of the kernels' times."""
        return sum(kernel.latency_ms for kernel in self.kernels)

    @property
    def gap_ms(self) -> float:
        """What the latency holds beyond the kernels: the runtime's own work between them."""
        return self.latency_ms - self.kernel_sum_ms

    @property
    def profiling_overhead_ms(self) -> float:
        """By how much the runtime's profiler made a run longer; NaN without a kernel profile."""
        if self.kernel_profile is None:
            return float("nan")
        return (self.profiled_ratio - self.ratio) * self.reference_ms

    @property
    def raw_median_ms(self) -> float:
        """The median of all counted runs, without pairing."""
        return float(np.median([raw_median_ms(samples) for samples in self.samples]))

    @property
    def raw_percentiles(self) -> RawPercentiles:
        """Percentiles of all counted runs, without pairing: what was felt on this host.

        Of none where only averages of runs are known.
        """
        if self.target.tells_averages:
            return RawPercentiles.of(())
        bursts = [burst[s.dropped_runs :] for s in self.samples for burst in s.target]
        return RawPercentiles.of([ms for burst in bursts for ms in burst])

    @property
    def exit_status(self) -> int:
        """5 where visits failed and are missing, else 0."""
        return EXIT_PARTIAL if self.visits.failed else EXIT_OK

    def _repr_html_(self) -> str:
        rows = [
            ("latency", f"{self.latency_ms:.3f} ms"),
            (f"{INTERVAL_COVERAGE:.0%} interval", "{:.3f} to {:.3f} ms".format(*self.interval_ms)),
            ("host", self.host.describe()),
            ("visits", f"{self.visits.made} measured, {self.visits.failed} failed"),
            ("target", self.target.describe()),
            ("costs", self.costs.describe()),
            ("reference network", f"{self.reference}, {self.reference_ms:.3f} ms"),
        ]
        kernels = sorted(self.kernels, key=lambda kernel: -kernel.latency_ms)
        rows += [(f"kernel {each.name}", f"{each.latency_ms:.3f} ms") for each in kernels[:10]]
        if len(kernels) > 10:
            rest = sum(each.latency_ms for each in kernels[10:])
            more = f"{len(kernels) - 10} more kernel{'s' * (len(kernels) > 11)}"
            rows.append((more, f"{rest:.3f} ms"))
        return html_table(self.name, rows)

    def frame_rows(self) -> list[dict[str, Any]]:
        """A row a kernel, in the order they ran."""
        return [kernel.to_dict() for kernel in self.kernels]

    def to_dict(self) -> dict[str, Any]:
        """Return the profile without its raw runs as plain JSON values."""
        return {
            "network": self.name,
            "target": self.target.to_dict(),
            "macs": self.costs.macs,
            "parameters": self.costs.parameters,
            "costs_unknown": self.costs.unknown or None,
            "latency_ms": self.latency_ms,
            "low_ms": self.interval_ms[0],
            "high_ms": self.interval_ms[1],
            "interval_coverage": INTERVAL_COVERAGE,
            "relative_error": self.relative_error,
            "host": self.host.to_dict(),
            **self.visits.to_dict(),
            "raw_median_ms": self.raw_median_ms,
            **self.raw_percentiles.to_dict(),
            **self.load.to_dict(),
            "reference": self.reference,
            "reference_ms": self.reference_ms,
            "constant": self.constant.to_dict(),
            "kernel_sum_ms": self.kernel_sum_ms,
            "gap_ms": self.gap_ms,
            "profiling_overhead_ms": self.profiling_overhead_ms,
            "without_kernels": self.without_kernels or None,
            "kernels": [kernel.to_dict() for kernel in self.kernels],
        }


def profile(  # noqa: PLR0913 - what a measurement needs is named here
    network: Architecture | str | Path,
    target: str = "cpu:onnxruntime",
    *,
    space: SearchSpace | None = None,
    options: RunOptions | None = None,
    shapes: Mapping[str | None, Sequence[int]] | None = None,
    inputs: Mapping[str, PathLike] | None = None,
    protocol: PairedProtocol | None = None,
    kernels: bool = False,
    loading: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    watch: Watch | None = None,
) -> Profile:
    """Measure one network with the paired protocol, in processes of its own.

    Parameters
    ----------
    network : Architecture, str or Path
        An architecture, or the path of an ONNX file.
    target : str
        A target's short spelling; see ``latprof devices``.
    space : SearchSpace, optional
        The architecture's space, where it was made with options.
    options : RunOptions, optional
        How it runs: images a run (of architectures), threads, precision, the runtime's mode.
    shapes : mapping of str to sequence of int, optional
        Shapes of a model's inputs whose own are dynamic.
    inputs : mapping of str to path, optional
        NumPy files with the values of a model's inputs.
    protocol : PairedProtocol, optional
        Where it has a ``half_width``, as many visits again are made until half of the 90 % interval
        is that narrow, or its most are made.
    kernels : bool
        Also time the kernels.
    loading : bool
        Also load the network in a fresh process, for the time and the memory that this takes.
    timeout_s : float
        Longest time for one visit.
    watch : Watch, optional
        What is asked of the host, and who is told of progress.

    Raises
    ------
    ModelFileError, DynamicShapeError, UnknownNameError, InvalidValueError, UsageError
        For what cannot be measured.
    HostBusyError
        Where others preempt so many runs that the visits agree on no number.
    DeviceError, MeasurementTimeoutError
        When the runtime refuses the network, or no visit could be made.
    HostBusyError
        When a quiet host is required and this one is not.
    """
    protocol = protocol or PairedProtocol()
    options = options or RunOptions()
    batch_size = options.batch_size
    if isinstance(network, Architecture):
        space = space or get_space(network.space)
        source = NetworkSource.of_architecture(space, network)
        image = space.common_image_shape
        shape = None if image is None else (batch_size, *image)
        reference_name, reference = reference_network(space.reference_resolution)
        costs = Costs(
            batch_size, shape, batch_size * space.macs(network), space.parameters(network)
        )
    else:
        check_batch_size_of_models(batch_size)
        source = NetworkSource.of_model(network, shapes, inputs)
        reference_name, reference = reference_network()
        assert source.costs is not None
        costs = source.costs
    check_formats(target, [source.path])
    profiler = profiler_class(target)(options)
    identity = profiler.target(costs.input_shape)
    if costs.batch_size is not None:
        identity = dataclasses.replace(identity, batch_size=costs.batch_size)
    watch = watch or Watch()
    checks = watch.before(profiler)
    with measurers(
        target, options, reference, protocol, timeout_s=timeout_s, on_wait=watch.on_wait
    ) as make_measurer:
        schedule = Schedule(make_measurer, protocol, on_visit=watch.on_visit)
        made, found = _measure(schedule, source, protocol, kernels=kernels)
    samples = tuple(visit.samples for visit in made)
    visits = [each.visit for each in made]
    figured = loading and profiler.runs_here
    reference_name = samples[0].reference_name or reference_name
    constant = find_constant([Moment.of(each.samples, each.conditions) for each in made])
    return Profile(
        name=source.subject.name,
        target=identity,
        reference=reference_name,
        constant=settled(profiler, reference_name, constant, watch.on_note),
        ratio=combine_visits(visit_ratios(samples)),
        samples=samples,
        processes=tuple(visit.process for visit in made),
        visits=schedule.counts(),
        costs=costs,
        kernel_profile=found if isinstance(found, KernelProfile) else None,
        without_kernels=found.message if isinstance(found, Failure) else "",
        load=load_figures(target, options, source, timeout_s) if figured else LoadFigures(),
        host=watch.after(profiler, checks, visits, schedule.counts()),
    )


def _measure(
    schedule: Schedule, source: NetworkSource, protocol: PairedProtocol, *, kernels: bool
) -> tuple[list[MadeVisit], KernelProfile | Failure | None]:
    """Visits until there are enough, a round of ``protocol.visits`` at a time, and the kernels."""
    made: list[MadeVisit] = []
    found: KernelProfile | Failure | None = None

    def time_kernels(measurer: Measurer) -> None:
        nonlocal found
        if kernels and found is None and schedule.made:
            found = schedule.time_kernels(measurer, source)
            if isinstance(found, Failure) and found.code != DeviceError.code:
                raise found.error()

    planned, half_width = 0, math.nan
    while not schedule.given_up:
        share = busy_share([visit.samples for visit in made])
        if protocol.enough(planned, half_width) and (
            protocol.half_width or not needs_more(planned, protocol.visits, half_width, share)
        ):
            break
        stop = planned + protocol.visits
        if planned < protocol.most_visits:
            stop = min(stop, protocol.most_visits)
        visits = [PlannedVisit(source, 0, number) for number in range(planned, stop)]
        made += schedule.measure(visits, min(_PROCESSES, len(visits)), time_kernels)
        half_width = half_width_of([m.samples for m in made], [m.process for m in made])
        planned = stop
    refuse_too_busy(half_width, busy_share([visit.samples for visit in made]))
    return made, found


def process_ratios(
    samples: Sequence[PairedSamples], processes: Sequence[int]
) -> NDArray[np.float64]:
    """The mean ratio of each process over its visits, shape (processes,)."""
    _, process = np.unique(processes, return_inverse=True)
    sums = np.bincount(process, visit_ratios(samples)).astype(np.float64)
    means: NDArray[np.float64] = sums / np.bincount(process)
    return means


def half_width_of(samples: Sequence[PairedSamples], processes: Sequence[int]) -> float:
    """From the means of the processes; from the visits where one process made them all."""
    means = process_ratios(samples, processes)
    return float(relative_half_width(means if len(means) > 1 else visit_ratios(samples)))
