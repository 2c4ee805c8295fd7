"""Measure one network now: the campaign's protocol without a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.common.html_parts import html_table
from latprof.common.short_reprs import ShortRepr
from latprof.datasets.spaces.base import Architecture, SearchSpace
from latprof.datasets.spaces.named import get_space
from latprof.errors import (
    DeviceError,
    DynamicShapeError,
    LatprofError,
    MeasurementTimeoutError,
    ModelFileError,
    RuntimeFailedError,
    UnsupportedModelError,
)
from latprof.measurement.records import (
    Failure,
    KernelProfile,
    KernelTime,
    PairedProtocol,
    PairedSamples,
    Target,
)
from latprof.measurement.statistics import (
    combine_visits,
    counted_runs,
    quiet_kernels,
    quiet_reference_ms,
    raw_median_ms,
    visit_ratio,
    visit_ratios,
)
from latprof.profilers.base import RunOptions
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measurer import undisturbed_visit
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S, RemoteBench
from latprof.profilers.visits.network_source import (
    Network,
    check_batch_size_of_models,
    reference_network,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from latprof.profilers.visits.measurer import Measurer

#: Measuring processes that share the visits of one profile. One network alone cannot tell what a
#: process does to all (:mod:`latprof.measurement.process_effects`); several processes bear it.
_PROCESSES = 4
#: What a failure becomes where there is no row to keep it in.
_ERRORS: dict[str, type[LatprofError]] = {
    error.code: error
    for error in (
        DeviceError,
        UnsupportedModelError,
        MeasurementTimeoutError,
        ModelFileError,
        DynamicShapeError,
    )
}


@dataclass(frozen=True, repr=False)
class Profile(ShortRepr):
    """One network's measurement.

    ``latency_ms`` is ``ratio`` times ``reference_ms``, the quiet-state latency of the reference
    network in this very measurement; ``samples`` are all raw runs, one entry a visit, and
    ``processes`` numbers the process that made each. ``without_kernels`` says why there are no
    kernels where they were asked for and the runtime has no times of single kernels.
    """

    name: str
    target: Target
    reference: str
    reference_ms: float
    ratio: float
    samples: tuple[PairedSamples, ...]
    processes: tuple[int, ...]
    kernel_profile: KernelProfile | None = None
    without_kernels: str = ""

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
    def process_ratios(self) -> NDArray[np.float64]:
        """The mean ratio of each process, shape (processes,)."""
        _, process = np.unique(self.processes, return_inverse=True)
        sums = np.bincount(process, visit_ratios(self.samples)).astype(np.float64)
        means: NDArray[np.float64] = sums / np.bincount(process)
        return means

    @property
    def kernels(self) -> tuple[KernelTime, ...]:
        """The kernels of one run in order, in quiet-state milliseconds; empty if not asked for."""
        found = self.kernel_profile
        return () if found is None else quiet_kernels(found, self.reference_ms)

    @property
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
        return (visit_ratio(self.kernel_profile.samples) - self.ratio) * self.reference_ms

    @property
    def raw_median_ms(self) -> float:
        """The median of all counted runs, without pairing."""
        return float(np.median([raw_median_ms(samples) for samples in self.samples]))

    def _repr_html_(self) -> str:
        rows = [
            ("latency", f"{self.latency_ms:.3f} ms"),
            ("standard error", f"{self.relative_error:.2%}"),
            ("visits", len(self.samples)),
            ("target", self.target.describe()),
            ("reference network", f"{self.reference}, {self.reference_ms:.3f} ms"),
        ]
        kernels = sorted(self.kernels, key=lambda kernel: -kernel.latency_ms)
        rows += [(f"kernel {each.name}", f"{each.latency_ms:.3f} ms") for each in kernels[:10]]
        if len(kernels) > 10:
            rest = sum(each.latency_ms for each in kernels[10:])
            rows.append((f"{len(kernels) - 10} more kernels", f"{rest:.3f} ms"))
        return html_table(self.name, rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the profile without its raw runs as plain JSON values."""
        return {
            "network": self.name,
            "target": self.target.to_dict(),
            "latency_ms": self.latency_ms,
            "relative_error": self.relative_error,
            "raw_median_ms": self.raw_median_ms,
            "reference": self.reference,
            "reference_ms": self.reference_ms,
            "kernel_sum_ms": self.kernel_sum_ms,
            "gap_ms": self.gap_ms,
            "profiling_overhead_ms": self.profiling_overhead_ms,
            "without_kernels": self.without_kernels or None,
            "kernels": [
                {
                    "name": kernel.name,
                    "kind": kernel.kind,
                    "latency_ms": kernel.latency_ms,
                    "operators": list(kernel.operators),
                    "input_shapes": [list(shape) for shape in kernel.input_shapes],
                    "output_shapes": [list(shape) for shape in kernel.output_shapes],
                }
                for kernel in self.kernels
            ],
        }


