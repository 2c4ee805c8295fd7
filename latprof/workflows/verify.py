"""Measuring a network that was searched for, beside its prediction and the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from latprof.common.extras import needs, require
from latprof.common.limits import ABOVE_0, Limit, whole
from latprof.errors import InvalidValueError, NotEnoughDataError, TargetMismatchError
from latprof.workflows.arguments import (
    OnNote,
    PackLike,
    SpaceLike,
    open_pack,
    quiet_of,
    space_of,
    watch_of,
)

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.measurement.records import Target
    from latprof.predictors.pack.pack import Pack
    from latprof.profilers.profiling import Profile
    from latprof.profilers.visits.schedule import OnVisit
    from latprof.profilers.watching import Watch
    from latprof.searchers.verification import Verification

#: Visits to the network, shared by four processes: twice those of a collected label. As many again
#: follow until the interval is narrow enough, or there are four times as many.
VISITS = 16
_ROUNDS = 4
_MOST_VISITS = 10_000
#: Half of the 90 % interval that is narrow enough, as a share of the latency.
HALF_WIDTH = 0.01
#: The share whose bound must keep the limit.
UPPER = 0.95
_UPPER = Limit(0.5, 1, open_high=True, optional=True)


@needs("collect", "scipy")
def verify(
    pack: PackLike,
    architecture: Architecture | str,
    *,
    space: SpaceLike | None = None,
    limit_ms: float = math.inf,
    upper: float | None = UPPER,
    visits: int = VISITS,
    half_width: float = HALF_WIDTH,
    other_target: bool = False,
    timeout_s: float = 300.0,
    wait_quiet_s: float | None = None,
    require_quiet: bool = False,
    on_progress: OnVisit | None = None,
    on_note: OnNote | None = None,
) -> Verification:
    """Measure an architecture as the pack's measurements were made, with the paired protocol.

    Its ratio to the reference network is multiplied with the pack's own constant, and the tie of a
    smaller or larger reference, so that both numbers are in the same milliseconds whatever the
    clock does now.

    Parameters
    ----------
    pack : Pack, path or str
        With a target.
    architecture : Architecture or str
        Of the pack's space, or its spelling.
    space : SearchSpace or str, optional
        The pack's search space, where it is one of your own.
    limit_ms : float
        In milliseconds.
    upper : float, optional
        Share of the measurements that stay below the bound beside the prediction; None for none.
    visits : int
        Fresh loads of the network, in up to four processes; at least 2.
    half_width : float
        As many again are made, up to four times in all, until half of the 90 % interval is at most
        this share of the latency; a busy host needs them. 1 asks for no more visits.
    other_target : bool
        Measure here although the pack is of another target (another processor, another version of
        the runtime): the two numbers are then of different targets and have no verdict.
    timeout_s : float
        Longest time for one visit.
    wait_quiet_s : float, optional
        Wait at most so long for a quiet host, in seconds.
    require_quiet : bool
        Give no number where the host is busy.
    on_progress : callable, optional
        Called after every visit.
    on_note : callable, optional
        Called with remarks.

    Raises
    ------
    InvalidValueError
        For a pack without a target, or fewer than 2 visits.
    TargetMismatchError
        Where this host is not the pack's target.
    HostBusyError
        Where a quiet host is required and this one is busy.
    """
    from latprof.measurement.statistics import interval_around
    from latprof.searchers.verification import Verification

    check_visits(visits)
    ABOVE_0.check("limit_ms", limit_ms)
    _UPPER.check("upper", upper)
    Limit(0, 1, open_low=True).check("half_width", half_width)
    pack = open_pack(pack, space_of(space))
    if isinstance(architecture, str):
        architecture = pack.space.parse(architecture)
    here = target_here(pack, other_target=other_target)
    assert pack.target is not None
    choices = pack.space.choices([architecture])
    predicted = bound = float(pack.predictor.predict(choices)[0])
    try:
        if upper is not None:
            bound = float(pack.predictor.predict(choices, upper=upper)[0])
    except NotEnoughDataError:  # no calibration, or too few rows for this share
        upper = None
    quiet = quiet_of(wait_quiet_s, require_quiet=require_quiet)
    watch = watch_of(quiet, on_progress, on_note)
    measured = _measured(pack, architecture, (visits, half_width), timeout_s, watch)
    half = measured.host.widened(measured.relative_half_width)
    reference_ms = _of_pack(pack, measured.reference) if here == pack.target else None
    if reference_ms is None:
        reference_ms, half = measured.reference_ms, measured.constant.widened(half)
    latency = reference_ms * measured.ratio
    low, high = interval_around(latency, half)
    return Verification(
        architecture=str(architecture),
        measured_ms=latency,
        low_ms=float(low),
        high_ms=float(high),
        predicted_ms=predicted,
        bound_ms=bound,
        limit_ms=float(limit_ms),
        target=pack.target,
        measured_on=here,
        visits=measured.visits,
        host=measured.host,
        upper=upper,
    )


def _of_pack(pack: Pack, reference: str) -> float | None:
    """What a reference takes in a pack's milliseconds; None where the pack does not know it."""
    if pack.reference_ms is None or reference == pack.reference:
        return pack.reference_ms
    ties = {} if pack.constant is None else pack.constant.ties
    return pack.reference_ms * ties[reference].ratio if reference in ties else None


def check_visits(visits: int) -> None:
    """Raise InvalidValueError for a number of visits that cannot be made."""
    whole(2, _MOST_VISITS).check("visits", visits)


def target_here(pack: Pack, *, other_target: bool = False) -> Target:
    """Return this host as the pack's target would be measured on it: runtime, batch, threads.

    Raises InvalidValueError for a pack without a target and, unless ``other_target`` is set,
    TargetMismatchError where this host is another one.
    """
    from latprof.profilers.base import RunOptions
    from latprof.profilers.targets import check_ready, profiler_class

    found = pack.target
    if found is None:
        raise InvalidValueError("the pack has no target; save it with target=...")
    require("collect", "measuring the network found", "scipy")
    if not profiler_class(found.spelling).clusters:  # as in run_options
        check_ready(found.spelling)
    profiler = profiler_class(found.spelling)(RunOptions.of_target(found))
    here = profiler.target(found.input_shape)
    if here != found and not other_target:
        raise TargetMismatchError(
            "the pack's milliseconds are of another target than this host",
            expected=found.describe(),
            got=here.describe(),
            hint="verify on the pack's own device, or measure here without a verdict",
        )
    return here


def _measured(
    pack: Pack,
    architecture: Architecture,
    effort: tuple[int, float],
    timeout_s: float,
    watch: Watch,
) -> Profile:
    """A profile whose confidence half-width is narrow enough, or that has all its visits."""
    from latprof.measurement.records import PairedProtocol
    from latprof.profilers.base import RunOptions
    from latprof.profilers.profiling import profile

    assert pack.target is not None
    visits, half_width = effort
    protocol = PairedProtocol(
        visits=visits,
        half_width=half_width if half_width < 1 else 0.0,
        max_visits=max(visits, min(_ROUNDS * visits, _MOST_VISITS)),
    )
    return profile(
        architecture,
        pack.target.spelling,
        space=pack.space,
        options=RunOptions.of_target(pack.target),
        protocol=protocol,
        timeout_s=timeout_s,
        watch=watch,
    )
