"""Statistics of paired measurements: from raw runs to a latency, and how far to trust it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latprof.errors import InvalidValueError
from latprof.measurement.quiet.preemption import of_one_kind, paired_times

if TYPE_CHECKING:
    from latprof.measurement.records import KernelProfile, KernelTime, PairedSamples

Floats = NDArray[np.float64]

#: Of the interval around a label.
INTERVAL_COVERAGE = 0.9
#: By how much the larger of two rounds may count as larger.
ROUND_BOUND = 0.08
#: Of a network's profiled runs: what one takes in which nothing was interrupted.
QUIET_RUNS_QUANTILE = 0.25


def burst_medians(samples: PairedSamples) -> tuple[Floats, Floats]:
    """Own times in ms of target bursts, shape (r,), and reference bursts, shape (r + 1,).

    The median of a burst's counted runs. Where it is known what each was given: over runs of one
    kind on either side (:mod:`latprof.measurement.quiet.preemption`).
    """
    target, reference = (np.array(of_one_kind(side)) for side in paired_times(samples))
    return target, reference


def round_ratios(samples: PairedSamples) -> Floats:
    """Ratio of each target burst to the mean of the reference bursts around it, shape (r,).

    Over runs of one kind in all three (:mod:`latprof.measurement.quiet.preemption`).
    """
    target, reference = paired_times(samples)
    rounds = zip(target, reference, reference[1:], strict=False)
    own, before, after = np.array([of_one_kind(bursts) for bursts in rounds]).T
    ratios: Floats = own / ((before + after) / 2)
    return ratios


def visit_ratio(samples: PairedSamples) -> float:
    """The paired statistic of one visit: the median of its rounds' ratios.

    Two rounds have no middle. The larger then counts as at most :data:`ROUND_BOUND` above the
    smaller: an interrupt lengthens a run several times over, nothing shortens one.
    """
    ratios = round_ratios(samples)
    if len(ratios) == 2:
        ratios = np.minimum(ratios, ratios.min() * (1 + ROUND_BOUND))
    return _median(ratios.tolist())


def counted_runs(samples: PairedSamples) -> tuple[int, int]:
    """Counted runs of the shortest burst: of the target, and of the reference."""
    target, reference = (min(map(len, bursts)) for bursts in (samples.target, samples.reference))
    return target - samples.dropped_runs, reference - samples.dropped_runs


def cut_bursts(samples: PairedSamples, target_runs: int, reference_runs: int) -> PairedSamples:
    """The same visit with no more than so many counted runs in a burst, the first ones.

    A burst's later runs are faster (``python -m benchmarks.protocol`` says by how much), so visits
    compare only over the runs that all of them made. How many these are is found when a network is
    loaded, and near a limit it differs from load to load.
    """
    drop = samples.dropped_runs
    target, reference = drop + target_runs, drop + reference_runs
    return dataclasses.replace(
        samples,
        target=tuple(burst[:target] for burst in samples.target),
        reference=tuple(burst[:reference] for burst in samples.reference),
        target_usage=tuple(burst[:target] for burst in samples.target_usage),
        reference_usage=tuple(burst[:reference] for burst in samples.reference_usage),
    )


def visit_ratios(visits: Sequence[PairedSamples]) -> Floats:
    """Ratios of visits to one network, shape (n,), over the runs that all of them made."""
    if not visits:
        return np.empty(0)
    runs = [min(numbers) for numbers in zip(*map(counted_runs, visits), strict=True)]
    return np.array([visit_ratio(cut_bursts(samples, *runs)) for samples in visits])


def raw_median_ms(samples: PairedSamples) -> float:
    """Median of all counted runs of the target, in ms: the statistic without pairing."""
    drop = samples.dropped_runs
    return _median(itertools.chain.from_iterable(b[drop:] for b in samples.target))


def _median(values: Iterable[float]) -> float:
    from statistics import median  # imports decimal numbers and fractions

    return float(median(values))


def raw_minimum_ms(samples: PairedSamples) -> float:
    """Least of all counted runs of the target, in ms."""
    drop = samples.dropped_runs
    return float(min(min(burst[drop:]) for burst in samples.target))


def reference_drift(samples: PairedSamples) -> float:
    """How far the reference moved within the visit: largest over smallest burst median, less 1."""
    _, reference = burst_medians(samples)
    return float(reference.max() / reference.min() - 1)


def combine_visits(ratios: ArrayLike) -> float:
    """One ratio from the visits' ratios: the mean of the middle half.

    The interquartile mean resists a disturbed visit as the median does, and wastes less: for normal
    noise its variance is about a fifth above the mean's, the median's is more than half above.
    With fewer than four visits it is the mean of two and the median of three.
    """
    values = np.sort(np.asarray(ratios, dtype=np.float64))
    if not len(values):
        raise InvalidValueError("no visits to combine")
    cut = 1 if len(values) == 3 else len(values) // 4
    return float(values[cut : len(values) - cut].mean())


def relative_half_width(ratios: ArrayLike, coverage: float = INTERVAL_COVERAGE) -> float:
    """Half the width of the confidence interval around :func:`combine_visits`, on logarithms.

    The interval is that of :func:`interval_around`; a small half-width is the fraction by which it
    reaches to either side. Student's t on the logarithms of the visits, each a fresh load. From
    eight visits on, the outer eighth on either side is winsorised (the winsorised variance of Tukey
    and McLaughlin, Sankhya A 1963; Yuen, Biometrika 1974), so that one visit which went wrong does
    not widen an interval whose centre it hardly moves. NaN for fewer than two visits.
    """
    from scipy import special  # slow to import, and reading a pack needs the rest of this module

    values = np.sort(np.log(np.asarray(ratios, dtype=np.float64)))
    n = len(values)
    if n < 2:
        return math.nan
    cut = n // 8
    winsorised = np.clip(values, values[cut], values[n - 1 - cut])
    deviation = float(winsorised.std(ddof=1)) / (1 - 2 * cut / n)
    quantile = float(special.stdtrit(n - 2 * cut - 1, (1 + coverage) / 2))
    return quantile * deviation / math.sqrt(n)


def interval_around(value: ArrayLike, half_width: ArrayLike) -> tuple[Floats, Floats]:
    """Both ends of an interval whose half-width is one of logarithms; never 0 or below."""
    centre, half = (np.asarray(each, dtype=np.float64) for each in (value, half_width))
    return centre * np.exp(-half), centre * np.exp(half)


def quiet_run_ms(samples: PairedSamples) -> float:
    """What the target took in runs that nothing interrupted, in ms by the clock.

    The lower quartile of all counted runs, which holds where up to three quarters were interrupted.
    """
    runs = [ms for burst in samples.target for ms in burst[samples.dropped_runs :]]
    return float(np.quantile(runs, QUIET_RUNS_QUANTILE))


def quiet_kernels(
    profile: KernelProfile, reference_ms: float, ratio: float | None = None
) -> tuple[KernelTime, ...]:
    """Kernel times as the quiet host would have them, in ms.

    Scaled by the runs in which they were taken: what the network took in its profiled runs by their
    ratio to the reference, over what it took in them by the clock. A kernel is a small part of a
    run and seldom interrupted, so its median is that of undisturbed runs; the clock's is therefore
    that of :func:`quiet_run_ms`. ``ratio`` is that of the profiled runs where it is known better
    than from them.
    """
    ratio = visit_ratio(profile.samples) if ratio is None else ratio
    scale = ratio * reference_ms / quiet_run_ms(profile.samples)
    return tuple(
        dataclasses.replace(kernel, latency_ms=kernel.latency_ms * scale)
        for kernel in profile.kernels
    )


@dataclass(frozen=True)
class Reconciliation:
    """How kernel sums relate to end-to-end latencies: latency = ``scale`` x sum + ``offset_ms``.

    ``mape_percent`` is the mean absolute error of that line in percent of the latency,
    ``gap_percent`` the mean of latency / sum - 1 without it: what the sum leaves out.
    """

    scale: float
    offset_ms: float
    mape_percent: float
    gap_percent: float
    networks: int


def reconcile(kernel_sums_ms: ArrayLike, latency_ms: ArrayLike) -> Reconciliation:
    """Fit a line from kernel sums to end-to-end latencies, both of shape (n,), n at least 3.

    Least squares of the relative errors, so that a slow network counts as much as a fast one.
    """
    sums = np.asarray(kernel_sums_ms, dtype=np.float64)
    latency = np.asarray(latency_ms, dtype=np.float64)
    if sums.shape != latency.shape or len(sums) < 3:
        raise InvalidValueError("reconciling needs the kernel sums of 3 networks at least")
    columns = np.stack([sums, np.ones_like(sums)], axis=1) / latency[:, None]
    (scale, offset), *_ = np.linalg.lstsq(columns, np.ones_like(sums), rcond=None)
    errors = np.abs(scale * sums + offset - latency) / latency
    return Reconciliation(
        scale=float(scale),
        offset_ms=float(offset),
        mape_percent=100 * float(errors.mean()),
        gap_percent=100 * float((latency / sums - 1).mean()),
        networks=len(sums),
    )


@dataclass(frozen=True)
class NoiseFloor:
    """How well a label repeats: the error that a perfect predictor would still show.

    ``relative`` is the standard deviation of one shipped measurement as a fraction, ``rmse_ms`` the
    same in milliseconds, ``pairs`` the number of networks it was estimated from and ``method`` how:
    ``"repeats"`` (measured again) or ``"visits"`` (spread of the visits within one label).
    """

    relative: float
    rmse_ms: float
    pairs: int
    method: str

    @property
    def percent(self) -> float:
        """``relative`` in percent."""
        return 100 * self.relative


def noise_floor_of_repeats(
    first_ms: ArrayLike,
    second_ms: ArrayLike,
    visits: tuple[ArrayLike, ArrayLike] = (1, 1),
) -> NoiseFloor:
    """Noise floor of the first of two measurements of each network.

    Root mean square over the networks of (second / first - 1), divided by the square root of 2.
    ``visits`` are the numbers of visits behind the first and the second; where they differ, the
    square of a difference counts in the first's share of it, 1/n against 1/n + 1/m.
    """
    first = np.asarray(first_ms, dtype=np.float64)
    second = np.asarray(second_ms, dtype=np.float64)
    if first.shape != second.shape or not len(first):
        raise InvalidValueError("the noise floor needs pairs of measurements")
    n, m = (np.asarray(number, dtype=np.float64) for number in visits)
    share = m / (n + m)
    relative = math.sqrt(float(np.mean(share * (second / first - 1) ** 2)))
    rmse = math.sqrt(float(np.mean(share * (second - first) ** 2)))
    return NoiseFloor(relative, rmse, len(first), "repeats")


def noise_floor_of_visits(visits: Sequence[ArrayLike], latency_ms: ArrayLike) -> NoiseFloor:
    """Noise floor from the spread of each network's visits, where nothing was measured again.

    The pooled variance of a visit, divided by the number of visits; the interquartile mean's
    inefficiency against the mean (a fifth) is included. It assumes independent visits.
    """
    relative, latency = [], np.asarray(latency_ms, dtype=np.float64)
    for ratios in visits:
        values = np.asarray(ratios, dtype=np.float64)
        if len(values) > 1:
            relative.append(1.2 * values.var(ddof=1) / values.mean() ** 2 / len(values))
        else:
            relative.append(math.nan)
    variances = np.array(relative)
    known = np.isfinite(variances)
    if not known.any():
        raise InvalidValueError("no network was visited more than once")
    rmse = math.sqrt(float(np.mean(variances[known] * latency[known] ** 2)))
    mean_variance = float(np.mean(variances[known]))
    return NoiseFloor(math.sqrt(mean_variance), rmse, int(known.sum()), "visits")