def profile(
    network: Architecture | str | Path,
    target: str = "cpu:onnxruntime",
    *,
    space: SearchSpace | None = None,
    options: RunOptions | None = None,
    shapes: Mapping[str | None, Sequence[int]] | None = None,
    protocol: PairedProtocol | None = None,
    kernels: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
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
    protocol : PairedProtocol, optional
    kernels : bool
        Also time the kernels.
    timeout_s : float
        Longest time for one visit.

    Raises
    ------
    ModelFileError, DynamicShapeError, UnknownNameError, InvalidValueError, UsageError
        For what cannot be measured.
    UnsupportedModelError, RuntimeFailedError, MeasurementTimeoutError
        When the runtime refuses the network, or every visit failed.
    """
    protocol = protocol or PairedProtocol()
    options = options or RunOptions()
    batch_size = options.batch_size
    if isinstance(network, Architecture):
        space = space or get_space(network.space)
        source = Network.of_architecture(space, network)
        image = space.common_image_shape
        shape = None if image is None else (batch_size, *image)
        reference_name, reference = reference_network(space.reference_resolution)
    else:
        check_batch_size_of_models(batch_size)
        source, shape = Network.of_model(network, shapes), None
        reference_name, reference = reference_network()
    identity = profiler_class(target)(options).target(shape)

    def bench(reference_runs: int | None) -> RemoteBench:
        return RemoteBench(target, options, reference, protocol, timeout_s, reference_runs)

    samples, processes, found = _visit(bench, source, protocol, kernels=kernels)
    return Profile(
        name=source.subject.name,
        target=identity,
        reference=reference_name,
        reference_ms=quiet_reference_ms(
            [burst[visit.dropped_runs :] for visit in samples for burst in visit.reference]
        ),
        ratio=combine_visits(visit_ratios(samples)),
        samples=tuple(samples),
        processes=tuple(processes),
        kernel_profile=found if isinstance(found, KernelProfile) else None,
        without_kernels=found.message if isinstance(found, Failure) else "",
    )


def _visit(
    bench: Callable[[int | None], Measurer],
    source: Network,
    protocol: PairedProtocol,
    *,
    kernels: bool,
) -> tuple[list[PairedSamples], list[int], KernelProfile | Failure | None]:
    samples: list[PairedSamples] = []
    processes: list[int] = []
    kernel_profile: KernelProfile | Failure | None = None
    failure = None
    for part in range(min(_PROCESSES, protocol.visits)):
        # All processes run the reference as often as the first, so that they compare.
        with bench(counted_runs(samples[0])[1] if samples else None) as measurer:
            for _ in range(part, protocol.visits, _PROCESSES):
                visit = undisturbed_visit(measurer, source, protocol)
                if visit.samples is not None:
                    samples.append(visit.samples)
                    processes.append(part)
                    continue
                failure = visit.failure
                break
            if kernels and kernel_profile is None and samples:
                kernel_profile = measurer.profile(source)
                if isinstance(kernel_profile, Failure) and kernel_profile.code != DeviceError.code:
                    raise RuntimeFailedError(kernel_profile.message)
    if not samples:
        assert failure is not None
        raise _ERRORS.get(failure.code, RuntimeFailedError)(failure.message)
    return samples, processes, kernel_profile
