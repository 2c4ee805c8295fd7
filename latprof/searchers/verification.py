"""The end of a search: its winner is measured, and held against the prediction and the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latprof.errors import InvalidValueError, NotEnoughDataError, TargetMismatchError
from latprof.measurement.records import PairedProtocol
from latprof.measurement.statistics import combine_visits, relative_half_width, visit_ratios
from latprof.profilers.base import RunOptions
from latprof.profilers.profile import Profile, profile
from latprof.profilers.targets import profiler_class
from latprof.profilers.visits.measuring_process import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from latprof.datasets.spaces.base import Architecture
    from latprof.measurement.records import Target
    from latprof.predictors.pack.pack import Pack

#: Visits to the network, shared by four processes: twice those of a collected label. As many again
#: follow until the interval is narrow enough, or there are four times as many.
VISITS = 16
_ROUNDS = 4
#: Half of the 90 % interval that is narrow enough, as a share of the latency.
PRECISION = 0.01
#: The share whose bound must keep the limit.
UPPER = 0.95


@dataclass(frozen=True)
class Verification:
    """A network's measured latency beside what was predicted; milliseconds are the pack's.

    Parameters
    ----------
    architecture : str
        Its spelling.
    measured_ms, low_ms, high_ms : float
        With its 90 % interval, from the spread between processes.
    predicted_ms, bound_ms : float
        The prediction, and what measurements stay below 95 times in 100 (the prediction where the
        pack has no such bound).
    limit_ms : float
        Infinity where none was given.
    target, measured_on : Target
        The pack's, and this host's.
    """

    architecture: str
    measured_ms: float
    low_ms: float
    high_ms: float
    predicted_ms: float
    bound_ms: float
    limit_ms: float
    target: Target
    measured_on: Target

    @property
    def gap(self) -> float:
        """Measured over predicted, minus 1."""
        return self.measured_ms / self.predicted_ms - 1

    @property
    def same_target(self) -> bool:
        """Whether the two numbers are of one target; otherwise they cannot be held together."""
        return self.target == self.measured_on

    @property
    def keeps_limit(self) -> bool:
        """Whether the measured latency is at or below the limit."""
        return self.measured_ms <= self.limit_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as plain JSON values; no limit is None."""
        values = asdict(self) | {
            "target": self.target.to_dict(),
            "measured_on": self.measured_on.to_dict(),
            "gap": self.gap,
            "same_target": self.same_target,
            "keeps_limit": self.keeps_limit,
        }
        values["limit_ms"] = None if math.isinf(self.limit_ms) else self.limit_ms
        return values


def verify(
    pack: Pack,
    architecture: Architecture,
    *,
    limit_ms: float = math.inf,
    visits: int = VISITS,
    precision: float = PRECISION,
    other_target: bool = False,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Verification:
    """Measure an architecture as the pack's measurements were made, with the paired protocol.

    Its ratio to the reference network is multiplied with the pack's own constant, so that both
    numbers are in the same milliseconds whatever the clock does now.

    Parameters
    ----------
    pack : Pack
        With a target.
    architecture : Architecture
        Of the pack's space.
    limit_ms : float
        In milliseconds.
    visits : int
        Fresh loads of the network, in up to four processes; at least 2.
    precision : float
        As many again are made, up to four times in all, until half of the 90 % interval is at most
        this share of the latency; a busy host needs them. 1 asks for no more.
    other_target : bool
        Measure here although the pack is of another target (another processor, another version of
        the runtime): the numbers then stand side by side, and say nothing of each other.
    timeout_s : float
        Longest time for one visit.

    Raises
    ------
    InvalidValueError
        For a pack that does not say where its milliseconds hold, or fewer than 2 visits.
    TargetMismatchError
        Where this host is not the pack's target.
    """
    if visits < 2:
        raise InvalidValueError(
            "visits are too few", field="visits", expected="at least 2", got=str(visits)
        )
    here = target_here(pack, other_target=other_target)
    found = pack.target
    assert found is not None
    choices = pack.space.choices([architecture])
    predictor = pack.predictor
    predicted = float(predictor.predict(choices)[0])
    try:
        bound = float(predictor.predict(choices, upper=UPPER)[0])
    except NotEnoughDataError:  # no calibration, or too few rows for this share
        bound = predicted
    protocol = replace(PairedProtocol(), visits=visits)
    parts: list[Profile] = []
    half = math.inf
    while len(parts) < _ROUNDS and not half <= precision:
        parts.append(
            profile(
                architecture,
                found.spelling,
                space=pack.space,
                options=RunOptions.of_target(found),
                protocol=protocol,
                timeout_s=timeout_s,
            )
        )
        half = _half_width(parts)
    first = parts[0]
    same_reference = pack.reference_ms is not None and pack.reference == first.reference
    own_unit = here == found and same_reference
    constant = pack.reference_ms if own_unit and pack.reference_ms else first.reference_ms
    latency = constant * combine_visits(np.concatenate([visit_ratios(p.samples) for p in parts]))
    return Verification(
        str(architecture),
        latency,
        max(latency * (1 - half), 0.0),
        latency * (1 + half),
        predicted,
        bound,
        float(limit_ms),
        found,
        here,
    )


def target_here(pack: Pack, *, other_target: bool = False) -> Target:
    """Return this host as the pack's target would be measured on it: runtime, batch, threads.

    Raises InvalidValueError for a pack without a target and, unless ``other_target`` is set,
    TargetMismatchError where this host is another one.
    """
    found = pack.target
    if found is None:
        raise InvalidValueError("the pack does not say on what its milliseconds hold")
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


def _half_width(parts: Sequence[Profile]) -> float:
    """Half of the 90 % interval as a share, from the means of the processes."""
    means = np.concatenate([part.process_ratios for part in parts])
    return float(relative_half_width(means if len(means) > 1 else visit_ratios(parts[0].samples)))
